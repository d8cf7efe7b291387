//! Reading a journal after a crash: how far the run before is known to have come.
//!
//! The records are checked against one another and against the layout as they are read, in one pass
//! and bounded memory; a second pass hands the extents out. Bytes behind the last intact checkpoint
//! are passed over in silence, whatever they are.

use std::sync::Arc;

use super::{Checkpoint, JournaledExtent};
use crate::error::{Error, ErrorKind, Result};
use crate::format::index::Entry;
use crate::format::layout::{Geometry, Places};
use crate::format::record::{ChunkRecord, Open, RECORD_LEN_MAX, Record};
use crate::format::{Fault, FormatError};
use crate::limits::{ALIGN, CHUNKS_GIVEN_MAX};
use crate::placement::sequence_set::SequenceSet;
use crate::planted::{self, Bug};
use crate::ring::file::File;
use crate::ring::whole::read_full;

/// Bytes read at a time.
const WINDOW_BYTES: usize = 256 << 10;

/// A journal that was read to its last intact checkpoint.
#[derive(Debug)]
pub struct Replay {
    file: Arc<dyn File>,
    open: Open,
    covered: Checkpoint,
}

impl Replay {
    /// Reads the journal in `file`; `None` where not even its first record is intact.
    ///
    /// # Errors
    /// `Output` where it can't be read; `Unsupported` or `Damaged` where intact records make no
    /// sense, which no crash brings about.
    pub fn read(file: Arc<dyn File>) -> Result<Option<Self>> {
        let mut records = Records::new(file.as_ref());
        let open = match records.next()? {
            None => return Ok(None),
            Some(Record::Open(open)) => open,
            Some(_) => return Err(senseless("it doesn't open with what it is the journal of")),
        };
        let mut progress = Progress::new(&open);
        let mut covered = progress.covered();
        while let Some(record) = records.next()? {
            match record {
                Record::Open(_) => return Err(senseless("it opens twice")),
                Record::Extent { number, offset, chunks } => {
                    progress.note(number, offset, &chunks)?;
                    if planted::is(Bug::UncoveredAdopted) {
                        covered = progress.covered();
                    }
                }
                Record::Checkpoint { extents, bytes } => {
                    covered = progress.covered();
                    if (covered.extents, covered.bytes) != (extents, bytes) {
                        return Err(senseless("a checkpoint counts other extents than it covers"));
                    }
                }
            }
        }
        Ok(Some(Self { file, open, covered }))
    }

    /// What the run was.
    #[must_use]
    pub fn open(&self) -> &Open {
        &self.open
    }

    /// What the last intact checkpoint covers.
    #[must_use]
    pub fn covered(&self) -> Checkpoint {
        self.covered
    }

    /// Hands out the extents that are covered, in order of the journal.
    ///
    /// # Errors
    /// Those of `take`, and as [`Self::read`].
    pub fn each_extent(&self, mut take: impl FnMut(JournaledExtent) -> Result<()>) -> Result<()> {
        let mut records = Records::new(self.file.as_ref());
        let mut left = self.covered.extents;
        while left > 0 {
            match records.next()? {
                Some(Record::Extent { number, chunks, .. }) => {
                    take(JournaledExtent { number, chunks })?;
                    left -= 1;
                }
                Some(_) => {}
                None => return Err(senseless("it changed while it was read")),
            }
        }
        Ok(())
    }
}

fn senseless(what: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("the journal makes no sense: {what}"))
}

/// Follows the extents and checks each against those before it.
struct Progress {
    geometry: Geometry,
    places: Places,
    covered: Checkpoint,
    /// Whether a short chunk was seen: nothing follows one.
    ended: bool,
    /// The extents named so far, where they come in any order.
    scattered: Option<Scattered>,
}

/// Extents named in any order.
#[derive(Default)]
struct Scattered {
    named: SequenceSet,
    /// One more than the highest of them.
    end: u64,
    /// The one that is short, and so the content's last.
    short: Option<u64>,
}

impl Progress {
    fn new(open: &Open) -> Self {
        let geometry = open.recipe.geometry;
        let (places, covered) = (Places::new(geometry), Checkpoint::start());
        let scattered = open.is_scattered().then(Scattered::default);
        Self { geometry, places, covered, ended: false, scattered }
    }

    fn covered(&self) -> Checkpoint {
        self.covered
    }

    fn check_frame(&self, sequence: u64, entry: &Entry) -> Result<()> {
        let most = self.geometry.frame_len_max(sequence, entry.raw_len.into());
        if entry.frame_len < 13 || u64::from(entry.frame_len) > most {
            return Err(senseless("a frame has an impossible length"));
        }
        Ok(())
    }

    /// J4: once each, in its own slot, and only the highest short.
    fn note_scattered(
        &mut self,
        mut scattered: Scattered,
        number: u64,
        offset: u64,
        chunks: &[ChunkRecord],
    ) -> Result<()> {
        let slot_len = self.geometry.slot_len();
        let start = number.checked_mul(slot_len);
        let end = start.and_then(|start| start.checked_add(slot_len));
        let (Some(start), Some(end)) = (start, end.filter(|_| number < CHUNKS_GIVEN_MAX)) else {
            return Err(senseless("an extent has an impossible number"));
        };
        let [ChunkRecord { entry, .. }] = chunks else {
            return Err(senseless("a slot has an impossible number of chunks"));
        };
        if (offset, entry.offset) != (start, start) {
            return Err(senseless("an extent stands elsewhere than in its slot"));
        }
        if !scattered.named.insert(number) {
            return Err(senseless("an extent is named twice"));
        }
        scattered.end = scattered.end.max(number + 1);
        let raw_len = u64::from(entry.raw_len);
        if raw_len < self.geometry.chunk_len() && scattered.short.replace(number).is_some() {
            return Err(senseless("two chunks are short"));
        }
        // Only the content's very last chunk is short, and an empty one is its only one.
        let short_at = scattered.short.unwrap_or(u64::MAX);
        let is_empty = raw_len == 0 && number > 0;
        if raw_len > self.geometry.chunk_len() || scattered.end - 1 > short_at || is_empty {
            return Err(senseless("a chunk has an impossible length"));
        }
        self.check_frame(number, entry)?;
        self.covered.extents += 1;
        self.covered.chunks += 1;
        self.covered.bytes += raw_len;
        self.covered.data_end = self.covered.data_end.max(end);
        self.scattered = Some(scattered);
        Ok(())
    }

    /// J4: in order, complete, and where the lengths before say.
    fn note(&mut self, number: u64, offset: u64, chunks: &[ChunkRecord]) -> Result<()> {
        if let Some(scattered) = self.scattered.take() {
            return self.note_scattered(scattered, number, offset, chunks);
        }
        if number != self.covered.extents || self.ended {
            return Err(senseless("its extents don't follow one another"));
        }
        if offset != self.places.end() {
            return Err(senseless("an extent stands elsewhere than behind the one before it"));
        }
        let (full, chunk_len) = (self.geometry.extent_chunks.into(), self.geometry.chunk_len());
        if chunks.is_empty() || chunks.len() > full {
            return Err(senseless("an extent has an impossible number of chunks"));
        }
        for (i, chunk) in chunks.iter().enumerate() {
            let last = i + 1 == chunks.len();
            let entry = chunk.entry;
            let raw_len = u64::from(entry.raw_len);
            let is_full = raw_len == chunk_len;
            // Only the content's very last chunk is short, and an empty one is its only one.
            let may_be_short = last && (raw_len > 0 || self.covered.chunks == 0);
            if raw_len > chunk_len || !(is_full || may_be_short) {
                return Err(senseless("a chunk has an impossible length"));
            }
            self.check_frame(self.covered.chunks, &entry)?;
            if self.places.place(entry.frame_len) != Some(entry.offset) {
                return Err(senseless("a frame stands elsewhere than its lengths give"));
            }
            self.ended = !is_full;
            self.covered.chunks += 1;
            self.covered.bytes += raw_len;
        }
        self.ended |= chunks.len() < full;
        if !self.ended && !self.places.end().is_multiple_of(ALIGN as u64) {
            return Err(senseless("a full extent ends off the grid"));
        }
        self.covered.extents += 1;
        self.covered.data_end = self.places.end();
        Ok(())
    }
}

/// The intact records of a file, one after the other.
struct Records<'a> {
    file: &'a dyn File,
    /// Where the bytes in hand stand in the file.
    offset: u64,
    bytes: Vec<u8>,
    /// How many of them were read already.
    used: usize,
    chain: u32,
}

impl<'a> Records<'a> {
    fn new(file: &'a dyn File) -> Self {
        Self { file, offset: 0, bytes: Vec::new(), used: 0, chain: 0 }
    }

    fn next(&mut self) -> Result<Option<Record>> {
        // One look tells how long the record claims to be; it is fetched only if it can be.
        self.have(4)?;
        let Some(len) = Record::stated_len(self.rest()) else {
            return Ok(None);
        };
        self.have(len)?;
        let decoded =
            Record::decode(self.rest(), self.chain).map_err(|error| self.refused(&error))?;
        Ok(decoded.map(|(record, len, chain)| {
            self.used += len;
            self.chain = chain;
            record
        }))
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    /// Sees to it that `len` bytes are in hand, or all that the file has.
    fn have(&mut self, len: usize) -> Result<()> {
        debug_assert!(len <= RECORD_LEN_MAX);
        if self.rest().len() >= len {
            return Ok(());
        }
        self.bytes.drain(..self.used);
        self.offset += self.used as u64;
        self.used = 0;
        let start = self.bytes.len();
        self.bytes.resize(len.max(WINDOW_BYTES), 0);
        let at = self.offset + start as u64;
        let Some(room) = self.bytes.get_mut(start..) else {
            unreachable!("it was made longer than what was in hand")
        };
        let read = read_full(self.file, room, at).map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot read the journal", error).offset(at)
        })?;
        self.bytes.truncate(start + read);
        Ok(())
    }

    fn refused(&self, error: &FormatError) -> Error {
        let kind = match error.fault {
            Fault::Unsupported => ErrorKind::Unsupported,
            Fault::Foreign | Fault::Damaged => ErrorKind::Damaged,
        };
        let at = self.offset + self.used as u64;
        Error::new(kind, format!("the journal can't be read: {error}")).offset(at)
    }
}
