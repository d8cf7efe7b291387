//! What a program may choose of a container that it writes chunk by chunk.

use crate::chunker;
use crate::codec::{self, Codec};
use crate::commit::{Cadence, Observer};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::PlacementKind;
use crate::format::layout::Geometry;
use crate::format::recipe::Recipe;
use crate::limits;
use crate::pipeline::IoMode;

/// Memory that chunks may take which wait for one before them, unless a window is asked for.
const WINDOW_BYTES: u64 = 64 << 20;

/// Widest window, in chunks: a core has a buffer for each of its share of it.
pub const WINDOW_MAX: u32 = 4096;

/// Options of a writer.
///
/// ```
/// use ringpack::write::WriteOptions;
/// use ringpack::codec::Codec;
///
/// // Chunks of 256 KiB, in any order, with a BLAKE3 digest of the content.
/// let options =
///     WriteOptions { codec: Codec::Zstd(1), chunk_log2: 18, blake3: true, ..Default::default() };
/// # let _ = options;
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct WriteOptions {
    /// How chunks become frames.
    pub codec: Codec,
    /// Chunk length as a power of two, [`limits::CHUNK_LOG2_MIN`] to [`limits::CHUNK_LOG2_MAX`].
    pub chunk_log2: u8,
    /// Where frames stand: with `Slots` each chunk has a place of its own, whatever the others are;
    /// with `Dense` it stands behind the one before it, and has to wait for that one's length.
    pub placement: PlacementKind,
    /// Whether to make a BLAKE3 digest of the content.
    pub blake3: bool,
    /// Whether an existing target is replaced.
    pub replace: bool,
    /// With `Dense`: how many chunks ahead of the first missing one may be given, 1 to
    /// [`WINDOW_MAX`]; `None`: as many as 64 MiB hold, and at least 4. Each takes memory until that
    /// one is given.
    pub window: Option<u32>,
    /// Length of the content in bytes, where it is known: with `Slots`, room for all of it is
    /// allocated at the start, so that a full disk is told then. It is no promise.
    pub expected_size: Option<u64>,
    /// When checkpoints are taken without being asked for; `None`: never.
    pub checkpoints: Option<Cadence>,
    /// Who is told of checkpoints.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub observer: Observer,
    /// Which backend to use.
    pub io: IoMode,
    /// Rings, and threads that serve them; as many as cores, CPU quota and memory allow where
    /// `None`.
    pub threads: Option<usize>,
    /// Whether to go past the page cache where the file system serves that.
    pub direct: bool,
    /// Chunk records held in memory before they are spooled to a file, in bytes.
    pub spool_memory: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            codec: Codec::Zstd(limits::LEVEL_DEFAULT),
            chunk_log2: limits::CHUNK_LOG2_DEFAULT,
            placement: PlacementKind::Slots,
            blake3: false,
            replace: false,
            window: None,
            expected_size: None,
            checkpoints: Some(Cadence::default()),
            observer: Observer::default(),
            io: IoMode::Auto,
            threads: None,
            direct: true,
            spool_memory: limits::SPOOL_MEMORY_BYTES,
        }
    }
}

impl WriteOptions {
    /// What decides the bytes of the container: one chunk an extent, since chunks come singly.
    ///
    /// # Errors
    /// `InvalidOptions`, saying which option is outside its range.
    pub(super) fn recipe(&self) -> Result<Recipe> {
        chunker::check_chunk_log2(self.chunk_log2)?;
        self.codec.check()?;
        if let Some(window) = self.window.filter(|window| !(1..=WINDOW_MAX).contains(window)) {
            let what = format!("a window of {window} chunks is outside 1 to {WINDOW_MAX}");
            return Err(Error::new(ErrorKind::InvalidOptions, what));
        }
        let (codec, level) = self.codec.kind_and_level();
        let geometry = Geometry::new(self.chunk_log2, self.placement).with_extent_chunks(1);
        let zstd_version = codec::zstd_version();
        Ok(Recipe { codec, level, zstd_version, geometry, blake3: self.blake3 })
    }

    /// How many chunks ahead of the first missing one may be given.
    pub(super) fn window(&self, geometry: &Geometry) -> u64 {
        match geometry.placement {
            PlacementKind::Slots => u64::MAX,
            PlacementKind::Dense => {
                self.window.map_or((WINDOW_BYTES >> geometry.chunk_log2).max(4), u64::from)
            }
        }
    }

    /// What of them counts where a container is gone on with.
    pub(super) fn reopening(&self) -> ReopenOptions {
        let Self { replace, window, checkpoints, observer, io, threads, direct, .. } = self.clone();
        let spool_memory = self.spool_memory;
        ReopenOptions { replace, window, checkpoints, observer, io, threads, direct, spool_memory }
    }

    /// When checkpoints are taken.
    pub(super) fn cadence(&self) -> Cadence {
        self.checkpoints.unwrap_or(Cadence::on_request())
    }
}

/// What going on with a container may decide anew: everything but what decides its bytes.
///
/// ```no_run
/// use ringpack::write::{ContainerWriter, ReopenOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// let options = ReopenOptions { threads: Some(2), ..ReopenOptions::default() };
/// let writer = ContainerWriter::reopen_with("data.zst", &options)?;
/// # let _ = writer;
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ReopenOptions {
    /// Whether a target that exists by now is replaced; it is anyway if the interrupted writer was
    /// to.
    pub replace: bool,
    /// As of [`WriteOptions`].
    pub window: Option<u32>,
    /// As of [`WriteOptions`].
    pub checkpoints: Option<Cadence>,
    /// Who is told of checkpoints.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub observer: Observer,
    /// Which backend to use.
    pub io: IoMode,
    /// As of [`WriteOptions`].
    pub threads: Option<usize>,
    /// Whether to go past the page cache where the file system serves that.
    pub direct: bool,
    /// As of [`WriteOptions`].
    pub spool_memory: usize,
}

impl Default for ReopenOptions {
    fn default() -> Self {
        WriteOptions::default().reopening()
    }
}

impl ReopenOptions {
    /// The options of the interrupted writer, whose `recipe` and whether it was to replace its
    /// target are known.
    pub(super) fn write_options(&self, recipe: &Recipe, replace: bool) -> WriteOptions {
        let Self { window, checkpoints, observer, io, threads, direct, spool_memory, .. } =
            self.clone();
        WriteOptions {
            codec: Codec::of(recipe.codec, recipe.level),
            chunk_log2: recipe.geometry.chunk_log2,
            placement: recipe.geometry.placement,
            blake3: recipe.blake3,
            replace: replace || self.replace,
            window,
            expected_size: None,
            checkpoints,
            observer,
            io,
            threads,
            direct,
            spool_memory,
        }
    }
}
