//! The product: a worker's own io_uring, driven by one `io_uring_enter` a turn.
//!
//! Operations queue up in the in-flight table; a turn writes an SQE for each, enters the kernel
//! once to hand them all over and, if told to wait, to wait for the first answer, then reaps every
//! CQE there is. Buffers are registered, so that the kernel need not pin pages for each operation,
//! and so are the files; the ring is then restricted to reads and writes of those files, so that
//! nothing else can be asked of it.
//!
//! # Invariants
//! - U1: an SQE's address and length lie inside the buffer of the slot its `user_data` names, and
//!   the slot keeps that buffer until the CQE (R1).
//! - U2: registered buffers are used by ids whose registration covers the same address and length.
//! - U3: the submission queue has an entry for every operation that can be in flight.
//! - U4: no operation on a file that doesn't suit a ring is handed to one.

#![allow(unsafe_code)] // One of the islands: SQEs carry addresses.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue, types};

use super::calls::carry_out;
use super::inflight::{Answer, InFlight, Request};
use super::op::{Completed, Op, OpKind};
use super::probe::{LADDER, RingFlags};
use super::{Backend, BackendConfig, BackendKind, Files, Tier, Wait};
use crate::buffer::Buffer;
use crate::planted::{self, Bug};
use crate::stats::RingCounters;

/// The backend.
pub struct Uring {
    ring: IoUring,
    table: InFlight,
    queue: Vec<Request>,
    /// What is done by calls, because its file doesn't suit a ring, or the kernel found no thread
    /// for it.
    calls: VecDeque<Request>,
    files: Files,
    suits_ring: Vec<bool>,
    descriptors: Vec<RawFd>,
    tier: Tier,
    counters: RingCounters,
}

impl Uring {
    /// Sets a ring up for the calling thread, with the best flags, registrations and restrictions
    /// that the system grants.
    ///
    /// # Errors
    /// As `io_uring_setup`: see [`super::probe::is_refusal`] for the ones that mean that there is
    /// no io_uring here.
    pub fn new(config: BackendConfig<'_>) -> io::Result<Self> {
        // U3: every operation holds a buffer, so no more than this are ever in flight.
        let entries = (config.buffers.len().max(1) as u32).next_power_of_two();
        let (ring, flags) = set_up(entries)?;
        let descriptors: Vec<RawFd> = config.files.iter().map(|file| file.descriptor()).collect();
        let submitter = ring.submitter();
        let registered_files = submitter.register_files(&descriptors).is_ok();
        let registered_buffers = register_buffers(&ring, &config.buffers);
        let mut restricted = false;
        if flags.restricted {
            restricted = restrict(&ring, registered_files).is_ok();
            submitter.register_enable_rings()?;
        }
        let tier = Tier {
            kind: BackendKind::Uring,
            registered_buffers,
            registered_files,
            restricted,
            deferred: flags.defer_taskrun,
        };
        Ok(Self {
            ring,
            table: InFlight::default(),
            queue: Vec::new(),
            calls: VecDeque::new(),
            suits_ring: config.files.iter().map(|file| file.suits_ring()).collect(),
            files: config.files,
            descriptors,
            tier,
            counters: RingCounters::default(),
        })
    }

    fn sqe(&self, request: &Request) -> squeue::Entry {
        let buffer = self.table.buffer(request.token);
        // U1: the span was checked against its buffer when the operation was taken in.
        debug_assert!(request.at + request.len <= buffer.len());
        let address = buffer.address().as_ptr().wrapping_add(request.at);
        let len = u32::try_from(request.len).expect("a buffer is shorter than 4 GiB");
        let (id, offset, slot) = (buffer.id(), request.offset, request.file.0);
        // U2: ids count up from 0 in the order of registration.
        let registered = usize::from(id) < self.tier.registered_buffers;
        macro_rules! build {
            ($fd:expr) => {
                match (request.kind, registered) {
                    (OpKind::Read, true) => {
                        opcode::ReadFixed::new($fd, address, len, id).offset(offset).build()
                    }
                    (OpKind::Write, true) => {
                        opcode::WriteFixed::new($fd, address, len, id).offset(offset).build()
                    }
                    (OpKind::Read, false) => {
                        opcode::Read::new($fd, address, len).offset(offset).build()
                    }
                    (OpKind::Write, false) => {
                        opcode::Write::new($fd, address, len).offset(offset).build()
                    }
                }
            };
        }
        let entry = if self.tier.registered_files {
            build!(types::Fixed(slot.into()))
        } else {
            build!(types::Fd(self.descriptors[usize::from(slot)]))
        };
        entry.user_data(request.token)
    }

    /// Writes an SQE for everything queued.
    fn fill(&mut self) {
        let mut batch = std::mem::take(&mut self.queue);
        for request in batch.drain(..) {
            let sqe = self.sqe(&request);
            // SAFETY: U1: the address and length are those of a buffer that its slot in the table
            // keeps until the CQE with this user_data is reaped, or leaks (R3).
            let pushed = unsafe { self.ring.submission().push(&sqe) };
            pushed.expect("U3: an entry for every operation in flight");
        }
        self.queue = batch;
    }

    /// Carries out what is done by calls, oldest first.
    fn call(&mut self, done: &mut Vec<Completed>) -> io::Result<()> {
        let Self { calls, table, files, counters, .. } = self;
        while let Some(mut request) = calls.pop_front() {
            match carry_out(table, files, &mut request, counters) {
                Ok(completed) => done.push(completed),
                Err(error) => {
                    // Not in flight: drop must not wait for it.
                    calls.push_front(request);
                    return Err(error);
                }
            }
            counters.completed += 1;
        }
        Ok(())
    }

    /// Enters the kernel once: hands the batch over, runs completions, waits for `want` of them.
    fn enter(&mut self, want: usize) -> io::Result<()> {
        let batch = self.ring.submission().len() as u64;
        self.counters.enters += 1;
        self.counters.batches += u64::from(batch > 0);
        self.counters.submitted += batch;
        self.counters.batch_max = self.counters.batch_max.max(batch);
        match self.ring.submit_and_wait(want) {
            Ok(_) => Ok(()),
            // Interrupted while waiting, or short of memory for the moment: what was handed over
            // stays handed over, the rest stays in the queue, and the next turn goes on.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {
                Ok(())
            }
            // The completion queue is full: it is emptied next.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes every answer there is; what must be asked again is queued for the next turn.
    fn reap(&mut self, done: &mut Vec<Completed>) -> io::Result<()> {
        let Self { ring, table, queue, calls, files, counters, .. } = self;
        for cqe in ring.completion() {
            let result = usize::try_from(cqe.result()).map_err(|_| -cqe.result());
            let token = cqe.user_data();
            counters.completed += 1;
            let file = &files[usize::from(table.file(token).0)];
            match table.answer(token, result, || file.is_direct()) {
                Answer::Done(completed) => done.push(completed),
                Answer::Again(request) => queue.push(request),
                Answer::Directly(request) => calls.push_back(request),
                Answer::LeaveDirect(request) => {
                    let left = file.leave_direct();
                    // Queued whether that went well or not: what is in the table and not queued is
                    // in flight, and drop would wait for it.
                    queue.push(request);
                    left?;
                }
            }
        }
        Ok(())
    }
}

impl Backend for Uring {
    fn submit(&mut self, op: Op) {
        let total: usize = op.spans.iter().map(|span| span.need).sum();
        match op.kind {
            OpKind::Read => self.counters.bytes_read += total as u64,
            OpKind::Write => self.counters.bytes_written += total as u64,
        }
        let request = self.table.insert(op);
        // U4: so the queue has only what suits a ring, whatever is asked again.
        let suits_ring = self.suits_ring[usize::from(request.file.0)];
        if suits_ring {
            self.queue.push(request);
        } else {
            self.calls.push_back(request);
        }
        if suits_ring && planted::is(Bug::BatchOfOne) {
            self.fill();
            // What fails here fails again at the next turn.
            let _ = self.enter(1);
        }
        let in_flight = self.table.len() as u64;
        self.counters.in_flight_max = self.counters.in_flight_max.max(in_flight);
    }

    fn turn(&mut self, wait: Wait, done: &mut Vec<Completed>) -> io::Result<()> {
        let before = done.len();
        while !self.table.is_empty() {
            self.fill();
            if !self.calls.is_empty() {
                // What is for the ring is under way while the calls block.
                if !self.ring.submission().is_empty() {
                    self.enter(0)?;
                }
                self.call(done)?;
                if self.table.is_empty() {
                    break;
                }
            }
            let is_waiting = wait == Wait::ForOne && done.len() == before;
            self.enter(usize::from(is_waiting))?;
            if planted::is(Bug::BufferReusedEarly) {
                self.table.scribble();
            }
            self.reap(done)?;
            if wait == Wait::No || done.len() > before {
                break;
            }
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.table.len()
    }

    fn counters(&self) -> RingCounters {
        RingCounters { resubmitted: self.table.repeated(), ..self.counters }
    }

    fn tier(&self) -> Tier {
        self.tier
    }
}

impl Uring {
    /// Waits for everything in flight, or leaks its buffers.
    fn drain(&mut self) {
        // R3: what was never handed over ends here; what was is waited for.
        let mut done = Vec::new();
        while self.table.len() > self.queue.len() + self.calls.len() {
            if self.enter(1).is_err() {
                self.table.leak();
                return;
            }
            for cqe in self.ring.completion() {
                let result = usize::try_from(cqe.result()).map_err(|_| -cqe.result());
                match self.table.answer(cqe.user_data(), result, || true) {
                    Answer::Done(completed) => done.push(completed),
                    Answer::Again(request)
                    | Answer::Directly(request)
                    | Answer::LeaveDirect(request) => self.queue.push(request),
                }
            }
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.drain();
        // The kernel takes a closed ring down at its leisure, and until then a file registered with
        // it stays open: locked, its space taken, its file system busy. So it is given back first.
        if self.tier.registered_files {
            let _ = self.ring.submitter().unregister_files();
        }
        if self.tier.registered_buffers > 0 {
            let _ = self.ring.submitter().unregister_buffers();
        }
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tier, counters, table, .. } = self;
        f.debug_struct("Uring")
            .field("tier", tier)
            .field("counters", counters)
            .field("in_flight", &table.len())
            .finish_non_exhaustive()
    }
}

/// Goes down the ladder until a step is granted.
pub(super) fn set_up(entries: u32) -> io::Result<(IoUring, RingFlags)> {
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for flags in LADDER {
        let mut builder = IoUring::builder();
        // Twice the submission queue: room for every answer even while a batch is handed over.
        builder.dontfork().setup_cqsize(entries * 2);
        if flags.no_sqarray {
            builder.setup_no_sqarray();
        }
        if flags.defer_taskrun {
            builder.setup_defer_taskrun().setup_taskrun_flag();
        }
        if flags.single_issuer {
            builder.setup_single_issuer();
        }
        if flags.submit_all {
            builder.setup_submit_all();
        }
        if flags.restricted {
            builder.setup_r_disabled();
        }
        match builder.build(entries) {
            Ok(ring) => return Ok((ring, flags)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// Registers as many buffers as the locked-memory limit allows: all, half, a quarter, … none. The
/// limit counts per user and is given back late, so a refusal says nothing of the next try.
fn register_buffers(ring: &IoUring, buffers: &[&Buffer]) -> usize {
    let mut count = buffers.len();
    while count > 0 {
        let vectors: Vec<libc::iovec> = buffers[..count]
            .iter()
            .map(|buffer| libc::iovec {
                iov_base: buffer.address().as_ptr().cast(),
                iov_len: buffer.len(),
            })
            .collect();
        // SAFETY: U2: each vector is a live allocation, and an operation on a registered buffer
        // owns that buffer until it is done. The kernel holds the pages itself, so a buffer freed
        // before the ring leaves no dangling mapping.
        match unsafe { ring.submitter().register_buffers(&vectors) } {
            Ok(()) => return count,
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => count /= 2,
            Err(_) => return 0,
        }
    }
    0
}

/// `IORING_UNREGISTER_BUFFERS` and `IORING_UNREGISTER_FILES` of linux/io_uring.h.
const UNREGISTER_BUFFERS: u8 = 1;
const UNREGISTER_FILES: u8 = 3;

/// Leaves only reads and writes, and only of registered files where they are registered; and giving
/// both registrations back.
fn restrict(ring: &IoUring, registered_files: bool) -> io::Result<()> {
    let mut restrictions = vec![
        Restriction::sqe_op(opcode::Read::CODE),
        Restriction::sqe_op(opcode::Write::CODE),
        Restriction::sqe_op(opcode::ReadFixed::CODE),
        Restriction::sqe_op(opcode::WriteFixed::CODE),
        Restriction::register_op(UNREGISTER_BUFFERS),
        Restriction::register_op(UNREGISTER_FILES),
    ];
    if registered_files {
        let fixed_file = squeue::Flags::FIXED_FILE.bits();
        restrictions.push(Restriction::sqe_flags_required(fixed_file));
    }
    ring.submitter().register_restrictions(&mut restrictions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;
    use crate::ring::file::{Disk, File};
    use crate::ring::op::{FileSlot, Span};
    use crate::ring::os::OsDisk;
    use std::ffi::OsStr;
    use std::sync::Arc;

    const BLOCK: usize = 4096;
    const LEN: usize = 64 << 10;

    struct Bench {
        _folder: tempfile::TempDir,
        file: Arc<dyn File>,
        pool: Pool,
        ring: Uring,
    }

    /// A ring over a new file in the checkout's own file system, with `count` buffers. Where the
    /// machine refuses io_uring that is said aloud, and there is nothing to test.
    fn bench(count: usize) -> Option<Bench> {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let directory = OsDisk.directory(folder.path()).unwrap();
        let file = directory.create_new(OsStr::new("file"), true).unwrap();
        file.allocate(0, (count * LEN) as u64).unwrap();
        let pool = Pool::new(count, LEN, 0);
        let mut buffers: Vec<_> = pool.iter().collect();
        buffers.sort_by_key(|buffer| buffer.id());
        let ring = match Uring::new(BackendConfig { files: vec![Arc::clone(&file)], buffers }) {
            Ok(ring) => ring,
            Err(error) => {
                use std::io::Write;
                let why = format!("SKIPPED: io_uring is not to be had here: {error}\n");
                std::io::stderr().write_all(why.as_bytes()).unwrap();
                return None;
            }
        };
        Some(Bench { _folder: folder, file, pool, ring })
    }

    fn op(bench: &mut Bench, kind: OpKind, number: usize, fill: u8) -> Op {
        let mut buffer = bench.pool.lease().expect("a free buffer");
        buffer.fill(fill);
        let span = Span::exact((number * LEN) as u64, 0, LEN);
        Op { kind, file: FileSlot(0), spans: vec![span], buffer, tag: number as u64 }
    }

    fn finish(bench: &mut Bench) -> Vec<Completed> {
        let mut done = Vec::new();
        while bench.ring.in_flight() > 0 {
            bench.ring.turn(Wait::ForOne, &mut done).unwrap();
        }
        done
    }

    #[test]
    fn r2_u1_u2_every_operation_moves_its_own_buffer() {
        let Some(mut bench) = bench(8) else { return };
        for number in 0..8 {
            let write = op(&mut bench, OpKind::Write, number, number as u8 + 1);
            bench.ring.submit(write);
        }
        for Completed { result, buffer, .. } in finish(&mut bench) {
            assert!(result.is_ok());
            bench.pool.give_back(buffer);
        }
        // One call handed all of them over.
        assert_eq!((bench.ring.counters().batches, bench.ring.counters().batch_max), (1, 8));
        for number in (0..8).rev() {
            let read = op(&mut bench, OpKind::Read, number, 0xEE);
            bench.ring.submit(read);
        }
        for Completed { tag, result, buffer, .. } in finish(&mut bench) {
            assert!(result.is_ok());
            assert!(buffer.iter().all(|&byte| byte == tag as u8 + 1), "{tag}");
        }
    }

    #[test]
    fn u3_a_ring_made_for_its_buffers_is_never_full() {
        let Some(mut bench) = bench(5) else { return };
        for round in 0..20 {
            while bench.pool.has_free() {
                let write = op(&mut bench, OpKind::Write, round % 5, 7);
                bench.ring.submit(write);
            }
            let mut done = Vec::new();
            bench.ring.turn(Wait::ForOne, &mut done).unwrap();
            done.into_iter().for_each(|completed| bench.pool.give_back(completed.buffer));
        }
        finish(&mut bench);
    }

    #[test]
    fn r1_r3_a_ring_dropped_in_flight_has_written_what_it_was_given() {
        for _ in 0..20 {
            let Some(mut bench) = bench(8) else { return };
            for number in 0..8 {
                let write = op(&mut bench, OpKind::Write, number, 0xAB);
                bench.ring.submit(write);
            }
            bench.ring.turn(Wait::No, &mut Vec::new()).unwrap();
            let Bench { _folder, file, pool, ring } = bench;
            drop(ring);
            // The buffers are free again, and may be overwritten: the kernel is done with them.
            drop(pool);
            let mut back = crate::buffer::AlignedMemory::zeroed(8 * LEN);
            assert_eq!(file.read_at(&mut back, 0).unwrap(), 8 * LEN);
            assert!(back.iter().all(|&byte| byte == 0xAB));
        }
    }

    #[test]
    fn a_failed_operation_returns_its_buffer_and_its_errno() {
        let Some(mut bench) = bench(1) else { return };
        let directory = OsDisk.directory(bench._folder.path()).unwrap();
        directory.unlink(OsStr::new("file")).unwrap();
        let read_only = tempfile::NamedTempFile::new().unwrap();
        let file = OsDisk.open(read_only.path(), false).unwrap();
        let buffers: Vec<_> = bench.pool.iter().collect();
        let config = BackendConfig { files: vec![file], buffers };
        let ring = Uring::new(config).unwrap();
        bench.ring = ring;
        let write = op(&mut bench, OpKind::Write, 0, 1);
        bench.ring.submit(write);
        let completed = finish(&mut bench).remove(0);
        let Err((0, crate::ring::Failure::Os(error))) = completed.result else { panic!() };
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert_eq!(completed.buffer.len() % BLOCK, 0);
    }
}
