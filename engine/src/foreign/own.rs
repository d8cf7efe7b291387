//! A container that comes through a pipe: its header, or the trailing one, says how much has to
//! come, so that an end between two frames is found out.
//!
//! Its index can't be used before it comes, at the very end; every frame has a checksum all the
//! same, and containers may follow each other as any Zstandard files may.

use super::feed::{Feed, Look};
use super::measure::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{Header, MAGIC, State};
use crate::format::{SKIPPABLE_MAGIC, Subtype};
use crate::limits::HEADER_LEN;

fn is_header(magic: u32, len: u64) -> bool {
    magic == SKIPPABLE_MAGIC && len == HEADER_LEN as u64
}

/// Whether a file that starts with a frame to be passed over can be told from a container whose
/// header is damaged: one damaged bit hides either what the frame is, or what is in it.
///
/// # Errors
/// `NotAContainer` where it can't.
pub(super) fn told(look: &mut dyn Look, magic: u32, len: u64) -> Result<()> {
    let has_magic = look.look(8, MAGIC.len())? == MAGIC;
    if is_header(magic, len) == has_magic {
        return Ok(());
    }
    let what = "is no Zstandard file that can be told from a damaged container";
    let hint = "if it is another program's, zstd -d restores it";
    Err(Error::new(ErrorKind::NotAContainer, what).hint(hint))
}

/// The container that the frames belong to, if they do.
#[derive(Debug, Default)]
pub(super) struct Own {
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    /// Where it starts in the file, and in the content.
    start: Place,
    content: u64,
    /// What it says of itself, once that is known.
    header: Option<Header>,
}

impl Own {
    /// Takes note of a frame to be passed over, at `place`, with so much content before it.
    pub(super) fn skippable(
        &mut self,
        feed: &mut Feed<'_>,
        place: Place,
        magic: u32,
        len: u64,
        content: u64,
    ) -> Result<()> {
        if place.offset == 0 {
            told(feed, magic, len)?;
        }
        if !is_header(magic, len) {
            return Ok(());
        }
        let bytes = feed.look(place.offset, HEADER_LEN)?;
        match &mut self.current {
            Some(current) => {
                if let Ok(header) = Header::decode(bytes, Subtype::TrailingHeader) {
                    current.header = Some(header);
                }
            }
            None => {
                let header = Header::decode(bytes, Subtype::Header);
                let header = header.map_err(|error| place.damaged(&error.message))?;
                if header.state == State::Open {
                    return Err(place.damaged("the container was never finished"));
                }
                let known = (header.state == State::Final).then_some(header);
                self.current = Some(Current { start: place, content, header: known });
            }
        }
        Ok(())
    }

    /// Whether the container ends at `place`, where a frame ended; there may come another file.
    pub(super) fn at(&mut self, place: Place, content: u64) -> Result<()> {
        let Some(current) = &self.current else { return Ok(()) };
        let Some(header) = &current.header else { return Ok(()) };
        let len = place.offset - current.start.offset;
        if len < header.file_size {
            return Ok(());
        }
        if len > header.file_size || content - current.content != header.content_size {
            return Err(place.damaged("the container has another length than its header says"));
        }
        self.current = None;
        Ok(())
    }

    /// Whether the input may end at `place`.
    pub(super) fn end(&self, place: Place) -> Result<()> {
        match self.current {
            Some(_) => Err(place.damaged("the container is cut short")),
            None => Ok(()),
        }
    }
}
