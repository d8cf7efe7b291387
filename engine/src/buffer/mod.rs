//! Memory that the kernel may read from or write to directly.
//!
//! Direct I/O asks for block-aligned memory, and registered buffers ask that it stay where it is
//! for as long as the ring lives. [`aligned`] gives such memory, [`pool`] hands it out and takes
//! it back.

pub mod aligned;
pub mod pool;

pub use aligned::AlignedMemory;
pub use pool::{Buffer, Pool};
