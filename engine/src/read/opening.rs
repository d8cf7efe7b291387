//! What opening reads and checks: header, index and seek table.

use super::PIECE_BYTES;
use super::raw::Raw;
use crate::checksum::{Whole, crc32c};
use crate::error::{ErrorKind, Result};
use crate::format::header::{Digest, Header, MAGIC, State};
use crate::format::index::{self, Index};
use crate::format::layout::{self, Tail};
use crate::format::recipe::Recipe;
use crate::format::{Cursor, FormatError, Subtype, frame, seek_table};
use crate::limits::{ALIGN, HEADER_LEN};

pub(super) fn read_header(raw: &Raw<'_>) -> Result<(Header, Tail)> {
    let front = raw.read(0, raw.len.min(HEADER_LEN as u64))?;
    let foreign = |error: FormatError| {
        let refused = raw.refused(error, 0);
        let is_zstd = front.starts_with(&frame::ZSTD_MAGIC.to_le_bytes());
        match refused.kind() {
            ErrorKind::NotAContainer if front.is_empty() => refused.hint("it is empty"),
            ErrorKind::NotAContainer if is_zstd => refused
                .hint("it is another program's Zstandard file, which ringpack unpack restores"),
            ErrorKind::NotAContainer => refused.hint("name a file that ringpack pack wrote"),
            _ => refused,
        }
    };
    let mut header = Header::decode(&front, Subtype::Header).map_err(foreign)?;
    if header.state == State::Streamed {
        header = read_trailing_header(raw, &header)?;
    }
    let tail = layout::check_header(&header, raw.len).map_err(|error| {
        let refused = raw.refused(error, 0);
        if header.state == State::Open || raw.len <= header.file_size {
            return refused;
        }
        refused.hint("cut off what follows; zstd -d restores files put one after the other")
    })?;
    Ok((header, tail))
}

/// Finds the trailing header. It stands before the tail pad, whose length the seek table's last
/// entry has; without a table, the pad is the end of the file, and short.
fn read_trailing_header(raw: &Raw<'_>, front: &Header) -> Result<Header> {
    let missing = || {
        raw.error(ErrorKind::Damaged, "the end of this streamed container is missing or damaged")
            .hint("zstd -d restores what is there")
    };
    let header_len = HEADER_LEN as u64;
    let end_len = raw.len.min((seek_table::FOOTER_LEN + seek_table::ENTRY_LEN) as u64);
    let end = raw.read(raw.len - end_len, end_len)?;
    let mut places = Vec::new();
    if let Ok(entries) = seek_table::decode_footer(&end) {
        let table_len = seek_table::table_len(entries);
        let last_len = end.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes).into());
        // The last entry is the tail pad's, or the trailing header's own where there is no pad.
        for after in [table_len.saturating_add(last_len), table_len] {
            places.extend(raw.len.checked_sub(after.saturating_add(header_len)));
        }
    } else {
        let pad_max = 2 * ALIGN as u64;
        let last = raw.len.saturating_sub(header_len);
        let from = last.saturating_sub(pad_max);
        let bytes = raw.read(from, raw.len - from)?;
        let starts = bytes.windows(MAGIC.len()).enumerate();
        // The magic is the header's ninth byte and those after it.
        let magics = starts.filter(|(_, window)| *window == MAGIC);
        places.extend(magics.filter_map(|(at, _)| (from + at as u64).checked_sub(8)));
    }
    for offset in places {
        let Some(len) = raw.len.checked_sub(offset).map(|rest| rest.min(header_len)) else {
            continue;
        };
        let bytes = raw.read(offset, len)?;
        let Ok(header) = Header::decode(&bytes, Subtype::TrailingHeader) else { continue };
        // Both were made by one run: they differ in what was not known at the front.
        let expected = Recipe::of(&header).open_header(header.state, header.run);
        if header.state == State::Streamed && *front == expected {
            return Ok(header);
        }
    }
    Err(missing())
}

/// Reads the index piece by piece. An entry is kept only where the layout leads up to it and so
/// many bytes of the file say so: a hole in the file's place backs no number of chunks (V1).
pub(super) fn read_index(raw: &Raw<'_>, header: &Header) -> Result<Index> {
    let chaining = header.digest != Digest::None;
    let mut index = Index::default();
    let mut check = layout::IndexCheck::new(header);
    let mut wrong = None;
    let mut offset = header.index_offset;
    let misfit = |(sequence, error)| raw.refused(error, header.index_offset).sequence(sequence);
    for run in index::runs(header.chunk_count, chaining) {
        let count = run.end - run.start;
        let len = index::frame_len(count, chaining);
        let refused = |error| raw.refused(error, offset);
        let mut pieces = Pieces { raw, at: offset, end: offset + len, held: Vec::new(), from: 0 };
        let prefix = pieces.next(index::PREFIX_LEN)?;
        Index::check_prefix(prefix, &run, chaining).map_err(refused)?;
        let mut sum = Whole::default();
        sum.append(crc32c(&prefix[8..]), prefix.len() - 8);
        for part in parts(count) {
            let bytes = pieces.next(part * index::ENTRY_LEN)?;
            sum.append(crc32c(bytes), bytes.len());
            let mut fields = Cursor::new(bytes);
            for _ in 0..part {
                let entry = index::Entry::decode(&mut fields).map_err(refused)?;
                // What doesn't fit is told once it is known whether the checksum does.
                match wrong.is_none().then(|| check.entry(&entry)) {
                    Some(Ok(())) => index.entries.push(entry),
                    Some(Err(misfit)) => wrong = Some(misfit),
                    None => {}
                }
            }
        }
        for part in parts(if chaining { count } else { 0 }) {
            let bytes = pieces.next(part * index::CHAINING_LEN)?;
            sum.append(crc32c(bytes), bytes.len());
            if wrong.is_none() {
                index.chaining.extend(bytes.as_chunks().0);
            }
        }
        if sum.value().to_le_bytes() != pieces.next(index::SUFFIX_LEN)? {
            return Err(refused(FormatError::damaged("the index doesn't match its checksum")));
        }
        if let Some(wrong) = wrong {
            return Err(misfit(wrong));
        }
        offset += len;
    }
    check.end().map_err(misfit)?;
    Ok(index)
}

/// `count` in parts of which each fits into [`PIECE_BYTES`].
fn parts(count: u64) -> impl Iterator<Item = usize> {
    const MOST: u64 = (PIECE_BYTES / index::CHAINING_LEN) as u64;
    (0..count.div_ceil(MOST)).map(move |part| (count - part * MOST).min(MOST) as usize)
}

/// A part of the file in order, read [`PIECE_BYTES`] at a time.
struct Pieces<'a> {
    raw: &'a Raw<'a>,
    at: u64,
    end: u64,
    held: Vec<u8>,
    from: usize,
}

impl Pieces<'_> {
    /// The next `len` bytes; no more than [`PIECE_BYTES`], nor than are left.
    fn next(&mut self, len: usize) -> Result<&[u8]> {
        if self.held.len() - self.from < len {
            self.held.drain(..self.from);
            self.from = 0;
            let step = (self.end - self.at).min(PIECE_BYTES as u64);
            self.held.extend(self.raw.read(self.at, step)?);
            self.at += step;
        }
        let bytes = &self.held[self.from..self.from + len];
        self.from += len;
        Ok(bytes)
    }
}

pub(super) fn read_table(
    raw: &Raw<'_>,
    header: &Header,
    tail: &Tail,
    index: &Index,
) -> Result<Option<Vec<u32>>> {
    if tail.table_entries.is_none() {
        return Ok(None);
    }
    let offset = tail.table_offset;
    let bytes = raw.read(offset, tail.file_size - offset)?;
    let refused = |error| raw.refused(error, offset);
    let table = seek_table::decode(&bytes).map_err(refused)?;
    layout::check_table(header, tail, index, &table).map_err(refused)?;
    let chunks = table.iter().skip(1).take(index.entries.len());
    Ok(Some(chunks.map(|entry| entry.checksum).collect()))
}
