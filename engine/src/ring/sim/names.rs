//! The names of a directory of the simulated disk: as seen now, as on the medium, and between.
//!
//! Creating, renaming and unlinking change what is seen at once; only the directory's own sync
//! makes them durable. Syncing a file does nothing for its name.
//!
//! Example: create `a`, write, sync `a`, rename `a` to `b`. A power cut leaves `a`, `b` or neither:
//! each of the two changes is kept or dropped by itself. After the directory's sync it leaves `b`.
//!
//! # Invariants
//! - S7: only a directory's sync moves a change of names to the medium.
//! - S8: a change carries the inode it is about, and inodes outlive every mention of them here: a
//!   name never points to nothing, whichever changes survive.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::random::Fates;

type Map = BTreeMap<OsString, u64>;

#[derive(Clone, Debug)]
enum NameChange {
    Create { name: OsString, inode: u64 },
    Rename { from: OsString, to: OsString, inode: u64 },
    Unlink { name: OsString, inode: u64 },
}

impl NameChange {
    fn inode(&self) -> u64 {
        match *self {
            Self::Create { inode, .. }
            | Self::Rename { inode, .. }
            | Self::Unlink { inode, .. } => inode,
        }
    }

    fn mentions(&self, wanted: &OsStr) -> bool {
        match self {
            Self::Create { name, .. } | Self::Unlink { name, .. } => name == wanted,
            Self::Rename { from, to, .. } => from == wanted || to == wanted,
        }
    }

    /// Applies it to a map that earlier changes may be missing from.
    fn apply(&self, map: &mut Map) {
        match self {
            Self::Create { name, inode } => {
                map.insert(name.clone(), *inode);
            }
            Self::Rename { from, to, inode } => {
                remove(map, from, *inode);
                // S8: the inode is the change's own, not what `from` happens to be in this map.
                map.insert(to.clone(), *inode);
            }
            Self::Unlink { name, inode } => remove(map, name, *inode),
        }
    }
}

fn remove(map: &mut Map, name: &OsStr, inode: u64) {
    if map.get(name) == Some(&inode) {
        map.remove(name);
    }
}

/// The names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    seen: Map,
    durable: Map,
    unsynced: Vec<NameChange>,
}

impl Names {
    pub(super) fn get(&self, name: &OsStr) -> Option<u64> {
        self.seen.get(name).copied()
    }

    /// The names as seen now, in order.
    pub(super) fn list(&self) -> Vec<OsString> {
        self.seen.keys().cloned().collect()
    }

    /// Every inode that a name leads to, now or after some power cut.
    pub(super) fn inodes(&self) -> impl Iterator<Item = u64> {
        let named = self.seen.values().chain(self.durable.values()).copied();
        named.chain(self.unsynced.iter().map(NameChange::inode))
    }

    pub(super) fn create(&mut self, name: &OsStr, inode: u64) {
        self.change(NameChange::Create { name: name.into(), inode });
    }

    pub(super) fn rename(&mut self, from: &OsStr, to: &OsStr, inode: u64) {
        self.change(NameChange::Rename { from: from.into(), to: to.into(), inode });
    }

    pub(super) fn unlink(&mut self, name: &OsStr, inode: u64) {
        self.change(NameChange::Unlink { name: name.into(), inode });
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.seen);
        // S7: the medium hears of it in `sync` and nowhere else.
        self.unsynced.push(change);
    }

    /// Gives a name to an inode, durable at once.
    pub(super) fn place(&mut self, name: &OsStr, inode: u64) {
        self.unsynced.retain(|change| !change.mentions(name));
        self.seen.insert(name.into(), inode);
        self.durable.insert(name.into(), inode);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that failed: the changes are forgotten for the medium, not for who looks.
    pub(super) fn fail_sync(&mut self) {
        self.unsynced.clear();
    }

    /// The names after a power cut.
    pub(super) fn after_power_cut(&self, fates: &mut Fates) -> Self {
        let mut left = self.durable.clone();
        for change in self.unsynced.iter().filter(|_| fates.keeps()) {
            change.apply(&mut left);
        }
        Self { seen: left.clone(), durable: left, unsynced: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn after_power_cuts(names: &Names) -> BTreeSet<Vec<(String, u64)>> {
        let after = |seed| {
            let left = names.after_power_cut(&mut Fates::new(seed, false));
            let named = left.seen.into_iter();
            named.map(|(name, inode)| (name.into_string().unwrap(), inode)).collect()
        };
        (0..200).map(after).collect()
    }

    fn state(names: &[(&str, u64)]) -> Vec<(String, u64)> {
        names.iter().map(|&(name, inode)| (name.to_owned(), inode)).collect()
    }

    #[test]
    fn changes_of_names_survive_each_by_itself_until_the_directory_is_synced() {
        // S7: and S8: no state points elsewhere than to inode 5.
        let (a, b) = (OsStr::new("a"), OsStr::new("b"));
        let mut names = Names::default();
        names.create(a, 5);
        names.rename(a, b, 5);
        assert_eq!((names.get(a), names.get(b)), (None, Some(5)));
        let all = [state(&[]), state(&[("a", 5)]), state(&[("b", 5)])];
        assert_eq!(after_power_cuts(&names), BTreeSet::from(all));
        names.sync();
        assert_eq!(after_power_cuts(&names), BTreeSet::from([state(&[("b", 5)])]));
    }

    #[test]
    fn a_rename_over_a_name_leaves_the_old_or_the_new() {
        let (a, b) = (OsStr::new("a"), OsStr::new("b"));
        let mut names = Names::default();
        names.place(a, 5);
        names.place(b, 6);
        names.rename(a, b, 5);
        // S8: the one that lost its name is still mentioned.
        assert!(names.inodes().any(|inode| inode == 6));
        let all = [state(&[("a", 5), ("b", 6)]), state(&[("b", 5)])];
        assert_eq!(after_power_cuts(&names), BTreeSet::from(all));
        names.sync();
        assert!(names.inodes().all(|inode| inode == 5));
    }

    #[test]
    fn after_a_failed_sync_the_names_are_lost_for_the_medium() {
        let a = OsStr::new("a");
        let mut names = Names::default();
        names.create(a, 5);
        names.fail_sync();
        names.sync();
        assert_eq!(names.get(a), Some(5));
        assert_eq!(after_power_cuts(&names), BTreeSet::from([state(&[])]));
        names.unlink(a, 5);
        assert!(names.list().is_empty());
    }
}
