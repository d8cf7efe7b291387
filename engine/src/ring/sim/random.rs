//! The simulator's dice: one seeded generator, and the fates it deals at a power cut.
//!
//! SplitMix64 is a few lines, has no weak seeds, and its stream is the same everywhere. A disk has
//! one generator, so a seed and a sequence of calls give one outcome.
//!
//! A power cut first draws how much survives at all (nothing, little, half, most, everything) and
//! then decides change by change. Were each change decided by an even coin alone, "nothing" and
//! "everything" would never come up once there are a few dozen of them.
//!
//! # Invariants
//! - S1: outcomes are a function of the seed and the calls: every draw is from a disk's own
//!   generator, under its lock, and nothing that is drawn for is kept in an unordered map.

/// A seeded generator.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        // S1: the state is all there is; no clock and no address is mixed in.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which isn't 0. The bias of the remainder is of no account here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing lies below 0");
        self.next() % bound
    }

    /// As [`Self::below`], for an index.
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Whether something that happens `per_mille` times in a thousand happens now.
    pub(super) fn happens(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }
}

/// What becomes of an unsynced write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// All of it is on the medium.
    Kept,
    /// None of it is.
    Dropped,
    /// Each of its pages for itself.
    Torn,
}

/// What becomes of a page of a torn write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PageFate {
    /// It is on the medium.
    Kept,
    /// What was there before is.
    Dropped,
    /// Neither is.
    Garbage,
}

/// The fates of one power cut.
#[derive(Debug)]
pub(super) struct Fates {
    random: Random,
    kept_per_mille: u16,
    torn_per_mille: u16,
    garbage: bool,
}

impl Fates {
    /// Draws how much survives; with `garbage`, pages of torn writes may turn to it.
    pub(super) fn new(seed: u64, garbage: bool) -> Self {
        let mut random = Random::new(seed);
        let kept_per_mille = [0, 125, 500, 875, 1000][random.index(5)];
        let torn_per_mille = if matches!(kept_per_mille, 0 | 1000) { 0 } else { 250 };
        Self { random, kept_per_mille, torn_per_mille, garbage }
    }

    /// The seed of the disk that is left.
    pub(super) fn seed(&mut self) -> u64 {
        self.random.next()
    }

    /// Whether a change that can't be torn survives.
    pub(super) fn keeps(&mut self) -> bool {
        self.random.happens(self.kept_per_mille)
    }

    pub(super) fn of_write(&mut self) -> Fate {
        if self.random.happens(self.torn_per_mille) {
            Fate::Torn
        } else if self.keeps() {
            Fate::Kept
        } else {
            Fate::Dropped
        }
    }

    pub(super) fn of_page(&mut self) -> PageFate {
        match self.random.below(if self.garbage { 3 } else { 2 }) {
            0 => PageFate::Kept,
            1 => PageFate::Dropped,
            _ => PageFate::Garbage,
        }
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.random.next().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // The reference implementation's first outputs for seed 1234567. S1: the same everywhere.
        let mut random = Random::new(1_234_567);
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([random.next(), random.next()], first);
    }

    #[test]
    fn never_and_always_are_what_they_say() {
        let mut random = Random::new(1);
        assert!((0..5000).all(|_| !random.happens(0) && random.happens(1000)));
        let often = (0..5000).filter(|_| random.happens(250)).count();
        assert!((1000..1500).contains(&often), "{often}");
    }

    #[test]
    fn some_power_cuts_keep_nothing_some_everything_some_a_share() {
        let kept = |seed| {
            let mut fates = Fates::new(seed, false);
            (0..100).filter(|_| fates.of_write() == Fate::Kept).count()
        };
        let counts: Vec<usize> = (0..100).map(kept).collect();
        assert!(counts.contains(&0) && counts.contains(&100), "{counts:?}");
        assert!(counts.iter().any(|count| (20..60).contains(count)), "{counts:?}");
    }
}
