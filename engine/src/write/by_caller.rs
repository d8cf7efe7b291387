//! A writer whose caller does the writing: everything but the rings.
//!
//! A runtime with an I/O loop of its own writes with that. Chunks are checked, encoded and placed
//! here, and the recorder keeps its account of them as of any other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::exchange::{Flush, Made};
use super::options::{ReopenOptions, WriteOptions};
use super::session::{Session, Transport};
use super::shared::Ending;
use super::task::{Event, Written};
use super::{Reopened, WriteReport};
use crate::buffer::AlignedMemory;
use crate::encode::single_room;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Checkpoint;
use crate::limits;
use crate::ring::file::{Attributes, Disk, File};
use crate::units::ExtentNumber;

/// A chunk whose frame is made.
#[derive(Debug)]
pub(crate) struct Ready(Made);

impl Ready {
    /// Bytes of the buffer that are to be written.
    pub(crate) fn write_len(&self) -> usize {
        self.0.single.closed.write_len
    }
}

/// The writer.
#[derive(Debug)]
pub(crate) struct ByCaller {
    session: Session,
}

impl ByCaller {
    /// As [`ContainerWriter::create_on`](super::ContainerWriter::create_on).
    pub(crate) fn create(disk: Arc<dyn Disk>, path: &Path, options: &WriteOptions) -> Result<Self> {
        let session = Session::create(disk, path, options, Transport::Caller)?;
        Ok(Self { session })
    }

    /// As [`ContainerWriter::reopen_on`](super::ContainerWriter::reopen_on).
    pub(crate) fn reopen(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &ReopenOptions,
    ) -> Result<Self> {
        let session = Session::reopen(disk, path, options, Transport::Caller)?;
        Ok(Self { session })
    }

    /// As [`ContainerWriter::reopen_or_create_on`](super::ContainerWriter::reopen_or_create_on).
    pub(crate) fn reopen_or_create(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &WriteOptions,
    ) -> Result<Self> {
        let session = Session::reopen_or_create(disk, path, options, Transport::Caller)?;
        Ok(Self { session })
    }

    /// The partial file.
    pub(crate) fn file(&self) -> &Arc<dyn File> {
        self.session.file()
    }

    /// How many buffers the caller needs, so that whoever gives the chunk that others wait for
    /// finds one; and how long they are.
    pub(crate) fn buffers(&self) -> (usize, usize) {
        let chunk_len = self.session.inner.recipe.geometry.chunk_len();
        let fewest = limits::buffers_per_side(chunk_len, u64::MAX);
        let window = match self.session.inner.window {
            u64::MAX => 0,
            window => window as usize,
        };
        (fewest.max(window), single_room(chunk_len as usize))
    }

    /// Checks a chunk and makes its frame in `buffer`. The caller gives no two at a time.
    pub(crate) fn make(
        &self,
        sequence: u64,
        bytes: &[u8],
        buffer: &mut AlignedMemory,
    ) -> Result<Ready> {
        let made = self.session.inner.make_given(sequence, bytes, buffer);
        made.map(Ready).map_err(|error| error.at(self.session.path()))
    }

    /// Where the chunk is to be written, once that is known.
    pub(crate) fn place(&self, ready: &mut Ready) -> Option<u64> {
        let placed = self.session.inner.placement.place(ready.0.single.extent())?;
        ready.0.placed = Some(placed);
        Some(placed.offset().0)
    }

    /// Takes note that all of it was written.
    pub(crate) fn written(&self, ready: &Ready) {
        self.tell(Event::Written(Written::of(&ready.0)));
    }

    /// Takes note that it can't be written at `offset`: the writer has failed.
    pub(crate) fn failed(&self, ready: &Ready, offset: u64, error: std::io::Error) {
        if !matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) {
            self.session.inner.output_failed.store(true, SeqCst);
        }
        let error = Error::from_io(ErrorKind::Output, "cannot write", error);
        self.session.inner.job.fail(error.sequence(ready.0.single.chunk.sequence.0).offset(offset));
    }

    /// Has `reply` called after a checkpoint of all that was told to be written before.
    pub(crate) fn checkpoint(&self, reply: impl FnOnce(Result<Checkpoint>) + Send + 'static) {
        self.tell(Event::Flushed(Flush::new(1, reply)));
    }

    fn tell(&self, event: Event) {
        // Where nobody hears it any more, the writer has failed and says so.
        if let Some(events) = self.session.events() {
            let _ = events.send(event);
        }
    }

    /// Why the writer doesn't go on, if it doesn't.
    pub(crate) fn check(&self) -> Result<()> {
        self.session.inner.job.first_error().map_err(|error| error.at(self.session.path()))
    }

    /// Why the writer stopped.
    pub(crate) fn failure(&self) -> Error {
        self.session.failure().at(self.session.path())
    }

    /// Whether every chunk before the highest given was given.
    pub(crate) fn check_complete(&self) -> Result<()> {
        let complete = self.session.inner.claims.check_complete();
        complete.map_err(|missing| missing.at(self.session.path()))
    }

    /// Whether chunk `sequence` has a place.
    pub(crate) fn is_placed(&self, sequence: u64) -> bool {
        self.session.inner.placement.is_placed(ExtentNumber(sequence))
    }

    /// Has the writer stop; to be dropped or, if it is to `keep` what a checkpoint covers, ended by
    /// [`Self::end_suspended`].
    pub(crate) fn stop(&self, keep: bool) {
        self.session.stop(keep.then_some(Ending::Suspend));
    }

    /// Completes the container, once all was told to be written; blocks.
    pub(crate) fn finalize(mut self, attributes: Option<Attributes>) -> Result<WriteReport> {
        let ending = match self.check() {
            Ok(()) => Ending::Finalize(attributes),
            Err(_) => Ending::Suspend,
        };
        self.session.end(Some(ending))
    }

    /// Lets go of it, leaving what the last checkpoint covers: how many bytes; blocks.
    pub(crate) fn end_suspended(mut self) -> Option<u64> {
        self.session.end(Some(Ending::Suspend)).err()?.resumable_bytes()
    }

    /// How many chunks were given.
    pub(crate) fn given(&self) -> u64 {
        self.session.inner.claims.count()
    }

    /// Whether chunk `sequence` was given.
    pub(crate) fn is_given(&self, sequence: u64) -> bool {
        self.session.inner.claims.is_given(sequence)
    }

    /// What it goes on from, if it was reopened.
    pub(crate) fn reopened(&self) -> Option<Reopened> {
        self.session.reopened
    }

    /// Length of every chunk but the last, in bytes.
    pub(crate) fn chunk_len(&self) -> usize {
        self.session.inner.recipe.geometry.chunk_len() as usize
    }
}
