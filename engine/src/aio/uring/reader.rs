//! Reading a container on a tokio-uring runtime.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::task::JoinHandle;

use super::file::RuntimeFile;
use super::operations::{self, Ended};
use crate::aio::blocking;
use crate::buffer::AlignedMemory;
use crate::codec::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::Header;
use crate::read::Container;

/// Frames that are read ahead of the one that is decoded.
const READ_AHEAD: usize = 4;

/// Reads ranges of a container's content on a tokio-uring runtime.
///
/// Frames are read by the runtime's ring, several at a time, and decoded on its thread; no byte is
/// given out that wasn't verified. Any number of tasks may read at a time (`&self`).
///
/// ```no_run
/// use ringpack::aio::uring::{UringReader, start};
///
/// # fn main() -> ringpack::Result<()> {
/// let end = start(async {
///     let reader = UringReader::open("data.zst").await?;
///     reader.read_range(reader.len() - 7..reader.len()).await
/// })?;
/// assert_eq!(end, b"the end");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct UringReader {
    container: Container,
    file: Rc<RuntimeFile>,
    decoder: RefCell<Decoder>,
    path: PathBuf,
}

/// A frame that is being read.
type Reading = JoinHandle<(AlignedMemory, Ended)>;

impl UringReader {
    /// Opens the container at `path`.
    ///
    /// # Errors
    /// As [`Container::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let open = move || {
            let failed = |error| Error::from_io(ErrorKind::Input, "cannot open", error).at(&path);
            let file = std::fs::File::open(&path).map_err(failed)?;
            let own = file.try_clone().map_err(failed)?;
            let container = Container::from_source(own).map_err(|error| error.at(&path))?;
            Ok((container, file, path))
        };
        let (container, file, path) = blocking(open).await?;
        let decoder = RefCell::new(Decoder::new()?);
        Ok(Self { container, file: Rc::new(RuntimeFile::new(file)), decoder, path })
    }

    /// What the container says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.container.header()
    }

    /// Length of the content in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.header().content_size
    }

    /// Whether the content is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `range`.
    ///
    /// # Errors
    /// `OutOfRange` where it ends past the content; `Damaged` or `Input` where a chunk can't be
    /// read.
    pub async fn read_range(&self, range: Range<u64>) -> Result<Vec<u8>> {
        self.read(range).await.map_err(|error| error.at(&self.path))
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        self.container.check_range(&range)?;
        let mut out = Vec::new();
        if range.is_empty() {
            return Ok(out);
        }
        let chunk_len = self.header().chunk_len();
        let mut wanted = range.start / chunk_len..range.end.div_ceil(chunk_len);
        let mut ahead = VecDeque::new();
        let mut chunk = Vec::new();
        loop {
            while ahead.len() <= READ_AHEAD
                && let Some(sequence) = wanted.next()
            {
                ahead.push_back((sequence, self.read_frame(sequence)));
            }
            let Some((sequence, reading)) = ahead.pop_front() else { return Ok(out) };
            self.decode(sequence, reading, &mut chunk).await?;
            let start = sequence * chunk_len;
            let from = range.start.saturating_sub(start) as usize;
            let to = (range.end - start).min(chunk.len() as u64) as usize;
            out.extend(&chunk[from..to]);
        }
    }

    /// Starts to read a frame: a task of its own, which ends with the operation.
    fn read_frame(&self, sequence: u64) -> Reading {
        let entry = self.container.index().entries[sequence as usize];
        let (len, offset) = (entry.frame_len as usize, entry.offset);
        let memory = AlignedMemory::zeroed(len);
        tokio_uring::spawn(operations::read_exact(Rc::clone(&self.file), memory, len, offset))
    }

    async fn decode(&self, sequence: u64, reading: Reading, chunk: &mut Vec<u8>) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Internal, "the task that reads panicked");
        let (memory, ended) = reading.await.map_err(gone)?;
        ended.map_err(|(at, error)| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                self.container.damaged(sequence, "the file ends early")
            }
            _ => {
                Error::from_io(ErrorKind::Input, "cannot read", error).sequence(sequence).offset(at)
            }
        })?;
        let entry = self.container.index().entries[sequence as usize];
        let frame = &memory[..entry.frame_len as usize];
        self.container.check_frame(sequence, frame)?;
        chunk.resize(entry.raw_len as usize, 0);
        self.container.decode(&mut self.decoder.borrow_mut(), sequence, frame, chunk)
    }
}
