//! Sleeping until something changed, without missing the change.
//!
//! A worker with nothing to do waits for one of several things: a place, a portion of a stream, a
//! buffer that comes back, the end of the job. Whoever brings one about advances the count; who
//! waits names the count it saw *before* it looked around in vain, so a change in between is not
//! slept through.
//!
//! # Invariants
//! - E1: `wait(seen)` returns if `advance` was called after the count was `seen`.

use std::sync::PoisonError;

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use crate::sync::{Condvar, Mutex};

/// The count.
#[derive(Debug, Default)]
pub struct EventCount {
    count: AtomicU64,
    sleepers: AtomicU32,
    lock: Mutex<()>,
    wake: Condvar,
}

impl EventCount {
    /// The count as it is now.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.count.load(SeqCst)
    }

    /// Tells everyone who waits that something changed. Without sleepers this takes no lock.
    pub fn advance(&self) {
        self.count.fetch_add(1, SeqCst);
        // E1: a sleeper counts itself in before it looks at the count for the last time, so either
        // it sees the new count or it is seen here.
        if self.sleepers.load(SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// Sleeps until the count is no longer `seen`.
    pub fn wait(&self, seen: u64) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, SeqCst);
        while self.count.load(SeqCst) == seen {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_no_change_is_slept_through() {
        const ROUNDS: u64 = 20_000;
        let (ping, pong) = (EventCount::default(), EventCount::default());
        let (sent, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        let until = |count: &EventCount, cell: &AtomicU64, value| {
            loop {
                let seen = count.seen();
                if cell.load(SeqCst) >= value {
                    return;
                }
                count.wait(seen);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    until(&ping, &sent, round);
                    answered.store(round, SeqCst);
                    pong.advance();
                }
            });
            for round in 1..=ROUNDS {
                sent.store(round, SeqCst);
                ping.advance();
                until(&pong, &answered, round);
            }
        });
        assert_eq!(answered.load(SeqCst), ROUNDS);
    }
}

#[cfg(all(test, ringpack_shuttle))]
mod models {
    use super::*;
    use shuttle::sync::Arc;
    use shuttle::sync::atomic::AtomicBool;
    use shuttle::thread::spawn;

    /// A change that was slept through would leave the sleeper there for good, which is reported.
    #[test]
    fn orders_e1_no_change_is_slept_through() {
        let model = || {
            let shared = Arc::new((EventCount::default(), AtomicBool::new(false)));
            let other = Arc::clone(&shared);
            let changing = spawn(move || {
                other.1.store(true, SeqCst);
                other.0.advance();
            });
            loop {
                let seen = shared.0.seen();
                if shared.1.load(SeqCst) {
                    break;
                }
                shared.0.wait(seen);
            }
            changing.join().unwrap();
        };
        crate::sync::each_order(model);
    }

    /// As a writer's threads and cores pass buffers: one buffer, two who want it, each of whom
    /// gives it back. The queue itself is another crate's, and stood in for by a lock.
    #[test]
    fn orders_e1_a_buffer_that_is_given_back_reaches_whoever_waits() {
        let model = || {
            let shared = Arc::new((EventCount::default(), Mutex::new(vec![1])));
            let lease = |shared: &(EventCount, Mutex<Vec<u32>>)| {
                let (freed, free) = shared;
                let buffer = loop {
                    let seen = freed.seen();
                    let found = free.lock().unwrap().pop();
                    if let Some(buffer) = found {
                        break buffer;
                    }
                    freed.wait(seen);
                };
                free.lock().unwrap().push(buffer);
                freed.advance();
            };
            let other = Arc::clone(&shared);
            let leasing = spawn(move || lease(&other));
            lease(&shared);
            leasing.join().unwrap();
            assert_eq!(shared.1.lock().unwrap().len(), 1);
        };
        crate::sync::each_order(model);
    }
}
