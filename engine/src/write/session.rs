//! A writer from its beginning to its end: what is shared, and the thread that records.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::begun::{Begun, Found};
use super::claims::Claims;
use super::exchange::Core;
use super::options::{ReopenOptions, WINDOW_MAX, WriteOptions};
use super::recorder::Recording;
use super::shared::{Ending, Inner};
use super::task::Event;
use super::{Reopened, WriteReport};
use crate::cancel::Cancel;
use crate::commit::Gate;
use crate::error::{Error, ErrorKind, Result};
use crate::eventcount::EventCount;
use crate::format::recipe::Recipe;
use crate::limits;
use crate::pipeline::{Channel, Schedule, Shared};
use crate::placement::Placement;
use crate::planted::{self, Bug};
use crate::ring::file::Disk;
#[cfg(feature = "tokio-uring")]
use crate::ring::file::File;
use crate::trace;
use crate::units::ExtentNumber;

/// Who writes what is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transport {
    /// The writer's own threads, one a core.
    Cores,
    /// Whoever gives it, who then tells the recorder.
    #[cfg(feature = "tokio-uring")]
    Caller,
}

/// A writer that began.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) inner: Arc<Inner>,
    /// The recording thread, until it is joined.
    thread: Option<JoinHandle<Result<WriteReport>>>,
    pub(super) reopened: Option<Reopened>,
    #[cfg(feature = "tokio-uring")]
    file: Arc<dyn File>,
    path: PathBuf,
    /// Where a caller that writes for itself tells what it wrote.
    events: Option<Sender<Event>>,
}

impl Session {
    /// Begins the container that is to stand at `path`.
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &WriteOptions,
        transport: Transport,
    ) -> Result<Self> {
        trace::job("write", path, || {
            let core_bytes = limits::core_bytes(options.chunk_log2);
            let schedule = Schedule::threads(options.threads, core_bytes)?;
            let begun = Begun::create(disk.as_ref(), path, options)?;
            let job = Shared::new(&Cancel::new());
            Self::start(disk, begun, options.clone(), schedule, job, None, transport)
        })
    }

    /// Goes on with the container that is to stand at `path`.
    pub(super) fn reopen(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &ReopenOptions,
        transport: Transport,
    ) -> Result<Self> {
        trace::job("reopen", path, || Self::resume(&disk, path, options, None, transport)?)
    }

    /// Goes on with the container that is to stand at `path`, or begins it where there is nothing
    /// to go on with.
    pub(super) fn reopen_or_create(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &WriteOptions,
        transport: Transport,
    ) -> Result<Self> {
        let reopening = options.reopening();
        let resumed = trace::job("reopen", path, || {
            let expected = options.recipe()?;
            match Self::resume(&disk, path, &reopening, Some(&expected), transport) {
                Err(refused) if planted::is(Bug::CheckpointDiscarded) => Ok(Err(refused)),
                resumed => resumed,
            }
        })?;
        match resumed {
            Ok(session) => Ok(session),
            Err(_nothing) => Self::create(disk, path, options, transport),
        }
    }

    /// The session that goes on, or why there is nothing to go on with.
    fn resume(
        disk: &Arc<dyn Disk>,
        path: &Path,
        options: &ReopenOptions,
        expected: Option<&Recipe>,
        transport: Transport,
    ) -> Result<Result<Self>> {
        let chunk_log2 = expected.map(|recipe| recipe.geometry.chunk_log2);
        // Without options, how long its chunks are is known only once it is taken over.
        let core_bytes = limits::core_bytes(chunk_log2.unwrap_or(limits::CHUNK_LOG2_DEFAULT));
        let schedule = Schedule::threads(options.threads, core_bytes)?;
        let job = Shared::new(&Cancel::new());
        match Begun::reopen(disk.as_ref(), path, options, expected, &schedule, &job)? {
            Found::Nothing(why) => Ok(Err(why)),
            Found::Begun(begun, options) => {
                let reopened = Some(Reopened { chunks: begun.known.covered().chunks });
                let disk = Arc::clone(disk);
                Self::start(disk, *begun, options, schedule, job, reopened, transport).map(Ok)
            }
        }
    }

    fn start(
        disk: Arc<dyn Disk>,
        begun: Begun,
        options: WriteOptions,
        schedule: Schedule,
        job: Arc<Shared>,
        reopened: Option<Reopened>,
        transport: Transport,
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
        #[cfg(feature = "tokio-uring")]
        let file = Arc::clone(begun.partial.file());
        let (schedule, events, channel) = match transport {
            Transport::Cores => {
                let channel = Channel::new(schedule.workers());
                (schedule, None, channel)
            }
            #[cfg(feature = "tokio-uring")]
            Transport::Caller => {
                let (unclaimed, receiver) = Channel::new(1);
                (Schedule::Threads(Vec::new()), Some(unclaimed.sender()), (unclaimed, receiver))
            }
        };
        let cores = schedule.workers();
        let share = window.div_ceil(cores.max(1) as u64).min(WINDOW_MAX.into());
        let share = if window == u64::MAX { 0 } else { share as usize };
        let buffers = limits::buffers_per_side(chunk_len, u64::MAX).max(share);
        let covered = begun.known.covered();
        let first = ExtentNumber(covered.extents);
        let freed = Arc::new(EventCount::default());
        let wake = Arc::clone(&freed);
        // Kept as long as the job's own token is.
        job.stop().on_cancel(move || wake.advance()).keep();
        let inner = Arc::new(Inner {
            recipe: begun.recipe,
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
            channel,
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
            let _within = inner.job.context().enter();
            // Whatever ends it, nobody who gives is to wait for it any more.
            let failed = |error: &Error| inner.job.fail(error.again());
            recording.run().inspect_err(failed).inspect_err(trace::failure)
        };
        let thread = std::thread::Builder::new().name("ringpack-writer".to_owned()).spawn(run);
        let thread = thread.map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot start the writer's thread", error)
        })?;
        Ok(Self {
            inner,
            thread: Some(thread),
            reopened,
            #[cfg(feature = "tokio-uring")]
            file,
            path,
            events,
        })
    }

    /// Where the container is to stand.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The partial file.
    #[cfg(feature = "tokio-uring")]
    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Where a caller that writes for itself tells what it wrote; `None` once it has ended.
    #[cfg(feature = "tokio-uring")]
    pub(super) fn events(&self) -> Option<&Sender<Event>> {
        self.events.as_ref()
    }

    /// Why the writer stopped.
    pub(super) fn failure(&self) -> Error {
        let stopped = || Error::new(ErrorKind::Internal, "the writer stopped");
        self.inner.job.first_error().err().unwrap_or_else(stopped)
    }

    /// Tells the thread to stop, and whether what a checkpoint covers is kept.
    pub(super) fn stop(&self, ending: Option<Ending>) {
        *self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner) = ending;
        self.inner.job.stop().cancel();
    }

    /// Tells the thread how to end; the caller that writes for itself has told everything.
    fn ask(&mut self, ending: Option<Ending>) {
        if let Some(Ending::Finalize(_)) = ending {
            *self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner) = ending;
            self.inner.closed.store(true, SeqCst);
            self.inner.job.event().advance();
        } else {
            self.stop(ending);
        }
        self.events = None;
    }

    /// Ends the writer, and waits for it.
    pub(super) fn end(&mut self, ending: Option<Ending>) -> Result<WriteReport> {
        self.ask(ending);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // It panicked, and its guard has said so.
            Some(Err(_)) | None => Err(self.failure()),
        }
    }
}

impl Drop for Session {
    /// Aborts, unless it ended already. In a panic, what the last checkpoint covers is kept.
    fn drop(&mut self) {
        if self.thread.is_some() {
            let ending = std::thread::panicking().then_some(Ending::Suspend);
            let _ = self.end(ending);
        }
    }
}
