//! A tar stream, read member by member.
//!
//! It reads what GNU tar reads: the formats of V7, ustar, GNU and PAX with long names, values for
//! all members that follow, and sparse files of every version; fields left blank; and kinds that
//! nobody knows, as files. The stream may be anybody's, so nothing in it is believed: no header
//! whose checksum is wrong, no name or header longer than is sane, no map of a sparse file that
//! doesn't add up. Memory doesn't grow with the stream.

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::ops::Range;

use ringpack::format::members::TAR_BLOCK as BLOCK;
use ringpack::members::{Member, MemberKind};
use ringpack::{Error, ErrorKind, Result};

use super::extended::{Common, Extended, Globals, NAME_LEN_MAX, Sparse};
use super::header::{self, Header};
use super::sparse::{MapCheck, MapReader};
use super::{Piece, Xattr};

/// Longest PAX header, in bytes: of a sparse file of version 0.1, a map of some 2,000,000 pieces.
const PAX_LEN_MAX: u64 = 32 << 20;
/// Blocks of a map that are held at a time: those of 21,504 pieces in GNU's form.
const MAP_BLOCKS: u64 = 1024;
/// The owner of what has none that makes sense: the kernel's own choice for it, nobody.
const NOBODY: u32 = 65534;

/// A member as its headers have it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What an index would say of it.
    pub(crate) member: Member,
    /// Numbers of a device.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<Xattr>,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
    map: Option<Map>,
    /// Where the next member's headers begin.
    next: u64,
}

/// Where a sparse file has data.
#[derive(Debug)]
enum Map {
    /// In these pieces.
    Short(Vec<Piece>),
    /// In more than are held: how the map begins, and where its first block is.
    Long(MapReader, u64),
}

/// What a header is of.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
enum Found {
    Member(Entry),
    /// Nothing to be restored; where what follows begins.
    Other(u64),
}

/// Members that can't be given.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// How many there are.
    pub(crate) count: u64,
    /// The first one's path.
    pub(crate) first: Vec<u8>,
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

    /// Whether it is a file with a map of where it has data.
    pub(crate) fn is_sparse(&self) -> bool {
        self.map.is_some()
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct TarReader<R> {
    input: R,
    at: u64,
    /// Whether a header was found.
    found: bool,
    globals: Globals,
    /// Where the headers begin that weren't read yet for what they say of all that follow.
    learned: u64,
    continued: LeftOut,
}

impl<R: BufRead + Read + Seek> TarReader<R> {
    /// A reader that begins with the member whose headers are at `offset`.
    pub(crate) fn at(mut input: R, offset: u64) -> Result<Self> {
        input.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let (globals, continued) = (Globals::default(), LeftOut::default());
        Ok(Self { input, at: offset, found: offset > 0, globals, learned: 0, continued })
    }

    /// The next member; `None` at the archive's end.
    ///
    /// # Errors
    /// `Input` where the content is no archive, `Damaged` where it is cut short or contradicts
    /// itself, and what keeps the content from being read.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            match self.next_of_any_kind()? {
                None => return Ok(None),
                Some(Found::Member(entry)) => return Ok(Some(entry)),
                Some(Found::Other(next)) => self.go_to(next)?,
            }
        }
    }

    /// Members that continue a file of another volume, which alone can't be restored.
    pub(crate) fn into_continued(self) -> LeftOut {
        self.continued
    }

    fn next_of_any_kind(&mut self) -> Result<Option<Found>> {
        let header_offset = self.at;
        let mut long_name = None;
        let mut long_link = None;
        let mut extended = Vec::new();
        loop {
            let offset = self.at;
            let Some(header) = self.header()? else {
                if self.at > header_offset + BLOCK {
                    return Err(self.damaged("ends within a member's headers"));
                }
                return Ok(None);
            };
            let kind = header.kind();
            if !b"LKxXg".contains(&kind) {
                let names = (long_name, long_link);
                return self.member(&header, header_offset, names, &extended).map(Some);
            }
            let size: Option<u64> = header.number(header::SIZE);
            let size = size.ok_or_else(|| self.damaged("has a header with no size"))?;
            match kind {
                b'L' => long_name = Some(self.name(size)?),
                b'K' => long_link = Some(self.name(size)?),
                b'g' => {
                    let common = Common::of(&self.special(size, PAX_LEN_MAX)?);
                    let common = common.ok_or_else(|| self.senseless())?;
                    self.globals
                        .keep(offset, common)
                        .ok_or_else(|| self.damaged("has too many headers for all members"))?;
                }
                // X is the old name of Solaris.
                _ => extended = self.special(size, PAX_LEN_MAX)?,
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
        self.bytes_within(entry, &(0..u64::MAX), sink)
    }

    /// The same of those that lie within a range of the file.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub(crate) fn bytes_within(
        &mut self,
        entry: &Entry,
        range: &Range<u64>,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let &Member { size, stored, mut data_offset, .. } = &entry.member;
        match &entry.map {
            None => self.pieces(data_offset, &[(0, size)], range, sink).map(drop),
            Some(Map::Short(pieces)) => self.pieces(data_offset, pieces, range, sink).map(drop),
            Some(Map::Long(map, at)) => {
                let (mut map, mut at) = (map.clone(), *at);
                let mut check = MapCheck::new(size, stored);
                loop {
                    self.go_to(at)?;
                    let pieces = self.part_of_map(&mut map, &mut check, u64::MAX)?;
                    at = self.at;
                    data_offset = self.pieces(data_offset, &pieces, range, sink)?;
                    if map.has_ended() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Gives what lies within `range` of pieces of a file, whose bytes begin at `offset`, and
    /// returns where they end.
    fn pieces(
        &mut self,
        mut offset: u64,
        pieces: &[Piece],
        range: &Range<u64>,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<u64> {
        for &(start, len) in pieces {
            let mut place = start.max(range.start);
            let mut left = (start + len).min(range.end).saturating_sub(place);
            if left > 0 {
                self.go_to(offset + (place - start))?;
            }
            while left > 0 {
                let held = self.input.fill_buf().map_err(failed)?;
                let step = (held.len() as u64).min(left);
                if step == 0 {
                    return Err(self.damaged("ends within a file"));
                }
                sink(place, &held[..step as usize])?;
                self.input.consume(step as usize);
                (place, left) = (place + step, left - step);
            }
            offset += len;
        }
        Ok(offset)
    }

    /// Goes on with the headers at `offset`. What was said of all members that follow holds there
    /// if it was read on the way.
    pub(crate) fn go_to(&mut self, offset: u64) -> Result<()> {
        self.at = offset;
        self.input.seek(SeekFrom::Start(offset)).map(drop).map_err(failed)
    }

    /// Reads all headers up to `offset`, for what they say of all members that follow.
    pub(crate) fn learn(&mut self, offset: u64) -> Result<()> {
        if self.learned >= offset {
            return Ok(());
        }
        self.go_to(self.learned)?;
        while self.at < offset
            && let Some(entry) = self.next()?
        {
            self.go_to(entry.next)?;
        }
        self.learned = offset;
        Ok(())
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK as usize];
        if !self.block(&mut block)? || block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let Some(header) = Header::new(block) else {
            if !self.found {
                return Err(not_an_archive());
            }
            return Err(self.damaged("has a header that doesn't match its checksum"));
        };
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
        let mut len = 0;
        while len < block.len() {
            match self.input.read(&mut block[len..]) {
                Ok(0) if !self.found => return Err(not_an_archive()),
                // Zeros that end an archive fill no block, as some tapes have it.
                Ok(0) if block[..len].iter().all(|&byte| byte == 0) => return Ok(false),
                Ok(0) => return Err(self.damaged("is cut short: it ends within a header")),
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
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
        let mut name = self.special(size, NAME_LEN_MAX as u64)?;
        if let Some(end) = name.iter().position(|&byte| byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn member(
        &mut self,
        header: &Header,
        header_offset: u64,
        (long_name, long_link): (Option<Vec<u8>>, Option<Vec<u8>>),
        extended: &[u8],
    ) -> Result<Found> {
        let extended = Extended::of(extended, self.globals.before(self.at));
        let Extended { common, mut sparse, xattrs, senseless } =
            extended.ok_or_else(|| self.senseless())?;
        let path = sparse.name.take().filter(|name| !name.is_empty()).or(common.path);
        let mut path = path.or(long_name).unwrap_or_else(|| header.path());
        let is_old_directory = path.ends_with(b"/");
        while path.ends_with(b"/") && path.len() > 1 {
            path.pop();
        }
        let link = common.link.or(long_link).unwrap_or_else(|| header.link());
        let letter = header.kind();
        let kind = kind(letter, is_old_directory);
        // What is no file has no bytes, whatever its header says.
        let has_bytes = matches!(kind, None | Some(MemberKind::Regular)) || letter == b'D';
        let len = match has_bytes {
            true => common.size.or(header.number(header::SIZE)),
            false => Some(0),
        };
        let len = len.ok_or_else(|| self.senseless())?;
        let Some(kind) = kind else {
            if letter == b'M' {
                self.continued.count += 1;
                if self.continued.count == 1 {
                    self.continued.first = path;
                }
            }
            return self.end(len).map(Found::Other);
        };
        let Bytes { size, stored, map, next } = match (kind, letter) {
            (MemberKind::Regular, b'S') => self.gnu_sparse(header, len)?,
            (MemberKind::Regular, _) => self.regular(sparse, len)?,
            _ => Bytes { size: 0, stored: 0, map: None, next: self.end(len)? },
        };
        let mut notes: Vec<String> = Vec::new();
        if kind == MemberKind::Regular && !b"0\x007S".contains(&letter) {
            let letter = letter.escape_ascii();
            notes.push(format!("is of unknown kind '{letter}': restored as a file"));
        }
        let mut told = |what: &str| notes.push(format!("{what} makes no sense: left out"));
        senseless.into_iter().for_each(&mut told);
        let mut or_told = |found: Option<u32>, what, instead| {
            found.unwrap_or_else(|| {
                told(what);
                instead
            })
        };
        // The highest number is nobody's: system calls take it for "leave it as it is".
        let owner = |stated: Option<u32>, field| {
            stated.or(header.number(field)).filter(|&number| number != u32::MAX)
        };
        let uid = or_told(owner(common.uid, header::UID), "its owner", NOBODY);
        let gid = or_told(owner(common.gid, header::GID), "its group", NOBODY);
        let mode: Option<i128> = header.number(header::MODE);
        let usual = if kind == MemberKind::Directory { 0o755 } else { 0o644 };
        let mode = or_told(mode.map(|mode| (mode & 0o7777) as u32), "its mode", usual);
        let device = match kind {
            MemberKind::CharDevice | MemberKind::BlockDevice => {
                let mut number = |field| or_told(header.number(field), "its device number", 0);
                (number(header::MAJOR), number(header::MINOR))
            }
            _ => (0, 0),
        };
        let mtime = common.mtime.or(header.number(header::MTIME).map(|seconds| (seconds, 0)));
        let (mtime, mtime_ns) = mtime.unwrap_or_else(|| {
            told("its time of modification");
            (0, 0)
        });
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
        let is_possible = |name: &[u8]| name.len() <= NAME_LEN_MAX && !name.contains(&0);
        if member.path.is_empty() || !is_possible(&member.path) || !is_possible(&member.link) {
            return Err(self.damaged("has a member with an impossible name"));
        }
        Ok(Found::Member(Entry { member, device, xattrs, notes, map, next }))
    }

    /// A file in GNU's own sparse form: its map is behind the header.
    fn gnu_sparse(&mut self, header: &Header, stored: u64) -> Result<Bytes> {
        let size = header.number(header::REAL_SIZE).ok_or_else(|| self.senseless())?;
        let map = MapReader::gnu(header.block()).map_err(|what| self.damaged(what))?;
        let map = self.map(map, &mut MapCheck::new(size, stored), u64::MAX)?;
        Ok(Bytes { size, stored, map: Some(map), next: self.end(stored)? })
    }

    /// A file, sparse in one of PAX's forms or not.
    fn regular(&mut self, sparse: Sparse, stored: u64) -> Result<Bytes> {
        let next = self.end(stored)?;
        let (size, map, stored) = match (sparse.version, sparse.size, sparse.pieces) {
            (None, None, None) => (stored, None, stored),
            (Some((1, 0)), Some(size), _) => {
                let (from, mut check) = (self.at, MapCheck::new(size, stored));
                let map = self.map(MapReader::lines(), &mut check, stored / BLOCK)?;
                let taken = self.at - from;
                check.less(taken).map_err(|what| self.damaged(what))?;
                (size, Some(map), stored - taken)
            }
            (None | Some((0, _)), Some(size), Some(mut pieces)) => {
                let mut check = MapCheck::new(size, stored);
                check.all(&mut pieces).map_err(|what| self.damaged(what))?;
                (size, Some(Map::Short(pieces)), stored)
            }
            (Some((2.., _) | (1, 1..)), ..) => {
                let what = "has a sparse file of a version not known here";
                return Err(Error::new(ErrorKind::Unsupported, what)
                    .hint("restore it with tar: tar --zstd -xf"));
            }
            _ => return Err(self.damaged("has a sparse file with no map")),
        };
        Ok(Bytes { size, stored, map, next })
    }

    /// Reads a map to its end, within `most` blocks, and checks it.
    fn map(&mut self, begin: MapReader, check: &mut MapCheck, most: u64) -> Result<Map> {
        let from = self.at;
        let mut map = begin.clone();
        let pieces = self.part_of_map(&mut map, check, most)?;
        if map.has_ended() {
            return Ok(Map::Short(pieces));
        }
        drop(pieces);
        while !map.has_ended() {
            let most = most - (self.at - from) / BLOCK;
            self.part_of_map(&mut map, check, most)?;
        }
        Ok(Map::Long(begin, from))
    }

    /// The next pieces of a map that goes on at most so many blocks, without those of no bytes.
    fn part_of_map(
        &mut self,
        map: &mut MapReader,
        check: &mut MapCheck,
        most: u64,
    ) -> Result<Vec<Piece>> {
        let mut block = [0; BLOCK as usize];
        for number in 0..MAP_BLOCKS {
            if map.has_ended() {
                break;
            }
            if number == most || !self.block(&mut block)? {
                return Err(self.damaged("has a sparse file whose map is cut short"));
            }
            map.take(&block).map_err(|what| self.damaged(what))?;
        }
        let mut pieces = map.pieces();
        check.all(&mut pieces).map_err(|what| self.damaged(what))?;
        Ok(pieces)
    }

    /// Where the next member's headers begin, behind `len` bytes from here.
    fn end(&self, len: u64) -> Result<u64> {
        let end = self.at.checked_add(len).and_then(|end| end.checked_next_multiple_of(BLOCK));
        end.ok_or_else(|| self.damaged("has a file longer than there can be"))
    }

    fn senseless(&self) -> Error {
        self.damaged("has a header with a field that makes no sense")
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::new(
            ErrorKind::Damaged,
            format!("the archive in it {what}, at {} of the content", self.at),
        )
    }
}

/// A file's bytes in the stream.
struct Bytes {
    size: u64,
    stored: u64,
    map: Option<Map>,
    next: u64,
}

/// What a header's letter means; `None` for what is nothing to be restored: a volume's label, and
/// the rest of a file that another volume began.
fn kind(letter: u8, is_old_directory: bool) -> Option<MemberKind> {
    Some(match letter {
        b'0' | 0 | b'7' if is_old_directory => MemberKind::Directory,
        b'1' => MemberKind::HardLink,
        b'2' => MemberKind::Symlink,
        b'3' => MemberKind::CharDevice,
        b'4' => MemberKind::BlockDevice,
        // That of an incremental backup has the names in it behind it.
        b'5' | b'D' => MemberKind::Directory,
        b'6' => MemberKind::Fifo,
        b'V' | b'M' => return None,
        // Whoever doesn't know a kind is to take it for a file, says POSIX.
        _ => MemberKind::Regular,
    })
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
