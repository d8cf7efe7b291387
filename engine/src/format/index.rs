//! The index: where every chunk's frame is, how long it is, and what its checksums are.
//!
//! It is one skippable frame, or several where one would pass 1 GiB of payload. Offsets are stated
//! although the layout already follows from the lengths (see [`super::layout`]): the redundancy is
//! what finds a forged or mixed-up index out.
//!
//! ```text
//! skippable prefix | 1 "RPINDEX" | first_chunk u64 | count u64 | count × entry (24)
//!                  | with BLAKE3: count × chaining value (32) | crc32c of the payload so far u32
//! ```

use std::ops::Range;

use super::{Cursor, Decoded, FormatError, Subtype, skippable_prefix};
use crate::checksum::crc32c;
use crate::limits::INDEX_PAYLOAD_BYTES_MAX;

/// A BLAKE3 chaining value.
pub type ChainingValue = [u8; 32];

/// Length of an entry in bytes.
pub const ENTRY_LEN: usize = 24;
/// Length of a chaining value in bytes.
pub const CHAINING_LEN: usize = 32;
/// Bytes of a frame before its first entry: skippable prefix, name, first chunk, count.
pub const PREFIX_LEN: usize = 8 + NAME.len() + 16;
/// Bytes of a frame after its last entry: the checksum.
pub const SUFFIX_LEN: usize = 4;

const NAME: [u8; 8] = *b"\x01RPINDEX";

/// What the index says of one chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where its frame starts in the container.
    pub offset: u64,
    /// Length of its frame, in bytes, without any pad.
    pub frame_len: u32,
    /// Length of the chunk, in bytes.
    pub raw_len: u32,
    /// [`crate::checksum::frame`] of the frame.
    pub frame_crc32c: u32,
    /// CRC32C of the chunk.
    pub raw_crc32c: u32,
}

impl Entry {
    /// The entry as it stands in the index.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        let (offset, rest) = bytes.split_at_mut(8);
        offset.copy_from_slice(&self.offset.to_le_bytes());
        let fields = [self.frame_len, self.raw_len, self.frame_crc32c, self.raw_crc32c];
        for (slot, field) in rest.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Decoded<Self> {
        Ok(Self {
            offset: cursor.u64()?,
            frame_len: cursor.u32()?,
            raw_len: cursor.u32()?,
            frame_crc32c: cursor.u32()?,
            raw_crc32c: cursor.u32()?,
        })
    }
}

/// Chunks that one index frame can hold.
#[must_use]
pub const fn chunks_per_frame_max(chaining: bool) -> u64 {
    let room = INDEX_PAYLOAD_BYTES_MAX - (PREFIX_LEN - 8 + SUFFIX_LEN) as u64;
    room / chunk_len(chaining)
}

const fn chunk_len(chaining: bool) -> u64 {
    (ENTRY_LEN + if chaining { CHAINING_LEN } else { 0 }) as u64
}

/// Length of one index frame of `count` chunks.
#[must_use]
pub const fn frame_len(count: u64, chaining: bool) -> u64 {
    (PREFIX_LEN + SUFFIX_LEN) as u64 + count * chunk_len(chaining)
}

/// Length of the whole index of `chunk_count` chunks, or `None` past `u64::MAX`. Takes the same
/// time for any count, so that a hostile one costs nothing.
#[must_use]
pub fn total_len(chunk_count: u64, chaining: bool) -> Option<u64> {
    let frames = chunk_count.div_ceil(chunks_per_frame_max(chaining));
    let around = frames.checked_mul((PREFIX_LEN + SUFFIX_LEN) as u64)?;
    chunk_count.checked_mul(chunk_len(chaining))?.checked_add(around)
}

/// Number of frames of the index of `chunk_count` chunks.
#[must_use]
pub const fn frame_count(chunk_count: u64, chaining: bool) -> u64 {
    chunk_count.div_ceil(chunks_per_frame_max(chaining))
}

/// Lengths of all the frames of the index of `chunk_count` chunks, in order.
pub fn frame_lens(chunk_count: u64, chaining: bool) -> impl Iterator<Item = u64> {
    runs(chunk_count, chaining).map(move |run| frame_len(run.end - run.start, chaining))
}

/// The runs of chunks that the frames of the index cover, in order.
pub fn runs(chunk_count: u64, chaining: bool) -> impl Iterator<Item = Range<u64>> {
    let step = chunks_per_frame_max(chaining);
    (0..chunk_count.div_ceil(step))
        .map(move |frame| frame * step..chunk_count.min((frame + 1) * step))
}

/// The bytes of a frame before its first entry. `count` is at most [`chunks_per_frame_max`].
#[must_use]
pub fn encode_prefix(first_chunk: u64, count: u64, chaining: bool) -> [u8; PREFIX_LEN] {
    let mut bytes = [0; PREFIX_LEN];
    let payload = (frame_len(count, chaining) - 8) as u32;
    let fields =
        [&skippable_prefix(payload)[..], &NAME, &first_chunk.to_le_bytes(), &count.to_le_bytes()];
    let mut rest = &mut bytes[..];
    for field in fields {
        let (front, back) = rest.split_at_mut(field.len());
        front.copy_from_slice(field);
        rest = back;
    }
    bytes
}

/// The chunks that one or several frames of the index describe.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    /// An entry a chunk.
    pub entries: Vec<Entry>,
    /// A chaining value a chunk, or none at all.
    pub chaining: Vec<ChainingValue>,
}

impl Index {
    /// The whole index as bytes. For tests and small containers: the engine writes it in pieces.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let chaining = !self.chaining.is_empty();
        let mut bytes = Vec::new();
        for run in runs(self.entries.len() as u64, chaining) {
            let start = bytes.len();
            let (from, count) = (run.start as usize, (run.end - run.start) as usize);
            bytes.extend(encode_prefix(run.start, count as u64, chaining));
            for entry in self.entries.iter().skip(from).take(count) {
                bytes.extend(entry.encode());
            }
            for value in self.chaining.iter().skip(from).take(count) {
                bytes.extend(value);
            }
            let crc = crc32c(bytes.get(start + 8..).unwrap_or_default());
            bytes.extend(crc.to_le_bytes());
        }
        bytes
    }

    /// Reads the index of `chunk_count` chunks, which must fill `bytes` exactly.
    ///
    /// # Errors
    /// `Damaged` where a frame is cut short, is none of ours, doesn't match its checksum or doesn't
    /// continue the one before it.
    pub fn decode(bytes: &[u8], chunk_count: u64, chaining: bool) -> Decoded<Self> {
        let mut cursor = Cursor::new(bytes);
        // F1: the count is believed only once the bytes for it are seen to be there.
        if total_len(chunk_count, chaining) != Some(bytes.len() as u64) {
            return Err(FormatError::damaged("the index has another length than its chunks need"));
        }
        let mut index = Self::default();
        for run in runs(chunk_count, chaining) {
            let len = frame_len(run.end - run.start, chaining);
            index.append(cursor.bytes(len as usize)?, run, chaining)?;
        }
        Ok(index)
    }

    /// Checks the first [`PREFIX_LEN`] bytes of the frame of `run`, so that a reader need not take
    /// in a frame that begins with something else.
    ///
    /// # Errors
    /// `Damaged` where they aren't what the frame begins with.
    pub fn check_prefix(bytes: &[u8], run: &Range<u64>, chaining: bool) -> Decoded<()> {
        if bytes != encode_prefix(run.start, run.end - run.start, chaining) {
            return Err(FormatError::damaged("no index frame of these chunks stands here"));
        }
        Ok(())
    }

    /// Reads the frame of `run`, which must fill `frame` exactly, and appends what it says.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn append(&mut self, frame: &[u8], run: Range<u64>, chaining: bool) -> Decoded<()> {
        let count = run.end - run.start;
        let (prefix, rest) = frame
            .split_at_checked(PREFIX_LEN)
            .ok_or_else(|| FormatError::damaged("the index is cut short"))?;
        Self::check_prefix(prefix, &run, chaining)?;
        let payload = frame.get(8..).unwrap_or_default();
        let (body, stated) = payload
            .split_last_chunk::<SUFFIX_LEN>()
            .ok_or_else(|| FormatError::damaged("the index is cut short"))?;
        if crc32c(body).to_le_bytes() != *stated {
            return Err(FormatError::damaged("the index doesn't match its checksum"));
        }
        // F1: as many as the bytes hold.
        if rest.len() as u64 != frame_len(count, chaining) - PREFIX_LEN as u64 {
            return Err(FormatError::damaged("the index has another length than its chunks need"));
        }
        let mut fields = Cursor::new(rest);
        for _ in 0..count {
            self.entries.push(Entry::decode(&mut fields)?);
        }
        for _ in 0..if chaining { count } else { 0 } {
            self.chaining.push(fields.array()?);
        }
        Ok(())
    }
}

const _: () = assert!(NAME[0] == Subtype::Index as u8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::{every_flipped_bit, every_truncation};

    fn sample(count: u32, chaining: bool) -> Index {
        let entry = |i: u32| Entry {
            offset: 4096 + u64::from(i) * 100,
            frame_len: 100,
            raw_len: 65536,
            frame_crc32c: i.wrapping_mul(0x1111_1111),
            raw_crc32c: !i,
        };
        Index {
            entries: (0..count).map(entry).collect(),
            chaining: (0..count).filter(|_| chaining).map(|i| [i as u8; 32]).collect(),
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = sample(1, false).encode();
        let expected = [
            &[0x5C, 0x2A, 0x4D, 0x18, 52, 0, 0, 0][..],
            b"\x01RPINDEX",
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0x10, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 1, 0],
            &[0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        ]
        .concat();
        assert_eq!(bytes[..expected.len()], expected);
        assert_eq!(bytes[expected.len()..], crc32c(&expected[8..]).to_le_bytes());
        assert_eq!(bytes.len() as u64, frame_len(1, false));
    }

    #[test]
    fn f2_round_trip() {
        for (count, chaining) in [(1, false), (1, true), (1000, false), (1000, true)] {
            let index = sample(count, chaining);
            let back = Index::decode(&index.encode(), count.into(), chaining);
            assert_eq!(back, Ok(index));
        }
    }

    #[test]
    fn f1_f3_every_flipped_bit_and_every_truncation() {
        let bytes = sample(3, true).encode();
        every_flipped_bit(&bytes, |bytes| Index::decode(bytes, 3, true).is_err());
        every_truncation(&bytes, |bytes| Index::decode(bytes, 3, true).is_err());
    }

    #[test]
    fn f1_a_count_that_the_bytes_cannot_hold_allocates_nothing() {
        let bytes = sample(3, false).encode();
        for count in [0, 2, 4, 1 << 32, 1 << 63, u64::MAX] {
            assert!(Index::decode(&bytes, count, false).is_err(), "{count}");
        }
    }

    #[test]
    fn a_large_index_is_split_below_the_payload_limit() {
        for chaining in [false, true] {
            let most = chunks_per_frame_max(chaining);
            assert!(frame_len(most, chaining) - 8 <= INDEX_PAYLOAD_BYTES_MAX);
            assert!(frame_len(most + 1, chaining) - 8 > INDEX_PAYLOAD_BYTES_MAX);
            let lens: u64 = frame_lens(2 * most + 1, chaining).sum();
            assert_eq!(total_len(2 * most + 1, chaining), Some(lens));
            assert_eq!(frame_count(2 * most + 1, chaining), 3);
            assert_eq!(total_len(u64::MAX, chaining), None);
            let runs: Vec<_> = runs(2 * most + 1, chaining).collect();
            assert_eq!(runs, [0..most, most..2 * most, 2 * most..2 * most + 1]);
        }
    }
}
