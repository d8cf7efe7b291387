//! The ringpack engine: big data into one compressed, checksummed, seekable container, and back.
//!
//! A container is a valid Zstandard stream in the Zstandard Seekable Format (`zstd -d` restores it)
//! that also carries a header, an index with checksums of every frame and chunk, and optionally a
//! BLAKE3 digest. It is written by one thread a core, each with an io_uring of its own, and appears
//! under its name whole and durable, or not at all.
//!
//! ```
//! use ringpack::pack::{Input, Output, PackOptions, pack};
//! use ringpack::{Cancel, ContainerReader, OsDisk};
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
//! # What a program uses
//! - [`write`](mod@write): a container from chunks, in any order, from any thread
//! - [`read`]: a container's content, by range, by chunk or as a stream
//! - [`pack`], [`unpack`], [`verify`], [`salvage`]: whole files, as the command line does
//! - [`members`]: what an archive within the content holds, told while it is packed
//! - [`damage`]: maps of what is damaged
//! - [`bench`](mod@bench): how fast all that is here, and what holds it back
//! - [`doctor`]: what this system lets the engine do, and the remedy for what it doesn't
//! - `aio`: the same on a tokio or tokio-uring runtime, with the cargo features of these names
//! - the types named below, and [`limits`]
//!
//! Semantic versioning covers these. The other modules are the engine's own, public for its tests
//! and its command line, and hidden from this documentation; they may change at any time.
//!
//! # Cargo features
//! - `tokio`, `tokio-uring`: the module `aio`
//! - `serde`: options can be deserialized and serialized, reports and errors serialized
//! - `tracing`: a span for each job, checkpoint and publication; events for warnings and failures
//!
//! # How it is built
//! The modules are layers; each knows only those before it:
//!
//! - numbers and names: `limits`, `units`, `escape`, `error`, `trace`, `cancel`, `progress`,
//!   `eventcount`, `checksum`, `digest`, `damage`
//! - `format`: bytes to types and back, without I/O
//! - `buffer`, `stats`, `ring`: aligned memory, and the only place that knows the kernel
//! - `spool`, `ordered`, `source`, `chunker`, `codec`, `placement`, `encode`: the stages
//! - `journal`: what is durable of a file that is not finished
//! - `commit`: how a file comes to stand under its name
//! - `worker`, `pipeline`: the per-core loop, and the cores together
//! - `members`: the member index of an archive
//! - `known`: what is known of each chunk, and how it is adopted
//! - `pack`, `write`, `read`, `unpack`, `verify`, `salvage`, `foreign`, `aio`, `bench`, `doctor`:
//!   what a program calls
//!
//! The engine never prints and never panics on any input; what it finds wrong is an [`Error`].

#![deny(missing_docs)]

#[cfg(any(feature = "tokio", feature = "tokio-uring"))]
pub mod aio;
pub mod bench;
#[doc(hidden)]
pub mod buffer;
#[doc(hidden)]
pub mod cancel;
#[doc(hidden)]
pub mod checksum;
#[doc(hidden)]
pub mod chunker;
#[doc(hidden)]
pub mod codec;
#[doc(hidden)]
pub mod commit;
pub mod damage;
#[doc(hidden)]
pub mod digest;
pub mod doctor;
#[doc(hidden)]
pub mod encode;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod escape;
#[doc(hidden)]
pub mod eventcount;
#[doc(hidden)]
pub mod foreign;
#[doc(hidden)]
pub mod format;
#[doc(hidden)]
pub mod journal;
mod known;
pub mod limits;
pub mod members;
#[doc(hidden)]
pub mod ordered;
pub mod pack;
#[doc(hidden)]
pub mod pipeline;
#[doc(hidden)]
pub mod placement;
#[doc(hidden)]
pub mod planted;
#[doc(hidden)]
pub mod progress;
pub mod read;
#[doc(hidden)]
pub mod ring;
pub mod salvage;
#[doc(hidden)]
pub mod source;
#[doc(hidden)]
pub mod spool;
#[doc(hidden)]
pub mod stats;
mod sync;
mod trace;
#[doc(hidden)]
pub mod units;
pub mod unpack;
pub mod verify;
#[doc(hidden)]
pub mod worker;
pub mod write;

pub use cancel::Cancel;
pub use codec::Codec;
pub use commit::{Cadence, Observer};
pub use error::{Error, ErrorKind, Result};
pub use format::header::{CodecKind, Digest, Header, PlacementKind};
pub use journal::Checkpoint;
pub use members::{Member, MemberKind, MemberList};
pub use pipeline::{IoMode, RunReport};
pub use progress::{Phase, Progress, Seen, Stage};
pub use read::{ContainerReader, ReadAt};
pub use ring::file::{Attributes, Disk};
pub use ring::os::OsDisk;
pub use write::{ContainerWriter, MemoryWriter};
