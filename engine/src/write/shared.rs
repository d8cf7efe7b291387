//! What a program's threads, the cores and the recorder of one writer share.

use std::sync::atomic::Ordering::{self, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use super::claims::Claims;
use super::exchange::{Core, Given, Made};
use crate::buffer::Buffer;
use crate::codec::{Codec, Encoder};
use crate::commit::Gate;
use crate::encode::{EncodedChunk, chaining_values, close};
use crate::error::{Error, ErrorKind, Result};
use crate::eventcount::EventCount;
use crate::format::header::PlacementKind;
use crate::format::layout::Geometry;
use crate::pipeline::Shared;
use crate::placement::Placement;
use crate::ring::file::Attributes;
use crate::units::{ExtentNumber, Sequence};

/// How a writer ends, if it isn't aborted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Published, with these attributes or those that any new file has.
    Finalize(Option<Attributes>),
    /// Left with its last checkpoint.
    Suspend,
}

/// The state of a writer.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) geometry: Geometry,
    pub(super) codec: Codec,
    pub(super) blake3: bool,
    pub(super) window: u64,
    pub(super) claims: Claims,
    pub(super) placement: Placement,
    /// A chunk that has a place, as all before it have.
    pub(super) placed: AtomicU64,
    pub(super) gate: Gate,
    pub(super) cores: Box<[Core]>,
    /// Advances when a buffer is free.
    pub(super) freed: Arc<EventCount>,
    pub(super) job: Arc<Shared>,
    /// Nothing is given any more.
    pub(super) closed: AtomicBool,
    /// Whether a write failed for another reason than want of space.
    pub(super) output_failed: AtomicBool,
    pub(super) ending: Mutex<Option<Ending>>,
}

impl Inner {
    /// Encodes a chunk on the calling thread, and hands it to a core.
    ///
    /// # Errors
    /// `Sequence` for a chunk that can't be given, and what made the writer fail.
    pub(super) fn write_chunk(&self, sequence: u64, bytes: &[u8]) -> Result<()> {
        self.job.first_error()?;
        self.admit(sequence)?;
        // A refused claim may be just what someone waits for in vain.
        let claimed = self.claims.give(sequence, bytes.len() as u64);
        claimed.inspect_err(|_| self.freed.advance())?;
        let (core, mut buffer) = self.lease()?;
        let made = self.make(sequence, bytes, &mut buffer).map_err(|error| {
            // The chunk counts as given and will never come.
            self.job.fail(error.again());
            error
        })?;
        if self.placement.publish(made.extent()) {
            // Someone may wait for the window to move on.
            self.freed.advance();
        }
        self.cores[core].give(Given::Chunk(made, buffer));
        self.job.event().advance();
        Ok(())
    }

    /// Waits until a chunk lies in the window of dense placement.
    ///
    /// Buffers are as many as the window is wide, so whoever gives the first chunk without a length
    /// finds one: the others that wait for it hold one less at most.
    fn admit(&self, sequence: u64) -> Result<()> {
        loop {
            let seen = self.freed.seen();
            let first = self.first_without_length();
            if sequence < first.saturating_add(self.window) {
                return Ok(());
            }
            if !self.claims.is_given(first) {
                let window = self.window;
                let what = format!(
                    "can't be given before chunk {first} is: dense placement waits with at most \
                     {window} chunks"
                );
                return Err(Error::new(ErrorKind::Sequence, what)
                    .sequence(sequence)
                    .hint("give that one first, widen the window, or use slots"));
            }
            // It is being encoded.
            self.job.first_error()?;
            self.freed.wait(seen);
        }
    }

    /// The first chunk whose length isn't known; with slots, none needs to be.
    fn first_without_length(&self) -> u64 {
        if self.geometry.placement == PlacementKind::Slots {
            return 0;
        }
        let mut first = self.placed.load(SeqCst);
        while self.placement.is_placed(ExtentNumber(first + 1)) {
            first += 1;
        }
        self.placed.fetch_max(first, SeqCst);
        first
    }

    /// A free buffer and the core that it belongs to: the calling thread's own if it has one.
    fn lease(&self) -> Result<(usize, Buffer)> {
        loop {
            let seen = self.freed.seen();
            self.job.first_error()?;
            let (count, home) = (self.cores.len(), home());
            let free = (0..count).map(|step| (home + step) % count).find_map(|core| {
                let buffer = self.cores[core].free.pop()?;
                Some((core, buffer))
            });
            if let Some(found) = free {
                return Ok(found);
            }
            self.freed.wait(seen);
        }
    }

    fn make(&self, sequence: u64, bytes: &[u8], buffer: &mut Buffer) -> Result<Made> {
        let (kind, level) = self.codec.kind_and_level();
        let frame = Encoder::new(kind, level).encode(bytes, buffer)?;
        let (mut chaining, mut only_digest) = ([0; 32], None);
        if self.blake3 {
            let start = sequence * self.geometry.chunk_len();
            (chaining, only_digest) = chaining_values(bytes, start, sequence == 0);
        }
        let chunk = EncodedChunk { sequence: Sequence(sequence), frame, at: 0, chaining };
        let closed = close(&self.geometry, frame.len, buffer);
        Ok(Made { chunk, closed, only_digest, placed: None })
    }
}

/// A number that the calling thread keeps, so that its chunks go to one core as long as that has
/// buffers.
fn home() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static HOME: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    HOME.with(|home| *home)
}
