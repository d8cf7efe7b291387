//! The simulator's backend: an in-flight table whose answers come from a seeded disk.
//!
//! A turn issues what is queued and lets some of what is in flight finish: all of it, oldest first,
//! or with [`SimOptions::reorder`](super::SimOptions) a random number in random order. Between the
//! two a write is in flight: not seen by reads, not covered by a sync, and at a power cut anything
//! may have become of it.
//!
//! # Invariants
//! - S13: a turn that waits returns an operation, if any is in flight.
//! - S14: every transfer issued is finished once, by a turn or by the backend's drop; so the files'
//!   locks, held by the same `Arc`s, outlast it (R3).

use std::io;

use super::SimDisk;
use super::transfer::Issued;
use crate::ring::inflight::{Answer, InFlight, Request};
use crate::ring::op::{Completed, Op, OpKind};
use crate::ring::{Backend, BackendConfig, BackendKind, Files, Tier, Wait};
use crate::stats::RingCounters;

/// The backend.
#[derive(Debug)]
pub(super) struct SimBackend {
    disk: SimDisk,
    files: Files,
    table: InFlight,
    queue: Vec<Request>,
    issued: Vec<(Request, Issued)>,
    in_flight_max: usize,
    registered_buffers: usize,
    counters: RingCounters,
}

impl SimBackend {
    pub(super) fn new(disk: SimDisk, config: BackendConfig<'_>) -> Self {
        let is_ours = |descriptor| disk.state().is_open(descriptor);
        assert!(config.files.iter().all(|file| is_ours(file.descriptor())), "of another disk");
        Self {
            disk,
            files: config.files,
            table: InFlight::default(),
            queue: Vec::new(),
            issued: Vec::new(),
            // As many as a ring made for these buffers has entries.
            in_flight_max: config.buffers.len().max(1).next_power_of_two(),
            registered_buffers: config.buffers.len(),
            counters: RingCounters::default(),
        }
    }

    /// Issues what is queued: one batch.
    fn issue(&mut self) {
        let batch = self.queue.len() as u64;
        self.counters.enters += 1;
        self.counters.batches += u64::from(batch > 0);
        self.counters.batch_max = self.counters.batch_max.max(batch);
        self.counters.submitted += batch;
        let mut state = self.disk.state();
        state.step();
        for request in self.queue.drain(..) {
            let descriptor = self.files[usize::from(request.file.0)].descriptor();
            let bytes = &self.table.buffer(request.token)[request.at..request.at + request.len];
            let issued = state.issue(descriptor, request.kind, request.offset, bytes);
            self.issued.push((request, issued));
        }
    }

    /// Which of the transfers in flight finish now, in order.
    fn finishing(&mut self, wait: Wait) -> Vec<(Request, Issued)> {
        let mut state = self.disk.state();
        if !state.options.reorder {
            return std::mem::take(&mut self.issued);
        }
        let fewest = usize::from(wait == Wait::ForOne).min(self.issued.len());
        let count = fewest + state.random.index(self.issued.len() - fewest + 1);
        let mut finishing = Vec::with_capacity(count);
        for _ in 0..count {
            let index = state.random.index(self.issued.len());
            finishing.push(self.issued.remove(index));
        }
        finishing
    }

    /// Lets a transfer finish, and says what its operation returns if that was the last.
    fn finish(&mut self, request: Request, issued: Issued) -> io::Result<Option<Completed>> {
        let result = self.move_bytes(request, issued);
        let file = &self.files[usize::from(request.file.0)];
        let again = match self.table.answer(request.token, result, || file.is_direct()) {
            Answer::Done(completed) => return Ok(Some(completed)),
            Answer::Again(again) | Answer::Directly(again) => again,
            Answer::LeaveDirect(again) => {
                self.files[usize::from(request.file.0)].leave_direct()?;
                again
            }
        };
        self.queue.push(again);
        Ok(None)
    }

    fn move_bytes(&mut self, request: Request, issued: Issued) -> Result<usize, i32> {
        let mut state = self.disk.state();
        match request.kind {
            OpKind::Read => {
                let buffer = self.table.buffer_mut(request.token);
                let bytes = &mut buffer[request.at..request.at + request.len];
                let moved = state.finish_read(issued, bytes)?;
                self.counters.bytes_read += moved as u64;
                Ok(moved)
            }
            OpKind::Write => {
                let moved = state.finish_write(issued)?;
                self.counters.bytes_written += moved as u64;
                Ok(moved)
            }
        }
    }
}

impl Backend for SimBackend {
    fn submit(&mut self, op: Op) {
        assert!(self.table.len() < self.in_flight_max, "more operations than buffers");
        self.queue.push(self.table.insert(op));
        let in_flight = self.table.len() as u64;
        self.counters.in_flight_max = self.counters.in_flight_max.max(in_flight);
    }

    fn turn(&mut self, wait: Wait, done: &mut Vec<Completed>) -> io::Result<()> {
        let before = done.len();
        loop {
            self.issue();
            for (request, issued) in self.finishing(wait) {
                self.counters.completed += 1;
                done.extend(self.finish(request, issued)?);
            }
            // S13: answers that only led to another request are not what was waited for.
            if wait == Wait::No || done.len() > before || self.table.is_empty() {
                return Ok(());
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.table.len()
    }

    fn counters(&self) -> RingCounters {
        RingCounters { resubmitted: self.table.repeated(), ..self.counters }
    }

    fn tier(&self) -> Tier {
        Tier {
            kind: BackendKind::Sim,
            registered_buffers: self.registered_buffers,
            registered_files: true,
            restricted: true,
            deferred: true,
        }
    }
}

impl Drop for SimBackend {
    fn drop(&mut self) {
        // S14: they finish, as the kernel's would. What is only queued was never asked for.
        let mut state = self.disk.state();
        for (_, issued) in self.issued.drain(..) {
            state.finish_unwatched(issued);
        }
    }
}
