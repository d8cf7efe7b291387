//! What all threads of a job share: whether it goes on, and the first thing that went wrong.
//!
//! # Invariants
//! - Y2: the error returned is the first that was reported.

use std::sync::{Arc, Mutex, PoisonError};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::eventcount::EventCount;

/// What tells all threads of a job to stop.
#[derive(Debug)]
pub struct Shared {
    /// The job's own: pulled when its owner's is, and when anything fails.
    stop: Cancel,
    first: Mutex<Option<Error>>,
    event: Arc<EventCount>,
}

impl Shared {
    /// The state of a job that `cancel` may stop.
    #[must_use]
    pub fn new(cancel: &Cancel) -> Arc<Self> {
        let event = Arc::new(EventCount::default());
        let stop = Cancel::new();
        let wake = Arc::clone(&event);
        stop.on_cancel(move || wake.advance());
        let pass_on = stop.clone();
        cancel.on_cancel(move || pass_on.cancel());
        Arc::new(Self { stop, first: Mutex::new(None), event })
    }

    /// The event count of the job.
    #[must_use]
    pub fn event(&self) -> &Arc<EventCount> {
        &self.event
    }

    /// What wakes whoever is blocked in the kernel when the job ends early.
    #[must_use]
    pub fn stop(&self) -> &Cancel {
        &self.stop
    }

    /// Stops the job, with this error unless another came first.
    pub fn fail(&self, error: Error) {
        // Y2: the first one stays. A worker that stopped because another failed adds nothing.
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.cancel();
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

    /// The first error, if there was one.
    ///
    /// # Errors
    /// That one.
    pub fn take_error(&self) -> Result<()> {
        match self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => self.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y2_the_first_error_stays() {
        let shared = Shared::new(&Cancel::new());
        shared.fail(Error::new(ErrorKind::NoSpace, "first"));
        shared.fail(Error::new(ErrorKind::Cancelled, "stopped because of it"));
        assert!(shared.check().is_err());
        assert_eq!(shared.take_error().unwrap_err().kind(), ErrorKind::NoSpace);
    }

    #[test]
    fn a_cancelled_job_says_so() {
        let cancel = Cancel::new();
        let shared = Shared::new(&cancel);
        cancel.cancel();
        assert_eq!(shared.check().unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(shared.take_error().unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
