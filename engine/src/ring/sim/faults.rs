//! Which calls fail: faults by kind and number, and what they are counted by.
//!
//! A test sweeps a fault over every call of a kind: it runs the job once, asks how many calls there
//! were, and then runs it once for each of them. A fault strikes once; a device that went bad fails
//! from some call on. Both can be armed at a step in the middle of a job.
//!
//! # Invariants
//! - S16: a fault strikes the calls of its kind that it names, counted from where faults are armed,
//!   and no other.

use super::state::{State, Sys};

/// A call that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which of the calls fails, from 1.
    pub nth: u64,
    /// The error number it fails with.
    pub errno: i32,
}

impl Fault {
    /// Fails if the call that is number `count` is the chosen one.
    fn strikes(fault: Option<Self>, count: u64) -> Sys<()> {
        match fault {
            Some(fault) if fault.nth == count => Err(fault.errno),
            _ => Ok(()),
        }
    }

    /// Fails if the call that is number `count` is the chosen one or comes after it.
    fn lasts(fault: Option<Self>, count: u64) -> Sys<()> {
        match fault {
            Some(fault) if fault.nth <= count => Err(fault.errno),
            _ => Ok(()),
        }
    }
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// All of them.
    pub(super) all: u64,
    /// Those since faults were armed.
    armed: u64,
}

impl Tally {
    fn count(&mut self, armed: bool, once: Option<Fault>, from: Option<Fault>) -> Sys<()> {
        self.all += 1;
        if !armed {
            return Ok(());
        }
        // S16: what came before isn't counted.
        self.armed += 1;
        Fault::strikes(once, self.armed).and(Fault::lasts(from, self.armed))
    }
}

/// Calls of all kinds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tallies {
    pub(super) reads: Tally,
    pub(super) writes: Tally,
    pub(super) syncs: Tally,
    pub(super) file_syncs: Tally,
    pub(super) directory_syncs: Tally,
    pub(super) names: Tally,
}

/// What is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Synced {
    File,
    Directory,
}

impl State {
    fn armed(&self) -> bool {
        self.steps >= self.options.armed_at_step
    }

    pub(super) fn count_read(&mut self) -> Sys<()> {
        let (armed, options) = (self.armed(), self.options);
        self.tallies.reads.count(armed, options.fail_read, options.reads_fail_from)
    }

    pub(super) fn count_write(&mut self) -> Sys<()> {
        let (armed, options) = (self.armed(), self.options);
        self.tallies.writes.count(armed, options.fail_write, options.writes_fail_from)
    }

    pub(super) fn count_sync(&mut self, of: Synced) -> Sys<()> {
        let (armed, options) = (self.armed(), self.options);
        let tallies = &mut self.tallies;
        let any = tallies.syncs.count(armed, options.fail_sync, options.syncs_fail_from);
        any.and(match of {
            Synced::File => tallies.file_syncs.count(armed, options.fail_file_sync, None),
            Synced::Directory => {
                tallies.directory_syncs.count(armed, options.fail_directory_sync, None)
            }
        })
    }

    /// Counts a call that gives, changes or takes a name.
    pub(super) fn count_name(&mut self) -> Sys<()> {
        let (armed, options) = (self.armed(), self.options);
        self.tallies.names.count(armed, options.fail_name, None)
    }
}
