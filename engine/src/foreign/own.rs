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
use crate::limits::HEADER_LEN;
use crate::planted::{self, Bug};
use crate::ring::file::File;

/// What index frames have as the first bytes of their payload.
const INDEX_NAME: &[u8] = b"\x01RPINDEX";

/// Bytes of a pad that are looked at; all of its payload but the first byte are zeros.
const PAD_LOOKED_AT: u64 = 64;

/// Ends of frames that are remembered, to know the start of a container among others' frames: 16
/// MiB. Where a container has more frames than that, its start is believed.
pub(super) const BOUNDARIES_MAX: usize = 1 << 20;

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
    /// Where the container before it ended.
    start: Boundary,
    /// Where frames ended since; of many, the last ones.
    boundaries: VecDeque<Boundary>,
    /// The first frame or pad that only a container has: its end has to come.
    begun: Option<Place>,
    /// Whether the end of a container has begun.
    is_ending: bool,
    /// The container, once its header came.
    container: Option<Ended>,
}

/// A place between two frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Boundary {
    /// Where it is in the file.
    pub(super) offset: u64,
    /// Bytes of content before it.
    pub(super) content: u64,
    /// Frames with content before it.
    pub(super) turn: u64,
}

/// A container of which the header came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub(super) container: Contained,
    /// What the header states of the content.
    pub(super) crc32c: u32,
    /// Where it starts, unless that was too many frames ago.
    pub(super) start: Option<Boundary>,
}

impl Own {
    /// Takes note that a frame of content begins.
    ///
    /// # Errors
    /// `Damaged` where the end of a container has begun and isn't complete.
    pub(super) fn content(&self, place: Place) -> Result<()> {
        if self.is_ending || self.container.is_some() {
            return Err(place.damaged("the container before it is cut short"));
        }
        Ok(())
    }

    /// Takes note of what a frame of content is like.
    pub(super) fn measured(&mut self, place: Place, measured: Measured) {
        if measured.is_filled {
            self.begun.get_or_insert(place);
        }
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
        if len > PAD_LOOKED_AT && opens_pad(look.look(place.offset, PAD_LOOKED_AT as usize)?, len) {
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
        let offset = (place.offset + len).checked_sub(header.end_offset()).ok_or_else(wrong)?;
        // What stands between the container before it and this one is another program's.
        let start = self.boundary_at(offset).ok_or_else(wrong)?;
        let is_whole = start.is_none_or(|start| content - start.content == header.content_size);
        if !is_whole || offset.checked_add(header.file_size).is_none() {
            return Err(wrong());
        }
        if let Some(begun) = self.begun.filter(|begun| begun.offset < offset) {
            return Err(begun.damaged("the container that it is of is cut short"));
        }
        let Header { file_size, content_size, chunk_count, content_crc32c: crc32c, .. } = header;
        let container = Contained { offset, file_size, content_size, chunk_count };
        self.container = Some(Ended { container, crc32c, start });
        Ok(())
    }

    /// The boundary at `offset`, where a container is said to start, if one can start there; it
    /// isn't known (`Some(None)`) where that was too many frames ago.
    fn boundary_at(&self, offset: u64) -> Option<Option<Boundary>> {
        if offset == self.start.offset {
            return Some(Some(self.start));
        }
        let found = self.boundaries.binary_search_by_key(&offset, |boundary| boundary.offset);
        let is_forgotten = self.boundaries.len() == BOUNDARIES_MAX
            && self.start.offset < offset
            && self.boundaries.front().is_some_and(|first| offset < first.offset);
        match found {
            Ok(number) => Some(Some(self.boundaries[number])),
            Err(_) if is_forgotten => Some(None),
            Err(_) => None,
        }
    }

    /// The container that ends at `place`, where a frame ended, with so much `content` in so many
    /// frames before it; there may come another file.
    pub(super) fn at(&mut self, place: Place, content: u64, turn: u64) -> Result<Option<Ended>> {
        let boundary = Boundary { offset: place.offset, content, turn };
        let Some(ended) = self.container else {
            if self.boundaries.len() == BOUNDARIES_MAX {
                self.boundaries.pop_front();
            }
            self.boundaries.push_back(boundary);
            return Ok(None);
        };
        let end = ended.container.end();
        if place.offset > end {
            return Err(place.damaged("the container has another length than its header says"));
        }
        if place.offset < end {
            return Ok(None);
        }
        *self = Self { start: boundary, ..Self::default() };
        Ok(Some(ended))
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
