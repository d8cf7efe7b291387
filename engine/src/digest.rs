//! BLAKE3 of the whole content, from chunks hashed apart.
//!
//! A chunk's length is a power of two of at least 1 KiB, so a chunk is a whole subtree of BLAKE3's
//! tree: its chaining value can be made by whichever core has the chunk, and the values merge to
//! what `b3sum` prints of the whole.
//!
//! ```text
//! chunks       c0    c1    c2    c3    c4          each hashed on its own core
//! chaining      └─┬───┘     └─┬───┘     │
//!                 └─────┬─────┘         │          merged once all are there
//!                       └───── root ────┘
//! ```
//!
//! # Invariants
//! - D1: `root` over the values of all chunks equals `blake3::hash` of the content.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::error::Result;
use crate::limits::CHUNK_LOG2_MIN;

/// The value of one subtree.
pub type ChainingValue = [u8; 32];

/// The chaining value of the chunk that starts at byte `start` of the content, or, where it is the
/// `only` chunk, the digest itself.
///
/// # Panics
/// Where `start` is no multiple of a chunk length, or an empty chunk isn't the only one.
#[must_use]
pub fn chaining_value(chunk: &[u8], start: u64, only: bool) -> ChainingValue {
    if only {
        return *blake3::hash(chunk).as_bytes();
    }
    assert!(start.is_multiple_of(1 << CHUNK_LOG2_MIN), "a chunk starts on the grid of chunks");
    Hasher::new().set_input_offset(start).update(chunk).finalize_non_root()
}

/// The digest of a content of `count` chunks, whose values `value` gives by number, each once and
/// in order. A single chunk's value is the digest.
///
/// # Errors
/// Those of `value`.
///
/// # Panics
/// Where `count` is 0: an empty content has one chunk.
pub fn root(
    count: u64,
    value: &mut impl FnMut(u64) -> Result<ChainingValue>,
) -> Result<ChainingValue> {
    assert!(count > 0, "a content has at least one chunk");
    if count == 1 {
        return value(0);
    }
    let left_count = left_len(count);
    let left = subtree(0, left_count, value)?;
    let right = subtree(left_count, count - left_count, value)?;
    // D1: the last merge alone is the root's.
    Ok(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
}

fn subtree(
    first: u64,
    count: u64,
    value: &mut impl FnMut(u64) -> Result<ChainingValue>,
) -> Result<ChainingValue> {
    if count == 1 {
        return value(first);
    }
    let left_count = left_len(count);
    let left = subtree(first, left_count, value)?;
    let right = subtree(first + left_count, count - left_count, value)?;
    Ok(merge_subtrees_non_root(&left, &right, Mode::Hash))
}

/// Chunks in the left subtree: the largest power of two below `count`, so the depth of recursion is
/// at most 64.
fn left_len(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_merged_chunks_are_the_plain_hash() {
        const CHUNK: usize = 1 << CHUNK_LOG2_MIN;
        let content: Vec<u8> = (0..9 * CHUNK + 5).map(|i| ((i / 3) ^ (i >> 9)) as u8).collect();
        for len in [
            0,
            1,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            2 * CHUNK,
            3 * CHUNK,
            4 * CHUNK + 1,
            7 * CHUNK,
            8 * CHUNK,
            9 * CHUNK + 5,
        ] {
            let content = &content[..len];
            let count = len.div_ceil(CHUNK).max(1);
            let mut asked = Vec::new();
            let digest = root(count as u64, &mut |i| {
                asked.push(i);
                let start = i as usize * CHUNK;
                let chunk = &content[start..len.min(start + CHUNK)];
                Ok(chaining_value(chunk, start as u64, count == 1))
            });
            assert_eq!(digest.unwrap(), *blake3::hash(content).as_bytes(), "{len} bytes");
            assert_eq!(asked, (0..count as u64).collect::<Vec<_>>(), "each once, in order");
        }
    }
}
