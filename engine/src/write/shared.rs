//! What a program's threads, the cores and the recorder of one writer share.

use std::sync::atomic::Ordering::{self, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use super::claims::Claims;
use super::exchange::{Core, Given, Made};
#[cfg(feature = "tokio-uring")]
use crate::buffer::AlignedMemory;
use crate::buffer::Buffer;
use crate::commit::Gate;
use crate::encode::Single;
use crate::error::{Error, ErrorKind, Result};
use crate::eventcount::EventCount;
use crate::format::header::PlacementKind;
use crate::format::recipe::Recipe;
use crate::pipeline::Shared;
use crate::placement::Placement;
use crate::ring::file::Attributes;
use crate::units::ExtentNumber;

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
    pub(super) recipe: Recipe,
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
        self.claim(sequence, bytes)?;
        let (core, mut buffer) = self.lease()?;
        let made = self.make(sequence, bytes, &mut buffer)?;
        self.cores[core].give(Given::Chunk(made, buffer));
        self.job.event().advance();
        Ok(())
    }

    /// As [`Self::write_chunk`] up to the frame, in a buffer that the caller has.
    #[cfg(feature = "tokio-uring")]
    pub(super) fn make_given(
        &self,
        sequence: u64,
        bytes: &[u8],
        buffer: &mut AlignedMemory,
    ) -> Result<Made> {
        self.claim(sequence, bytes)?;
        self.make(sequence, bytes, buffer)
    }

    /// Takes note that a chunk is given, once it may be.
    fn claim(&self, sequence: u64, bytes: &[u8]) -> Result<()> {
        self.job.first_error()?;
        self.admit(sequence)?;
        // A refused claim may be just what someone waits for in vain.
        let claimed = self.claims.give(sequence, bytes.len() as u64);
        claimed.inspect_err(|_| self.freed.advance())
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
        if self.recipe.geometry.placement == PlacementKind::Slots {
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

    /// Makes the frame of a claimed chunk, whose length is then known.
    fn make(&self, sequence: u64, bytes: &[u8], buffer: &mut [u8]) -> Result<Made> {
        let single = Single::make(&self.recipe, sequence, bytes, buffer);
        // The chunk counts as given and will never come.
        let single = single.inspect_err(|error| self.job.fail(error.again()))?;
        if self.placement.publish(single.extent()) {
            // Someone may wait for the window to move on.
            self.freed.advance();
        }
        Ok(Made { single, placed: None })
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
