//! The in-flight table: what has been asked of the system and not yet answered.
//!
//! Every backend has one. A slot owns its operation, buffer included, from submission until the
//! answer that completes it, and knows which bytes are still missing: a short read or write is
//! asked for again from there. The token given to the system is `generation << 32 | slot`, so an
//! answer for a slot's former tenant is told from one for the present.
//!
//! ```text
//! insert ──► [asked] ──answer──► all there? ──yes──► Done (buffer leaves the table)
//!               ▲                    │ no
//!               └──── Again ◄────────┘        EINVAL ──► LeaveDirect, once
//!                                             ECANCELED ──► Directly, once
//! ```
//!
//! # Invariants
//! - I1: a slot's buffer leaves the table only in [`Answer::Done`] (this is R1 and R2 at work).
//! - I2: every `Again` either follows progress or counts against [`RETRIES_MAX`].
//! - I3: under direct I/O what is asked for again starts on the grid, as the span did; bytes
//!   already moved may be moved twice, which is harmless: they are the same bytes.

use std::io;

use slab::Slab;

use super::op::{Completed, Failure, FileSlot, Op, OpKind};
use crate::buffer::Buffer;
use crate::limits::RETRIES_MAX;
use crate::planted::{self, Bug};
use crate::units::align_down;

/// What to ask of the system next for a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Identifies the slot in the answer.
    pub token: u64,
    /// The direction.
    pub kind: OpKind,
    /// The file.
    pub file: FileSlot,
    /// Where in the file.
    pub offset: u64,
    /// Where in the slot's buffer.
    pub at: usize,
    /// How many bytes.
    pub len: usize,
}

/// What an answer leads to.
#[derive(Debug)]
pub enum Answer {
    /// Ask again for what is missing.
    Again(Request),
    /// The file refuses direct I/O after all: turn it off for the file, if no other operation's
    /// answer did already, and ask again. Comes once an operation.
    LeaveDirect(Request),
    /// The kernel found no thread to carry the operation out, as under a control group's
    /// `pids.max`: do it by `pread` or `pwrite`. Comes once until something is moved.
    Directly(Request),
    /// The operation is over.
    Done(Completed),
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    op: Op,
    span: usize,
    /// Bytes moved of the current span.
    moved: usize,
    /// Where the last request of the current span started, from the span's start.
    asked_from: usize,
    retries: u32,
    left_direct: bool,
    /// Whether it is being done by `pread` or `pwrite`.
    directly: bool,
}

/// The table.
#[derive(Debug, Default)]
pub struct InFlight {
    slots: Slab<Slot>,
    generation: u32,
    repeated: u64,
}

impl InFlight {
    /// Takes an operation in and says what to ask first.
    pub fn insert(&mut self, op: Op) -> Request {
        assert!(op.spans.iter().all(|span| span.need > 0 && span.need <= span.len));
        assert!(op.spans.iter().all(|span| span.at + span.len <= op.buffer.len()));
        assert!(!op.spans.is_empty(), "an operation moves something");
        self.generation = self.generation.wrapping_add(1);
        let slot = Slot {
            generation: self.generation,
            op,
            span: 0,
            moved: 0,
            asked_from: 0,
            retries: 0,
            left_direct: false,
            directly: false,
        };
        let key = self.slots.insert(slot);
        self.request(key)
    }

    /// Operations in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The buffer of the operation that `token` is for. Its address may be given to the system; its
    /// bytes may be touched only by whoever does the system's work.
    pub fn buffer(&self, token: u64) -> &Buffer {
        &self.slots[self.key(token)].op.buffer
    }

    /// The file of the operation that `token` is for.
    #[must_use]
    pub fn file(&self, token: u64) -> FileSlot {
        self.slots[self.key(token)].op.file
    }

    /// As [`Self::buffer`], for a backend that moves the bytes itself.
    pub fn buffer_mut(&mut self, token: u64) -> &mut Buffer {
        let key = self.key(token);
        &mut self.slots[key].op.buffer
    }

    /// Times that bytes had to be asked for again; going on to the next span is none.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Takes the system's answer: bytes moved, or an error number.
    ///
    /// `is_direct` is asked only after a short transfer: whether the file is under direct I/O.
    pub fn answer(
        &mut self,
        token: u64,
        result: Result<usize, i32>,
        is_direct: impl FnOnce() -> bool,
    ) -> Answer {
        let key = self.key(token);
        let slot = &mut self.slots[key];
        let span = slot.op.spans[slot.span];
        match result {
            // I2: counted.
            Err(libc::EINTR | libc::EAGAIN) if slot.retries < RETRIES_MAX => {
                slot.retries += 1;
                self.repeated += 1;
                Answer::Again(self.request(key))
            }
            Err(libc::EINVAL) if !slot.left_direct => {
                slot.left_direct = true;
                self.repeated += 1;
                Answer::LeaveDirect(self.request(key))
            }
            Err(libc::ECANCELED) if !slot.directly && !planted::is(Bug::CancelledIsFailed) => {
                slot.directly = true;
                self.repeated += 1;
                Answer::Directly(self.request(key))
            }
            Err(errno) => self.fail(key, Failure::Os(io::Error::from_raw_os_error(errno))),
            Ok(moved) => {
                slot.directly = false;
                let reached = slot.asked_from + moved;
                let taken_for_whole =
                    planted::is(Bug::ShortWriteIgnored) && slot.op.kind == OpKind::Write;
                if reached >= span.need || taken_for_whole {
                    slot.span += 1;
                    (slot.moved, slot.asked_from, slot.retries) = (0, 0, 0);
                    if slot.span == slot.op.spans.len() {
                        return self.finish(key, Ok(()));
                    }
                    return Answer::Again(self.request(key));
                }
                if reached > slot.moved {
                    (slot.moved, slot.retries) = (reached, 0);
                    // I3: back to the grid, counted from the span's start, which lies on it.
                    let start =
                        if is_direct() { align_down(reached as u64) as usize } else { reached };
                    slot.asked_from = start;
                } else if slot.op.kind == OpKind::Read {
                    // Asked again and got no further: the file ends here.
                    return self.fail(key, Failure::EndOfFile);
                } else if slot.retries < RETRIES_MAX {
                    slot.retries += 1;
                } else {
                    return self.fail(key, Failure::Os(io::ErrorKind::WriteZero.into()));
                }
                self.repeated += 1;
                Answer::Again(self.request(key))
            }
        }
    }

    /// What an early reuse of buffers does: other bytes, while they are being written.
    pub(super) fn scribble(&mut self) {
        for (_, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.op.kind == OpKind::Write) {
            slot.op.buffer.iter_mut().for_each(|byte| *byte = !*byte);
        }
    }

    /// Takes every operation out without freeing a buffer: for a ring that can't be drained (R3).
    pub fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.slots));
    }

    fn request(&self, key: usize) -> Request {
        let slot = &self.slots[key];
        let span = slot.op.spans[slot.span];
        Request {
            token: u64::from(slot.generation) << 32 | key as u64,
            kind: slot.op.kind,
            file: slot.op.file,
            offset: span.offset + slot.asked_from as u64,
            at: span.at + slot.asked_from,
            len: span.len - slot.asked_from,
        }
    }

    fn key(&self, token: u64) -> usize {
        let key = (token & 0xFFFF_FFFF) as usize;
        let tenant = self.slots.get(key).map(|slot| slot.generation);
        assert_eq!(tenant, Some((token >> 32) as u32), "an answer for no operation in flight");
        key
    }

    fn fail(&mut self, key: usize, failure: Failure) -> Answer {
        let slot = &self.slots[key];
        let reached = slot.op.spans[slot.span].offset + slot.moved as u64;
        self.finish(key, Err((reached, failure)))
    }

    fn finish(&mut self, key: usize, result: Result<(), (u64, Failure)>) -> Answer {
        // I1: the one place where a buffer leaves, and so where R1 and R2 are kept.
        let Op { kind, buffer, tag, .. } = self.slots.remove(key).op;
        Answer::Done(Completed { tag, kind, buffer, result })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::op::Span;

    fn op(kind: OpKind, spans: Vec<Span>) -> Op {
        Op { kind, file: FileSlot(0), spans, buffer: Buffer::new(16 << 10, 0), tag: 9 }
    }

    fn again(answer: Answer) -> Request {
        match answer {
            Answer::Again(request) => request,
            other => panic!("asked again, not {other:?}"),
        }
    }

    fn done(answer: Answer) -> Completed {
        match answer {
            Answer::Done(completed) => completed,
            other => panic!("done, not {other:?}"),
        }
    }

    #[test]
    fn i3_a_short_write_is_asked_again_from_the_grid() {
        let mut table = InFlight::default();
        let first = table.insert(op(OpKind::Write, vec![Span::exact(8192, 0, 12288)]));
        assert_eq!((first.offset, first.at, first.len), (8192, 0, 12288));
        let second = again(table.answer(first.token, Ok(5000), || true));
        assert_eq!((second.offset, second.at, second.len), (12288, 4096, 8192));
        let third = again(table.answer(second.token, Ok(4096), || true));
        assert_eq!((third.offset, third.at, third.len), (16384, 8192, 4096));
        assert!(done(table.answer(third.token, Ok(4096), || true)).result.is_ok());
        assert!(table.is_empty());
    }

    #[test]
    fn a_short_buffered_transfer_goes_on_where_it_stopped() {
        for kind in [OpKind::Read, OpKind::Write] {
            let mut table = InFlight::default();
            let mut request = table.insert(op(kind, vec![Span::exact(0, 0, 4096)]));
            for moved in [100, 200, 3000] {
                request = again(table.answer(request.token, Ok(moved), || false));
            }
            assert_eq!((request.offset, request.len), (3300, 796));
            assert!(done(table.answer(request.token, Ok(796), || false)).result.is_ok());
        }
    }

    #[test]
    fn spans_go_one_after_the_other() {
        let mut table = InFlight::default();
        let spans = vec![Span::exact(0, 4096, 4096), Span::exact(1 << 30, 0, 4096)];
        let first = table.insert(op(OpKind::Read, spans));
        let second = again(table.answer(first.token, Ok(4096), || true));
        assert_eq!((second.offset, second.at), (1 << 30, 0));
        let completed = done(table.answer(second.token, Ok(4096), || true));
        assert_eq!((completed.tag, completed.result.is_ok()), (9, true));
    }

    #[test]
    fn a_read_that_reaches_what_it_needs_is_done_at_the_files_end() {
        let mut table = InFlight::default();
        let tail = Span { offset: 4096, at: 0, len: 4096, need: 100 };
        let request = table.insert(op(OpKind::Read, vec![tail]));
        assert!(done(table.answer(request.token, Ok(100), || true)).result.is_ok());
    }

    #[test]
    fn a_read_that_stops_short_is_the_end_of_the_file() {
        for answers in [&[0][..], &[100, 100], &[5000, 904], &[4096, 0]] {
            let mut table = InFlight::default();
            let mut request = table.insert(op(OpKind::Read, vec![Span::exact(0, 0, 8192)]));
            let (last, before) = answers.split_last().unwrap();
            for &moved in before {
                request = again(table.answer(request.token, Ok(moved), || true));
            }
            let completed = done(table.answer(request.token, Ok(*last), || true));
            assert!(matches!(completed.result, Err((_, Failure::EndOfFile))), "{answers:?}");
        }
    }

    #[test]
    fn i2_retries_are_bounded() {
        for (kind, answer) in [
            (OpKind::Read, Err(libc::EINTR)),
            (OpKind::Write, Err(libc::EAGAIN)),
            (OpKind::Write, Ok(0)),
        ] {
            let mut table = InFlight::default();
            let mut request = table.insert(op(kind, vec![Span::exact(0, 0, 4096)]));
            for _ in 0..RETRIES_MAX {
                request = again(table.answer(request.token, answer, || true));
            }
            let completed = done(table.answer(request.token, answer, || true));
            assert!(matches!(completed.result, Err((0, Failure::Os(_)))));
        }
    }

    #[test]
    fn i1_an_error_gives_the_buffer_back_and_says_how_far_it_got() {
        let mut table = InFlight::default();
        let request = table.insert(op(OpKind::Write, vec![Span::exact(4096, 0, 8192)]));
        let request = again(table.answer(request.token, Ok(4096), || true));
        let completed = done(table.answer(request.token, Err(libc::ENOSPC), || true));
        let Err((8192, Failure::Os(error))) = completed.result else { panic!() };
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(completed.buffer.len(), 16 << 10);
    }

    #[test]
    fn direct_io_is_left_once() {
        let mut table = InFlight::default();
        let request = table.insert(op(OpKind::Write, vec![Span::exact(0, 0, 4096)]));
        let Answer::LeaveDirect(same) = table.answer(request.token, Err(libc::EINVAL), || true)
        else {
            panic!()
        };
        assert_eq!(same, request);
        assert!(done(table.answer(same.token, Err(libc::EINVAL), || true)).result.is_err());
    }

    #[test]
    fn i2_what_the_kernel_cancels_is_done_directly_and_if_that_fails_it_failed() {
        let mut table = InFlight::default();
        let first = table.insert(op(OpKind::Write, vec![Span::exact(0, 0, 8192)]));
        let directly = |answer| match answer {
            Answer::Directly(request) => request,
            other => panic!("done directly, not {other:?}"),
        };
        let request = directly(table.answer(first.token, Err(libc::ECANCELED), || false));
        assert_eq!(request, first);
        // What was moved is kept, and the rest may be cancelled again.
        let rest = again(table.answer(request.token, Ok(4096), || false));
        let rest = directly(table.answer(rest.token, Err(libc::ECANCELED), || false));
        assert_eq!((rest.offset, rest.len), (4096, 4096));
        let answer = table.answer(rest.token, Err(libc::ECANCELED), || false);
        let Err((4096, Failure::Os(error))) = done(answer).result else { panic!("it failed") };
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        assert!(table.is_empty());
    }

    #[test]
    #[should_panic(expected = "no operation in flight")]
    fn an_answer_for_a_former_tenant_is_a_bug() {
        let mut table = InFlight::default();
        let first = table.insert(op(OpKind::Read, vec![Span::exact(0, 0, 4096)]));
        done(table.answer(first.token, Ok(4096), || true));
        let second = table.insert(op(OpKind::Read, vec![Span::exact(0, 0, 4096)]));
        assert_eq!(first.token & 0xFFFF_FFFF, second.token & 0xFFFF_FFFF);
        table.answer(first.token, Ok(4096), || true);
    }
}
