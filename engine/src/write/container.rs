//! The writer of a container file, for a program that has chunks in any order.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::begun::Begun;
use super::claims::Claims;
use super::exchange::{Core, Flush, Given};
use super::options::{ReopenOptions, WriteOptions};
use super::recorder::Recording;
use super::shared::{Ending, Inner};
use super::{ChunkWriter, Reopened, WriteReport};
use crate::cancel::Cancel;
use crate::codec::Codec;
use crate::commit::Gate;
use crate::error::{Error, ErrorKind, Result};
use crate::eventcount::EventCount;
use crate::journal::Checkpoint;
use crate::limits;
use crate::pipeline::{Schedule, Shared};
use crate::placement::Placement;
use crate::ring::file::{Attributes, Disk};
use crate::ring::os::OsDisk;
use crate::units::ExtentNumber;

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
    inner: Arc<Inner>,
    /// The recording thread, until it is joined.
    thread: Option<JoinHandle<Result<WriteReport>>>,
    /// Taken for the time of a checkpoint: the cores have room for one request.
    checkpointing: Mutex<()>,
    reopened: Option<Reopened>,
    /// Where it is to stand.
    path: PathBuf,
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
        let schedule = Schedule::threads(options.threads)?;
        let begun = Begun::create(disk.as_ref(), path.as_ref(), options)?;
        Self::start(disk, begun, options.clone(), schedule, Shared::new(&Cancel::new()), None)
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
    /// packing, by another user or with another version of libzstd.
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
        let schedule = Schedule::threads(options.threads)?;
        let shared = Shared::new(&Cancel::new());
        let path = path.as_ref();
        let (begun, options) = Begun::reopen(disk.as_ref(), path, options, &schedule, &shared)?;
        let reopened = Reopened { chunks: begun.known.covered().chunks };
        Self::start(disk, begun, options, schedule, shared, Some(reopened))
    }

    fn start(
        disk: Arc<dyn Disk>,
        begun: Begun,
        options: WriteOptions,
        schedule: Schedule,
        job: Arc<Shared>,
        reopened: Option<Reopened>,
    ) -> Result<Self> {
        let path = begun.partial.target().path().to_owned();
        let geometry = begun.recipe.geometry;
        let chunk_len = geometry.chunk_len();
        let claims = Claims::new(chunk_len);
        for sequence in begun.known.adopted().iter_from(0) {
            let extent = begun.known.extent(sequence)?;
            let raw_len = extent.chunks.first().map_or(0, |chunk| chunk.entry.raw_len);
            claims.give(sequence, raw_len.into())?;
        }
        let window = options.window(&geometry);
        let cores = schedule.workers();
        let share = window.div_ceil(cores as u64).min(super::WINDOW_MAX.into());
        let share = if window == u64::MAX { 0 } else { share as usize };
        let buffers = limits::buffers_per_side(chunk_len, u64::MAX).max(share);
        let covered = begun.known.covered();
        let first = ExtentNumber(covered.extents);
        let freed = Arc::new(EventCount::default());
        let wake = Arc::clone(&freed);
        // Kept as long as the job's own token is.
        job.stop().on_cancel(move || wake.advance()).keep();
        let inner = Arc::new(Inner {
            geometry,
            codec: Codec::of(begun.recipe.codec, begun.recipe.level),
            blake3: begun.recipe.blake3,
            window,
            claims,
            placement: Placement::behind(&geometry, first, covered.data_end),
            placed: AtomicU64::new(first.0),
            gate: Gate::open(),
            cores: (0..cores).map(|_| Core::new(buffers)).collect(),
            freed,
            job,
            closed: AtomicBool::new(false),
            output_failed: AtomicBool::new(false),
            ending: Mutex::new(None),
        });
        let recording = Recording {
            disk,
            options,
            schedule,
            buffers,
            inner: Arc::clone(&inner),
            begun,
            reopened,
        };
        let run = move || {
            let inner = Arc::clone(&recording.inner);
            let _guard = inner.job.guard();
            // Whatever ends it, nobody who gives is to wait for it any more.
            recording.run().inspect_err(|error| inner.job.fail(error.again()))
        };
        let thread = std::thread::Builder::new().name("ringpack-writer".to_owned()).spawn(run);
        let thread = thread.map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot start the writer's thread", error)
        })?;
        let (thread, checkpointing) = (Some(thread), Mutex::new(()));
        Ok(Self { inner, thread, checkpointing, reopened, path })
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
    /// it is to be dropped, and [reopened](Self::reopen) if [`Error::resumable_bytes`] says so.
    pub fn write_chunk(&self, sequence: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write_chunk(sequence, bytes).map_err(|error| error.at(&self.path))
    }

    /// Makes every chunk durable whose [`write_chunk`](Self::write_chunk) returned before, and what
    /// follows from it: after a crash, [`reopen`](Self::reopen) finds them. With dense placement
    /// only those before the first missing one.
    ///
    /// Other threads may go on giving chunks meanwhile.
    ///
    /// # Errors
    /// `NoSpace` where the journal lacks room: it may be asked again. Any other is final, as of
    /// [`write_chunk`](Self::write_chunk).
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let _one_at_a_time = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.job.first_error()?;
        let (reply, answer) = channel();
        self.flush(reply);
        // Where the cores are gone, so are all who could answer.
        let answer = answer.recv().unwrap_or_else(|_| Err(self.failure()));
        answer.map_err(|error| error.at(&self.path))
    }

    fn flush(&self, reply: Sender<Result<Checkpoint>>) {
        let flush = Flush::new(self.inner.cores.len(), reply);
        for core in &self.inner.cores {
            core.give(Given::Flush(Arc::clone(&flush)));
        }
        self.inner.job.event().advance();
    }

    /// Why the writer stopped.
    fn failure(&self) -> Error {
        let stopped = || Error::new(ErrorKind::Internal, "the writer stopped");
        self.inner.job.first_error().err().unwrap_or_else(stopped)
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
        if self.inner.job.first_error().is_err() {
            // The thread has ended, or is about to, with just that, and says what it left.
            return self.end(Ending::Suspend);
        }
        if self.inner.claims.count() == 0 {
            self.write_chunk(0, &[])?;
        }
        if let Err(missing) = self.inner.claims.check_complete() {
            let missing = missing.at(&self.path).hint("reopen it and give them, or write it anew");
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
        self.join(Some(ending)).unwrap_or_else(|| Err(self.failure()))
    }

    /// Ends the thread; `None` where that was done already, or it panicked.
    fn join(&mut self, ending: Option<Ending>) -> Option<Result<WriteReport>> {
        let thread = self.thread.take()?;
        *self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner) = ending;
        match ending {
            Some(Ending::Finalize(_)) => {
                self.inner.closed.store(true, SeqCst);
                self.inner.job.event().advance();
            }
            Some(Ending::Suspend) | None => self.inner.job.stop().cancel(),
        }
        thread.join().ok()
    }

    /// Length of every chunk but the last, in bytes.
    #[must_use]
    pub fn chunk_len(&self) -> usize {
        self.inner.geometry.chunk_len() as usize
    }

    /// Whether chunk `sequence` was given, to this writer or the one it goes on from.
    #[must_use]
    pub fn is_given(&self, sequence: u64) -> bool {
        self.inner.claims.is_given(sequence)
    }

    /// How many chunks were given.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.inner.claims.count()
    }

    /// The chunks of `within` that were not given yet, in order.
    pub fn missing(&self, within: Range<u64>) -> impl Iterator<Item = u64> {
        within.filter(|&sequence| !self.is_given(sequence))
    }

    /// What it goes on from, if it was reopened.
    #[must_use]
    pub fn reopened(&self) -> Option<Reopened> {
        self.reopened
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

impl Drop for ContainerWriter {
    /// Aborts, unless it ended already. In a panic, what the last checkpoint covers is kept.
    fn drop(&mut self) {
        let ending = std::thread::panicking().then_some(Ending::Suspend);
        let _ = self.join(ending);
    }
}

impl fmt::Debug for ContainerWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerWriter")
            .field("geometry", &self.inner.geometry)
            .field("given", &self.given())
            .finish_non_exhaustive()
    }
}
