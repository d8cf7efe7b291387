//! The survey: everything in a damaged file that proves itself, found by one pass over its bytes.
//!
//! Nothing is believed of where a thing should be: a frame may start at any byte. Where a magic
//! number stands, the frame behind it is walked block by block, decoded, and held against its own
//! checksum. A frame that fails counts as *damaged* only where its blocks lead exactly to another
//! magic number, so that those behind it can still be counted; its bytes are never given out.
//!
//! ```text
//! magic? ─no─► next byte      frame ─walk─► length ─decode─► intact: on behind its end
//!   └─yes─► header, index: kept as they are                 └fails─► damaged, or the next byte
//! ```
//!
//! What is kept of the file in memory is bounded by the largest chunk; of each frame and each entry
//! of an index, a fixed number of bytes, and no more entries than the file has room for.
//!
//! # Invariants
//! - Q2: a frame is intact only if it was decoded whole and its content checksum matched.
//! - Q3: what fails is charged against a budget linear in the file's length, and past it nothing
//!   more is tried: no arrangement of bytes makes the pass take longer than that.

use super::place::is_in_place;
use super::window::Window;
use crate::checksum::{Whole, crc32c};
use crate::codec::Decoder;
use crate::error::Result;
use crate::format::fill::{filled_len_max, tail_len};
use crate::format::frame::{FrameHeader, ZSTD_MAGIC, content_checksum};
use crate::format::header::Header;
use crate::format::index::{self, Entry};
use crate::format::zstd::{self, FRONT_LEN_MAX, Front, is_skippable};
use crate::format::{Cursor, SKIPPABLE_MAGIC, seek_table};
use crate::limits::{CHUNK_LOG2_MAX, HEADER_LEN};

/// Longest content of one frame that is decoded: the largest chunk.
const RAW_LEN_MAX: u64 = 1 << CHUNK_LOG2_MAX;
/// Skippable frames in a row that are followed to what comes after a frame.
const SKIPPED_MAX: usize = 32;
/// Work that may be wasted on any file, in bytes, and on each byte of it.
const WASTE_BYTES: u64 = 1 << 30;
const WASTE_PER_BYTE: u64 = 256;
/// What a step over a block's header counts as, in bytes.
const STEP_BYTES: u64 = 16;

/// A Zstandard frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) offset: u64,
    /// Where the next thing that isn't to be skipped would start.
    pub(super) next: u64,
    pub(super) len: u32,
    pub(super) raw_len: u32,
    /// CRC32C of the frame's bytes, and of its content.
    pub(super) crc32c: u32,
    pub(super) raw_crc32c: u32,
    /// Low half of the XXH64 of its content.
    pub(super) xxh64_low: u32,
    /// Whether it was decoded and matched (Q2); else only its length is known.
    pub(super) intact: bool,
}

/// What a part of an index, or a journal, says of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    pub(super) sequence: u64,
    pub(super) entry: Entry,
    /// Which part said so.
    pub(super) group: u32,
}

impl Hint {
    /// The hint, unless no frame could be so.
    pub(super) fn new(sequence: u64, entry: Entry, group: u32) -> Option<Self> {
        let raw_len = u64::from(entry.raw_len);
        let fits = raw_len <= RAW_LEN_MAX
            && entry.frame_len >= 13
            && entry.frame_len as usize <= filled_len_max(entry.raw_len as usize)
            && sequence < u64::MAX >> CHUNK_LOG2_MAX;
        fits.then_some(Self { sequence, entry, group })
    }
}

/// A part of an index, or a journal.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Where it stands in the file; none of a journal.
    pub(super) place: Option<std::ops::Range<u64>>,
    /// Whether its own checksum matched.
    pub(super) intact: bool,
    /// The chunks that it is about.
    pub(super) chunks: std::ops::Range<u64>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) file_len: u64,
    /// Frames in order of their offsets; none overlap.
    pub(super) frames: Vec<Found>,
    pub(super) hints: Vec<Hint>,
    pub(super) groups: Vec<Group>,
    /// Headers, with their places.
    pub(super) headers: Vec<(u64, Header)>,
    /// The seek table at the file's end, and where it starts.
    pub(super) table: Option<(u64, Vec<seek_table::Entry>)>,
    /// Where what isn't to be skipped starts first.
    pub(super) first: u64,
    /// Frames passed over because they have no checksum, state no length, or too great a one.
    pub(super) unverifiable: u64,
    /// Whether the budget ended before the file did (Q3).
    pub(super) gave_up: bool,
}

impl Survey {
    /// Leaves out the frames that a member index is made of: they are no content.
    pub(super) fn leave_out_member_index(&mut self) {
        for (offset, header) in &self.headers {
            let start = header.index_offset.saturating_add(header.index_len);
            let end = start.saturating_add(header.members_len);
            // Other headers are those of containers within the content.
            if header.members_len > 0 && (*offset == header.data_end || *offset == end) {
                self.frames.retain(|found| !(start..end).contains(&found.offset));
            }
        }
    }
}

/// Takes the survey.
pub(super) fn survey(window: &mut Window<'_>) -> Result<Survey> {
    let file_len = window.file_len();
    let table = read_table(window)?;
    let mut surveyor = Surveyor {
        budget: WASTE_BYTES.saturating_add(file_len.saturating_mul(WASTE_PER_BYTE)),
        hints_left: file_len / index::ENTRY_LEN as u64,
        window,
        decoder: Decoder::new()?,
        chunk: Vec::new(),
        found: Survey {
            file_len,
            frames: Vec::new(),
            hints: Vec::new(),
            groups: Vec::new(),
            headers: Vec::new(),
            table,
            first: 0,
            unverifiable: 0,
            gave_up: false,
        },
    };
    surveyor.found.first = surveyor.skip(0)?;
    surveyor.pass()?;
    Ok(surveyor.found)
}

struct Surveyor<'a, 'w> {
    window: &'a mut Window<'w>,
    decoder: Decoder,
    chunk: Vec<u8>,
    found: Survey,
    budget: u64,
    hints_left: u64,
}

impl Surveyor<'_, '_> {
    fn pass(&mut self) -> Result<()> {
        let mut at = 0;
        while let Some((place, magic)) = self.next_magic(at)? {
            at = match magic {
                ZSTD_MAGIC => self.frame(place)?,
                _ => self.own(place)?,
            }
            .unwrap_or(place + 1);
        }
        Ok(())
    }

    /// The next place at or after `at` where a frame, or one of ours to be skipped, may start.
    fn next_magic(&mut self, mut at: u64) -> Result<Option<(u64, u32)>> {
        let len = self.window.file_len();
        while at < len {
            let bytes = self.window.ahead(at)?;
            let found = bytes.windows(4).position(|four| {
                matches!(four, [0x28, 0xB5, 0x2F, 0xFD] | [0x5C, 0x2A, 0x4D, 0x18])
            });
            if let Some(from) = found {
                let is_frame = bytes.get(from) == Some(&0x28);
                let magic = if is_frame { ZSTD_MAGIC } else { SKIPPABLE_MAGIC };
                return Ok(Some((at + from as u64, magic)));
            }
            // All but the three last bytes were looked at.
            at += bytes.len().saturating_sub(3).max(1) as u64;
            if self.window.get(at, 4)?.len() < 4 {
                break;
            }
            // A hole may be longer than everything else.
            if self.window.get(at, 4)? == [0; 4] {
                at = self.window.next_data(at);
            }
        }
        Ok(None)
    }

    /// Whether `bytes` of work may still be wasted.
    fn spend(&mut self, bytes: u64) -> bool {
        // Q3
        let left = self.budget.checked_sub(bytes);
        self.budget = left.unwrap_or(0);
        self.found.gave_up |= left.is_none();
        left.is_some()
    }

    /// Looks at the frame at `offset`; gives where to go on, where there is one.
    fn frame(&mut self, offset: u64) -> Result<Option<u64>> {
        let head = self.window.get(offset, FRONT_LEN_MAX)?;
        let Ok(header) = FrameHeader::decode(head) else {
            self.found.unverifiable += u64::from(is_frame_header(head));
            return Ok(None);
        };
        if header.content_size > RAW_LEN_MAX {
            self.found.unverifiable += 1;
            return Ok(None);
        }
        let raw_len = header.content_size as usize;
        let Some(len) = self.walk(offset, raw_len)? else {
            return Ok(None);
        };
        if self.found.gave_up {
            return Ok(None);
        }
        if self.chunk.len() < raw_len {
            self.chunk.resize(raw_len, 0);
        }
        let bytes = self.window.get(offset, len)?;
        let out = &mut self.chunk[..raw_len];
        // Q2
        let intact = self.decoder.decode(bytes, out).is_ok();
        let found = Found {
            offset,
            next: 0,
            len: len as u32,
            raw_len: raw_len as u32,
            crc32c: crc32c(bytes),
            raw_crc32c: if intact { crc32c(out) } else { 0 },
            xxh64_low: content_checksum(bytes).unwrap_or(0),
            intact,
        };
        let end = offset + len as u64;
        if !intact && (!self.spend((len + raw_len) as u64) || !self.is_plausible(end)?) {
            return Ok(None);
        }
        let next = self.skip(end)?;
        self.found.frames.push(Found { next, ..found });
        Ok(Some(end))
    }

    /// The length of the frame at `offset` by the headers of its blocks, if they lead to an end.
    fn walk(&mut self, offset: u64, raw_len: usize) -> Result<Option<usize>> {
        let most = (filled_len_max(raw_len) + raw_len / 64 + 1024) as u64;
        let Front::Content(front) = zstd::front(self.window.get(offset, FRONT_LEN_MAX)?) else {
            return Ok(None);
        };
        let (mut at, mut raw) = (front.len, 0);
        // Far more blocks than libzstd makes of so many bytes, and those that fill.
        for _ in 0..64 + raw_len / 256 + tail_len(raw_len) {
            if !self.spend(STEP_BYTES) {
                return Ok(None);
            }
            let bytes = self.window.get(offset + at, 3)?.first_chunk();
            let Some(block) = bytes.and_then(|bytes| zstd::block(*bytes)) else {
                return Ok(None);
            };
            at += block.len;
            raw += block.content_size.unwrap_or(0);
            if at + 4 > most || raw > raw_len as u64 {
                return Ok(None);
            }
            if block.last {
                let len = at + 4;
                let fits = offset + len <= self.window.file_len();
                return Ok(fits.then_some(len as usize));
            }
        }
        Ok(None)
    }

    /// Whether something may start at `offset`, or the file ends there.
    fn is_plausible(&mut self, offset: u64) -> Result<bool> {
        let bytes = self.window.get(offset, 4)?;
        let magic = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let is_magic = magic == Some(ZSTD_MAGIC) || magic.is_some_and(is_skippable);
        Ok(is_magic || offset == self.window.file_len())
    }

    /// Follows skippable frames from `offset` on by the lengths they state.
    fn skip(&mut self, mut offset: u64) -> Result<u64> {
        for _ in 0..SKIPPED_MAX {
            let Some(prefix) = self.peek::<8>(offset)? else { break };
            let [a, b, c, d, lens @ ..] = prefix;
            if !is_skippable(u32::from_le_bytes([a, b, c, d])) {
                break;
            }
            offset += 8 + u64::from(u32::from_le_bytes(lens));
        }
        Ok(offset)
    }

    /// The bytes at `offset`, without moving the window far ahead.
    fn peek<const N: usize>(&mut self, offset: u64) -> Result<Option<[u8; N]>> {
        self.window.peek(offset)
    }

    /// Looks at a skippable frame of ours; gives where to go on, where it is intact.
    fn own(&mut self, offset: u64) -> Result<Option<u64>> {
        let Some(payload) = self.window.get(offset, 8)?.last_chunk::<4>().copied() else {
            return Ok(None);
        };
        let payload = u32::from_le_bytes(payload);
        if payload as usize == HEADER_LEN - 8 {
            let header = Header::decode(self.window.get(offset, HEADER_LEN)?).ok();
            // Of few of them anything is to be learnt: the others are of containers within.
            let is_kept =
                |header: &Header| self.found.headers.len() < 64 || is_in_place(offset, header);
            if let Some(header) = header.filter(is_kept) {
                self.found.headers.push((offset, header));
                return Ok(Some(offset + HEADER_LEN as u64));
            }
        }
        self.index(offset, payload.into())
    }

    /// Reads the index frame at `offset`, whether or not its checksum matches: an entry is proven
    /// by the frame that it names.
    fn index(&mut self, offset: u64, payload: u64) -> Result<Option<u64>> {
        let file_len = self.window.file_len();
        let prefix = self.window.get(offset, index::PREFIX_LEN)?;
        let mut cursor = Cursor::new(prefix.get(16..).unwrap_or_default());
        let (Ok(first), Ok(count)) = (cursor.u64(), cursor.u64()) else {
            return Ok(None);
        };
        if prefix.get(8..16) != Some(b"\x01RPINDEX") {
            return Ok(None);
        }
        let frame_len = payload + 8;
        let room = payload.saturating_sub((index::PREFIX_LEN - 8 + index::SUFFIX_LEN) as u64);
        let is_sound = count <= room / index::ENTRY_LEN as u64
            && [false, true].iter().any(|&chaining| index::frame_len(count, chaining) == frame_len);
        let count = count.min(room / index::ENTRY_LEN as u64);
        let end = file_len.min(offset + frame_len);
        let group = self.found.groups.len() as u32;
        let mut sum = Whole::default();
        sum.append(crc32c(&prefix[8..]), prefix.len() - 8);
        let mut at = offset + index::PREFIX_LEN as u64;
        let hints_before = self.found.hints.len();
        let mut sequence = first;
        while at < end {
            // A whole number of entries, so that none is cut in two.
            const STEP: usize = index::ENTRY_LEN << 12;
            let left = end - at;
            let suffix = index::SUFFIX_LEN as u64;
            let step = (left.saturating_sub(suffix)).min(STEP as u64) as usize;
            if step == 0 || !self.spend(step as u64) {
                break;
            }
            let bytes = self.window.get(at, step)?;
            sum.append(crc32c(bytes), bytes.len());
            let mut cursor = Cursor::new(bytes);
            while sequence.wrapping_sub(first) < count
                && let Ok(entry) = Entry::decode(&mut cursor)
            {
                let hint = Hint::new(sequence, entry, group);
                if let Some(hint) = hint.filter(|_| self.hints_left > 0) {
                    // No more than the file has room for.
                    self.hints_left -= 1;
                    self.found.hints.push(hint);
                }
                sequence = sequence.saturating_add(1);
            }
            at += step as u64;
        }
        let suffix = self.window.get(at, index::SUFFIX_LEN)?;
        let intact = is_sound
            && at + index::SUFFIX_LEN as u64 == offset + frame_len
            && suffix == sum.value().to_le_bytes();
        if !intact && self.found.hints.len() == hints_before {
            return Ok(None);
        }
        let chunks = first..first.saturating_add(count);
        let place = Some(offset..offset + frame_len);
        self.found.groups.push(Group { place, intact, chunks });
        Ok(intact.then_some(offset + frame_len))
    }
}

/// Whether what is no frame of ours looks like one of another's: whose checksum, or whose length,
/// was left out.
fn is_frame_header(head: &[u8]) -> bool {
    // No dictionary, and a block of a size that there is behind it.
    let Front::Content(front) = zstd::front(head) else {
        return false;
    };
    let block = head.get(front.len as usize..).and_then(|rest| rest.first_chunk());
    front.dictionary == 0 && block.is_some_and(|bytes| zstd::block(*bytes).is_some())
}

fn read_table(window: &mut Window<'_>) -> Result<Option<(u64, Vec<seek_table::Entry>)>> {
    let len = window.file_len();
    let footer_len = seek_table::FOOTER_LEN as u64;
    let Some(at) = len.checked_sub(footer_len) else {
        return Ok(None);
    };
    let Ok(entries) = seek_table::decode_footer(window.get(at, seek_table::FOOTER_LEN)?) else {
        return Ok(None);
    };
    let table_len = seek_table::table_len(entries);
    let Some(start) = len.checked_sub(table_len) else {
        return Ok(None);
    };
    let table = seek_table::decode(window.get(start, table_len as usize)?).ok();
    Ok(table.map(|table| (start, table)))
}
