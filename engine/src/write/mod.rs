//! Writing a container chunk by chunk: for programs that have their content in pieces, in any
//! order, on any thread.
//!
//! ```text
//! program's threads: check ─► encode ─► (place) ─┐
//!                                                ├─► a core's ring ─► recorder: records,
//!                    … one buffer a chunk …  ────┘    checkpoints, finalize, publish
//! ```
//!
//! A [`ContainerWriter`] makes a file, durable and all or nothing; a [`MemoryWriter`] makes the
//! same bytes in memory. Both are [`ChunkWriter`]s, which the adapters [`StreamWriter`] (bytes in
//! order) and [`AtWriter`] (bytes at offsets) stand on.

mod adapters;
mod begun;
#[cfg(feature = "tokio-uring")]
mod by_caller;
mod claims;
mod container;
mod exchange;
mod memory;
mod options;
mod recorder;
mod session;
mod shared;
mod task;

use crate::error::Result;
use crate::format::header::Header;
use crate::pipeline::RunReport;

pub use adapters::{AtWriter, StreamWriter};
#[cfg(feature = "tokio-uring")]
pub(crate) use by_caller::{ByCaller, Ready};
pub use container::ContainerWriter;
pub use memory::MemoryWriter;
pub use options::{ReopenOptions, WINDOW_MAX, WriteOptions};

/// What takes chunks in any order and makes a container of them.
///
/// ```
/// use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
///
/// /// Cuts `bytes` into chunks, and gives them last first.
/// fn backwards<W: ChunkWriter>(writer: W, bytes: &[u8]) -> ringpack::Result<W::Finished> {
///     for (sequence, chunk) in bytes.chunks(writer.chunk_len()).enumerate().rev() {
///         writer.write_chunk(sequence as u64, chunk)?;
///     }
///     writer.finalize()
/// }
///
/// # fn main() -> ringpack::Result<()> {
/// let container = backwards(MemoryWriter::new(&WriteOptions::default())?, &[7; 3 << 20])?;
/// # assert!(container.len() > 4096);
/// # Ok(()) }
/// ```
pub trait ChunkWriter {
    /// What finalizing gives.
    type Finished;

    /// Length of every chunk but the last, in bytes.
    fn chunk_len(&self) -> usize;

    /// Whether chunk `sequence` was given.
    fn is_given(&self, sequence: u64) -> bool;

    /// Gives chunk `sequence`, the content from byte `sequence * chunk_len` on.
    ///
    /// # Errors
    /// `Sequence` where the chunk can't be given, or not yet; else what made the writer fail.
    fn write_chunk(&self, sequence: u64, bytes: &[u8]) -> Result<()>;

    /// Completes the container.
    ///
    /// # Errors
    /// `Sequence` where a chunk is missing; else what made the writer fail.
    fn finalize(self) -> Result<Self::Finished>;
}

/// What writing came to.
///
/// ```
/// use ringpack::write::{ContainerWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.zst");
/// let writer = ContainerWriter::create(&path, &WriteOptions::default())?;
/// let report = writer.finalize(None)?;
/// assert_eq!((report.header.content_size, report.reopened), (0, None));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct WriteReport {
    /// The header as written.
    pub header: Header,
    /// What the writer went on from, if it was reopened.
    pub reopened: Option<Reopened>,
    /// Whether the file was written past the page cache.
    pub direct: bool,
    /// Counts and tier.
    pub run: RunReport,
}

/// What a writer went on from.
///
/// ```
/// use ringpack::write::{ContainerWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.zst");
/// let writer = ContainerWriter::create(&path, &WriteOptions::default())?;
/// writer.write_chunk(5, &[7; 1 << 20])?;
/// writer.suspend()?;
///
/// let writer = ContainerWriter::reopen(&path)?;
/// assert_eq!(writer.reopened().map(|reopened| reopened.chunks), Some(1));
/// assert!(writer.missing(0..6).eq(0..5));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Reopened {
    /// Chunks that were read back as they were written, and count as given.
    pub chunks: u64,
}
