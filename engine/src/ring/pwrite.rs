//! The backend without io_uring: one pread or pwrite after the other, on the worker's own thread.
//!
//! It stands in where a kernel, a container or seccomp refuses io_uring. Table, slots, retries and
//! order are those of the ring; only nothing overlaps. What is queued is done in the next turn,
//! oldest first.

use std::collections::VecDeque;
use std::io;

use super::inflight::{Answer, InFlight, Request};
use super::op::{Completed, Op, OpKind};
use super::{Backend, BackendKind, Files, Tier, Wait};
use crate::stats::RingCounters;

/// The backend.
#[derive(Debug)]
pub struct Pwrite {
    files: Files,
    table: InFlight,
    queue: VecDeque<Request>,
    counters: RingCounters,
}

impl Pwrite {
    /// A backend for `files`.
    #[must_use]
    pub fn new(files: Files) -> Self {
        Self {
            files,
            table: InFlight::default(),
            queue: VecDeque::new(),
            counters: RingCounters::default(),
        }
    }

    fn perform(&mut self, request: Request) -> Result<usize, i32> {
        let file = &self.files[usize::from(request.file.0)];
        let buffer = self.table.buffer_mut(request.token);
        let bytes = &mut buffer[request.at..request.at + request.len];
        self.counters.enters += 1;
        let moved = match request.kind {
            OpKind::Read => file.read_at(bytes, request.offset),
            OpKind::Write => file.write_at(bytes, request.offset),
        };
        let moved = moved.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        match request.kind {
            OpKind::Read => self.counters.bytes_read += moved as u64,
            OpKind::Write => self.counters.bytes_written += moved as u64,
        }
        Ok(moved)
    }

    fn carry_out(&mut self, mut request: Request) -> io::Result<Completed> {
        loop {
            let result = self.perform(request);
            let file = &self.files[usize::from(request.file.0)];
            match self.table.answer(request.token, result, || file.is_direct()) {
                Answer::Done(completed) => return Ok(completed),
                Answer::Again(again) => request = again,
                Answer::LeaveDirect(again) => {
                    file.leave_direct()?;
                    request = again;
                }
            }
        }
    }
}

impl Backend for Pwrite {
    fn submit(&mut self, op: Op) {
        self.queue.push_back(self.table.insert(op));
        self.counters.submitted += 1;
        let in_flight = self.table.len() as u64;
        self.counters.in_flight_max = self.counters.in_flight_max.max(in_flight);
    }

    fn turn(&mut self, _wait: Wait, done: &mut Vec<Completed>) -> io::Result<()> {
        let batch = self.queue.len() as u64;
        self.counters.batches += u64::from(batch > 0);
        self.counters.batch_max = self.counters.batch_max.max(batch);
        while let Some(request) = self.queue.pop_front() {
            done.push(self.carry_out(request)?);
            self.counters.completed += 1;
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
        Tier {
            kind: BackendKind::Pwrite,
            registered_buffers: 0,
            registered_files: false,
            restricted: false,
            deferred: false,
        }
    }
}
