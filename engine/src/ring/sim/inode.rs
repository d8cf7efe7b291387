//! A file of the simulated disk: what reads see, what the medium has, and what lies between.
//!
//! ```text
//!            issue                 land                     sync
//! write ───────────► in flight ───────────► unsynced ───────────────► durable
//!                        │                  + seen by reads
//!                        └── abandon (short, EINTR, an error)
//! ```
//!
//! A power cut starts from the durable bytes and lets each change between be kept, dropped or, if
//! it is a write, torn page by page; writes in flight are treated alike. Changes are decided
//! independently: no order between them is promised, so none is simulated.
//!
//! Example: write A, `set_len`, write B, sync, write C. The medium has A, the length and B. A power
//! cut leaves C whole, some of C's pages, or none; never a state without B.
//!
//! # Invariants
//! - S4: reads see the durable bytes with every unsynced change applied in order, for as long as no
//!   sync has failed.
//! - S5: a sync covers what was completed before it and nothing that is in flight.
//! - S6: a failed sync loses the unsynced writes for the medium, not for readers: they are clean in
//!   the cache, and the next sync has nothing to write and succeeds.
//! - S17: after a failed sync, direct reads, and all reads once the cache was dropped, see the
//!   durable bytes with every unsynced change applied; the length stays.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::SystemTime;

use super::content::{Content, Run};
use super::random::{Fate, Fates, PageFate};

/// A change to a file's bytes or length.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(Run),
    SetLen(u64),
    Allocate { offset: u64, len: u64 },
    Punch { offset: u64, len: u64 },
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match *self {
            Self::Write(ref run) => content.write(run),
            Self::SetLen(len) => content.set_len(len),
            Self::Allocate { offset, len } => content.allocate(offset, len),
            Self::Punch { offset, len } => content.punch(offset, len),
        }
    }
}

/// Attributes of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: SystemTime,
    pub(super) born: SystemTime,
}

/// A write in flight, and the open file description that it came through.
#[derive(Clone, Debug)]
struct InFlight {
    by: i32,
    run: Run,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// Its name as last known, for the trace.
    pub(super) name: OsString,
    pub(super) metadata: Metadata,
    /// The open file description that holds the lock.
    pub(super) locked_by: Option<i32>,
    seen: Content,
    /// What is seen past the cache, where a failed sync has made that differ.
    behind: Option<Content>,
    durable: Content,
    durable_metadata: Metadata,
    unsynced: Vec<Change>,
    in_flight: BTreeMap<u64, InFlight>,
}

impl Inode {
    pub(super) fn new(name: OsString, metadata: Metadata) -> Self {
        Self {
            name,
            metadata,
            locked_by: None,
            seen: Content::default(),
            behind: None,
            durable: Content::default(),
            durable_metadata: metadata,
            unsynced: Vec::new(),
            in_flight: BTreeMap::new(),
        }
    }

    /// The bytes that reads see.
    pub(super) fn content(&self) -> &Content {
        &self.seen
    }

    /// The bytes that direct reads see: the dirty part of the cache is written out before them.
    pub(super) fn behind_cache(&self) -> &Content {
        self.behind.as_ref().unwrap_or(&self.seen)
    }

    /// Drops what the cache holds clean.
    pub(super) fn drop_cache(&mut self) {
        if let Some(behind) = self.behind.take() {
            // S17: what a failed sync has lost is lost for readers too.
            self.seen = behind;
        }
    }

    /// Makes a change that is complete at once.
    pub(super) fn change(&mut self, change: Change) {
        // S4: both sides of the equation grow by the same change.
        change.apply(&mut self.seen);
        if let Some(behind) = &mut self.behind {
            change.apply(behind);
        }
        self.unsynced.push(change);
    }

    /// Takes a write in that is not complete yet, and came through description `by`; `id` is new.
    pub(super) fn issue(&mut self, id: u64, by: i32, run: Run) {
        let former = self.in_flight.insert(id, InFlight { by, run });
        assert!(former.is_none(), "an id names one write");
    }

    /// The writes in flight.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = (u64, &Run)> {
        self.in_flight.iter().map(|(&id, write)| (id, &write.run))
    }

    /// Gives up a lock whose holder is dead, unless a write that came through it is in flight.
    pub(super) fn release_dead(&mut self) {
        // S18: the holder's description lives as long as a write on it does.
        if !self.in_flight.values().any(|write| Some(write.by) == self.locked_by) {
            self.locked_by = None;
        }
    }

    /// Completes a write with its first `moved` bytes.
    pub(super) fn land(&mut self, id: u64, moved: usize) {
        let write = self.in_flight.remove(&id).expect("only a write in flight can land");
        self.change(Change::Write(write.run.cut(moved)));
    }

    /// Ends a write that moves nothing.
    pub(super) fn abandon(&mut self, id: u64) {
        let issued = self.in_flight.remove(&id);
        assert!(issued.is_some(), "only a write in flight can be abandoned");
    }

    /// Completes all writes, as the kernel does for a process that is gone.
    pub(super) fn land_all(&mut self) {
        for (_, write) in std::mem::take(&mut self.in_flight) {
            self.change(Change::Write(write.run));
        }
    }

    /// Makes what is complete durable; `all` takes the attributes along.
    pub(super) fn sync(&mut self, all: bool) {
        // S5: `in_flight` is left as it is.
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
        if all {
            self.durable_metadata = self.metadata;
        }
    }

    /// A sync that failed. Lengths and allocations are in the journal of the file system still.
    pub(super) fn fail_sync(&mut self) {
        // S6: forgotten without reaching `durable`, while `seen` keeps them.
        let before = self.unsynced.len();
        self.unsynced.retain(|change| !matches!(change, Change::Write(_)));
        if self.unsynced.len() < before {
            let mut behind = self.durable.clone();
            self.unsynced.iter().for_each(|change| change.apply(&mut behind));
            // S17: the length, and what was allocated, are in the inode and not in the cache.
            behind.grow_like(&self.seen);
            self.behind = Some(behind);
        }
    }

    /// The file after a power cut.
    pub(super) fn after_power_cut(&self, fates: &mut Fates) -> Self {
        let mut content = self.durable.clone();
        for change in &self.unsynced {
            match change {
                Change::Write(run) => survive(&mut content, run, fates),
                change if fates.keeps() => change.apply(&mut content),
                _ => {}
            }
        }
        self.in_flight.values().for_each(|write| survive(&mut content, &write.run, fates));
        let metadata = if fates.keeps() { self.metadata } else { self.durable_metadata };
        let mut inode = Self::new(self.name.clone(), metadata);
        inode.durable = content.clone();
        inode.seen = content;
        inode
    }
}

/// Lets a write be kept, dropped or torn.
fn survive(content: &mut Content, run: &Run, fates: &mut Fates) {
    match fates.of_write() {
        Fate::Kept => content.write(run),
        Fate::Dropped => {}
        Fate::Torn => tear(content, run, fates),
    }
}

/// Writes some of the pages. The new length may be on the medium without the last of them.
fn tear(content: &mut Content, run: &Run, fates: &mut Fates) {
    for page in run.pages() {
        match fates.of_page() {
            PageFate::Kept => content.write(&page),
            PageFate::Dropped => {}
            PageFate::Garbage => {
                let mut garbage = vec![0; page.len()];
                fates.fill(&mut garbage);
                content.write(&Run::new(page.offset(), &garbage));
            }
        }
    }
    if content.len() < run.end() && fates.keeps() {
        content.set_len(run.end());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: usize = crate::limits::ALIGN;

    fn inode() -> Inode {
        let modified = SystemTime::UNIX_EPOCH;
        Inode::new("f".into(), Metadata { mode: 0o600, uid: 0, gid: 0, modified, born: modified })
    }

    fn write(inode: &mut Inode, offset: usize, byte: u8, len: usize) {
        inode.change(Change::Write(Run::new(offset as u64, &vec![byte; len])));
    }

    /// The first byte of each page, for every power cut of many.
    fn after_power_cuts(inode: &Inode, garbage: bool) -> BTreeSet<Vec<u8>> {
        let after = |seed| {
            let left = inode.after_power_cut(&mut Fates::new(seed, garbage));
            let bytes = left.content().to_vec();
            for page in bytes.chunks(PAGE).filter(|_| !garbage) {
                assert!(page.iter().all(|byte| byte == &page[0]), "torn within a page");
            }
            bytes.iter().step_by(PAGE).copied().collect()
        };
        (0..400).map(after).collect()
    }

    #[test]
    fn a_write_in_flight_is_neither_seen_nor_synced() {
        // S5: the sync falls between issue and completion.
        let mut file = inode();
        write(&mut file, 0, 1, 2 * PAGE);
        file.issue(7, 3, Run::new(PAGE as u64, &[2; PAGE]));
        assert_eq!(file.content().to_vec(), [1; 2 * PAGE]);
        file.sync(true);
        let states = after_power_cuts(&file, false);
        assert_eq!(states, BTreeSet::from([vec![1, 1], vec![1, 2]]));
        file.land(7, PAGE);
        assert_eq!(file.content().to_vec()[PAGE], 2);
        let states = after_power_cuts(&file, false);
        assert_eq!(states, BTreeSet::from([vec![1, 1], vec![1, 2]]), "still not synced");
        file.sync(false);
        assert_eq!(after_power_cuts(&file, false), BTreeSet::from([vec![1, 2]]));
    }

    #[test]
    fn a_write_is_torn_at_pages_into_every_mixture() {
        let mut file = inode();
        write(&mut file, 0, 1, 3 * PAGE);
        file.sync(false);
        write(&mut file, 0, 2, 3 * PAGE);
        let states = after_power_cuts(&file, false);
        assert_eq!(states.len(), 8, "{states:?}");
        assert!(states.iter().flatten().all(|byte| [1, 2].contains(byte)));
        let with_garbage = after_power_cuts(&file, true);
        assert!(with_garbage.iter().flatten().any(|byte| ![1, 2].contains(byte)));
    }

    #[test]
    fn reads_see_durable_and_unsynced_together() {
        // S4: whatever of the two a change is in.
        let mut file = inode();
        let changes = [
            Change::Write(Run::new(0, &[1; 9000])),
            Change::SetLen(5000),
            Change::Allocate { offset: 0, len: 20_000 },
            Change::Write(Run::new(4000, &[2; 3000])),
            Change::Punch { offset: 0, len: 4096 },
        ];
        for sync_after in 0..=changes.len() {
            for (index, change) in changes.iter().enumerate() {
                if index == sync_after {
                    file.sync(false);
                }
                file.change(change.clone());
                let mut content = file.durable.clone();
                file.unsynced.iter().for_each(|change| change.apply(&mut content));
                assert!(content.to_vec() == file.content().to_vec());
            }
        }
    }

    #[test]
    fn after_a_failed_sync_the_next_one_lies() {
        // S6: success, readers see the new bytes, the medium has the old.
        let mut file = inode();
        write(&mut file, 0, 1, PAGE);
        file.sync(true);
        write(&mut file, 0, 2, PAGE);
        file.change(Change::SetLen(2 * PAGE as u64));
        file.fail_sync();
        file.sync(true);
        assert_eq!(file.content().to_vec()[0], 2);
        assert_eq!(after_power_cuts(&file, false), BTreeSet::from([vec![1, 0]]));
    }

    #[test]
    fn s17_past_the_cache_is_what_the_medium_will_have() {
        let mut file = inode();
        write(&mut file, 0, 1, 2 * PAGE);
        file.sync(true);
        file.drop_cache();
        write(&mut file, 0, 2, 3 * PAGE);
        assert_eq!(file.behind_cache().to_vec(), [2; 3 * PAGE], "dirty, and written out first");
        file.fail_sync();
        write(&mut file, PAGE, 3, PAGE);
        let firsts = |content: &Content| [0, 1, 2].map(|page| content.to_vec()[page * PAGE]);
        assert_eq!(firsts(file.content()), [2, 3, 2]);
        assert_eq!(firsts(file.behind_cache()), [1, 3, 0]);
        file.drop_cache();
        assert_eq!(firsts(file.content()), [1, 3, 0]);
        assert_eq!(file.content().allocated(), 3 * PAGE as u64);
        file.sync(true);
        let states = after_power_cuts(&file, false);
        assert_eq!(states, BTreeSet::from([vec![1, 3]]), "the length was never written");
    }

    #[test]
    fn attributes_are_made_durable_by_a_full_sync_alone() {
        let mut file = inode();
        file.metadata.mode = 0o644;
        let modes = |file: &Inode| -> BTreeSet<u32> {
            let after = |seed| file.after_power_cut(&mut Fates::new(seed, false)).metadata.mode;
            (0..50).map(after).collect()
        };
        file.sync(false);
        assert_eq!(modes(&file), BTreeSet::from([0o600, 0o644]));
        file.sync(true);
        assert_eq!(modes(&file), BTreeSet::from([0o644]));
    }
}
