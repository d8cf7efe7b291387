//! Each thread writes what it encoded, on a ring of its own; with or without a lock in its way.

use std::io;
use std::sync::{Mutex, PoisonError};

use ringpack::buffer::Buffer;
use ringpack::ring::file::Disk;
use ringpack::ring::os::OsDisk;
use ringpack::ring::{
    Backend, BackendConfig, BackendKind, Completed, Failure, FileSlot, Op, OpKind, Span, Wait,
};
use ringpack::units::align_up;

use super::{Shared, on_each};

/// What is locked while a chunk is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// Nothing.
    None,
    /// Submitting.
    File,
    /// Reserving, submitting and waiting.
    Writer,
}

pub(super) fn write(shared: &Shared<'_>, lock: Lock) -> io::Result<()> {
    let mutex = Mutex::new(());
    on_each(shared.setup.threads, |_| {
        let mut ring = Ring::new(shared, (0..shared.setup.depth as u16).collect())?;
        let mut encoder = shared.encoder();
        while let Some(sequence) = shared.claim() {
            let mut buffer = ring.buffer()?;
            let len = shared.encode(&mut encoder, sequence, &mut buffer)?;
            let guard = match lock {
                Lock::None => None,
                Lock::File | Lock::Writer => {
                    Some(mutex.lock().unwrap_or_else(PoisonError::into_inner))
                }
            };
            let offset = shared.reserve(sequence, len);
            ring.write(buffer, offset, len)?;
            if lock == Lock::Writer {
                ring.drain()?;
            }
            drop(guard);
        }
        ring.drain()
    })
}

/// A thread's ring, and the buffers that are not in flight on it.
pub(super) struct Ring {
    backend: Box<dyn Backend>,
    free: Vec<Buffer>,
    done: Vec<Completed>,
}

impl Ring {
    /// A ring with buffers of these ids, registered.
    pub(super) fn new(shared: &Shared<'_>, ids: Vec<u16>) -> io::Result<Self> {
        let free: Vec<Buffer> = ids.into_iter().map(|id| Buffer::new(shared.room(), id)).collect();
        let config =
            BackendConfig { files: vec![shared.file.clone()], buffers: free.iter().collect() };
        let backend = OsDisk.backend(BackendKind::Uring, config)?;
        Ok(Self { backend, free, done: Vec::new() })
    }

    /// A ring for buffers that are made elsewhere.
    pub(super) fn of_others(shared: &Shared<'_>, buffers: Vec<&Buffer>) -> io::Result<Self> {
        let config = BackendConfig { files: vec![shared.file.clone()], buffers };
        let backend = OsDisk.backend(BackendKind::Uring, config)?;
        Ok(Self { backend, free: Vec::new(), done: Vec::new() })
    }

    /// A free buffer, waiting for one if there is none.
    fn buffer(&mut self) -> io::Result<Buffer> {
        loop {
            if let Some(buffer) = self.free.pop() {
                return Ok(buffer);
            }
            self.turn(Wait::ForOne)?;
        }
    }

    /// The buffers that came back.
    pub(super) fn take_free(&mut self) -> impl Iterator<Item = Buffer> + '_ {
        self.free.drain(..)
    }

    /// Hands a write over.
    pub(super) fn write(&mut self, buffer: Buffer, offset: u64, len: usize) -> io::Result<()> {
        self.submit(buffer, offset, len);
        self.turn(Wait::No)
    }

    /// Queues a write for the next turn.
    pub(super) fn submit(&mut self, buffer: Buffer, offset: u64, len: usize) {
        let span = Span::exact(offset, 0, align_up(len as u64) as usize);
        let (kind, file) = (OpKind::Write, FileSlot(0));
        self.backend.submit(Op { kind, file, spans: vec![span], buffer, tag: 0 });
    }

    pub(super) fn in_flight(&self) -> usize {
        self.backend.in_flight()
    }

    pub(super) fn turn(&mut self, wait: Wait) -> io::Result<()> {
        self.backend.turn(wait, &mut self.done)?;
        for Completed { buffer, result, .. } in self.done.drain(..) {
            self.free.push(buffer);
            if let Err((_, failure)) = result {
                return Err(match failure {
                    Failure::Os(error) => error,
                    Failure::EndOfFile => io::ErrorKind::UnexpectedEof.into(),
                });
            }
        }
        Ok(())
    }

    /// Waits for all that is in flight.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        while self.in_flight() > 0 {
            self.turn(Wait::ForOne)?;
        }
        Ok(())
    }
}
