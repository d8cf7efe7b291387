//! A range of a foreign file's content: found by its seek table or by its frames' sizes, and by
//! decoding what states none.
//!
//! A table is believed as to places only: at every place up to the range's end there has to be a
//! frame that doesn't contradict it, and the frames of the range are decoded and have to hold what
//! it says. A frame hidden behind another in one entry before the range goes unnoticed: that is
//! found by verifying, which looks at every block.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::ForeignOptions;
use super::decode::FrameDecoder;
use super::feed::{Feed, Hop, Origin};
use super::list::{list, open};
use super::measure::{Place, Start, cut_short, measure, start, with_content};
use super::table::Table;
use super::withhold;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::format::zstd::ContentFront;
use crate::ring::file::{Disk, File};

/// Gives `from .. to` of the content of the file at `path` to `sink`, in order; to the end where
/// there is no `to`. Nothing of a frame with a checksum is given out before it was checked.
///
/// # Errors
/// As [`super::unpack`]; `OutOfRange` where the content ends before the range, by then given out
/// up to there; and those of `sink`.
pub fn read_range(
    disk: &dyn Disk,
    path: &Path,
    (from, to): (u64, Option<u64>),
    options: &ForeignOptions,
    cancel: &Cancel,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut read = || {
        let (file, len) = open(disk, path)?;
        start(&mut Hop::new(&*file, len), Place { number: 0, offset: 0 })?;
        let feed = Feed::new(Origin::File(Arc::clone(&file), len));
        let decoder = FrameDecoder::new(options.window_bytes_max)?;
        let wanted = from..to.unwrap_or(u64::MAX);
        let reading =
            Reading { disk, file: &file, len, feed, decoder, cancel, wanted, content: 0, sink };
        let content = match Table::find(&*file, len)? {
            Some(table) if table.sum(&file)?.content().is_some() => reading.by_table(table)?,
            _ => reading.by_frames()?,
        };
        if to.is_none() {
            // A container that is cut short is read up to its end as if it were all.
            list(disk, path, cancel)?;
        }
        if to.unwrap_or(from) > content {
            let what = format!(
                "bytes {from} to {} are outside the content, which has {content}",
                to.map_or("the end".to_owned(), |to| to.to_string())
            );
            return Err(Error::new(ErrorKind::OutOfRange, what));
        }
        Ok(())
    };
    read().map_err(|error| error.at(path))
}

struct Reading<'a> {
    disk: &'a dyn Disk,
    file: &'a Arc<dyn File>,
    len: u64,
    feed: Feed<'a>,
    decoder: FrameDecoder,
    cancel: &'a Cancel,
    wanted: Range<u64>,
    /// Bytes of content before the place that was come to.
    content: u64,
    sink: &'a mut dyn FnMut(&[u8]) -> Result<()>,
}

impl Reading<'_> {
    /// Goes from frame to frame; says how much content there is, up to the range's end at least.
    fn by_frames(mut self) -> Result<u64> {
        let mut place = Place { number: 0, offset: 0 };
        while self.content < self.wanted.end {
            match self.frame(place)? {
                Some(after) => place = after,
                None => break,
            }
        }
        Ok(self.content)
    }

    fn by_table(mut self, table: Table) -> Result<u64> {
        let mut entries = table.entries(self.file);
        let mut place = Place { number: 0, offset: 0 };
        while self.content < self.wanted.end {
            let Some(entry) = entries.next()? else { break };
            self.check()?;
            let (end, content) =
                (place.offset + entry.compressed, self.content + entry.decompressed);
            let is_before = self.content < self.wanted.start && content <= self.wanted.start;
            if is_before && self.bears_out(place, end, entry.decompressed)? {
                // Its frames count as one here: the table has no numbers for them.
                place = Place { number: place.number + 1, offset: end };
                self.content = content;
                continue;
            }
            while place.offset < end {
                place = self.frame(place)?.ok_or_else(|| cut_short(place))?;
            }
            if place.offset != end || self.content != content {
                let place = Place { number: place.number.saturating_sub(1), ..place };
                return Err(place
                    .damaged("the seek table doesn't fit the frames before here")
                    .hint("ringpack verify says more; unpacking doesn't need the table"));
            }
        }
        Ok(self.content)
    }

    /// FO3: whether a frame starts at `place` that an entry with so much content may stand for, and
    /// one that states all of it.
    fn bears_out(&self, place: Place, end: u64, content: u64) -> Result<bool> {
        let mut hop = Hop::new(&**self.file, self.len);
        Ok(match start(&mut hop, place)? {
            Start::End => false,
            Start::Skippable(_, len) => content == 0 && place.offset + len == end,
            Start::Content(front) => front.content_size.is_none_or(|stated| stated == content),
        })
    }

    /// Decodes the frame at `place`, or passes over it where nothing of it is wanted; gives the
    /// place of the next, `None` at the file's end.
    fn frame(&mut self, place: Place) -> Result<Option<Place>> {
        self.check()?;
        let mut hop = Hop::new(&**self.file, self.len);
        let len = match start(&mut hop, place)? {
            Start::End => return Ok(None),
            Start::Skippable(_, len) if len > self.len - place.offset => {
                return Err(cut_short(place));
            }
            Start::Skippable(_, len) => len,
            Start::Content(front) => self.content_frame(&mut hop, place, &front)?,
        };
        Ok(Some(Place { number: place.number + 1, offset: place.offset + len }))
    }

    fn content_frame(
        &mut self,
        hop: &mut Hop<'_>,
        place: Place,
        front: &ContentFront,
    ) -> Result<u64> {
        // A frame at the range's start that states no content may hold some: it is decoded.
        if self.content < self.wanted.start
            && let Some(size) = front.content_size
            && self.content.checked_add(size).is_some_and(|end| end <= self.wanted.start)
        {
            self.content = with_content(place, self.content, size)?;
            let measured = measure(hop, place, front, u64::MAX)?;
            return Ok(measured.expect("no frame is longer than any").len);
        }
        self.feed.go_to(place.offset);
        let (wanted, cancel, sink) = (self.wanted.clone(), self.cancel, &mut self.sink);
        let mut at = self.content;
        let trimmed = &mut |piece: &[u8]| {
            if cancel.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
            }
            let end = at + piece.len() as u64;
            let (from, to) = (wanted.start.clamp(at, end), wanted.end.clamp(at, end));
            let part = &piece[(from - at) as usize..(to - at) as usize];
            at = end;
            if part.is_empty() { Ok(()) } else { sink(part) }
        };
        let (decoder, feed) = (&mut self.decoder, &mut self.feed);
        let decoded = withhold::checked(self.disk, decoder, feed, place, front, trimmed)?;
        self.content = with_content(place, self.content, decoded.content_size)?;
        Ok(decoded.len)
    }

    fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        }
        Ok(())
    }
}
