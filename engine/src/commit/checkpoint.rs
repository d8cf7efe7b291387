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
//! # Invariants
//! - H1: a checkpoint names exactly the extents that were complete when its sync of the data was
//!   issued.
//! - H2: after a sync or a write of the journal failed there is no further checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::publication::Partial;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ChunkRecord, Open};
use crate::journal::{Checkpoint, Journal, JournaledExtent};
use crate::limits::JOURNAL_PENDING_BYTES_MAX;
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
    last: Instant,
    pause: Duration,
    failed: bool,
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
            last: Instant::now(),
            pause: Duration::ZERO,
            failed: false,
        }
    }

    /// The same for a job that goes on behind `covered`, which `journal` says already.
    #[must_use]
    pub fn behind(self, journal: Journal, covered: Checkpoint) -> Self {
        Self { journal: Some(journal), covered, complete: covered, ..self }
    }

    /// Takes note of an extent of which every byte was written, and which ends at `end`.
    pub fn note(&mut self, number: u64, chunks: Vec<ChunkRecord>, end: u64) {
        if self.cadence == Cadence::never() {
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

    /// Takes a checkpoint if one is due; `None` where none was.
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
        let new_bytes = self.complete.bytes - self.covered.bytes;
        if self.pending.is_empty() || self.failed {
            return Ok(None);
        }
        // What is kept for the next one is bounded, whatever was asked for.
        let forced = self.pending_bytes >= JOURNAL_PENDING_BYTES_MAX;
        let due = new_bytes >= self.cadence.bytes || self.last.elapsed() >= self.cadence.interval;
        if forced || (due && self.last.elapsed() >= self.pause) {
            return self.checkpoint(partial);
        }
        Ok(None)
    }

    /// Takes a checkpoint of everything that is complete; `None` where the last one covers it.
    ///
    /// # Errors
    /// `Output` or `NoSpace` where anything fails: the checkpoint before stands, and is the last
    /// unless [`Self::is_usable`]: there was no room for the journal.
    pub fn checkpoint(&mut self, partial: &mut Partial) -> Result<Option<Checkpoint>> {
        // H2: what failed once is never asked again.
        if self.failed {
            return Err(Error::new(ErrorKind::Output, "no checkpoint can be taken any more"));
        }
        if self.complete == self.covered {
            return Ok(None);
        }
        let _span = trace::checkpoint();
        let start = Instant::now();
        // H1: frozen here; what completes from now on waits for the next.
        let frozen = self.complete;
        self.failed = true;
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
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => {
                let created = partial.create_journal(self.open.clone());
                self.failed = !matches!(&created, Err(error) if error.kind() == ErrorKind::NoSpace);
                none.insert(created?)
            }
        };
        for extent in self.pending.drain(..) {
            journal.append(extent);
        }
        self.pending_bytes = 0;
        let written = journal.checkpoint(&frozen);
        // Without room for the journal nothing was lost: it may be asked again when there is some.
        self.failed = !journal.is_usable();
        written?;
        partial.keep();
        if planted::is(Bug::JournalBeforeData) {
            let _ = self.file.sync_data();
        }
        self.covered = frozen;
        self.pause = self.cadence.pause_after(start.elapsed());
        self.last = Instant::now();
        Ok(Some(frozen))
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
        !self.failed
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
    use crate::format::record::SourceIdentity;
    use crate::journal::Replay;
    use crate::limits::HEADER_LEN;
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
        Open { run: [1; 16], recipe, replace: false, source, name }
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
        let offset = HEADER_LEN as u64 + number * slot_len;
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
