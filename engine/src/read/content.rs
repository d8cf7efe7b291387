//! A container's content as [`std::io`] knows files: read from a position that moves.

use std::borrow::Borrow;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::Container;
use super::held::Held;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;

/// Reads the content of a container from a position on, which starts at 0 and may be set anywhere,
/// also past the end, where there is nothing to read.
///
/// It holds one chunk, decoded and verified, so short reads cost no more than long ones; a jump
/// costs the decoding of the chunk it leads into. Any number of them can read one container at
/// once, each on a thread of its own: `C` is whatever lends a [`Container`], as `&Container`,
/// `Arc<Container>` or `Container` itself.
///
/// # Errors
/// Reading fails with an [`io::Error`] that wraps an [`Error`] of the engine: of kind
/// [`io::ErrorKind::InvalidData`] where a chunk is damaged. The position then stays, so that the
/// next read finds the same, and one past the damage can be sought.
///
/// ```
/// use std::io::{Read, Seek, SeekFrom};
/// use std::sync::Arc;
///
/// use ringpack::Cancel;
/// use ringpack::pack::{Input, Output, PackOptions, pack};
/// use ringpack::read::{Container, ContentReader};
/// use ringpack::ring::os::OsDisk;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let (input, output) = (dir.path().join("data"), dir.path().join("data.zst"));
/// std::fs::write(&input, b"something to keep")?;
/// let (from, to) = (Input::Path(input), Output::Path(output.clone()));
/// pack(&OsDisk, from, to, &PackOptions::default(), &Cancel::new())?;
///
/// let container = Arc::new(Container::open(&OsDisk, &output, false)?);
/// let mut reader = ContentReader::new(container)?;
/// reader.seek(SeekFrom::End(-4))?;
/// let mut end = String::new();
/// reader.read_to_string(&mut end)?;
/// assert_eq!(end, "keep");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ContentReader<C: Borrow<Container>> {
    container: C,
    held: Held,
    position: u64,
}

impl<C: Borrow<Container>> ContentReader<C> {
    /// A reader at the start of the content.
    ///
    /// # Errors
    /// `Output` where libzstd can't allocate a decoder.
    pub fn new(container: C) -> Result<Self> {
        Ok(Self { container, held: Held::new()?, position: 0 })
    }

    /// The same, which charges the time that it takes to read and to decode to a job.
    #[must_use]
    pub fn watched_by(mut self, progress: Progress) -> Self {
        self.held.progress = progress;
        self
    }

    /// The container it reads.
    pub fn container(&self) -> &Container {
        self.container.borrow()
    }

    /// Gives the container back.
    pub fn into_container(self) -> C {
        self.container
    }
}

impl<C: Borrow<Container>> BufRead for ContentReader<C> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let container = self.container.borrow();
        if self.position >= container.header().content_size {
            return Ok(&[]);
        }
        let chunk_len = container.header().chunk_len();
        let (sequence, at) = (self.position / chunk_len, self.position % chunk_len);
        let chunk = self.held.chunk(container, sequence).map_err(io_error)?;
        Ok(&chunk[at as usize..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = self.position.saturating_add(amount as u64);
    }
}

impl<C: Borrow<Container>> Read for ContentReader<C> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(out)?;
        self.consume(got);
        Ok(got)
    }
}

impl<C: Borrow<Container>> Seek for ContentReader<C> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = sought(to, self.position, self.container().header().content_size)?;
        Ok(self.position)
    }
}

/// Where a seek leads from `position` in a content of `size` bytes.
pub(crate) fn sought(to: SeekFrom, position: u64, size: u64) -> io::Result<u64> {
    let position = match to {
        SeekFrom::Start(position) => Some(position),
        SeekFrom::Current(by) => position.checked_add_signed(by),
        SeekFrom::End(by) => size.checked_add_signed(by),
    };
    position.ok_or_else(|| {
        let what = "a position before the content, or past what 64 bits can say";
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

/// The error as [`std::io`] knows errors.
pub(crate) fn io_error(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::Damaged => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
