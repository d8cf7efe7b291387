//! Who may go on: frames in flight are bounded by their bytes, and a pipe is given them in order.
//!
//! Frames are queued in order, so the one whose turn it is always is with a thread already, and a
//! thread that waits for its turn waits for one that works.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::pipeline::Shared;

/// The turns and the bytes in flight of a job.
#[derive(Debug, Default)]
pub(super) struct Order {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    turn: u64,
    in_flight_bytes: u64,
}

impl Order {
    /// Waits until `bytes` more may be in flight, no more than `most` in all; a frame that is
    /// longer than that goes alone.
    pub(super) fn admit(&self, shared: &Shared, bytes: u64, most: u64) -> Result<()> {
        let fits = |state: &State| {
            state.in_flight_bytes == 0 || state.in_flight_bytes.saturating_add(bytes) <= most
        };
        self.wait(shared, fits)?.in_flight_bytes += bytes;
        Ok(())
    }

    /// Gives back what was admitted.
    pub(super) fn leave(&self, bytes: u64) {
        self.lock().in_flight_bytes -= bytes;
        self.changed.notify_all();
    }

    /// Waits until it is `turn`'s.
    pub(super) fn wait_for(&self, shared: &Shared, turn: u64) -> Result<()> {
        self.wait(shared, |state| state.turn == turn).map(drop)
    }

    /// Ends the turn.
    pub(super) fn pass_on(&self) {
        self.lock().turn += 1;
        self.changed.notify_all();
    }

    /// Wakes everyone: the job was stopped.
    pub(super) fn wake(&self) {
        // Under the lock, so that nobody is between looking and falling asleep.
        drop(self.lock());
        self.changed.notify_all();
    }

    fn wait(
        &self,
        shared: &Shared,
        ready: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        loop {
            shared.check()?;
            if ready(&state) {
                return Ok(state);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
