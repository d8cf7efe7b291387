//! What stands in an extent: its chunks' frames back to back. The last of a full one ends on the
//! grid.
//!
//! Everything here is the same whoever made the frames: packing, which encodes several chunks of an
//! extent in a row, or a program that gives single chunks.

use crate::checksum;
use crate::codec::{Chunk, Encoder, Frame, filled_room};
use crate::digest;
use crate::error::Result;
use crate::format::frame::pad_prefix;
use crate::format::header::PlacementKind;
use crate::format::index::{ChainingValue, Entry};
use crate::format::layout::Geometry;
use crate::format::recipe::Recipe;
use crate::format::record::ChunkRecord;
use crate::limits::ALIGN;
use crate::placement::Extent;
use crate::units::{ExtentNumber, FileOffset, Sequence, align_up};

/// A chunk whose frame stands in an extent that has no place yet.
#[derive(Clone, Copy, Debug)]
pub struct EncodedChunk {
    /// Its number.
    pub sequence: Sequence,
    /// Its frame.
    pub frame: Frame,
    /// Where the frame starts, from the start of the extent.
    pub at: usize,
    /// Its BLAKE3 chaining value, zeros where none is made.
    pub chaining: ChainingValue,
}

impl EncodedChunk {
    /// Its record, given that the extent starts at `extent` of the container.
    #[must_use]
    pub fn record(&self, extent: FileOffset) -> ChunkRecord {
        let offset = FileOffset(extent.0 + self.at as u64);
        let Frame { len, crc32c, raw_len, raw_crc32c, xxh64_low } = self.frame;
        ChunkRecord {
            entry: Entry {
                offset: offset.0,
                frame_len: len as u32,
                raw_len: raw_len as u32,
                frame_crc32c: checksum::frame(self.sequence, offset, crc32c, len),
                raw_crc32c,
            },
            xxh64_low,
            chaining: self.chaining,
        }
    }
}

/// The chaining value of the chunk `raw` that starts at `start` of the content; and, where `only`
/// says that it may turn out to be all of it, the digest that the content then has.
#[must_use]
pub fn chaining_values(
    raw: &[u8],
    start: u64,
    only: bool,
) -> (ChainingValue, Option<ChainingValue>) {
    let only_digest = only.then(|| digest::chaining_value(raw, 0, true));
    // Only an empty content has an empty chunk, and then it is the only one.
    let chaining = match only_digest.filter(|_| raw.is_empty()) {
        Some(digest) => digest,
        None => digest::chaining_value(raw, start, false),
    };
    (chaining, only_digest)
}

/// An extent of a single chunk.
#[derive(Clone, Copy, Debug)]
pub struct Single {
    /// The chunk.
    pub chunk: EncodedChunk,
    /// What it takes of the container.
    pub closed: Closed,
    /// The digest of the content, where the chunk may turn out to be all of it.
    pub only_digest: Option<ChainingValue>,
}

impl Single {
    /// Makes the extent of chunk `sequence`, which is `raw`, in `output`; that has at least
    /// [`single_room`] bytes for it.
    ///
    /// # Errors
    /// As of [`Encoder::encode`].
    pub fn make(recipe: &Recipe, sequence: u64, raw: &[u8], output: &mut [u8]) -> Result<Self> {
        let Recipe { codec, level, geometry, blake3, .. } = recipe;
        let fill_from = geometry.is_filled(sequence, raw.len() as u64).then_some(0);
        let frame = Encoder::new(*codec, *level).encode(Chunk::Bytes(raw), fill_from, output)?;
        let (mut chaining, mut only_digest) = ([0; 32], None);
        if *blake3 {
            let start = sequence * geometry.chunk_len();
            (chaining, only_digest) = chaining_values(raw, start, sequence == 0);
        }
        let chunk = EncodedChunk { sequence: Sequence(sequence), frame, at: 0, chaining };
        Ok(Self { chunk, closed: close(geometry, frame.len, output), only_digest })
    }

    /// The extent.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent { number: ExtentNumber(self.chunk.sequence.0), len: self.closed.len }
    }
}

/// Bytes that a buffer needs for an extent of a single chunk of at most `raw_len` bytes.
#[must_use]
pub fn single_room(raw_len: usize) -> usize {
    filled_room(raw_len) + 3 * ALIGN
}

/// An extent with everything that stands in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Bytes it takes of the container.
    pub len: u64,
    /// Bytes that are written, up to the grid; the rest of a slot is a hole.
    pub write_len: usize,
}

/// Writes what follows the frames, which end at `end` of `output`: in a slot a pad to its end; else
/// nothing, and only zeros up to the grid that are written with them, and over later. `output` has
/// room for the frames at their longest and three blocks more.
///
/// # Panics
/// Where it has not.
pub fn close(geometry: &Geometry, end: usize, output: &mut [u8]) -> Closed {
    let (len, write_len) = match geometry.placement {
        PlacementKind::Dense => {
            let write_len = align_up(end as u64) as usize;
            output[end..write_len].fill(0);
            (end as u64, write_len)
        }
        PlacementKind::Slots => {
            let len = geometry.slot_len();
            let prefix = pad_prefix(len - end as u64).expect("a pad has 8 bytes or more");
            let prefix = prefix.as_ref();
            let write_len = geometry.written_len(end as u64, len) as usize;
            output[end..end + prefix.len()].copy_from_slice(prefix);
            output[end + prefix.len()..write_len].fill(0);
            (len, write_len)
        }
    };
    Closed { len, write_len }
}
