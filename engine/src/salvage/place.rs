//! Placing: which chunk each frame that was found is.
//!
//! ```text
//! in place   the index, the journal or the seek table names a frame here, and this is it
//! moved      the index names this very frame elsewhere: it proves the chunk, not the place
//! in order   no one names it, but it stands in a row with others that lead to its number:
//!            from the front, to the end whose number the header has, or beside one in place
//! ```
//!
//! The first two are *intact*; of what is placed by its order alone, it is said that it is unsure.
//! What none of them places is left out of the content, and listed.
//!
//! # Invariants
//! - Q4: a chunk is called intact only if an entry that is about its number matches the frame's
//!   bytes: an index's by two CRCs, of which one covers number and offset, a seek table's by place,
//!   length and content checksum.
//! - Q5: a chunk that an intact index is about is never given another frame.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::survey::{Found, Group, Hint, Survey};
use crate::checksum;
use crate::format::header::{Header, PlacementKind};
use crate::format::index::chunks_per_frame_max;
use crate::format::layout::{self, Geometry};
use crate::limits::{
    CHUNK_LOG2_MAX, CHUNK_LOG2_MIN, CONTENT_BYTES_MAX, HEADER_LEN, SEEK_TABLE_ENTRIES_MAX,
};
use crate::units::{FileOffset, Sequence};

/// A frame in its place in the content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// Which frame of the survey.
    pub(super) frame: usize,
    /// Whether more than its order says that it belongs there (Q4).
    pub(super) vouched: bool,
}

/// Where everything goes.
#[derive(Debug)]
pub(super) struct Plan {
    /// The pieces by where they start in the content.
    pub(super) pieces: BTreeMap<u64, Piece>,
    /// Intact frames without a place.
    pub(super) unplaced: Vec<usize>,
    /// Length of a chunk, where that is known.
    pub(super) chunk_len: Option<u64>,
    /// Length of the content; if it isn't known, where the last piece ends.
    pub(super) content_len: u64,
    pub(super) is_len_known: bool,
    /// The header that holds for the file.
    pub(super) header: Option<Header>,
    /// Which groups of hints are about this file, since a frame is where they say.
    pub(super) corroborated: Vec<bool>,
    /// Which frames stand where they were written, each with its chunk's number.
    pub(super) in_place: Vec<Option<u64>>,
}

/// Places the frames of a survey.
pub(super) fn plan(survey: &Survey) -> Plan {
    let mut planner = Planner::new(survey);
    planner.in_place();
    planner.by_table();
    planner.find_chunk_len();
    planner.find_len();
    match planner.chunk_len {
        Some(chunk_len) => {
            for (frame, sequence) in planner.in_place.clone().into_iter().enumerate() {
                if let Some(sequence) = sequence {
                    planner.put(frame, sequence, chunk_len, true);
                }
            }
            planner.moved(chunk_len);
            planner.in_order(chunk_len);
        }
        None => planner.unnumbered(),
    }
    planner.finish()
}

struct Planner<'a> {
    survey: &'a Survey,
    header: Option<Header>,
    chunk_len: Option<u64>,
    in_place: Vec<Option<u64>>,
    /// Which of these are where the table has them, counted from the file's end, but perhaps not
    /// where they were written.
    moved: Vec<bool>,
    corroborated: Vec<bool>,
    /// The chunks that intact indexes of this file are about, in order and apart (Q5).
    named: Vec<Range<u64>>,
    known_len: Option<u64>,
    pieces: BTreeMap<u64, Piece>,
    placed: Vec<bool>,
}

impl<'a> Planner<'a> {
    fn new(survey: &'a Survey) -> Self {
        let frames = survey.frames.len();
        Self {
            survey,
            header: header_of(survey),
            chunk_len: None,
            in_place: vec![None; frames],
            moved: vec![false; frames],
            corroborated: vec![false; survey.groups.len()],
            named: Vec::new(),
            known_len: None,
            pieces: BTreeMap::new(),
            placed: vec![false; frames],
        }
    }

    /// Frames where an index or a journal says that they are.
    fn in_place(&mut self) {
        let mut hints: Vec<&Hint> = self.survey.hints.iter().collect();
        hints.sort_by_key(|hint| hint.entry.offset);
        for (frame, found) in self.survey.frames.iter().enumerate().filter(|(_, it)| it.intact) {
            let from = hints.partition_point(|hint| hint.entry.offset < found.offset);
            let here = hints[from..].iter().take_while(|hint| hint.entry.offset == found.offset);
            for hint in here {
                // Q4
                if is_named(found, hint) {
                    self.in_place[frame] = Some(hint.sequence);
                    self.corroborated[hint.group as usize] = true;
                    break;
                }
            }
        }
        let mut named: Vec<_> = self.corroborated_groups().map(|it| it.chunks.clone()).collect();
        named.sort_by_key(|chunks| chunks.start);
        for chunks in named {
            match self.named.last_mut() {
                Some(last) if chunks.start <= last.end => last.end = last.end.max(chunks.end),
                _ => self.named.push(chunks),
            }
        }
    }

    /// Frames where the seek table of a container says that they are. An entry that is damaged
    /// moves those behind it, so that offsets are counted from either end.
    fn by_table(&mut self) {
        let Some((table_offset, table)) = &self.survey.table else { return };
        let is_ours = self.header.is_some()
            || table.last().is_some_and(|entry| {
                (entry.compressed, entry.decompressed) == (HEADER_LEN as u32, 0)
            });
        if !is_ours {
            return;
        }
        let total: u64 = table.iter().map(|entry| u64::from(entry.compressed)).sum();
        let file_size = self.header.as_ref().map(|header| header.file_size);
        let is_unmoved = file_size == Some(self.survey.file_len);
        let mut forward = 0;
        let mut backward = table_offset.checked_sub(total);
        for (number, entry) in table.iter().enumerate() {
            // What stands behind something that was put in, or taken out, is told by the content.
            for (offset, in_place) in [(Some(forward), true), (backward, is_unmoved)] {
                let Some(offset) = offset else { continue };
                let Some(frame) = self.frame_at(offset) else { continue };
                let found = &self.survey.frames[frame];
                // Q4
                let is_it = (found.raw_len, found.xxh64_low)
                    == (entry.decompressed, entry.checksum)
                    && entry.compressed >= found.len;
                // Our own frames have entries without content too; only the first chunk may.
                let may_be = entry.decompressed > 0 || number == 0;
                let sequence = number as u64;
                if may_be
                    && found.intact
                    && is_it
                    && self.in_place[frame].is_none()
                    && !self.is_denied(sequence)
                {
                    self.in_place[frame] = Some(sequence);
                    self.moved[frame] = !in_place;
                }
            }
            forward += u64::from(entry.compressed);
            backward = backward.map(|at| at + u64::from(entry.compressed));
        }
    }

    fn frame_at(&self, offset: u64) -> Option<usize> {
        self.survey.frames.binary_search_by_key(&offset, |found| found.offset).ok()
    }

    /// The chunk length: as the header states it, or as frames that are in place bear out.
    fn find_chunk_len(&mut self) {
        if let Some(header) = &self.header {
            self.chunk_len = Some(header.chunk_len());
            return;
        }
        let mut lens: Vec<(u64, u32)> = Vec::new();
        for (found, sequence) in self.survey.frames.iter().zip(&self.in_place) {
            lens.extend(sequence.map(|sequence| (sequence, found.raw_len)));
        }
        lens.sort_unstable();
        let Some((&(last, last_len), others)) = lens.split_last() else { return };
        let named = self.corroborated_hints().find(|hint| hint.sequence == 0);
        let many = self.corroborated_groups().any(|group| group.chunks.end > 1);
        let len = match (others.first(), named.filter(|_| many)) {
            (Some(&(_, len)), _) => len,
            (None, Some(hint)) => hint.entry.raw_len,
            // The only chunk known is the first: how long others would be doesn't matter.
            (None, None) if last == 0 => last_len.next_power_of_two().max(1 << CHUNK_LOG2_MIN),
            (None, None) => return,
        };
        let lens = (CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX).map(|log2| 1u32 << log2);
        if lens.into_iter().any(|fitting| fitting == len)
            && others.iter().all(|&(_, other)| other == len)
            && last_len <= len
        {
            self.chunk_len = Some(len.into());
        }
    }

    fn corroborated_groups(&self) -> impl Iterator<Item = &Group> {
        let groups = self.survey.groups.iter().zip(&self.corroborated);
        groups.filter(|(group, corroborated)| group.intact && **corroborated).map(|(it, _)| it)
    }

    fn corroborated_hints(&self) -> impl Iterator<Item = &Hint> {
        let is_believed = |hint: &&Hint| {
            let group = hint.group as usize;
            self.corroborated[group] && self.survey.groups[group].intact
        };
        self.survey.hints.iter().filter(is_believed)
    }

    /// Whether an intact index of this file is about the chunk (Q5).
    fn is_denied(&self, sequence: u64) -> bool {
        let after = self.named.partition_point(|chunks| chunks.start <= sequence);
        after.checked_sub(1).is_some_and(|at| self.named[at].contains(&sequence))
    }

    /// Gives a chunk its frame, unless it has one, or one of another length would be needed.
    fn put(&mut self, frame: usize, sequence: u64, chunk_len: u64, vouched: bool) -> bool {
        let raw_len = u64::from(self.survey.frames[frame].raw_len);
        let Some(start) = sequence.checked_mul(chunk_len) else { return false };
        let is_empty = raw_len == 0 && sequence > 0;
        let fits_a_file = start.checked_add(raw_len).is_some_and(|end| end <= CONTENT_BYTES_MAX);
        if raw_len > chunk_len || is_empty || !fits_a_file || self.pieces.contains_key(&start) {
            return false;
        }
        if let Some(len) = self.known_len
            && (start > len || raw_len != chunk_len.min(len - start))
        {
            return false;
        }
        self.pieces.insert(start, Piece { frame, vouched });
        self.placed[frame] = true;
        true
    }

    /// Frames that stand elsewhere than an index says, told by their checksums.
    fn moved(&mut self, chunk_len: u64) {
        let mut missing: HashMap<Likeness, Vec<&Hint>> = HashMap::new();
        let survey = self.survey;
        for hint in &survey.hints {
            let start = hint.sequence.checked_mul(chunk_len);
            let end = hint.entry.offset.checked_add(hint.entry.frame_len.into());
            // An entry without place in the file multiplies nothing.
            let is_there = end.is_some_and(|end| end <= survey.file_len);
            let is_free = start.is_some_and(|start| !self.pieces.contains_key(&start));
            if is_there && is_free && survey.groups[hint.group as usize].intact {
                missing.entry(likeness_named(hint)).or_default().push(hint);
            }
        }
        for (frame, found) in survey.frames.iter().enumerate().filter(|(_, it)| it.intact) {
            let Some(hints) = missing.remove(&likeness_found(found)) else { continue };
            for hint in hints.into_iter().filter(|hint| is_named(found, hint)) {
                // A container that is part of the content has an index too; but what moved towards
                // the front can't be its.
                let vouched =
                    self.corroborated[hint.group as usize] || hint.entry.offset > found.offset;
                if vouched || !self.is_denied(hint.sequence) {
                    self.put(frame, hint.sequence, chunk_len, vouched);
                }
            }
        }
    }

    /// Frames in a row with others.
    fn in_order(&mut self, chunk_len: u64) {
        let frames = &self.survey.frames;
        let mut start = 0;
        while start < frames.len() {
            let linked = |pair: &[Found]| pair[0].next == pair[1].offset;
            let len = 1 + frames[start..].windows(2).take_while(|pair| linked(pair)).count();
            if let Some(base) = self.base(start, len) {
                for frame in start..start + len {
                    let Some(sequence) = base.checked_add((frame - start) as u64) else { break };
                    let found = &frames[frame];
                    let is_whole = u64::from(found.raw_len) == chunk_len;
                    let ends = frame + 1 == frames.len();
                    // Q5
                    if found.intact
                        && !self.placed[frame]
                        && self.in_place[frame].is_none()
                        && (is_whole || ends || self.known_len.is_some())
                        && !self.is_denied(sequence)
                    {
                        self.put(frame, sequence, chunk_len, false);
                    }
                }
            }
            start += len;
        }
    }

    /// The number of the first frame of a row, if everything that says it says the same.
    fn base(&self, start: usize, len: usize) -> Option<u64> {
        let row = &self.survey.frames[start..start + len];
        let mut bases: Vec<Option<u64>> = Vec::new();
        if self.is_first(&row[0]) {
            bases.push(Some(0));
        }
        for (at, sequence) in self.in_place[start..start + len].iter().enumerate() {
            bases.extend(sequence.map(|sequence| sequence.checked_sub(at as u64)));
        }
        if let Some(header) = &self.header {
            let geometry = Geometry::of(header);
            if header.placement == PlacementKind::Slots {
                for (at, found) in row.iter().enumerate() {
                    let slot_len = geometry.slot_len();
                    let on_grid = found.offset.is_multiple_of(slot_len);
                    let base = (found.offset / slot_len).checked_sub(at as u64);
                    bases.push(base.filter(|_| on_grid));
                }
            }
            // Behind the last frame, index, header and table lead to the file's end, or the first
            // of them that is damaged.
            let next = row[len - 1].next;
            let index_end = header.index_offset.saturating_add(header.index_len);
            let members_end = index_end.saturating_add(header.members_len);
            let is_last = [header.data_end, header.index_offset, index_end].contains(&next)
                || members_end == next
                || [header.table_offset, header.file_size].contains(&next);
            if header.chunk_count > 0 && is_last && start + len == self.survey.frames.len() {
                bases.push(header.chunk_count.checked_sub(len as u64));
            }
        }
        let first = *bases.first()?;
        first.filter(|_| bases.iter().all(|base| *base == first))
    }

    /// Whether a container, or a plain Zstandard file, has its first frame there.
    fn is_first(&self, found: &Found) -> bool {
        let is_front = self.survey.frames.first().is_some_and(|it| it.offset == found.offset);
        is_front && found.offset == self.survey.first
    }

    /// Without a chunk length: as a table counts that is none of ours, and one after the other, as
    /// far as they stand in a row.
    fn unnumbered(&mut self) {
        let survey = self.survey;
        if let Some((_, table)) = survey.table.as_ref().filter(|_| self.table_len().is_some()) {
            let (mut offset, mut start) = (0, 0);
            for entry in table {
                if let Some(frame) = self.frame_at(offset) {
                    let found = &survey.frames[frame];
                    let is_it =
                        (found.raw_len, found.xxh64_low) == (entry.decompressed, entry.checksum);
                    if found.intact && is_it && found.raw_len > 0 {
                        self.pieces.insert(start, Piece { frame, vouched: false });
                        self.placed[frame] = true;
                    }
                }
                offset += u64::from(entry.compressed);
                start += u64::from(entry.decompressed);
            }
            if !self.pieces.is_empty() {
                return;
            }
        }
        let Some(first) = survey.frames.first().filter(|first| self.is_first(first)) else {
            return;
        };
        let (mut start, mut expected) = (0, first.offset);
        for (frame, found) in survey.frames.iter().enumerate() {
            if found.offset != expected {
                break;
            }
            if found.intact {
                // An empty frame between others has no content to be placed.
                if found.raw_len > 0 || survey.frames.len() == 1 {
                    self.pieces.insert(start, Piece { frame, vouched: false });
                }
                self.placed[frame] = true;
            }
            start += u64::from(found.raw_len);
            expected = found.next;
        }
    }

    /// The content's length as the header or an index states it.
    fn find_len(&mut self) {
        if let Some(header) = self.header.as_ref().filter(|header| header.chunk_count > 0) {
            self.known_len = Some(header.content_size);
            return;
        }
        let Some(chunk_len) = self.chunk_len else { return };
        // The only part of an index begins with the first chunk and ends with the last.
        let most = chunks_per_frame_max(true);
        let is_whole = |group: &&Group| {
            group.place.is_some() && group.chunks.start == 0 && group.chunks.end < most
        };
        let Some(end) = self.corroborated_groups().find(is_whole).map(|it| it.chunks.end) else {
            return;
        };
        let last = end.saturating_sub(1);
        let named = self.corroborated_hints().find(|hint| hint.sequence == last);
        let raw_len = named.map(|hint| u64::from(hint.entry.raw_len));
        let before = last.checked_mul(chunk_len);
        let len = before.zip(raw_len).and_then(|(before, len)| before.checked_add(len));
        self.known_len = len.filter(|&len| len <= CONTENT_BYTES_MAX);
    }

    /// The content's length as a seek table sums it up, where the table fits the file.
    fn table_len(&self) -> Option<u64> {
        let (table_offset, table) = self.survey.table.as_ref()?;
        debug_assert!(table.len() as u64 <= SEEK_TABLE_ENTRIES_MAX);
        let compressed: u64 = table.iter().map(|entry| u64::from(entry.compressed)).sum();
        let content: u64 = table.iter().map(|entry| u64::from(entry.decompressed)).sum();
        (compressed == *table_offset).then_some(content)
    }

    fn finish(self) -> Plan {
        let frames = &self.survey.frames;
        let raw_len = |piece: &Piece| u64::from(frames[piece.frame].raw_len);
        let end = self.pieces.iter().next_back().map_or(0, |(at, piece)| at + raw_len(piece));
        let known = self.known_len.or_else(|| self.table_len());
        let known = known.filter(|&len| len >= end && !self.pieces.is_empty());
        let in_place = self.in_place.iter().zip(&self.moved);
        let in_place = in_place.map(|(sequence, moved)| sequence.filter(|_| !moved));
        let is_unplaced = |frame: &usize| frames[*frame].intact && !self.placed[*frame];
        Plan {
            unplaced: (0..frames.len()).filter(is_unplaced).collect(),
            in_place: in_place.collect(),
            pieces: self.pieces,
            chunk_len: self.chunk_len,
            content_len: known.unwrap_or(end),
            is_len_known: known.is_some(),
            header: self.header,
            corroborated: self.corroborated,
        }
    }
}

/// What frames of the same content have in common wherever they stand: checksum and lengths.
type Likeness = (u32, u32, u32);

fn likeness_named(hint: &Hint) -> Likeness {
    (hint.entry.raw_crc32c, hint.entry.raw_len, hint.entry.frame_len)
}

fn likeness_found(found: &Found) -> Likeness {
    (found.raw_crc32c, found.raw_len, found.len)
}

/// Whether the frame's bytes are those that the entry is about (Q4), wherever they stand.
fn is_named(found: &Found, hint: &Hint) -> bool {
    let entry = &hint.entry;
    let (sequence, offset) = (Sequence(hint.sequence), FileOffset(entry.offset));
    likeness_named(hint) == likeness_found(found)
        && checksum::frame(sequence, offset, found.crc32c, found.len as usize) == entry.frame_crc32c
}

/// Whether a header at `offset` stands where it says itself, or its copy does.
pub(super) fn is_in_place(offset: u64, header: &Header) -> bool {
    let is_copy = offset == header.data_end && header.index_offset > header.data_end;
    offset + HEADER_LEN as u64 == header.end_offset() || is_copy
}

/// The header that is this file's: the one that stands where it says itself, or the copy of it; or
/// else, in a file that has lost a part, the last one behind all frames. Others belong to
/// containers that are part of the content, or that follow.
fn header_of(survey: &Survey) -> Option<Header> {
    let frames_end = survey.frames.last().map_or(0, |found| found.offset);
    let sound = |(_, header): &&(u64, Header)| {
        // Sizes that contradict one another say nothing.
        layout::check_header(header, header.file_size).is_ok()
    };
    let mut sound = survey.headers.iter().filter(sound);
    let in_place = sound.clone().find(|(offset, header)| is_in_place(*offset, header));
    let header = in_place.or_else(|| sound.rfind(|(offset, _)| *offset > frames_end));
    header.map(|(_, header)| header.clone())
}
