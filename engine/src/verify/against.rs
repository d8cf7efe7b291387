//! The source that content is compared with.
//!
//! Checksums show that a container holds what was packed. They can't show that what was packed is
//! what the source holds: a reader that hands on wrong bytes has them summed as well. So the source
//! is read again, by calls that packing doesn't use: `pread` through the page cache, in order,
//! without a ring, without direct I/O and without asking where holes are. The kernel reads a hole
//! as zeros.
//!
//! # Invariants
//! - AG1: every byte of the content is compared with the source's byte at the same offset, and the
//!   source ends where the content does.
//! - AG2: a source that changed while it was compared is an error, whatever the comparison found.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::escape::shown;
use crate::planted::{self, Bug};
use crate::ring::file::{Disk, FileKind, Status};
use crate::ring::whole::read_full;
use crate::source::OpenFile;

/// Bytes of the source that are read at a time: they stay in a core's cache.
const PIECE_BYTES: usize = 256 << 10;

/// What comparing content with a source found.
///
/// ```
/// use ringpack::verify::{VerifyOptions, verify};
/// use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
/// use ringpack::{Cancel, ErrorKind, OsDisk};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (source, container) = (dir.path().join("data"), dir.path().join("data.zst"));
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # std::fs::write(&container, writer.finalize()?).unwrap();
/// std::fs::write(&source, b"something to weep").unwrap();
/// let options = VerifyOptions { against: Some(source), ..VerifyOptions::default() };
/// let found = verify(&OsDisk, &container, &options, &Cancel::new())?.comparison.unwrap();
/// assert_eq!(found.chunks, 1);
/// assert_eq!(found.first.map(|first| first.kind()), Some(ErrorKind::Differs));
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Comparison {
    /// Chunks that differ from the source. One that is damaged isn't compared.
    pub chunks: u64,
    /// The first difference, where there is one: of kind `Differs`, with chunk and byte of the
    /// content.
    pub first: Option<Error>,
}

/// An open source, and the differences found so far.
#[derive(Debug)]
pub(crate) struct Against {
    opened: OpenFile,
    path: PathBuf,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    chunks: u64,
    first: Option<Difference>,
}

#[derive(Debug)]
struct Difference {
    offset: u64,
    chunk: Option<u64>,
    what: String,
}

impl Against {
    /// Opens the source.
    ///
    /// # Errors
    /// `Input` where it can't be opened, or be read at any place.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let failed = |error| {
            Error::from_io(ErrorKind::Input, "cannot open what to compare with", error).at(path)
        };
        let refused = |what, hint| Err(Error::new(ErrorKind::Input, what).at(path).hint(hint));
        match disk.kind(path).map_err(failed)? {
            FileKind::Regular | FileKind::BlockDevice => {}
            FileKind::Directory => {
                return refused("is a directory", "name the file that was packed");
            }
            FileKind::Stream => {
                let hint = "compare it in order: ringpack unpack -c CONTAINER | cmp - SOURCE";
                return refused("can only be read in order", hint);
            }
        }
        let file = disk.open(path, false).map_err(failed)?;
        let opened = OpenFile::settled(file).map_err(|error| error.at(path))?;
        Ok(Self { opened, path: path.to_owned(), found: Mutex::default() })
    }

    /// What the source was when it was opened.
    pub(crate) fn status(&self) -> &Status {
        self.opened.status()
    }

    /// Says which range will be compared soon.
    pub(crate) fn expect(&self, offset: u64, len: u64) {
        self.opened.file().will_read(offset, len);
    }

    /// Compares content that stands at `offset`, of that chunk where it has chunks, with the
    /// source. `piece` is memory that the caller keeps for the next time.
    ///
    /// # Errors
    /// `Input` where the source can't be read.
    pub(crate) fn compare(
        &self,
        content: &[u8],
        offset: u64,
        chunk: Option<u64>,
        piece: &mut Vec<u8>,
    ) -> Result<()> {
        if planted::is(Bug::SourceUncompared) {
            return Ok(());
        }
        let most = PIECE_BYTES.min(content.len());
        if piece.len() < most {
            piece.resize(most, 0);
        }
        let mut at = offset;
        // AG1: hole or not, all of it is read.
        for expected in content.chunks(PIECE_BYTES) {
            let read = self.read(&mut piece[..expected.len()], at)?;
            let found = &piece[..read];
            if found != expected {
                self.note(chunk, self.difference(expected, found, at));
                return Ok(());
            }
            at += read as u64;
        }
        Ok(())
    }

    /// Where the first difference between two pieces is that differ, and what it is.
    fn difference(&self, expected: &[u8], found: &[u8], at: u64) -> (u64, String) {
        let name = shown(&self.path);
        match expected.iter().zip(found).position(|(expected, found)| expected != found) {
            Some(first) => {
                let (content, source) = (expected[first], found[first]);
                let what = format!("the content has {content:02x} where {name} has {source:02x}");
                (at + first as u64, what)
            }
            None => {
                let end = at + found.len() as u64;
                (end, format!("the content goes on where {name} ends, at byte {end}"))
            }
        }
    }

    fn read(&self, piece: &mut [u8], offset: u64) -> Result<usize> {
        read_full(&**self.opened.file(), piece, offset).map_err(|error| {
            Error::from_io(ErrorKind::Input, "cannot read", error).at(&self.path).offset(offset)
        })
    }

    fn note(&self, chunk: Option<u64>, (offset, what): (u64, String)) {
        let mut found = self.found();
        found.chunks += 1;
        if found.first.as_ref().is_none_or(|first| offset < first.offset) {
            found.first = Some(Difference { offset, chunk, what });
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found, once all content was compared, which is so long; `container` names it.
    ///
    /// # Errors
    /// `InputChanged` where the source isn't what it was when it was opened.
    pub(crate) fn end(&self, content_size: u64, container: Option<&Path>) -> Result<Comparison> {
        // AG1: what the file says of its own length isn't asked; of some it is 0.
        let goes_on = self.read(&mut [0], content_size)? > 0;
        self.check_unchanged()?;
        let Found { chunks, first } = std::mem::take(&mut *self.found());
        let longer = || {
            let name = shown(&self.path);
            let what = format!("the content ends where {name} goes on");
            Difference { offset: content_size, chunk: None, what }
        };
        let first = first.or_else(|| goes_on.then(longer)).map(|difference| {
            let Difference { offset, chunk, what } = difference;
            let error = Error::new(ErrorKind::Differs, what).offset(offset);
            let error = chunk.into_iter().fold(error, Error::sequence);
            container.into_iter().fold(error, Error::at)
        });
        Ok(Comparison { chunks, first })
    }

    fn check_unchanged(&self) -> Result<()> {
        // AG2
        self.opened.check_unchanged().map_err(|error| error.at(&self.path))
    }
}
