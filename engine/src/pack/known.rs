//! What is known of a container's chunks: those that a run before this one wrote, and those that
//! this one completed.
//!
//! A record a chunk, shared by the coordinator, which adds to it, and the workers, which look the
//! adopted ones up: one short lock an extent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::format::layout::Geometry;
use crate::format::record::ChunkRecord;
use crate::journal::{Checkpoint, JournaledExtent};
use crate::spool::Spool;

/// The records, and how far they were adopted.
#[derive(Debug)]
pub(super) struct Known {
    geometry: Geometry,
    covered: Checkpoint,
    spool: Mutex<Spool>,
}

impl Known {
    /// Nothing: the start of a container.
    pub(super) fn nothing(geometry: Geometry, spool: Spool) -> Self {
        Self::covering(geometry, Checkpoint::start(), spool)
    }

    /// What `covered` says, whose records are in the spool.
    pub(super) fn covering(geometry: Geometry, covered: Checkpoint, spool: Spool) -> Self {
        Self { geometry, covered, spool: Mutex::new(spool) }
    }

    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What was adopted.
    pub(super) fn covered(&self) -> Checkpoint {
        self.covered
    }

    /// The same with another account of what was adopted.
    pub(super) fn with_covered(self, covered: Checkpoint) -> Self {
        Self { covered, ..self }
    }

    /// Keeps the records of the chunks from `first` on.
    pub(super) fn put(&self, first: u64, records: &[ChunkRecord]) -> Result<()> {
        self.spool().put(first, records)
    }

    /// An adopted extent.
    pub(super) fn extent(&self, number: u64) -> Result<JournaledExtent> {
        let extent_chunks = u64::from(self.geometry.extent_chunks);
        let first = number * extent_chunks;
        let chunks = first..(first + extent_chunks).min(self.covered.chunks);
        let mut spool = self.spool();
        let chunks = chunks.map(|sequence| spool.record(sequence)).collect::<Result<_>>()?;
        Ok(JournaledExtent { number, chunks })
    }

    /// Where an adopted extent starts; the one behind the last, where they end.
    pub(super) fn start(&self, number: u64) -> Result<u64> {
        if number == self.covered.extents {
            return Ok(self.covered.data_end);
        }
        let first = number * u64::from(self.geometry.extent_chunks);
        Ok(self.spool().record(first)?.entry.offset)
    }

    /// What the first `extents` of those adopted cover; not all of them.
    pub(super) fn cut(&self, extents: u64) -> Result<Checkpoint> {
        let chunks = extents * u64::from(self.geometry.extent_chunks);
        let data_end = self.start(extents)?;
        // An extent with others behind it is full.
        Ok(Checkpoint { extents, chunks, bytes: chunks * self.geometry.chunk_len(), data_end })
    }

    /// The records of every chunk.
    pub(super) fn into_spool(self) -> Spool {
        self.spool.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
