//! A container for many readers at once: cheap to clone, read at any position from any thread.
//!
//! A chunk is decoded whole or not at all, so a short read costs a chunk. What the last reads left
//! decoded is kept, a few chunks of it, and each read takes one of them for itself: two threads
//! never wait for each other, and short reads in a row decode their chunk once.

use std::borrow::Borrow;
use std::ops::{Bound, Range, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chunks::{Chunk, Chunks};
use super::content::ContentReader;
use super::held::Held;
use super::read_at::ReadAt;
use super::{Container, Header};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::ring::os::OsDisk;

/// An open container, to be read by range from any number of threads.
///
/// Clones share what is open. Nothing is given out that wasn't verified: a chunk is decoded and
/// compared with its checksums before the first of its bytes is copied to the caller (V2).
///
/// Up to 16 of the chunks that were read last are kept, decoded and encoded, but no more than
/// 12 MiB of them unless two are more.
///
/// ```
/// use ringpack::pack::{Input, Output, PackOptions, pack};
/// use ringpack::ring::os::OsDisk;
/// use ringpack::{Cancel, ContainerReader};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let (input, output) = (dir.path().join("data"), dir.path().join("data.zst"));
/// std::fs::write(&input, b"something to keep")?;
/// let (from, to) = (Input::Path(input), Output::Path(output.clone()));
/// pack(&OsDisk, from, to, &PackOptions::default(), &Cancel::new())?;
///
/// let reader = ContainerReader::open(&output)?;
/// assert_eq!(reader.len(), 17);
/// assert_eq!(reader.read_range(13..)?, b"keep");
/// let mut buf = [0; 100];
/// assert_eq!(reader.read_at(&mut buf, 10)?, 7);
/// assert_eq!(&buf[..7], b"to keep");
///
/// // The same from memory, or from any other source.
/// let bytes = std::fs::read(&output)?;
/// let reader = ContainerReader::from_source(bytes)?;
/// let from_another_thread = reader.clone();
/// let thread = std::thread::spawn(move || from_another_thread.read_range(..9));
/// assert_eq!(thread.join().expect("it doesn't panic")?, b"something");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ContainerReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    container: Container,
    /// What no read is using. It is locked to take one or to put one back, and not while reading.
    idle: Mutex<Vec<Held>>,
    idle_max: usize,
}

impl ContainerReader {
    /// Opens the container at `path`, a regular file or a block device.
    ///
    /// # Errors
    /// As [`Container::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Container::open(&OsDisk, path.as_ref(), false).map(Self::from)
    }

    /// Opens the container whose bytes `source` has. Errors then name no file.
    ///
    /// # Errors
    /// As [`Container::from_source`].
    pub fn from_source(source: impl ReadAt + 'static) -> Result<Self> {
        Container::from_source(source).map(Self::from)
    }

    /// The container itself: its index, and where its parts stand in the file.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.shared.container
    }

    /// What the container says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.container().header()
    }

    /// Length of the content in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.header().content_size
    }

    /// Whether the content has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the content at `offset` into `buf` and returns how many bytes that were: as many as
    /// there is room for, or fewer where the content ends, none from its end on.
    ///
    /// # Errors
    /// `Damaged`, `Input` or `InputChanged` where a chunk can't be read, whatever chunks were read
    /// before it. What the call left in `buf` is then verified content, or what was there.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let left = self.len().saturating_sub(offset).min(buf.len() as u64);
        if left == 0 {
            return Ok(0);
        }
        let mut filled = 0;
        self.read_with(offset..offset + left, &mut |bytes| {
            buf[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
            Ok(())
        })?;
        Ok(filled)
    }

    /// Reads a range of the content, in bytes, into memory of its own.
    ///
    /// # Errors
    /// `OutOfRange` where it ends past the content or before it starts, `Input` where there is no
    /// memory for it, and as [`Self::read_at`].
    pub fn read_range(&self, range: impl RangeBounds<u64>) -> Result<Vec<u8>> {
        let range = self.range_of(&range);
        self.container().check_range(&range)?;
        let len = range.end - range.start;
        let mut bytes = Vec::new();
        if !usize::try_from(len).is_ok_and(|len| bytes.try_reserve_exact(len).is_ok()) {
            let what = format!("there is no memory for {len} bytes of content");
            let error = Error::new(ErrorKind::Input, what).hint("read less at a time");
            return Err(self.container().named(error));
        }
        self.read_with(range, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Gives a range of the content to `sink` in order, piece by piece, as
    /// [`Container::read_range`].
    ///
    /// # Errors
    /// `OutOfRange`, as [`Self::read_at`], and those of `sink`.
    pub fn read_with(
        &self,
        range: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut held = self.take(range.start / self.header().chunk_len())?;
        let result = self.container().read_range_by(&mut held, range, sink);
        self.put_back(held);
        result
    }

    /// The chunks of the content, in order.
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks::new(self)
    }

    /// A chunk by its sequence, where the content has it.
    #[must_use]
    pub fn chunk(&self, sequence: u64) -> Option<Chunk<'_>> {
        (sequence < self.header().chunk_count).then(|| Chunk::new(self, sequence))
    }

    /// A reader of the content through [`std::io`], with a position of its own.
    ///
    /// # Errors
    /// As [`ContentReader::new`].
    pub fn reader(&self) -> Result<ContentReader<Self>> {
        ContentReader::new(self.clone())
    }

    fn range_of(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            // No byte lies after the last that there can be: such a range is refused.
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len().max(start),
        };
        start..end
    }

    /// What holds chunk `sequence`, if it is idle, or else what was used longest ago.
    fn take(&self, sequence: u64) -> Result<Held> {
        let mut idle = self.idle();
        let holding = idle.iter().position(|held| held.get(sequence).is_some());
        if holding.is_some() || idle.len() == self.shared.idle_max {
            return Ok(idle.remove(holding.unwrap_or(0)));
        }
        drop(idle);
        Held::new()
    }

    fn put_back(&self, held: Held) {
        let mut idle = self.idle();
        if idle.len() < self.shared.idle_max {
            idle.push(held);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Held>> {
        // Nothing that can panic happens under the lock.
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Container> for ContainerReader {
    fn from(container: Container) -> Self {
        let header = container.header();
        // A chunk is held twice, encoded and decoded.
        let idle_max = limits::buffers_per_side(2 * header.chunk_len(), header.chunk_count);
        Self { shared: Arc::new(Shared { container, idle: Mutex::default(), idle_max }) }
    }
}

impl Borrow<Container> for ContainerReader {
    fn borrow(&self) -> &Container {
        self.container()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::pack::{Input, Output, PackOptions, pack_scheduled};
    use crate::pipeline::{IoMode, Schedule};
    use crate::ring::sim::{SimDisk, SimOptions};

    /// Reads a byte of every chunk from `sequence` on, each within the read before it, so that all
    /// of them are being read at once.
    fn read_within(reader: &ContainerReader, sequence: u64) {
        if let Some(chunk) = reader.chunk(sequence) {
            let start = chunk.content_range().start;
            let mut within = |byte: &[u8]| {
                assert_eq!(byte, [sequence as u8]);
                read_within(reader, sequence + 1);
                Ok(())
            };
            reader.read_with(start..start + 1, &mut within).unwrap();
        }
    }

    #[test]
    fn what_is_kept_is_bounded_however_many_read_at_once() {
        let disk = SimDisk::new(1, SimOptions::PLAIN);
        let content: Vec<u8> = (0..40u8).flat_map(|byte| [byte; 1 << 16]).collect();
        disk.write_file("/in", &content);
        let options =
            PackOptions { chunk_log2: Some(16), io: IoMode::Sim, ..PackOptions::default() };
        let (from, to) = (Input::Path("/in".into()), Output::Path("/out".into()));
        let schedule = Schedule::Inline(1);
        pack_scheduled(&disk, from, to, &options, &Cancel::new(), &schedule).unwrap();
        let reader = ContainerReader::from_source(disk.read_file("/out").unwrap()).unwrap();
        assert_eq!(reader.shared.idle_max, 16);
        for _ in 0..3 {
            read_within(&reader, 0);
            assert_eq!(reader.idle().len(), 16);
        }
    }
}
