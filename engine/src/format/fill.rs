//! The frame that ends an extent on the grid.
//!
//! Extents start on the grid, so that each block of the device is written once, by one core. What
//! fills the gap behind the last frame of an extent is part of that frame, and every decoder reads
//! it: no skippable frame stands between frames of content, where many readers stop, and no block
//! is empty, of which libzstd's seekable reader takes 16 in a row at most.
//!
//! ```text
//! header, 9 to 14 bytes │ blocks of the chunk but for its last T bytes │ these T bytes in k raw
//!                       │ as the codec makes them, none marked last    │ blocks │ XXH64
//!
//!   raw blocks:  T − k + 1 bytes, then k − 1 of one byte each; the last is marked last
//! ```
//!
//! Each further block makes the frame longer by the three bytes of its header, and the header has
//! four forms: content size in 4 or 8 bytes, with a window or as a single segment. So each length
//! modulo the grid is reached, by the pair of form and `k` with the smallest `k`. A chunk longer
//! than [`WINDOW_LOG_WRITTEN_MAX`] says can't be a single segment, which would make it its window:
//! it has two forms, and takes twice as many blocks.
//!
//! # Invariants
//! - FI1: whatever the lengths, a filled frame ends on the grid.
//! - FI2: what fills depends on the chunk, on its encoding and on where the frame starts alone.

use super::frame::{ZSTD_MAGIC, is_windowed, store_len};
use super::zstd;
use crate::limits::{ALIGN, CHUNK_LOG2_MAX, CHUNK_LOG2_MIN, WINDOW_LOG_WRITTEN_MAX};

/// Longest header of a filled frame.
pub const HEADER_LEN_MAX: usize = 14;

/// Bytes at a chunk's end that a filled frame holds in raw blocks: as many as the most blocks that
/// are needed (FI1, by enumeration in the tests).
#[must_use]
pub const fn tail_len(raw_len: usize) -> usize {
    if is_windowed(raw_len) { 2732 } else { 1367 }
}

/// Longest filled frame of a chunk of `raw_len` bytes.
#[must_use]
pub const fn filled_len_max(raw_len: usize) -> usize {
    store_len(raw_len) + HEADER_LEN_MAX + 3 * tail_len(raw_len)
}

/// How a frame is filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    header: [u8; HEADER_LEN_MAX],
    header_len: usize,
    /// Raw blocks at its end.
    blocks: usize,
    tail_len: usize,
}

impl Fill {
    /// How a frame that starts at `at` of its extent is filled, given that the blocks of all but
    /// the last [`tail_len`] bytes of its chunk take `blocks_len` bytes. The chunk has a full
    /// chunk's length, `raw_len`, which is a power of two.
    #[must_use]
    pub fn new(at: usize, blocks_len: usize, raw_len: usize) -> Self {
        let tail_len = tail_len(raw_len);
        let forms = [(false, 4), (true, 4), (false, 8), (true, 8)];
        let fitting = forms.into_iter().filter(|&(windowed, _)| windowed || !is_windowed(raw_len));
        let fills = fitting.map(|(windowed, size_len)| {
            let header_len = 4 + 1 + usize::from(windowed) + size_len;
            // Without any further block.
            let end = at + header_len + blocks_len + tail_len + 3 + 4;
            let gap = (ALIGN - end % ALIGN) % ALIGN;
            // FI1: the least number of blocks of 3 bytes that ends on the grid; 4096 is 1 modulo 3.
            let grids = (3 - gap % 3) % 3;
            let blocks = 1 + (gap + grids * ALIGN) / 3;
            (blocks, windowed, size_len, header_len)
        });
        // FI2: no two forms need the same number of blocks, since they differ in length.
        let (blocks, windowed, size_len, header_len) = fills.min().unwrap_or_default();
        let mut header = [0; HEADER_LEN_MAX];
        let size_flag: u8 = if size_len == 4 { 2 } else { 3 };
        // Size flag, single segment, content checksum.
        let descriptor = size_flag << 6 | if windowed { 0 } else { 0x20 } | 0x04;
        let window_log = raw_len.ilog2().min(WINDOW_LOG_WRITTEN_MAX) as u8;
        let window = [(window_log - 10) << 3];
        let size = (raw_len as u64).to_le_bytes();
        let bytes = ZSTD_MAGIC.to_le_bytes().into_iter().chain([descriptor]);
        let bytes = bytes.chain(window.into_iter().filter(|_| windowed));
        let bytes = bytes.chain(size.into_iter().take(size_len));
        header.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
        Self { header, header_len, blocks, tail_len }
    }

    /// The frame's header.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.header_len).unwrap_or_default()
    }

    /// Bytes behind the chunk's encoded blocks: the raw blocks and the checksum.
    #[must_use]
    pub fn ending_len(&self) -> usize {
        self.tail_len + 3 * self.blocks + 4
    }

    /// Writes what stands behind the encoded blocks to the front of `out`: the chunk's last bytes,
    /// `tail`, in raw blocks, and the checksum of the chunk. `None` where `out` is too short.
    #[must_use]
    pub fn write_ending(&self, tail: &[u8], checksum: u32, out: &mut [u8]) -> Option<()> {
        let (first, singles) = tail.split_at_checked(tail.len() + 1 - self.blocks)?;
        let mut rest = out;
        let mut put = |bytes: &[u8]| {
            let (front, behind) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len())?;
            front.copy_from_slice(bytes);
            rest = behind;
            Some(())
        };
        let header = |len: usize, last: bool| {
            let [a, b, c, _] = ((len as u32) << 3 | u32::from(last)).to_le_bytes();
            [a, b, c]
        };
        put(&header(first.len(), singles.is_empty()))?;
        put(first)?;
        for (number, byte) in singles.iter().enumerate() {
            put(&header(1, number + 1 == singles.len()))?;
            put(&[*byte])?;
        }
        put(&checksum.to_le_bytes())
    }
}

/// Takes the mark of the last block off the last of `blocks`. `None` where they are no blocks.
#[must_use]
pub fn unmark_last_block(blocks: &mut [u8]) -> Option<()> {
    let mut at = 0;
    loop {
        let header = blocks.get_mut(at..at + 3)?;
        let block = zstd::block([*header.first()?, *header.get(1)?, *header.get(2)?])?;
        if block.last {
            *header.first_mut()? &= !1;
            return Some(());
        }
        at += block.len as usize;
    }
}

/// The raw blocks that a frame ends with, as its blocks go by: how a filled frame is told from any
/// other by its blocks' headers alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending {
    /// Bytes of the raw block before those of one byte.
    first: u64,
    /// Raw blocks of one byte at the end.
    singles: u64,
}

impl Ending {
    /// Takes note of the next block.
    pub fn block(&mut self, block: &zstd::Block) {
        let raw_len = block.content_size.filter(|size| block.len == 3 + size);
        match raw_len {
            Some(1) => self.singles += 1,
            _ => *self = Self { first: raw_len.unwrap_or(0), singles: 0 },
        }
    }

    /// Whether a frame that starts so ends as filled ones do, given all of its blocks. No encoder
    /// of another program is known to end a frame like that whose content is as long as a chunk.
    #[must_use]
    pub fn is_filled(&self, front: &zstd::ContentFront) -> bool {
        let chunk_lens = 1 << CHUNK_LOG2_MIN..=1 << CHUNK_LOG2_MAX;
        let is_chunk = |size: &u64| size.is_power_of_two() && chunk_lens.contains(size);
        let Some(raw_len) = front.content_size.filter(is_chunk) else { return false };
        let tail_len = tail_len(raw_len as usize) as u64;
        front.checksum && (self.first + self.singles == tail_len || self.singles == tail_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each residue of what stands before the ending, for each length of a chunk.
    #[test]
    fn fi1_fi2_every_residue_is_filled() {
        for log2 in 16..=26 {
            let raw_len = 1usize << log2;
            let mut most = 0;
            for residue in 0..ALIGN {
                let fill = Fill::new(residue, 0, raw_len);
                let end = residue + fill.header().len() + fill.ending_len();
                assert!(end.is_multiple_of(ALIGN), "{residue}");
                // The first raw block has a byte at least.
                assert!(fill.blocks >= 1 && fill.blocks <= fill.tail_len, "{residue}");
                assert_eq!(fill, Fill::new(residue + ALIGN, 3 * ALIGN, raw_len), "{residue}");
                most = most.max(fill.blocks);
            }
            assert_eq!(most, tail_len(raw_len), "no more bytes are left raw than are needed");
        }
    }

    fn ending_of(frame: &[u8]) -> Ending {
        let zstd::Front::Content(front) = zstd::front(frame) else { panic!() };
        let (mut at, mut found) = (front.len as usize, Ending::default());
        loop {
            let block = zstd::block(*frame[at..].first_chunk().unwrap()).unwrap();
            found.block(&block);
            at += block.len as usize;
            if block.last {
                return found;
            }
        }
    }

    /// A frame of raw blocks, decoded by libzstd.
    #[test]
    fn stock_libzstd_reads_filled_frames() {
        use crate::format::frame::{FrameHeader, content_checksum, encode_store, xxh64_low};
        for log2 in [16, 17, 20, 23, 24] {
            let raw_len = 1usize << log2;
            let raw: Vec<u8> = (0..raw_len).map(|i| (i * 31 / 7) as u8).collect();
            let (head, tail) = raw.split_at(raw_len - tail_len(raw_len));
            let mut blocks = vec![0; store_len(head.len())];
            let len = encode_store(head, &mut blocks).unwrap();
            let zstd::Front::Content(front) = zstd::front(&blocks) else { panic!() };
            let mut blocks = blocks[front.len as usize..len - 4].to_vec();
            unmark_last_block(&mut blocks).unwrap();
            for at in [0, 1, 2, 3, 1000, 4095] {
                let fill = Fill::new(at, blocks.len(), raw_len);
                let mut ending = vec![0; fill.ending_len()];
                fill.write_ending(tail, xxh64_low(&raw), &mut ending).unwrap();
                let frame = [fill.header(), &blocks, &ending].concat();
                assert!((at + frame.len()).is_multiple_of(ALIGN));
                assert!(frame.len() <= filled_len_max(raw_len));
                assert_eq!(FrameHeader::decode(&frame).unwrap().content_size, raw_len as u64);
                assert_eq!(content_checksum(&frame), Some(xxh64_low(&raw)));
                let back = ::zstd::bulk::decompress(&frame, raw_len).unwrap();
                assert!(back == raw, "2^{log2} at {at}");
                let zstd::Front::Content(front) = zstd::front(&frame) else { panic!() };
                assert!(front.window <= 1 << WINDOW_LOG_WRITTEN_MAX.min(log2));
                assert!(ending_of(&frame).is_filled(&front), "2^{log2} at {at}");
                let stock = ::zstd::bulk::compress(&raw, 1).unwrap();
                assert!(!ending_of(&stock).is_filled(&front), "2^{log2}, by libzstd");
            }
        }
    }
}
