//! The chunk that a reader holds, verified, and what it takes to get another.

use super::Container;
use crate::codec::Decoder;
use crate::error::Result;
use crate::progress::{Progress, Stage};

/// One chunk of one container, and a decoder.
#[derive(Debug)]
pub(crate) struct Held {
    decoder: Decoder,
    frame: Vec<u8>,
    chunk: Vec<u8>,
    sequence: Option<u64>,
    /// Whom reading and decoding are told of.
    pub(super) progress: Progress,
}

impl Held {
    pub(crate) fn new() -> Result<Self> {
        let decoder = Decoder::new()?;
        let (frame, chunk, progress) = (Vec::new(), Vec::new(), Progress::default());
        Ok(Self { decoder, frame, chunk, sequence: None, progress })
    }

    /// The content of chunk `sequence`, if it is what is held.
    pub(crate) fn get(&self, sequence: u64) -> Option<&[u8]> {
        (self.sequence == Some(sequence)).then_some(&self.chunk)
    }

    /// The content of chunk `sequence`, which the container has, read unless it is held. The
    /// container must be the same from call to call.
    pub(crate) fn chunk(&mut self, container: &Container, sequence: u64) -> Result<&[u8]> {
        if self.get(sequence).is_none() {
            // V2: nothing is held while the bytes aren't those of a verified chunk.
            self.sequence = None;
            let entry = &container.index.entries[sequence as usize];
            // V1: both lengths were bounded by the layout when the index was checked.
            self.frame.resize(entry.frame_len as usize, 0);
            self.chunk.resize(entry.raw_len as usize, 0);
            self.progress
                .timed(Stage::Read, || container.raw().read_exact(entry.offset, &mut self.frame))?;
            self.progress.timed(Stage::Work, || {
                container.check_frame(sequence, &self.frame)?;
                container.decode(&mut self.decoder, sequence, &self.frame, &mut self.chunk)
            })?;
            self.sequence = Some(sequence);
        }
        Ok(&self.chunk)
    }
}
