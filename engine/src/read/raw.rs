//! A container's bytes before anything is known of them, and a source that is held to its word.
//!
//! What a [`ReadAt`] may do against its contract: say that it read more than there was room for,
//! end before the length that it named, be interrupted for ever, claim to have filled what it left
//! alone. The first three are errors here; the last is found by checksums, as any damage is.

use std::io;
use std::path::Path;

use super::read_at::ReadAt;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Fault, FormatError};
use crate::limits::RETRIES_MAX;

/// The bytes of a source, `len` of them.
pub(super) struct Raw<'a> {
    pub(super) source: &'a dyn ReadAt,
    pub(super) path: Option<&'a Path>,
    pub(super) len: u64,
    /// The last bytes of the source, as many as are held.
    pub(super) end: Vec<u8>,
}

impl Raw<'_> {
    /// Holds the last `len` bytes from now on, or all there are: reading in them asks no more.
    pub(super) fn hold_end(&mut self, len: u64) -> Result<()> {
        let from = self.len.saturating_sub(len);
        self.end = self.read(from, self.len - from)?;
        Ok(())
    }

    /// Where the bytes that are held start.
    pub(super) fn end_offset(&self) -> u64 {
        self.len - self.end.len() as u64
    }

    /// Fills `out` from `offset` on.
    pub(super) fn read_exact(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.within(offset, out.len() as u64)?;
        if let Some(at) = offset.checked_sub(self.end_offset()) {
            out.copy_from_slice(&self.end[at as usize..at as usize + out.len()]);
            return Ok(());
        }
        let (mut filled, mut interrupted) = (0, 0);
        while filled < out.len() {
            let at = offset + filled as u64;
            let room = &mut out[filled..];
            match self.source.read_at(room, at) {
                Ok(0) => {
                    let what = "the file shrank while it was read";
                    return Err(self.error(ErrorKind::InputChanged, what).offset(at));
                }
                Ok(got) if got > room.len() => {
                    let what = format!(
                        "{got} bytes are said to have been read where {} were asked for",
                        room.len()
                    );
                    return Err(self.error(ErrorKind::Input, what).offset(at));
                }
                Ok(got) => (filled, interrupted) = (filled + got, 0),
                Err(error)
                    if error.kind() == io::ErrorKind::Interrupted && interrupted < RETRIES_MAX =>
                {
                    interrupted += 1;
                }
                Err(error) => {
                    let error = Error::from_io(ErrorKind::Input, "cannot read", error);
                    return Err(self.named(error).offset(at));
                }
            }
        }
        Ok(())
    }

    /// The `len` bytes at `offset`.
    pub(super) fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        // V1: what is allocated is known to be in the file.
        self.within(offset, len)?;
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len as usize).is_err() {
            let what = format!("there is no memory for the {len} bytes of its index");
            return Err(self.error(ErrorKind::Input, what));
        }
        bytes.resize(len as usize, 0);
        self.read_exact(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn within(&self, offset: u64, len: u64) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            let what = "the file ends before what it is said to hold";
            return Err(self.error(ErrorKind::Damaged, what).offset(offset));
        }
        Ok(())
    }

    /// The error that a refusal of the format's is, found at `offset`.
    pub(super) fn refused(&self, error: FormatError, offset: u64) -> Error {
        let kind = match error.fault {
            Fault::Foreign => ErrorKind::NotAContainer,
            Fault::Unsupported => ErrorKind::Unsupported,
            Fault::Damaged => ErrorKind::Damaged,
        };
        let refused = self.error(kind, error.message);
        match error.fault {
            Fault::Foreign => refused,
            Fault::Unsupported => refused
                .hint("a newer ringpack reads it; so does zstd -d, which needs none of our frames"),
            Fault::Damaged => refused.offset(offset),
        }
    }

    /// An error that names the file, where it has a name.
    pub(super) fn error(
        &self,
        kind: ErrorKind,
        what: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Error {
        self.named(Error::new(kind, what))
    }

    fn named(&self, error: Error) -> Error {
        named(error, self.path)
    }
}

/// The error, naming the file where it has a name.
pub(super) fn named(error: Error, path: Option<&Path>) -> Error {
    match path {
        Some(path) => error.at(path),
        None => error,
    }
}
