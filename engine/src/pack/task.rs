//! What a worker does with an extent when packing: read, encode its chunks back to back, place.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use super::holes;
use super::resume::another_input;
use crate::buffer::Buffer;
use crate::checksum;
use crate::chunker::RawExtent;
use crate::codec::{Chunk, Codec, Encoder};
use crate::commit::Gate;
use crate::digest;
use crate::encode::{EncodedChunk, chaining_values, close, single_room};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{store_len, xxh64_low};
use crate::format::layout::Geometry;
use crate::format::record::ChunkRecord;
use crate::known::Known;
use crate::ordered::HandedOver;
use crate::pipeline::Shared;
use crate::placement::{Extent, PlacedExtent, Placement};
use crate::planted::{self, Bug};
use crate::ring::{Failure, FileSlot, OpKind, Span};
use crate::source::Positional;
use crate::source::stream::{Feed, Next, Portion};
use crate::units::{ExtentNumber, align_down, align_up};
use crate::worker::{Claim, Input, Placing, Task};

/// What all workers of a job share.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) geometry: Geometry,
    pub(super) placement: Placement,
    pub(super) supply: Supply,
    /// The chunks' records: those adopted, and those completed.
    pub(super) known: Known,
    pub(super) chaining: bool,
    /// What keeps writes within the space allocated.
    pub(super) gate: Gate,
    /// Whether a write of the output failed for another reason than want of space.
    pub(super) output_failed: AtomicBool,
    /// Whether the output goes to a pipe.
    pub(super) streamed: bool,
    pub(super) shared: Arc<Shared>,
}

/// Where extents come from.
#[derive(Debug)]
pub(super) enum Supply {
    /// Each core claims the next number and reads it.
    Positional { source: Positional, next: AtomicU64 },
    /// One reader hands them out.
    Stream(Feed),
}

impl Supply {
    pub(super) fn positional(source: Positional, first: u64) -> Self {
        let first = match first {
            1.. if planted::is(Bug::SequenceUnchecked) => first + 1,
            first => first,
        };
        Self::Positional { source, next: AtomicU64::new(first) }
    }
}

/// Bytes that a worker's output buffer needs for an extent of at most `raw_len` bytes: every frame
/// but the last at its longest, and the last with the room that the encoder wants.
pub(super) fn output_len(geometry: &Geometry, raw_len: usize) -> usize {
    let chunk = geometry.chunk_len() as usize;
    let before = (raw_len.div_ceil(chunk).max(1) - 1) * store_len(chunk);
    before + single_room(chunk.min(raw_len))
}

/// An extent that is written: what the coordinator is told.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) placed: PlacedExtent,
    pub(super) first_chunk: u64,
    pub(super) records: Vec<ChunkRecord>,
    pub(super) only_digest: Option<[u8; 32]>,
    pub(super) holes: u64,
}

/// What comes over the channel.
#[derive(Debug)]
pub(super) enum Event {
    /// An extent was written.
    Written(Written),
    /// An extent is to be written to a pipe.
    HandedOver(Written, HandedOver),
    /// An extent that an earlier run wrote is the same as in the source.
    Compared {
        /// As of [`Written`].
        only_digest: Option<[u8; 32]>,
    },
}

/// The task.
#[derive(Debug)]
pub(super) struct PackTask<'a> {
    work: &'a Work,
    encoder: Encoder,
    events: Sender<Event>,
    back: Sender<Buffer>,
    returned: Receiver<Buffer>,
}

impl<'a> PackTask<'a> {
    pub(super) fn new(work: &'a Work, codec: Codec, events: Sender<Event>) -> Self {
        let (kind, level) = codec.kind_and_level();
        let (back, returned) = std::sync::mpsc::channel();
        Self { work, encoder: Encoder::new(kind, level), events, back, returned }
    }

    fn output_slot(&self) -> FileSlot {
        match self.work.supply {
            Supply::Positional { .. } => FileSlot(1),
            Supply::Stream(_) => FileSlot(0),
        }
    }

    fn unit(
        &self,
        raw: RawExtent,
        runs: Vec<Range<usize>>,
        portion: Option<Portion>,
    ) -> Result<Unit> {
        let number = raw.number().0;
        let known = if number < self.work.known.covered().extents {
            Some(self.work.known.extent(number)?.chunks)
        } else {
            None
        };
        Ok(Unit { known, ..Unit::new(raw, runs, portion) })
    }

    /// Makes what is to be written of the extent, or compares it with what was.
    fn make(&mut self, unit: &mut Unit, raw: &mut [u8], output: &mut [u8]) -> Result<()> {
        match unit.known.take() {
            Some(records) => {
                self.compare(unit, &records, raw)?;
                unit.known = Some(records);
                Ok(())
            }
            None => self.encode(unit, raw, output),
        }
    }

    /// Compares the extent with what an earlier run packed of it, by every checksum that it left.
    fn compare(&self, unit: &mut Unit, records: &[ChunkRecord], raw: &mut [u8]) -> Result<()> {
        let mut chunks = unit.raw.chunks();
        for (sequence, record) in (unit.raw.first().0..).zip(records) {
            self.work.shared.check()?;
            let differs = || {
                let what = "the input differs from what was packed before the interruption";
                another_input(what).sequence(sequence)
            };
            let range = chunks.next().ok_or_else(differs)?.range;
            let start = unit.raw.raw_offset() + range.start as u64;
            let raw = &mut raw[range.clone()];
            unit.clear_holes(&range, raw);
            let same = raw.len() == record.entry.raw_len as usize
                && checksum::crc32c(raw) == record.entry.raw_crc32c
                && xxh64_low(raw) == record.xxh64_low
                && (!self.work.chaining
                    || raw.is_empty()
                    || digest::chaining_value(raw, start, false) == record.chaining);
            if !same {
                return Err(differs());
            }
            if self.work.chaining && sequence == 0 && records.len() == 1 {
                unit.only_digest = Some(digest::chaining_value(raw, 0, true));
            }
        }
        match chunks.next() {
            // Longer than what was packed, though that ended here.
            Some(chunk) => {
                let what = "the input goes on where it ended before the interruption";
                Err(another_input(what).sequence(chunk.sequence.0))
            }
            None => Ok(()),
        }
    }

    /// Encodes the chunks of `unit` back to back; the extent's length is then known.
    fn encode(&mut self, unit: &mut Unit, raw: &mut [u8], output: &mut [u8]) -> Result<()> {
        let mut end = 0;
        let mut only = unit.raw.number().0 == 0;
        for chunk in unit.raw.chunks() {
            self.work.shared.check()?;
            let (start, range) = (unit.raw.raw_offset() + chunk.range.start as u64, chunk.range);
            let room = &mut output[end..];
            let raw = &mut raw[range.clone()];
            let hole = !range.is_empty() && !unit.has_data(&range);
            // The digest is made of the zeros themselves, so they are laid out for it.
            if !hole || self.work.chaining {
                unit.clear_holes(&range, raw);
            }
            let raw_len = range.len() as u64;
            let is_filled = self.work.geometry.is_filled(chunk.sequence.0, raw_len);
            let content = match hole {
                true => Chunk::Zeros(range.len()),
                false => Chunk::Bytes(raw),
            };
            unit.holes += if hole { raw_len } else { 0 };
            let frame = self.encoder.encode(content, is_filled.then_some(end), room)?;
            let mut chaining = [0; 32];
            if self.work.chaining {
                only &= chunk.sequence.0 == 0;
                (chaining, unit.only_digest) = chaining_values(raw, start, only);
            }
            unit.frames.push(EncodedChunk { sequence: chunk.sequence, frame, at: end, chaining });
            end += frame.len;
        }
        let closed = close(&self.work.geometry, end, output);
        (unit.len, unit.write_len) = (closed.len, closed.write_len);
        Ok(())
    }

    fn written(&self, unit: &Unit) -> Written {
        let placed = unit.placed.expect("a written extent was placed");
        let records = unit.frames.iter().map(|encoded| encoded.record(placed.offset())).collect();
        Written {
            placed,
            first_chunk: unit.raw.first().0,
            records,
            only_digest: unit.only_digest,
            holes: unit.holes,
        }
    }

    /// Tells that an extent is through.
    fn tell(&self, unit: &Unit) {
        self.work.shared.progress().extent(unit.raw.raw_len(), unit.len);
    }

    fn send(&self, event: Event) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Cancelled, "the job was cancelled");
        self.events.send(event).map_err(gone)
    }
}

/// An extent on its way.
#[derive(Debug)]
pub(super) struct Unit {
    raw: RawExtent,
    /// Runs of data, from the extent's start.
    runs: Vec<Range<usize>>,
    portion: Option<Portion>,
    frames: Vec<EncodedChunk>,
    /// Bytes it takes of the container.
    len: u64,
    /// Bytes of these that are written; the rest is a hole.
    write_len: usize,
    placed: Option<PlacedExtent>,
    only_digest: Option<[u8; 32]>,
    holes: u64,
    /// What an earlier run wrote of it, to be compared instead of written again.
    known: Option<Vec<ChunkRecord>>,
}

impl Unit {
    fn new(raw: RawExtent, runs: Vec<Range<usize>>, portion: Option<Portion>) -> Self {
        Self {
            raw,
            runs,
            portion,
            frames: Vec::new(),
            len: 0,
            write_len: 0,
            placed: None,
            only_digest: None,
            holes: 0,
            known: None,
        }
    }

    fn has_data(&self, range: &Range<usize>) -> bool {
        self.runs.iter().any(|run| run.start < range.end && range.start < run.end)
    }

    /// Zeroes the holes in `range`, whose bytes `raw` are.
    fn clear_holes(&self, range: &Range<usize>, raw: &mut [u8]) {
        holes::zero(&self.runs, range, raw);
        debug_assert!(
            planted::is(Bug::HoleUncleared) || holes::are_zero(&self.runs, range, raw),
            "HO1: bytes of an earlier extent in a hole of {range:?}"
        );
    }
}

impl Task for PackTask<'_> {
    type Unit = Unit;

    fn claim(&mut self) -> Result<Claim<Unit>> {
        let geometry = self.work.geometry;
        match &self.work.supply {
            Supply::Positional { source, next } => {
                let number = ExtentNumber(next.fetch_add(1, Ordering::Relaxed));
                let size = source.status().len;
                let Some(raw) = RawExtent::of(geometry, number, size) else {
                    return Ok(Claim::Exhausted);
                };
                let start = raw.raw_offset();
                let mut runs = Vec::new();
                let mut spans = Vec::new();
                for run in source.data_runs(start..start + raw.raw_len())? {
                    // Out to the grid, for direct I/O; past the file's end a read stops by itself.
                    let (from, to) = (align_down(run.start), align_up(run.end));
                    let at = (from - start) as usize;
                    let need = (run.end - from) as usize;
                    spans.push(Span { offset: from, at, len: (to - from) as usize, need });
                    runs.push(at..at + need);
                }
                let unit = self.unit(raw, runs, None)?;
                Ok(Claim::Unit(unit, Input::Read(FileSlot(0), spans)))
            }
            Supply::Stream(feed) => match feed.next() {
                Next::Later => Ok(Claim::Later),
                Next::End => Ok(Claim::Exhausted),
                Next::Portion(portion) => {
                    let len = portion.len;
                    let raw = RawExtent::with_len(geometry, portion.number, len as u64);
                    let whole = std::iter::once(0..len).collect();
                    Ok(Claim::Unit(self.unit(raw, whole, Some(portion))?, Input::Held))
                }
            },
        }
    }

    fn transform(
        &mut self,
        unit: &mut Unit,
        input: Option<&mut [u8]>,
        output: &mut [u8],
    ) -> Result<()> {
        match (unit.portion.take(), input) {
            (Some(Portion { mut memory, .. }), _) => {
                self.make(unit, &mut memory, output)?;
                if let Supply::Stream(feed) = &self.work.supply {
                    feed.give_back(memory);
                }
            }
            (None, Some(input)) => self.make(unit, input, output)?,
            (None, None) => unreachable!("a unit has its input in a portion or in a buffer"),
        }
        if unit.known.is_some() {
            return Ok(());
        }
        let extent = Extent { number: unit.raw.number(), len: unit.len };
        if self.work.placement.publish(extent) {
            self.work.shared.event().advance();
        }
        Ok(())
    }

    fn place(&mut self, unit: &mut Unit) -> Result<Placing> {
        if unit.known.is_some() {
            return Ok(Placing::Nothing);
        }
        let extent = Extent { number: unit.raw.number(), len: unit.len };
        let Some(placed) = self.work.placement.place(extent) else {
            return Ok(Placing::Later);
        };
        unit.placed = Some(placed);
        if self.work.streamed {
            return Ok(Placing::HandOver);
        }
        if !self.work.gate.enter(placed.end()) {
            return Ok(Placing::Later);
        }
        if planted::is(Bug::InFlightNamed) {
            self.send(Event::Written(self.written(unit)))?;
        }
        let span = Span::exact(placed.offset().0, 0, unit.write_len);
        Ok(Placing::Write(self.output_slot(), vec![span]))
    }

    fn hand_over(&mut self, unit: Unit, buffer: Buffer) -> Result<()> {
        let handed_over = HandedOver {
            number: unit.raw.number().0,
            buffer,
            len: unit.write_len.min(unit.len as usize),
            zeros: unit.len.saturating_sub(unit.write_len as u64),
            back: self.back.clone(),
        };
        self.tell(&unit);
        self.send(Event::HandedOver(self.written(&unit), handed_over))
    }

    fn reclaim(&mut self) -> Option<Buffer> {
        self.returned.try_recv().ok()
    }

    fn complete(&mut self, unit: Unit) -> Result<()> {
        self.tell(&unit);
        if unit.known.is_some() {
            return self.send(Event::Compared { only_digest: unit.only_digest });
        }
        self.work.gate.leave();
        if planted::is(Bug::InFlightNamed) {
            return Ok(());
        }
        self.send(Event::Written(self.written(&unit)))
    }

    fn failed(&mut self, unit: Unit, kind: OpKind, offset: u64, failure: Failure) -> Result<()> {
        let sequence = unit.raw.first().0;
        Err(match (kind, failure) {
            (OpKind::Read, Failure::EndOfFile) => {
                let Supply::Positional { source, .. } = &self.work.supply else {
                    unreachable!("a stream is not read through the ring")
                };
                source.check_unchanged().err().unwrap_or_else(|| {
                    Error::new(ErrorKind::InputChanged, "ended early").offset(offset)
                })
            }
            (OpKind::Read, Failure::Os(error)) => {
                Error::from_io(ErrorKind::Input, "cannot read", error).offset(offset)
            }
            (OpKind::Write, Failure::Os(error)) => {
                // M1: noted here, since another failure may have been the job's first.
                if !matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) {
                    self.work.output_failed.store(true, Ordering::SeqCst);
                }
                let error = Error::from_io(ErrorKind::Output, "cannot write", error);
                error.sequence(sequence).offset(offset)
            }
            (OpKind::Write, Failure::EndOfFile) => unreachable!("a write has no end of file"),
        })
    }

    fn check(&self) -> Result<()> {
        self.work.shared.check()
    }
}
