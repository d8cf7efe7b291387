//! Adopting what a checkpoint covers: every frame is read back, decoded, and held against its
//! checksums.
//!
//! The checkpoint says what is on the medium; this is the proof. The page cache may show what a
//! failed write has kept from the medium, so it is dropped first. Where a frame is not as it was
//! written, everything from its extent on is written anew, and what stands before it stays; where
//! extents are covered in any order, it alone is.
//!
//! # Invariants
//! - J7: an extent is adopted only if it was read back as it was written, and so was, unless it has
//!   a slot of its own and any order is allowed, every one before it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use super::Known;
use crate::buffer::Buffer;
use crate::checksum::{self, crc32c};
use crate::codec::Decoder;
use crate::digest::{self, ChainingValue};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{content_checksum, opens_pad};
use crate::format::record::ChunkRecord;
use crate::limits;
use crate::pipeline::{Channel, Crew, IoMode, Schedule, Shared};
use crate::placement::sequence_set::SequenceSet;
use crate::planted::{self, Bug};
use crate::ring::file::{Disk, File};
use crate::ring::{Failure, FileSlot, OpKind, Span};
use crate::units::{FileOffset, Sequence};
use crate::worker::{Claim, Input, Placing, Task};

/// How what was covered is read back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadBack<'a> {
    /// Where backends come from.
    pub(crate) disk: &'a dyn Disk,
    /// Which are wanted.
    pub(crate) io: IoMode,
    /// How workers are run.
    pub(crate) schedule: &'a Schedule,
    /// What stops them.
    pub(crate) shared: &'a Arc<Shared>,
    /// The partial file.
    pub(crate) file: &'a Arc<dyn File>,
    /// Whether extents are covered in any order.
    pub(crate) scattered: bool,
    /// Whether each chunk has a chaining value.
    pub(crate) blake3: bool,
}

impl ReadBack<'_> {
    /// What of `known` can be adopted, and what a person should know of it.
    ///
    /// # Errors
    /// `Output` where reading fails: what can't be read now is not given up.
    pub(crate) fn adopt(&self, known: Known) -> Result<(Known, Vec<String>)> {
        // A write of the run before may have failed and nobody been told: the next sync is, once.
        // It says nothing of what comes, and what counts of the past is read back. No page is left
        // dirty or on its way, so that those that were lost are dropped with the others.
        let failed = self.file.sync_data().err().map(|error| {
            format!("writing the partial file had failed before ({error}); it was read back")
        });
        let mut warnings: Vec<String> = failed.into_iter().collect();
        let dropped = self.file.drop_cache();
        dropped.map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot read back what was written already", error)
        })?;
        let geometry = known.geometry();
        let extents = known.covered().extents;
        let depth = limits::buffers_per_side(geometry.extent_raw_len(), extents);
        let schedule = self.schedule.at_most(extents);
        let crew = Crew {
            disk: self.disk,
            io: self.io,
            schedule: &schedule,
            files: vec![Arc::clone(self.file)],
            inputs: (depth, geometry.extent_len_max() as usize),
            outputs: (1, geometry.chunk_len() as usize),
            shared: Arc::clone(self.shared),
        };
        let work = AdoptWork::new(&known, self.scattered, self.blake3);
        // Nothing is sent over it: the workers' end closing is what ends the run.
        let (channel, receiver) = Channel::<()>::new(schedule.workers());
        let make_task = || AdoptTask {
            work: &work,
            shared: self.shared,
            decoder: None,
            _alive: channel.sender(),
        };
        crew.run(make_task, &receiver, &mut |()| Ok(()))?;
        let Refused { extents, first, why } = work.into_refused();
        let Some((chunk, why)) = why else { return Ok((known, warnings)) };
        let covered = known.covered();
        // J7: nothing that was refused, nor, in order, what stands behind it.
        let known = if self.scattered { known.without(&extents)? } else { known.cut_to(first)? };
        let lost = covered.bytes - known.covered().bytes;
        let which = if self.scattered { "" } else { "the last " };
        warnings.push(format!(
            "chunk {chunk} {why}: of {} bytes that a checkpoint covered, {which}{lost} are \
             written anew",
            covered.bytes
        ));
        Ok((known, warnings))
    }
}

/// What all workers of the check share.
#[derive(Debug)]
struct AdoptWork<'a> {
    known: &'a Known,
    scattered: bool,
    blake3: bool,
    /// The extent to look at next.
    next: Mutex<u64>,
    /// The first extent that isn't as it was written.
    first_bad: AtomicU64,
    refused: Mutex<Refused>,
}

/// The extents that aren't as they were written.
#[derive(Debug)]
struct Refused {
    extents: SequenceSet,
    first: u64,
    /// The first chunk among them and what is wrong with it, for people.
    why: Option<(u64, String)>,
}

impl<'a> AdoptWork<'a> {
    fn new(known: &'a Known, scattered: bool, blake3: bool) -> Self {
        let refused = Refused { extents: SequenceSet::default(), first: u64::MAX, why: None };
        let (next, first_bad) = (Mutex::new(0), AtomicU64::new(u64::MAX));
        Self { known, scattered, blake3, next, first_bad, refused: Mutex::new(refused) }
    }

    fn next(&self) -> Option<u64> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.known.adopted().iter_from(*next).next()?;
        // In order, what stands behind a bad one is not worth a look.
        if !self.scattered && number >= self.first_bad.load(Ordering::Relaxed) {
            return None;
        }
        *next = number + 1;
        Some(number)
    }

    fn refuse(&self, extent: u64, chunk: u64, why: &str) {
        self.first_bad.fetch_min(extent, Ordering::SeqCst);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.extents.insert(extent);
        if extent < refused.first {
            refused.first = extent;
            refused.why = Some((chunk, why.to_owned()));
        }
    }

    fn into_refused(self) -> Refused {
        self.refused.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task: nothing is made, and nothing written.
#[derive(Debug)]
struct AdoptTask<'a> {
    work: &'a AdoptWork<'a>,
    shared: &'a Shared,
    decoder: Option<Decoder>,
    /// Held, so that the coordinator waits for the task.
    _alive: Sender<()>,
}

impl AdoptTask<'_> {
    /// Whether a frame holds the content that the journal says, by every checksum of it: the index
    /// is made of these.
    fn is_content(
        &mut self,
        sequence: u64,
        record: &ChunkRecord,
        frame: &[u8],
        output: &mut [u8],
    ) -> Result<bool> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(Decoder::new()?),
        };
        let chunk = &mut output[..record.entry.raw_len as usize];
        // Decoding holds the content against the frame's own XXH64.
        Ok(decoder.decode(frame, chunk).is_ok()
            && content_checksum(frame) == Some(record.xxh64_low)
            && crc32c(chunk) == record.entry.raw_crc32c
            && (!self.work.blake3 || self.chaining_value(sequence, chunk) == record.chaining))
    }

    /// What an only chunk has as its digest isn't asked for: only an empty one is known to be one.
    fn chaining_value(&self, sequence: u64, chunk: &[u8]) -> ChainingValue {
        let start = sequence * self.work.known.geometry().chunk_len();
        digest::chaining_value(chunk, start, chunk.is_empty())
    }
}

/// An extent to check.
#[derive(Debug)]
struct Unit {
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
        let Some(number) = self.work.next() else { return Ok(Claim::Exhausted) };
        let records = known.extent(number)?.chunks;
        let last = records.last().expect("an extent has at least one chunk").entry;
        let start = known.start(number)?;
        let len = known.end(number)? - start;
        let frames_len = last.offset + u64::from(last.frame_len) - start;
        let written = known.geometry().written_len(frames_len, len);
        let span = Span::to_grid(start, written);
        let unit = Unit { number, records, start, len };
        Ok(Claim::Unit(unit, Input::Read(FileSlot(0), vec![span])))
    }

    fn transform(
        &mut self,
        unit: &mut Unit,
        input: Option<&mut [u8]>,
        output: &mut [u8],
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
            let is_written =
                checksum::frame(number, place, crc32c(frame), frame.len()) == entry.frame_crc32c;
            if !is_written || !self.is_content(sequence, record, frame, output)? {
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
                let what = "cannot read back what was written already";
                let error = Error::from_io(ErrorKind::Output, what, error);
                let hint = "check the device and try again, or begin anew";
                Err(error.sequence(chunk).offset(offset).hint(hint))
            }
        }
    }

    fn check(&self) -> Result<()> {
        self.shared.check()
    }
}
