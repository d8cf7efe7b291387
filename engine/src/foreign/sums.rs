//! Whether containers that are read in order hold the content that their headers state: a
//! container's header comes last, and frames that stand in each other's places are intact each.
//!
//! Frames are decoded in any order; their checksums are combined in theirs. The checksum of all
//! content up to a frame is kept for the last of them, since a container may start behind another
//! program's frames.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::measure::Place;
use super::own::BOUNDARIES_MAX;
use crate::checksum::Whole;
use crate::error::Result;
use crate::planted::{self, Bug};

/// What a container's header states of its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stated {
    /// The turn of its first frame of content.
    pub(super) from: u64,
    /// The turn behind its last one.
    pub(super) to: u64,
    /// Length of the content.
    pub(super) len: u64,
    pub(super) crc32c: u32,
    /// The container.
    pub(super) place: Place,
}

/// The checksums of a job's content.
#[derive(Debug, Default)]
pub(super) struct Sums(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Frames that were decoded before one that stands before them, by their turns.
    early: BTreeMap<u64, (u32, usize)>,
    /// The turn that comes next, and the checksum of all before it.
    next: u64,
    whole: Whole,
    /// The same of the turns before: the last of them.
    before: VecDeque<Whole>,
    /// The same where the last container ended.
    last_end: (u64, Whole),
    stated: VecDeque<Stated>,
    /// Damage was found, so the rest tells nothing.
    is_given_up: bool,
}

impl Sums {
    /// Takes the checksum of a frame's content.
    ///
    /// # Errors
    /// `Damaged` where a container's content turns out to be another than its header states.
    pub(super) fn add(&self, turn: u64, crc32c: u32, len: usize) -> Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_given_up {
            return Ok(());
        }
        state.early.insert(turn, (crc32c, len));
        loop {
            let next = state.next;
            let Some((crc32c, len)) = state.early.remove(&next) else { return Ok(()) };
            let whole = state.whole;
            if state.before.len() == BOUNDARIES_MAX {
                state.before.pop_front();
            }
            state.before.push_back(whole);
            state.whole.append(crc32c, len);
            state.next += 1;
            state.compare()?;
        }
    }

    /// Takes what a header states.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn expect(&self, stated: Stated) -> Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_given_up {
            state.stated.push_back(stated);
        }
        state.compare()
    }

    /// Ends comparing: a frame is damaged.
    pub(super) fn give_up(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { is_given_up: true, ..State::default() };
    }
}

impl State {
    fn compare(&mut self) -> Result<()> {
        while let Some(stated) = self.stated.front().copied().filter(|it| it.to <= self.next) {
            self.stated.pop_front();
            let end = self.up_to(stated.to);
            if let (Some(mut expected), Some(end)) = (self.up_to(stated.from), end) {
                expected.append(stated.crc32c, stated.len as usize);
                if expected.value() != end.value() && !planted::is(Bug::OrderUnchecked) {
                    let what = "its content is another than the container's header states";
                    return Err(stated.place.damaged(what));
                }
            }
            if let Some(end) = end {
                self.last_end = (stated.to, end);
            }
        }
        Ok(())
    }

    /// The checksum of the content before `turn`; `None` where that is too long ago.
    fn up_to(&self, turn: u64) -> Option<Whole> {
        if turn == self.next {
            return Some(self.whole);
        }
        if turn == self.last_end.0 {
            return Some(self.last_end.1);
        }
        let first = self.next - self.before.len() as u64;
        self.before.get(usize::try_from(turn.checked_sub(first)?).ok()?).copied()
    }
}
