//! How far a job is: counts that its threads keep, for another thread to look at meanwhile.
//!
//! Each extent adds to a few atomic counts as it completes, and each worker adds the time that it
//! spent reading, working and writing. Nobody is called, nothing is locked and nothing allocated:
//! who wants to know looks when it suits him. A job that nobody watches counts nothing and reads no
//! clock.
//!
//! A worker's time is charged in laps. The clock is read after each call of the backend and after
//! each extent's work, and what went by since the last reading belongs to one stage:
//!
//! ```text
//!  waiting, an extent being read           ─► read
//!  waiting, an extent read but no buffer   ─► write
//!  in the kernel with work at hand         ─► read and write, as what completed
//!  encoding, decoding, comparing           ─► work
//! ```
//!
//! The stage that most of the time went to is what holds the job up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How far a job is. Clones tell of the same job; two are equal if they do. By default nobody
/// watches.
///
/// ```
/// use ringpack::pack::{Input, Output, PackOptions, pack};
/// use ringpack::{Cancel, OsDisk, Phase, Progress};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (input, target) = (dir.path().join("data"), dir.path().join("data.zst"));
/// # std::fs::write(&input, b"something to keep").unwrap();
/// let progress = Progress::new();
/// let options = PackOptions { progress: progress.clone(), ..PackOptions::default() };
/// // Meanwhile any other thread may look.
/// let watch = std::thread::spawn(move || progress.look().content_bytes);
/// # let _ = watch.join();
/// # let progress = options.progress.clone();
/// let (from, to) = (Input::Path(input), Output::Path(target));
/// pack(&OsDisk, from, to, &options, &Cancel::new())?;
/// let seen = progress.look();
/// assert_eq!((seen.content_bytes, seen.content_size), (17, Some(17)));
/// assert_eq!(seen.phase, Phase::Done);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Counts>>);

/// What a job is doing.
///
/// ```
/// use ringpack::{Phase, Progress};
///
/// assert_eq!(Progress::new().look().phase, Phase::Opening);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Phase {
    /// Opening its files, and reading back what an earlier run wrote.
    #[default]
    Opening,
    /// Extent after extent.
    Working,
    /// The extents are through; what is left is to make all durable and publish it.
    Finishing,
    /// The container is being compared with its source, before it is published.
    Checking,
    /// It went well.
    Done,
}

/// What a worker's time goes to.
///
/// ```
/// use ringpack::{Progress, Stage};
///
/// match Progress::new().look().bottleneck() {
///     Some(Stage::Read) => println!("a faster source would help"),
///     Some(Stage::Work) => println!("more cores or a lower level would help"),
///     Some(Stage::Write) => println!("a faster target would help"),
///     None => println!("nothing was done yet"),
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Stage {
    /// Reading, or waiting for what is read.
    Read,
    /// Encoding, decoding or comparing.
    Work,
    /// Writing, or waiting for buffers and space that writes give back.
    Write,
}

/// A job at one moment.
///
/// ```
/// use ringpack::Progress;
///
/// let (before, after) = (Progress::new().look(), Progress::new().look());
/// let bytes = after.content_bytes - before.content_bytes;
/// assert_eq!(bytes, 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Seen {
    /// What it is doing.
    pub phase: Phase,
    /// Length of the content, where that is known: of a stream it isn't before its end.
    pub content_size: Option<u64>,
    /// Bytes of content that are through, those taken over from an earlier run among them.
    pub content_bytes: u64,
    /// Bytes of content taken over from an earlier run.
    pub resumed_bytes: u64,
    /// Bytes that the extents which are through take of the container, without those taken over.
    pub stored_bytes: u64,
    /// Time that the workers spent reading, all of them together.
    pub read: Duration,
    /// As `read`: encoding, decoding or comparing.
    pub work: Duration,
    /// As `read`: writing.
    pub write: Duration,
}

impl Seen {
    /// The stage that most of the workers' time went to.
    #[must_use]
    pub fn bottleneck(&self) -> Option<Stage> {
        let stages =
            [(self.read, Stage::Read), (self.work, Stage::Work), (self.write, Stage::Write)];
        let most = stages.into_iter().max_by_key(|(time, _)| *time);
        most.filter(|(time, _)| !time.is_zero()).map(|(_, stage)| stage)
    }

    /// What was done after `earlier`; sizes stay as they are.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            content_bytes: self.content_bytes.saturating_sub(earlier.content_bytes),
            stored_bytes: self.stored_bytes.saturating_sub(earlier.stored_bytes),
            read: self.read.saturating_sub(earlier.read),
            work: self.work.saturating_sub(earlier.work),
            write: self.write.saturating_sub(earlier.write),
            ..*self
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    phase: AtomicU8,
    /// One more than the length, or 0 where it isn't known.
    content_size: AtomicU64,
    content_bytes: AtomicU64,
    resumed_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    read_nanos: AtomicU64,
    work_nanos: AtomicU64,
    write_nanos: AtomicU64,
}

impl Progress {
    /// The progress of a job to come, to be given in its options.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// How far the job is. The counts are of about one moment: more may come in meanwhile.
    #[must_use]
    pub fn look(&self) -> Seen {
        let Some(counts) = &self.0 else { return Seen::default() };
        let nanos = |count: &AtomicU64| Duration::from_nanos(count.load(Relaxed));
        Seen {
            phase: match counts.phase.load(Relaxed) {
                0 => Phase::Opening,
                1 => Phase::Working,
                2 => Phase::Finishing,
                3 => Phase::Checking,
                _ => Phase::Done,
            },
            content_size: counts.content_size.load(Relaxed).checked_sub(1),
            content_bytes: counts.content_bytes.load(Relaxed),
            resumed_bytes: counts.resumed_bytes.load(Relaxed),
            stored_bytes: counts.stored_bytes.load(Relaxed),
            read: nanos(&counts.read_nanos),
            work: nanos(&counts.work_nanos),
            write: nanos(&counts.write_nanos),
        }
    }

    /// The extents begin: of content of that length, behind what was taken over.
    ///
    /// The engine's jobs say this and what follows themselves; so may a job that reads or writes a
    /// container by its own loop, whose steps are its extents.
    pub fn begin(&self, content_size: Option<u64>, resumed_bytes: u64) {
        if let Some(counts) = &self.0 {
            self.know_size(content_size);
            counts.content_bytes.store(resumed_bytes, Relaxed);
            counts.resumed_bytes.store(resumed_bytes, Relaxed);
            counts.stored_bytes.store(0, Relaxed);
            for nanos in [&counts.read_nanos, &counts.work_nanos, &counts.write_nanos] {
                nanos.store(0, Relaxed);
            }
            self.enter(Phase::Working);
        }
    }

    fn know_size(&self, content_size: Option<u64>) {
        if let Some(counts) = &self.0 {
            let size = content_size.map_or(0, |size| size.saturating_add(1));
            counts.content_size.store(size, Relaxed);
        }
    }

    /// An extent is through, of so many bytes of content and of the container.
    pub fn extent(&self, content_bytes: u64, stored_bytes: u64) {
        if let Some(counts) = &self.0 {
            counts.content_bytes.fetch_add(content_bytes, Relaxed);
            counts.stored_bytes.fetch_add(stored_bytes, Relaxed);
        }
    }

    /// The extents are through, of content that turned out to be of that length.
    pub fn finish(&self, content_size: u64) {
        self.know_size(Some(content_size));
        self.enter(Phase::Finishing);
    }

    /// The content, of that length, is read once more, to be compared: it is counted from its start
    /// again.
    pub fn check(&self, content_size: u64) {
        self.know_size(Some(content_size));
        if let Some(counts) = &self.0 {
            counts.content_bytes.store(0, Relaxed);
            counts.stored_bytes.store(0, Relaxed);
        }
        self.enter(Phase::Checking);
    }

    /// The job went well.
    pub fn done(&self) {
        self.enter(Phase::Done);
    }

    /// Does a step, and charges the time that it takes to a stage.
    ///
    /// ```
    /// use ringpack::{Progress, Stage};
    ///
    /// let progress = Progress::new();
    /// progress.begin(Some(17), 0);
    /// let bytes = progress.timed(Stage::Work, || b"something to keep");
    /// progress.extent(bytes.len() as u64, 0);
    /// let seen = progress.look();
    /// assert_eq!((seen.content_bytes, seen.read), (17, std::time::Duration::ZERO));
    /// ```
    pub fn timed<R>(&self, stage: Stage, step: impl FnOnce() -> R) -> R {
        let mut laps = self.laps();
        let result = step();
        laps.charge(stage);
        result
    }

    fn enter(&self, phase: Phase) {
        if let Some(counts) = &self.0 {
            counts.phase.store(phase as u8, Relaxed);
        }
    }

    /// The clock of one worker.
    pub(crate) fn laps(&self) -> Laps {
        Laps(self.0.clone().map(|counts| (counts, Instant::now())))
    }
}

impl PartialEq for Progress {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }
}

impl Eq for Progress {}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(counts) => f.debug_tuple("Progress").field(counts).finish(),
            None => f.write_str("Progress(none)"),
        }
    }
}

/// A worker's clock: each lap charges what went by since the one before. It stands still where
/// nobody watches.
#[derive(Debug)]
pub(crate) struct Laps(Option<(Arc<Counts>, Instant)>);

impl Laps {
    /// Charges the lap to a stage.
    pub(crate) fn charge(&mut self, stage: Stage) {
        match stage {
            Stage::Read => self.split(1, 0),
            Stage::Write => self.split(0, 1),
            Stage::Work => {
                if let Some((counts, nanos)) = self.lap() {
                    counts.work_nanos.fetch_add(nanos, Relaxed);
                }
            }
        }
    }

    /// Charges the lap to reading and writing, in this proportion.
    pub(crate) fn split(&mut self, reads: u64, writes: u64) {
        if let Some((counts, nanos)) = self.lap() {
            let to_reads = nanos / (reads + writes).max(1) * reads;
            counts.read_nanos.fetch_add(to_reads, Relaxed);
            counts.write_nanos.fetch_add(nanos - to_reads, Relaxed);
        }
    }

    fn lap(&mut self) -> Option<(&Counts, u64)> {
        let (counts, last) = self.0.as_mut()?;
        let now = Instant::now();
        let nanos = u64::try_from(now.duration_since(*last).as_nanos()).unwrap_or(u64::MAX);
        *last = now;
        Some((counts, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_sees_what_was_counted() {
        let progress = Progress::new();
        assert_eq!(progress.look(), Seen::default());
        progress.begin(Some(0), 0);
        assert_eq!(progress.look().content_size, Some(0), "nothing at all is a length too");
        progress.begin(None, 100);
        progress.extent(50, 20);
        let before = progress.look();
        assert_eq!((before.phase, before.content_size), (Phase::Working, None));
        assert_eq!((before.content_bytes, before.resumed_bytes), (150, 100));
        progress.extent(7, 3);
        progress.finish(157);
        let after = progress.look();
        assert_eq!((after.phase, after.content_size), (Phase::Finishing, Some(157)));
        let between = after.since(&before);
        assert_eq!((between.content_bytes, between.stored_bytes), (7, 3));
        assert_eq!(between.content_size, Some(157));
        progress.done();
        assert_eq!(progress.look().phase, Phase::Done);
    }

    #[test]
    fn a_lap_is_charged_whole_to_whom_it_belongs() {
        let progress = Progress::new();
        let mut laps = progress.laps();
        laps.charge(Stage::Read);
        laps.charge(Stage::Work);
        laps.charge(Stage::Write);
        let before = progress.look();
        let begun = Instant::now();
        laps.split(1, 3);
        let (parts, most) = (progress.look().since(&before), begun.elapsed());
        assert!(parts.read <= parts.write && parts.read + parts.write <= most, "{parts:?}");
        assert_eq!(parts.work, Duration::ZERO);
    }

    #[test]
    fn nobody_watches_by_default() {
        let progress = Progress::default();
        progress.begin(Some(5), 0);
        progress.extent(5, 5);
        assert!(progress.laps().0.is_none(), "no clock is read");
        assert_eq!(progress.look(), Seen::default());
        assert_eq!(progress, Progress::default());
        assert_ne!(progress, Progress::new());
        let watched = Progress::new();
        assert_eq!(watched, watched.clone());
    }

    #[test]
    fn the_bottleneck_is_where_most_of_the_time_went() {
        let [one, two] = [1, 2].map(Duration::from_secs);
        let seen = |read, work, write| Seen { read, work, write, ..Seen::default() }.bottleneck();
        assert_eq!(seen(Duration::ZERO, Duration::ZERO, Duration::ZERO), None);
        assert_eq!(seen(two, one, one), Some(Stage::Read));
        assert_eq!(seen(one, two, one), Some(Stage::Work));
        assert_eq!(seen(one, one, two), Some(Stage::Write));
    }
}
