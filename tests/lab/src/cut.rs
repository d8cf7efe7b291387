//! A power cut: a moment in a log, and which of the writes that no flush covered the medium kept.
//!
//! The moments are those at which the possible images or the claims change: after each issue of a
//! write, each completed flush, each mark. (A write's completion changes neither: what no flush
//! covers may be lost just the same.) At each, the volatile writes survive in one of the ways of
//! [`Survivors`]. Cuts that leave the same image with the same claims are the same cut.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use support::Random;

use crate::log::Log;
use crate::tape::Event;

/// Which volatile writes the medium kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survivors {
    /// None of them.
    None,
    /// All of them.
    All,
    /// Some, drawn by chance.
    Subset,
    /// Those issued before one drawn by chance.
    Prefix,
    /// All but one, drawn by chance.
    AllButOne,
    /// All, and one of them in part: each of its pages of 4 KiB is kept or lost.
    Torn,
}

impl Survivors {
    /// All ways.
    pub const ALL: [Self; 6] =
        [Self::None, Self::All, Self::Subset, Self::Prefix, Self::AllButOne, Self::Torn];
}

/// Passes over all moments that bring nothing new before a log is held to have shown everything.
const FRUITLESS_MAX: usize = 4 * Survivors::ALL.len();

/// A power cut. It belongs to the log that it was drawn from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The number of events before it.
    pub(crate) point: usize,
    survivors: Survivors,
    seed: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after event {}, {:?} (seed {:#x})", self.point, self.survivors, self.seed)
    }
}

/// The content of a disk after a cut, as far as it differs from the durable part.
#[derive(Debug)]
pub(crate) struct Image {
    /// For each page of the disk that was written: the write that gave it its content, the index of
    /// the page in it, and whether that is durable.
    pub(crate) pages: BTreeMap<u64, (usize, usize, bool)>,
}

impl Log {
    /// The cut at the very end that loses nothing: what the medium holds if power stays.
    #[must_use]
    pub fn end(&self) -> Cut {
        Cut { point: self.events.len(), survivors: Survivors::All, seed: 0 }
    }

    /// Draws up to `count` different cuts after the start, in the order of their moments.
    ///
    /// Every moment is visited before one is visited again, each time with another way to survive.
    /// From the third visit on, those before the first claim and behind the last, where there is
    /// little to lose, wait until the others bring nothing new. Fewer cuts come back where the log
    /// allows no more.
    #[must_use]
    pub fn cuts(&self, seed: u64, count: usize) -> Vec<Cut> {
        let mut random = Random(seed);
        let mut points: Vec<usize> = (self.start()..=self.events.len())
            .filter(|point| changes(&self.events[point - 1]))
            .collect();
        random.shuffle(&mut points);
        let is_mark = |event: &Event| matches!(event, Event::Mark(_));
        let after_start = &self.events[self.start()..];
        let first = after_start.iter().position(is_mark).unwrap_or(0);
        let last = after_start.iter().rposition(is_mark).unwrap_or(0);
        let claims = self.start() + first..=self.start() + last + 1;
        let mut seen = HashSet::new();
        let mut cuts = Vec::new();
        let mut fruitless = 0;
        let mut is_dry = false;
        for pass in 0.. {
            let before = cuts.len();
            let is_due = |point: &usize| pass < 2 || is_dry || claims.contains(point);
            for (index, &point) in points.iter().enumerate().filter(|(_, point)| is_due(point)) {
                if cuts.len() == count {
                    break;
                }
                let survivors = Survivors::ALL[(pass + index) % Survivors::ALL.len()];
                let cut = Cut { point, survivors, seed: random.next() };
                let marks = self.claims_before(point).0.len();
                if seen.insert((self.fingerprint(&cut), marks)) {
                    cuts.push(cut);
                }
            }
            // Each moment was tried in every way, time and again, and nothing new came of it.
            fruitless = if cuts.len() == before { fruitless + 1 } else { 0 };
            is_dry |= fruitless == Survivors::ALL.len();
            if cuts.len() == count || fruitless == FRUITLESS_MAX {
                break;
            }
        }
        cuts.sort_by_key(|cut| cut.point);
        cuts
    }

    /// How many different images these cuts leave.
    #[must_use]
    pub fn distinct_images(&self, cuts: &[Cut]) -> usize {
        cuts.iter().map(|cut| self.fingerprint(cut)).collect::<HashSet<_>>().len()
    }

    fn fingerprint(&self, cut: &Cut) -> u64 {
        let pages = self.image(cut).pages;
        let differences =
            pages.iter().map(|(page, (write, index, _))| self.difference(*page, *write, *index));
        differences.fold(0, u64::wrapping_add)
    }

    /// The image that a cut leaves.
    pub(crate) fn image(&self, cut: &Cut) -> Image {
        let written: Vec<(usize, bool)> = self.written(cut.point).collect();
        let volatile = written.iter().filter(|(_, durable)| !durable).count();
        let mut choice = Choice::new(cut, volatile);
        let mut pages = BTreeMap::new();
        for (write, is_durable) in written {
            let fate = if is_durable { Fate::Kept } else { choice.next() };
            for (index, page) in self.pages(write).enumerate() {
                let is_kept = match fate {
                    Fate::Kept => true,
                    Fate::Lost => false,
                    Fate::Torn => choice.random.below(2) == 0,
                };
                if is_kept {
                    pages.insert(page, (write, index, is_durable));
                }
            }
        }
        Image { pages }
    }
}

/// Whether a cut after this event can leave what a cut before it could not, or break a claim that
/// was not made before it.
fn changes(event: &Event) -> bool {
    match event {
        Event::Issued(_) | Event::FlushCompleted { is_failed: false, .. } | Event::Mark(_) => true,
        Event::Completed { .. }
        | Event::FlushIssued(_)
        | Event::FlushCompleted { is_failed: true, .. } => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

/// Decides the fate of one volatile write after the other.
struct Choice {
    survivors: Survivors,
    random: Random,
    /// The one that is drawn: lost, torn, or the first that is lost.
    drawn: usize,
    next: usize,
}

impl Choice {
    fn new(cut: &Cut, volatile: usize) -> Self {
        let mut random = Random(cut.seed);
        let drawn = random.below(volatile.max(1) as u64) as usize;
        Self { survivors: cut.survivors, random, drawn, next: 0 }
    }

    fn next(&mut self) -> Fate {
        let index = self.next;
        self.next += 1;
        let kept = |is_kept| if is_kept { Fate::Kept } else { Fate::Lost };
        match self.survivors {
            Survivors::None => Fate::Lost,
            Survivors::All => Fate::Kept,
            Survivors::Subset => kept(self.random.below(2) == 0),
            Survivors::Prefix => kept(index < self.drawn),
            Survivors::AllButOne => kept(index != self.drawn),
            Survivors::Torn if index == self.drawn => Fate::Torn,
            Survivors::Torn => Fate::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::START;
    use crate::tape::{PAGE_LEN, Payload, Tape};

    /// A log of writes of `pages` each, one behind the other, the first `durable` of them flushed.
    fn log(pages: &[usize], durable: usize) -> Log {
        let mut tape = Tape::default();
        tape.mark(START);
        let mut at = 0;
        for (index, pages) in pages.iter().enumerate() {
            if index == durable {
                let (flush, _) = tape.issue_flush();
                tape.complete_flush(flush, false);
            }
            let bytes = vec![1 + index as u8; pages * PAGE_LEN];
            let (write, _) = tape.issue(at, Payload::Bytes(bytes.into()));
            tape.complete(write, false);
            at += (pages * PAGE_LEN) as u64;
        }
        let base = tempfile::tempfile().unwrap();
        base.set_len(at).unwrap();
        Log::new(tape, &base)
    }

    /// Which pages the image of a cut at the end has, for each way to survive.
    fn pages(log: &Log, survivors: Survivors, seed: u64) -> Vec<u64> {
        let cut = Cut { survivors, seed, ..log.end() };
        log.image(&cut).pages.into_keys().collect()
    }

    #[test]
    fn what_is_durable_survives_every_cut() {
        let log = log(&[1, 1, 3, 1], 2);
        for survivors in Survivors::ALL {
            for seed in 0..32 {
                let pages = pages(&log, survivors, seed);
                assert!(pages.starts_with(&[0, 1]), "{survivors:?}: {pages:?}");
            }
        }
        assert_eq!(pages(&log, Survivors::None, 1), [0, 1]);
        assert_eq!(pages(&log, Survivors::All, 1), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn each_way_to_survive_leaves_what_it_says() {
        let log = log(&[1, 1, 1, 4], 0);
        for seed in 0..64 {
            let lost = |survivors| {
                let kept = pages(&log, survivors, seed);
                (0..7).filter(|page| !kept.contains(page)).collect::<Vec<u64>>()
            };
            let all_but_one = lost(Survivors::AllButOne);
            assert!(matches!(*all_but_one, [0..3] | [3, 4, 5, 6]), "{all_but_one:?}");
            let prefix = lost(Survivors::Prefix);
            assert_eq!(prefix.last(), Some(&6), "{prefix:?}");
            assert!(prefix.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{prefix:?}");
            let torn = lost(Survivors::Torn);
            assert!(torn.len() <= 1 || torn.iter().all(|page| *page >= 3), "{torn:?}");
        }
        let torn: HashSet<_> = (0..64).map(|seed| pages(&log, Survivors::Torn, seed)).collect();
        assert!(torn.len() > 8, "a write of four pages tears in many ways: {}", torn.len());
    }

    #[test]
    fn cuts_are_drawn_by_their_seed_and_never_twice() {
        let log = log(&[2, 3, 9, 5, 8], 2);
        let cuts = log.cuts(9, 40);
        assert_eq!(cuts, log.cuts(9, 40));
        assert_ne!(cuts, log.cuts(10, 40));
        assert_eq!(cuts.len(), 40);
        assert_eq!(log.distinct_images(&cuts), 40, "there is one mark, at the start");
        assert!(cuts.is_sorted_by_key(|cut| cut.point));
    }

    #[test]
    fn a_log_that_allows_few_cuts_gives_each_of_them() {
        // The page is there or it isn't.
        assert_eq!(log(&[1], 1).cuts(3, 100).len(), 2);
        // Each of two is there or not.
        let cuts = log(&[1, 1], 2).cuts(3, 100);
        assert!(cuts.len() == 4, "{cuts:?}");
    }

    #[test]
    fn a_write_that_changes_nothing_makes_no_other_image() {
        let mut tape = Tape::default();
        tape.mark(START);
        tape.issue(0, Payload::Zeros(PAGE_LEN as u64));
        let base = tempfile::tempfile().unwrap();
        base.set_len(PAGE_LEN as u64).unwrap();
        assert_eq!(Log::new(tape, &base).cuts(1, 100).len(), 1);
    }
}
