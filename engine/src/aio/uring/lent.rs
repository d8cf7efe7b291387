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
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio_uring::fs::File;

    /// A buffer that looks, when it is dropped, whether an operation still writes to it.
    struct Watching {
        memory: Vec<u8>,
        pipe: Mutex<std::fs::File>,
        written_while_dropped: Arc<AtomicBool>,
    }

    impl Drop for Watching {
        fn drop(&mut self) {
            self.pipe.lock().unwrap().write_all(&[0x5a]).unwrap();
            // Whatever the kernel has left to do for this thread it does on the way out of a call.
            std::thread::sleep(Duration::from_millis(20));
            // SAFETY: one byte of the vector, read as the kernel may just have changed it.
            let byte = unsafe { self.memory.as_ptr().read_volatile() };
            self.written_while_dropped.store(byte == 0x5a, SeqCst);
        }
    }

    // SAFETY: the vector's memory stays where it is while this value is moved.
    unsafe impl IoBuf for Watching {
        fn stable_ptr(&self) -> *const u8 {
            self.memory.as_ptr()
        }

        fn bytes_init(&self) -> usize {
            self.memory.len()
        }

        fn bytes_total(&self) -> usize {
            self.memory.len()
        }
    }

    // SAFETY: as above, and nothing else leads to it.
    unsafe impl IoBufMut for Watching {
        fn stable_mut_ptr(&mut self) -> *mut u8 {
            self.memory.as_mut_ptr()
        }

        unsafe fn set_init(&mut self, _: usize) {}
    }

    /// What all of this is for: the runtime ends, and drops a buffer that the kernel then writes
    /// to. Should it do so no longer, the guard may go.
    #[test]
    fn the_runtime_alone_drops_a_buffer_that_an_operation_still_writes_to() {
        let written_while_dropped = Arc::new(AtomicBool::new(false));
        tokio_uring::start(async {
            let (reader, writer) = std::io::pipe().unwrap();
            let [reader, writer]: [OwnedFd; 2] = [reader.into(), writer.into()];
            let reader = File::from_std(reader.into());
            let buffer = Watching {
                memory: vec![0; 16],
                pipe: Mutex::new(writer.into()),
                written_while_dropped: Arc::clone(&written_while_dropped),
            };
            tokio_uring::spawn(async move { reader.read_at(buffer, 0).await.0 });
            tokio::task::yield_now().await;
        });
        assert!(written_while_dropped.load(SeqCst));
    }

    #[test]
    fn a2_what_is_dropped_while_it_is_lent_stays_allocated() {
        let memory = AlignedMemory::zeroed(8192);
        let address = memory.address();
        let lent = Lent::new(memory, 4096..8192);
        assert_eq!(lent.stable_ptr() as usize, address.as_ptr() as usize + 4096);
        assert_eq!((lent.bytes_init(), lent.bytes_total()), (4096, 4096));
        // As the runtime drops it: in a box that it doesn't know the content of.
        let dropped: Box<dyn std::any::Any> = Box::new(lent);
        drop(dropped);
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
