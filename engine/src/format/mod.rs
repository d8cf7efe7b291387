//! Bytes to types and back: every structure of the container and of the journal.
//!
//! Nothing here does I/O, allocates by a number it has not bounded, or panics on any bytes: a
//! decoder takes a slice and says what it holds or what is wrong with it and where. The layout is
//! drawn in `docs/FORMAT.md`; each structure has its golden bytes in the tests beside it.
//!
//! # Invariants
//! - F1: a decoder given any bytes returns; it never panics, and allocates only what the slice
//!   given could hold.
//! - F2: whatever an encoder writes, its decoder reads back equal.
//! - F3: a structure with any one bit flipped is refused.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod fill;
pub mod frame;
pub mod header;
pub mod index;
pub mod layout;
pub mod members;
pub mod recipe;
pub mod record;
pub mod seek_table;
pub mod zstd;

use std::borrow::Cow;
use std::fmt;

/// Magic number of every skippable frame of ours: one of the sixteen that RFC 8878 sets aside.
pub const SKIPPABLE_MAGIC: u32 = 0x184D_2A5C;

/// First payload byte of a skippable frame of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Subtype {
    /// A part of the index.
    Index = 1,
    /// The rest of a slot.
    Pad = 2,
    /// The member index.
    Members = 4,
    /// The header: the first letter of its magic.
    Header = b'R',
}

/// What is wrong with bytes, as far as bytes alone can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// They are something else altogether.
    Foreign,
    /// They follow a version, or use a feature, not known here.
    Unsupported,
    /// They contradict their checksum, their neighbours or the format.
    Damaged,
}

/// Why a structure was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatError {
    /// What kind of refusal this is.
    pub fault: Fault,
    /// What was found, in lower case.
    pub message: Cow<'static, str>,
}

impl FormatError {
    pub(crate) fn foreign(message: impl Into<Cow<'static, str>>) -> Self {
        Self { fault: Fault::Foreign, message: message.into() }
    }

    pub(crate) fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self { fault: Fault::Unsupported, message: message.into() }
    }

    pub(crate) fn damaged(message: impl Into<Cow<'static, str>>) -> Self {
        Self { fault: Fault::Damaged, message: message.into() }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FormatError {}

/// The result of decoding: what was encoded (F2), or why the bytes can't be that (F3).
pub type Decoded<T> = Result<T, FormatError>;

/// Reads little-endian integers off the front of a slice; past its end there is damage, not a
/// panic (F1).
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(FormatError::damaged("structure is cut short"));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(FormatError::damaged("structure is cut short"));
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Decoded<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Decoded<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Decoded<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// The eight bytes before a skippable frame's payload.
#[must_use]
pub(crate) fn skippable_prefix(payload_len: u32) -> [u8; 8] {
    let mut prefix = [0; 8];
    let (magic, size) = prefix.split_at_mut(4);
    magic.copy_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    size.copy_from_slice(&payload_len.to_le_bytes());
    prefix
}

#[cfg(test)]
pub(crate) mod tests {
    /// Calls `refused` with `bytes` with each single bit flipped in turn (attacks F3).
    pub(crate) fn every_flipped_bit(bytes: &[u8], mut refused: impl FnMut(&[u8]) -> bool) {
        let mut flipped = bytes.to_vec();
        for bit in 0..bytes.len() * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&flipped), "bit {} of byte {} goes unnoticed", bit % 8, bit / 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// Calls `refused` with every proper prefix of `bytes` (attacks F1).
    pub(crate) fn every_truncation(bytes: &[u8], mut refused: impl FnMut(&[u8]) -> bool) {
        for len in 0..bytes.len() {
            assert!(refused(&bytes[..len]), "cut at {len} goes unnoticed");
        }
    }
}
