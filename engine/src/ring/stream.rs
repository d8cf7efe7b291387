//! Pipes: bytes that come or go once, in order.
//!
//! A pipe can block for hours (a producer that thinks, a consumer that waits), so reading and
//! writing sleep in `poll` on the pipe and on an event that cancelling the job sets.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::cancel::{Cancel, Registration};

/// Capacity to ask for, in bytes: the most an unprivileged process gets by default
/// (`/proc/sys/fs/pipe-max-size`).
const PIPE_BYTES: i32 = 1 << 20;

/// Bytes that are read at once at least, however little memory there is.
const PIECE_MIN: usize = 4096;

/// One end of a pipe, or of anything else that is read or written in order.
#[derive(Debug)]
pub struct PipeEnd {
    file: fs::File,
    cancelled: Arc<EventFd>,
    /// Most bytes to write at once without being blocked after `poll` said that there is room.
    write_max: usize,
    _registration: Registration,
}

impl PipeEnd {
    /// Takes an open descriptor.
    ///
    /// # Errors
    /// Where no event can be made.
    pub fn new(file: fs::File, cancel: &Cancel) -> io::Result<Self> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)?;
        let cancelled = Arc::new(event);
        let wake = Arc::clone(&cancelled);
        let registration = cancel.on_cancel(move || {
            // Fails only where the counter is full, and then the event is set.
            let _ = wake.write(1);
        });
        // Anything but a pipe refuses, and does without.
        let _ = fcntl(&file, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        // A regular file doesn't block; anything else has room for this much when `poll` says so
        // (POSIX has pipes take PIPE_BUF bytes whole).
        let write_max = if file.metadata()?.is_file() { usize::MAX } else { libc::PIPE_BUF };
        Ok(Self { file, cancelled, write_max, _registration: registration })
    }

    /// Takes an open descriptor to write to. A pipe is opened anew, so that it can be set not to
    /// block without doing the same to whoever else has it open.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_writing(file: fs::File, cancel: &Cancel) -> io::Result<Self> {
        if !file.metadata()?.file_type().is_fifo() {
            return Self::new(file, cancel);
        }
        let own_path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let own = fs::OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(own_path);
        match own {
            Ok(own) => Ok(Self { write_max: usize::MAX, ..Self::new(own, cancel)? }),
            // Without /proc, in small pieces.
            Err(_) => Self::new(file, cancel),
        }
    }

    /// Opens a FIFO or character device for reading. It is opened without blocking: reading waits
    /// for a writer, and can be cancelled meanwhile, which opening can't.
    ///
    /// # Errors
    /// As `open`.
    pub fn open(path: &Path, cancel: &Cancel) -> io::Result<Self> {
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)?;
        Self::new(file, cancel)
    }

    /// Fills `bytes` as far as the stream goes; less than all of them is its end. `None` where the
    /// job was cancelled meanwhile.
    ///
    /// # Errors
    /// As `read`.
    pub fn read_full(&self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        let mut filled = 0;
        let mut piece = bytes.len();
        while filled < bytes.len() {
            if !self.ready(PollFlags::POLLIN)? {
                return Ok(None);
            }
            let end = bytes.len().min(filled + piece);
            match (&self.file).read(&mut bytes[filled..end]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                // Files of /proc/sys are given memory of the kernel's own for all that is asked.
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && piece > PIECE_MIN => {
                    piece = (piece / 2).max(PIECE_MIN);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(filled))
    }

    /// Writes all of `bytes`; `false` where the job was cancelled meanwhile.
    ///
    /// # Errors
    /// As `write`.
    pub fn write_full(&self, bytes: &[u8]) -> io::Result<bool> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !self.ready(PollFlags::POLLOUT)? {
                return Ok(false);
            }
            match (&self.file).write(&rest[..rest.len().min(self.write_max)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes a few bytes if there is room for them, whether or not the job was cancelled; `false`
    /// where there is none.
    ///
    /// # Errors
    /// As `write`.
    pub fn write_at_once(&self, bytes: &[u8]) -> io::Result<bool> {
        assert!(bytes.len() <= libc::PIPE_BUF, "what a pipe takes whole");
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut fds, PollTimeout::ZERO)? == 0 {
            return Ok(false);
        }
        Ok((&self.file).write(bytes)? == bytes.len())
    }

    /// Sleeps until the descriptor can be used; `false` where the job was cancelled.
    fn ready(&self, events: PollFlags) -> io::Result<bool> {
        loop {
            let mut fds = [
                PollFd::new(self.file.as_fd(), events),
                PollFd::new(self.cancelled.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {
                    let cancelled = fds[1].revents().is_some_and(|events| !events.is_empty());
                    return Ok(!cancelled);
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether to try again after sleeping once more.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    fn pipe() -> (fs::File, fs::File) {
        let (read, write) = io::pipe().unwrap();
        (OwnedFd::from(read).into(), OwnedFd::from(write).into())
    }

    #[test]
    fn bytes_arrive_whole_and_the_end_is_told() {
        let (read, write) = pipe();
        let cancel = Cancel::new();
        let reader = PipeEnd::new(read, &cancel).unwrap();
        let writer = PipeEnd::for_writing(write, &cancel).unwrap();
        let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i / 3) as u8).collect();
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                let writer = writer;
                assert!(writer.write_full(&sent).unwrap());
            });
            let mut got = vec![0; 4_000_000];
            let len = reader.read_full(&mut got).unwrap().unwrap();
            got.truncate(len);
            got
        });
        assert!(got == sent);
    }

    #[test]
    fn a_cancelled_job_wakes_who_is_blocked() {
        let (read, write) = pipe();
        let cancel = Cancel::new();
        let reader = PipeEnd::new(read, &cancel).unwrap();
        let writer = PipeEnd::for_writing(write, &cancel).unwrap();
        std::thread::scope(|scope| {
            // More than the pipe holds, so the writer is blocked by the time the reader got a byte
            // of its end, or about to be.
            let blocked_writer = scope.spawn(|| writer.write_full(&vec![0; 8 << 20]));
            assert_eq!(reader.read_full(&mut vec![0; 1 << 20]).unwrap(), Some(1 << 20));
            cancel.cancel();
            assert!(!blocked_writer.join().unwrap().unwrap());
        });
        assert_eq!(reader.read_full(&mut [0; 16]).unwrap(), None);
    }

    #[test]
    fn last_words_are_written_if_there_is_room() {
        let (read, write) = pipe();
        let cancel = Cancel::new();
        let writer = PipeEnd::for_writing(write, &cancel).unwrap();
        cancel.cancel();
        assert!(!writer.write_full(b"torn").unwrap());
        assert!(writer.write_at_once(b"torn").unwrap());
        let mut found = [0; 8];
        assert_eq!((&read).read(&mut found).unwrap(), 4);
        assert_eq!(&found[..4], b"torn");
        while writer.write_at_once(&[0; libc::PIPE_BUF]).unwrap() {}
        assert!(!writer.write_at_once(b"torn").unwrap(), "a full pipe isn't waited for");
    }

    #[test]
    fn a_socket_can_be_cancelled_too() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let cancel = Cancel::new();
        let writer = PipeEnd::for_writing(OwnedFd::from(ours).into(), &cancel).unwrap();
        std::thread::scope(|scope| {
            let blocked = scope.spawn(|| writer.write_full(&vec![0; 8 << 20]));
            cancel.cancel();
            assert!(!blocked.join().unwrap().unwrap());
        });
    }

    #[test]
    fn a_closed_pipe_is_an_error() {
        let (read, write) = pipe();
        drop(read);
        let writer = PipeEnd::for_writing(write, &Cancel::new()).unwrap();
        let error = writer.write_full(&[1]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    }
}
