//! What opening reads and checks: header, index and seek table, from the end of the file.
//!
//! ```text
//! footer ─► where the seek table starts ─► the header right before it ─► index
//! ```
//!
//! The last 64 KiB are read at once and held while opening: for most containers
//! that is all of it, and one request where the bytes come over a network.

use super::PIECE_BYTES;
use super::raw::Raw;
use crate::checksum::{Whole, crc32c};
use crate::error::{ErrorKind, Result};
use crate::format::header::{Digest, Header};
use crate::format::index::{self, Index};
use crate::format::layout::{self, Tail};
use crate::format::{Cursor, Fault, FormatError, SKIPPABLE_MAGIC, frame, seek_table};
use crate::limits::HEADER_LEN;

/// The header's bytes, if it is the one that stands before `end`; fewer at the file's start.
fn header_before(raw: &Raw<'_>, end: u64) -> Result<Vec<u8>> {
    let start = end.saturating_sub(HEADER_LEN as u64);
    raw.read(start, end - start)
}

/// Where the header of a container starts that is all of the file, but for what follows its header
/// and is damaged or missing. Other headers are of containers that stand before another file, or in
/// the content of one.
fn header_of_all(raw: &Raw<'_>) -> Option<u64> {
    let first = SKIPPABLE_MAGIC.to_le_bytes()[0];
    let mut starts = (0..raw.end.len()).rev().filter(|&at| raw.end[at] == first);
    let at = starts.find(|&at| {
        let bytes = &raw.end[at..];
        let is_all = |header: Header| {
            let end = raw.end_offset() + (at + HEADER_LEN) as u64;
            header.end_offset() == end && header.file_size >= raw.len
        };
        Header::opens(bytes) && Header::decode(bytes).is_ok_and(is_all)
    })?;
    Some(raw.end_offset() + at as u64)
}

pub(super) fn read_header(raw: &Raw<'_>) -> Result<(Header, Tail)> {
    let table_len = seek_table::decode_footer(&raw.end).ok().map(seek_table::table_len);
    // A container with too many chunks for a table ends with its header.
    let table_offset = table_len.and_then(|len| raw.len.checked_sub(len)).unwrap_or(raw.len);
    let offset = table_offset.saturating_sub(HEADER_LEN as u64);
    let refused = match Header::decode(&header_before(raw, table_offset)?) {
        Ok(header) => return check_header(raw, header, offset),
        Err(error) => error,
    };
    match refused.fault {
        Fault::Unsupported => Err(raw.refused(refused, offset)),
        Fault::Damaged => Err(damaged(raw, "the header is damaged").offset(offset)),
        // Either the seek table is damaged or the header itself, or it is no container.
        Fault::Foreign if names_header(raw, table_offset)? => {
            Err(damaged(raw, "the header is damaged").offset(offset))
        }
        Fault::Foreign => match header_of_all(raw) {
            Some(at) => {
                Err(damaged(raw, "what follows the header is damaged or missing").offset(at))
            }
            None => Err(foreign(raw)?),
        },
    }
}

/// Whether the seek table's last entry is that of a header.
fn names_header(raw: &Raw<'_>, table_offset: u64) -> Result<bool> {
    let entry_len = seek_table::ENTRY_LEN as u64;
    let Some(at) = (raw.len - table_offset)
        .checked_sub(seek_table::table_len(1))
        .map(|_| raw.len - seek_table::FOOTER_LEN as u64 - entry_len)
    else {
        return Ok(false);
    };
    let entry = raw.read(at, entry_len)?;
    Ok(entry == seek_table::Entry::without_content(HEADER_LEN as u32).encode())
}

fn check_header(raw: &Raw<'_>, header: Header, offset: u64) -> Result<(Header, Tail)> {
    let start = (offset + HEADER_LEN as u64).checked_sub(header.end_offset());
    if start.is_some_and(|start| start > 0) && header.file_size < raw.len {
        let what = "is several files, one behind the other";
        let refused = raw.error(ErrorKind::NotAContainer, what);
        return Err(refused.hint("ringpack unpack restores the content of all of them"));
    }
    let tail = layout::check_header(&header, raw.len);
    let tail = tail.map_err(|error| raw.refused(error, offset))?;
    Ok((header, tail))
}

fn damaged(raw: &Raw<'_>, what: &'static str) -> crate::Error {
    let hint = "ringpack salvage restores what is intact; zstd -d, what comes before the damage";
    raw.error(ErrorKind::Damaged, what).hint(hint)
}

/// The error of a file that is no container.
fn foreign(raw: &Raw<'_>) -> Result<crate::Error> {
    let front = raw.read(0, raw.len.min(4))?;
    let refused = raw.error(ErrorKind::NotAContainer, "not a ringpack container");
    Ok(if front.is_empty() {
        refused.hint("it is empty")
    } else if front.starts_with(&frame::ZSTD_MAGIC.to_le_bytes()) {
        refused.hint("it is another program's Zstandard file, which ringpack unpack restores")
    } else {
        refused.hint("name a file that ringpack pack wrote")
    })
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
    let chunks = table.iter().take(index.entries.len());
    Ok(Some(chunks.map(|entry| entry.checksum).collect()))
}
