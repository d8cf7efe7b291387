//! Cutting a file into its frames, in order, and having each decoded.
//!
//! # Invariants
//! - FO5: what is handed on of a frame that stands alone is all of it and nothing else: from the
//!   frame before to where its last block, or its checksum, ends.

use std::sync::Arc;

use super::decode::FrameDecoder;
use super::feed::{Feed, Hop, Look, Origin};
use super::measure::{Place, Start, cut_short, measure, start, with_content};
use super::own::{Ended, Own, is_table_of_container};
use super::sums::Stated;
use super::table::{Entry, Held, Sum, Table};
use super::withhold;
use super::work::{Crew, Frame};
use super::{FRAME_BYTES_MAX, ForeignOptions, ForeignReport};
use crate::checksum::{Whole, crc32c};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::content_checksum;
use crate::format::seek_table::TABLE_MAGIC;
use crate::format::zstd::ContentFront;
use crate::pipeline::Shared;
use crate::ring::file::Disk;

/// What is told of a table that is passed over.
const UNUSED: &str = "; it is not used";

/// The cutter.
pub(super) struct Cutter<'a, 'c, 'scope, 'env> {
    disk: &'a dyn Disk,
    feed: Feed<'a>,
    options: &'a ForeignOptions,
    shared: &'a Arc<Shared>,
    crew: &'c mut Crew<'scope, 'env>,
    keep_going: bool,
    decoder: Option<FrameDecoder>,
    place: Place,
    turn: u64,
    own: Own,
    /// Whether the file ends with a table.
    has_table: bool,
    /// The table, as long as the frames bear it out.
    table: Option<(Table, Held)>,
    report: ForeignReport,
}

impl<'a, 'c, 'scope, 'env> Cutter<'a, 'c, 'scope, 'env> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        feed: Feed<'a>,
        options: &'a ForeignOptions,
        shared: &'a Arc<Shared>,
        crew: &'c mut Crew<'scope, 'env>,
        keep_going: bool,
    ) -> Result<Self> {
        let mut cutter = Self {
            disk,
            feed,
            options,
            shared,
            crew,
            keep_going,
            decoder: None,
            place: Place { number: 0, offset: 0 },
            turn: 0,
            own: Own::default(),
            has_table: false,
            table: None,
            report: ForeignReport::default(),
        };
        cutter.find_table()?;
        Ok(cutter)
    }

    /// Cuts all of the file.
    pub(super) fn run(mut self) -> Result<ForeignReport> {
        loop {
            self.shared.check()?;
            // Of what is damaged the lengths don't add up, which was told.
            if self.report.damage_count == 0 {
                self.containers()?;
            }
            let found = match start(&mut self.feed, self.place) {
                Err(error) if error.kind() == ErrorKind::NotAContainer => {
                    self.pass_through(error)?;
                    break;
                }
                Err(error) => self.noted(error)?,
                Ok(Start::End) => break,
                Ok(Start::Skippable(magic, len)) => {
                    let passed = self.skippable(magic, len);
                    self.or_noted(passed)?
                }
                Ok(Start::Content(front)) => {
                    let decoded = self.content(&front);
                    self.or_noted(decoded)?
                }
            };
            if !found {
                break;
            }
        }
        if self.report.damage_count == 0 {
            let ended = self.own.end(self.place);
            ended.or_else(|error| self.crew.note(self.place, error))?;
        }
        self.report.file_size = self.place.offset;
        Ok(self.report)
    }

    /// Where a container ends, its content has to be the one that its header states.
    fn containers(&mut self) -> Result<()> {
        let ended = self.own.at(self.place, self.report.content_size, self.turn)?;
        let Some(Ended { container, crc32c, start: Some(start) }) = ended else { return Ok(()) };
        let (from, to, len) = (start.turn, self.turn, container.content_size);
        let place = Place { offset: container.offset, ..self.place };
        let expected = self.crew.expect(Stated { from, to, len, crc32c, place });
        expected.or_else(|error| self.crew.note(place, error))
    }

    /// Goes on where damage is collected and the frame's end can be found nevertheless; `false`
    /// where it can't.
    fn or_noted(&mut self, done: Result<()>) -> Result<bool> {
        match done {
            Ok(()) => Ok(true),
            Err(error) => self.noted(error),
        }
    }

    fn noted(&mut self, error: Error) -> Result<bool> {
        self.crew.note(self.place, error)?;
        self.crew.give_up_sums();
        self.report.damage_count += 1;
        // What was stated of the frame is not to be held against others.
        self.table = None;
        let Origin::File(file, len) = &self.feed.origin else { return Ok(false) };
        let mut hop = Hop::new(&**file, *len);
        let Ok(Start::Content(front)) = start(&mut hop, self.place) else { return Ok(false) };
        let Ok(Some(measured)) = measure(&mut hop, self.place, &front, u64::MAX) else {
            return Ok(false);
        };
        let after = self.place.offset + measured.len;
        self.feed.go_to(after);
        self.next(after);
        Ok(true)
    }

    /// Copies what is no Zstandard file, where that was asked for.
    fn pass_through(&mut self, error: Error) -> Result<()> {
        if !self.options.pass_through {
            return Err(error);
        }
        loop {
            let at = self.place.offset;
            let bytes = self.feed.ahead(at)?;
            let len = bytes.len() as u64;
            if at == 0 && len == 0 {
                // There is nothing to copy, and nothing was cut off cleanly either.
                return Err(error);
            }
            if len == 0 {
                self.report.content_size = at;
                return Ok(());
            }
            self.crew.give(bytes, at)?;
            self.place.offset += len;
            self.feed.release(at + len);
            self.shared.check()?;
        }
    }

    fn next(&mut self, offset: u64) {
        self.place = Place { number: self.place.number + 1, offset };
    }

    fn skippable(&mut self, magic: u32, len: u64) -> Result<()> {
        let (place, content) = (self.place, self.report.content_size);
        self.own.skippable(&mut self.feed, place, magic, len, content)?;
        let after = place.offset + len;
        if !self.feed.skip(after)? {
            return Err(cut_short(place));
        }
        self.report.skippable += 1;
        let is_table = self.table.as_ref().is_some_and(|(table, _)| table.offset == place.offset);
        match &mut self.table {
            Some((table, held)) if is_table => {
                let (entries, misfit) = (table.entries, held.end(place)?);
                if misfit.is_none() {
                    self.report.seek_table = Some(entries);
                }
                self.misfit(misfit)?;
            }
            _ => self.hold_against(len, 0)?,
        }
        self.unknown_table(magic, after)?;
        self.next(after);
        Ok(())
    }

    /// A table at the end that can't be read as one is damage, to who looks for it.
    fn unknown_table(&mut self, magic: u32, after: u64) -> Result<()> {
        let Origin::File(_, len) = self.feed.origin else { return Ok(()) };
        if magic == TABLE_MAGIC && after == len && !self.has_table && self.keep_going {
            let damage = self.place.damaged("the seek table can't be read");
            self.report.damage_count += 1;
            self.crew.note(self.place, damage)?;
        }
        Ok(())
    }

    fn content(&mut self, front: &ContentFront) -> Result<()> {
        self.own.content(self.place)?;
        self.report.frames += 1;
        self.report.unchecked += u64::from(!front.checksum);
        let turn = self.turn;
        self.turn += 1;
        match self.alone(front)? {
            Some((len, content_size, entry)) => {
                self.hand_out(front, turn, len, content_size, entry)
            }
            None => self.stream(front, turn),
        }
    }

    /// Length, content size and table entry of a frame that a thread of its own may decode.
    fn alone(&mut self, front: &ContentFront) -> Result<Option<(u64, u64, Option<Entry>)>> {
        let stated = front.content_size;
        let may_be_small = stated.map_or(self.table.is_some(), |size| size <= FRAME_BYTES_MAX);
        if !may_be_small {
            return Ok(None);
        }
        // FO1: more than the content's length a frame that was made to compress doesn't take.
        let most = stated.unwrap_or(FRAME_BYTES_MAX) + (1 << 20);
        let Some(measured) = measure(&mut self.feed, self.place, front, most)? else {
            return Ok(None);
        };
        self.own.measured(self.place, measured);
        let len = measured.len;
        let entry = match &mut self.table {
            Some((_, held)) => held.claim(len)?,
            None => None,
        };
        let claimed = entry.map(|entry| entry.decompressed).filter(|&size| size <= FRAME_BYTES_MAX);
        Ok(stated.or(claimed).map(|size| (len, size, entry)))
    }

    fn hand_out(
        &mut self,
        front: &ContentFront,
        turn: u64,
        len: u64,
        content_size: u64,
        entry: Option<Entry>,
    ) -> Result<()> {
        let place = self.place;
        let content_offset = self.report.content_size;
        self.add_content(content_size)?;
        // FO5: measured, and in the window whole.
        let bytes = self.feed.look(place.offset, len as usize)?.to_vec();
        let of_table = entry.and_then(|entry| entry.checksum);
        let own_checksum = content_checksum(&bytes).filter(|_| front.checksum);
        if let (Some(own), Some(of_table)) = (own_checksum, of_table)
            && own != of_table
        {
            let what = "states another checksum than this frame has";
            let at = (place.number, place.offset);
            self.misfit(Some(format!("frame {} at byte {}: the seek table {what}", at.0, at.1)))?;
        }
        let checksum = of_table.filter(|_| own_checksum.is_none());
        let content_size = content_size as usize;
        self.crew.decode(Frame { place, bytes, content_size, content_offset, turn, checksum })?;
        let after = place.offset + len;
        self.feed.release(after);
        self.hold_against(len, content_size as u64)?;
        self.next(after);
        Ok(())
    }

    fn stream(&mut self, front: &ContentFront, turn: u64) -> Result<()> {
        self.report.streamed += 1;
        if self.decoder.is_none() {
            self.decoder = Some(FrameDecoder::new(self.options.window_bytes_max)?);
        }
        let decoder = self.decoder.as_mut().expect("set above");
        let (crew, shared, place) = (&*self.crew, self.shared, self.place);
        crew.wait_for(turn)?;
        let mut at = self.report.content_size;
        let mut sum = Whole::default();
        let sink = &mut |piece: &[u8]| {
            shared.check()?;
            crew.give(piece, at)?;
            sum.append(crc32c(piece), piece.len());
            at += piece.len() as u64;
            Ok(())
        };
        let feed = &mut self.feed;
        let decoded = if crew.is_pipe() {
            withhold::checked(self.disk, decoder, feed, place, front, sink)?
        } else {
            decoder.streamed(feed, place, front, sink)?
        };
        crew.pass_on();
        crew.add_sum(turn, sum.value(), decoded.content_size as usize)?;
        self.add_content(decoded.content_size)?;
        let entry = match &mut self.table {
            Some((_, held)) => held.claim(decoded.len)?,
            None => None,
        };
        if let Some(Entry { checksum: Some(stated), .. }) = entry
            && stated != decoded.xxh64_low
        {
            return Err(place.damaged("the content doesn't match the seek table's checksum"));
        }
        self.hold_against(decoded.len, decoded.content_size)?;
        self.next(place.offset + decoded.len);
        Ok(())
    }

    fn add_content(&mut self, size: u64) -> Result<()> {
        self.report.content_size = with_content(self.place, self.report.content_size, size)?;
        Ok(())
    }

    /// FO3: the table is looked for, and used if it sums to its own place.
    fn find_table(&mut self) -> Result<()> {
        let Origin::File(file, len) = &self.feed.origin else { return Ok(()) };
        let Some(table) = Table::find(&**file, *len)? else { return Ok(()) };
        let at = table.offset;
        self.has_table = true;
        match table.sum(file)? {
            Sum::ToPlace { .. } => {
                let held = Held::new(table.entries(file));
                self.table = Some((table, held));
                Ok(())
            }
            // Of containers in a row, each has a table of its own.
            Sum::Less if is_table_of_container(&**file, *len, at)? => Ok(()),
            Sum::Less => {
                let what = "the seek table's entries sum to less than what stands before it";
                self.report.warnings.push(format!("at byte {at}: {what}{UNUSED}"));
                Ok(())
            }
            Sum::More => {
                let what = "the seek table's entries sum to more than what stands before it";
                self.misfit(Some(format!("at byte {at}: {what}")))
            }
        }
    }

    /// A frame is through, or on its way: counts it, and holds the seek table against it.
    fn hold_against(&mut self, len: u64, content: u64) -> Result<()> {
        self.shared.progress().extent(content, len);
        let Some((_, held)) = &mut self.table else { return Ok(()) };
        let misfit = held.frame(self.place, len, content)?;
        self.misfit(misfit)
    }

    /// FO3: what doesn't fit the frames is used no more. To who verifies, it is damage: of frames
    /// that are gone, nothing else tells.
    fn misfit(&mut self, what: Option<String>) -> Result<()> {
        let Some(what) = what else { return Ok(()) };
        self.table = None;
        if self.keep_going {
            self.report.damage_count += 1;
            self.crew.note(self.place, Error::new(ErrorKind::Damaged, what.clone()))?;
        }
        self.report.warnings.push(format!("{what}{UNUSED}"));
        Ok(())
    }
}
