//! What became of each path so far, in few bytes a path.
//!
//! An archive may have millions of members, with names of thousands of bytes. What a later member
//! needs to know of an earlier one is its fate alone: whether it may be replaced, linked to, or is
//! a directory that this run made. So a path is held as 61 bits of a keyed hash beside its fate.
//! The key is drawn at random, so that nobody can choose two paths that collide. Among 10 million
//! paths, a look-up is wrong by chance once in 10^11 times.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// What became of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Fate {
    /// Something other than a directory was restored.
    Restored,
    /// Something exists there, and was kept.
    Kept,
    /// A directory was made, since something lies in it. Its own entry hasn't come.
    Made,
    /// A directory was restored by its entry.
    Set,
    /// A directory was there before.
    Existing,
    /// A device wasn't made, since that wasn't asked for.
    LeftOut,
}

const FATES: [Fate; 6] =
    [Fate::Restored, Fate::Kept, Fate::Made, Fate::Set, Fate::Existing, Fate::LeftOut];
const FATE_BITS: u32 = 3;

/// A path's fingerprint above its fate. Two are equal if their fingerprints are.
#[derive(Clone, Copy, Debug)]
struct Mark(u64);

impl Mark {
    fn fingerprint(self) -> u64 {
        self.0 >> FATE_BITS
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}

impl Eq for Mark {}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint().hash(state);
    }
}

/// The fates of paths. A path is given by its names, joined by single slashes.
#[derive(Debug, Default)]
pub(super) struct Seen {
    marks: HashSet<Mark>,
    keys: RandomState,
}

impl Seen {
    /// What became of the path.
    pub(super) fn fate(&self, path: &[u8]) -> Option<Fate> {
        let found = self.marks.get(&Mark(self.keys.hash_one(path)))?;
        FATES.get((found.0 & ((1 << FATE_BITS) - 1)) as usize).copied()
    }

    /// Notes what became of the path.
    pub(super) fn note(&mut self, path: &[u8], fate: Fate) {
        let fingerprint = self.keys.hash_one(path) >> FATE_BITS << FATE_BITS;
        self.marks.replace(Mark(fingerprint | fate as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fate_noted_counts() {
        let mut seen = Seen::default();
        assert_eq!(seen.fate(b"a"), None);
        for fate in FATES {
            seen.note(b"a", fate);
            seen.note(b"a/b", Fate::Kept);
            assert_eq!((seen.fate(b"a"), seen.fate(b"a/b")), (Some(fate), Some(Fate::Kept)));
        }
        assert_eq!((seen.marks.len(), size_of::<Mark>()), (2, 8));
    }
}
