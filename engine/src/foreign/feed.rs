//! The bytes of a foreign file: in order with a window to look ahead in, or here and there.
//!
//! Both are looked into by offset, so that measuring a frame is the same on a pipe, where what was
//! looked at is kept until the frame is done with, and on a file, of which it reads only the
//! blocks' headers.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::ring::file::File;
use crate::ring::stream::PipeEnd;
use crate::ring::whole::read_full;

/// Bytes asked for at a time in order.
const STEP_BYTES: usize = 256 << 10;
/// Bytes asked for at a time here and there: a page.
const HOP_BYTES: usize = 4 << 10;

/// Bytes that can be looked at by their offset.
pub(super) trait Look {
    /// The bytes at `at`: `len` of them, or fewer where the file ends before.
    fn look(&mut self, at: u64, len: usize) -> Result<&[u8]>;
}

/// Where the bytes come from.
pub(super) enum Origin<'a> {
    /// A file, and its length when it was opened.
    File(Arc<dyn File>, u64),
    /// A pipe.
    Pipe(&'a PipeEnd),
}

/// The bytes in order. What is before the window was released and can't be looked at again, except
/// on a file, by going back.
pub(super) struct Feed<'a> {
    pub(super) origin: Origin<'a>,
    window: Vec<u8>,
    /// Bytes at the window's front that were released.
    released: usize,
    /// Offset of the first byte behind the window.
    end: u64,
    ended: bool,
}

impl<'a> Feed<'a> {
    pub(super) fn new(origin: Origin<'a>) -> Self {
        Self { origin, window: Vec::new(), released: 0, end: 0, ended: false }
    }

    fn start(&self) -> u64 {
        self.end - (self.window.len() - self.released) as u64
    }

    /// Gives up what is before `to`.
    pub(super) fn release(&mut self, to: u64) {
        assert!(self.start() <= to && to <= self.end, "only what is in the window is released");
        self.released += (to - self.start()) as usize;
        // Moved seldom enough that each byte is moved once at most, on the whole.
        if self.released > self.window.len() / 2 {
            self.window.drain(..self.released);
            self.released = 0;
        }
    }

    /// Releases up to `to`, which may be beyond the window; `false` where the file ends before.
    pub(super) fn skip(&mut self, to: u64) -> Result<bool> {
        if let Origin::File(_, len) = self.origin {
            if to > len {
                return Ok(false);
            }
            if to > self.end {
                self.go_to(to);
                return Ok(true);
            }
        }
        while self.end < to {
            self.release(self.end);
            if self.ahead(self.end)?.is_empty() {
                return Ok(false);
            }
        }
        self.release(to);
        Ok(true)
    }

    /// Goes to another place of a file.
    pub(super) fn go_to(&mut self, at: u64) {
        assert!(self.is_file(), "a pipe comes once");
        self.window.clear();
        (self.released, self.end, self.ended) = (0, at, false);
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.origin, Origin::File(..))
    }

    /// What the window has from `at` on; where it has nothing, what comes next. Empty at the end.
    pub(super) fn ahead(&mut self, at: u64) -> Result<&[u8]> {
        if at == self.end {
            self.read()?;
        }
        let from = self.released + (at - self.start()) as usize;
        Ok(&self.window[from..])
    }

    /// Reads one step more.
    fn read(&mut self) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let held = self.window.len();
        self.window.resize(held + STEP_BYTES, 0);
        let room = &mut self.window[held..];
        let got = match &self.origin {
            Origin::Pipe(pipe) => match pipe.read_full(room) {
                Ok(Some(got)) => Ok(got),
                Ok(None) => Err(Error::new(ErrorKind::Cancelled, "the job was cancelled")),
                Err(error) => Err(cannot_read(error, self.end)),
            },
            Origin::File(file, len) => {
                let most = usize::try_from(len - self.end).unwrap_or(usize::MAX).min(STEP_BYTES);
                read_at(&**file, &mut room[..most], self.end)
            }
        };
        let count = *got.as_ref().unwrap_or(&0);
        self.window.truncate(held + count);
        self.ended = got? < STEP_BYTES;
        self.end += count as u64;
        Ok(())
    }
}

impl Look for Feed<'_> {
    fn look(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let end = at.saturating_add(len as u64);
        while self.end < end && !self.ended {
            self.read()?;
        }
        let from = (at - self.start()).min((self.window.len() - self.released) as u64) as usize;
        let ahead = &self.window[self.released + from..];
        Ok(&ahead[..len.min(ahead.len())])
    }
}

/// A file's bytes here and there.
pub(super) struct Hop<'a> {
    file: &'a dyn File,
    len: u64,
    window: Vec<u8>,
    start: u64,
}

impl<'a> Hop<'a> {
    pub(super) fn new(file: &'a dyn File, len: u64) -> Self {
        Self { file, len, window: Vec::new(), start: 0 }
    }
}

impl Look for Hop<'_> {
    fn look(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let is_held = self.start <= at
            && at.saturating_add(len as u64) <= self.start + self.window.len() as u64;
        if !is_held {
            self.window.resize(HOP_BYTES.max(len).min(left), 0);
            let got = read_at(self.file, &mut self.window, at)?;
            self.window.truncate(got);
            self.start = at;
        }
        let from = (at - self.start) as usize;
        Ok(&self.window[from..(from + len).min(self.window.len())])
    }
}

/// Fills `bytes` from `offset` on.
pub(super) fn read_at(file: &dyn File, bytes: &mut [u8], offset: u64) -> Result<usize> {
    let filled = read_full(file, bytes, offset).map_err(|error| cannot_read(error, offset))?;
    if filled < bytes.len() {
        let error = Error::new(ErrorKind::InputChanged, "shrank while it was read");
        return Err(error.offset(offset + filled as u64));
    }
    Ok(filled)
}

fn cannot_read(error: std::io::Error, offset: u64) -> Error {
    Error::from_io(ErrorKind::Input, "cannot read", error).offset(offset)
}
