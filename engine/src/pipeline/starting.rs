//! Workers that start side by side, where memory may not do for all of them.
//!
//! A worker that gets no memory is left out if another has started or may still: the others do its
//! work. Only if none gets any does the job fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::error::Result;

/// How far the workers are with starting.
#[derive(Debug)]
pub(super) struct Starting {
    left: AtomicUsize,
    any: AtomicBool,
}

impl Starting {
    /// None of `count` has tried yet.
    pub(super) fn new(count: usize) -> Self {
        Self { left: AtomicUsize::new(count), any: AtomicBool::new(false) }
    }

    /// Takes note of what became of one. Whether the others do without it: it failed, and isn't
    /// the last that could have started.
    pub(super) fn is_done_without<T>(&self, started: &Result<T>) -> bool {
        if started.is_ok() {
            self.any.store(true, SeqCst);
        }
        let is_last = self.left.fetch_sub(1, SeqCst) == 1;
        let starved = started.as_ref().is_err_and(|error| error.is_out_of_memory());
        starved && (!is_last || self.any.load(SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn the_last_without_memory_fails_if_no_other_started() {
        let starved = || {
            Err::<(), _>(Error::from_io(
                ErrorKind::Output,
                "none",
                io::ErrorKind::OutOfMemory.into(),
            ))
        };
        let other = || Err::<(), _>(Error::new(ErrorKind::NoUring, "none"));
        let starting = Starting::new(3);
        assert!(starting.is_done_without(&starved()));
        assert!(!starting.is_done_without(&Ok(())));
        assert!(starting.is_done_without(&starved()));
        let starting = Starting::new(2);
        assert!(starting.is_done_without(&starved()));
        assert!(!starting.is_done_without(&starved()));
        assert!(!Starting::new(2).is_done_without(&other()));
    }
}
