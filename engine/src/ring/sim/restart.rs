//! What is left of a disk after a power cut, or after the death of its processes.
//!
//! Both make a new disk out of what the old one is at the moment, and leave the old one alone: a
//! test can ask at every step of a job, for as many seeds as it likes, and let the job go on.
//!
//! | | names, lengths, bytes | in flight | descriptors, locks |
//! |---|---|---|---|
//! | power cut | durable, and some of the unsynced changes | as unsynced | gone |
//! | kill | all that was seen, unsynced as before | land | gone |

use super::inode::Inode;
use super::random::{Fates, Random};
use super::state::State;

impl State {
    /// The disk as a power cut leaves it.
    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let mut fates = Fates::new(seed, self.options.garbage);
        let mut left = self.restarted(fates.seed());
        for folder in left.folders.values_mut() {
            folder.names = folder.names.after_power_cut(&mut fates);
        }
        left.collect();
        for inode in left.inodes.values_mut() {
            *inode = inode.after_power_cut(&mut fates);
        }
        left.rename_inodes();
        left
    }

    /// The disk as the death of all its processes leaves it.
    pub(super) fn after_kill(&self) -> Self {
        let mut left = self.restarted(self.random.clone().next());
        left.inodes.values_mut().for_each(Inode::land_all);
        left.collect();
        left
    }

    /// The same disk without descriptors and locks, its counts and one-shot faults behind it.
    fn restarted(&self, seed: u64) -> Self {
        let mut left = self.clone();
        left.random = Random::new(seed);
        left.descriptions.clear();
        // S10: no description, no lock.
        left.inodes.values_mut().for_each(|inode| inode.locked_by = None);
        left.trace.clear();
        (left.writes, left.syncs, left.cut_small) = (0, 0, false);
        (left.options.fail_write, left.options.fail_sync) = (None, None);
        left
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
