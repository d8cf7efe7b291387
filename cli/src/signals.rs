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
        let ignored = ignored();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            // Ignored from the start, as under nohup, stays ignored; a blocked signal would come.
            if ignored & (1 << (signal as i32 - 1)) == 0 {
                stopping.add(signal);
            }
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

/// The signals that the process was started to ignore, a bit each from the lowest, as the kernel
/// says.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
