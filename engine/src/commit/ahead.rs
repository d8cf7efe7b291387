//! Space allocated ahead of the writes, and the gate that keeps writes behind it.
//!
//! Direct writes stay asynchronous only into space that is allocated already; one beyond it, or one
//! submitted while an allocation holds the inode's lock, is punted to a kernel thread (measured:
//! up to one a write in flight, see docs/decisions/0004). So before an allocation the gate closes,
//! the writes that were let in finish, the space is allocated, and the gate opens up to its end.
//! Steps double, so there are few of them, and no more than half of what is reserved is unused.
//!
//! Space allocated ahead is space that nobody else on the file system has: neither another program
//! nor the job's own journal. So a step takes a share of what is free, and where that share is less
//! than the smallest step, nothing is allocated ahead. A failed `fallocate` keeps what it took
//! (measured on ext4); the file is cut back to the last limit then.
//!
//! ```text
//!      written        in flight      allocated, free
//! |───────────────|────────────────|─────────────────| limit
//!                                        ▲ frontier + half a step reaches here: close
//! ```
//!
//! # Invariants
//! - G1: no write is let in that ends beyond what is allocated, or while an allocation runs.
//! - G2: a closed gate opens again without any further event: once the last write let in has left.
//! - G3: a step leaves three quarters of the free space to others, and a failed one leaves it all.

use std::ops::Range;
use std::sync::Arc;

use crate::limits::{ALIGN, ALLOCATE_FREE_PARTS, ALLOCATE_STEP_BYTES, ALLOCATE_STEP_BYTES_MAX};
use crate::planted::{self, Bug};
use crate::ring::file::File;
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Set in [`Gate::inside`] while the gate is closed; the rest counts the writes let in.
const CLOSED: u64 = 1 << 63;

/// The gate, shared with the workers.
#[derive(Debug)]
pub struct Gate {
    limit: AtomicU64,
    inside: AtomicU64,
}

impl Gate {
    /// A gate without a limit.
    #[must_use]
    pub fn open() -> Self {
        Self { limit: AtomicU64::new(u64::MAX), inside: AtomicU64::new(0) }
    }

    /// Lets a write in that ends at `end`; `false` where it has to wait. The job's event count
    /// advances when it may look again.
    pub fn enter(&self, end: u64) -> bool {
        // G1: a refused write leaves no trace in the count, so that `close` can trust it.
        let enter = |inside| (inside & CLOSED == 0).then_some(inside + 1);
        end <= self.limit.load(SeqCst) && self.inside.fetch_update(SeqCst, SeqCst, enter).is_ok()
    }

    /// Notes that a write let in has ended. The coordinator has to hear of it afterwards (G2).
    pub fn leave(&self) {
        self.inside.fetch_sub(1, SeqCst);
    }

    /// Closes the gate; `true` where nothing is inside.
    fn close(&self) -> bool {
        self.inside.fetch_or(CLOSED, SeqCst) & !CLOSED == 0
    }

    fn open_to(&self, limit: u64) {
        self.limit.store(limit, SeqCst);
        self.inside.fetch_and(!CLOSED, SeqCst);
    }
}

/// The coordinator's side.
pub struct Ahead<'a> {
    file: &'a Arc<dyn File>,
    gate: &'a Gate,
    /// The parts of a range that will be written.
    parts: Box<dyn FnMut(Range<u64>) -> Vec<Range<u64>> + 'a>,
    allocated: u64,
    most: u64,
    active: bool,
}

impl<'a> Ahead<'a> {
    /// Allocation for `file`, which is written up to `room.start` already and of which at most
    /// `room.end` bytes will be needed, and of these only what `parts` says; allocates the first
    /// step. Does nothing for a buffered file.
    pub fn new(
        file: &'a Arc<dyn File>,
        gate: &'a Gate,
        room: Range<u64>,
        parts: impl FnMut(Range<u64>) -> Vec<Range<u64>> + 'a,
    ) -> Self {
        let (allocated, most) = (room.start, room.end);
        let active = file.is_direct();
        let mut ahead = Self { file, gate, parts: Box::new(parts), allocated, most, active };
        ahead.reach(allocated);
        ahead
    }

    /// Sees to it that there is room beyond `frontier`, the furthest end of a finished write. To be
    /// called after each write; `true` where the gate was opened, so that workers should look
    /// again.
    pub fn reach(&mut self, frontier: u64) -> bool {
        let near = frontier.saturating_add(ALLOCATE_STEP_BYTES / 2);
        if !self.active || self.allocated >= self.most || self.allocated > near {
            return false;
        }
        if !self.gate.close() {
            // G2: whoever leaves last calls again.
            return false;
        }
        let limit = match self.step() {
            Some(end) if self.allocate(end) => {
                self.allocated = end;
                if end == self.most { u64::MAX } else { end }
            }
            // From here on the writes find out for themselves whether there is room for them.
            _ => {
                self.active = false;
                u64::MAX
            }
        };
        self.gate.open_to(limit);
        true
    }

    /// Where the next step ends; `None` where the file system has too little room for one.
    fn step(&self) -> Option<u64> {
        let left = self.most - self.allocated;
        let whole = self.allocated.clamp(ALLOCATE_STEP_BYTES, ALLOCATE_STEP_BYTES_MAX).min(left);
        if planted::is(Bug::NoReserve) {
            return Some(self.allocated + whole);
        }
        // G3: where the free space isn't known, there may be little of it.
        let share = self.file.free_bytes().unwrap_or(0) / ALLOCATE_FREE_PARTS;
        let step = whole.min(share - share % ALIGN as u64);
        // A smaller step might not hold the next extent, and nothing would ever be let in.
        (step >= whole.min(ALLOCATE_STEP_BYTES)).then_some(self.allocated + step)
    }

    /// Allocates up to `end`, while the gate is closed; where that fails, nothing.
    fn allocate(&mut self, end: u64) -> bool {
        let parts = (self.parts)(self.allocated..end);
        let allocate = |part: &Range<u64>| self.file.allocate(part.start, part.end - part.start);
        let result = parts.iter().try_for_each(allocate);
        // G3: no write that was let in ends beyond what is allocated (G1), so nothing is cut off.
        if let Err(error) = &result
            && error.kind() != std::io::ErrorKind::Unsupported
            && !planted::is(Bug::NoReserve)
        {
            // A block device has no length to set; then there is nothing to give back either.
            let _ = self.file.set_len(self.allocated);
        }
        result.is_ok()
    }
}

impl std::fmt::Debug for Ahead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { allocated, most, active, .. } = self;
        f.debug_struct("Ahead")
            .field("allocated", allocated)
            .field("most", most)
            .field("active", active)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::file::Disk;
    use crate::ring::sim::{SimDisk, SimOptions};
    use std::ffi::OsStr;
    use std::path::Path;

    const STEP: u64 = ALLOCATE_STEP_BYTES;

    fn file(options: SimOptions) -> (SimDisk, Arc<dyn File>) {
        let disk = SimDisk::new(1, options);
        let directory = disk.directory(Path::new("/")).unwrap();
        let file = directory.create_new(OsStr::new("out"), true).unwrap();
        (disk, file)
    }

    fn direct() -> SimOptions {
        SimOptions { direct: true, ..SimOptions::default() }
    }

    #[test]
    fn g1_g2_a_write_waits_for_its_space_and_an_allocation_for_the_writes() {
        let (_disk, file) = file(direct());
        let gate = Gate::open();
        let mut ahead = Ahead::new(&file, &gate, 0..100 * STEP, |range| vec![range]);
        assert!(gate.enter(STEP) && !gate.enter(STEP + 1));
        // Something is inside: the gate closes, and nothing is allocated yet.
        assert!(!ahead.reach(STEP));
        assert!(!gate.enter(1));
        gate.leave();
        assert!(ahead.reach(STEP));
        // Steps double.
        assert_eq!(ahead.allocated, 2 * STEP);
        assert!(gate.enter(2 * STEP) && !gate.enter(2 * STEP + 1));
        gate.leave();
        assert!(!ahead.reach(STEP), "there is room enough");
        assert!(ahead.reach(2 * STEP));
        assert_eq!(ahead.allocated, 4 * STEP);
    }

    #[test]
    fn g1_g2_a_file_that_is_gone_on_with_has_room_behind_what_is_written() {
        let (_disk, file) = file(direct());
        let gate = Gate::open();
        let mut ahead = Ahead::new(&file, &gate, 5 * STEP..100 * STEP, |range| vec![range]);
        assert!(gate.enter(5 * STEP + 4096), "or nothing would ever be written");
        assert_eq!(file.status().unwrap().allocated, 5 * STEP, "a step as long as all before it");
        gate.leave();
        assert!(ahead.reach(10 * STEP));
    }

    #[test]
    fn what_is_known_to_suffice_lifts_the_limit() {
        let (_disk, file) = file(direct());
        let gate = Gate::open();
        let ahead = Ahead::new(&file, &gate, 0..STEP / 2, |range| vec![range]);
        assert_eq!(ahead.allocated, STEP / 2);
        assert!(gate.enter(u64::MAX));
    }

    #[test]
    fn only_the_parts_that_are_written_are_allocated() {
        let (_disk, file) = file(direct());
        let gate = Gate::open();
        let ahead = Ahead::new(&file, &gate, 0..STEP, |range| {
            [8192, 0].map(|at| range.start + at..range.start + at + 4096).to_vec()
        });
        assert_eq!(ahead.allocated, STEP);
        assert_eq!(file.status().unwrap().allocated, 8192);
    }

    #[test]
    fn g3_each_step_leaves_most_of_the_free_space_to_others() {
        for parts in [3, 4, 5, 8, 17, 40] {
            let (disk, file) = file(SimOptions { capacity: Some(parts * STEP), ..direct() });
            let gate = Gate::open();
            let mut free = disk.free_bytes();
            let mut ahead = Ahead::new(&file, &gate, 0..100 * STEP, |range| vec![range]);
            loop {
                let left = disk.free_bytes();
                assert!(left >= free / 4 * 3, "{parts}: {left} of {free}");
                free = left;
                if gate.enter(100 * STEP) {
                    break;
                }
                // What is allocated is enough for the next extent, or nobody would be let in.
                assert!(gate.enter(ahead.allocated), "{parts}");
                gate.leave();
                assert!(ahead.reach(ahead.allocated), "{parts}");
            }
            assert!(free < 4 * STEP, "{parts}: it was allocated as long as there was room");
        }
    }

    #[test]
    fn g3_a_step_that_fails_gives_back_what_it_took() {
        // A quota, which the file system's free space says nothing of.
        let quota = SimOptions { capacity: Some(3 * STEP / 2), is_quota: true, ..direct() };
        let (_disk, file) = file(quota);
        let gate = Gate::open();
        let mut ahead = Ahead::new(&file, &gate, 0..100 * STEP, |range| vec![range]);
        assert_eq!(file.status().unwrap().allocated, STEP);
        assert!(ahead.reach(STEP));
        let status = file.status().unwrap();
        assert_eq!((status.allocated, status.len), (STEP, STEP), "what was written stays");
        assert!(gate.enter(u64::MAX));
    }

    #[test]
    fn a_full_disk_or_a_buffered_file_is_left_to_the_writes() {
        for options in [SimOptions { capacity: Some(1 << 20), ..direct() }, SimOptions::default()] {
            let (_disk, file) = file(options);
            let gate = Gate::open();
            let mut ahead = Ahead::new(&file, &gate, 0..100 * STEP, |range| vec![range]);
            assert!(gate.enter(u64::MAX));
            assert!(!ahead.reach(50 * STEP));
        }
    }
}

#[cfg(all(test, ringpack_shuttle))]
mod models {
    use super::*;
    use shuttle::sync::Arc;
    use shuttle::sync::atomic::AtomicBool;
    use shuttle::thread::spawn;

    /// Two writes and an allocation: none is let in while it runs, and whoever leaves last finds
    /// the gate free to be closed.
    #[test]
    fn orders_g1_g2_no_write_is_inside_while_space_is_allocated() {
        let model = || {
            let shared = Arc::new((Gate::open(), AtomicBool::new(false)));
            let writes: Vec<_> = (0..2)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    spawn(move || {
                        let (gate, allocating) = &*shared;
                        if gate.enter(1) {
                            assert!(!allocating.load(SeqCst));
                            gate.leave();
                        }
                    })
                })
                .collect();
            let (gate, allocating) = &*shared;
            let allocate = || {
                let closed = gate.close();
                if closed {
                    allocating.store(true, SeqCst);
                    allocating.store(false, SeqCst);
                    gate.open_to(u64::MAX);
                }
                closed
            };
            let early = allocate();
            for write in writes {
                write.join().unwrap();
            }
            assert!(early || allocate(), "nothing is inside any more");
            assert!(gate.enter(1));
        };
        crate::sync::each_order(model);
    }
}
