//! A thread that shows something now and then, until it is told to stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{BAR, locked};

/// The thread, if there is one; dropped, it has shown the end and is gone.
#[derive(Debug)]
pub(super) struct Ticker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `show` each time so long has passed, and once at the end, with whether it is that.
    /// What stands as a bar then is taken away.
    pub(super) fn start(every: Duration, mut show: impl FnMut(bool) + Send + 'static) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let told = Arc::clone(&stop);
        let run = move || {
            loop {
                let waited = told.1.wait_timeout_while(locked(&told.0), every, |stop| !*stop);
                let stopped = *waited.unwrap_or_else(PoisonError::into_inner).0;
                show(stopped);
                if stopped {
                    if let Some(bar) = locked(&BAR).take() {
                        bar.clear();
                    }
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("ringpack-progress".to_owned());
        // Nobody is worse off for what isn't shown.
        Self { stop, thread: thread.spawn(run).ok() }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *locked(&self.stop.0) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
