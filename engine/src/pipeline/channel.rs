//! The queue of completed extents, from the workers to the coordinator.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use crate::error::Result;

/// How often the coordinator looks around when nothing completes.
const TICK: Duration = Duration::from_millis(100);

/// The queue of completed extents: a sender for each worker, closed when the last of them is gone.
#[derive(Debug)]
pub struct Channel<E> {
    unclaimed: Mutex<Vec<Sender<E>>>,
}

impl<E> Channel<E> {
    /// The senders of `workers` workers, and the coordinator's end.
    #[must_use]
    pub fn new(workers: usize) -> (Self, Receiver<E>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut unclaimed = vec![sender; workers.max(1)];
        unclaimed.truncate(workers);
        (Self { unclaimed: Mutex::new(unclaimed) }, receiver)
    }

    /// A worker's sender.
    ///
    /// # Panics
    /// Where more workers ask than were announced.
    #[must_use]
    pub fn sender(&self) -> Sender<E> {
        let mut unclaimed = self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner);
        unclaimed.pop().expect("a sender for each worker")
    }
}

/// Hands every event to `note` until the senders are gone, or the job is stopped; calls `tick` now
/// and then.
///
/// # Errors
/// Those of `note`.
pub fn drain<E>(
    receiver: &Receiver<E>,
    shared: &Shared,
    tick: &mut dyn FnMut(),
    mut note: impl FnMut(E) -> Result<()>,
) -> Result<()> {
    let mut last_tick = Instant::now();
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(event) => note(event)?,
            // A worker that never started has a sender that is never dropped.
            Err(RecvTimeoutError::Timeout) if shared.check().is_err() => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if last_tick.elapsed() >= TICK {
            tick();
            last_tick = Instant::now();
        }
    }
}
