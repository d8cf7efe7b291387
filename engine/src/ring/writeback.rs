//! Making a later write to a file show: its dirty pages are written out, and its clock has ticked.
//!
//! A job notices that its input was written to by the times that the kernel keeps of it. Two kinds
//! of write don't move them:
//!
//! 1. A store through a shared mapping, into a page that was dirty before the input was opened. The
//!    kernel notes the time only when a clean page is made dirty. Once the page is written out, it
//!    is clean, and the next store shows.
//! 2. A write within the same tick of the file system's clock as the one before. Git calls such
//!    files racily clean (Documentation/technical/racy-git.txt). Once the tick is over, the next
//!    write shows.
//!
//! A file system without writeback, such as tmpfs, never cleans a page, so the first kind can't be
//! noticed there.

#![allow(unsafe_code)] // One of the islands: no crate here wraps sync_file_range.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FileType, Stat, fstat};

use super::status::changed;
use crate::planted::{self, Bug};

/// Longest step of the clock that file systems with fractions of a second take their times from:
/// the kernel's own tick, of 1 to 10 ms, doubled.
const TICK: Duration = Duration::from_millis(20);
/// Longest step of those without: ext4 with inodes of 128 bytes has 1 s, FAT has 2 s.
const COARSE_TICK: Duration = Duration::from_secs(2);
/// How long to wait for a tick that nobody writes in.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What the kernel says of an open file, once any later write to it would change that. Waits until
/// the current tick of its clock is over, if the file was changed in it: 20 ms at most, or 2 s
/// where the file system keeps whole seconds.
///
/// # Errors
/// As `fstat`; `ResourceBusy` where somebody writes to the file in each tick.
pub fn settled(file: impl AsFd) -> io::Result<Stat> {
    let stat = fstat(&file)?;
    settled_after(file, stat)
}

/// As [`settled`], where `stat` is what the kernel has just said of it.
pub(super) fn settled_after(file: impl AsFd, mut stat: Stat) -> io::Result<Stat> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        write_out(&file);
        stat = fstat(&file)?;
    }
    let started = Instant::now();
    while let Some(rest) = rest_of_tick(changed(&stat), SystemTime::now()) {
        if planted::is(Bug::TickIgnored) {
            break;
        }
        if started.elapsed() > WAIT_MAX {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is being written to"));
        }
        thread::sleep(rest);
        let now = fstat(&file)?;
        let same = changed(&now) == changed(&stat);
        stat = now;
        if same {
            break;
        }
    }
    Ok(stat)
}

/// Time until a change would get another time than `changed`; `None` where it would by now.
///
/// A time in the future, by a clock that was set back or that is another machine's, says nothing of
/// the tick: one is waited for.
fn rest_of_tick(changed: SystemTime, now: SystemTime) -> Option<Duration> {
    let since_epoch = changed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let tick = if since_epoch.subsec_nanos() == 0 { COARSE_TICK } else { TICK };
    let age = now.duration_since(changed).unwrap_or_default();
    tick.checked_sub(age).filter(|rest| !rest.is_zero())
}

/// Writes dirty pages of a file to its medium, without the metadata and flushes of a sync. An error
/// is left to whoever reads: the pages are then as they were.
fn write_out(file: &impl AsFd) {
    if planted::is(Bug::DirtyPagesLeft) {
        return;
    }
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the call takes numbers only, and the descriptor is open while it is borrowed.
    let _ = unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), 0, 0, flags) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_tick_is_waited_for_to_its_end_and_no_longer() {
        let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let fine = second + Duration::from_nanos(1);
        let ms = Duration::from_millis;
        for (changed, age, rest) in [
            (second, ms(0), Some(ms(2000))),
            (second, ms(1999), Some(ms(1))),
            (second, ms(2000), None),
            (fine, ms(5), Some(ms(15))),
            (fine, ms(20), None),
            (fine, Duration::from_secs(1 << 30), None),
        ] {
            assert_eq!(rest_of_tick(changed, changed + age), rest, "{age:?}");
        }
        assert_eq!(rest_of_tick(fine + ms(1), fine), Some(TICK), "from the future");
    }

    /// Whatever the kernel's tick is, and however busy the machine: nothing is settled earlier than
    /// a tick after its last change, and a later write shows.
    #[test]
    fn it_is_settled_once_a_tick_is_over() {
        let mut file = tempfile::tempfile().unwrap();
        for _ in 0..10 {
            file.write_all(b"x").unwrap();
            let before = changed(&settled(&file).unwrap());
            // The clock that sleeps are measured by and the clock of times may differ by a little.
            let age = SystemTime::now().duration_since(before).unwrap() + Duration::from_millis(1);
            assert!(age >= TICK, "settled after {age:?}");
            file.write_all(b"y").unwrap();
            assert_ne!(changed(&fstat(&file).unwrap()), before);
        }
    }
}
