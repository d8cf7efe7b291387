//! Every number that bounds the engine, in one place.
//!
//! What the format fixes comes first (changing one is a change of format), then what the engine
//! chooses for itself (changing one alters speed or memory, never a byte of output). The relations
//! between them that other files lean on are asserted at compile time below.

/// The grid of the container: every extent starts on it, in bytes. It is the largest logical block
/// size that Linux file systems ask of direct I/O.
pub const ALIGN: usize = 4096;

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 256;

/// Most content, in bytes, of a container whose header stands at its end alone. Above it there is a
/// copy before the index: salvage finds it there where the end of the file is lost.
pub const HEADER_COPY_CONTENT_ABOVE: u64 = 64 << 20;

/// Bytes at the end of a file that opening reads at once: all that it needs of a container of up to
/// 1,800 chunks, without chaining values.
pub const TAIL_READ_BYTES: u64 = 64 << 10;

/// Largest window a frame of ours asks of its decoder, as a power of two: what the web allows
/// (RFC 9659).
pub const WINDOW_LOG_WRITTEN_MAX: u32 = 23;

/// Smallest chunk: 2^16 bytes = 64 KiB.
pub const CHUNK_LOG2_MIN: u8 = 16;
/// Largest chunk: 2^26 bytes = 64 MiB.
pub const CHUNK_LOG2_MAX: u8 = 26;
/// Default chunk: 2^20 bytes = 1 MiB.
pub const CHUNK_LOG2_DEFAULT: u8 = 20;

/// Raw bytes an extent aims at. `extent_chunks` is this over the chunk length, at least 1.
pub const EXTENT_RAW_BYTES: u64 = 4 << 20;

/// Raw bytes of one block of a `store` frame: the largest block RFC 8878 allows.
pub const STORE_BLOCK_BYTES: usize = 128 << 10;

/// Largest payload of one index frame, in bytes.
pub const INDEX_PAYLOAD_BYTES_MAX: u64 = 1 << 30;

/// Most entries a seek table may have (`ZSTD_SEEKABLE_MAXFRAMES` of the seekable format).
pub const SEEK_TABLE_ENTRIES_MAX: u64 = 1 << 27;

/// Most content that a file can hold: offsets of files are signed.
pub const CONTENT_BYTES_MAX: u64 = i64::MAX as u64;

/// Largest window a frame may ask of its decoder, as a power of two (RFC 8878 recommends that
/// decoders support at least 2^23; `zstd -d` accepts 2^27 without a flag).
pub const WINDOW_LOG_MAX: u32 = 27;

/// Compression levels the engine accepts.
pub const LEVEL_MIN: i32 = 1;
/// See [`LEVEL_MIN`]. No level needs a window beyond its chunk, so every decoder grants it.
pub const LEVEL_MAX: i32 = 22;
/// The levels above this take much memory for a little: `--ultra` of `zstd`.
pub const LEVEL_COMMON_MAX: i32 = 19;
/// The level of `zstd` without a flag.
pub const LEVEL_DEFAULT: i32 = 3;

/// Bytes of raw buffers, and as many again of output buffers, that one core holds where extents
/// are small enough to choose: three extents of 4 MiB.
pub const BUFFER_BYTES_PER_SIDE: u64 = 12 << 20;
/// Fewest buffers a side: one being worked on and one in flight.
pub const BUFFERS_PER_SIDE_MIN: usize = 2;
/// Most buffers a side: past this depth no device measured got faster.
pub const BUFFERS_PER_SIDE_MAX: usize = 16;

/// Memory that is left free for a core's codec, in bytes: what level 3 takes for a chunk of 1 MiB,
/// three times over.
pub const CODEC_BYTES: usize = 12 << 20;

/// Most worker threads one job may have.
pub const CORES_MAX: usize = 1024;

/// First step by which the output is allocated ahead of the writes, in bytes; each further one is
/// as long as all before it.
pub const ALLOCATE_STEP_BYTES: u64 = 256 << 20;
/// Longest such step.
pub const ALLOCATE_STEP_BYTES_MAX: u64 = 4 << 30;
/// The part of a file system's free space that one such step may take: one in this many.
pub const ALLOCATE_FREE_PARTS: u64 = 4;

/// Chunk records held in memory before they are spooled to an unlinked file, in bytes. At 1 MiB
/// chunks without a digest this is 300 GiB of content.
pub const SPOOL_MEMORY_BYTES: usize = 8 << 20;

/// Most chunks that a program may give to a writer: 4 PiB in chunks of 1 MiB. A bit of memory a
/// chunk, in blocks, so the number alone of a single chunk costs little.
pub const CHUNKS_GIVEN_MAX: u64 = 1 << 32;

/// Bytes of journal records that are kept for the next checkpoint before it is taken early.
pub const JOURNAL_PENDING_BYTES_MAX: usize = 4 << 20;
/// Bytes of journal records that are kept while there is no room for the journal. Beyond it the
/// job takes no more checkpoints.
pub const JOURNAL_HELD_BYTES_MAX: usize = 32 << 20;

/// Times an operation is tried again after `EINTR` or `EAGAIN` without moving a byte.
pub const RETRIES_MAX: u32 = 64;

/// Shortest run of zeros that unpacking turns into a hole, in bytes. Shorter runs cost more
/// operations than they save blocks.
pub const HOLE_BYTES_MIN: usize = 64 << 10;

/// Buffers that one core holds a side, for extents of `extent_raw_bytes`; no more than there are
/// `extents`.
#[must_use]
pub fn buffers_per_side(extent_raw_bytes: u64, extents: u64) -> usize {
    let fitting = (BUFFER_BYTES_PER_SIDE / extent_raw_bytes.max(1)) as usize;
    let count = fitting.clamp(BUFFERS_PER_SIDE_MIN, BUFFERS_PER_SIDE_MAX);
    count.min(usize::try_from(extents).unwrap_or(usize::MAX))
}

/// Memory that a job takes for each core, in bytes, with chunks of `2^chunk_log2`: the buffers of
/// both sides, and the codec's tables, which are up to eight times as long as its window.
#[must_use]
pub fn core_bytes(chunk_log2: u8) -> u64 {
    let chunk = 1 << chunk_log2.clamp(CHUNK_LOG2_MIN, CHUNK_LOG2_MAX);
    let extent = EXTENT_RAW_BYTES.max(chunk);
    let window = chunk.min(1 << WINDOW_LOG_WRITTEN_MAX);
    2 * buffers_per_side(extent, u64::MAX) as u64 * extent + 8 * window
}

const _: () = {
    assert!(ALIGN.is_power_of_two());
    assert!(CHUNK_LOG2_MIN <= CHUNK_LOG2_DEFAULT && CHUNK_LOG2_DEFAULT <= CHUNK_LOG2_MAX);
    // A chunk is a whole number of blocks, so unpacking writes on the grid.
    assert!((1usize << CHUNK_LOG2_MIN).is_multiple_of(ALIGN));
    // A chunk's frame needs no larger window than decoders grant.
    assert!((CHUNK_LOG2_MAX as u32) <= WINDOW_LOG_MAX);
    // The largest extent fits into the half step that is allocated beyond the frontier.
    assert!((2u64 << CHUNK_LOG2_MAX) <= ALLOCATE_STEP_BYTES / 2);
    // extent_chunks fits its u16.
    assert!(EXTENT_RAW_BYTES >> CHUNK_LOG2_MIN <= u16::MAX as u64);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_keeps_within_its_budget_for_every_chunk_length() {
        for log2 in CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX {
            let extent = EXTENT_RAW_BYTES.max(1 << log2);
            let count = buffers_per_side(extent, u64::MAX);
            let bytes = count as u64 * extent;
            assert!(bytes <= BUFFER_BYTES_PER_SIDE.max(2 * extent), "2^{log2}: {bytes}");
            assert_eq!(buffers_per_side(extent, 1), 1, "2^{log2}");
        }
    }
}
