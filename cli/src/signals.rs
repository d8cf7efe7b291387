//! Signals: asked to stop, the job ends and so does the program.
//!
//! `SIGINT` comes from a person who wants the job gone: it cleans away after itself, unless asked
//! to keep what it has. `SIGTERM` and `SIGHUP` come from a system that needs the job to stop: one
//! that can be gone on with leaves a checkpoint.
//!
//! `SIGUSR1` asks how far the job is.
//!
//! The signals are blocked in every thread and taken by one that waits for them, so no code runs in
//! a handler. `SIGXFSZ` is blocked too: a write beyond the file size limit then fails like any
//! other instead of killing the program with its partial file in place. A signal that comes within
//! a second of the first changes nothing: a key may be pressed twice, and a terminal that closes
//! may send `SIGHUP` twice. A later one ends the program at once, and what the job left stays. A
//! producer that this program runs is passed the first; and `SIGKILL` where the program ends at
//! once.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use ringpack::Cancel;

use crate::inherited::is_ignored;
use crate::progress;

/// How long after the first another signal says that somebody means it.
const INSISTS: Duration = Duration::from_secs(1);

/// What is said where the program ends at once.
const AT_ONCE: &str = "\
ringpack: a second signal ended the program at once. A partial file may be left: run the same
command again, or remove the file with ringpack clean DIR.
";

/// The watch.
pub(crate) struct Signals {
    cancel: Cancel,
    received: Arc<AtomicU8>,
    keeps: Arc<AtomicBool>,
    passing_on: Arc<Mutex<Option<PassOn>>>,
    inherited: SigSet,
}

/// What hands a signal to another process.
pub(crate) type PassOn = Box<dyn Fn(Signal) + Send>;

impl Signals {
    /// Starts watching. To be called before any other thread is started: they inherit the mask.
    pub(crate) fn watch() -> io::Result<Self> {
        let mut stopping = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1] {
            // Ignored from the start, as under nohup, stays ignored; a blocked signal would come.
            if !is_ignored(signal) {
                stopping.add(signal);
            }
        }
        let inherited = SigSet::thread_get_mask()?;
        stopping.thread_block()?;
        let mut limits = SigSet::empty();
        limits.add(Signal::SIGXFSZ);
        limits.thread_block()?;
        let signals = Self {
            cancel: Cancel::new(),
            received: Arc::new(AtomicU8::new(0)),
            keeps: Arc::new(AtomicBool::new(false)),
            passing_on: Arc::default(),
            inherited,
        };
        let (cancel, received) = (signals.cancel.clone(), Arc::clone(&signals.received));
        let keeps = Arc::clone(&signals.keeps);
        let passing_on = Arc::clone(&signals.passing_on);
        let pass_on = move |signal| {
            if let Some(pass_on) = &*passing_on.lock().unwrap_or_else(PoisonError::into_inner) {
                pass_on(signal);
            }
        };
        std::thread::Builder::new().name("ringpack-signals".to_owned()).spawn(move || {
            let mut first: Option<Instant> = None;
            while let Ok(signal) = stopping.wait() {
                if signal == Signal::SIGUSR1 {
                    progress::tell();
                    continue;
                }
                let number = signal as i32 as u8;
                if let Some(first) = first {
                    if first.elapsed() >= INSISTS {
                        pass_on(Signal::SIGKILL);
                        say_last(AT_ONCE);
                        std::process::exit(128 + i32::from(number));
                    }
                    continue;
                }
                first = Some(Instant::now());
                received.store(number, Ordering::SeqCst);
                if signal == Signal::SIGINT && !keeps.load(Ordering::SeqCst) {
                    cancel.cancel();
                } else {
                    cancel.suspend();
                }
                // Afterwards, so that what it does to the other process comes as no surprise.
                pass_on(signal);
            }
        })?;
        Ok(signals)
    }

    /// Has `SIGINT` leave a checkpoint too.
    pub(crate) fn keep_on_interrupt(&self) {
        self.keeps.store(true, Ordering::SeqCst);
    }

    /// What a signal pulls.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Who is passed the signals that come, which wait for as long as this is held.
    pub(crate) fn passing_on(&self) -> MutexGuard<'_, Option<PassOn>> {
        self.passing_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The signals that this program was started with blocked.
    pub(crate) fn inherited(&self) -> &SigSet {
        &self.inherited
    }

    /// The number of the signal that came, if one did.
    pub(crate) fn received(&self) -> Option<u8> {
        Some(self.received.load(Ordering::SeqCst)).filter(|&number| number != 0)
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.received()).finish()
    }
}

/// Says something on standard error, if that can be done at once: a reader that doesn't read holds
/// nothing up.
fn say_last(text: &str) {
    use std::os::fd::AsFd;
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
        let _ = nix::unistd::write(stderr.as_fd(), text.as_bytes());
    }
}
