//! Adopting what a checkpoint covers: every frame is read back and held against its checksum.
//!
//! The checkpoint says what is on the medium; this is the proof, at the speed of the device. Where
//! a frame is not as it was written, everything from its extent on is written anew: what stands
//! before it stays.
//!
//! # Invariants
//! - J7: an extent is adopted only if it and all before it were read back as they were written.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use super::known::Known;
use crate::buffer::Buffer;
use crate::checksum::{self, crc32c};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::opens_pad;
use crate::format::record::ChunkRecord;
use crate::journal::Checkpoint;
use crate::pipeline::Shared;
use crate::planted::{self, Bug};
use crate::ring::{Failure, FileSlot, OpKind, Span};
use crate::units::{FileOffset, Sequence};
use crate::worker::{Claim, Input, Placing, Task};

/// What all workers of the check share.
#[derive(Debug)]
pub(super) struct AdoptWork<'a> {
    known: &'a Known,
    next: AtomicU64,
    /// The first extent that isn't as it was written.
    first_bad: AtomicU64,
    /// Why, for people.
    why: Mutex<Option<(u64, String)>>,
}

impl<'a> AdoptWork<'a> {
    pub(super) fn new(known: &'a Known) -> Self {
        let (next, first_bad) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { known, next, first_bad, why: Mutex::new(None) }
    }

    /// What can be adopted, and what a person should know if that is not all.
    pub(super) fn outcome(&self) -> Result<(Checkpoint, Option<String>)> {
        let covered = self.known.covered();
        let first_bad = self.first_bad.load(Ordering::SeqCst);
        if first_bad >= covered.extents {
            return Ok((covered, None));
        }
        // J7: cut before the first that isn't.
        let adopted = self.known.cut(first_bad)?;
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).take();
        let why = why.map_or_else(String::new, |(chunk, why)| format!("chunk {chunk} {why}: "));
        let (was, is) = (covered.bytes, adopted.bytes);
        let warning = format!(
            "{why}of {was} bytes that a checkpoint covered, the last {} are written anew",
            was - is
        );
        Ok((adopted, Some(warning)))
    }

    fn refuse(&self, extent: u64, chunk: u64, why: &str) {
        self.first_bad.fetch_min(extent, Ordering::SeqCst);
        let mut kept = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(first, _)| chunk < *first) {
            *kept = Some((chunk, why.to_owned()));
        }
    }
}

/// The task: nothing is made, and nothing written.
#[derive(Debug)]
pub(super) struct AdoptTask<'a> {
    work: &'a AdoptWork<'a>,
    shared: &'a Shared,
    /// Held, so that the coordinator waits for the task.
    _alive: Sender<()>,
}

impl<'a> AdoptTask<'a> {
    pub(super) fn new(work: &'a AdoptWork<'a>, shared: &'a Shared, alive: Sender<()>) -> Self {
        Self { work, shared, _alive: alive }
    }
}

/// An extent to check.
#[derive(Debug)]
pub(super) struct Unit {
    number: u64,
    records: Vec<ChunkRecord>,
    /// Where it starts in the container.
    start: u64,
    /// Bytes it takes there.
    len: u64,
}

impl Task for AdoptTask<'_> {
    type Unit = Unit;

    fn claim(&mut self) -> Result<Claim<Unit>> {
        let known = self.work.known;
        let number = self.work.next.fetch_add(1, Ordering::Relaxed);
        let bad = self.work.first_bad.load(Ordering::Relaxed);
        if number >= known.covered().extents.min(bad) {
            return Ok(Claim::Exhausted);
        }
        let records = known.extent(number)?.chunks;
        let last = records.last().expect("an extent has at least one chunk").entry;
        let start = known.start(number)?;
        let len = known.start(number + 1)? - start;
        let frames_len = last.offset + u64::from(last.frame_len) - start;
        let written = known.geometry().written_len(frames_len, len);
        let span = Span::exact(start, 0, written as usize);
        let unit = Unit { number, records, start, len };
        Ok(Claim::Unit(unit, Input::Read(FileSlot(0), vec![span])))
    }

    fn transform(
        &mut self,
        unit: &mut Unit,
        input: Option<&mut [u8]>,
        _output: &mut [u8],
    ) -> Result<()> {
        if planted::is(Bug::NotReadBack) {
            return Ok(());
        }
        let input = input.expect("an extent is read");
        let geometry = self.work.known.geometry();
        let first_chunk = unit.number * u64::from(geometry.extent_chunks);
        let mut frames_len = 0;
        for (sequence, record) in (first_chunk..).zip(&unit.records) {
            self.shared.check()?;
            let entry = record.entry;
            let at = (entry.offset - unit.start) as usize;
            frames_len = at + entry.frame_len as usize;
            let frame = &input[at..frames_len];
            let (number, place) = (Sequence(sequence), FileOffset(entry.offset));
            if checksum::frame(number, place, crc32c(frame), frame.len()) != entry.frame_crc32c {
                self.work.refuse(unit.number, sequence, "is not as it was written");
                return Ok(());
            }
        }
        let pad_len = unit.len - frames_len as u64;
        let written = geometry.written_len(frames_len as u64, unit.len) as usize;
        if pad_len > 0 && !opens_pad(&input[frames_len..written], pad_len) {
            let last = first_chunk + unit.records.len() as u64 - 1;
            self.work.refuse(unit.number, last, "is not padded as it was");
        }
        Ok(())
    }

    fn place(&mut self, _: &mut Unit) -> Result<Placing> {
        Ok(Placing::Nothing)
    }

    fn hand_over(&mut self, _: Unit, _: Buffer) -> Result<()> {
        unreachable!("nothing is handed over")
    }

    fn reclaim(&mut self) -> Option<Buffer> {
        None
    }

    fn complete(&mut self, _: Unit) -> Result<()> {
        Ok(())
    }

    fn failed(&mut self, unit: Unit, _: OpKind, offset: u64, failure: Failure) -> Result<()> {
        let chunk = unit.number * u64::from(self.work.known.geometry().extent_chunks);
        match failure {
            Failure::EndOfFile => {
                self.work.refuse(unit.number, chunk, "is missing from the partial file");
                Ok(())
            }
            // It may well be there: what can't be read now is not to be given up.
            Failure::Os(error) => {
                let what = "cannot read back what was packed already";
                let error = Error::from_io(ErrorKind::Output, what, error);
                let hint = "check the device and resume again, or pack it anew";
                Err(error.sequence(chunk).offset(offset).hint(hint))
            }
        }
    }

    fn check(&self) -> Result<()> {
        self.shared.check()
    }
}
