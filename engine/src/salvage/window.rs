//! A damaged file's bytes, read once in order, however far ahead a frame claims to reach.
//!
//! What the medium doesn't give back reads as zeros, which no frame can be made of by chance.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::ALIGN;
use crate::ring::file::File;
use crate::ring::whole::read_full;

/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The part of a file that is in memory.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a Arc<dyn File>,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
    unreadable: u64,
    cancel: &'a Cancel,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a Arc<dyn File>, len: u64, cancel: &'a Cancel) -> Self {
        Self { file, len, start: 0, bytes: Vec::new(), unreadable: 0, cancel }
    }

    /// Length of the file.
    pub(super) fn file_len(&self) -> u64 {
        self.len
    }

    /// Bytes that the medium didn't give back.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// The `len` bytes at `offset`; fewer where the file ends before.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let offset = offset.min(self.len);
        let end = self.len.min(offset.saturating_add(len as u64));
        let held_end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset > held_end {
            self.bytes.clear();
            self.start = offset;
        }
        if end > self.start + self.bytes.len() as u64 {
            // Half of what is held at least is let go at once, so each byte is moved about once.
            let passed = (offset - self.start) as usize;
            if passed >= PIECE_BYTES && passed >= self.bytes.len() / 2 {
                self.bytes.drain(..passed);
                self.start = offset;
            }
            let from = self.start + self.bytes.len() as u64;
            let to = self.len.min(end.max(from + PIECE_BYTES as u64));
            self.read(from, (to - from) as usize)?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + (end - offset) as usize])
    }

    /// The bytes in memory from `offset` on, at least one unless the file ends there.
    pub(super) fn ahead(&mut self, offset: u64) -> Result<&[u8]> {
        self.get(offset, 1)?;
        let from = (offset.min(self.len) - self.start) as usize;
        Ok(&self.bytes[from..])
    }

    /// The bytes at `offset`, wherever that is, without moving the window; none where the file ends
    /// before them, or the medium doesn't give them back.
    pub(super) fn peek<const N: usize>(&mut self, offset: u64) -> Result<Option<[u8; N]>> {
        let end = offset.saturating_add(N as u64);
        if end > self.len {
            return Ok(None);
        }
        if offset >= self.start && end <= self.start + self.bytes.len() as u64 {
            let from = (offset - self.start) as usize;
            return Ok(self.bytes[from..].first_chunk().copied());
        }
        let mut bytes = [0; N];
        match read_full(self.file.as_ref(), &mut bytes, offset) {
            Ok(read) => Ok((read == N).then_some(bytes)),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(None),
            Err(error) => Err(failed(error, offset)),
        }
    }

    /// Where the next byte at or after `offset` is that isn't in a hole.
    pub(super) fn next_data(&self, offset: u64) -> u64 {
        match self.file.next_data(offset) {
            Ok(Some((start, _))) => start.max(offset).min(self.len),
            Ok(None) => self.len,
            Err(_) => offset,
        }
    }

    fn read(&mut self, from: u64, count: usize) -> Result<()> {
        if self.cancel.is_cancelled() || self.cancel.is_suspended() {
            return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        }
        let at = self.bytes.len();
        self.bytes.resize(at + count, 0);
        let room = &mut self.bytes[at..];
        let read = match read_full(self.file.as_ref(), room, from) {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                self.unreadable += read_what_can_be(self.file.as_ref(), room, from)?;
                return Ok(());
            }
            read => read.map_err(|error| failed(error, from))?,
        };
        if read < count {
            let what = "the file shrank while it was read";
            return Err(Error::new(ErrorKind::InputChanged, what).offset(from + read as u64));
        }
        Ok(())
    }
}

/// Reads page by page; gives the number of bytes that can't be, which are zeros.
fn read_what_can_be(file: &dyn File, room: &mut [u8], from: u64) -> Result<u64> {
    let mut unreadable = 0;
    let mut at = 0;
    while at < room.len() {
        let offset = from + at as u64;
        let to_grid = ALIGN - (offset % ALIGN as u64) as usize;
        let step = to_grid.min(room.len() - at);
        let page = &mut room[at..at + step];
        match read_full(file, page, offset) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                page.fill(0);
                unreadable += step as u64;
            }
            Err(error) => return Err(failed(error, offset)),
        }
        at += step;
    }
    Ok(unreadable)
}

fn failed(error: std::io::Error, offset: u64) -> Error {
    Error::from_io(ErrorKind::Input, "cannot read", error).offset(offset)
}
