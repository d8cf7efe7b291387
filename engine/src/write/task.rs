//! What a core's thread does with the chunks that a program's threads give it: place, write, tell.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Sender;

use super::exchange::{Flush, Given, Made};
use super::shared::Inner;
use crate::buffer::{Buffer, Pool};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::ChunkRecord;
use crate::placement::{Extent, PlacedExtent};
use crate::ring::{Failure, FileSlot, OpKind, Span};
use crate::units::ExtentNumber;
use crate::worker::{Claim, Placing, Task};

/// A chunk that is written: what the recorder is told.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) placed: PlacedExtent,
    pub(super) record: ChunkRecord,
    pub(super) only_digest: Option<[u8; 32]>,
}

impl Written {
    /// What is to be told of a chunk once all of it was written.
    pub(super) fn of(made: &Made) -> Self {
        let placed = made.placed.expect("what was written had a place");
        let record = made.single.chunk.record(placed.offset());
        Self { placed, record, only_digest: made.single.only_digest }
    }
}

/// What comes over the channel.
#[derive(Debug)]
pub(super) enum Event {
    Written(Written),
    /// Everything that this core was given before the request is written.
    Flushed(Arc<Flush>),
}

/// The task.
#[derive(Debug)]
pub(super) struct GivenTask<'a> {
    inner: &'a Inner,
    /// Which core's exchange it serves.
    core: usize,
    events: Sender<Event>,
    /// What was claimed and is not written.
    outstanding: HashMap<ExtentNumber, Extent>,
    /// Requests, with what they still wait for.
    flushes: Vec<(Arc<Flush>, HashSet<ExtentNumber>)>,
}

impl<'a> GivenTask<'a> {
    pub(super) fn new(inner: &'a Inner, core: usize, events: Sender<Event>) -> Self {
        Self { inner, core, events, outstanding: HashMap::new(), flushes: Vec::new() }
    }

    fn send(&self, event: Event) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Cancelled, "the job was cancelled");
        self.events.send(event).map_err(gone)
    }

    /// Waits for all that has a place. What has none stands behind a gap, and no checkpoint of
    /// dense extents covers that.
    fn flush(&mut self, flush: Arc<Flush>) -> Result<()> {
        let has_place = |extent: &&Extent| self.inner.placement.place(**extent).is_some();
        let waits = self.outstanding.values().filter(has_place);
        let waits: HashSet<_> = waits.map(|extent| extent.number).collect();
        if waits.is_empty() {
            return self.send(Event::Flushed(flush));
        }
        self.flushes.push((flush, waits));
        Ok(())
    }

    fn settle(&mut self, number: ExtentNumber) -> Result<()> {
        self.outstanding.remove(&number);
        for (_, waits) in &mut self.flushes {
            waits.remove(&number);
        }
        while let Some(at) = self.flushes.iter().position(|(_, waits)| waits.is_empty()) {
            let (flush, _) = self.flushes.remove(at);
            self.send(Event::Flushed(flush))?;
        }
        Ok(())
    }
}

impl Task for GivenTask<'_> {
    type Unit = Made;

    fn lend(&mut self, free: &mut Pool) {
        let mut lent = false;
        while let Some(buffer) = free.lease() {
            let pushed = self.inner.cores[self.core].free.push(buffer);
            assert!(pushed.is_ok(), "there is a place for each buffer");
            lent = true;
        }
        if lent {
            self.inner.freed.advance();
        }
    }

    fn claim(&mut self) -> Result<Claim<Made>> {
        loop {
            // Looked at first: nothing is given once it is closed.
            let closed = self.inner.closed.load(SeqCst);
            match self.inner.cores[self.core].take() {
                Some(Given::Chunk(made, buffer)) => {
                    let extent = made.single.extent();
                    self.outstanding.insert(extent.number, extent);
                    return Ok(Claim::Made(made, buffer));
                }
                Some(Given::Flush(flush)) => self.flush(flush)?,
                None if closed => return Ok(Claim::Exhausted),
                None => return Ok(Claim::Later),
            }
        }
    }

    fn transform(&mut self, _: &mut Made, _: Option<&mut [u8]>, _: &mut [u8]) -> Result<()> {
        unreachable!("chunks are made by whoever gives them")
    }

    fn place(&mut self, made: &mut Made) -> Result<Placing> {
        let Some(placed) = self.inner.placement.place(made.single.extent()) else {
            return Ok(Placing::Later);
        };
        if !self.inner.gate.enter(placed.end()) {
            return Ok(Placing::Later);
        }
        made.placed = Some(placed);
        let span = Span::exact(placed.offset().0, 0, made.single.closed.write_len);
        Ok(Placing::Write(FileSlot(0), vec![span]))
    }

    fn hand_over(&mut self, _: Made, _: Buffer) -> Result<()> {
        unreachable!("everything is written")
    }

    fn reclaim(&mut self) -> Option<Buffer> {
        None
    }

    fn complete(&mut self, made: Made) -> Result<()> {
        self.inner.gate.leave();
        self.send(Event::Written(Written::of(&made)))?;
        self.settle(made.single.extent().number)
    }

    fn failed(&mut self, made: Made, _: OpKind, offset: u64, failure: Failure) -> Result<()> {
        let Failure::Os(error) = failure else { unreachable!("a write has no end of file") };
        // M1: noted here, since another failure may have been the first.
        if !matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) {
            self.inner.output_failed.store(true, SeqCst);
        }
        let error = Error::from_io(ErrorKind::Output, "cannot write", error);
        Err(error.sequence(made.single.chunk.sequence.0).offset(offset))
    }

    fn check(&self) -> Result<()> {
        self.inner.job.check()
    }
}
