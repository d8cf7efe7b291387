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

pub mod chunks;
pub mod content;
pub(crate) mod held;
pub mod members;
mod opening;
mod raw;
mod read_at;
pub mod reader;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use chunks::{Chunk, Chunks};
pub use content::ContentReader;
pub use members::MemberIndex;
pub use read_at::ReadAt;
pub use reader::ContainerReader;

use held::Held;
use raw::{Raw, named};
use read_at::DiskFile;

use crate::checksum::{self, Whole, crc32c};
use crate::codec::Decoder;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{Digest, Header};
use crate::format::index::Index;
use crate::format::layout::{Geometry, Tail};
use crate::limits::{HEADER_LEN, TAIL_READ_BYTES};
use crate::ring::file::{Disk, File, FileKind, Status};
use crate::units::{FileOffset, Sequence};

/// Bytes read at a time while opening, and past the page cache.
const PIECE_BYTES: usize = 1 << 20;

/// An open container.
///
/// ```
/// use ringpack::ContainerReader;
/// # use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # let bytes = writer.finalize()?;
/// let reader = ContainerReader::from_source(bytes)?;
/// let container = reader.container();
/// println!("{} frames, the first at {}", container.index().entries.len(),
///     container.index().entries[0].offset);
/// # assert_eq!(container.index().entries.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Container {
    source: Source,
    path: Option<PathBuf>,
    len: u64,
    header: Header,
    tail: Tail,
    index: Index,
    /// Low halves of the XXH64 of the chunks, as the seek table states them.
    table_checksums: Option<Vec<u32>>,
}

/// What the container's bytes are read from.
struct Source(Arc<dyn ReadAt>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(..)")
    }
}

/// A container and the file of a disk that it was opened from: what a job of workers, which read
/// the file by their own backends, starts from.
#[derive(Debug)]
pub(crate) struct OnDisk {
    pub(crate) container: Container,
    pub(crate) file: Arc<dyn File>,
    /// What the file was when it was opened.
    pub(crate) status: Status,
}

/// Opens what can be read at any place, as a pipe can't.
///
/// # Errors
/// `Input` where it is something else, or can't be opened.
pub(crate) fn open_anywhere(
    disk: &dyn Disk,
    path: &Path,
    direct: bool,
) -> Result<(Arc<dyn File>, Status)> {
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
    Ok((file, status))
}

impl OnDisk {
    /// As [`Container::open`].
    pub(crate) fn open(disk: &dyn Disk, path: &Path, direct: bool) -> Result<Self> {
        let (file, status) = open_anywhere(disk, path, direct)?;
        Self::of(file, status, path)
    }

    /// The container that an open file is, called by that path.
    ///
    /// # Errors
    /// As [`Container::open`].
    pub(crate) fn of(file: Arc<dyn File>, status: Status, path: &Path) -> Result<Self> {
        let source = DiskFile { file: Arc::clone(&file), len: status.len };
        let container = Container::of(Arc::new(source), Some(path.to_owned()))?;
        Ok(Self { container, file, status })
    }
}

/// Whether a whole container stands at `path`.
pub(crate) fn is_complete(disk: &dyn Disk, path: &Path) -> bool {
    OnDisk::open(disk, path, false).is_ok()
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
        OnDisk::open(disk, path, direct).map(|opened| opened.container)
    }

    /// Opens the container whose bytes `source` has. Its errors name no file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_source(source: impl ReadAt + 'static) -> Result<Self> {
        Self::of(Arc::new(source), None)
    }

    fn of(source: Arc<dyn ReadAt>, path: Option<PathBuf>) -> Result<Self> {
        let len = source.len().map_err(|error| {
            let error = Error::from_io(ErrorKind::Input, "cannot tell the file's length", error);
            named(error, path.as_deref())
        })?;
        let mut raw = Raw { source: &*source, path: path.as_deref(), len, end: Vec::new() };
        raw.hold_end(TAIL_READ_BYTES)?;
        let (header, tail) = opening::read_header(&raw)?;
        let index = opening::read_index(&raw, &header)?;
        let table_checksums = opening::read_table(&raw, &header, &tail, &index)?;
        Ok(Self { source: Source(source), path, len, header, tail, index, table_checksums })
    }

    /// What the container says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where its chunks are.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Where it was opened; none where it was opened from a source.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The error, naming the container's file where it has a name.
    #[must_use]
    pub fn named(&self, error: Error) -> Error {
        named(error, self.path())
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
        let damaged = |what| Err(self.named(Error::new(ErrorKind::Damaged, what)));
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
            .map_err(|error| self.named(error.sequence(sequence).offset(entry.offset)))?;
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
        self.named(Error::new(ErrorKind::Damaged, what).sequence(sequence).offset(offset))
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
        self.read_range_by(&mut Held::new()?, range, sink)
    }

    /// As [`Self::read_range`], by what holds a chunk of this container already.
    pub(crate) fn read_range_by(
        &self,
        held: &mut Held,
        range: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.check_range(&range)?;
        let chunk_len = self.header.chunk_len();
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

    pub(crate) fn check_range(&self, range: &Range<u64>) -> Result<()> {
        let size = self.header.content_size;
        if range.start > range.end || range.end > size {
            let what = format!(
                "bytes {} to {} are outside the content, which has {size}",
                range.start, range.end
            );
            return Err(self.named(Error::new(ErrorKind::OutOfRange, what)));
        }
        Ok(())
    }

    /// The bytes of a chunk's frame, and of the pad after it in a slot, as they are stored.
    pub(crate) fn read_span(&self, sequence: u64, bytes: &mut Vec<u8>) -> Result<()> {
        let start = self.index.entries[sequence as usize].offset;
        // V1: the layout was checked when the container was opened.
        bytes.resize((self.span_end(sequence) - start) as usize, 0);
        self.raw().read_exact(start, bytes).map_err(|error| error.sequence(sequence))
    }

    /// Checks the parts that hold no content and that opening didn't read: the header's copy, and
    /// the member index.
    ///
    /// # Errors
    /// `Damaged`, naming the place.
    pub fn check_rest(&self) -> Result<()> {
        if let Some(members) = self.members()? {
            members.iter()?.try_for_each(|member| member.map(drop))?;
        }
        if let Some(offset) = self.tail.copy_offset {
            let header_len = HEADER_LEN as u64;
            let copy = self.raw().read(offset, header_len)?;
            if copy != self.raw().read(self.tail.header_offset, header_len)? {
                let what = "the copy of the header isn't as written";
                return Err(self.named(Error::new(ErrorKind::Damaged, what).offset(offset)));
            }
        }
        Ok(())
    }

    fn raw(&self) -> Raw<'_> {
        Raw { source: &*self.source.0, path: self.path(), len: self.len, end: Vec::new() }
    }
}
