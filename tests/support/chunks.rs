//! Content given to the library's writers chunk by chunk.

use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};

use crate::Random;

/// Length of a chunk in these tests, in bytes: the least.
pub const CHUNK: usize = 1 << 16;

/// Chunk `sequence` of `bytes`.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn chunk(bytes: &[u8], sequence: u64) -> &[u8] {
    let start = sequence as usize * CHUNK;
    &bytes[start..bytes.len().min(start + CHUNK)]
}

/// Number of chunks of `bytes`; none of no bytes.
#[must_use]
pub fn chunk_count(bytes: &[u8]) -> u64 {
    bytes.len().div_ceil(CHUNK) as u64
}

/// These chunks in an order drawn by `random`.
pub fn shuffled(chunks: impl Iterator<Item = u64>, random: &mut Random) -> Vec<u64> {
    let mut order: Vec<u64> = chunks.collect();
    random.shuffle(&mut order);
    order
}

/// What the chunks make in memory, given in order.
///
/// # Panics
/// Where the options allow no container, or other chunks.
#[must_use]
pub fn in_memory(bytes: &[u8], options: &WriteOptions) -> Vec<u8> {
    let writer = MemoryWriter::new(options).expect("options in range");
    for sequence in 0..chunk_count(bytes) {
        writer.write_chunk(sequence, chunk(bytes, sequence)).expect("a chunk given once");
    }
    writer.finalize().expect("all chunks were given")
}
