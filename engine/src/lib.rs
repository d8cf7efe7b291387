//! The ringpack engine: big data into one compressed, checksummed, seekable container, and back.
//!
//! A container is a valid Zstandard stream in the Zstandard Seekable Format (`zstd -d` restores it)
//! that also carries a header, an index with checksums of every frame and chunk, and optionally a
//! BLAKE3 digest. It is written by one thread a core, each with an io_uring of its own, and appears
//! under its name whole and durable, or not at all.
//!
//! ```
//! use ringpack::pack::{Input, Output, PackOptions, pack};
//! use ringpack::ring::os::OsDisk;
//! use ringpack::{Cancel, ContainerReader};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let (input, output) = (dir.path().join("data"), dir.path().join("data.zst"));
//! std::fs::write(&input, b"something to keep")?;
//!
//! let options = PackOptions { blake3: true, ..PackOptions::default() };
//! let (from, to) = (Input::Path(input), Output::Path(output.clone()));
//! let report = pack(&OsDisk, from, to, &options, &Cancel::new())?;
//! assert_eq!(report.header.content_size, 17);
//!
//! let reader = ContainerReader::open(&output)?;
//! assert_eq!(reader.read_range(13..17)?, b"keep");
//! # Ok(()) }
//! ```
//!
//! The modules are layers; each knows only those before it:
//!
//! - numbers: [`limits`], [`units`], [`error`], [`cancel`], [`eventcount`], [`checksum`],
//!   [`digest`]
//! - [`format`](mod@format): bytes to types and back, without I/O
//! - [`buffer`], [`stats`], [`ring`]: aligned memory, and the only place that knows the kernel
//! - [`spool`], [`ordered`], [`source`], [`chunker`], [`codec`], [`placement`],
//!   [`encode`]: the stages
//! - [`journal`]: what is durable of a file that is not finished
//! - [`commit`]: how a file comes to stand under its name
//! - [`worker`], [`pipeline`]: the per-core loop, and the cores together
//! - [`pack`], [`write`](mod@write), [`read`], [`unpack`], [`verify`]: what a program calls
//! - `aio`: the same on a tokio or tokio-uring runtime, with the cargo features of these names
//!
//! The engine never prints and never panics on any input; what it finds wrong is an [`Error`].

#![deny(missing_docs)]

#[cfg(any(feature = "tokio", feature = "tokio-uring"))]
pub mod aio;
pub mod buffer;
pub mod cancel;
pub mod checksum;
pub mod chunker;
pub mod codec;
pub mod commit;
pub mod digest;
pub mod encode;
pub mod error;
pub mod eventcount;
pub mod format;
pub mod journal;
mod known;
pub mod limits;
pub mod ordered;
pub mod pack;
pub mod pipeline;
pub mod placement;
#[doc(hidden)]
pub mod planted;
pub mod read;
pub mod ring;
pub mod source;
pub mod spool;
pub mod stats;
pub mod units;
pub mod unpack;
pub mod verify;
pub mod worker;
pub mod write;

pub use cancel::Cancel;
pub use error::{Error, ErrorKind, Result};
pub use read::{ContainerReader, ReadAt};
