//! What a worker does with an extent when unpacking: read, verify and decode its chunks, write.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use crate::buffer::Buffer;
use crate::codec::{Decoder, is_zero};
use crate::commit::Gate;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::HOLE_BYTES_MIN;
use crate::ordered::HandedOver;
use crate::pipeline::Shared;
use crate::read::Container;
use crate::ring::{Failure, FileSlot, OpKind, Span};
use crate::units::align_up;
use crate::worker::{Claim, Input, Placing, Task};

/// The container's place among the files.
const INPUT: FileSlot = FileSlot(0);
/// The output's place among the files.
const OUTPUT: FileSlot = FileSlot(1);

/// What all workers of a job share.
#[derive(Debug)]
pub(super) struct Work<'a> {
    container: &'a Container,
    next: AtomicU64,
    /// What keeps writes within the space allocated; none where the output is a pipe.
    gate: Option<&'a Gate>,
    shared: Arc<Shared>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        container: &'a Container,
        gate: Option<&'a Gate>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { container, next: AtomicU64::new(0), gate, shared }
    }
}

/// An extent that is restored: what the coordinator is told.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) number: u64,
    /// Where its content ends.
    pub(super) end: u64,
    /// Ranges of the content that were left out.
    pub(super) holes: Vec<Range<u64>>,
    pub(super) handed_over: Option<HandedOver>,
}

/// The task.
#[derive(Debug)]
pub(super) struct UnpackTask<'a> {
    work: &'a Work<'a>,
    decoder: Option<Decoder>,
    events: Sender<Restored>,
    back: Sender<Buffer>,
    returned: Receiver<Buffer>,
}

/// An extent on its way.
#[derive(Debug)]
pub(super) struct Unit {
    number: u64,
    chunks: Range<u64>,
    /// Where its first frame starts in the container.
    start: u64,
    /// Length of its content.
    raw_len: usize,
    /// Length of its frames.
    frames_len: usize,
}

impl<'a> UnpackTask<'a> {
    pub(super) fn new(work: &'a Work<'a>, events: Sender<Restored>) -> Self {
        let (back, returned) = std::sync::mpsc::channel();
        Self { work, decoder: None, events, back, returned }
    }

    fn send(&self, unit: &Unit, holes: Vec<Range<u64>>, out: Option<HandedOver>) -> Result<()> {
        let end = self.raw_offset(unit) + unit.raw_len as u64;
        self.work.shared.progress().extent(unit.raw_len as u64, unit.frames_len as u64);
        let restored = Restored { number: unit.number, end, holes, handed_over: out };
        let gone = |_| Error::new(ErrorKind::Cancelled, "the job was cancelled");
        self.events.send(restored).map_err(gone)
    }

    fn raw_offset(&self, unit: &Unit) -> u64 {
        unit.chunks.start * self.work.container.header().chunk_len()
    }
}

/// The runs of `bytes` that are to be written, from their start: all but runs of zeros that lie on
/// the grid of [`HOLE_BYTES_MIN`].
fn data_runs(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (number, piece) in bytes.chunks(HOLE_BYTES_MIN).enumerate() {
        if is_zero(piece) {
            continue;
        }
        let start = number * HOLE_BYTES_MIN;
        let end = start + piece.len();
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

impl Task for UnpackTask<'_> {
    type Unit = (Unit, Vec<Range<usize>>);

    fn claim(&mut self) -> Result<Claim<Self::Unit>> {
        let container = self.work.container;
        let number = self.work.next.fetch_add(1, Ordering::Relaxed);
        if number >= container.extent_count() {
            return Ok(Claim::Exhausted);
        }
        let chunks = container.extent_chunks(number);
        let entries = &container.index().entries[chunks.start as usize..chunks.end as usize];
        let (first, last) = (entries[0], entries[entries.len() - 1]);
        // The layout was checked when the container was opened: extents start on the grid, and this
        // length fits an input buffer.
        let len = (last.offset + u64::from(last.frame_len) - first.offset) as usize;
        let span = Span::to_grid(first.offset, len as u64);
        let raw_len = entries.iter().map(|entry| entry.raw_len as usize).sum();
        let unit = Unit { number, chunks, start: first.offset, raw_len, frames_len: len };
        Ok(Claim::Unit((unit, Vec::new()), Input::Read(INPUT, vec![span])))
    }

    fn transform(
        &mut self,
        (unit, runs): &mut Self::Unit,
        input: Option<&mut [u8]>,
        output: &mut [u8],
    ) -> Result<()> {
        let input = input.expect("an extent is read");
        let container = self.work.container;
        if self.decoder.is_none() {
            self.decoder = Some(Decoder::new()?);
        }
        let decoder = self.decoder.as_mut().expect("set above");
        let mut end = 0;
        for sequence in unit.chunks.clone() {
            self.work.shared.check()?;
            let entry = container.index().entries[sequence as usize];
            let at = (entry.offset - unit.start) as usize;
            let frame = &input[at..at + entry.frame_len as usize];
            let chunk = &mut output[end..end + entry.raw_len as usize];
            container.check_frame(sequence, frame)?;
            container.decode(decoder, sequence, frame, chunk)?;
            end += chunk.len();
        }
        if self.work.gate.is_some() {
            *runs = data_runs(&output[..end]);
            // The last block is written whole and cut off when the length is set.
            output[end..align_up(end as u64) as usize].fill(0);
        }
        Ok(())
    }

    fn place(&mut self, (unit, runs): &mut Self::Unit) -> Result<Placing> {
        let Some(gate) = self.work.gate else {
            return Ok(Placing::HandOver);
        };
        let offset = self.raw_offset(unit);
        if !gate.enter(align_up(offset + unit.raw_len as u64)) {
            return Ok(Placing::Later);
        }
        let spans = runs.iter().map(|run| {
            let len = align_up(run.len() as u64) as usize;
            Span::exact(offset + run.start as u64, run.start, len)
        });
        Ok(Placing::Write(OUTPUT, spans.collect()))
    }

    fn hand_over(&mut self, (unit, _): Self::Unit, buffer: Buffer) -> Result<()> {
        let (number, len) = (unit.number, unit.raw_len);
        let back = self.back.clone();
        self.send(&unit, Vec::new(), Some(HandedOver { number, buffer, len, zeros: 0, back }))
    }

    fn reclaim(&mut self) -> Option<Buffer> {
        self.returned.try_recv().ok()
    }

    fn complete(&mut self, (unit, runs): Self::Unit) -> Result<()> {
        if let Some(gate) = self.work.gate {
            gate.leave();
        }
        let offset = self.raw_offset(&unit);
        let mut holes = Vec::new();
        let mut from = 0;
        for run in runs.iter().cloned().chain(std::iter::once(unit.raw_len..unit.raw_len)) {
            if from < run.start {
                holes.push(offset + from as u64..offset + run.start as u64);
            }
            from = run.end;
        }
        self.send(&unit, holes, None)
    }

    fn failed(
        &mut self,
        (unit, _): Self::Unit,
        kind: OpKind,
        offset: u64,
        failure: Failure,
    ) -> Result<()> {
        let (container, sequence) = (self.work.container, unit.chunks.start);
        Err(match (kind, failure) {
            (OpKind::Read, Failure::EndOfFile) => {
                let what = "shrank while it was read";
                container.named(Error::new(ErrorKind::InputChanged, what).offset(offset))
            }
            (OpKind::Read, Failure::Os(error)) => {
                let error = Error::from_io(ErrorKind::Input, "cannot read", error);
                container.named(error.sequence(sequence).offset(offset))
            }
            (OpKind::Write, Failure::Os(error)) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_zeros_on_the_grid_are_left_out() {
        const PIECE: usize = HOLE_BYTES_MIN;
        let mut bytes = vec![0; 5 * PIECE + 100];
        assert!(data_runs(&bytes).is_empty());
        for at in [PIECE + 7, 2 * PIECE, 5 * PIECE + 99] {
            bytes[at] = 1;
        }
        assert_eq!(data_runs(&bytes), [PIECE..3 * PIECE, 5 * PIECE..5 * PIECE + 100]);
        assert!(data_runs(&[]).is_empty());
    }
}
