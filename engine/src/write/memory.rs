//! A writer that makes the same container in memory, for tests and small data.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::ChunkWriter;
use super::claims::Claims;
use super::options::WriteOptions;
use crate::commit::{Finish, Sink};
use crate::encode::{Closed, Single, single_room};
use crate::error::{Error, ErrorKind, Result};
use crate::format::recipe::Recipe;
use crate::format::record::ChunkRecord;
use crate::placement::sequence_set::SequenceSet;
use crate::spool::Spool;
use crate::units::FileOffset;

/// Makes a container in memory, of the bytes that a
/// [`ContainerWriter`](super::ContainerWriter) with the same options makes of the same chunks.
///
/// It holds every frame until it is finalized, and so needs no window. Of the options, those count
/// that decide the bytes.
///
/// ```
/// use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// let writer = MemoryWriter::new(&WriteOptions::default())?;
/// writer.write_chunk(0, b"a little content")?;
/// let container: Vec<u8> = writer.finalize()?;
/// # assert_eq!(container[..4], [0x28, 0xB5, 0x2F, 0xFD]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct MemoryWriter {
    recipe: Recipe,
    claims: Claims,
    made: Mutex<BTreeMap<u64, Made>>,
}

/// A chunk's frame, and what follows it in its extent.
#[derive(Debug)]
struct Made {
    bytes: Vec<u8>,
    single: Single,
}

impl MemoryWriter {
    /// Begins a container.
    ///
    /// # Errors
    /// `InvalidOptions`.
    pub fn new(options: &WriteOptions) -> Result<Self> {
        let recipe = options.recipe()?;
        let claims = Claims::new(recipe.geometry.chunk_len());
        Ok(Self { recipe, claims, made: Mutex::default() })
    }

    fn make(&self, sequence: u64, raw: &[u8]) -> Result<Made> {
        let mut bytes = vec![0; single_room(raw.len())];
        let single = Single::make(&self.recipe, sequence, raw, &mut bytes)?;
        let Closed { len, write_len } = single.closed;
        bytes.truncate(write_len.min(len as usize));
        Ok(Made { bytes, single })
    }
}

impl ChunkWriter for MemoryWriter {
    /// The container's bytes.
    type Finished = Vec<u8>;

    fn chunk_len(&self) -> usize {
        self.recipe.geometry.chunk_len() as usize
    }

    fn is_given(&self, sequence: u64) -> bool {
        self.claims.is_given(sequence)
    }

    fn write_chunk(&self, sequence: u64, bytes: &[u8]) -> Result<()> {
        self.claims.give(sequence, bytes.len() as u64)?;
        let made = self.make(sequence, bytes)?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence, made);
        Ok(())
    }

    fn finalize(self) -> Result<Vec<u8>> {
        if self.claims.count() == 0 {
            self.write_chunk(0, &[])?;
        }
        self.claims.check_complete()?;
        let content_size = self.claims.content_size();
        let mut container = Vec::new();
        let mut spool = Spool::in_memory(self.recipe.blake3);
        let made = self.made.into_inner().unwrap_or_else(PoisonError::into_inner);
        let count = made.len() as u64;
        for (sequence, made) in made {
            let start = container.len();
            let mut record = made.single.chunk.record(FileOffset(start as u64));
            if let Some(digest) = made.single.only_digest.filter(|_| count == 1) {
                record = ChunkRecord { chaining: digest, ..record };
            }
            spool.put(sequence, &[record])?;
            container.extend(made.bytes);
            // Of a slot, the rest is zeros.
            container.resize(start + made.single.closed.len as usize, 0);
        }
        let finish = Finish {
            recipe: self.recipe,
            spool,
            extents: SequenceSet::of_first(count),
            content_size,
            data_end: container.len() as u64,
            members: None,
        };
        let mut tail = Collected(Vec::new());
        let (header, _) = finish.write_tail(&mut tail, &[])?;
        container.extend(tail.0);
        if container.len() as u64 != header.file_size {
            return Err(Error::new(ErrorKind::Internal, "the container has another length"));
        }
        Ok(container)
    }
}

struct Collected(Vec<u8>);

impl Sink for Collected {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend(bytes);
        Ok(())
    }
}
