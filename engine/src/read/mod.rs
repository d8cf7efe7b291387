//! Reading a container: what it is, where its chunks are, and any range of its content.
//!
//! Opening checks everything that bounds what comes after: header, sizes, index, seek table, and
//! that they agree with each other and with the file's length. From then on every offset and
//! length is known to lie inside the file.
//!
//! # Invariants
//! - V1: no length, count or offset of the file is used before its checksum and bounds were
//!   checked, and nothing is allocated by one that the file's own length doesn't bear out.
//! - V2: no byte of a chunk is given out before the whole chunk was decoded and verified.

pub mod content;
mod held;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use content::ContentReader;

use held::Held;

use crate::buffer::AlignedMemory;
use crate::checksum::{self, Whole, crc32c};
use crate::codec::Decoder;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{Digest, Header, MAGIC, State};
use crate::format::index::{self, Index};
use crate::format::layout::{self, Geometry, Tail};
use crate::format::recipe::Recipe;
use crate::format::{Cursor, Fault, FormatError, Subtype, frame, seek_table};
use crate::limits::{ALIGN, HEADER_LEN};
use crate::ring::file::{Disk, File, FileKind, Status};
use crate::units::{FileOffset, Sequence, align_down, align_up};

/// Bytes read at a time while opening.
const PIECE_BYTES: usize = 1 << 20;

/// An open container.
#[derive(Debug)]
pub struct Container {
    file: Arc<dyn File>,
    path: PathBuf,
    status: Status,
    header: Header,
    tail: Tail,
    index: Index,
    /// Low halves of the XXH64 of the chunks, as the seek table states them.
    table_checksums: Option<Vec<u32>>,
}

impl Container {
    /// Opens the container at `path`, past the page cache where that is served and `direct` asks
    /// for it. Takes memory for the index: 24 bytes a chunk, 4 for the seek table, and 32 with a
    /// digest.
    ///
    /// # Errors
    /// `Input` where the file can't be read, `NotAContainer`, `Unsupported`, or `Damaged` where
    /// header, index or seek table are.
    pub fn open(disk: &dyn Disk, path: &Path, direct: bool) -> Result<Self> {
        let failed = |error| Error::from_io(ErrorKind::Input, "cannot open", error).at(path);
        match disk.kind(path).map_err(failed)? {
            FileKind::Regular | FileKind::BlockDevice => {}
            FileKind::Directory => {
                return Err(Error::new(ErrorKind::Input, "is a directory").at(path));
            }
            FileKind::Stream => {
                return Err(Error::new(ErrorKind::Input, "can only be read in order")
                    .at(path)
                    .hint("save it to a file first, or decompress it with zstd -d"));
            }
        }
        let file = disk.open(path, direct).map_err(failed)?;
        let status = file.status().map_err(failed)?;
        let raw = Raw { file: &file, path, len: status.len };
        let (header, tail) = read_header(&raw)?;
        let index = read_index(&raw, &header)?;
        let table_checksums = read_table(&raw, &header, &tail, &index)?;
        let path = path.to_owned();
        Ok(Self { file, path, status, header, tail, index, table_checksums })
    }

    /// What the container says of itself; of a streamed one, the trailing header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where its chunks are.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// What the file was when it was opened.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// How its content is cut.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        Geometry::of(&self.header)
    }

    /// Number of extents.
    #[must_use]
    pub fn extent_count(&self) -> u64 {
        self.geometry().extent_count(self.header.chunk_count)
    }

    /// The chunks of an extent.
    #[must_use]
    pub fn extent_chunks(&self, extent: u64) -> Range<u64> {
        let step = u64::from(self.header.extent_chunks);
        extent * step..self.header.chunk_count.min((extent + 1) * step)
    }

    /// Where the next thing after a chunk's frame and its pad starts.
    #[must_use]
    pub fn span_end(&self, sequence: u64) -> u64 {
        let next = self.index.entries.get(sequence as usize + 1);
        next.map_or(self.header.data_end, |next| next.offset)
    }

    /// What the seek table states of a chunk's content, where there is a table.
    #[must_use]
    pub fn table_checksum(&self, sequence: u64) -> Option<u32> {
        self.table_checksums.as_ref().and_then(|sums| sums.get(sequence as usize)).copied()
    }

    /// The extent of the tail.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Checks that the chunks' checksums and chaining values make the header's. It takes no
    /// reading; together with each chunk's own check it vouches for the content as a whole.
    ///
    /// # Errors
    /// `Damaged` where they don't.
    pub fn check_sums(&self) -> Result<()> {
        let damaged = |what| Err(Error::new(ErrorKind::Damaged, what).at(&self.path));
        let mut whole = Whole::default();
        for entry in &self.index.entries {
            whole.append(entry.raw_crc32c, entry.raw_len as usize);
        }
        if whole.value() != self.header.content_crc32c {
            return damaged("the chunks' checksums don't make the content's");
        }
        if let Digest::Blake3(stated) = self.header.digest {
            let root = digest::root(self.header.chunk_count, &mut |sequence| {
                Ok(self.index.chaining[sequence as usize])
            })?;
            if root != stated {
                return damaged("the chunks' chaining values don't make the content's digest");
            }
        }
        Ok(())
    }

    /// Checks a frame's bytes against the index.
    ///
    /// # Errors
    /// `Damaged`, naming the chunk.
    pub fn check_frame(&self, sequence: u64, frame: &[u8]) -> Result<()> {
        let entry = &self.index.entries[sequence as usize];
        let found = checksum::frame(
            Sequence(sequence),
            FileOffset(entry.offset),
            crc32c(frame),
            frame.len(),
        );
        if found != entry.frame_crc32c {
            return Err(self.damaged(sequence, "the frame doesn't match its checksum"));
        }
        Ok(())
    }

    /// Decodes a frame that [`Self::check_frame`] passed into `out`, which has the chunk's length,
    /// and checks the chunk (V2).
    ///
    /// # Errors
    /// `Damaged`, naming the chunk; `out` is then not to be used.
    pub fn decode(
        &self,
        decoder: &mut Decoder,
        sequence: u64,
        frame: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let entry = &self.index.entries[sequence as usize];
        decoder
            .decode(frame, out)
            .map_err(|error| error.sequence(sequence).offset(entry.offset).at(&self.path))?;
        if crc32c(out) != entry.raw_crc32c {
            return Err(self.damaged(sequence, "the chunk doesn't match its checksum"));
        }
        if let Some(stated) = self.index.chaining.get(sequence as usize) {
            let start = sequence * self.header.chunk_len();
            if digest::chaining_value(out, start, self.header.chunk_count == 1) != *stated {
                return Err(self.damaged(sequence, "the chunk doesn't match its digest"));
            }
        }
        Ok(())
    }

    /// An error that says that a chunk is damaged.
    pub fn damaged(&self, sequence: u64, what: &'static str) -> Error {
        let offset = self.index.entries[sequence as usize].offset;
        Error::new(ErrorKind::Damaged, what).sequence(sequence).offset(offset).at(&self.path)
    }

    /// Gives `range` of the content to `sink` in order, piece by piece, decoding only the chunks it
    /// lies in.
    ///
    /// # Errors
    /// `OutOfRange` where it ends past the content, `Damaged` or `Input` where a chunk can't be
    /// read, and those of `sink`.
    pub fn read_range(
        &self,
        range: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let size = self.header.content_size;
        if range.start > range.end || range.end > size {
            let what = format!(
                "bytes {} to {} are outside the content, which has {size}",
                range.start, range.end
            );
            return Err(Error::new(ErrorKind::OutOfRange, what).at(&self.path));
        }
        let chunk_len = self.header.chunk_len();
        let mut held = Held::new()?;
        let mut at = range.start;
        while at < range.end {
            let sequence = at / chunk_len;
            let chunk = held.chunk(self, sequence)?;
            let start = sequence * chunk_len;
            let end = range.end.min(start + chunk.len() as u64);
            sink(&chunk[(at - start) as usize..(end - start) as usize])?;
            at = end;
        }
        Ok(())
    }

    /// Checks the parts that hold no content: the front header of a streamed container, and the
    /// tail pad.
    ///
    /// # Errors
    /// `Damaged`, naming the place.
    pub fn check_rest(&self) -> Result<()> {
        let mut pad = vec![0; self.tail.pad_len as usize];
        self.raw().read_exact(self.tail.pad_offset, &mut pad)?;
        if !frame::is_pad(&pad) {
            return Err(Error::new(ErrorKind::Damaged, "the tail pad isn't as written")
                .offset(self.tail.pad_offset)
                .at(&self.path));
        }
        Ok(())
    }

    fn raw(&self) -> Raw<'_> {
        Raw { file: &self.file, path: &self.path, len: self.status.len }
    }
}

/// The file's bytes, before anything is known of them.
struct Raw<'a> {
    file: &'a Arc<dyn File>,
    path: &'a Path,
    len: u64,
}

impl Raw<'_> {
    /// Fills `out` from `offset` on, through block-aligned memory, so that it works under direct
    /// I/O as well.
    fn read_exact(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(out.len() as u64).filter(|&end| end <= self.len);
        if end.is_none() {
            let what = "the file ends before what it is said to hold";
            return Err(Error::new(ErrorKind::Damaged, what).offset(offset).at(self.path));
        }
        let room = align_up(out.len() as u64).min(PIECE_BYTES as u64) as usize + ALIGN;
        let mut memory = AlignedMemory::zeroed(room);
        let mut filled = 0;
        while filled < out.len() {
            let at = offset + filled as u64;
            let from = align_down(at);
            let skip = (at - from) as usize;
            let got = match self.file.read_at(&mut memory, from) {
                Ok(got) => got,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) && self.leave_direct() => {
                    continue;
                }
                Err(error) => {
                    return Err(Error::from_io(ErrorKind::Input, "cannot read", error)
                        .offset(at)
                        .at(self.path));
                }
            };
            if got <= skip {
                let what = "shrank while it was read";
                return Err(Error::new(ErrorKind::InputChanged, what).offset(at).at(self.path));
            }
            let step = (got - skip).min(out.len() - filled);
            out[filled..filled + step].copy_from_slice(&memory[skip..skip + step]);
            filled += step;
        }
        Ok(())
    }

    fn leave_direct(&self) -> bool {
        self.file.leave_direct().unwrap_or(false)
    }

    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        // V1: what is allocated is known to be in the file.
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            let what = "the file ends before what it is said to hold";
            return Err(Error::new(ErrorKind::Damaged, what).offset(offset).at(self.path));
        }
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len as usize).is_err() {
            let what = format!("there is no memory for the {len} bytes of its index");
            return Err(Error::new(ErrorKind::Input, what).at(self.path));
        }
        bytes.resize(len as usize, 0);
        self.read_exact(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn refused(&self, error: FormatError, offset: u64) -> Error {
        let kind = match error.fault {
            Fault::Foreign => ErrorKind::NotAContainer,
            Fault::Unsupported => ErrorKind::Unsupported,
            Fault::Damaged => ErrorKind::Damaged,
        };
        let refused = Error::new(kind, error.message).at(self.path);
        match error.fault {
            Fault::Foreign => refused,
            Fault::Unsupported => refused
                .hint("a newer ringpack reads it; so does zstd -d, which needs none of our frames"),
            Fault::Damaged => refused.offset(offset),
        }
    }
}

fn read_header(raw: &Raw<'_>) -> Result<(Header, Tail)> {
    let front = raw.read(0, raw.len.min(HEADER_LEN as u64))?;
    let foreign = |error: FormatError| {
        let refused = raw.refused(error, 0);
        let is_zstd = front.starts_with(&frame::ZSTD_MAGIC.to_le_bytes());
        match refused.kind() {
            ErrorKind::NotAContainer if front.is_empty() => refused.hint("it is empty"),
            ErrorKind::NotAContainer if is_zstd => {
                refused.hint("it is a plain Zstandard file: zstd -d restores it")
            }
            ErrorKind::NotAContainer => refused.hint("name a file that ringpack pack wrote"),
            _ => refused,
        }
    };
    let mut header = Header::decode(&front, Subtype::Header).map_err(foreign)?;
    if header.state == State::Streamed {
        header = read_trailing_header(raw, &header)?;
    }
    let tail = layout::check_header(&header, raw.len).map_err(|error| raw.refused(error, 0))?;
    Ok((header, tail))
}

/// Finds the trailing header. It stands before the tail pad, whose length the seek table's last
/// entry has; without a table, the pad is the end of the file, and short.
fn read_trailing_header(raw: &Raw<'_>, front: &Header) -> Result<Header> {
    let missing = || {
        Error::new(ErrorKind::Damaged, "the end of this streamed container is missing or damaged")
            .hint("zstd -d restores what is there")
            .at(raw.path)
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
fn read_index(raw: &Raw<'_>, header: &Header) -> Result<Index> {
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

fn read_table(
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
