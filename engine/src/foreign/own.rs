//! A container that is read in order: its header, which comes last, says how much came before it,
//! so that one which is cut short or has lost a part is found out. Cut off between two frames it
//! has no header and would be a shorter Zstandard file; its filled frames and pads, which no other
//! program writes, give it away.
//!
//! Its index can't be used before it comes, at the very end; every frame has a checksum all the
//! same, and containers may follow each other, and any Zstandard files, as these may.

use std::collections::VecDeque;

use super::feed::{Hop, Look};
use super::measure::{Measured, Place};
use crate::error::{ErrorKind, Result};
use crate::format::frame::opens_pad;
use crate::format::header::Header;
use crate::format::{Fault, SKIPPABLE_MAGIC};
use crate::limits::{ALIGN, HEADER_LEN};
use crate::planted::{self, Bug};
use crate::ring::file::File;

/// What index frames have as the first bytes of their payload.
const INDEX_NAME: &[u8] = b"\x01RPINDEX";

/// Bytes of a pad that are looked at; all of its payload but the first byte are zeros.
const PAD_LOOKED_AT: u64 = 64;

/// Ends of frames that are remembered, to know the start of a container among others' frames: 16
/// MiB. Where a container has more frames than that, its start is believed.
const BOUNDARIES_MAX: usize = 1 << 20;

/// A container in a file that holds more than it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contained {
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub file_size: u64,
    /// Length of its content, in bytes.
    pub content_size: u64,
    /// Its chunks.
    pub chunk_count: u64,
}

impl Contained {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.file_size)
    }
}

/// The container that the frames belong to, if they do.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Where the container before it ended, in the file and in the content.
    start: u64,
    content: u64,
    /// Where frames ended since, in the file and in the content; of many, the last ones.
    boundaries: VecDeque<(u64, u64)>,
    /// The first frame or pad that only a container has: its end has to come.
    begun: Option<Place>,
    /// Whether the end of a container has begun.
    is_ending: bool,
    /// The container, once its header came.
    container: Option<Contained>,
}

impl Own {
    /// Takes note of a frame of content, all of it.
    pub(super) fn content(&mut self, place: Place, measured: Measured) {
        if measured.is_filled && self.is_on_grid(place.offset + measured.len) {
            self.begun.get_or_insert(place);
        }
    }

    fn is_on_grid(&self, offset: u64) -> bool {
        (offset - self.start).is_multiple_of(ALIGN as u64)
    }

    /// Takes note of a frame to be passed over, at `place`, with so much content before it.
    pub(super) fn skippable(
        &mut self,
        look: &mut dyn Look,
        place: Place,
        magic: u32,
        len: u64,
        content: u64,
    ) -> Result<()> {
        if magic != SKIPPABLE_MAGIC {
            return Ok(());
        }
        // One that short doesn't say whose it is.
        if len > PAD_LOOKED_AT
            && self.is_on_grid(place.offset + len)
            && opens_pad(look.look(place.offset, PAD_LOOKED_AT as usize)?, len)
        {
            self.begun.get_or_insert(place);
        }
        self.is_ending |= look.look(place.offset + 8, INDEX_NAME.len())? == INDEX_NAME;
        if len != HEADER_LEN as u64 {
            return Ok(());
        }
        let bytes = look.look(place.offset, HEADER_LEN)?;
        if !Header::opens(bytes) {
            return Ok(());
        }
        let header = Header::decode(bytes).map_err(|error| match error.fault {
            Fault::Unsupported => place.error(ErrorKind::Unsupported, &error.message),
            Fault::Damaged | Fault::Foreign => place.damaged(&error.message),
        })?;
        // Its copy stands before the index.
        if !self.is_ending {
            return Ok(());
        }
        let wrong = || place.damaged("the container has another length than its header says");
        let before_table = match header.table_offset {
            0 => header.file_size,
            offset => offset,
        };
        let offset = (place.offset + len).checked_sub(before_table).ok_or_else(wrong)?;
        // What stands between the container before it and this one is another program's.
        let before = match self.content_before(offset) {
            Some(before) => before,
            None => return Err(wrong()),
        };
        let is_whole = before.is_none_or(|before| content - before == header.content_size);
        if !is_whole || offset.checked_add(header.file_size).is_none() {
            return Err(wrong());
        }
        let Header { file_size, content_size, chunk_count, .. } = header;
        self.container = Some(Contained { offset, file_size, content_size, chunk_count });
        Ok(())
    }

    /// Content before `offset`, where a container is said to start, if it can have one there; it
    /// isn't known (`Some(None)`) where that was too many frames ago.
    fn content_before(&self, offset: u64) -> Option<Option<u64>> {
        if offset == self.start {
            return Some(Some(self.content));
        }
        let found = self.boundaries.binary_search_by_key(&offset, |&(offset, _)| offset);
        let is_forgotten = self.boundaries.len() == BOUNDARIES_MAX
            && self.start < offset
            && self.boundaries.front().is_some_and(|&(first, _)| offset < first);
        match found {
            Ok(number) => Some(Some(self.boundaries[number].1)),
            Err(_) if is_forgotten => Some(None),
            Err(_) => None,
        }
    }

    /// The container that ends at `place`, where a frame ended; there may come another file.
    pub(super) fn at(&mut self, place: Place, content: u64) -> Result<Option<Contained>> {
        let Some(container) = self.container else {
            if self.boundaries.len() == BOUNDARIES_MAX {
                self.boundaries.pop_front();
            }
            self.boundaries.push_back((place.offset, content));
            return Ok(None);
        };
        let end = container.end();
        if place.offset > end {
            return Err(place.damaged("the container has another length than its header says"));
        }
        if place.offset < end {
            return Ok(None);
        }
        *self = Self { start: end, content, ..Self::default() };
        Ok(Some(container))
    }

    /// Whether the input may end at `place`.
    pub(super) fn end(&self, place: Place) -> Result<()> {
        if self.is_ending || self.container.is_some() {
            return Err(place.damaged("the container is cut short"));
        }
        match self.begun {
            Some(begun) if !planted::is(Bug::CutOffTrusted) => Err(place.damaged(&format!(
                "the container is cut short: frame {} is one that ringpack writes, and no header \
                 follows",
                begun.number
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether the seek table at `offset` is a container's, whose header stands before it.
pub(super) fn is_table_of_container(file: &dyn File, len: u64, offset: u64) -> Result<bool> {
    let Some(at) = offset.checked_sub(HEADER_LEN as u64) else { return Ok(false) };
    let mut hop = Hop::new(file, len);
    let header = Header::decode(hop.look(at, HEADER_LEN)?);
    Ok(header.is_ok_and(|header| header.table_offset > 0))
}
