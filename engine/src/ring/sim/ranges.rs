//! A set of page numbers, kept as runs: which pages of a file are allocated.
//!
//! Files are allocated ahead by hundreds of MiB at a time, so a set of single numbers would cost
//! more than the bytes it stands for.

use std::collections::BTreeMap;

/// Runs that neither overlap nor touch, as start and end.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `start .. end`.
    pub(super) fn insert(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..=end).next_back()
            && to >= start
        {
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
    }

    /// Takes `start .. end` out.
    pub(super) fn remove(&mut self, start: u64, end: u64) {
        while let Some((&from, &to)) = self.0.range(..end).next_back()
            && to > start
            && start < end
        {
            self.0.remove(&from);
            if from < start {
                self.0.insert(from, start);
            }
            if to > end {
                self.0.insert(end, to);
            }
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, &to)| to > number)
    }

    /// How many numbers of `start .. end` are not in the set.
    pub(super) fn missing(&self, start: u64, end: u64) -> u64 {
        let mut covered = 0;
        for (&from, &to) in self.0.range(..end).rev() {
            if to <= start {
                break;
            }
            covered += to.min(end) - from.max(start);
        }
        end.saturating_sub(start) - covered
    }

    /// How many numbers are in the set.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::random::Random;
    use super::*;

    #[test]
    fn runs_are_the_set_of_single_numbers() {
        let mut random = Random::new(5);
        for _ in 0..200 {
            let (mut runs, mut single) = (Ranges::default(), BTreeSet::new());
            for _ in 0..30 {
                let start = random.below(60);
                let end = start + random.below(12);
                if random.happens(600) {
                    runs.insert(start, end);
                    single.extend(start..end);
                } else {
                    runs.remove(start, end);
                    single.retain(|number| !(start..end).contains(number));
                }
                let seen: BTreeSet<u64> = (0..80).filter(|&n| runs.contains(n)).collect();
                assert_eq!(seen, single);
                assert_eq!(runs.count(), single.len() as u64);
                let gaps = (start..end).filter(|number| !single.contains(number)).count();
                assert_eq!(runs.missing(start, end), gaps as u64);
                let merged = runs.0.values().all(|end| !runs.0.contains_key(end));
                assert!(merged, "{runs:?}");
            }
        }
    }
}
