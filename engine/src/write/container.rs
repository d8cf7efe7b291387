//! The writer of a container file, for a program that has chunks in any order.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exchange::{Flush, Given};
use super::options::{ReopenOptions, WriteOptions};
use super::session::{Session, Transport};
use super::shared::Ending;
use super::{ChunkWriter, Reopened, WriteReport};
use crate::error::{ErrorKind, Result};
use crate::journal::Checkpoint;
use crate::ring::file::{Attributes, Disk};
use crate::ring::os::OsDisk;

/// How often whoever waits for a checkpoint looks whether the writer still goes on.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Writes a container chunk by chunk, from any number of threads, in any order.
///
/// A chunk is a piece of the content of a fixed length, a power of two; only the last may be
/// shorter. Chunk `i` is the content from byte `i * chunk_len` on. It is encoded on the thread that
/// gives it, and then written by one of the writer's own threads, each with a ring of its own;
/// where they can't keep up, whoever gives waits.
///
/// Nothing stands under the target's name before [`finalize`](Self::finalize), and then all of it
/// does, durable. A writer that is dropped instead aborts: what it wrote is gone. After a crash, or
/// a [`suspend`](Self::suspend), what the last checkpoint covers can be [gone on
/// with](Self::reopen).
///
/// ```
/// use ringpack::write::{ContainerWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.zst");
/// let options = WriteOptions { chunk_log2: 16, ..WriteOptions::default() };
/// let writer = ContainerWriter::create(&path, &options)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| writer.write_chunk(1, b"the end"));
///     scope.spawn(|| writer.write_chunk(0, &[7; 1 << 16]));
/// });
/// let report = writer.finalize(None)?;
/// assert_eq!(report.header.content_size, (1 << 16) + 7);
/// # Ok(()) }
/// ```
pub struct ContainerWriter {
    session: Session,
    /// Taken for the time of a checkpoint: the cores have room for one request.
    checkpointing: Mutex<()>,
}

impl ContainerWriter {
    /// Begins a container that is to stand at `path`.
    ///
    /// # Errors
    /// `InvalidOptions`; `TargetExists` where something has the name and replacing it was not asked
    /// for; `Locked` where another process writes the same target; `Output` or `NoSpace` where the
    /// partial file can't be made.
    pub fn create(path: impl AsRef<Path>, options: &WriteOptions) -> Result<Self> {
        Self::create_on(Arc::new(OsDisk), path, options)
    }

    /// As [`Self::create`], on a disk of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_on(
        disk: Arc<dyn Disk>,
        path: impl AsRef<Path>,
        options: &WriteOptions,
    ) -> Result<Self> {
        let session = Session::create(disk, path.as_ref(), options, Transport::Cores)?;
        Ok(Self { session, checkpointing: Mutex::new(()) })
    }

    /// Goes on with the container that is to stand at `path`, whose writer crashed or was
    /// suspended: what its last checkpoint covers is read back, and what is as it was written
    /// counts as given.
    ///
    /// [`Self::is_given`] and [`Self::missing`] say which chunks it still needs. The options that
    /// decide the container's bytes are those it was begun with.
    ///
    /// # Errors
    /// As [`Self::create`]; `NotResumable` where there is no checkpoint, or it was begun by
    /// packing, by another user or with another version of libzstd; `Complete` where the container
    /// is finished.
    pub fn reopen(path: impl AsRef<Path>) -> Result<Self> {
        Self::reopen_with(path, &ReopenOptions::default())
    }

    /// As [`Self::reopen`], with other options.
    ///
    /// # Errors
    /// As [`Self::reopen`].
    pub fn reopen_with(path: impl AsRef<Path>, options: &ReopenOptions) -> Result<Self> {
        Self::reopen_on(Arc::new(OsDisk), path, options)
    }

    /// As [`Self::reopen_with`], on a disk of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::reopen`].
    pub fn reopen_on(
        disk: Arc<dyn Disk>,
        path: impl AsRef<Path>,
        options: &ReopenOptions,
    ) -> Result<Self> {
        let session = Session::reopen(disk, path.as_ref(), options, Transport::Cores)?;
        Ok(Self { session, checkpointing: Mutex::new(()) })
    }

    /// Goes on with the container that is to stand at `path` if an interrupted writer left a
    /// checkpoint of it, and begins it if not: what a program calls that may be started again.
    ///
    /// It begins anew only where nothing is lost by it. Where there is a checkpoint that can't be
    /// used now, because another process has it, the disk fails, or it was made with other options
    /// or by packing, it says so and leaves all as it is.
    ///
    /// ```
    /// use ringpack::write::{ContainerWriter, WriteOptions};
    ///
    /// # fn main() -> ringpack::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("data.zst");
    /// let options = WriteOptions::default();
    /// let writer = ContainerWriter::reopen_or_create(&path, &options)?;
    /// writer.write_chunk(3, &[7; 1 << 20])?;
    /// writer.suspend()?;
    /// let writer = ContainerWriter::reopen_or_create(&path, &options)?;
    /// assert!(writer.is_given(3));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Self::create`] and [`Self::reopen`]; `NotResumable` where the container was begun with
    /// other options that decide its bytes.
    pub fn reopen_or_create(path: impl AsRef<Path>, options: &WriteOptions) -> Result<Self> {
        Self::reopen_or_create_on(Arc::new(OsDisk), path, options)
    }

    /// As [`Self::reopen_or_create`], on a disk of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::reopen_or_create`].
    pub fn reopen_or_create_on(
        disk: Arc<dyn Disk>,
        path: impl AsRef<Path>,
        options: &WriteOptions,
    ) -> Result<Self> {
        let path = path.as_ref();
        let session = Session::reopen_or_create(disk, path, options, Transport::Cores)?;
        Ok(Self { session, checkpointing: Mutex::new(()) })
    }

    /// Gives chunk `sequence`. When it returns, `bytes` may be used for something else; they are
    /// not durable before a checkpoint or the end.
    ///
    /// Any number of threads may call it at a time. It waits while every buffer is in use, and with
    /// dense placement while the chunk lies beyond the window and the one that holds it up is being
    /// encoded by another thread.
    ///
    /// # Errors
    /// `Sequence` where the chunk was given before, has another length than its place in the
    /// content allows, or, with dense placement, lies beyond the window: the writer goes on, and
    /// the chunk counts as not given. Any other error is the writer's, and every call repeats it:
    /// it is to be dropped, and [reopened](Self::reopen) if
    /// [`Error::resumable_bytes`](crate::Error::resumable_bytes) says so.
    pub fn write_chunk(&self, sequence: u64, bytes: &[u8]) -> Result<()> {
        self.session
            .inner
            .write_chunk(sequence, bytes)
            .map_err(|error| error.at(self.session.path()))
    }

    /// Makes every chunk durable whose [`write_chunk`](Self::write_chunk) returned before, and what
    /// follows from it: after a crash, [`reopen`](Self::reopen) finds them. With dense placement
    /// only those before the first missing one, and not a short last one: that is durable once the
    /// container is finalized.
    ///
    /// Other threads may go on giving chunks meanwhile.
    ///
    /// # Errors
    /// `NoSpace` where the journal lacks room: it may be asked again. Any other is final, as of
    /// [`write_chunk`](Self::write_chunk).
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let _one_at_a_time = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.session.inner.job.first_error()?;
        let (reply, answer) = channel();
        self.flush(move |taken| drop(reply.send(taken)));
        loop {
            match answer.recv_timeout(LOOK_AROUND) {
                Ok(answer) => return answer.map_err(|error| error.at(self.session.path())),
                // The request may lie where nobody looks any more.
                Err(RecvTimeoutError::Timeout) => self.session.inner.job.first_error(),
                Err(RecvTimeoutError::Disconnected) => Err(self.session.failure()),
            }
            .map_err(|error| error.at(self.session.path()))?;
        }
    }

    fn flush(&self, reply: impl FnOnce(Result<Checkpoint>) + Send + 'static) {
        let inner = &self.session.inner;
        let flush = Flush::new(inner.cores.len(), reply);
        for core in &inner.cores {
            core.give(Given::Flush(Arc::clone(&flush)));
        }
        inner.job.event().advance();
    }

    /// Writes index and header, makes everything durable, and gives the container its name; with
    /// `attributes`, or those that any new file has.
    ///
    /// A content without a chunk is an empty one.
    ///
    /// # Errors
    /// `Sequence` where a chunk before the highest given is missing: what was given is kept, to be
    /// [reopened](Self::reopen). Else as [`Self::create`] and [`Self::write_chunk`]; nothing stands
    /// under the name that wasn't there before, except where the message says otherwise.
    pub fn finalize(self, attributes: impl Into<Option<Attributes>>) -> Result<WriteReport> {
        if self.session.inner.job.first_error().is_err() {
            // The thread has ended, or is about to, with just that, and says what it left.
            return self.end(Ending::Suspend);
        }
        if self.session.inner.claims.count() == 0 {
            self.write_chunk(0, &[])?;
        }
        if let Err(missing) = self.session.inner.claims.check_complete() {
            let missing =
                missing.at(self.session.path()).hint("reopen it and give them, or write it anew");
            return Err(match self.suspend() {
                Ok(checkpoint) => missing.resumable(checkpoint.bytes),
                Err(_) => missing,
            });
        }
        self.end(Ending::Finalize(attributes.into()))
    }

    /// Takes a checkpoint and lets the writer go, leaving what it covers to be
    /// [reopened](Self::reopen).
    ///
    /// # Errors
    /// As [`Self::checkpoint`].
    pub fn suspend(self) -> Result<Checkpoint> {
        let taken = self.checkpoint();
        let ended = self.end(Ending::Suspend);
        match (taken, ended) {
            (Ok(checkpoint), Err(error)) if error.kind() == ErrorKind::Suspended => Ok(checkpoint),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(_)) => unreachable!("a suspended writer publishes nothing"),
        }
    }

    fn end(mut self, ending: Ending) -> Result<WriteReport> {
        self.session.end(Some(ending))
    }

    /// Length of every chunk but the last, in bytes.
    #[must_use]
    pub fn chunk_len(&self) -> usize {
        self.session.inner.recipe.geometry.chunk_len() as usize
    }

    /// Whether chunk `sequence` was given, to this writer or the one it goes on from.
    #[must_use]
    pub fn is_given(&self, sequence: u64) -> bool {
        self.session.inner.claims.is_given(sequence)
    }

    /// How many chunks were given.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.session.inner.claims.count()
    }

    /// The chunks of `within` that were not given yet, in order.
    pub fn missing(&self, within: Range<u64>) -> impl Iterator<Item = u64> {
        within.filter(|&sequence| !self.is_given(sequence))
    }

    /// What it goes on from, if it was reopened.
    #[must_use]
    pub fn reopened(&self) -> Option<Reopened> {
        self.session.reopened
    }
}

impl ChunkWriter for ContainerWriter {
    type Finished = WriteReport;

    fn chunk_len(&self) -> usize {
        self.chunk_len()
    }

    fn is_given(&self, sequence: u64) -> bool {
        self.is_given(sequence)
    }

    fn write_chunk(&self, sequence: u64, bytes: &[u8]) -> Result<()> {
        self.write_chunk(sequence, bytes)
    }

    fn finalize(self) -> Result<WriteReport> {
        self.finalize(None)
    }
}

impl fmt::Debug for ContainerWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerWriter")
            .field("path", &self.session.path())
            .field("given", &self.given())
            .finish_non_exhaustive()
    }
}
