//! Frames: the Zstandard frames that hold chunks, and the skippable ones that pad.
//!
//! A chunk's frame is made by libzstd or, for `store`, here: raw blocks of 128 KiB between a
//! header that states the content size and the low half of the content's XXH64. A pad fills the
//! rest of a slot; its body is zeros, so that it may be a hole.
//!
//! ```text
//! store:  28 B5 2F FD | descriptor | (window, above 8 MiB) | content size (1, 2 or 4 bytes)
//!         | { 3-byte block header, raw bytes }* | low half of XXH64 (4 bytes)
//! pad:    5C 2A 4D 18 | len u32 | 2 | zeros
//! ```

use std::hash::Hasher;

use super::{Cursor, Decoded, FormatError, Subtype};
use crate::limits::{STORE_BLOCK_BYTES, WINDOW_LOG_MAX, WINDOW_LOG_WRITTEN_MAX};

/// Magic number of a Zstandard frame (RFC 8878, 3.1.1).
pub const ZSTD_MAGIC: u32 = 0xFD2F_B528;

/// Low half of the XXH64 of nothing: what the seek table states for frames without content.
pub const XXH_EMPTY: u32 = 0x51D8_E999;

/// The low half of the XXH64 of `content`: a frame's last four bytes.
#[must_use]
pub fn xxh64_low(content: &[u8]) -> u32 {
    let mut hasher = twox_hash::XxHash64::with_seed(0);
    hasher.write(content);
    hasher.finish() as u32
}

/// Length of the `store` frame of `raw_len` bytes: never more than 13 bytes and 3 a block over.
///
/// `raw_len` is at most 2^26, the largest chunk.
#[must_use]
pub const fn store_len(raw_len: usize) -> usize {
    let window_len = if is_windowed(raw_len) { 1 } else { 0 };
    4 + 1 + window_len + content_size_len(raw_len) + store_blocks_len(raw_len) + 4
}

/// Length of the raw blocks of `raw_len` bytes.
#[must_use]
pub const fn store_blocks_len(raw_len: usize) -> usize {
    let blocks = if raw_len == 0 { 1 } else { raw_len.div_ceil(STORE_BLOCK_BYTES) };
    3 * blocks + raw_len
}

/// Whether a frame of ours states a window, since its content would be too long a one.
#[must_use]
pub const fn is_windowed(raw_len: usize) -> bool {
    raw_len > 1 << WINDOW_LOG_WRITTEN_MAX
}

/// Bytes that the frame header gives to the content size, as libzstd chooses them.
const fn content_size_len(raw_len: usize) -> usize {
    match raw_len {
        0..256 => 1,
        256..65_792 => 2,
        _ => 4,
    }
}

/// Writes the `store` frame of `raw` to the front of `out` and returns its length, or `None` where
/// `out` is shorter than [`store_len`].
#[must_use]
pub fn encode_store(raw: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer { rest: out, written: 0 };
    writer.put(&ZSTD_MAGIC.to_le_bytes())?;
    // Descriptor: single segment (0x20), content checksum (0x04), content size flag above.
    match content_size_len(raw.len()) {
        _ if is_windowed(raw.len()) => {
            writer.put(&[0x84, ((WINDOW_LOG_WRITTEN_MAX - 10) << 3) as u8])?;
            writer.put(&(raw.len() as u32).to_le_bytes())?;
        }
        1 => writer.put(&[0x24, raw.len() as u8])?,
        2 => {
            writer.put(&[0x64])?;
            writer.put(&((raw.len() - 256) as u16).to_le_bytes())?;
        }
        _ => {
            writer.put(&[0xA4])?;
            writer.put(&(raw.len() as u32).to_le_bytes())?;
        }
    }
    let written = encode_store_blocks(raw, true, writer.rest)?;
    let mut writer =
        Writer { rest: writer.rest.get_mut(written..)?, written: writer.written + written };
    writer.put(&xxh64_low(raw).to_le_bytes())?;
    Some(writer.written)
}

/// Writes the raw blocks of `raw` to the front of `out`, the last of them marked as such where they
/// end a frame, and returns their length; `None` where `out` is shorter.
#[must_use]
pub fn encode_store_blocks(raw: &[u8], end: bool, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer { rest: out, written: 0 };
    let mut blocks = raw.chunks(STORE_BLOCK_BYTES).peekable();
    if raw.is_empty() {
        writer.put(&[u8::from(end), 0, 0])?;
    }
    while let Some(block) = blocks.next() {
        let last = u32::from(end && blocks.peek().is_none());
        // Block header: size << 3 | type 0 (raw) << 1 | last, in three bytes.
        let [a, b, c, _] = ((block.len() as u32) << 3 | last).to_le_bytes();
        writer.put(&[a, b, c])?;
        writer.put(block)?;
    }
    Some(writer.written)
}

struct Writer<'a> {
    rest: &'a mut [u8],
    written: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let (front, rest) = std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len())?;
        front.copy_from_slice(bytes);
        self.rest = rest;
        self.written += bytes.len();
        Some(())
    }
}

/// The last four bytes of a frame: its content checksum.
#[must_use]
pub fn content_checksum(frame: &[u8]) -> Option<u32> {
    frame.last_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// What a Zstandard frame's header states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Length of the content in bytes.
    pub content_size: u64,
}

impl FrameHeader {
    /// Reads the header at the front of `frame`, requiring what the format requires of a chunk's
    /// frame: a stated content size, a content checksum, no dictionary, a window of at most
    /// 2^[`WINDOW_LOG_MAX`].
    ///
    /// # Errors
    /// `Damaged` where it is no Zstandard frame or doesn't meet these.
    pub fn decode(frame: &[u8]) -> Decoded<Self> {
        let mut cursor = Cursor::new(frame);
        if cursor.u32()? != ZSTD_MAGIC {
            return Err(FormatError::damaged("no Zstandard frame stands here"));
        }
        let descriptor = cursor.u8()?;
        let (size_flag, single_segment) = (descriptor >> 6, descriptor & 0x20 != 0);
        if descriptor & 0x08 != 0 || descriptor & 0x03 != 0 {
            return Err(FormatError::damaged("the frame uses a dictionary or a reserved bit"));
        }
        if descriptor & 0x04 == 0 {
            return Err(FormatError::damaged("the frame has no content checksum"));
        }
        if !single_segment {
            let window = cursor.u8()?;
            if u32::from(window >> 3) + 10 > WINDOW_LOG_MAX {
                return Err(FormatError::damaged("the frame asks for too large a window"));
            }
        }
        let content_size = match (size_flag, single_segment) {
            (0, false) => return Err(FormatError::damaged("the frame states no content size")),
            (0, true) => cursor.u8()?.into(),
            (1, _) => u64::from(cursor.u16()?) + 256,
            (2, _) => cursor.u32()?.into(),
            _ => cursor.u64()?,
        };
        if single_segment && content_size > 1 << WINDOW_LOG_MAX {
            return Err(FormatError::damaged("the frame asks for too large a window"));
        }
        Ok(Self { content_size })
    }
}

/// The first bytes of a pad of `len` bytes in all; the rest of it is zeros. A pad of 8 bytes has
/// no payload, so no subtype. `None` for a length that no pad has.
#[must_use]
pub fn pad_prefix(len: u64) -> Option<PadPrefix> {
    let payload = u32::try_from(len.checked_sub(8)?).ok()?;
    let mut bytes = [0; 9];
    let (front, subtype) = bytes.split_at_mut(8);
    front.copy_from_slice(&super::skippable_prefix(payload));
    subtype.fill(Subtype::Pad as u8);
    Some(PadPrefix { bytes, len: if payload == 0 { 8 } else { 9 } })
}

/// The eight or nine bytes that open a pad.
#[derive(Clone, Copy, Debug)]
pub struct PadPrefix {
    bytes: [u8; 9],
    len: usize,
}

impl AsRef<[u8]> for PadPrefix {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Whether `bytes` are exactly the pad of their length, zeros included; no bytes are the pad of
/// length 0.
#[must_use]
pub fn is_pad(bytes: &[u8]) -> bool {
    bytes.is_empty() || opens_pad(bytes, bytes.len() as u64)
}

/// Whether `bytes`, its prefix at least, open a pad of `pad_len` bytes, zeros included.
#[must_use]
pub fn opens_pad(bytes: &[u8], pad_len: u64) -> bool {
    let Some(prefix) = pad_prefix(pad_len) else {
        return false;
    };
    match bytes.strip_prefix(prefix.as_ref()) {
        Some(body) => body.iter().all(|&byte| byte == 0),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::every_flipped_bit;

    fn store(raw: &[u8]) -> Vec<u8> {
        let mut out = vec![0xEE; store_len(raw.len())];
        assert_eq!(encode_store(raw, &mut out), Some(out.len()));
        out
    }

    #[test]
    fn golden_bytes() {
        // The empty frame as docs/FORMAT.md gives it.
        let empty = [0x28, 0xB5, 0x2F, 0xFD, 0x24, 0, 1, 0, 0, 0x99, 0xE9, 0xD8, 0x51];
        assert_eq!(store(b""), empty);
        // "abc": XXH64 is 0x44BC2CF5AD770999 (the reference implementation's known answer).
        let abc = [0x28, 0xB5, 0x2F, 0xFD, 0x24, 3, 0x19, 0, 0, b'a', b'b', b'c'];
        assert_eq!(store(b"abc"), [&abc[..], &[0x99, 0x09, 0x77, 0xAD]].concat());
        assert_eq!(xxh64_low(b""), XXH_EMPTY);
        // 37 bytes over a MiB, as the format promises.
        assert_eq!(store_len(1 << 20), (1 << 20) + 37);
    }

    #[test]
    fn f2_stock_libzstd_reads_every_store_frame() {
        for len in
            [0, 1, 255, 256, 65_791, 65_792, 131_071, 131_072, 131_073, 1 << 20, (1 << 23) + 1]
        {
            let raw: Vec<u8> = (0..len).map(|i| (i * 31 / 7) as u8).collect();
            let frame = store(&raw);
            let mut back = vec![0; len];
            let got = zstd::bulk::decompress_to_buffer(&frame, &mut back[..]).unwrap();
            assert!(got == len && back == raw, "{len} bytes");
            let header = FrameHeader::decode(&frame).unwrap();
            assert_eq!(header.content_size, len as u64);
            assert_eq!(content_checksum(&frame), Some(xxh64_low(&raw)));
        }
    }

    #[test]
    fn too_short_an_output_is_told() {
        for len in 0..store_len(300) {
            assert_eq!(encode_store(&[7; 300], &mut vec![0; len]), None);
        }
    }

    #[test]
    fn pads() {
        assert!(pad_prefix(7).is_none());
        assert_eq!(pad_prefix(8).unwrap().as_ref(), [0x5C, 0x2A, 0x4D, 0x18, 0, 0, 0, 0]);
        assert_eq!(pad_prefix(10).unwrap().as_ref(), [0x5C, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 2]);
        assert!(pad_prefix(u64::from(u32::MAX) + 9).is_none());
    }

    #[test]
    fn f3_a_pad_with_any_bit_flipped_is_no_pad() {
        for len in [8u64, 9, 100] {
            let mut pad = pad_prefix(len).unwrap().as_ref().to_vec();
            pad.resize(len as usize, 0);
            assert!(is_pad(&pad));
            every_flipped_bit(&pad, |bytes| !is_pad(bytes));
        }
        assert!(is_pad(b"") && !is_pad(&[0; 7]) && !is_pad(&[0; 64]));
    }

    #[test]
    fn f1_frame_headers_that_the_format_forbids() {
        let refused = |bytes: &[u8]| FrameHeader::decode(bytes).unwrap_err().to_string();
        let with = |descriptor: u8, rest: &[u8]| {
            [&ZSTD_MAGIC.to_le_bytes()[..], &[descriptor], rest].concat()
        };
        assert!(refused(b"PK\x03\x04").contains("no Zstandard frame"));
        assert!(refused(&with(0x25, &[0, 0])).contains("dictionary"));
        assert!(refused(&with(0x20, &[0])).contains("no content checksum"));
        assert!(refused(&with(0x04, &[0])).contains("no content size"));
        assert!(refused(&with(0x84, &[18 << 3, 0, 0, 0, 0])).contains("window"));
        assert!(refused(&with(0xE4, &[0xFF; 8])).contains("window"));
        assert!(refused(&with(0xA4, &[0, 0])).contains("cut short"));
    }
}
