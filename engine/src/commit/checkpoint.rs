//! Checkpoints of a job that is running: when they are due, and what they take.
//!
//! Extents complete in any order. Those that follow on what is covered already are kept for the
//! next checkpoint, the others wait for the ones before them: what a checkpoint covers is a prefix.
//! Where a program gives chunks in any order, each into its slot, it covers whatever is complete.
//! A checkpoint is
//!
//! ```text
//! freeze what completed ─► fdatasync(partial) ─► journal: append, fdatasync ─► report
//! ```
//!
//! on the coordinator's thread, while the workers go on: what they write meanwhile was not frozen,
//! so the checkpoint doesn't name it.
//!
//! A checkpoint that is due and finds no room for the journal is skipped: the data is as sound as
//! before, and the job goes on. The next one covers what the skipped one would have.
//!
//! # Invariants
//! - H1: a checkpoint names exactly the extents that were complete when its sync of the data was
//!   issued.
//! - H2: after a sync failed, or a write of the journal for another reason than want of room, there
//!   is no further checkpoint.
//! - M2: a checkpoint covers no extent that ends off the grid: the end of the container is written
//!   into its last block as well, and if that write fails, or tears, nothing is harmed that a
//!   checkpoint promised. Such an extent can only be the last.
//! - H3: want of room for the journal ends no job, and what is kept for the next checkpoint
//!   meanwhile is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::publication::Partial;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ChunkRecord, Open};
use crate::journal::{Checkpoint, Journal, JournaledExtent};
use crate::limits::{ALIGN, JOURNAL_HELD_BYTES_MAX, JOURNAL_PENDING_BYTES_MAX};
use crate::planted::{self, Bug};
use crate::ring::file::File;
use crate::trace;

/// When checkpoints are taken: whichever of the two comes first, as far as the cost allows.
///
/// ```
/// use std::time::Duration;
/// use ringpack::Cadence;
/// use ringpack::write::WriteOptions;
///
/// let cadence = Cadence { bytes: 256 << 20, interval: Duration::from_secs(5), percent_max: 5 };
/// let options = WriteOptions { checkpoints: Some(cadence), ..WriteOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Cadence {
    /// Bytes of content from one to the next.
    pub bytes: u64,
    /// Time from one to the next.
    pub interval: Duration,
    /// Most that checkpoints may take of the time, in per cent; 100 is no bound. After one that
    /// took long, the next waits.
    pub percent_max: u8,
}

impl Default for Cadence {
    /// A GiB or ten seconds, and no more than 2% of the time.
    fn default() -> Self {
        Self { bytes: 1 << 30, interval: Duration::from_secs(10), percent_max: 2 }
    }
}

impl Cadence {
    /// Only when the program asks, or when too much is waiting to be named by one.
    #[must_use]
    pub fn on_request() -> Self {
        Self { bytes: u64::MAX, interval: Duration::MAX, percent_max: 0 }
    }

    /// No checkpoint, also at the end of a job that is stopped.
    #[must_use]
    pub fn never() -> Self {
        Self { bytes: u64::MAX, interval: Duration::MAX, percent_max: 100 }
    }

    /// The least time from the end of a checkpoint that took `cost` to the next.
    fn pause_after(&self, cost: Duration) -> Duration {
        match self.percent_max {
            0 => Duration::MAX,
            100.. => Duration::ZERO,
            share => cost.saturating_mul(100 - u32::from(share)) / u32::from(share),
        }
    }
}

/// Takes the checkpoints of one job.
#[derive(Debug)]
pub struct Checkpointer {
    file: Arc<dyn File>,
    /// Until the first checkpoint: what the journal will open with.
    open: Open,
    journal: Option<Journal>,
    cadence: Cadence,
    /// Covered by the last checkpoint that was reported.
    covered: Checkpoint,
    /// Complete without a gap, and kept for the next.
    complete: Checkpoint,
    /// Complete, with a gap before.
    early: BTreeMap<u64, (JournaledExtent, u64)>,
    pending: Vec<JournaledExtent>,
    pending_bytes: usize,
    /// What the last attempt was to cover, whether it went well or not.
    attempted: Checkpoint,
    /// When that was.
    last: Instant,
    pause: Duration,
    state: State,
    skipped: u64,
}

/// Whether checkpoints can be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The last attempt went well, or found no room and can be made again.
    Usable,
    /// There is no room for the journal, and it can't be asked again. The data is sound.
    Closed,
    /// What was written, or what the journal says, may not be on the medium.
    Failed,
}

impl Checkpointer {
    /// For a job that writes `partial` from its start.
    #[must_use]
    pub fn new(partial: &Partial, open: Open, cadence: Cadence) -> Self {
        Self {
            file: Arc::clone(partial.file()),
            open,
            journal: None,
            cadence,
            covered: Checkpoint::start(),
            complete: Checkpoint::start(),
            early: BTreeMap::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            attempted: Checkpoint::start(),
            last: Instant::now(),
            pause: Duration::ZERO,
            state: State::Usable,
            skipped: 0,
        }
    }

    /// The same for a job that goes on behind `covered`, which `journal` says already.
    #[must_use]
    pub fn behind(self, journal: Journal, covered: Checkpoint) -> Self {
        Self { journal: Some(journal), covered, complete: covered, attempted: covered, ..self }
    }

    /// Takes note of an extent of which every byte was written, and which ends at `end`.
    pub fn note(&mut self, number: u64, chunks: Vec<ChunkRecord>, end: u64) {
        // M2
        let is_on_grid = end.is_multiple_of(ALIGN as u64) || planted::is(Bug::ShortExtentCovered);
        if !is_on_grid || self.cadence == Cadence::never() || !self.is_usable() {
            return;
        }
        let extent = JournaledExtent { number, chunks };
        if self.open.is_scattered() {
            return self.keep(extent, end);
        }
        self.early.insert(number, (extent, end));
        while let Some((extent, end)) = self.early.remove(&self.complete.extents) {
            self.keep(extent, end);
        }
    }

    /// Keeps an extent for the next checkpoint.
    fn keep(&mut self, extent: JournaledExtent, end: u64) {
        self.complete.extents += 1;
        self.complete.chunks += extent.chunks.len() as u64;
        let raw_len = |chunk: &ChunkRecord| u64::from(chunk.entry.raw_len);
        self.complete.bytes += extent.chunks.iter().map(raw_len).sum::<u64>();
        self.complete.data_end = self.complete.data_end.max(end);
        self.pending_bytes += extent.chunks.len() * ChunkRecord::LEN;
        self.pending.push(extent);
    }

    /// Takes a checkpoint if one is due; `None` where none was, or where there is no room for the
    /// journal.
    ///
    /// # Errors
    /// As [`Self::checkpoint`].
    pub fn poll(&mut self, partial: &mut Partial) -> Result<Option<Checkpoint>> {
        if planted::is(Bug::UncoveredAdopted)
            && let Some(journal) = &mut self.journal
        {
            self.pending.drain(..).for_each(|extent| journal.append(extent));
            let _ = journal.write();
        }
        if self.pending.is_empty() || !self.is_usable() {
            return Ok(None);
        }
        // What is kept for the next one is bounded, whatever was asked for.
        let forced = self.pending_bytes >= JOURNAL_PENDING_BYTES_MAX;
        let new_bytes = self.complete.bytes.saturating_sub(self.attempted.bytes);
        let due = new_bytes >= self.cadence.bytes || self.last.elapsed() >= self.cadence.interval;
        let may = forced || (due && self.last.elapsed() >= self.pause);
        if !may {
            return Ok(None);
        }
        match self.checkpoint(partial) {
            // H3
            Err(error) if self.is_without_room(&error) && !planted::is(Bug::NoReserve) => {
                self.skip();
                Ok(None)
            }
            taken => taken,
        }
    }

    /// Notes that a checkpoint was skipped, and bounds what is kept for the next.
    fn skip(&mut self) {
        self.skipped += 1;
        let written = self.journal.as_ref().map_or(0, Journal::pending_bytes);
        let chunks: usize = self.pending.iter().map(|extent| extent.chunks.len()).sum();
        if written + chunks * ChunkRecord::LEN > JOURNAL_HELD_BYTES_MAX {
            self.state = State::Closed;
        }
        self.pending_bytes = 0;
        if self.state == State::Closed {
            self.pending = Vec::new();
            self.early.clear();
            self.journal = None;
        }
    }

    /// Takes a checkpoint of everything that is complete; `None` where the last one covers it.
    ///
    /// # Errors
    /// `Output` or `NoSpace` where anything fails: the checkpoint before stands, and is the last
    /// unless [`Self::is_usable`]: there was no room for the journal.
    pub fn checkpoint(&mut self, partial: &mut Partial) -> Result<Option<Checkpoint>> {
        // H2: what failed once is never asked again.
        let gone = |kind| Err(Error::new(kind, "no checkpoint can be taken any more"));
        match self.state {
            State::Usable => {}
            State::Closed => return gone(ErrorKind::NoSpace),
            State::Failed => return gone(ErrorKind::Output),
        }
        if self.complete == self.covered {
            return Ok(None);
        }
        let _span = trace::checkpoint();
        let start = Instant::now();
        // H1: frozen here; what completes from now on waits for the next.
        let frozen = self.complete;
        (self.attempted, self.last) = (frozen, start);
        self.state = State::Failed;
        // J1: durable before the journal says so.
        let synced = match planted::is(Bug::JournalBeforeData) {
            true => Ok(()),
            false => self.file.sync_data(),
        };
        let synced = match synced {
            Err(_) if planted::is(Bug::SyncRetried) => self.file.sync_data(),
            result => result,
        };
        synced.map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot make the data durable", error)
        })?;
        let recorded = self.record(partial, &frozen);
        recorded.inspect_err(|error| {
            if error.kind() == ErrorKind::NoSpace {
                // H3: without room for the journal nothing was lost.
                let usable = self.journal.as_ref().is_none_or(Journal::is_usable);
                self.state = if usable { State::Usable } else { State::Closed };
            }
        })?;
        self.state = State::Usable;
        partial.keep();
        if planted::is(Bug::JournalBeforeData) {
            let _ = self.file.sync_data();
        }
        self.covered = frozen;
        self.pause = self.cadence.pause_after(start.elapsed());
        self.last = Instant::now();
        Ok(Some(frozen))
    }

    /// Says in the journal what is durable.
    fn record(&mut self, partial: &mut Partial, frozen: &Checkpoint) -> Result<()> {
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => none.insert(partial.create_journal(self.open.clone())?),
        };
        for extent in self.pending.drain(..) {
            journal.append(extent);
        }
        self.pending_bytes = 0;
        journal.checkpoint(frozen)
    }

    /// As [`Self::checkpoint`], for a job that ends here because the disk is full: what was
    /// allocated ahead is given back first, and the last extent of several given up, which makes
    /// room for a journal where there is none at all.
    ///
    /// # Errors
    /// As [`Self::checkpoint`].
    pub fn last_checkpoint(&mut self, partial: &mut Partial) -> Result<Option<Checkpoint>> {
        if let [_, .., last] = &self.pending[..]
            && let Some(entry) = last.chunks.first().map(|chunk| chunk.entry)
        {
            let raw_len = |chunk: &ChunkRecord| u64::from(chunk.entry.raw_len);
            self.complete.extents -= 1;
            self.complete.chunks -= last.chunks.len() as u64;
            self.complete.bytes -= last.chunks.iter().map(raw_len).sum::<u64>();
            if self.open.is_scattered() {
                let slot_len = self.open.recipe.geometry.slot_len();
                let _ = self.file.punch_hole(entry.offset, slot_len);
            } else {
                self.complete.data_end = entry.offset;
            }
            self.pending.pop();
        }
        if self.complete.extents > 0 {
            let _ = self.file.set_len(self.complete.data_end);
        }
        self.checkpoint(partial)
    }

    /// What the next checkpoint would cover, if it were taken now.
    #[must_use]
    pub fn complete(&self) -> Checkpoint {
        self.complete
    }

    /// What the last checkpoint covers.
    #[must_use]
    pub fn covered(&self) -> Checkpoint {
        self.covered
    }

    /// Whether another checkpoint can be taken.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.state == State::Usable
    }

    /// Whether the attempt that failed with this error lacked room for the journal, and nothing
    /// else: the job can go on.
    #[must_use]
    pub fn is_without_room(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::NoSpace && self.state != State::Failed
    }

    /// What a person should know of checkpoints that weren't taken.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let skipped = self.skipped;
        (skipped > 0).then(|| {
            format!(
                "ringpack skipped {skipped} checkpoint(s): the file system has no room for the \
                 journal"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Target;
    use crate::format::header::{CodecKind, PlacementKind};
    use crate::format::index::Entry;
    use crate::format::layout::Geometry;
    use crate::format::recipe::Recipe;
    use crate::format::record::{PartialIdentity, SourceIdentity};
    use crate::journal::Replay;
    use crate::ring::file::{Disk, Replace};
    use crate::ring::sim::{Fault, SimDisk, SimOptions};
    use std::ffi::OsStr;
    use std::path::Path;

    const CHUNK: u64 = 1 << 16;

    fn open() -> Open {
        let geometry = Geometry::new(16, PlacementKind::Slots);
        let (codec, level, zstd_version) = (CodecKind::Store, 0, 1);
        let recipe = Recipe { codec, level, zstd_version, geometry, blake3: false };
        let (source, name) = (SourceIdentity::default(), Vec::new());
        Open {
            run: [1; 16],
            partial: PartialIdentity::default(),
            recipe,
            replace: false,
            source,
            name,
        }
    }

    fn often(bytes: u64) -> Cadence {
        Cadence { bytes, interval: Duration::MAX, percent_max: 100 }
    }

    fn started(options: SimOptions, cadence: Cadence) -> (SimDisk, Partial, Checkpointer) {
        let disk = SimDisk::new(1, options);
        let target = Target::new(&disk, Path::new("/out"), Replace::Never).unwrap();
        let partial = Partial::create(target, false).unwrap();
        let checkpointer = Checkpointer::new(&partial, open(), cadence);
        (disk, partial, checkpointer)
    }

    /// Extent `number`: a chunk in a slot.
    fn note(checkpointer: &mut Checkpointer, number: u64) {
        let slot_len = open().recipe.geometry.slot_len();
        let offset = number * slot_len;
        let (frame_len, raw_len) = (100, CHUNK as u32);
        let entry = Entry { offset, frame_len, raw_len, frame_crc32c: 0, raw_crc32c: 0 };
        let chunk = ChunkRecord { entry, xxh64_low: 0, chaining: [0; 32] };
        checkpointer.note(number, vec![chunk], offset + slot_len);
    }

    fn replayed(disk: &SimDisk) -> u64 {
        let directory = disk.directory(Path::new("/")).unwrap();
        let name = OsStr::new("out.ringpack-journal");
        let Ok(file) = directory.open_existing(name, false) else {
            return 0;
        };
        Replay::read(file).unwrap().unwrap().covered().extents
    }

    #[test]
    fn m2_an_extent_that_ends_off_the_grid_is_not_covered() {
        let (disk, mut partial, mut checkpointer) = started(SimOptions::default(), often(1));
        note(&mut checkpointer, 0);
        let (offset, frame_len, raw_len) = (open().recipe.geometry.slot_len(), 100, CHUNK as u32);
        let entry = Entry { offset, frame_len, raw_len, frame_crc32c: 0, raw_crc32c: 0 };
        let chunk = ChunkRecord { entry, xxh64_low: 0, chaining: [0; 32] };
        let end = 2 * offset;
        checkpointer.note(1, vec![chunk], end - 1);
        let checkpoint = checkpointer.checkpoint(&mut partial).unwrap().unwrap();
        assert_eq!((checkpoint.extents, replayed(&disk)), (1, 1));
        checkpointer.note(1, vec![chunk], end);
        let checkpoint = checkpointer.checkpoint(&mut partial).unwrap().unwrap();
        assert_eq!((checkpoint.extents, replayed(&disk)), (2, 2));
    }

    #[test]
    fn h1_a_checkpoint_names_the_prefix_that_completed() {
        let (disk, mut partial, mut checkpointer) = started(SimOptions::default(), often(1));
        note(&mut checkpointer, 1);
        note(&mut checkpointer, 3);
        assert_eq!(checkpointer.poll(&mut partial).unwrap(), None, "extent 0 is missing");
        assert!(!partial.is_kept());
        note(&mut checkpointer, 0);
        let checkpoint = checkpointer.poll(&mut partial).unwrap().unwrap();
        let Checkpoint { extents, chunks, bytes, .. } = checkpoint;
        assert_eq!((extents, chunks, bytes), (2, 2, 2 * CHUNK));
        assert_eq!(replayed(&disk), 2);
        assert!(partial.is_kept());
        assert_eq!(checkpointer.poll(&mut partial).unwrap(), None, "nothing new");
        note(&mut checkpointer, 2);
        assert_eq!(checkpointer.poll(&mut partial).unwrap().unwrap().extents, 4);
        assert_eq!(replayed(&disk), 4);
    }

    #[test]
    fn j1_the_data_is_synced_before_the_journal_is_written() {
        let (disk, mut partial, mut checkpointer) = started(SimOptions::default(), often(1));
        note(&mut checkpointer, 0);
        checkpointer.poll(&mut partial).unwrap();
        let trace = disk.trace();
        let calls: Vec<&str> = trace.iter().map(|call| call.split(" 0 ").next().unwrap()).collect();
        let expected = [
            "create out.ringpack-partial",
            "sync_data out.ringpack-partial",
            "create out.ringpack-journal",
            "write out.ringpack-journal",
            "sync_data out.ringpack-journal",
            "sync /",
        ];
        assert_eq!(calls, expected);
    }

    #[test]
    fn h2_after_a_failure_there_is_no_other_attempt() {
        // The data's sync, the journal's, the folder's; then the same at the second checkpoint.
        for nth in 1..=5 {
            let fail_sync = Some(Fault { nth, errno: libc::EIO });
            let options = SimOptions { fail_sync, ..SimOptions::default() };
            let (disk, mut partial, mut checkpointer) = started(options, often(1));
            let reported = (0..3).find(|&number| {
                note(&mut checkpointer, number);
                checkpointer.poll(&mut partial).is_err()
            });
            assert_eq!(reported, Some(if nth <= 3 { 0 } else { 1 }), "sync {nth}");
            assert_eq!(checkpointer.covered().extents, reported.unwrap());
            assert_eq!(partial.is_kept(), reported == Some(1));
            assert!(!checkpointer.is_usable());
            note(&mut checkpointer, 3);
            assert_eq!(checkpointer.poll(&mut partial).unwrap(), None);
            assert!(checkpointer.checkpoint(&mut partial).is_err());
            assert_eq!(disk.syncs(), nth, "nothing is synced again");
        }
    }

    /// A disk that has room for one checkpoint, and no more.
    fn full_after_one() -> (SimDisk, Partial, Checkpointer) {
        let (disk, mut partial, mut checkpointer) = started(SimOptions::default(), often(1));
        note(&mut checkpointer, 0);
        assert!(checkpointer.poll(&mut partial).unwrap().is_some());
        disk.set_options(SimOptions { capacity: Some(0), ..SimOptions::default() });
        (disk, partial, checkpointer)
    }

    #[test]
    fn h3_without_room_for_the_journal_a_checkpoint_is_skipped() {
        let (disk, mut partial, mut checkpointer) = full_after_one();
        // The journal's first page has room for some records; then it would have to grow.
        let skipped = (1..200).find(|&number| {
            note(&mut checkpointer, number);
            checkpointer.poll(&mut partial).unwrap().is_none()
        });
        let skipped = skipped.expect("the journal outgrows its page");
        note(&mut checkpointer, skipped + 1);
        assert_eq!(checkpointer.poll(&mut partial).unwrap(), None);
        let asked = checkpointer.checkpoint(&mut partial).unwrap_err();
        assert!(asked.kind() == ErrorKind::NoSpace && checkpointer.is_without_room(&asked));
        assert_eq!(checkpointer.covered().extents, skipped);
        for seed in 0..20 {
            assert_eq!(replayed(&disk.crash(seed)), skipped, "torn, and the one before stands");
        }
        assert!(checkpointer.warning().unwrap().contains("skipped 2 "));
        // There is room again: the next covers all.
        disk.set_options(SimOptions::default());
        note(&mut checkpointer, skipped + 2);
        let taken = checkpointer.poll(&mut partial).unwrap().unwrap();
        assert_eq!(taken.extents, skipped + 3);
        for seed in 0..20 {
            assert_eq!(replayed(&disk.crash(seed)), skipped + 3);
        }
    }

    #[test]
    fn h3_without_room_for_long_no_more_is_kept() {
        let (_disk, mut partial, mut checkpointer) = full_after_one();
        let mut number = 1;
        while checkpointer.is_usable() {
            note(&mut checkpointer, number);
            if number.is_multiple_of(20_000) {
                assert_eq!(checkpointer.poll(&mut partial).unwrap(), None);
            }
            number += 1;
            let most = 2 * JOURNAL_HELD_BYTES_MAX as u64 / ChunkRecord::LEN as u64;
            assert!(number < most, "more and more is kept");
        }
        note(&mut checkpointer, number);
        assert!(checkpointer.pending.is_empty() && checkpointer.early.is_empty());
        assert_eq!(checkpointer.poll(&mut partial).unwrap(), None);
        let refused = checkpointer.checkpoint(&mut partial).unwrap_err();
        assert!(checkpointer.is_without_room(&refused), "{refused}");
    }

    #[test]
    fn h2_h3_want_of_room_for_the_data_is_no_want_of_room_for_the_journal() {
        // The first sync of a checkpoint is the data's, the second the journal's.
        for (nth, is_fatal) in [(1, true), (2, false)] {
            let fail_sync = Some(Fault { nth, errno: libc::ENOSPC });
            let options = SimOptions { fail_sync, ..SimOptions::default() };
            let (disk, mut partial, mut checkpointer) = started(options, often(1));
            note(&mut checkpointer, 0);
            let polled = checkpointer.poll(&mut partial);
            assert_eq!(polled.is_err(), is_fatal, "sync {nth}");
            if let Err(error) = polled {
                assert!(error.kind() == ErrorKind::NoSpace);
                assert!(!checkpointer.is_without_room(&error));
            }
            assert!(!checkpointer.is_usable(), "a failed sync isn't tried again");
            note(&mut checkpointer, 1);
            assert_eq!(checkpointer.poll(&mut partial).unwrap(), None);
            assert_eq!((disk.syncs(), checkpointer.covered().extents), (nth, 0));
        }
    }

    #[test]
    fn it_is_due_by_bytes_by_time_and_as_far_as_it_may_cost() {
        let (_disk, mut partial, mut checkpointer) =
            started(SimOptions::default(), often(CHUNK + 1));
        note(&mut checkpointer, 0);
        assert_eq!(checkpointer.poll(&mut partial).unwrap(), None);
        note(&mut checkpointer, 1);
        assert!(checkpointer.poll(&mut partial).unwrap().is_some());
        let by_time = Cadence { bytes: u64::MAX, interval: Duration::ZERO, percent_max: 100 };
        let (_disk, mut partial, mut checkpointer) = started(SimOptions::default(), by_time);
        note(&mut checkpointer, 0);
        assert!(checkpointer.poll(&mut partial).unwrap().is_some());
        let second = Duration::from_secs(1);
        let share = |percent_max| Cadence { percent_max, ..by_time }.pause_after(second);
        assert_eq!(share(2), 49 * second);
        assert_eq!(share(50), second);
        assert_eq!(share(100), Duration::ZERO);
        assert_eq!(share(0), Duration::MAX);
    }
}
