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

/// What the calling thread does while the workers run.
pub trait Coordinator<E> {
    /// Takes note of something that a worker completed.
    ///
    /// # Errors
    /// Fatal ones: the job ends with them.
    fn event(&mut self, event: E) -> Result<()>;

    /// Does what is due by the clock. Called about ten times a second.
    ///
    /// # Errors
    /// As [`Self::event`].
    fn tick(&mut self) -> Result<()> {
        Ok(())
    }
}

impl<E, F: FnMut(E) -> Result<()>> Coordinator<E> for F {
    fn event(&mut self, event: E) -> Result<()> {
        self(event)
    }
}

/// Hands every event to the coordinator until the senders are gone, or the job is stopped; calls
/// `tick`, and the coordinator's, now and then.
///
/// # Errors
/// Those of the coordinator.
pub(super) fn drain<E>(
    receiver: &Receiver<E>,
    shared: &Shared,
    coordinator: &mut dyn Coordinator<E>,
    tick: &dyn Fn(),
) -> Result<()> {
    let mut last_tick = Instant::now();
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(event) => coordinator.event(event)?,
            // A worker that never started has a sender that is never dropped.
            Err(RecvTimeoutError::Timeout) if shared.check().is_err() => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if last_tick.elapsed() >= TICK {
            tick();
            coordinator.tick()?;
            last_tick = Instant::now();
        }
    }
}
