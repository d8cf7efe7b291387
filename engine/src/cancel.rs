//! Stopping a job from outside: a flag that is looked at, and calls for whoever is asleep.
//!
//! Workers look at the flag once a turn. A thread that is blocked in the kernel can't look, so it
//! leaves a call that will wake it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Call = Box<dyn Fn() + Send + Sync>;

/// Asks a job to stop. Clones ask the same job.
///
/// ```
/// use ringpack::pack::{Input, Output, PackOptions, pack};
/// use ringpack::{Cancel, ErrorKind, OsDisk};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let (input, target) = (dir.path().join("data"), dir.path().join("data.zst"));
/// # std::fs::write(&input, b"something to keep").unwrap();
/// let cancel = Cancel::new();
/// let elsewhere = cancel.clone();
/// std::thread::spawn(move || elsewhere.cancel()).join().expect("it doesn't panic");
/// let (from, to) = (Input::Path(input), Output::Path(target.clone()));
/// let stopped = pack(&OsDisk, from, to, &PackOptions::default(), &cancel);
/// assert_eq!(stopped.map_err(|error| error.kind()).err(), Some(ErrorKind::Cancelled));
/// assert!(!target.exists());
/// ```
#[derive(Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    asked: AtomicBool,
    suspend: AtomicBool,
    next_id: AtomicU64,
    calls: Mutex<Vec<(u64, Call)>>,
}

impl Cancel {
    /// A token that nobody has pulled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to stop; it ends with [`crate::ErrorKind::Cancelled`], leaving nothing behind.
    /// A job that has published already is past stopping.
    pub fn cancel(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        for (_, call) in self.calls().iter() {
            call();
        }
    }

    /// Asks the job to stop so that it can be gone on with: one that can takes a checkpoint, keeps
    /// its partial file and ends with [`crate::ErrorKind::Suspended`]; any other is cancelled.
    pub fn suspend(&self) {
        self.0.suspend.store(true, Ordering::SeqCst);
        self.cancel();
    }

    /// Whether a job that stops is to leave what it has, to be gone on with.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.0.suspend.load(Ordering::SeqCst)
    }

    /// Whether the job was asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Has `call` called when the job is asked to stop, at once if it was already, for as long as
    /// the registration is kept.
    pub(crate) fn on_cancel(&self, call: impl Fn() + Send + Sync + 'static) -> Registration {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        // The flag is looked at under the lock that `cancel` takes after setting it: the call is
        // made by one of the two, whichever order they come in.
        let mut calls = self.calls();
        if self.is_cancelled() {
            call();
        }
        calls.push((id, Box::new(call)));
        Registration { cancel: Some(self.clone()), id }
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Call)>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call left with a [`Cancel`], taken back on drop: a token may outlive many jobs.
#[derive(Debug)]
pub(crate) struct Registration {
    cancel: Option<Cancel>,
    id: u64,
}

impl Registration {
    /// Leaves the call for as long as the token lives.
    pub(crate) fn keep(mut self) {
        self.cancel = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(cancel) = &self.cancel {
            cancel.calls().retain(|(id, _)| *id != self.id);
        }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_call_is_made_whichever_comes_first() {
        for cancel_first in [false, true] {
            let cancel = Cancel::new();
            let called = Arc::new(AtomicU32::new(0));
            let count = called.clone();
            if cancel_first {
                cancel.cancel();
            }
            let registration = cancel.on_cancel(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            if !cancel_first {
                assert_eq!(called.load(Ordering::SeqCst), 0);
                cancel.cancel();
            }
            assert!(cancel.is_cancelled());
            assert_eq!(called.load(Ordering::SeqCst), 1);
            drop(registration);
            assert!(cancel.calls().is_empty(), "a job leaves nothing with its owner's token");
        }
    }
}
