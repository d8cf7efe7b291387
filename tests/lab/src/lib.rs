//! The power-cut laboratory: records what a file system writes to a disk, and shows what a power
//! cut at any moment could have left of it.
//!
//! ```text
//! program under test ─► file system ─► loop device ─► recording disk (FUSE) ─► log
//!                                                                               │
//!        check ◄─ file system, mounted after the cut ◄─ image ◄─ cut + survivors ┘
//! ```
//!
//! 1. A [`Lab`] holds images in memory, on a file system that clones files.
//! 2. A [`Base`] is a file system at rest, with what stood there before the program ran.
//! 3. [`record`](record::record) mounts it through the recording disk and runs the program, which
//!    says what it claims by writing marks (`start`, `committed`) to a control file.
//! 4. A [`Log`] has every write, flush and mark in one order; a [`Cut`] is a moment in it and the
//!    choice of which writes, of those that no flush covered, the medium kept.
//! 5. A [`Rig`] makes the image of a cut, mounts it and hands it to a check;
//!    [`survey`](survey::survey) does so for thousands.
//!
//! What the checks find is held against the [`Claims`] that stood before the cut: a program may
//! lose what it never claimed, and nothing else.

pub mod base;
pub mod claims;
pub mod cut;
mod delay;
mod disk;
pub mod flavour;
pub mod lab;
pub mod log;
mod loopback;
pub mod outcome;
pub mod packing;
pub mod record;
pub mod rig;
pub mod shape;
pub mod survey;
mod tape;
pub mod tool;
pub mod toy;

pub use base::Base;
pub use claims::Claims;
pub use cut::Cut;
pub use flavour::Flavour;
pub use lab::Lab;
pub use log::Log;
pub use packing::Packing;
pub use rig::Rig;
pub use shape::{Shape, Stop};
