//! Memory lent to an operation of the runtime's.
//!
//! # Invariants
//! - A2: memory that was lent is freed only after it was taken back, which whoever holds it does
//!   only once the operation has ended; dropped before that, it stays allocated for good.

#![allow(unsafe_code)] // The runtime's interface for buffers is unsafe.

use std::mem::ManuallyDrop;
use std::ops::Range;

use tokio_uring::buf::{IoBuf, IoBufMut};

use crate::buffer::AlignedMemory;

/// A part of some memory, lent. It has no drop of its own (A2).
#[derive(Debug)]
pub(super) struct Lent {
    memory: ManuallyDrop<AlignedMemory>,
    part: Range<usize>,
}

impl Lent {
    /// Lends `part` of `memory`.
    ///
    /// # Panics
    /// Where the memory has no such part.
    pub(super) fn new(memory: AlignedMemory, part: Range<usize>) -> Self {
        assert!(part.start <= part.end && part.end <= memory.len(), "{part:?} lies inside");
        Self { memory: ManuallyDrop::new(memory), part }
    }

    /// Takes it back from an operation that has ended.
    pub(super) fn take_back(self) -> AlignedMemory {
        ManuallyDrop::into_inner(self.memory)
    }
}

// SAFETY: the memory is allocated once, stays where it is wherever this value is moved, and all of
// it is initialised; it is freed only after `take_back` (A2).
unsafe impl IoBuf for Lent {
    fn stable_ptr(&self) -> *const u8 {
        self.memory[self.part.clone()].as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.part.len()
    }

    fn bytes_total(&self) -> usize {
        self.part.len()
    }
}

// SAFETY: as above; this value is the only one that leads to the memory.
unsafe impl IoBufMut for Lent {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.memory[self.part.clone()].as_mut_ptr()
    }

    unsafe fn set_init(&mut self, _: usize) {
        // All of it is initialised from the start.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a2_what_is_dropped_while_it_is_lent_stays_allocated() {
        let memory = AlignedMemory::zeroed(8192);
        let address = memory.address();
        let lent = Lent::new(memory, 4096..8192);
        assert_eq!(lent.stable_ptr() as usize, address.as_ptr() as usize + 4096);
        assert_eq!((lent.bytes_init(), lent.bytes_total()), (4096, 4096));
        drop(lent);
        // The allocator gives the same place out again as soon as it is free.
        let others: Vec<_> = (0..64).map(|_| AlignedMemory::zeroed(8192)).collect();
        assert!(others.iter().all(|other| other.address() != address));
    }

    #[test]
    fn what_is_taken_back_is_what_was_lent() {
        let mut memory = AlignedMemory::zeroed(4096);
        memory[5] = 9;
        let address = memory.address();
        let memory = Lent::new(memory, 0..10).take_back();
        assert_eq!((memory.address(), memory[5]), (address, 9));
    }
}
