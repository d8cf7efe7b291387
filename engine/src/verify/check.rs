//! What is compared of a chunk, and the damages that are found: the same for every way of reading.

use super::DAMAGES_MAX;
use crate::codec::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{content_checksum, is_pad};
use crate::read::Container;

/// Compares chunks of a container with what its index and its seek table state.
#[derive(Debug)]
pub(super) struct Check<'a> {
    container: &'a Container,
    /// Whether chunks are decoded too.
    decode: bool,
    decoder: Option<Decoder>,
}

impl<'a> Check<'a> {
    pub(super) fn new(container: &'a Container, decode: bool) -> Self {
        Self { container, decode, decoder: None }
    }

    /// Checks `bytes`, the chunk's frame and, in a slot, the pad after it. `scratch` has room for
    /// the chunk where chunks are decoded.
    ///
    /// # Errors
    /// `Damaged`, naming the chunk, and where libzstd can't allocate a decoder.
    pub(super) fn chunk(&mut self, sequence: u64, bytes: &[u8], scratch: &mut [u8]) -> Result<()> {
        let container = self.container;
        let entry = container.index().entries[sequence as usize];
        let (frame, pad) = bytes.split_at(entry.frame_len as usize);
        container.check_frame(sequence, frame)?;
        let stated = container.table_checksum(sequence);
        if stated.is_some() && content_checksum(frame) != stated {
            let what = "the seek table states another checksum than the frame";
            return Err(container.damaged(sequence, what));
        }
        if !is_pad(pad) {
            return Err(container.damaged(sequence, "the pad after the frame isn't as written"));
        }
        if self.decode {
            if self.decoder.is_none() {
                self.decoder = Some(Decoder::new()?);
            }
            let decoder = self.decoder.as_mut().expect("set above");
            let chunk = &mut scratch[..entry.raw_len as usize];
            container.decode(decoder, sequence, frame, chunk)?;
        }
        Ok(())
    }
}

/// The damages found so far.
#[derive(Debug, Default)]
pub(super) struct Damages {
    found: Vec<Error>,
    pub(super) count: u64,
}

impl Damages {
    pub(super) fn note(&mut self, damage: Error) {
        self.count += 1;
        if self.found.len() < DAMAGES_MAX {
            self.found.push(damage);
        }
    }

    /// Notes what `result` says is damaged. Of any other error it is given back.
    pub(super) fn of(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Err(damage) if damage.kind() == ErrorKind::Damaged => {
                self.note(damage);
                Ok(())
            }
            result => result,
        }
    }

    /// The damages in order of their chunks; last those of what isn't content.
    pub(super) fn sorted(mut self) -> Vec<Error> {
        self.found.sort_by_key(|damage| damage.chunk().unwrap_or(u64::MAX));
        self.found
    }
}
