//! The seek table of another program: found at the file's end, and held against the frames.
//!
//! It only ever says what frames say better, so it is believed where a frame that doesn't state its
//! content size lies exactly as an entry says; what the entry claims is then checked by decoding.
//!
//! # Invariants
//! - FO3: a table is used only where its entries sum to its own place, and an entry only for what
//!   the frames it covers bear out.

use std::cmp::Ordering;
use std::sync::Arc;

use super::feed::{Hop, Look, read_at};
use super::measure::Place;
use crate::error::Result;
use crate::format::seek_table::{FOOTER_LEN, FOOTER_MAGIC, TABLE_MAGIC};
use crate::limits::SEEK_TABLE_ENTRIES_MAX;
use crate::ring::file::File;

/// Entries read at a time.
const ENTRIES_AT_ONCE: u64 = 4096;

/// An entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) compressed: u64,
    pub(super) decompressed: u64,
    /// Low half of the XXH64 of the content, where the table has checksums.
    pub(super) checksum: Option<u32>,
}

/// What a table's entries sum to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sum {
    /// To the table's own place: they state so many bytes of content.
    ToPlace { content: u64 },
    /// To less: there are frames that it doesn't speak of, as where two files follow each other.
    Less,
    /// To more: it speaks of frames that aren't there.
    More,
}

impl Sum {
    /// Bytes of content, of a table that can be used.
    pub(super) fn content(self) -> Option<u64> {
        match self {
            Self::ToPlace { content } => Some(content),
            Self::Less | Self::More => None,
        }
    }
}

/// Where a table stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Table {
    pub(super) offset: u64,
    pub(super) entries: u64,
    entry_len: u64,
}

impl Table {
    /// The table that the file ends with, if it does.
    pub(super) fn find(file: &dyn File, len: u64) -> Result<Option<Self>> {
        let mut hop = Hop::new(file, len);
        let footer_len = FOOTER_LEN as u64;
        let Some(at) = len.checked_sub(footer_len) else { return Ok(None) };
        let footer = hop.look(at, FOOTER_LEN)?;
        let Some(&[a, b, c, d, descriptor, e, f, g, h]) = footer.first_chunk() else {
            return Ok(None);
        };
        let entries = u64::from(u32::from_le_bytes([a, b, c, d]));
        let is_footer = u32::from_le_bytes([e, f, g, h]) == FOOTER_MAGIC && descriptor & 0x7C == 0;
        if !is_footer || entries > SEEK_TABLE_ENTRIES_MAX {
            return Ok(None);
        }
        let entry_len = if descriptor & 0x80 != 0 { 12 } else { 8 };
        let table_len = 8 + entries * entry_len + footer_len;
        let Some(offset) = len.checked_sub(table_len) else { return Ok(None) };
        let mut prefix = TABLE_MAGIC.to_le_bytes().to_vec();
        prefix.extend(((table_len - 8) as u32).to_le_bytes());
        let found = Self { offset, entries, entry_len };
        Ok((hop.look(offset, 8)? == prefix).then_some(found))
    }

    /// Its entries, from the first on.
    pub(super) fn entries(self, file: &Arc<dyn File>) -> Entries {
        Entries { file: Arc::clone(file), table: self, next: 0, held: Vec::new(), from: 0 }
    }

    /// What its entries sum to.
    pub(super) fn sum(self, file: &Arc<dyn File>) -> Result<Sum> {
        let (mut compressed, mut content) = (0, 0);
        let mut entries = self.entries(file);
        while let Some(entry) = entries.next()? {
            // At most 2^27 numbers below 2^32 each.
            compressed += entry.compressed;
            content += entry.decompressed;
        }
        Ok(match compressed.cmp(&self.offset) {
            Ordering::Equal => Sum::ToPlace { content },
            Ordering::Less => Sum::Less,
            Ordering::Greater => Sum::More,
        })
    }
}

/// A table's entries in order, read some thousand at a time.
pub(super) struct Entries {
    file: Arc<dyn File>,
    table: Table,
    next: u64,
    held: Vec<u8>,
    from: usize,
}

impl Entries {
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let entry = self.peek()?;
        self.from += if entry.is_some() { self.table.entry_len as usize } else { 0 };
        Ok(entry)
    }

    pub(super) fn peek(&mut self) -> Result<Option<Entry>> {
        let Table { offset, entries, entry_len } = self.table;
        if self.from == self.held.len() {
            let count = (entries - self.next).min(ENTRIES_AT_ONCE);
            self.held.resize((count * entry_len) as usize, 0);
            read_at(&*self.file, &mut self.held, offset + 8 + self.next * entry_len)?;
            self.next += count;
            self.from = 0;
        }
        let bytes = &self.held[self.from..];
        let field = |index: usize| {
            let bytes = bytes.get(4 * index..4 * index + 4)?;
            Some(u32::from_le_bytes(*bytes.first_chunk()?))
        };
        let (Some(compressed), Some(decompressed)) = (field(0), field(1)) else { return Ok(None) };
        Ok(Some(Entry {
            compressed: compressed.into(),
            decompressed: decompressed.into(),
            checksum: if entry_len == 12 { field(2) } else { None },
        }))
    }
}

/// A table held against the frames, one after the other.
pub(super) struct Held {
    entries: Entries,
    /// The entry that the frames have come to, and what of it they cover.
    within: Option<(Entry, u64, u64)>,
}

impl Held {
    pub(super) fn new(entries: Entries) -> Self {
        Self { entries, within: None }
    }

    /// The entry of a frame of `len` bytes that stands alone in it, if the next one is such.
    pub(super) fn claim(&mut self, len: u64) -> Result<Option<Entry>> {
        match (&self.within, self.entries.peek()?) {
            (None, Some(entry)) if entry.compressed == len => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    /// Takes note of a frame; says what of the table doesn't fit it.
    pub(super) fn frame(&mut self, place: Place, len: u64, content: u64) -> Result<Option<String>> {
        let (entry, covered, held) = match self.within.take() {
            Some(within) => within,
            None => match self.entries.next()? {
                Some(entry) => (entry, 0, 0),
                None => return Ok(misfit(place, "has fewer entries than there are frames")),
            },
        };
        let (covered, held) = (covered + len, u64::saturating_add(held, content));
        if covered > entry.compressed {
            return Ok(misfit(place, "has an entry that ends within this frame"));
        }
        if covered < entry.compressed {
            self.within = Some((entry, covered, held));
        } else if held != entry.decompressed {
            return Ok(misfit(place, "states another content size than this frame has"));
        }
        Ok(None)
    }

    /// Says what doesn't fit where the table itself is reached.
    pub(super) fn end(&mut self, place: Place) -> Result<Option<String>> {
        if self.within.is_some() || self.entries.peek()?.is_some() {
            return Ok(misfit(place, "has more entries than there are frames"));
        }
        Ok(None)
    }
}

fn misfit(place: Place, what: &str) -> Option<String> {
    Some(format!("frame {} at byte {}: the seek table {what}", place.number, place.offset))
}
