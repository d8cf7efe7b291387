//! A tar stream, read member by member.
//!
//! It reads what GNU tar, bsdtar and this program write: ustar, GNU's format with its long names
//! and sparse files, PAX headers, and PAX's sparse files of version 1.0. The stream may be
//! anybody's, so nothing in it is believed: no header whose checksum is wrong, no name or header
//! longer than is sane, no map of a sparse file that doesn't add up.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use ringpack::format::members::TAR_BLOCK as BLOCK;
use ringpack::members::{Member, MemberKind};
use ringpack::{Error, ErrorKind, Result};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::holes::Piece;
use super::pax;
use super::xattrs::Xattr;

/// Longest name, in bytes.
const NAME_LEN_MAX: u64 = 1 << 16;
/// Longest PAX header, in bytes: room for more attributes than Linux lets a file have.
const PAX_LEN_MAX: u64 = 8 << 20;
/// Most digits of a number: those of 2^64.
const DIGITS_MAX: usize = 20;
/// Most pieces of a sparse file.
const PIECES_MAX: usize = 1 << 20;

/// A member as its headers have it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What an index would say of it.
    pub(crate) member: Member,
    /// Numbers of a device.
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<Xattr>,
    /// Pieces of a sparse file, in order.
    pub(super) pieces: Option<Vec<Piece>>,
    /// Where the next member's headers begin.
    next: u64,
}

impl Entry {
    /// The same under another name.
    pub(crate) fn named(self, path: Vec<u8>) -> Self {
        Self { member: Member { path, ..self.member }, ..self }
    }

    /// Where the next member's headers begin, in the content.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct TarReader<R> {
    input: R,
    at: u64,
    /// Whether a header was found.
    found: bool,
}

impl<R: BufRead + Read + Seek> TarReader<R> {
    /// A reader that begins with the member whose headers are at `offset`.
    pub(crate) fn at(mut input: R, offset: u64) -> Result<Self> {
        input.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Self { input, at: offset, found: offset > 0 })
    }

    /// The next member; `None` at the archive's end.
    ///
    /// # Errors
    /// `Input` where the content is no archive, `Damaged` where it is cut short or contradicts
    /// itself, and what keeps the content from being read.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let header_offset = self.at;
        let mut long_name = None;
        let mut long_link = None;
        let mut extended = Vec::new();
        loop {
            let Some(header) = self.header()? else {
                if self.at > header_offset + BLOCK {
                    return Err(self.damaged("ends within a member's headers"));
                }
                return Ok(None);
            };
            let size =
                header.entry_size().map_err(|_| self.damaged("has a header with no size"))?;
            match header.entry_type() {
                EntryType::GNULongName => long_name = Some(self.name(size)?),
                EntryType::GNULongLink => long_link = Some(self.name(size)?),
                EntryType::XHeader => extended = self.special(size, PAX_LEN_MAX)?,
                // Of all members that follow; none of it is needed to restore them.
                EntryType::XGlobalHeader => drop(self.special(size, PAX_LEN_MAX)?),
                _ => {
                    return self
                        .entry(&header, header_offset, long_name, long_link, &extended)
                        .map(Some);
                }
            }
        }
    }

    /// Gives a member's bytes to `sink` piece by piece, each with its place in the file.
    ///
    /// # Errors
    /// What keeps the content from being read, and those of `sink`.
    pub(crate) fn bytes(
        &mut self,
        entry: &Entry,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.input.seek(SeekFrom::Start(entry.member.data_offset)).map_err(failed)?;
        let all = [(0, entry.member.size)];
        for &(mut offset, len) in entry.pieces.as_deref().unwrap_or(&all) {
            let mut left = len;
            while left > 0 {
                let held = self.input.fill_buf().map_err(failed)?;
                let step = (held.len() as u64).min(left);
                if step == 0 {
                    return Err(self.damaged("ends within a file"));
                }
                sink(offset, &held[..step as usize])?;
                self.input.consume(step as usize);
                (offset, left) = (offset + step, left - step);
            }
        }
        Ok(())
    }

    /// Goes on behind a member.
    pub(crate) fn pass(&mut self, entry: &Entry) -> Result<()> {
        self.go_to(entry.next)
    }

    /// Goes on with the headers at `offset`.
    pub(crate) fn go_to(&mut self, offset: u64) -> Result<()> {
        self.at = offset;
        self.input.seek(SeekFrom::Start(offset)).map(drop).map_err(failed)
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? || header.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum = |range: &[u8]| range.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        // The checksum's own eight bytes count as spaces.
        let expected = sum(&bytes[..148]) + 8 * 32 + sum(&bytes[156..]);
        if header.cksum().ok() != Some(expected) {
            if !self.found {
                return Err(not_an_archive());
            }
            return Err(self.damaged("has a header that doesn't match its checksum"));
        }
        self.found = true;
        Ok(Some(header))
    }

    /// Reads the next block; `false` where the content ends before it. Within it, it can't end.
    fn block(&mut self, block: &mut [u8; BLOCK as usize]) -> Result<bool> {
        if self.input.fill_buf().map_err(failed)?.is_empty() {
            let end = self.input.seek(SeekFrom::End(0)).map_err(failed)?;
            if end < self.at {
                return Err(self.damaged("is cut short: it ends within a file"));
            }
            return Ok(false);
        }
        self.input.read_exact(block).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof if !self.found => not_an_archive(),
            io::ErrorKind::UnexpectedEof => self.damaged("is cut short: it ends within a header"),
            _ => failed(error),
        })?;
        self.at += BLOCK;
        Ok(true)
    }

    fn special(&mut self, size: u64, most: u64) -> Result<Vec<u8>> {
        if size > most {
            return Err(self.damaged("has a name or a header of an absurd length"));
        }
        let padded = size.next_multiple_of(BLOCK);
        let mut bytes = vec![0; padded as usize];
        self.input.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("ends within a header"),
            _ => failed(error),
        })?;
        self.at += padded;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    fn name(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut name = self.special(size, NAME_LEN_MAX)?;
        if let Some(end) = name.iter().position(|&byte| byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn entry(
        &mut self,
        header: &Header,
        header_offset: u64,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        extended: &[u8],
    ) -> Result<Entry> {
        let wrong = || self.damaged("has a header with a field that makes no sense");
        let mut pax = Extended::of(extended).ok_or_else(wrong)?;
        let number = |found: io::Result<u64>| found.map_err(|_| wrong());
        let owner = |stated: Option<u64>, found: io::Result<u64>| {
            let number = stated.map_or_else(|| number(found), Ok)?;
            u32::try_from(number).map_err(|_| wrong())
        };
        let mut path = pax.sparse_name.take().or(pax.path.take()).or(long_name);
        let path = path.get_or_insert_with(|| header.path_bytes().into_owned());
        let is_old_directory = path.ends_with(b"/");
        while path.ends_with(b"/") && path.len() > 1 {
            path.pop();
        }
        let path = std::mem::take(path);
        let link = pax.link.take().or(long_link);
        let link = link.unwrap_or_else(|| {
            header.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default()
        });
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if is_old_directory => MemberKind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                MemberKind::Regular
            }
            EntryType::Directory => MemberKind::Directory,
            EntryType::Symlink => MemberKind::Symlink,
            EntryType::Link => MemberKind::HardLink,
            EntryType::Fifo => MemberKind::Fifo,
            EntryType::Char => MemberKind::CharDevice,
            EntryType::Block => MemberKind::BlockDevice,
            other => {
                let what = format!("has a member of a kind not known here, {}", other.as_byte());
                return Err(Error::new(ErrorKind::Unsupported, what)
                    .hint("restore it with tar: tar --zstd -xf"));
            }
        };
        let (mtime, mtime_ns) = match pax.mtime {
            Some(time) => time,
            None => (time(header).ok_or_else(wrong)?, 0),
        };
        let uid = owner(pax.uid, header.uid())?;
        let gid = owner(pax.gid, header.gid())?;
        let mode = header.mode().map_err(|_| wrong())? & 0o7777;
        let device = match kind {
            MemberKind::CharDevice | MemberKind::BlockDevice => {
                let major = header.device_major().ok().flatten().ok_or_else(wrong)?;
                (major, header.device_minor().ok().flatten().ok_or_else(wrong)?)
            }
            _ => (0, 0),
        };
        // What is no file has no bytes, whatever its header says.
        let mut stored = match kind {
            MemberKind::Regular => pax.size.map_or_else(|| number(header.entry_size()), Ok)?,
            _ => 0,
        };
        let mut size = stored;
        let mut pieces = None;
        if kind == MemberKind::Regular && header.entry_type() == EntryType::GNUSparse {
            let gnu = header.as_gnu().ok_or_else(wrong)?;
            size = number(gnu.real_size())?;
            pieces = Some(self.gnu_map(&gnu.sparse, gnu.is_extended())?);
        }
        let end = self.at.checked_add(stored).and_then(|end| end.checked_next_multiple_of(BLOCK));
        let next = end.ok_or_else(|| self.damaged("has a file longer than there can be"))?;
        if let Some(real) = pax.sparse_size.filter(|_| kind == MemberKind::Regular) {
            if pax.sparse_version != (Some(1), Some(0)) {
                let what = "has a sparse file of a version not known here";
                return Err(Error::new(ErrorKind::Unsupported, what)
                    .hint("restore it with tar: tar --zstd -xf"));
            }
            let (map, len) = self.pax_map(stored)?;
            (size, stored, pieces) = (real, stored - len, Some(map));
        }
        if let Some(pieces) = &pieces {
            self.check_map(pieces, size, stored)?;
        }
        let data_offset = self.at;
        let member = Member {
            kind,
            path,
            link,
            mode,
            uid,
            gid,
            mtime,
            mtime_ns,
            size,
            stored,
            header_offset,
            data_offset,
        };
        let known = |byte: &u8| *byte != 0;
        if member.path.is_empty() || !member.path.iter().chain(&member.link).all(known) {
            return Err(self.damaged("has a member with an impossible name"));
        }
        Ok(Entry { member, device, xattrs: pax.xattrs, pieces, next })
    }

    fn gnu_map(&mut self, first: &[GnuSparseHeader], extended: bool) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        self.take_pieces(first, &mut pieces)?;
        let mut more = extended;
        while more {
            let mut header = GnuExtSparseHeader::new();
            if !self.block(header.as_mut_bytes())? {
                return Err(self.damaged("ends within a header"));
            }
            self.take_pieces(header.sparse(), &mut pieces)?;
            more = header.is_extended();
        }
        Ok(pieces)
    }

    fn take_pieces(&self, places: &[GnuSparseHeader], pieces: &mut Vec<Piece>) -> Result<()> {
        for place in places.iter().filter(|place| !place.is_empty()) {
            let (Ok(offset), Ok(len)) = (place.offset(), place.length()) else {
                return Err(self.damaged("has a sparse file whose map makes no sense"));
            };
            pieces.push((offset, len));
        }
        if pieces.len() > PIECES_MAX {
            return Err(self.damaged("has a sparse file in too many pieces"));
        }
        Ok(())
    }

    /// The map at the front of a sparse file's bytes, and how many of these it takes.
    fn pax_map(&mut self, stored: u64) -> Result<(Vec<Piece>, u64)> {
        let mut taken = 0;
        let mut block = [0; BLOCK as usize];
        let mut text: Vec<u8> = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            if taken + BLOCK > stored || !self.block(&mut block)? {
                return Err(self.damaged("has a sparse file whose map is cut short"));
            }
            taken += BLOCK;
            text.extend(block);
            while let Some(end) = text.iter().position(|&byte| byte == b'\n') {
                let number = std::str::from_utf8(&text[..end]).ok().and_then(|it| it.parse().ok());
                let wrong = || self.damaged("has a sparse file whose map makes no sense");
                numbers.push(number.ok_or_else(wrong)?);
                text.drain(..=end);
                let count = usize::try_from(numbers[0]).unwrap_or(usize::MAX);
                if count > PIECES_MAX {
                    return Err(self.damaged("has a sparse file in too many pieces"));
                }
                if numbers.len() == 1 + 2 * count {
                    let pairs = numbers[1..].as_chunks::<2>().0;
                    return Ok((pairs.iter().map(|&[at, len]| (at, len)).collect(), taken));
                }
            }
            // What is left is the beginning of a number.
            if text.len() > DIGITS_MAX {
                return Err(self.damaged("has a sparse file whose map makes no sense"));
            }
        }
    }

    /// Pieces lie in the file, in order, and are as long as what is stored of it.
    fn check_map(&self, pieces: &[Piece], size: u64, stored: u64) -> Result<()> {
        let (mut end, mut sum) = (0u64, 0u64);
        for &(offset, len) in pieces {
            let next = offset.checked_add(len).filter(|&next| offset >= end && next <= size);
            end = next.ok_or_else(|| self.damaged("has a sparse file whose map makes no sense"))?;
            sum += len;
        }
        if sum > stored {
            return Err(self.damaged("has a sparse file whose map makes no sense"));
        }
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::new(
            ErrorKind::Damaged,
            format!("the archive in it {what}, at {} of the content", self.at),
        )
    }
}

/// A header's time of modification. GNU tar writes one before 1970 as a binary number in two's
/// complement.
fn time(header: &Header) -> Option<i64> {
    let field = &header.as_old().mtime;
    match (field.first(), field.last_chunk::<8>()) {
        (Some(0xFF), Some(number)) => Some(i64::from_be_bytes(*number)),
        _ => i64::try_from(header.mtime().ok()?).ok(),
    }
}

/// What a PAX header says.
#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse_version: (Option<u64>, Option<u64>),
    xattrs: Vec<Xattr>,
}

impl Extended {
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        for (key, value) in pax::records(bytes)? {
            let number = || std::str::from_utf8(value).ok()?.parse().ok();
            match key {
                b"path" => found.path = Some(value.to_vec()),
                b"linkpath" => found.link = Some(value.to_vec()),
                b"size" => found.size = Some(number()?),
                b"uid" => found.uid = Some(number()?),
                b"gid" => found.gid = Some(number()?),
                b"mtime" => found.mtime = Some(pax::parse_time(value)?),
                b"GNU.sparse.name" => found.sparse_name = Some(value.to_vec()),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => found.sparse_size = Some(number()?),
                b"GNU.sparse.major" => found.sparse_version.0 = Some(number()?),
                b"GNU.sparse.minor" => found.sparse_version.1 = Some(number()?),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                        && !name.contains(&0)
                    {
                        found.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Some(found)
    }
}

fn not_an_archive() -> Error {
    let what = "holds no archive: its content is no tar stream";
    let hint = "ringpack unpack restores the content as it is, and cat prints it";
    Error::new(ErrorKind::Input, what).hint(hint)
}

/// What kept the content from being read, which the engine wraps.
fn failed(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::from_io(ErrorKind::Input, "cannot read the content", error),
    }
}
