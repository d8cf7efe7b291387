//! The edge for programs on a tokio-uring runtime, with the cargo feature `tokio-uring`: ranges are
//! read and chunks are written by that runtime's own ring.
//!
//! The hot loop of packing is not here: that runtime's ring can't be given the flags which that
//! takes, and there is one thread to a runtime. This is for programs that have one already. None of
//! its types stand in an interface of this crate.
//!
//! # The end of a runtime
//! tokio-uring 0.5 frees the buffers of operations that are in flight when its runtime ends, and
//! only then cancels them: until that has happened the kernel reads from, or writes to, memory that
//! is somebody else's by then. So
//!
//! - every operation is a task of its own, which ends with the operation even if whoever waits for
//!   it is dropped (by a timeout, say);
//! - [`start`] waits for all of them before the runtime ends, and so may a program that makes its
//!   runtime itself, by [`drain`];
//! - memory that is lent to an operation is freed by nobody but who got it back: if the runtime
//!   drops it all the same, it is leaked, not freed.

mod file;
mod lent;
mod operations;
mod reader;

mod writer;

pub use operations::{drain, in_flight, start};
pub use reader::UringReader;

pub use writer::UringWriter;
