//! A goal, and how near the pairs came to it.

use std::fmt;

use serde::Serialize;

/// What a ratio is to be.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Whatever it is: it is to be known.
    Known,
}

/// What was measured on both sides, in what unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) enum Unit {
    /// MiB a second.
    #[serde(rename = "MiB/s")]
    Rate,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// MiB.
    #[serde(rename = "MiB")]
    Size,
}

/// A goal's pairs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Outcome {
    /// What is done.
    pub(crate) job: String,
    /// What it is held against.
    pub(crate) against: String,
    pub(crate) bound: Bound,
    pub(crate) unit: Unit,
    /// Ours, a value a pair.
    pub(crate) ours: Vec<f64>,
    /// The other side's, in the same order.
    pub(crate) theirs: Vec<f64>,
}

impl Outcome {
    pub(crate) fn new(
        job: impl Into<String>,
        against: impl Into<String>,
        bound: Bound,
        unit: Unit,
    ) -> Self {
        let (job, against) = (job.into(), against.into());
        Self { job, against, bound, unit, ours: Vec::new(), theirs: Vec::new() }
    }

    /// Takes a pair.
    pub(crate) fn pair(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    /// The pairs' ratios, in ascending order.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        sorted(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs))
    }

    /// Whether the median is within the bound; `None` where there is no bound or no pair.
    pub(crate) fn is_reached(&self) -> Option<bool> {
        let median = median(&self.ratios())?;
        match self.bound {
            Bound::AtLeast(bound) => Some(median >= bound),
            Bound::AtMost(bound) => Some(median <= bound),
            Bound::Known => None,
        }
    }
}

/// A row of a Markdown table.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratios = self.ratios();
        let middle = |values: &[f64]| median(&sorted(values.iter().copied())).unwrap_or(f64::NAN);
        let digits = match self.unit {
            Unit::Rate | Unit::Size => 0,
            Unit::Seconds | Unit::Millis => 3,
        };
        let (ours, theirs) = (middle(&self.ours), middle(&self.theirs));
        write!(f, "| {} | {} ", self.job, self.against)?;
        write!(f, "| {ours:.digits$} | {theirs:.digits$} {} ", self.unit)?;
        match (ratios.first(), ratios.last()) {
            (Some(least), Some(most)) => {
                write!(f, "| {:.3} ({least:.3} to {most:.3}) ", middle(&ratios))?;
            }
            _ => write!(f, "| not measured ")?,
        }
        let reached = match self.is_reached() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        write!(f, "| {} | {reached} |", self.bound)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::Known => f.write_str("known"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "MiB/s",
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Size => "MiB",
        })
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of `sorted`, or the mean of the two.
fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted[low] + sorted[high]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(bound: Bound, pairs: &[(f64, f64)]) -> Outcome {
        let mut outcome = Outcome::new("job", "other", bound, Unit::Rate);
        pairs.iter().for_each(|&(ours, theirs)| outcome.pair(ours, theirs));
        outcome
    }

    #[test]
    fn the_median_is_of_the_ratios_and_not_the_ratio_of_medians() {
        // Twice as fast in each pair, while the machine became slower by ten.
        let pairs = [(200.0, 100.0), (20.0, 10.0), (2.0, 1.0)];
        let drifting = outcome(Bound::AtLeast(2.0), &pairs);
        assert_eq!(drifting.ratios(), [2.0, 2.0, 2.0]);
        assert_eq!(drifting.is_reached(), Some(true));
        let mixed = outcome(Bound::AtLeast(1.0), &[(3.0, 1.0), (1.0, 2.0), (1.0, 4.0)]);
        assert_eq!(mixed.is_reached(), Some(false));
    }

    #[test]
    fn a_bound_is_from_below_or_from_above_or_none() {
        // Halves and quarters, whose median is what it looks like.
        let pairs = [(0.75, 1.0), (1.25, 1.0)];
        for (bound, reached) in [
            (Bound::AtLeast(1.0), Some(true)),
            (Bound::AtLeast(1.01), Some(false)),
            (Bound::AtMost(1.0), Some(true)),
            (Bound::AtMost(0.99), Some(false)),
            (Bound::Known, None),
        ] {
            assert_eq!(outcome(bound, &pairs).is_reached(), reached, "{bound}");
        }
        assert_eq!(outcome(Bound::AtMost(1.0), &[]).is_reached(), None);
    }
}
