//! The codec: a chunk in, a frame out, and back.
//!
//! One frame a chunk, each with a context of its own: libzstd keeps state in a context that was
//! used before (the salt of its row hash, tables that are not cleared), and the bytes of a frame
//! must depend on the chunk, the level and the version of libzstd alone. The output always has room
//! for the worst case, because libzstd writes other bytes where it has less.
//!
//! `store` writes raw blocks, except that a chunk of zeros goes through libzstd's fastest level:
//! the holes of a disk image would otherwise be written out.
//!
//! # Invariants
//! - C1: a frame is a function of (codec, level, chunk), whatever was encoded before it.
//! - C2: no frame is longer than [`store_len`] of its chunk; one that is filled, than
//!   [`fill::filled_len_max`].
//! - C3: `decode` gives out exactly the chunk's length or an error, never a part.

use ::zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter};
use ::zstd::zstd_safe::{compress_bound, find_frame_compressed_size, get_error_name};

use crate::checksum::crc32c;
use crate::error::{Error, ErrorKind, Result};
use crate::format::fill::{self, Fill};
use crate::format::frame::{
    FrameHeader, content_checksum, encode_store, encode_store_blocks, store_blocks_len, store_len,
    xxh64_low,
};
use crate::format::header::CodecKind;
use crate::format::zstd;
use crate::limits::{self, ALIGN, WINDOW_LOG_MAX, WINDOW_LOG_WRITTEN_MAX};
use crate::planted::{self, Bug};

/// The version of libzstd that encodes, as `ZSTD_versionNumber` gives it: 1.5.7 is 10507.
#[must_use]
pub fn zstd_version() -> u32 {
    ::zstd::zstd_safe::version_number()
}

/// Room that encoding a chunk of `raw_len` bytes needs: the worst case of libzstd, or of `store`.
#[must_use]
pub fn encode_room(raw_len: usize) -> usize {
    compress_bound(raw_len).max(store_len(raw_len))
}

/// The same for a chunk whose frame is filled.
#[must_use]
pub fn filled_room(raw_len: usize) -> usize {
    encode_room(raw_len).max(fill::filled_len_max(raw_len))
}

/// A chunk in its encoded form, as far as it is known before it has a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Length of the frame in bytes.
    pub len: usize,
    /// CRC32C of the frame's bytes.
    pub crc32c: u32,
    /// Length of the chunk in bytes.
    pub raw_len: usize,
    /// CRC32C of the chunk.
    pub raw_crc32c: u32,
    /// Low half of the XXH64 of the chunk.
    pub xxh64_low: u32,
}

/// How chunks become frames.
///
/// ```
/// use ringpack::Codec;
/// use ringpack::pack::PackOptions;
///
/// let fast = PackOptions { codec: Codec::Zstd(1), ..PackOptions::default() };
/// let as_it_is = PackOptions { codec: Codec::Store, ..PackOptions::default() };
/// # let _ = (fast, as_it_is);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Codec {
    /// Raw blocks.
    Store,
    /// Zstandard at this level, [`limits::LEVEL_MIN`] to [`limits::LEVEL_MAX`].
    Zstd(i32),
}

impl Codec {
    /// What a header calls so.
    #[must_use]
    pub fn of(kind: CodecKind, level: i32) -> Self {
        match kind {
            CodecKind::Store => Self::Store,
            CodecKind::Zstd => Self::Zstd(level),
        }
    }

    /// What a header says of it; the level is 0 where it means nothing.
    #[must_use]
    pub fn kind_and_level(self) -> (CodecKind, i32) {
        match self {
            Self::Store => (CodecKind::Store, 0),
            Self::Zstd(level) => (CodecKind::Zstd, level),
        }
    }

    /// Chunk length as a power of two that suits it where none is asked for.
    ///
    /// What a frame doesn't find in its own chunk it can't repeat, so short chunks compress less
    /// than one frame of everything does, the more so the harder a level looks; and whoever reads a
    /// part decodes whole chunks. What it costs was measured: docs/decisions/0040.
    #[must_use]
    pub fn chunk_log2(self) -> u8 {
        match self {
            Self::Store => limits::CHUNK_LOG2_DEFAULT,
            Self::Zstd(..=3) => 22,
            Self::Zstd(..=8) => 23,
            Self::Zstd(..=12) => 24,
            Self::Zstd(_) => 25,
        }
    }

    /// Checks the level against its range.
    ///
    /// # Errors
    /// `InvalidOptions` where it lies outside.
    pub fn check(self) -> Result<()> {
        let levels = limits::LEVEL_MIN..=limits::LEVEL_MAX;
        match self {
            Self::Zstd(level) if !levels.contains(&level) => {
                let (least, most) = (levels.start(), levels.end());
                let what = format!("level {level} is outside {least} to {most}");
                Err(Error::new(ErrorKind::InvalidOptions, what))
            }
            Self::Zstd(_) | Self::Store => Ok(()),
        }
    }
}

/// A chunk to be encoded.
#[derive(Clone, Copy, Debug)]
pub enum Chunk<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// So many zeros, which need not be in memory.
    Zeros(usize),
}

/// Makes frames.
#[derive(Debug)]
pub struct Encoder {
    kind: CodecKind,
    level: i32,
    /// The last frames made of chunks that are holes: a sparse file has thousands of them, all
    /// alike (C1). One that ends where its blocks do, and one that was filled.
    zeros: [Option<Zeros>; 2],
}

/// The frame of a chunk of zeros.
#[derive(Debug)]
struct Zeros {
    /// Where it is filled from, on the grid.
    fill_from: Option<usize>,
    bytes: Vec<u8>,
    frame: Frame,
}

impl Encoder {
    /// An encoder of `kind`; `level` is one of libzstd's, and means nothing to `store`.
    #[must_use]
    pub fn new(kind: CodecKind, level: i32) -> Self {
        Self { kind, level, zeros: [None, None] }
    }

    /// Writes the frame of a chunk to the front of `out`, which has at least [`encode_room`] bytes.
    /// With `fill_from`, where the frame starts in its extent, it is made to end on the grid.
    ///
    /// # Errors
    /// Where libzstd can't allocate its context.
    pub fn encode(
        &mut self,
        chunk: Chunk<'_>,
        fill_from: Option<usize>,
        out: &mut [u8],
    ) -> Result<Frame> {
        let raw_len = match chunk {
            Chunk::Bytes(raw) => return self.encode_bytes(raw, fill_from, out),
            Chunk::Zeros(raw_len) => raw_len,
        };
        let fill_from = fill_from.map(|at| at % ALIGN);
        let kept = usize::from(fill_from.is_some());
        let fits = |zeros: &&Zeros| (zeros.fill_from, zeros.frame.raw_len) == (fill_from, raw_len);
        if let Some(zeros) = self.zeros[kept].as_ref().filter(fits) {
            out[..zeros.bytes.len()].copy_from_slice(&zeros.bytes);
            return Ok(zeros.frame);
        }
        let frame = self.encode_bytes(&vec![0; raw_len], fill_from, out)?;
        self.zeros[kept] = Some(Zeros { fill_from, bytes: out[..frame.len].to_vec(), frame });
        Ok(frame)
    }

    fn encode_bytes(&self, raw: &[u8], fill_from: Option<usize>, out: &mut [u8]) -> Result<Frame> {
        planted::slow_down(raw);
        let copied = planted::is(Bug::CopiedFirst).then(|| raw.to_vec());
        let raw = copied.as_deref().unwrap_or(raw);
        let len = match fill_from {
            None => self.blocks(raw, out)?,
            Some(at) => self.filled(raw, at, out)?,
        };
        let frame = &out[..len];
        Ok(Frame {
            len,
            crc32c: crc32c(frame),
            raw_len: raw.len(),
            raw_crc32c: crc32c(raw),
            xxh64_low: content_checksum(frame).expect("a frame ends with a checksum"),
        })
    }

    /// The frame of `raw`, as the codec makes it.
    fn blocks(&self, raw: &[u8], out: &mut [u8]) -> Result<usize> {
        // C1: the same room for the same length, always.
        let room = &mut out[..encode_room(raw.len())];
        match self.kind {
            CodecKind::Zstd => compress(self.level, raw, room),
            CodecKind::Store if !raw.is_empty() && is_zero(raw) => compress(1, raw, room),
            CodecKind::Store => Ok(store(raw, room)),
        }
    }

    /// The frame of `raw` that ends on the grid, given that it starts at `at` of its extent: see
    /// [`fill`].
    fn filled(&self, raw: &[u8], at: usize, out: &mut [u8]) -> Result<usize> {
        let (head, tail) = raw.split_at(raw.len() - fill::tail_len(raw.len()));
        if self.kind == CodecKind::Store && !is_zero(head) {
            // How long they are is known before, so that nothing is moved.
            let blocks_len = store_blocks_len(head.len());
            let fill = Fill::new(at, blocks_len, raw.len());
            let (header, rest) = out.split_at_mut(fill.header().len());
            header.copy_from_slice(fill.header());
            let (blocks, ending) = rest.split_at_mut(blocks_len);
            let written = encode_store_blocks(head, false, blocks).and_then(|_| {
                fill.write_ending(tail, xxh64_low(raw), &mut ending[..fill.ending_len()])
            });
            written.expect("the room is that of a filled frame at its longest");
            return Ok(fill.header().len() + blocks_len + fill.ending_len());
        }
        let len = self.blocks(head, out)?;
        let zstd::Front::Content(front) = zstd::front(out) else {
            unreachable!("a frame was written there")
        };
        // Between the header and the checksum, which is that of the head alone.
        let blocks = front.len as usize..len - 4;
        let fill = Fill::new(at, blocks.len(), raw.len());
        let (start, end) = (fill.header().len(), fill.header().len() + blocks.len());
        out.copy_within(blocks, start);
        out[..start].copy_from_slice(fill.header());
        let len = end + fill.ending_len();
        let written = fill::unmark_last_block(&mut out[start..end])
            .and_then(|()| fill.write_ending(tail, xxh64_low(raw), &mut out[end..len]));
        written.expect("the room is that of a filled frame at its longest");
        Ok(len)
    }
}

fn compress(level: i32, raw: &[u8], room: &mut [u8]) -> Result<usize> {
    // C1: a context of its own.
    let mut context = CCtx::try_create().ok_or_else(out_of_memory)?;
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::ChecksumFlag(true),
        CParameter::ContentSizeFlag(true),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    // Only the levels above have larger windows.
    if level > limits::LEVEL_COMMON_MAX && raw.len() > 1 << WINDOW_LOG_WRITTEN_MAX {
        let window = CParameter::WindowLog(WINDOW_LOG_WRITTEN_MAX);
        context.set_parameter(window).map_err(failed)?;
    }
    let len = context.compress2(room, raw).map_err(failed)?;
    if len > store_len(raw.len()) {
        // C2: what doesn't compress is stored.
        return Ok(store(raw, room));
    }
    Ok(len)
}

/// What libzstd refuses for want of memory, or else because it was asked for nonsense.
pub(crate) fn failed(code: usize) -> Error {
    // ZSTD_error_memory_allocation of zstd_errors.h; codes are negated.
    const MEMORY_ALLOCATION: usize = 64;
    match code.wrapping_neg() {
        MEMORY_ALLOCATION => out_of_memory(),
        _ => Error::new(ErrorKind::Internal, get_error_name(code)),
    }
}

/// There is no memory for libzstd's work.
pub(crate) fn out_of_memory() -> Error {
    Error::new(ErrorKind::OutOfMemory, "libzstd is out of memory")
}

fn store(raw: &[u8], room: &mut [u8]) -> usize {
    encode_store(raw, room).expect("the room is that of a store frame at least")
}

/// Whether all bytes are zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|&byte| byte == 0)
}

/// Makes chunks of frames.
pub struct Decoder {
    context: DCtx<'static>,
}

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// Where libzstd can't allocate its context.
    pub fn new() -> Result<Self> {
        let mut context = DCtx::try_create().ok_or_else(out_of_memory)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(failed)?;
        Ok(Self { context })
    }

    /// Decodes `frame`, which is expected to hold exactly `out.len()` bytes, into `out`, and checks
    /// its content checksum. After an error, what `out` holds is not to be given to anyone.
    ///
    /// # Errors
    /// `Damaged`, saying what doesn't fit.
    pub fn decode(&mut self, frame: &[u8], out: &mut [u8]) -> Result<()> {
        let damaged = |what| Error::new(ErrorKind::Damaged, what);
        let header = FrameHeader::decode(frame)
            .map_err(|error| Error::new(ErrorKind::Damaged, error.message))?;
        // C3: the length is settled before a byte is decoded.
        if header.content_size != out.len() as u64 {
            return Err(damaged("the frame states another content size than the index"));
        }
        // C3: one frame and nothing after it. libzstd would decode what follows as well, and pass
        // over skippable frames; other readers don't.
        match find_frame_compressed_size(frame) {
            Ok(len) if len == frame.len() => {}
            Ok(_) => return Err(damaged("the frame ends before its length in the index")),
            Err(code) => return Err(damaged(get_error_name(code))),
        }
        match self.context.decompress(out, frame) {
            Ok(len) if len == out.len() => Ok(()),
            Ok(_) => Err(damaged("the frame holds less than it states")),
            Err(code) => Err(damaged(get_error_name(code))),
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_memory_is_told_from_a_defect() {
        // ZSTD_error_memory_allocation and ZSTD_error_parameter_outOfBound.
        assert_eq!(failed(64_usize.wrapping_neg()).kind(), ErrorKind::OutOfMemory);
        let defect = failed(42_usize.wrapping_neg());
        assert_eq!(defect.kind(), ErrorKind::Internal);
        assert!(defect.to_string().contains("Parameter"), "{defect}");
    }

    /// Bytes that compress somewhat, differently by seed.
    fn sample(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        (0..len)
            .map(|i| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if i % 3 == 0 { state as u8 } else { (i / 5) as u8 }
            })
            .collect()
    }

    fn noise(len: usize) -> Vec<u8> {
        sample(len * 3, 99).into_iter().step_by(3).collect()
    }

    const CODECS: [(CodecKind, i32); 4] =
        [(CodecKind::Store, 0), (CodecKind::Zstd, 1), (CodecKind::Zstd, 3), (CodecKind::Zstd, 9)];

    fn encode(encoder: &mut Encoder, raw: &[u8]) -> (Vec<u8>, Frame) {
        let mut out = vec![0xEE; encode_room(raw.len())];
        let frame = encoder.encode(Chunk::Bytes(raw), None, &mut out).unwrap();
        out.truncate(frame.len);
        (out, frame)
    }

    /// A chunk's frame that ends on the grid, from `at` on.
    fn encode_filled(encoder: &mut Encoder, chunk: Chunk<'_>, at: usize) -> (Vec<u8>, Frame) {
        let raw_len = match chunk {
            Chunk::Bytes(raw) => raw.len(),
            Chunk::Zeros(len) => len,
        };
        let mut out = vec![0xEE; filled_room(raw_len)];
        let frame = encoder.encode(chunk, Some(at), &mut out).unwrap();
        out.truncate(frame.len);
        (out, frame)
    }

    #[test]
    fn c1_c2_c3_filled_frames_end_on_the_grid_and_come_back() {
        for (kind, level) in CODECS {
            let mut decoder = Decoder::new().unwrap();
            for log2 in [16, 17, 20] {
                let len = 1 << log2;
                for raw in [sample(len, 5), noise(len), vec![0; len]] {
                    let mut encoder = Encoder::new(kind, level);
                    for at in [0, 1, 13, 5000] {
                        let (bytes, frame) = encode_filled(&mut encoder, Chunk::Bytes(&raw), at);
                        assert!((at + frame.len).is_multiple_of(ALIGN), "{kind:?} {level} {at}");
                        assert!(frame.len <= fill::filled_len_max(len));
                        let mut back = vec![0xEE; len];
                        decoder.decode(&bytes, &mut back).unwrap();
                        assert!(back == raw, "{kind:?} {level} 2^{log2} at {at}");
                        if codec_zero(&raw) {
                            // Out of the cache and not.
                            for _ in 0..2 {
                                let zeros = encode_filled(&mut encoder, Chunk::Zeros(len), at);
                                assert!(zeros == (bytes.clone(), frame), "{at}");
                            }
                        }
                    }
                }
            }
        }
    }

    fn codec_zero(raw: &[u8]) -> bool {
        raw.iter().all(|&byte| byte == 0)
    }

    /// The web allows windows of 8 MiB (RFC 9659).
    #[test]
    fn no_window_is_longer_than_the_web_allows() {
        // Some of it doesn't compress, and all of it is soon looked through.
        let mut raw = vec![7; 16 << 20];
        raw[..1 << 20].copy_from_slice(&noise(1 << 20));
        let stored = encode(&mut Encoder::new(CodecKind::Store, 0), &raw).0;
        let zstd::Front::Content(front) = zstd::front(&stored) else { panic!() };
        assert_eq!(front.window, 8 << 20);
        for level in [1, 22] {
            let mut encoder = Encoder::new(CodecKind::Zstd, level);
            let (plain, _) = encode(&mut encoder, &raw);
            let (filled, _) = encode_filled(&mut encoder, Chunk::Bytes(&raw), 0);
            for bytes in [plain, filled] {
                let zstd::Front::Content(front) = zstd::front(&bytes) else { panic!() };
                assert!(front.window <= 8 << 20, "level {level}: {}", front.window);
                let mut back = vec![0; raw.len()];
                Decoder::new().unwrap().decode(&bytes, &mut back).unwrap();
                assert!(back == raw, "level {level}");
            }
        }
    }

    #[test]
    fn c2_c3_round_trip_within_the_bound() {
        for (kind, level) in CODECS {
            let mut encoder = Encoder::new(kind, level);
            let mut decoder = Decoder::new().unwrap();
            for len in [0, 1, 255, 256, 65_535, 65_536, 200_000] {
                for raw in [sample(len, 5), noise(len), vec![0; len]] {
                    let (bytes, frame) = encode(&mut encoder, &raw);
                    assert!(frame.len <= store_len(len), "{kind:?} {level} {len}");
                    assert_eq!((frame.raw_crc32c, frame.raw_len), (crc32c(&raw), len));
                    let mut back = vec![0; len];
                    decoder.decode(&bytes, &mut back).unwrap();
                    assert!(back == raw);
                }
            }
        }
    }

    #[test]
    fn c1_a_frame_does_not_remember_what_came_before() {
        for (kind, level) in CODECS {
            let raw = sample(300_000, 7);
            let (alone, _) = encode(&mut Encoder::new(kind, level), &raw);
            let mut used = Encoder::new(kind, level);
            for seed in 1..20 {
                encode(&mut used, &sample(300_000 - 11 * seed as usize, seed));
                assert!(encode(&mut used, &raw).0 == alone, "{kind:?} {level} after {seed}");
            }
        }
    }

    #[test]
    fn c1_zeros_out_of_the_cache_are_zeros_encoded() {
        for (kind, level) in CODECS {
            let mut encoder = Encoder::new(kind, level);
            for len in [65_536, 65_536, 100, 65_536] {
                let plain = encode(&mut Encoder::new(kind, level), &vec![0; len]);
                let mut out = vec![0xEE; encode_room(len)];
                let frame = encoder.encode(Chunk::Zeros(len), None, &mut out).unwrap();
                out.truncate(frame.len);
                assert_eq!((out, frame), plain);
            }
        }
    }

    #[test]
    fn c3_a_frame_of_another_length_gives_nothing_out() {
        let (bytes, _) = encode(&mut Encoder::new(CodecKind::Zstd, 1), &sample(1000, 3));
        let mut decoder = Decoder::new().unwrap();
        for len in [0, 999, 1001] {
            let refused = decoder.decode(&bytes, &mut vec![0; len]).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Damaged);
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let mut out = vec![0; 1000];
            let result = decoder.decode(&flipped, &mut out);
            assert!(result.is_err() || out == sample(1000, 3), "byte {at}");
        }
    }

    #[test]
    fn zero_runs_of_any_length_are_told() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|&at| at < len) {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
