//! The pipeline: a worker for each core, and a coordinator that drains what they complete.
//!
//! Workers share the task's own counters and tables; nothing else passes between them. The first
//! error of any of them stops all: it is kept, the event count is advanced so that nobody sleeps
//! through it, and each worker ends at its next turn, waiting for its own operations in flight.
//!
//! The same workers also run one turn each in rotation on the calling thread
//! ([`Schedule::Inline`]), which is how the simulator makes a run repeatable.
//!
//! # Invariants
//! - Y1: when `run` returns, no operation of any worker is in flight.
//! - Y3: a worker that panics fails the job, and the caller is told by an error.

mod channel;
mod shared;
mod starting;

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer::{AlignedMemory, Pool};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BUFFERS_PER_SIDE_MIN, CODEC_BYTES, CORES_MAX};
use crate::planted::{self, Bug};
use crate::ring::iowq::RingThreads;
use crate::ring::system::{self, Allowance};
use crate::ring::{Backend, BackendConfig, BackendKind, Disk, Files, Tier, affinity, probe};
use crate::stats::RingCounters;
use crate::trace;
use crate::worker::{Task, Turn, Worker};

use channel::drain;
use starting::Starting;

pub use channel::{Channel, Coordinator};
pub use shared::Shared;

/// How workers are run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// A thread each, bound to these cores, or left to the scheduler.
    Threads(Vec<Option<usize>>),
    /// This many, taking turns on the calling thread.
    Inline(usize),
}

impl Schedule {
    /// A thread for each of `count` cores. Without a number, as many as the cores, the control
    /// groups' quota and their memory allow this process, for a job that takes `core_bytes` for
    /// each.
    ///
    /// # Errors
    /// `InvalidOptions` for no threads or too many.
    pub fn threads(count: Option<usize>, core_bytes: u64) -> Result<Self> {
        let count = count.unwrap_or_else(|| Allowance::read().threads(core_bytes).min(CORES_MAX));
        if count == 0 || count > CORES_MAX {
            let what = format!("{count} threads are outside 1 to {CORES_MAX}");
            return Err(Error::new(ErrorKind::InvalidOptions, what));
        }
        // A thread a core is bound to it; more threads than cores share them in rotation. Fewer are
        // left to the scheduler: several small jobs at once would all be bound to the same cores.
        // So are those under a quota: it counts for the group, wherever its threads run.
        let allowed = affinity::allowed_cores();
        let all = count >= allowed.len() && !allowed.is_empty();
        let bound = all && system::cpu_quota().is_none();
        let cores = (0..count).map(|i| bound.then(|| allowed[i % allowed.len()]));
        Ok(Self::Threads(cores.collect()))
    }

    /// The same with no more than `most` workers, and at least one. Threads that are left of more
    /// are no longer one a core, and not bound.
    #[must_use]
    pub fn at_most(&self, most: u64) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        match self {
            Self::Threads(cores) if most < cores.len() => Self::Threads(vec![None; most]),
            Self::Threads(cores) => Self::Threads(cores.clone()),
            Self::Inline(count) => Self::Inline((*count).min(most)),
        }
    }

    /// Number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        match self {
            Self::Threads(cores) => cores.len(),
            Self::Inline(count) => *count,
        }
    }
}

/// Which backend is wanted.
///
/// ```
/// use ringpack::IoMode;
/// use ringpack::pack::PackOptions;
///
/// let options = PackOptions { io: IoMode::Pwrite, ..PackOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum IoMode {
    /// io_uring where the system grants it, else pread and pwrite with a warning.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// pread and pwrite.
    Pwrite,
    /// The simulator.
    Sim,
}

/// What each worker is made of.
#[derive(Debug)]
pub struct Crew<'a> {
    /// Where backends come from.
    pub disk: &'a dyn Disk,
    /// Which are wanted.
    pub io: IoMode,
    /// How workers are run.
    pub schedule: &'a Schedule,
    /// The files that every worker serves.
    pub files: Files,
    /// Number and length of input buffers a worker.
    pub inputs: (usize, usize),
    /// Number and length of output buffers a worker.
    pub outputs: (usize, usize),
    /// What stops them.
    pub shared: Arc<Shared>,
}

/// What a run was like.
///
/// ```
/// use ringpack::write::{ContainerWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.zst");
/// let options = WriteOptions { threads: Some(2), ..WriteOptions::default() };
/// let run = ContainerWriter::create(&path, &options)?.finalize(None)?.run;
/// assert_eq!(run.threads, 2);
/// println!("{} operations in {} system calls", run.counters.completed, run.counters.enters);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RunReport {
    /// What the workers' backends could do; all the same, or the least.
    pub tier: Option<Tier>,
    /// Number of workers.
    pub threads: usize,
    /// Counts of all workers together.
    pub counters: RingCounters,
    /// Most kernel worker threads seen at once.
    pub io_workers_max: usize,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl RunReport {
    /// Adds what a person should know.
    pub(crate) fn warn(&mut self, what: String) {
        trace::warning(&what);
        self.warnings.push(what);
    }

    /// A worker has started: with a backend of that tier, and what it was refused before it.
    fn start(&mut self, tier: Tier, refused: Option<String>) {
        let least = |kept: &Tier| kept.registered_buffers <= tier.registered_buffers;
        if !self.tier.as_ref().is_some_and(least) {
            self.tier = Some(tier);
        }
        // Once for all of them.
        if let Some(what) = refused.filter(|_| self.warnings.is_empty()) {
            self.warn(what);
        }
    }
}

impl Crew<'_> {
    /// Runs a worker for each core, each with a task of its own from `make_task`, while the
    /// coordinator takes what they send to `receiver` on the calling thread. It is given every
    /// event, also of a job that failed, unless it failed itself.
    ///
    /// # Errors
    /// The first that a worker or the coordinator reported.
    pub fn run<T: Task, E>(
        &self,
        make_task: impl Fn() -> T + Sync,
        receiver: &Receiver<E>,
        coordinator: &mut dyn Coordinator<E>,
    ) -> Result<RunReport> {
        let threads = self.schedule.workers();
        let report = Mutex::new(RunReport { threads, ..RunReport::default() });
        let noted = || report.lock().unwrap_or_else(PoisonError::into_inner);
        let rings = RingThreads::default();
        let note_io_workers = || {
            let count = rings.worker_count();
            let mut report = noted();
            report.io_workers_max = report.io_workers_max.max(count);
        };
        let starting = Starting::new(threads);
        match self.schedule {
            Schedule::Threads(cores) => std::thread::scope(|scope| {
                let mut threads = Vec::with_capacity(cores.len());
                for (number, &core) in cores.iter().enumerate() {
                    let (make_task, noted, rings) = (&make_task, &noted, &rings);
                    let starting = &starting;
                    let work = move || {
                        let _guard = self.shared.guard();
                        let _within = self.shared.context().enter();
                        if let Some(core) = core {
                            affinity::pin(core);
                        }
                        // Buffers are filled with pages and pinned here, which takes a while: no
                        // worker waits for another.
                        let started = self.start(make_task());
                        if starting.is_done_without(&started) {
                            return;
                        }
                        let result = started.and_then(|(mut worker, refused)| {
                            let tier = worker.backend().tier();
                            if tier.kind == BackendKind::Uring {
                                rings.add(worker.in_flight());
                            }
                            noted().start(tier, refused);
                            let result = self.drive(&mut worker);
                            noted().counters += worker.backend().counters();
                            result
                        });
                        if let Err(error) = result {
                            self.shared.fail(error);
                        }
                    };
                    let thread = std::thread::Builder::new().name(format!("ringpack-{number}"));
                    match thread.spawn_scoped(scope, work) {
                        Ok(thread) => threads.push(thread),
                        Err(error) => {
                            let what = "cannot start a worker thread";
                            let error = Error::from_io(ErrorKind::Output, what, error);
                            let hint = "raise the limit on processes (ulimit -u, pids.max), \
                                        or use fewer threads (-T N)";
                            self.shared.fail(error.hint(hint));
                        }
                    }
                }
                let _guard = self.shared.guard();
                let result = drain(receiver, &self.shared, coordinator, &note_io_workers);
                if let Err(error) = result {
                    self.shared.fail(error);
                }
                // Y1: every worker was dropped then, and a backend waits in its drop. Y3: what a
                // panicked one left is taken here, and its guard has failed the job already.
                if !planted::is(Bug::PanicPassedOn) {
                    threads.into_iter().for_each(|thread| drop(thread.join()));
                }
            }),
            Schedule::Inline(count) => {
                let mut take = || {
                    let events = std::iter::from_fn(|| receiver.try_recv().ok());
                    let taken = events.map(|event| coordinator.event(event));
                    taken.collect::<Result<Vec<()>>>().map(|taken| !taken.is_empty())
                };
                let result = self.run_inline(*count, &make_task, &mut take, &mut noted());
                match result {
                    // What was sent before a worker failed is news all the same.
                    Err(InlineError::Worker(error)) => {
                        self.shared.fail(error);
                        if let Err(error) = take() {
                            self.shared.fail(error);
                        }
                    }
                    Err(InlineError::Coordinator(error)) => self.shared.fail(error),
                    Ok(()) => {}
                }
            }
        }
        self.shared.first_error()?;
        Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// A worker, and what it was refused.
    fn start<T: Task>(&self, task: T) -> Result<(Worker<T>, Option<String>)> {
        let (inputs, outputs) = self.pools()?;
        let (backend, refused) = {
            let mut buffers: Vec<_> = inputs.iter().chain(outputs.iter()).collect();
            buffers.sort_by_key(|buffer| buffer.id());
            self.backend(BackendConfig { files: self.files.clone(), buffers })?
        };
        let worker = Worker::new(task, backend, inputs, outputs, self.shared.progress());
        Ok((worker, refused))
    }

    /// The buffers of a worker: fewer than are wanted where memory is limited (`ulimit -v`), as
    /// long as each side has one to work on and one in flight. What the codec takes is left free.
    fn pools(&self) -> Result<(Pool, Pool)> {
        let ((input_count, input_len), (output_count, output_len)) = (self.inputs, self.outputs);
        let wanted = input_count.max(output_count);
        for most in (BUFFERS_PER_SIDE_MIN.min(wanted)..=wanted).rev() {
            let inputs = Pool::try_new(input_count.min(most), input_len, 0);
            let first_output = input_count.min(most) as u16;
            let outputs = Pool::try_new(output_count.min(most), output_len, first_output);
            if let (Some(inputs), Some(outputs)) = (inputs, outputs)
                && AlignedMemory::try_zeroed(CODEC_BYTES).is_some()
            {
                return Ok((inputs, outputs));
            }
        }
        let error = std::io::ErrorKind::OutOfMemory.into();
        Err(Error::from_io(ErrorKind::Output, "cannot get memory for buffers", error)
            .hint("raise the limit (ulimit -v), or use fewer --threads or a shorter --chunk-size"))
    }

    /// The backend that is wanted, or else one that is to be had, and what was refused.
    fn backend(&self, config: BackendConfig<'_>) -> Result<(Box<dyn Backend>, Option<String>)> {
        let kind = match self.io {
            IoMode::Auto | IoMode::Uring => BackendKind::Uring,
            IoMode::Pwrite => BackendKind::Pwrite,
            IoMode::Sim => BackendKind::Sim,
        };
        let refused = match self.disk.backend(kind, config.clone()) {
            Ok(backend) => return Ok((backend, None)),
            Err(error) => error,
        };
        if self.io == IoMode::Auto && probe::is_refusal(refused.raw_os_error()) {
            let warning =
                format!("io_uring is not to be had here ({refused}): using pread and pwrite");
            return self
                .disk
                .backend(BackendKind::Pwrite, config)
                .map(|backend| (backend, Some(warning)))
                .map_err(|error| Error::from_io(ErrorKind::Output, "cannot do I/O", error));
        }
        if !probe::is_refusal(refused.raw_os_error()) {
            return Err(Error::from_io(ErrorKind::Output, "cannot set I/O up", refused));
        }
        let hint = "see kernel.io_uring_disabled and the container's seccomp profile, \
                    or use --io pwrite";
        Err(Error::from_io(ErrorKind::NoUring, "io_uring is not to be had here", refused)
            .hint(hint))
    }

    fn drive<T: Task>(&self, worker: &mut Worker<T>) -> Result<()> {
        let event = self.shared.event();
        loop {
            let seen = event.seen();
            match worker.turn()? {
                Turn::Progress => {}
                Turn::Idle => event.wait(seen),
                Turn::Done => return Ok(()),
            }
        }
    }

    fn run_inline<T: Task>(
        &self,
        count: usize,
        make_task: &impl Fn() -> T,
        take: &mut dyn FnMut() -> Result<bool>,
        report: &mut RunReport,
    ) -> Result<(), InlineError> {
        let mut workers = Vec::new();
        for _ in 0..count {
            let (worker, refused) = self.start(make_task()).map_err(InlineError::Worker)?;
            report.start(worker.backend().tier(), refused);
            workers.push(worker);
        }
        while !workers.is_empty() {
            let mut moved = false;
            let mut left = Vec::new();
            for mut worker in workers {
                match worker.turn().map_err(InlineError::Worker)? {
                    Turn::Done => {
                        report.counters += worker.backend().counters();
                        moved = true;
                    }
                    turn => {
                        moved |= turn == Turn::Progress;
                        left.push(worker);
                    }
                }
            }
            moved |= take().map_err(InlineError::Coordinator)?;
            assert!(moved, "every worker waits for another: a deadlock");
            workers = left;
        }
        Ok(())
    }
}

/// Who ended a run on one thread.
enum InlineError {
    Worker(Error),
    Coordinator(Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::cancel::Cancel;
    use crate::ring::op::{Failure, FileSlot, OpKind, Span};
    use crate::ring::sim::{Fault, SimDisk, SimOptions};
    use crate::worker::{Claim, Input, Placing};
    use std::ffi::OsStr;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::sync::mpsc::Sender;

    const LEN: usize = 8192;
    const UNITS: u64 = 40;

    /// Copies units of a file to another, adding one to each byte.
    struct Copy<'a> {
        next: &'a AtomicU64,
        thread: std::thread::ThreadId,
        shared: &'a Shared,
        done: Sender<u64>,
        panics_at: Option<u64>,
    }

    impl Task for Copy<'_> {
        type Unit = u64;

        fn claim(&mut self) -> Result<Claim<u64>> {
            let unit = self.next.fetch_add(1, SeqCst);
            if unit >= UNITS {
                return Ok(Claim::Exhausted);
            }
            let span = Span::exact(unit * LEN as u64, 0, LEN);
            Ok(Claim::Unit(unit, Input::Read(FileSlot(0), vec![span])))
        }

        fn transform(
            &mut self,
            unit: &mut u64,
            input: Option<&mut [u8]>,
            output: &mut [u8],
        ) -> Result<()> {
            assert_ne!(Some(*unit), self.panics_at, "for the test");
            assert_eq!(self.thread, std::thread::current().id(), "on the core that claimed it");
            for (out, byte) in output.iter_mut().zip(input.unwrap()) {
                *out = *byte + 1;
            }
            Ok(())
        }

        fn place(&mut self, unit: &mut u64) -> Result<Placing> {
            let span = Span::exact(*unit * LEN as u64, 0, LEN);
            Ok(Placing::Write(FileSlot(1), vec![span]))
        }

        fn hand_over(&mut self, _: u64, _: Buffer) -> Result<()> {
            unreachable!()
        }

        fn reclaim(&mut self) -> Option<Buffer> {
            None
        }

        fn complete(&mut self, unit: u64) -> Result<()> {
            self.done.send(unit).unwrap();
            Ok(())
        }

        fn failed(&mut self, unit: u64, _: OpKind, _: u64, failure: Failure) -> Result<()> {
            let Failure::Os(error) = failure else { panic!("the file is long enough") };
            Err(Error::from_io(ErrorKind::Output, "failed", error).sequence(unit))
        }

        fn check(&self) -> Result<()> {
            self.shared.check()
        }
    }

    fn copy(options: SimOptions, schedule: &Schedule) -> (Result<RunReport>, Vec<u64>, SimDisk) {
        copy_or_panic(options, schedule, None)
    }

    fn copy_or_panic(
        options: SimOptions,
        schedule: &Schedule,
        panics_at: Option<u64>,
    ) -> (Result<RunReport>, Vec<u64>, SimDisk) {
        let disk = SimDisk::new(3, options);
        let content: Vec<u8> = (0..UNITS as usize * LEN).map(|i| (i / LEN) as u8).collect();
        disk.write_file(Path::new("/in"), &content);
        let input = disk.open(Path::new("/in"), false).unwrap();
        let directory = disk.directory(Path::new("/")).unwrap();
        let output = directory.create_new(OsStr::new("out"), false).unwrap();
        let shared = Shared::new(&Cancel::new());
        let next = AtomicU64::new(0);
        let (channel, receiver) = Channel::new(schedule.workers());
        let crew = Crew {
            disk: &disk,
            io: IoMode::Sim,
            schedule,
            files: vec![input, output],
            inputs: (3, LEN),
            outputs: (2, LEN),
            shared: Arc::clone(&shared),
        };
        let mut done = Vec::new();
        let report = crew.run(
            || Copy {
                next: &next,
                thread: std::thread::current().id(),
                shared: &shared,
                done: channel.sender(),
                panics_at,
            },
            &receiver,
            &mut |unit| {
                done.push(unit);
                Ok(())
            },
        );
        done.sort_unstable();
        (report, done, disk)
    }

    fn schedules() -> [Schedule; 4] {
        [
            Schedule::Inline(1),
            Schedule::Inline(3),
            Schedule::Threads(vec![None]),
            Schedule::Threads(vec![Some(0), Some(1), None, Some(0)]),
        ]
    }

    #[test]
    fn w1_w3_every_unit_once_and_wholly_written() {
        for schedule in schedules() {
            let faulty = SimOptions { reorder: true, short_per_mille: 300, ..Default::default() };
            for options in [SimOptions::default(), faulty] {
                let (report, done, disk) = copy(options, &schedule);
                report.unwrap();
                assert_eq!(done, (0..UNITS).collect::<Vec<_>>());
                let expected: Vec<u8> =
                    (0..UNITS as usize * LEN).map(|i| (i / LEN) as u8 + 1).collect();
                assert!(disk.read_file(Path::new("/out")).unwrap() == expected);
            }
        }
    }

    #[test]
    fn w2_a_worker_makes_no_more_turns_than_it_has_work() {
        let (report, _, _) = copy(SimOptions::default(), &Schedule::Inline(1));
        let counters = report.unwrap().counters;
        assert_eq!(counters.completed, 2 * UNITS);
        assert!(counters.enters <= 2 * UNITS + 2, "{counters:?}");
    }

    #[test]
    fn y1_the_first_error_stops_all_and_nothing_stays_in_flight() {
        for schedule in schedules() {
            let fail_write = Some(Fault { nth: 5, errno: libc::EIO });
            let (report, done, disk) =
                copy(SimOptions { fail_write, ..Default::default() }, &schedule);
            let error = report.unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Output, Some(libc::EIO)));
            assert!(done.len() < UNITS as usize);
            // Every write that was issued has ended: no more come in after `run` returned.
            let writes = disk.writes();
            std::thread::yield_now();
            assert_eq!(disk.writes(), writes);
        }
    }

    #[test]
    fn y1_y3_a_worker_that_panics_is_an_error_of_the_job() {
        for count in [1, 3] {
            let schedule = Schedule::Threads(vec![None; count]);
            let (report, done, disk) = copy_or_panic(SimOptions::default(), &schedule, Some(11));
            assert_eq!(report.unwrap_err().kind(), ErrorKind::Internal);
            assert!(!done.contains(&11));
            let writes = disk.writes();
            std::thread::yield_now();
            assert_eq!(disk.writes(), writes, "nothing is in flight any more");
        }
    }

    #[test]
    fn threads_out_of_range_are_refused() {
        for count in [0, CORES_MAX + 1] {
            let refused = Schedule::threads(Some(count), 1).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidOptions);
        }
        assert_eq!(Schedule::threads(Some(7), 1).unwrap().workers(), 7);
        let bound = Schedule::Threads(vec![Some(0), Some(1)]);
        assert_eq!(bound.at_most(0), Schedule::Threads(vec![None]));
        assert_eq!(bound.at_most(1), Schedule::Threads(vec![None]));
        assert_eq!(bound.at_most(2), bound);
        assert_eq!(Schedule::Inline(3).at_most(2), Schedule::Inline(2));
    }
}
