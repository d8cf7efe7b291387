//! The chunker: which chunks an extent holds, and which bytes of the content they are.
//!
//! Cutting is arithmetic: a chunk is a power of two long, an extent a fixed number of chunks, only
//! the last of each is shorter. So any core can claim any extent and know all of this by itself.
//!
//! # Invariants
//! - N1: the extents of a content cover it exactly, in order, without overlap; so do the chunks of
//!   an extent.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::format::layout::Geometry;
use crate::limits::{CHUNK_LOG2_MAX, CHUNK_LOG2_MIN};
use crate::units::{ExtentNumber, Sequence};

/// Checks a chunk length, as a power of two, against its range.
///
/// # Errors
/// `InvalidOptions` where it lies outside.
pub fn check_chunk_log2(log2: u8) -> Result<()> {
    let (min, max) = (CHUNK_LOG2_MIN, CHUNK_LOG2_MAX);
    if (min..=max).contains(&log2) {
        return Ok(());
    }
    let what = format!("a chunk of 2^{log2} bytes is outside 2^{min} to 2^{max}");
    Err(Error::new(ErrorKind::InvalidOptions, what))
}

/// A chunk of the content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Its number.
    pub sequence: Sequence,
    /// Its bytes, from the start of its extent.
    pub range: Range<usize>,
}

/// The content of an extent, cut into chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawExtent {
    geometry: Geometry,
    number: ExtentNumber,
    raw_len: u64,
}

impl RawExtent {
    /// Extent `number` of a content of `content_size` bytes, or `None` past the end. An empty
    /// content has one extent of one empty chunk.
    #[must_use]
    pub fn of(geometry: Geometry, number: ExtentNumber, content_size: u64) -> Option<Self> {
        let start = number.0.checked_mul(geometry.extent_raw_len())?;
        if start >= content_size && number.0 > 0 {
            return None;
        }
        let raw_len = (content_size - start).min(geometry.extent_raw_len());
        Some(Self::with_len(geometry, number, raw_len))
    }

    /// Extent `number`, known to hold `raw_len` bytes.
    #[must_use]
    pub fn with_len(geometry: Geometry, number: ExtentNumber, raw_len: u64) -> Self {
        debug_assert!(raw_len <= geometry.extent_raw_len());
        Self { geometry, number, raw_len }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> ExtentNumber {
        self.number
    }

    /// Where it starts in the content.
    #[must_use]
    pub fn raw_offset(&self) -> u64 {
        self.number.0 * self.geometry.extent_raw_len()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn raw_len(&self) -> u64 {
        self.raw_len
    }

    /// The number of its first chunk.
    #[must_use]
    pub fn first(&self) -> Sequence {
        Sequence(self.number.0 * u64::from(self.geometry.extent_chunks))
    }

    /// Its chunks, in order.
    pub fn chunks(self) -> impl Iterator<Item = Chunk> {
        let (chunk_len, len) = (self.geometry.chunk_len() as usize, self.raw_len as usize);
        // N1: the ranges join up and end at `len`.
        (0..self.geometry.chunk_count(self.raw_len)).map(move |i| {
            let start = i as usize * chunk_len;
            Chunk {
                sequence: Sequence(self.first().0 + i),
                range: start..len.min(start + chunk_len),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::PlacementKind;

    #[test]
    fn n1_every_byte_once_in_order() {
        let chunk = 1u64 << 16;
        for placement in [PlacementKind::Dense, PlacementKind::Slots] {
            let geometry = Geometry::new(16, placement);
            for size in [0, 1, chunk - 1, chunk, chunk + 1, 64 * chunk, 64 * chunk + 1, 200 * chunk]
            {
                let (mut next_byte, mut next_chunk) = (0, 0);
                for number in 0.. {
                    let Some(extent) = RawExtent::of(geometry, ExtentNumber(number), size) else {
                        break;
                    };
                    assert_eq!(extent.raw_offset(), next_byte);
                    assert_eq!(extent.first(), Sequence(next_chunk));
                    for chunk in extent.chunks() {
                        assert_eq!(chunk.sequence, Sequence(next_chunk));
                        assert_eq!(extent.raw_offset() + chunk.range.start as u64, next_byte);
                        next_byte += chunk.range.len() as u64;
                        next_chunk += 1;
                    }
                }
                assert_eq!((next_byte, next_chunk), (size, geometry.chunk_count(size)), "{size}");
            }
        }
    }

    #[test]
    fn an_extent_past_the_end_is_none() {
        let geometry = Geometry::new(20, PlacementKind::Dense);
        assert!(RawExtent::of(geometry, ExtentNumber(1), 4 << 20).is_none());
        assert!(RawExtent::of(geometry, ExtentNumber(1), 0).is_none());
        assert!(RawExtent::of(geometry, ExtentNumber(u64::MAX), u64::MAX).is_none());
    }
}
