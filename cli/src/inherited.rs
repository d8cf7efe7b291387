//! What the program was started with, looked at before anything can change it.
//!
//! Rust's runtime opens `/dev/null` in the place of a standard stream that is closed, so that no
//! other file gets its number. From then on a closed stream can't be told from `/dev/null`: input
//! would be empty, and output would vanish with exit code 0. Many parents open `/dev/null` the same
//! way on purpose, so its access mode says nothing either. Signals that were ignored at the start
//! are named by `/proc` alone, which isn't mounted everywhere.
//!
//! So a function in `.init_array` looks first. The loader calls it before `main`, in which the
//! runtime starts, and before any thread does.
//!
//! # Invariants
//! - CS1: a standard stream that was closed when the program started is never read nor written.

#![allow(unsafe_code)] // An island: no safe interface looks at a descriptor that may be closed.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use nix::sys::signal::Signal;
use ringpack::planted::{self, Bug};

/// A standard stream that carries data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    Input = 0,
    Output = 1,
}

/// A bit for each standard stream that was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);
/// A bit for each signal that was ignored, from the lowest.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// Whether a standard stream was closed when the program started.
pub(crate) fn is_closed(stream: Stream) -> bool {
    CLOSED.load(Relaxed) & (1 << stream as u8) != 0 && !planted::is(Bug::ClosedStreamsTrusted)
}

/// Whether a signal was ignored when the program started, as under `nohup`.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    IGNORED.load(Relaxed) & (1 << (signal as i32 - 1)) != 0
}

#[used]
// SAFETY: the section holds functions for the loader to call, with the C calling convention, and
// `look` is one. It takes no arguments, which that convention lets a callee ignore.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Looks at the streams and signals. It runs before the runtime, so it uses nothing of it: two
/// system calls and two atomics.
extern "C" fn look() {
    for stream in [Stream::Input, Stream::Output] {
        // SAFETY: F_GETFD reads a flag of a number, and reports a number that is no descriptor.
        if unsafe { libc::fcntl(stream as i32, libc::F_GETFD) } == -1 {
            CLOSED.fetch_or(1 << stream as u8, Relaxed);
        }
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1] {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: without a new action nothing is changed, and the current one is written to memory
        // of its type, which is read only where the call says that it did so.
        let handler = unsafe {
            match libc::sigaction(signal as i32, ptr::null(), action.as_mut_ptr()) {
                0 => action.assume_init().sa_sigaction,
                _ => libc::SIG_DFL,
            }
        };
        if handler == libc::SIG_IGN {
            IGNORED.fetch_or(1 << (signal as i32 - 1), Relaxed);
        }
    }
}
