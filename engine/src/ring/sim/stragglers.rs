//! Writes that outlive the process that asked for them.
//!
//! A killed process is gone within a millisecond; what its rings had in flight lands up to seconds
//! later, one by one, while whoever comes next looks at the same files. The kernel keeps the open
//! file description until the last of its writes has ended, and with it the lock: that is the only
//! fence there is.
//!
//! ```text
//!   killed            try_lock: held    try_lock: held     try_lock: taken
//!     │  ┌─ a look, before it lands 3 ──┐    │                   │
//!     ▼  ▼                              ▼    ▼                   ▼
//!   {1,2,3} ────────── {1,2} ────────── {1} ───── {} ── lock free
//! ```
//!
//! # Invariants
//! - S18: a dead process's lock is held exactly as long as a write that came through its open file
//!   description is in flight.
//! - S19: whoever waits for such a lock gets it: each attempt that fails, and each pause, lands a
//!   write.

use super::random::Random;
use super::state::State;

impl State {
    /// Begins a call: something may land before it.
    pub(super) fn step(&mut self) {
        self.steps += 1;
        if !self.stragglers.is_empty() && self.random.happens(500) {
            let index = self.random.index(self.stragglers.len());
            self.land_straggler(index);
        }
    }

    /// Lets time pass: something lands, and up to all of it.
    pub(super) fn pause(&mut self) {
        self.steps += 1;
        if self.stragglers.is_empty() {
            return;
        }
        // S19: one at least.
        for _ in 0..=self.random.index(self.stragglers.len()) {
            let index = self.random.index(self.stragglers.len());
            self.land_straggler(index);
        }
    }

    /// Lands a write of those that hold up a lock.
    pub(super) fn land_straggler_of(&mut self, inode: u64) {
        let all = self.stragglers.iter().enumerate();
        let of_inode: Vec<usize> =
            all.filter(|(_, straggler)| straggler.0 == inode).map(|(index, _)| index).collect();
        if !of_inode.is_empty() {
            // S19: the one who asked in vain has come closer.
            let index = of_inode[self.random.index(of_inode.len())];
            self.land_straggler(index);
        }
    }

    fn land_straggler(&mut self, index: usize) {
        let (number, id) = self.stragglers.remove(index);
        let (modified, free) = (self.now(), self.free_bytes());
        let inode = self.inode_mut(number);
        let run = inode.in_flight().find(|&(found, _)| found == id).expect("it is in flight").1;
        let (offset, fits) = (run.offset(), inode.content().fitting(run.offset(), run.len(), free));
        inode.land(id, fits);
        inode.metadata.modified = modified;
        let call = format!("straggler {} {offset} {fits}", inode.name.to_string_lossy());
        // S18: and a lock that a live process took since then is left alone.
        self.release_dead_lock(number);
        self.collect();
        let _ = self.traced(call, Ok(()));
    }

    /// Frees the lock of an inode if its holder is dead and has nothing more in flight.
    fn release_dead_lock(&mut self, number: u64) {
        let alive = |holder| self.descriptions.contains_key(&holder);
        if !self.inode(number).locked_by.is_some_and(alive) {
            self.inode_mut(number).release_dead();
        }
    }

    /// A run's name: different at each call, on this disk and on those left of it.
    pub(super) fn run_id(&mut self) -> [u8; 16] {
        // The number alone tells calls apart that one disk's history has in a row; the draw tells
        // apart the futures of one disk.
        let unlike = Random::new(self.number()).next();
        let drawn = self.random.next();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&drawn.to_le_bytes());
        id[8..].copy_from_slice(&unlike.to_le_bytes());
        id
    }
}
