//! Signals: asked to stop, the job is cancelled, cleans away after itself, and the program ends.
//!
//! The signals are blocked in every thread and taken by one that waits for them, so no code runs in
//! a handler. `SIGXFSZ` is blocked too: a write beyond the file size limit then fails like any
//! other instead of killing the program with its partial file in place. A second signal ends the
//! program at once; the partial file it leaves is found stale by the next run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::signal::{SigSet, Signal};
use ringpack::Cancel;

/// The watch.
#[derive(Debug)]
pub(crate) struct Signals {
    cancel: Cancel,
    received: Arc<AtomicU8>,
}

impl Signals {
    /// Starts watching. To be called before any other thread is started: they inherit the mask.
    pub(crate) fn watch() -> io::Result<Self> {
        let mut stopping = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            stopping.add(signal);
        }
        stopping.thread_block()?;
        let mut limits = SigSet::empty();
        limits.add(Signal::SIGXFSZ);
        limits.thread_block()?;
        let signals = Self { cancel: Cancel::new(), received: Arc::new(AtomicU8::new(0)) };
        let (cancel, received) = (signals.cancel.clone(), Arc::clone(&signals.received));
        std::thread::Builder::new().name("ringpack-signals".to_owned()).spawn(move || {
            while let Ok(signal) = stopping.wait() {
                let number = signal as i32 as u8;
                if received.swap(number, Ordering::SeqCst) != 0 {
                    std::process::exit(128 + i32::from(number));
                }
                cancel.cancel();
            }
        })?;
        Ok(signals)
    }

    /// What a signal pulls.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The number of the signal that came, if one did.
    pub(crate) fn received(&self) -> Option<u8> {
        Some(self.received.load(Ordering::SeqCst)).filter(|&number| number != 0)
    }
}
