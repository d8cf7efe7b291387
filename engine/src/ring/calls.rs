//! Operations by pread and pwrite, on the calling thread.
//!
//! They serve where there is no ring, for the files that a ring must not be given
//! ([`File::suits_ring`]), and for what the kernel cancels because it can start no thread for it.

use std::io;

use super::Files;
use super::inflight::{Answer, InFlight, Request};
use super::op::{Completed, OpKind};
use crate::stats::RingCounters;

/// Carries an operation of the table out, call after call, until it is done. After an error,
/// `request` is what is still to be asked.
///
/// # Errors
/// Where direct I/O can't be turned off for a file that refuses it. An operation's own failure is
/// in its [`Completed`].
pub(super) fn carry_out(
    table: &mut InFlight,
    files: &Files,
    request: &mut Request,
    counters: &mut RingCounters,
) -> io::Result<Completed> {
    loop {
        let file = &files[usize::from(request.file.0)];
        let bytes = &mut table.buffer_mut(request.token)[request.at..request.at + request.len];
        counters.enters += 1;
        let moved = match request.kind {
            OpKind::Read => file.read_at(bytes, request.offset),
            OpKind::Write => file.write_at(bytes, request.offset),
        };
        let moved = moved.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO));
        match table.answer(request.token, moved, || file.is_direct()) {
            Answer::Done(completed) => return Ok(completed),
            Answer::Again(again) | Answer::Directly(again) => *request = again,
            Answer::LeaveDirect(again) => {
                *request = again;
                file.leave_direct()?;
            }
        }
    }
}
