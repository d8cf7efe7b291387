//! A heap allocation on a block boundary, of fixed length, initialised to zeros.
//!
//! `Vec<u8>` can't be had with an alignment, and may move. This is the least that direct I/O and
//! registered buffers need: allocate once, lend as a slice, free once.
//!
//! # Invariants
//! - A1: `start` is the start of an allocation of `len` bytes made with `layout(len)`, all of them
//!   initialised, owned by this value alone, and freed by its drop alone.

#![allow(unsafe_code)] // One of the islands: the allocator's interface is unsafe.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::limits::ALIGN;

/// Zeroed memory that starts on a multiple of [`ALIGN`] and whose length is one.
pub struct AlignedMemory {
    start: NonNull<u8>,
    len: usize,
}

impl AlignedMemory {
    /// Allocates `len` bytes, rounded up to the grid; at least one block.
    ///
    /// # Panics
    /// Where `len` passes `isize::MAX`: no length from a file reaches this unchecked.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let len = len.max(1).next_multiple_of(ALIGN);
        let layout = layout(len);
        // SAFETY: A1: the layout has a length of at least ALIGN, so it isn't zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, len }
    }

    /// The address of the first byte. It stays the same for the life of this value, wherever the
    /// value itself is moved.
    #[must_use]
    pub fn address(&self) -> NonNull<u8> {
        self.start
    }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, ALIGN).expect("a buffer's length fits isize")
}

impl Drop for AlignedMemory {
    fn drop(&mut self) {
        // SAFETY: A1: allocated with this layout, and not freed before.
        unsafe { dealloc(self.start.as_ptr(), layout(self.len)) }
    }
}

impl Deref for AlignedMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: A1: `len` initialised bytes, borrowed as long as `self` is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: A1: `len` initialised bytes, borrowed mutably as long as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

// SAFETY: A1: the allocation is owned by this value alone, as a boxed slice's is.
unsafe impl Send for AlignedMemory {}
// SAFETY: shared references give shared slices only.
unsafe impl Sync for AlignedMemory {}

impl fmt::Debug for AlignedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedMemory").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_aligned_zeroed_and_in_place() {
        for (asked, given) in [(0, 4096), (1, 4096), (4096, 4096), (5000, 8192), (1 << 20, 1 << 20)]
        {
            let mut memory = AlignedMemory::zeroed(asked);
            assert_eq!(memory.len(), given);
            assert!(memory.iter().all(|&byte| byte == 0));
            assert_eq!(memory.address().as_ptr() as usize % ALIGN, 0);
            memory[given - 1] = 7;
            let address = memory.address();
            let moved = Box::new(memory);
            assert_eq!((moved.address(), moved[given - 1]), (address, 7));
        }
    }
}
