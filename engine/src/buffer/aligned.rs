//! Memory on a block boundary, of fixed length, initialised to zeros.
//!
//! `Vec<u8>` can't be had with an alignment, and may move. This is the least that direct I/O and
//! registered buffers need: allocate once, lend as a slice, free once.
//!
//! From 2 MiB on it is mapped by itself and starts on a boundary of huge pages, which the kernel
//! is asked for: a request to the device holds a bounded number of pieces (254 on virtio), so in
//! pages of 4 KiB an extent takes a request a MiB, in huge pages one or two in all. Where there
//! are none to be had, it is made of the ordinary ones.
//!
//! # Invariants
//! - A1: `start` is the start of `len` initialised bytes, owned by this value alone and freed by
//!   its drop alone: of the mapping of `len + HUGE` bytes at `mapping`, where it has one, or else
//!   an allocation made with `layout(len)`.

#![allow(unsafe_code)] // One of the islands: allocator and kernel have unsafe interfaces.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::c_void;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::limits::ALIGN;

/// Bytes of a huge page, on x86-64 and on AArch64 with pages of 4 KiB.
const HUGE: usize = 2 << 20;

/// What [`AlignedMemory::poison`] writes: no zero, no text, not a byte of our magics.
pub const POISON: u8 = 0xA5;

/// Zeroed memory that starts on a multiple of [`ALIGN`] and whose length is one.
pub struct AlignedMemory {
    start: NonNull<u8>,
    len: usize,
    mapping: Option<NonNull<c_void>>,
}

impl AlignedMemory {
    /// Allocates `len` bytes, rounded up to the grid; at least one block.
    ///
    /// # Panics
    /// Where `len` passes `isize::MAX`: no length from a file reaches this unchecked.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).unwrap_or_else(|| handle_alloc_error(layout(on_grid(len))))
    }

    /// The same, or `None` where there is no memory for it.
    ///
    /// # Panics
    /// As [`Self::zeroed`].
    #[must_use]
    pub fn try_zeroed(len: usize) -> Option<Self> {
        let len = on_grid(len);
        // Miri knows no advice to the kernel.
        let mapped = if len >= HUGE && !cfg!(miri) { map(len) } else { None };
        mapped.or_else(|| {
            // SAFETY: A1: the layout has a length of at least ALIGN, so it isn't zero.
            let start = NonNull::new(unsafe { alloc_zeroed(layout(len)) })?;
            Some(Self { start, len, mapping: None })
        })
    }

    /// In builds with debug assertions, as tests and the simulator are built, fills the memory with
    /// [`POISON`], so that bytes of an earlier use never pass for zeros or for the same content.
    /// Nothing in other builds. Called wherever memory that was used before is lent again.
    pub fn poison(&mut self) {
        if cfg!(debug_assertions) {
            self.fill(POISON);
        }
    }

    /// The address of the first byte. It stays the same for the life of this value, wherever the
    /// value itself is moved.
    #[must_use]
    pub fn address(&self) -> NonNull<u8> {
        self.start
    }
}

fn on_grid(len: usize) -> usize {
    len.max(1).next_multiple_of(ALIGN)
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, ALIGN).expect("a buffer's length fits isize")
}

/// Maps `len` bytes from a boundary of huge pages on, or none where the kernel refuses.
fn map(len: usize) -> Option<AlignedMemory> {
    // Room to move the start up to the boundary. What isn't touched takes no memory.
    let whole = NonZeroUsize::new(len.checked_add(HUGE)?)?;
    let (access, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
    // SAFETY: a new mapping, wherever the kernel likes: it overlaps nothing.
    let mapping = unsafe { mmap_anonymous(None, whole, access, flags) }.ok()?;
    let skipped = mapping.align_offset(HUGE);
    // SAFETY: A1: `skipped` is less than HUGE, so `len` bytes from there are in the mapping.
    let start = unsafe { mapping.byte_add(skipped) };
    // SAFETY: the range is this mapping's own, and the advice changes no byte of it. Refused, the
    // pages are ordinary ones.
    let _ = unsafe { madvise(start, len, MmapAdvise::MADV_HUGEPAGE) };
    // A1: a new mapping reads as zeros.
    Some(AlignedMemory { start: start.cast(), len, mapping: Some(mapping) })
}

impl Drop for AlignedMemory {
    fn drop(&mut self) {
        let Some(mapping) = self.mapping else {
            // SAFETY: A1: allocated with this layout, and not freed before.
            return unsafe { dealloc(self.start.as_ptr(), layout(self.len)) };
        };
        // SAFETY: A1: a whole mapping of this length, not unmapped before, and nobody else's.
        let unmapped = unsafe { munmap(mapping, self.len + HUGE) };
        debug_assert_eq!(unmapped, Ok(()), "a whole mapping can be unmapped");
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

// SAFETY: A1: the memory is owned by this value alone, as a boxed slice's is.
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
        let huge = HUGE + ALIGN;
        for (asked, given) in
            [(0, 4096), (1, 4096), (4096, 4096), (5000, 8192), (1 << 20, 1 << 20), (huge - 1, huge)]
        {
            let mut memory = AlignedMemory::zeroed(asked);
            assert_eq!(memory.len(), given);
            assert!(memory.iter().all(|&byte| byte == 0));
            let grid = if given < HUGE || cfg!(miri) { ALIGN } else { HUGE };
            assert_eq!(memory.address().as_ptr() as usize % grid, 0);
            memory[given - 1] = 7;
            let address = memory.address();
            let moved = Box::new(memory);
            assert_eq!((moved.address(), moved[given - 1]), (address, 7));
        }
    }
}
