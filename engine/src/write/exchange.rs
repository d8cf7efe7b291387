//! How buffers go from a program's threads to a core's ring and back, without a lock.
//!
//! A core lends its free buffers out to whoever gives a chunk. The thread fills one with the
//! chunk's frame and hands it to that same core, since the kernel knows the buffer as that ring's.
//!
//! ```text
//!            ┌──────── free ◄──────────── written ◄─┐
//! program's  │                                      │ core's
//! threads    └─► encode ─► placed? ─► given ────────┘ thread
//! ```
//!
//! # Invariants
//! - X4: a buffer goes back to the core that lent it, and `given` always has room for it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;

use crate::buffer::Buffer;
use crate::encode::Single;
use crate::error::Result;
use crate::journal::Checkpoint;
use crate::placement::PlacedExtent;

/// Flushes that may be under way at a time.
const FLUSHES_MAX: usize = 1;

/// A chunk whose frame is made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) single: Single,
    pub(super) placed: Option<PlacedExtent>,
}

/// A request for a checkpoint, passed to every core.
pub(super) struct Flush {
    cores_left: AtomicUsize,
    reply: Mutex<Option<Reply>>,
}

type Reply = Box<dyn FnOnce(Result<Checkpoint>) + Send>;

impl Flush {
    /// A request that `cores` cores have to answer before `reply` is called.
    pub(super) fn new(
        cores: usize,
        reply: impl FnOnce(Result<Checkpoint>) + Send + 'static,
    ) -> Arc<Self> {
        let reply: Reply = Box::new(reply);
        Arc::new(Self { cores_left: AtomicUsize::new(cores), reply: Mutex::new(Some(reply)) })
    }

    /// Tells whoever asked.
    pub(super) fn reply(&self, taken: Result<Checkpoint>) {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reply) = reply {
            reply(taken);
        }
    }

    /// Takes note that a core has; `true` for the last of them.
    pub(super) fn answered(&self) -> bool {
        self.cores_left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

impl fmt::Debug for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").field("cores_left", &self.cores_left).finish_non_exhaustive()
    }
}

/// What is handed to a core.
#[derive(Debug)]
pub(super) enum Given {
    Chunk(Made, Buffer),
    /// What was given before it is to be written, and then this answered.
    Flush(Arc<Flush>),
}

/// A core's side of the exchange.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) free: ArrayQueue<Buffer>,
    given: ArrayQueue<Given>,
}

impl Core {
    /// An exchange for a core with that many buffers.
    pub(super) fn new(buffers: usize) -> Self {
        let given = ArrayQueue::new(buffers + FLUSHES_MAX);
        Self { free: ArrayQueue::new(buffers), given }
    }

    /// Hands something to the core.
    ///
    /// # Panics
    /// Where more is handed over than there are buffers.
    pub(super) fn give(&self, given: Given) {
        // X4: as many places as things that can be given.
        assert!(self.given.push(given).is_ok(), "there is a place for each buffer");
    }

    /// What was handed over first.
    pub(super) fn take(&self) -> Option<Given> {
        self.given.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x4_there_is_a_place_for_each_buffer_and_a_request() {
        let core = Core::new(3);
        for id in 0..3 {
            assert!(core.free.push(Buffer::new(1, id)).is_ok());
        }
        assert!(core.free.push(Buffer::new(1, 9)).is_err());
        let flush = Flush::new(2, drop);
        // As many as there are buffers; what stands in for the chunks doesn't matter here.
        for _ in 0..3 + FLUSHES_MAX {
            core.give(Given::Flush(Arc::clone(&flush)));
        }
        assert!(core.given.is_full());
        assert!(!flush.answered() && flush.answered(), "the second of two cores is the last");
    }
}
