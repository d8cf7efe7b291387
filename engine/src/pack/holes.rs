//! The holes of a sparse input, laid out as zeros.
//!
//! Only the runs of data are read into a buffer. The buffer was used before, so what lies between
//! the runs still holds bytes of another extent, and has to be zeroed before a chunk is encoded,
//! compared or summed.
//!
//! ```text
//! extent   [ data ......... data ]      runs: in order, from the extent's start
//! chunk              [      ]           a hole may begin before a chunk and end behind it
//! ```
//!
//! # Invariants
//! - HO1: after [`zero`], each byte of the chunk that lies in no run is zero, and each byte that
//!   lies in a run is as it was.

use std::ops::Range;

use crate::codec::is_zero;
use crate::planted::{self, Bug};

/// Zeroes what lies in none of `runs` in `bytes`, which are the bytes `range` of an extent. The
/// runs are in order and may overlap.
pub(super) fn zero(runs: &[Range<usize>], range: &Range<usize>, bytes: &mut [u8]) {
    debug_assert_eq!(range.len(), bytes.len());
    let mut from = range.start;
    for run in runs {
        if planted::is(Bug::HoleUncleared) && run.start >= range.end {
            return;
        }
        // HO1: of a run outside the chunk, nothing is left between these two.
        let (start, end) = (run.start.clamp(from, range.end), run.end.clamp(from, range.end));
        bytes[from - range.start..start - range.start].fill(0);
        from = end;
    }
    bytes[from - range.start..].fill(0);
}

/// Whether each byte of `bytes` that lies in no run is zero: what [`zero`] has to leave. Looks at
/// the gaps alone, since it is asserted of each chunk.
pub(super) fn are_zero(runs: &[Range<usize>], range: &Range<usize>, bytes: &[u8]) -> bool {
    let starts = runs.iter().map(|run| run.start).chain([range.end]);
    let mut end = range.start;
    let ends = [end].into_iter().chain(runs.iter().map(move |run| {
        end = end.max(run.end);
        end
    }));
    ends.zip(starts).all(|(gap_start, gap_end)| {
        let gap_end = gap_end.min(range.end);
        gap_start >= gap_end || is_zero(&bytes[gap_start - range.start..gap_end - range.start])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length of the extent in the model: long enough for a chunk with neighbours on both sides.
    const LEN: usize = 9;
    /// What the buffer held before.
    const OLD: u8 = 0xA5;

    /// The runs of a layout, one bit a byte.
    fn runs(layout: u32) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for at in (0..LEN).filter(|at| layout >> at & 1 == 1) {
            match runs.last_mut() {
                Some(run) if run.end == at => run.end = at + 1,
                _ => runs.push(at..at + 1),
            }
        }
        runs
    }

    /// Every layout of an extent of nine bytes, every chunk of it.
    #[test]
    fn ho1_every_layout_and_every_chunk_is_as_the_model_has_it() {
        for layout in 0..1 << LEN {
            let runs = runs(layout);
            for start in 0..=LEN {
                for end in start..=LEN {
                    let range = start..end;
                    let mut bytes = vec![OLD; range.len()];
                    zero(&runs, &range, &mut bytes);
                    let model = range.clone().map(|at| OLD * (layout >> at & 1) as u8);
                    assert!(bytes.iter().copied().eq(model), "{runs:?} in {range:?}: {bytes:?}");
                    assert!(are_zero(&runs, &range, &bytes));
                }
            }
        }
    }

    #[test]
    fn ho1_runs_that_overlap_are_one() {
        let mut bytes = [OLD; 8];
        zero(&[1..4, 2..3, 3..5, 7..12], &(0..8), &mut bytes);
        assert_eq!(bytes, [0, OLD, OLD, OLD, OLD, 0, 0, OLD]);
    }

    #[test]
    fn bytes_of_an_earlier_extent_in_a_hole_are_noticed() {
        assert!(are_zero(&[1..2, 5..6], &(0..6), &[0, OLD, 0, 0, 0, OLD]));
        for at in [0, 2, 3, 4] {
            let mut bytes = [0; 6];
            bytes[at] = OLD;
            assert!(!are_zero(&[1..2, 5..6], &(0..6), &bytes), "{at}");
        }
    }
}
