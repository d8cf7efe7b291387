//! Which numbers of 0, 1, 2 … have been seen, when nearly all come nearly in order.
//!
//! It takes memory for the stragglers only, not for the numbers seen: a prefix is one number.
//!
//! # Invariants
//! - Q1: `complete(n)` is true if and only if each of `0..n` was inserted and nothing else was.

use std::collections::BTreeSet;

/// The set.
#[derive(Debug, Default)]
pub struct SequenceSet {
    /// Every number below this one is in the set.
    prefix: u64,
    /// Numbers above `prefix` that are in the set.
    beyond: BTreeSet<u64>,
}

impl SequenceSet {
    /// The set of the numbers below `count`.
    #[must_use]
    pub fn of_first(count: u64) -> Self {
        Self { prefix: count, beyond: BTreeSet::new() }
    }

    /// Adds a number; `false` where it was there already.
    pub fn insert(&mut self, number: u64) -> bool {
        if number < self.prefix || !self.beyond.insert(number) {
            return false;
        }
        while self.beyond.remove(&self.prefix) {
            self.prefix += 1;
        }
        true
    }

    /// Whether exactly `0..count` are in the set.
    #[must_use]
    pub fn complete(&self, count: u64) -> bool {
        // Q1: nothing missing below, nothing beyond.
        self.prefix == count && self.beyond.is_empty()
    }

    /// The first number that is not in the set.
    #[must_use]
    pub fn first_missing(&self) -> u64 {
        self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q1_complete_means_exactly_the_prefix() {
        for order in [[0u64, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut set = SequenceSet::default();
            for (seen, number) in order.into_iter().enumerate() {
                assert!(!set.complete(4));
                assert!(set.insert(number) && !set.insert(number), "{number}");
                assert!(seen == 3 || set.first_missing() < 4);
            }
            assert!(set.complete(4) && !set.complete(3) && !set.complete(5));
            assert!(set.insert(9) && !set.complete(4));
        }
        let mut set = SequenceSet::of_first(7);
        assert!(set.complete(7) && !set.insert(6) && set.insert(7) && set.complete(8));
    }
}
