//! Which numbers of 0, 1, 2 … have been seen.
//!
//! The numbers before the first gap are one number; behind it a bit each, in blocks that are there
//! only where something was seen. Nearly in order, that is next to nothing; in any order at all, an
//! eighth of a byte for each number.
//!
//! # Invariants
//! - Q1: `complete(n)` is true if and only if each of `0..n` was inserted and nothing else was.

use std::collections::BTreeMap;

/// Numbers a block holds.
const BLOCK: u64 = 4096;
const WORDS: usize = (BLOCK / 64) as usize;

/// The set.
#[derive(Clone, Debug, Default)]
pub struct SequenceSet {
    /// Every number below this one is in the set.
    prefix: u64,
    /// Bits of the numbers from `prefix` on, by block; none of a block that has none.
    beyond: BTreeMap<u64, Box<[u64; WORDS]>>,
    count: u64,
}

impl SequenceSet {
    /// The set of the numbers below `count`.
    #[must_use]
    pub fn of_first(count: u64) -> Self {
        Self { prefix: count, beyond: BTreeMap::new(), count }
    }

    /// Adds a number; `false` where it was there already.
    pub fn insert(&mut self, number: u64) -> bool {
        if self.contains(number) {
            return false;
        }
        self.count += 1;
        if number == self.prefix {
            self.prefix += 1;
            self.advance();
            return true;
        }
        let block = self.beyond.entry(number / BLOCK).or_insert_with(|| Box::new([0; WORDS]));
        let (word, bit) = place(number);
        block[word] |= bit;
        true
    }

    /// Moves the prefix over the numbers that follow on it.
    fn advance(&mut self) {
        loop {
            let index = self.prefix / BLOCK;
            let Some(block) = self.beyond.get(&index) else { return };
            let (word, bit) = place(self.prefix);
            if block[word] & bit != 0 {
                self.prefix += 1;
                if self.prefix / BLOCK != index {
                    self.beyond.remove(&index);
                }
                continue;
            }
            // What is left of the block below the prefix counts no more.
            let above = |(at, bits): (usize, &u64)| match at.cmp(&word) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => bits & !(bit - 1) != 0,
                std::cmp::Ordering::Greater => *bits != 0,
            };
            if !block.iter().enumerate().any(above) {
                self.beyond.remove(&index);
            }
            return;
        }
    }

    /// Whether a number is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        number < self.prefix
            || self.beyond.get(&(number / BLOCK)).is_some_and(|block| block[word] & bit != 0)
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether exactly `0..count` are in the set.
    #[must_use]
    pub fn complete(&self, count: u64) -> bool {
        // Q1: nothing missing below, nothing beyond.
        self.prefix == count && self.count == count
    }

    /// The first number that is not in the set.
    #[must_use]
    pub fn first_missing(&self) -> u64 {
        self.prefix
    }

    /// The numbers in the set from `from` on, in order.
    pub fn iter_from(&self, from: u64) -> impl Iterator<Item = u64> {
        let beyond =
            self.beyond.range(from.max(self.prefix) / BLOCK..).flat_map(|(index, block)| {
                let first = index * BLOCK;
                let is_in = move |at: &u64| block[(at / 64) as usize] >> (at % 64) & 1 == 1;
                (0..BLOCK).filter(is_in).map(move |at| first + at)
            });
        let floor = from.max(self.prefix);
        (from..self.prefix).chain(beyond.filter(move |&number| number >= floor))
    }
}

/// Where a number's bit stands in its block.
fn place(number: u64) -> (usize, u64) {
    ((number % BLOCK / 64) as usize, 1 << (number % 64))
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
            assert!(set.insert(9) && !set.complete(4) && !set.complete(5));
        }
        let mut set = SequenceSet::of_first(7);
        assert!(set.complete(7) && !set.insert(6) && set.insert(7) && set.complete(8));
    }

    #[test]
    fn it_agrees_with_a_plain_set_in_any_order_across_blocks() {
        const COUNT: u64 = 3 * BLOCK + 17;
        // Coprime to COUNT, so that each number comes once.
        for stride in [1, 2, 64, 4099, 7919] {
            let mut set = SequenceSet::default();
            let mut plain = std::collections::BTreeSet::new();
            for step in 0..COUNT {
                let number = step * stride % COUNT;
                assert_eq!(set.insert(number), plain.insert(number));
                if step % 997 == 0 || step == COUNT / 2 {
                    let missing = (0..).find(|number| !plain.contains(number)).unwrap();
                    assert_eq!(set.first_missing(), missing);
                    assert_eq!(set.count(), plain.len() as u64);
                    for from in [0, missing, COUNT / 2] {
                        assert!(set.iter_from(from).eq(plain.range(from..).copied()), "{from}");
                    }
                    let near = number.saturating_sub(70)..number + 70;
                    assert!(near.clone().all(|at| set.contains(at) == plain.contains(&at)));
                }
            }
            assert!(set.complete(COUNT) && set.beyond.is_empty(), "stride {stride}");
        }
    }

    #[test]
    fn what_comes_nearly_in_order_takes_a_block_or_two() {
        let mut set = SequenceSet::default();
        for number in 0..10 * BLOCK {
            set.insert(number ^ 7);
            assert!(set.beyond.len() <= 2);
        }
        assert!(set.complete(10 * BLOCK) && set.beyond.is_empty());
    }
}
