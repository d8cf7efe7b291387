//! Completions that come later, and not in the order of their requests.
//!
//! A disk that answers at once has one request in flight, and a program that forgets to wait for
//! its writes looks right on it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that runs jobs when they are due. Dropping it runs what is left at once.
#[derive(Debug)]
pub(crate) struct Delays {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BinaryHeap<Waiting>,
    count: u64,
    is_closed: bool,
}

impl Delays {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("lab-delays".to_owned());
        let thread = thread.spawn(move || serving.serve()).expect("a thread can be started");
        Self { shared, thread: Some(thread) }
    }

    /// Runs `job` after `delay`, on the thread of this.
    pub(crate) fn after(&self, delay: Duration, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.lock();
        queue.count += 1;
        let number = queue.count;
        queue.waiting.push(Waiting { due: Instant::now() + delay, number, job: Box::new(job) });
        self.shared.changed.notify_one();
    }
}

impl Drop for Delays {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            let is_closed = queue.is_closed;
            let due = queue.waiting.peek().map(|first| first.due);
            queue = match due {
                None if is_closed => return,
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(due) if due <= now || is_closed => {
                    let first = queue.waiting.pop().expect("it was there, and the lock is held");
                    drop(queue);
                    (first.job)();
                    self.lock()
                }
                Some(due) => {
                    let waited = self.changed.wait_timeout(queue, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// A job, the greater the sooner it is due.
struct Waiting {
    due: Instant,
    number: u64,
    job: Job,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} due at {:?}", self.number, self.due)
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_when_they_are_due_and_at_the_latest_on_drop() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let delays = Delays::new();
        for (name, minutes) in [("last", 60), ("first", 0), ("second", 30)] {
            let order = Arc::clone(&order);
            let delay = Duration::from_secs(60 * minutes);
            delays.after(delay, move || order.lock().unwrap().push(name));
        }
        drop(delays);
        assert_eq!(*order.lock().unwrap(), ["first", "second", "last"]);
    }
}
