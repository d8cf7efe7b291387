//! What is left of a disk after a power cut, or after the death of its processes.
//!
//! Both make a new disk out of what the old one is at the moment, and leave the old one alone: a
//! test can ask at every step of a job, for as many seeds as it likes, and let the job go on.
//!
//! | | names, lengths, bytes | in flight | descriptors, locks |
//! |---|---|---|---|
//! | power cut | durable, and some of the unsynced changes | as unsynced | gone |
//! | kill | all that was seen, unsynced as before | land | gone |
//! | kill, stragglers | as above | land one by one, later | held till then |

use std::collections::{BTreeMap, BTreeSet};

use super::faults::Tallies;
use super::inode::Inode;
use super::random::{Fates, Random};
use super::state::State;

impl State {
    /// The disk as a power cut leaves it.
    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let mut fates = Fates::new(seed, self.options.garbage);
        let mut left = self.restarted(fates.seed(), BTreeMap::new());
        for folder in left.folders.values_mut() {
            folder.names = folder.names.after_power_cut(&mut fates);
        }
        // S9: only what a name leads to is left.
        let named = left.folders.values().flat_map(|folder| folder.names.inodes());
        let named: BTreeSet<u64> = named.collect();
        for number in named {
            left.inodes.insert(number, self.inode(number).after_power_cut(&mut fates));
        }
        left.rename_inodes();
        left
    }

    /// The disk as the death of all its processes leaves it.
    pub(super) fn after_kill(&self) -> Self {
        let mut left = self.restarted(self.random.clone().next(), self.inodes.clone());
        for inode in left.inodes.values_mut() {
            inode.land_all();
            // S10: no description, no lock.
            inode.locked_by = None;
        }
        left.collect();
        left
    }

    /// The same, with what is in flight still to land.
    pub(super) fn after_kill_with_stragglers(&self, seed: u64) -> Self {
        let mut left = self.restarted(seed, self.inodes.clone());
        for (&number, inode) in &mut left.inodes {
            left.stragglers.extend(inode.in_flight().map(|(id, _)| (number, id)));
            inode.release_dead();
        }
        left.collect();
        left
    }

    /// A disk with these inodes and without descriptors, its counts and faults behind it.
    fn restarted(&self, seed: u64, inodes: BTreeMap<u64, Inode>) -> Self {
        Self {
            options: self.options.without_faults(),
            random: Random::new(seed),
            trace: Vec::new(),
            steps: 0,
            tallies: Tallies::default(),
            cut_small: false,
            inodes,
            folders: self.folders.clone(),
            descriptions: BTreeMap::new(),
            stragglers: Vec::new(),
            numbers: self.numbers,
            next_descriptor: self.next_descriptor,
        }
    }

    /// Gives each inode the name that leads to it, which a power cut may have changed.
    fn rename_inodes(&mut self) {
        for folder in self.folders.values() {
            for name in folder.names.list() {
                let inode = folder.names.get(&name).and_then(|inode| self.inodes.get_mut(&inode));
                inode.expect("a name leads to an inode").name = name;
            }
        }
    }
}
