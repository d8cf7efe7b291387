//! The backend without io_uring: one pread or pwrite after the other, on the worker's own thread.
//!
//! It stands in where a kernel, a container or seccomp refuses io_uring. Table, slots, retries and
//! order are those of the ring; only nothing overlaps. What is queued is done in the next turn,
//! oldest first.

use std::collections::VecDeque;
use std::io;

use super::calls::carry_out;
use super::inflight::{InFlight, Request};
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
}

impl Backend for Pwrite {
    fn submit(&mut self, op: Op) {
        let total: u64 = op.spans.iter().map(|span| span.need as u64).sum();
        match op.kind {
            OpKind::Read => self.counters.bytes_read += total,
            OpKind::Write => self.counters.bytes_written += total,
        }
        self.queue.push_back(self.table.insert(op));
        self.counters.submitted += 1;
        let in_flight = self.table.len() as u64;
        self.counters.in_flight_max = self.counters.in_flight_max.max(in_flight);
    }

    fn turn(&mut self, _wait: Wait, done: &mut Vec<Completed>) -> io::Result<()> {
        let batch = self.queue.len() as u64;
        self.counters.batches += u64::from(batch > 0);
        self.counters.batch_max = self.counters.batch_max.max(batch);
        while let Some(mut request) = self.queue.pop_front() {
            let Self { files, table, counters, .. } = self;
            done.push(carry_out(table, files, &mut request, counters)?);
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
