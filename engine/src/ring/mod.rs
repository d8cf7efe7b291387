//! The ring: the only place that knows the kernel.
//!
//! Above it there are operations on files with buffers that come back when they are done; below it
//! there is io_uring, or pread and pwrite, or a simulated disk. Two seams divide the two:
//!
//! - [`Backend`], one for each worker: reads and writes, many in flight at once.
//! - [`mod@file`]: files, directories and the disk they are on; what is called once a job rather
//!   than once an extent (create, allocate, fsync, rename).
//!
//! ```text
//!            submit(op)                      turn(wait)
//! worker ───────────────► in-flight table ◄────────────── completions
//!    ▲                     slot owns buffer                    │
//!    └──────────────── completed, buffer returned ◄────────────┘
//! ```
//!
//! # Invariants
//! - R1: from `submit` until its completion, an operation's buffer belongs to its slot in the
//!   in-flight table and nobody else can reach it; on error and on drop too.
//! - R2: a write is reported done only when every byte of every span was written.
//! - R3: a backend dropped with operations in flight waits for them, or leaks their buffers; it
//!   never frees one the kernel may still write to or read from.

mod acl;
pub mod affinity;
mod calls;
pub mod cpu;
pub mod file;
pub mod inflight;
pub mod iowq;
pub mod op;
pub mod os;
pub mod probe;
pub mod pwrite;
pub mod sim;
pub mod status;
pub mod stream;
pub mod system;
pub mod uring;
pub mod whole;
pub mod writeback;

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::stats::RingCounters;

pub use file::{Directory, Disk, File};
pub use op::{Completed, Failure, FileSlot, Op, OpKind, Span};

/// Whether a turn may block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Submit, take what has completed, return.
    No,
    /// Return with at least one completion, if anything is in flight.
    ForOne,
}

/// Which implementation a worker runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BackendKind {
    /// io_uring.
    Uring,
    /// pread and pwrite, one at a time.
    Pwrite,
    /// The simulator.
    Sim,
}

/// What a backend turned out to be able to do on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Tier {
    /// The implementation.
    pub kind: BackendKind,
    /// Buffers registered with the kernel.
    pub registered_buffers: usize,
    /// Whether the files are registered.
    pub registered_files: bool,
    /// Whether the ring is restricted to reads and writes of those files.
    pub restricted: bool,
    /// Whether completions are deferred to the worker's own turn (`DEFER_TASKRUN`).
    pub deferred: bool,
}

/// The files a backend serves, addressed by [`FileSlot`].
pub type Files = Vec<Arc<dyn File>>;

/// Reads and writes of one worker.
///
/// Not `Send`: a ring belongs to the thread that made it.
pub trait Backend {
    /// Queues an operation. It is handed to the system by the next turn, with all the others
    /// queued by then.
    ///
    /// # Panics
    /// Where more operations are in flight than the backend was made for: the number of buffers
    /// bounds them.
    fn submit(&mut self, op: Op);

    /// Hands over what is queued and appends what has completed to `done`: one system call for the
    /// whole batch.
    ///
    /// # Errors
    /// Where the ring itself fails, which is fatal for the job. An operation's own failure is in
    /// its [`Completed`].
    fn turn(&mut self, wait: Wait, done: &mut Vec<Completed>) -> std::io::Result<()>;

    /// Operations submitted and not yet returned.
    fn in_flight(&self) -> usize;

    /// What has been counted so far.
    fn counters(&self) -> RingCounters;

    /// What the backend can do here.
    fn tier(&self) -> Tier;
}

/// What a backend is made for.
#[derive(Clone, Debug)]
pub struct BackendConfig<'a> {
    /// The files it serves.
    pub files: Files,
    /// The buffers it will be given, for registration. Their ids are 0, 1, 2 … in order.
    pub buffers: Vec<&'a Buffer>,
}
