//! A container's chunks, one by one: where each is, and its content.

use std::ops::Range;

use super::reader::ContainerReader;
use crate::error::Result;
use crate::format::index::Entry;

/// A chunk of an open container.
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
/// let chunk = reader.chunk(0).expect("every content has a first chunk");
/// assert_eq!(chunk.content_range(), 0..17);
/// assert_eq!(chunk.read()?, b"something to keep");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    reader: &'a ContainerReader,
    sequence: u64,
}

impl<'a> Chunk<'a> {
    pub(super) fn new(reader: &'a ContainerReader, sequence: u64) -> Self {
        Self { reader, sequence }
    }

    /// Its number, from 0.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Where it lies in the content, in bytes. Of a content of nothing, the one chunk is empty.
    #[must_use]
    pub fn content_range(&self) -> Range<u64> {
        let start = self.sequence * self.reader.header().chunk_len();
        start..start + u64::from(self.entry().raw_len)
    }

    /// Where its frame, the chunk in encoded form, stands in the container's file, in bytes.
    #[must_use]
    pub fn frame_range(&self) -> Range<u64> {
        let entry = self.entry();
        entry.offset..entry.offset + u64::from(entry.frame_len)
    }

    /// CRC32C of its content, as the index states it.
    #[must_use]
    pub fn crc32c(&self) -> u32 {
        self.entry().raw_crc32c
    }

    /// Its content, verified.
    ///
    /// # Errors
    /// As [`ContainerReader::read_range`].
    pub fn read(&self) -> Result<Vec<u8>> {
        self.reader.read_range(self.content_range())
    }

    fn entry(&self) -> &'a Entry {
        &self.reader.container().index().entries[self.sequence as usize]
    }
}

/// The chunks of a container in order, from either end; see [`ContainerReader::chunks`].
///
/// ```
/// use ringpack::ContainerReader;
///
/// /// How much smaller each chunk became.
/// fn ratios(reader: &ContainerReader) -> Vec<f64> {
///     let len = |range: std::ops::Range<u64>| (range.end - range.start) as f64;
///     reader.chunks().map(|it| len(it.content_range()) / len(it.frame_range())).collect()
/// }
/// # use ringpack::pack::{Input, Output, PackOptions, pack};
/// # use ringpack::{Cancel, ring::os::OsDisk};
/// # let dir = tempfile::tempdir()?;
/// # let (input, output) = (dir.path().join("data"), dir.path().join("data.zst"));
/// # std::fs::write(&input, vec![0; (1 << 20) + 100])?;
/// # let to = Output::Path(output.clone());
/// # let options = PackOptions { chunk_log2: Some(20), ..PackOptions::default() };
/// # pack(&OsDisk, Input::Path(input), to, &options, &Cancel::new())?;
/// # let reader = ContainerReader::open(&output)?;
/// let ratios = ratios(&reader);
/// assert!(ratios[0] > 1000.0);
/// let last = reader.chunks().next_back().expect("there is one always");
/// assert_eq!((last.sequence(), last.read()?), (1, vec![0; 100]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    reader: &'a ContainerReader,
    left: Range<usize>,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(reader: &'a ContainerReader) -> Self {
        Self { reader, left: 0..reader.container().index().entries.len() }
    }

    fn chunk(&self, sequence: usize) -> Chunk<'a> {
        Chunk::new(self.reader, sequence as u64)
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let next = self.left.next();
        next.map(|sequence| self.chunk(sequence))
    }

    fn nth(&mut self, n: usize) -> Option<Chunk<'a>> {
        let nth = self.left.nth(n);
        nth.map(|sequence| self.chunk(sequence))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl DoubleEndedIterator for Chunks<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let next = self.left.next_back();
        next.map(|sequence| self.chunk(sequence))
    }
}

impl ExactSizeIterator for Chunks<'_> {}
