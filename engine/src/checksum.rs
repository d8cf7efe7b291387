//! CRC32C in the three shapes the format uses: of bytes, seeded with a place, and of a whole put
//! together from its parts.
//!
//! A frame's checksum is seeded with the chunk's sequence and the frame's offset, so a frame that
//! is intact but stands in another's place (swapped, stale, written by a misdirected write) does
//! not match. The offset is known only after encoding, when the bytes are no longer worth another
//! pass; CRC being linear, the seed is put in front by `combine` instead.
//!
//! # Invariants
//! - K1: `frame(seq, off, crc(bytes), len)` equals the CRC32C of `seq ‖ off ‖ bytes`,
//!   little-endian.
//! - K2: `Whole` over parts in order equals the CRC32C of their concatenation.

use crate::planted::{self, Bug};
use crate::units::{FileOffset, Sequence};

/// CRC32C (Castagnoli) of `bytes`, as in RFC 3720.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC32C of `len` zero bytes.
#[must_use]
pub fn crc32c_of_zeros(len: usize) -> u32 {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut crc = 0;
    let mut left = len;
    while left > 0 {
        let step = left.min(ZEROS.len());
        crc = crc32c::crc32c_append(crc, &ZEROS[..step]);
        left -= step;
    }
    crc
}

/// The checksum that the index keeps of a frame of `frame_len` bytes whose own CRC32C is `crc`.
#[must_use]
pub fn frame(sequence: Sequence, offset: FileOffset, crc: u32, frame_len: usize) -> u32 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&sequence.0.to_le_bytes());
    seed[8..].copy_from_slice(&offset.0.to_le_bytes());
    if planted::is(Bug::PlaceUnchecked) {
        return crc;
    }
    // K1: the seed stands in front of the frame's bytes.
    combine(crc32c::crc32c(&seed), crc, frame_len)
}

/// The CRC32C of a whole, from those of its parts in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole(u32);

impl Whole {
    /// Appends a part of `len` bytes whose CRC32C is `crc`.
    pub fn append(&mut self, crc: u32, len: usize) {
        // K2: combined in sequence order, so arrival order can't matter.
        self.0 = combine(self.0, crc, len);
    }

    /// The CRC32C of everything appended.
    #[must_use]
    pub fn value(self) -> u32 {
        self.0
    }
}

/// The polynomial of CRC32C, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Residues of x^(8·2^n), for n from 0: what n-th bit of a length in bytes stands for.
const POWERS: [u32; usize::BITS as usize] = {
    let mut powers = [1 << 23; usize::BITS as usize];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = multiply(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
};

/// The product of two residues. The highest bit is that of x^0.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 1 << 31;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = b >> 1 ^ if b & 1 == 0 { 0 } else { POLYNOMIAL };
        bit >>= 1;
    }
    product
}

/// The CRC32C of `a ‖ b` from those of `a` and `b`, and the length of `b`: `a`'s is moved up by as
/// many bytes, a multiplication for each bit of the length. (The crate's own squares matrices of
/// bits, which takes longer than the checksum of a short frame.)
fn combine(a: u32, b: u32, b_len: usize) -> u32 {
    let bits = POWERS.iter().enumerate().filter(|(bit, _)| b_len >> bit & 1 == 1);
    bits.fold(a, |moved, (_, &power)| multiply(moved, power)) ^ b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // RFC 3720 appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c_of_zeros(32), 0x8A91_36AA);
        assert_eq!(crc32c_of_zeros(10_000), crc32c(&vec![0; 10_000]));
    }

    #[test]
    fn k1_the_seed_stands_in_front() {
        let body = b"a frame's bytes";
        let mut joined = 7u64.to_le_bytes().to_vec();
        joined.extend(4096u64.to_le_bytes());
        joined.extend(body);
        let seeded = frame(Sequence(7), FileOffset(4096), crc32c(body), body.len());
        assert_eq!(seeded, crc32c(&joined));
        assert_ne!(seeded, frame(Sequence(8), FileOffset(4096), crc32c(body), body.len()));
        assert_ne!(seeded, frame(Sequence(7), FileOffset(8192), crc32c(body), body.len()));
    }

    #[test]
    fn k2_parts_make_the_whole() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
        for part in [1, 13, 4096, 99_999, 100_000] {
            let mut whole = Whole::default();
            for piece in bytes.chunks(part) {
                whole.append(crc32c(piece), piece.len());
            }
            assert_eq!(whole.value(), crc32c(&bytes), "parts of {part}");
        }
        assert_eq!(Whole::default().value(), crc32c(b""));
    }

    #[test]
    fn k1_k2_combined_as_the_crate_does() {
        for shift in 0..usize::BITS {
            for len in [1usize << shift, 1 << shift | 1, 0x1234_5678_9ABC_DEF1 >> shift | 1] {
                let (a, b) = (0xDEAD_BEEF ^ shift, 0x0123_4567 << (shift % 8));
                assert_eq!(combine(a, b, len), crc32c::crc32c_combine(a, b, len), "{len}");
                assert_eq!(combine(a, 0, 0), a);
            }
        }
    }
}
