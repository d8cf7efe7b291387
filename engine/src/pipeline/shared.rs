//! What all threads of a job share: whether it goes on, and the first thing that went wrong.
//!
//! # Invariants
//! - Y2: the error returned is the first that was reported.

use std::sync::{Arc, Mutex, PoisonError};

use crate::cancel::{Cancel, Registration};
use crate::error::{Error, ErrorKind, Result};
use crate::eventcount::EventCount;
use crate::progress::Progress;
use crate::trace;

/// What tells all threads of a job to stop.
#[derive(Debug)]
pub struct Shared {
    /// The job's own: pulled when its owner's is, and when anything fails.
    stop: Cancel,
    first: Mutex<Option<Error>>,
    event: Arc<EventCount>,
    context: trace::Context,
    owner: Cancel,
    progress: Progress,
    /// The owner's token outlives the job; this is taken back when the job ends.
    _registration: Registration,
}

impl Shared {
    /// The state of a job that `cancel` may stop.
    #[must_use]
    pub fn new(cancel: &Cancel) -> Arc<Self> {
        Self::watched(cancel, &Progress::default())
    }

    /// As [`Self::new`], of a job that tells how far it is.
    #[must_use]
    pub fn watched(cancel: &Cancel, progress: &Progress) -> Arc<Self> {
        let event = Arc::new(EventCount::default());
        let stop = Cancel::new();
        let wake = Arc::clone(&event);
        // Kept as long as `stop` is: the job's own.
        stop.on_cancel(move || wake.advance()).keep();
        let (pass_on, asked) = (stop.clone(), cancel.clone());
        let registration = cancel.on_cancel(move || {
            if asked.is_suspended() { pass_on.suspend() } else { pass_on.cancel() }
        });
        let context = trace::Context::current();
        Arc::new(Self {
            stop,
            first: Mutex::new(None),
            event,
            context,
            owner: cancel.clone(),
            progress: progress.clone(),
            _registration: registration,
        })
    }

    /// The event count of the job.
    #[must_use]
    pub fn event(&self) -> &Arc<EventCount> {
        &self.event
    }

    /// How far the job is.
    #[must_use]
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What a program that traces knows the job by, for each of its threads to enter.
    #[must_use]
    pub(crate) fn context(&self) -> &trace::Context {
        &self.context
    }

    /// What wakes whoever is blocked in the kernel when the job ends early.
    #[must_use]
    pub fn stop(&self) -> &Cancel {
        &self.stop
    }

    /// What the owner stops the job by: not pulled when the job fails of itself.
    #[must_use]
    pub fn owner(&self) -> &Cancel {
        &self.owner
    }

    /// Stops the job, with this error unless another came first.
    pub fn fail(&self, error: Error) {
        // Y2: the first one stays. A worker that stopped because another failed adds nothing.
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.cancel();
    }

    /// Watches over the calling thread: if it panics, the job fails instead of waiting for it.
    #[must_use]
    pub fn guard(&self) -> PanicGuard<'_> {
        PanicGuard(self)
    }

    /// Whether the job goes on.
    ///
    /// # Errors
    /// `Cancelled` where it doesn't.
    pub fn check(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        }
        Ok(())
    }

    /// The first error, if there was one. While the job goes on this takes no lock.
    ///
    /// # Errors
    /// That one.
    pub fn first_error(&self) -> Result<()> {
        // Whoever fails the job leaves the error before it stops the job.
        if !self.stop.is_cancelled() {
            return Ok(());
        }
        match &*self.first.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.again()),
            None => self.check(),
        }
    }
}

/// Fails the job when dropped by a panic.
#[derive(Debug)]
pub struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::new(ErrorKind::Internal, "a thread of the job panicked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_thread_stops_the_job() {
        let shared = Shared::new(&Cancel::new());
        std::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _guard = shared.guard();
                panic!("for the test");
            });
            assert!(panicking.join().is_err());
        });
        assert_eq!(shared.first_error().unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn y2_the_first_error_stays() {
        let shared = Shared::new(&Cancel::new());
        shared.fail(Error::new(ErrorKind::NoSpace, "first"));
        shared.fail(Error::new(ErrorKind::Cancelled, "stopped because of it"));
        assert!(shared.check().is_err());
        assert_eq!(shared.first_error().unwrap_err().kind(), ErrorKind::NoSpace);
    }

    #[test]
    fn a_cancelled_job_says_so() {
        let cancel = Cancel::new();
        let shared = Shared::new(&cancel);
        cancel.cancel();
        assert_eq!(shared.check().unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(shared.first_error().unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
