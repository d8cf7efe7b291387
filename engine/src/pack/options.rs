//! What a caller of packing may choose.

use super::expected::Expected;
use crate::chunker;
use crate::codec::{self, Codec};
use crate::commit::{Cadence, Observer};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::PlacementKind;
use crate::format::layout::{self, Geometry};
use crate::format::recipe::Recipe;
use crate::limits;
use crate::pipeline::IoMode;
use crate::progress::Progress;

/// Options of packing.
///
/// ```
/// use ringpack::pack::PackOptions;
/// use ringpack::{Codec, PlacementKind};
///
/// let options = PackOptions {
///     codec: Codec::Zstd(9),
///     placement: PlacementKind::Slots,
///     blake3: true,
///     replace: true,
///     ..PackOptions::default()
/// };
/// # let _ = options;
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct PackOptions {
    /// How chunks become frames.
    pub codec: Codec,
    /// Chunk length as a power of two, [`limits::CHUNK_LOG2_MIN`] to [`limits::CHUNK_LOG2_MAX`];
    /// where `None`, by the codec and its level: see [`Codec::chunk_log2`]. An input with too many
    /// chunks for a seek table gets larger ones.
    pub chunk_log2: Option<u8>,
    /// Where frames stand.
    pub placement: PlacementKind,
    /// Chunks an extent holds, at least 1; with `None`, and at most, as many as make
    /// [`limits::EXTENT_RAW_BYTES`]. Always 1 with `slots`.
    pub extent_chunks: Option<u16>,
    /// Whether to make a BLAKE3 digest of the content.
    pub blake3: bool,
    /// Whether an existing target is replaced.
    pub replace: bool,
    /// When checkpoints are taken, to resume from; `None`: never. An output that is a stream has
    /// none.
    pub checkpoints: Option<Cadence>,
    /// Whether to go on from the checkpoint of an interrupted run, if there is one.
    pub resume: bool,
    /// What must hold of the content, or nothing is published.
    pub expected: Expected,
    /// Whether the finished container is read back and compared with the input, which is read a
    /// second time, before it is published. Neither may be a stream.
    pub check_content: bool,
    /// Who is told of checkpoints.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub observer: Observer,
    /// Where to tell how far it is.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub progress: Progress,
    /// Which backend to use.
    pub io: IoMode,
    /// Worker threads; as many as cores, CPU quota and memory allow where `None`.
    pub threads: Option<usize>,
    /// Whether to go past the page cache where the file systems serve that.
    pub direct: bool,
    /// Chunk records held in memory before they are spooled to a file, in bytes.
    pub spool_memory: usize,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            codec: Codec::Zstd(limits::LEVEL_DEFAULT),
            chunk_log2: None,
            placement: PlacementKind::Dense,
            extent_chunks: None,
            blake3: false,
            replace: false,
            checkpoints: Some(Cadence::default()),
            resume: false,
            expected: Expected::default(),
            check_content: false,
            observer: Observer::default(),
            progress: Progress::default(),
            io: IoMode::Auto,
            threads: None,
            direct: true,
            spool_memory: limits::SPOOL_MEMORY_BYTES,
        }
    }
}

impl PackOptions {
    /// Checks each option against its range.
    ///
    /// # Errors
    /// `InvalidOptions`, saying which and why.
    pub(super) fn check(&self) -> Result<()> {
        self.codec.check()?;
        let chunk_log2 = self.chunk_log2();
        chunker::check_chunk_log2(chunk_log2)?;
        let most = Geometry::new(chunk_log2, self.placement).extent_chunks;
        if let Some(chunks) = self.extent_chunks.filter(|chunks| !(1..=most).contains(chunks)) {
            let what = format!("an extent of {chunks} chunks is outside 1 to {most}");
            return Err(Error::new(ErrorKind::InvalidOptions, what));
        }
        if self.expected.blake3.is_some() && !self.blake3 {
            let what = "a digest is expected of a container that keeps none";
            return Err(Error::new(ErrorKind::InvalidOptions, what)
                .hint("have the digest made, by packing anew where it was begun without"));
        }
        Ok(())
    }

    /// Chunk length as a power of two, as it was asked for or by the codec.
    pub(super) fn chunk_log2(&self) -> u8 {
        self.chunk_log2.unwrap_or_else(|| self.codec.chunk_log2())
    }

    /// What decides the bytes of a container for `content_size` bytes, where that is known.
    ///
    /// # Errors
    /// `Input` where no container can index as many.
    pub(super) fn recipe(&self, content_size: Option<u64>) -> Result<Recipe> {
        let wished = self.chunk_log2();
        let log2 = match content_size {
            Some(size) => layout::fitting_chunk_log2(wished, size).ok_or_else(|| {
                Error::new(ErrorKind::Input, "is larger than a container can index")
            })?,
            None => wished,
        };
        let geometry = Geometry::new(log2, self.placement);
        // Longer chunks than asked for leave room for fewer of them.
        let most = geometry.extent_chunks;
        let extent_chunks = self.extent_chunks.map_or(most, |chunks| chunks.min(most));
        let (codec, level) = self.codec.kind_and_level();
        Ok(Recipe {
            codec,
            level,
            zstd_version: codec::zstd_version(),
            geometry: geometry.with_extent_chunks(extent_chunks),
            blake3: self.blake3,
        })
    }
}
