//! Writing a container on a tokio-uring runtime.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::file::RuntimeFile;
use super::operations;
use crate::aio::blocking;
use crate::buffer::AlignedMemory;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Checkpoint;
use crate::ring::file::Attributes;
use crate::ring::os::OsDisk;
use crate::write::{ByCaller, Ready, ReopenOptions, Reopened, WriteOptions, WriteReport};

/// Writes a container chunk by chunk on a tokio-uring runtime, as
/// [`ContainerWriter`](crate::write::ContainerWriter) does on threads of its own.
///
/// Chunks are encoded on the runtime's thread, one at a time, and written by its ring, many at a
/// time. It may be shared by the tasks of its runtime (`&self`), but not by threads.
///
/// Dropped without [`finalize`](Self::finalize) or [`suspend`](Self::suspend) it aborts: what it
/// wrote is removed.
///
/// ```no_run
/// use ringpack::aio::uring::{UringWriter, start};
/// use ringpack::write::WriteOptions;
///
/// # fn main() -> ringpack::Result<()> {
/// let report = start(async {
///     let writer = UringWriter::create("data.zst", &WriteOptions::default()).await?;
///     writer.write_chunk(1, b"the end").await?;
///     writer.write_chunk(0, &vec![7; 1 << 20]).await?;
///     writer.finalize(None).await
/// })?;
/// assert_eq!(report.header.content_size, (1 << 20) + 7);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct UringWriter {
    /// Taken when it ends.
    shared: Option<Rc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    writer: ByCaller,
    file: Rc<RuntimeFile>,
    state: RefCell<State>,
    /// Buffers are free, chunks have places or the writer has stopped, which wasn't so before.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    free: Vec<AlignedMemory>,
    /// Chunks that were given and are not written.
    outstanding: BTreeSet<u64>,
    writes: Vec<JoinHandle<()>>,
}

impl UringWriter {
    /// As [`ContainerWriter::create`](crate::write::ContainerWriter::create); of the options, `io`
    /// and `threads` mean nothing here.
    ///
    /// # Errors
    /// As there.
    pub async fn create(path: impl Into<PathBuf>, options: &WriteOptions) -> Result<Self> {
        let (path, options) = (path.into(), options.clone());
        let create = move || ByCaller::create(Arc::new(OsDisk), &path, &options);
        Self::of(blocking(create).await?)
    }

    /// As [`ContainerWriter::reopen_with`](crate::write::ContainerWriter::reopen_with).
    ///
    /// # Errors
    /// As there.
    pub async fn reopen(path: impl Into<PathBuf>, options: &ReopenOptions) -> Result<Self> {
        let (path, options) = (path.into(), options.clone());
        let reopen = move || ByCaller::reopen(Arc::new(OsDisk), &path, &options);
        Self::of(blocking(reopen).await?)
    }

    /// As
    /// [`ContainerWriter::reopen_or_create`](crate::write::ContainerWriter::reopen_or_create).
    ///
    /// # Errors
    /// As there.
    pub async fn reopen_or_create(
        path: impl Into<PathBuf>,
        options: &WriteOptions,
    ) -> Result<Self> {
        let (path, options) = (path.into(), options.clone());
        let begin = move || ByCaller::reopen_or_create(Arc::new(OsDisk), &path, &options);
        Self::of(blocking(begin).await?)
    }

    fn of(writer: ByCaller) -> Result<Self> {
        // The same open file, so that its lock lasts as long as any write of it.
        let shared = writer.file().share().map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot share the partial file", error)
        })?;
        let (count, len) = writer.buffers();
        let state = State {
            free: (0..count).map(|_| AlignedMemory::zeroed(len)).collect(),
            outstanding: BTreeSet::new(),
            writes: Vec::new(),
        };
        let file = Rc::new(RuntimeFile::new(shared.into()));
        let (state, changed) = (RefCell::new(state), Notify::new());
        Ok(Self { shared: Some(Rc::new(Shared { writer, file, state, changed })) })
    }

    fn shared(&self) -> &Rc<Shared> {
        self.shared.as_ref().expect("only its end takes it")
    }

    /// Gives chunk `sequence`; waits while every buffer is in use.
    ///
    /// # Errors
    /// As of [`ContainerWriter::write_chunk`](crate::write::ContainerWriter::write_chunk).
    pub async fn write_chunk(&self, sequence: u64, bytes: &[u8]) -> Result<()> {
        let shared = self.shared();
        let mut memory = shared.lease().await?;
        let ready = match shared.writer.make(sequence, bytes, &mut memory) {
            Ok(ready) => ready,
            Err(error) => {
                shared.give_back(memory);
                return Err(error);
            }
        };
        let own = Rc::clone(shared);
        let mut state = shared.state.borrow_mut();
        state.outstanding.insert(sequence);
        state.writes.retain(|write| !write.is_finished());
        // A task of its own: it goes on if whoever waits for this call is dropped.
        state.writes.push(tokio_uring::spawn(async move {
            own.write(sequence, ready, memory).await;
        }));
        drop(state);
        // Its length may have given others their places.
        shared.changed.notify_waiters();
        Ok(())
    }

    /// As [`ContainerWriter::checkpoint`](crate::write::ContainerWriter::checkpoint).
    ///
    /// # Errors
    /// As there.
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        let shared = self.shared();
        shared.settled().await?;
        let (reply, answer) = oneshot::channel();
        shared.writer.checkpoint(move |taken| drop(reply.send(taken)));
        // Nobody answers any more where the writer has failed.
        answer.await.unwrap_or_else(|_| Err(shared.writer.failure()))
    }

    /// As [`ContainerWriter::finalize`](crate::write::ContainerWriter::finalize).
    ///
    /// # Errors
    /// As there.
    pub async fn finalize(
        mut self,
        attributes: impl Into<Option<Attributes>>,
    ) -> Result<WriteReport> {
        if self.given() == 0 {
            self.write_chunk(0, &[]).await?;
        }
        let shared = self.shared();
        if let Err(missing) = shared.writer.check_complete() {
            let _ = self.checkpoint().await;
            return Err(match self.end_suspended().await? {
                Some(bytes) => missing.resumable(bytes),
                None => missing,
            });
        }
        // Where that fails, finalizing says why.
        let _ = shared.settled().await;
        let (writer, attributes) = (self.end().await?, attributes.into());
        blocking(move || writer.finalize(attributes)).await
    }

    /// As [`ContainerWriter::suspend`](crate::write::ContainerWriter::suspend).
    ///
    /// # Errors
    /// As there.
    pub async fn suspend(mut self) -> Result<Checkpoint> {
        let taken = self.checkpoint().await;
        self.end_suspended().await?;
        taken
    }

    async fn end_suspended(&mut self) -> Result<Option<u64>> {
        let shared = self.shared();
        shared.writer.stop(true);
        shared.changed.notify_waiters();
        let writer = self.end().await?;
        blocking(move || Ok(writer.end_suspended())).await
    }

    /// The writer alone, after the last write has ended and the runtime's file is closed.
    async fn end(&mut self) -> Result<ByCaller> {
        let shared = self.shared.take().expect("only its end takes it");
        let writes = std::mem::take(&mut shared.state.borrow_mut().writes);
        for write in writes {
            // One that panicked has left its chunk unwritten, which comes out.
            let _ = write.await;
        }
        let gone = || Error::new(ErrorKind::Internal, "a write outlived its task");
        let Shared { writer, file, .. } = Rc::try_unwrap(shared).map_err(|_| gone())?;
        let file = Rc::try_unwrap(file).map_err(|_| gone())?;
        // The partial file is synced through another descriptor: nothing is lost with this one.
        file.close().await;
        Ok(writer)
    }

    /// Length of every chunk but the last, in bytes.
    #[must_use]
    pub fn chunk_len(&self) -> usize {
        self.shared().writer.chunk_len()
    }

    /// Whether chunk `sequence` was given, to this writer or the one it goes on from.
    #[must_use]
    pub fn is_given(&self, sequence: u64) -> bool {
        self.shared().writer.is_given(sequence)
    }

    /// How many chunks were given.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.shared().writer.given()
    }

    /// What it goes on from, if it was reopened.
    #[must_use]
    pub fn reopened(&self) -> Option<Reopened> {
        self.shared().writer.reopened()
    }
}

impl Drop for UringWriter {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.writer.stop(false);
            shared.changed.notify_waiters();
        }
    }
}

impl Shared {
    async fn lease(&self) -> Result<AlignedMemory> {
        loop {
            let changed = self.changed.notified();
            self.writer.check()?;
            let free = self.state.borrow_mut().free.pop();
            if let Some(mut memory) = free {
                memory.poison();
                return Ok(memory);
            }
            changed.await;
        }
    }

    fn give_back(&self, memory: AlignedMemory) {
        self.state.borrow_mut().free.push(memory);
        self.changed.notify_waiters();
    }

    /// Writes a chunk once it has a place.
    async fn write(&self, sequence: u64, mut ready: Ready, memory: AlignedMemory) {
        let offset = loop {
            let changed = self.changed.notified();
            if let Some(offset) = self.writer.place(&mut ready) {
                break offset;
            }
            if self.writer.check().is_err() {
                return self.give_back(memory);
            }
            changed.await;
        };
        let (file, len) = (Rc::clone(&self.file), ready.write_len());
        let output = &**self.writer.file();
        let (memory, ended) = operations::write_all(file, memory, len, offset, output).await;
        match ended {
            Ok(()) => self.writer.written(&ready),
            Err((at, error)) => self.writer.failed(&ready, at, error),
        }
        self.state.borrow_mut().outstanding.remove(&sequence);
        self.give_back(memory);
    }

    /// Waits until all is written that was given before and has a place.
    async fn settled(&self) -> Result<()> {
        let has_place = |sequence: &&u64| self.writer.is_placed(**sequence);
        let waits: Vec<u64> =
            self.state.borrow().outstanding.iter().filter(has_place).copied().collect();
        loop {
            let changed = self.changed.notified();
            self.writer.check()?;
            let is_left = |sequence| self.state.borrow().outstanding.contains(sequence);
            if !waits.iter().any(is_left) {
                return Ok(());
            }
            changed.await;
        }
    }
}
