//! Writers of bytes, on top of writers of chunks.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::ChunkWriter;
use crate::error::{Error, ErrorKind, Result};

/// Writes bytes in order: an [`io::Write`] that cuts them into chunks.
///
/// Where its writer was reopened, the bytes are to be sent again from the start; chunks that were
/// given before are passed over, not compared. Dropped without [`finish`](Self::finish) it aborts,
/// as its writer does.
///
/// ```
/// use std::io::Write;
/// use ringpack::write::{MemoryWriter, StreamWriter, WriteOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut writer = StreamWriter::new(MemoryWriter::new(&WriteOptions::default())?);
/// writeln!(writer, "one line, and then {}", "another")?;
/// let container = writer.finish()?;
/// # assert!(!container.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct StreamWriter<W> {
    writer: W,
    /// The chunk that is being filled.
    next: u64,
    filling: Vec<u8>,
}

impl<W: ChunkWriter> StreamWriter<W> {
    /// Writes to `writer`, from chunk 0 on.
    pub fn new(writer: W) -> Self {
        Self { writer, next: 0, filling: Vec::new() }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next * self.writer.chunk_len() as u64 + self.filling.len() as u64
    }

    /// The writer of chunks, to take a checkpoint for one. It doesn't have the bytes yet that fill
    /// no chunk.
    pub fn get_ref(&self) -> &W {
        &self.writer
    }

    /// Writes what is left, and finalizes.
    ///
    /// # Errors
    /// As [`ChunkWriter::finalize`].
    pub fn finish(mut self) -> Result<W::Finished> {
        if !self.filling.is_empty() || self.next == 0 {
            self.give_filled()?;
        }
        self.writer.finalize()
    }

    fn give_filled(&mut self) -> Result<()> {
        let filled = std::mem::take(&mut self.filling);
        let given = self.give(&filled);
        self.filling = filled;
        given?;
        self.filling.clear();
        Ok(())
    }

    fn give(&mut self, chunk: &[u8]) -> Result<()> {
        if !self.writer.is_given(self.next) {
            self.writer.write_chunk(self.next, chunk)?;
        }
        self.next += 1;
        Ok(())
    }
}

impl<W: ChunkWriter> io::Write for StreamWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk_len = self.writer.chunk_len();
        if self.filling.is_empty() && bytes.len() >= chunk_len {
            self.give(&bytes[..chunk_len])?;
            return Ok(chunk_len);
        }
        let taken = bytes.len().min(chunk_len - self.filling.len());
        self.filling.extend(&bytes[..taken]);
        if self.filling.len() == chunk_len
            && let Err(error) = self.give_filled()
        {
            // What wasn't accepted may be offered again.
            self.filling.truncate(chunk_len - taken);
            return Err(error.into());
        }
        Ok(taken)
    }

    /// Does nothing: only whole chunks can be given. A checkpoint makes those durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes bytes at offsets, in any order, from any number of threads.
///
/// Pieces of a chunk are held until the chunk is whole; a piece that is a whole chunk passes
/// through. Each byte is to be written once.
///
/// ```
/// use ringpack::write::{AtWriter, MemoryWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// let writer = AtWriter::new(MemoryWriter::new(&WriteOptions::default())?, 16);
/// writer.write_at(b"world", 6)?;
/// writer.write_at(b"hello ", 0)?;
/// let container = writer.finish(11)?;
/// # assert!(!container.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AtWriter<W> {
    writer: W,
    partial_max: usize,
    partial: Mutex<BTreeMap<u64, PartialChunk>>,
}

/// A chunk of which not every byte was written.
#[derive(Debug, Default)]
struct PartialChunk {
    bytes: Vec<u8>,
    /// What was written, in order, without overlaps; neighbours are one.
    filled: Vec<Range<usize>>,
}

impl PartialChunk {
    /// Whether each of the first `len` bytes was written, and no other.
    fn is_whole(&self, len: usize) -> bool {
        matches!(&self.filled[..], [only] if *only == (0..len))
    }

    fn overlaps(&self, range: &Range<usize>) -> bool {
        self.filled.iter().any(|filled| filled.start < range.end && range.start < filled.end)
    }

    /// Forgets that `range` was written, of a chunk that is whole.
    fn clear(&mut self, range: Range<usize>) {
        let parts = [0..range.start, range.end..self.bytes.len()];
        self.filled = parts.into_iter().filter(|part| !part.is_empty()).collect();
    }

    fn fill(&mut self, range: Range<usize>, piece: &[u8]) {
        if self.bytes.len() < range.end {
            self.bytes.resize(range.end, 0);
        }
        self.bytes[range.clone()].copy_from_slice(piece);
        let at = self.filled.partition_point(|filled| filled.start < range.start);
        self.filled.insert(at, range);
        self.filled.dedup_by(|next, before| {
            let touches = before.end == next.start;
            if touches {
                before.end = next.end;
            }
            touches
        });
    }
}

impl<W: ChunkWriter> AtWriter<W> {
    /// Writes to `writer`; at most `partial_max` chunks are held that are not whole.
    pub fn new(writer: W, partial_max: usize) -> Self {
        Self { writer, partial_max, partial: Mutex::default() }
    }

    /// The writer of chunks, to take a checkpoint for one. It doesn't have the bytes yet of chunks
    /// that aren't whole.
    pub fn get_ref(&self) -> &W {
        &self.writer
    }

    /// Writes `bytes` at `offset` of the content.
    ///
    /// # Errors
    /// `Sequence` where some of them were written before, or too many chunks would be held that
    /// aren't whole. Else as [`ChunkWriter::write_chunk`]. What lies before the chunk that the
    /// error names was written; the rest can be written again, once what stood in the way is gone.
    pub fn write_at(&self, mut bytes: &[u8], offset: u64) -> Result<()> {
        let chunk_len = self.writer.chunk_len();
        let mut offset = offset;
        while !bytes.is_empty() {
            let (sequence, at) = (offset / chunk_len as u64, (offset % chunk_len as u64) as usize);
            let (piece, rest) = bytes.split_at(bytes.len().min(chunk_len - at));
            self.put(sequence, at, piece).map_err(|error| error.sequence(sequence))?;
            let next = offset.checked_add(piece.len() as u64);
            (bytes, offset) = (rest, next.unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn put(&self, sequence: u64, at: usize, piece: &[u8]) -> Result<()> {
        let chunk_len = self.writer.chunk_len();
        let range = at..at + piece.len();
        let again = || {
            let first = sequence.saturating_mul(chunk_len as u64).saturating_add(at as u64);
            let last = first.saturating_add(piece.len() as u64);
            let what = format!("some of the bytes {first} to {last} were written before");
            Err(Error::new(ErrorKind::Sequence, what))
        };
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        if self.writer.is_given(sequence) {
            return again();
        }
        let is_new = !partial.contains_key(&sequence);
        if is_new && piece.len() == chunk_len {
            drop(partial);
            return self.writer.write_chunk(sequence, piece);
        }
        if is_new && partial.len() >= self.partial_max {
            let what = format!("{} other chunks are written in part", self.partial_max);
            let refused = Error::new(ErrorKind::Sequence, what);
            return Err(refused.hint("complete some of them first, or allow more"));
        }
        let chunk = partial.entry(sequence).or_default();
        if chunk.overlaps(&range) {
            return again();
        }
        chunk.fill(range.clone(), piece);
        if !chunk.is_whole(chunk_len) {
            return Ok(());
        }
        // It stays until it was given, so that nobody else begins it anew meanwhile.
        let bytes = std::mem::take(&mut chunk.bytes);
        drop(partial);
        let given = self.writer.write_chunk(sequence, &bytes);
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        if given.is_ok() {
            partial.remove(&sequence);
        } else if let Some(chunk) = partial.get_mut(&sequence) {
            // The piece that completed it wasn't accepted, and may be offered again.
            chunk.bytes = bytes;
            chunk.clear(range);
        }
        given
    }

    /// Finalizes a content of `content_size` bytes.
    ///
    /// # Errors
    /// `Sequence` where a byte of it was not written, or one beyond it was. Else as
    /// [`ChunkWriter::finalize`].
    pub fn finish(self, content_size: u64) -> Result<W::Finished> {
        let chunk_len = self.writer.chunk_len() as u64;
        let (last, len) = (content_size / chunk_len, (content_size % chunk_len) as usize);
        let mut partial = self.partial.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = partial.remove(&last) {
            if !chunk.is_whole(len) {
                let what = format!("not just its first {len} bytes were written");
                return Err(Error::new(ErrorKind::Sequence, what).sequence(last));
            }
            self.writer.write_chunk(last, &chunk.bytes)?;
        } else if len > 0 && !self.writer.is_given(last) {
            return Err(Error::new(ErrorKind::Sequence, "was not written").sequence(last));
        }
        if let Some((&sequence, _)) = partial.first_key_value() {
            let what = "was written in part";
            return Err(Error::new(ErrorKind::Sequence, what).sequence(sequence));
        }
        let count = content_size.div_ceil(chunk_len);
        if let Some(missing) = (0..count).find(|&sequence| !self.writer.is_given(sequence)) {
            return Err(Error::new(ErrorKind::Sequence, "was not written").sequence(missing));
        }
        if self.writer.is_given(count) {
            let what = format!("lies beyond the end, after {content_size} bytes");
            return Err(Error::new(ErrorKind::Sequence, what).sequence(count));
        }
        self.writer.finalize()
    }
}
