//! What is known of a container's chunks: those that a run before this one wrote, and those that
//! this one completed.
//!
//! A record a chunk, shared by the coordinator, which adds to it, and the workers, which look the
//! adopted ones up: one short lock an extent. What a run before wrote is [adopted](adopt) once it
//! was read back.

mod adopt;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::format::header::PlacementKind;
use crate::format::layout::Geometry;
use crate::format::record::ChunkRecord;
use crate::journal::{Checkpoint, JournaledExtent};
use crate::placement::sequence_set::SequenceSet;
use crate::spool::Spool;

pub(crate) use adopt::ReadBack;

/// The records, and which of them were adopted.
#[derive(Debug)]
pub(crate) struct Known {
    geometry: Geometry,
    covered: Checkpoint,
    /// The extents that are covered: the first ones, or any where each has a slot.
    adopted: SequenceSet,
    spool: Mutex<Spool>,
}

impl Known {
    /// Nothing: the start of a container.
    pub(crate) fn nothing(geometry: Geometry, spool: Spool) -> Self {
        Self::covering(geometry, Checkpoint::start(), spool)
    }

    /// What `covered` says, whose records are in the spool.
    pub(crate) fn covering(geometry: Geometry, covered: Checkpoint, spool: Spool) -> Self {
        let adopted = SequenceSet::of_first(covered.extents);
        Self { geometry, covered, adopted, spool: Mutex::new(spool) }
    }

    /// The same where `adopted`, in a slot each, is what `covered` counts.
    pub(crate) fn scattered(self, adopted: SequenceSet) -> Self {
        Self { adopted, ..self }
    }

    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What was adopted.
    pub(crate) fn covered(&self) -> Checkpoint {
        self.covered
    }

    /// The extents that were adopted.
    pub(crate) fn adopted(&self) -> &SequenceSet {
        &self.adopted
    }

    /// The same with less of it adopted: the first extents alone.
    fn cut_to(self, extents: u64) -> Result<Self> {
        let covered = self.cut(extents)?;
        Ok(Self { covered, adopted: SequenceSet::of_first(extents), ..self })
    }

    /// The same with less of it adopted: all but these.
    pub(crate) fn without(self, bad: &SequenceSet) -> Result<Self> {
        let mut adopted = SequenceSet::default();
        let mut covered = Checkpoint::start();
        for number in self.adopted.iter_from(0).filter(|&number| !bad.contains(number)) {
            adopted.insert(number);
            covered.extents += 1;
            covered.chunks += 1;
            covered.bytes += u64::from(self.spool().record(number)?.entry.raw_len);
            covered.data_end = covered.data_end.max(self.end(number)?);
        }
        Ok(Self { covered, adopted, ..self })
    }

    /// Keeps the records of the chunks from `first` on.
    pub(crate) fn put(&self, first: u64, records: &[ChunkRecord]) -> Result<()> {
        self.spool().put(first, records)
    }

    /// An adopted extent.
    pub(crate) fn extent(&self, number: u64) -> Result<JournaledExtent> {
        let extent_chunks = u64::from(self.geometry.extent_chunks);
        let first = number * extent_chunks;
        let chunks = match self.geometry.placement {
            PlacementKind::Slots => first..first + 1,
            PlacementKind::Dense => first..(first + extent_chunks).min(self.covered.chunks),
        };
        let mut spool = self.spool();
        let chunks = chunks.map(|sequence| spool.record(sequence)).collect::<Result<_>>()?;
        Ok(JournaledExtent { number, chunks })
    }

    /// Where an adopted extent starts.
    fn start(&self, number: u64) -> Result<u64> {
        let first = number * u64::from(self.geometry.extent_chunks);
        Ok(self.spool().record(first)?.entry.offset)
    }

    /// Where it ends.
    fn end(&self, number: u64) -> Result<u64> {
        match self.geometry.placement {
            PlacementKind::Slots => Ok(self.start(number)? + self.geometry.slot_len()),
            PlacementKind::Dense if number + 1 == self.covered.extents => Ok(self.covered.data_end),
            PlacementKind::Dense => self.start(number + 1),
        }
    }

    /// What the first `extents` of those adopted cover; not all of them.
    fn cut(&self, extents: u64) -> Result<Checkpoint> {
        let chunks = extents * u64::from(self.geometry.extent_chunks);
        let data_end = self.start(extents)?;
        // An extent with others behind it is full.
        Ok(Checkpoint { extents, chunks, bytes: chunks * self.geometry.chunk_len(), data_end })
    }

    /// The records of every chunk.
    pub(crate) fn into_spool(self) -> Spool {
        self.spool.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
