//! Newtypes for what is counted: chunks, extents and places in a file.
//!
//! A sequence, an extent number and a file offset are all `u64`s that would otherwise be swapped
//! for one another without a word from the compiler. Arithmetic that could wrap on hostile input
//! is checked; arithmetic on values the engine made itself is plain.

use std::fmt;

use crate::limits::ALIGN;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

unit! {
    /// The number of a chunk in the content, from 0.
    Sequence
}
unit! {
    /// The number of an extent in the container, from 0.
    ExtentNumber
}
unit! {
    /// A place in a file, in bytes from its start.
    FileOffset
}

/// `bytes` rounded up to a multiple of [`ALIGN`].
///
/// # Panics
/// In debug builds where the result passes `u64::MAX`; use [`checked_align_up`] on unverified
/// numbers.
#[must_use]
pub const fn align_up(bytes: u64) -> u64 {
    align_down(bytes + (ALIGN as u64 - 1))
}

/// `bytes` rounded up to a multiple of [`ALIGN`], or `None` past `u64::MAX`.
#[must_use]
pub const fn checked_align_up(bytes: u64) -> Option<u64> {
    match bytes.checked_add(ALIGN as u64 - 1) {
        Some(sum) => Some(align_down(sum)),
        None => None,
    }
}

/// `bytes` rounded down to a multiple of [`ALIGN`].
#[must_use]
pub const fn align_down(bytes: u64) -> u64 {
    bytes & !(ALIGN as u64 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_stays_on_the_grid() {
        for (bytes, down, up) in [(0, 0, 0), (1, 0, 4096), (4096, 4096, 4096), (4097, 4096, 8192)] {
            assert_eq!((align_down(bytes), align_up(bytes)), (down, up), "{bytes}");
        }
        assert_eq!(checked_align_up(u64::MAX), None);
        assert_eq!(checked_align_up(u64::MAX - 4095), Some(u64::MAX - 4095));
    }
}
