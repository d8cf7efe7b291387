//! What the bytes at a frame's start say, of any Zstandard frame and not just of ours.
//!
//! Ours state their content size and bear a checksum; others needn't, so everything optional in
//! RFC 8878 is optional here. The legacy formats from before version 0.8 are none of these.

use super::frame::ZSTD_MAGIC;

/// Most bytes that a frame's header takes (RFC 8878, 3.1.1.1, the magic number included).
pub const FRONT_LEN_MAX: usize = 18;

/// Most content of one block, and so most bytes of one that is raw or compressed.
const BLOCK_BYTES_MAX: u64 = 128 << 10;

/// The first of the sixteen magic numbers of skippable frames.
const SKIPPABLE_FIRST: u32 = 0x184D_2A50;

/// What a frame starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Front {
    /// A Zstandard frame.
    Content(ContentFront),
    /// A frame to be passed over: its magic number, and its length in all.
    Skippable(u32, u64),
    /// The bytes end within it.
    Short,
    /// A Zstandard frame with a bit set that has no meaning yet.
    Reserved,
    /// Something else.
    Other,
}

/// What a Zstandard frame states of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentFront {
    /// Bytes of the header, the magic number included.
    pub len: u64,
    /// Bytes of content, where it says.
    pub content_size: Option<u64>,
    /// Bytes that a decoder has to remember.
    pub window: u64,
    /// Whether the last four bytes are the content's checksum.
    pub checksum: bool,
    /// The dictionary's number; 0 for none.
    pub dictionary: u32,
}

/// Whether this is the magic number of a skippable frame, anyone's.
#[must_use]
pub fn is_skippable(magic: u32) -> bool {
    magic & !0xF == SKIPPABLE_FIRST
}

/// Reads what stands at the front of `bytes`, which are [`FRONT_LEN_MAX`] or all there are.
#[must_use]
pub fn front(bytes: &[u8]) -> Front {
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        // Too few to tell; the first bytes of a magic number may be its start.
        let starts = |magic: u32| magic.to_le_bytes().starts_with(bytes);
        let could_be = starts(ZSTD_MAGIC) || (0..16).any(|i| starts(SKIPPABLE_FIRST + i));
        return if could_be { Front::Short } else { Front::Other };
    };
    let magic = u32::from_le_bytes(*magic);
    if is_skippable(magic) {
        return match rest.first_chunk::<4>() {
            Some(len) => Front::Skippable(magic, 8 + u64::from(u32::from_le_bytes(*len))),
            None => Front::Short,
        };
    }
    if magic != ZSTD_MAGIC {
        return Front::Other;
    }
    content_front(rest)
}

fn content_front(rest: &[u8]) -> Front {
    let Some((&descriptor, mut rest)) = rest.split_first() else { return Front::Short };
    if descriptor & 0x08 != 0 {
        return Front::Reserved;
    }
    let single_segment = descriptor & 0x20 != 0;
    let dictionary_len = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied().unwrap_or(0);
    let size_len = match descriptor >> 6 {
        0 => usize::from(single_segment),
        flag => 1 << flag,
    };
    let len = 5 + usize::from(!single_segment) + dictionary_len + size_len;
    let mut take = |count: usize| -> Option<u64> {
        let (front, behind) = rest.split_at_checked(count)?;
        rest = behind;
        Some(front.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    let fields = (|| {
        let window = if single_segment { 0 } else { take(1)? };
        Some((window, take(dictionary_len)?, take(size_len)?))
    })();
    let Some((window, dictionary, size)) = fields else { return Front::Short };
    let base = 1u64 << (10 + (window >> 3));
    let size = if size_len == 2 { size + 256 } else { size };
    let window = if single_segment { size } else { base + base / 8 * (window & 7) };
    // To libzstd, the largest number of all says that the size isn't known.
    let content_size = Some(size).filter(|&size| size_len > 0 && size != u64::MAX);
    Front::Content(ContentFront {
        len: len as u64,
        content_size,
        window,
        checksum: descriptor & 0x04 != 0,
        dictionary: dictionary as u32,
    })
}

/// A block as its header tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its length in the file, header included.
    pub len: u64,
    /// Whether it is the frame's last.
    pub last: bool,
    /// Bytes of content, of one that isn't compressed.
    pub content_size: Option<u64>,
}

/// Reads a block's header; `None` where no block has such a one.
#[must_use]
pub fn block(bytes: [u8; 3]) -> Option<Block> {
    let [a, b, c] = bytes;
    let header = u32::from_le_bytes([a, b, c, 0]);
    let size = u64::from(header >> 3);
    let (body, content_size) = match header >> 1 & 3 {
        0 if size <= BLOCK_BYTES_MAX => (size, Some(size)),
        1 if size <= BLOCK_BYTES_MAX => (1, Some(size)),
        2 if size <= BLOCK_BYTES_MAX => (size, None),
        _ => return None,
    };
    Some(Block { len: 3 + body, last: header & 1 != 0, content_size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(rest: &[u8]) -> Vec<u8> {
        [&ZSTD_MAGIC.to_le_bytes()[..], rest].concat()
    }

    #[test]
    fn fo1_what_a_header_may_state() {
        let plain = ContentFront {
            len: 6,
            content_size: None,
            window: 1 << 10,
            checksum: false,
            dictionary: 0,
        };
        // Descriptor: size flag << 6 | single segment << 5 | checksum << 2 | dictionary flag.
        let table: [(&[u8], ContentFront); 6] = [
            (&[0, 0], plain),
            (&[4, 17 << 3 | 4], ContentFront { window: 192 << 20, checksum: true, ..plain }),
            (&[0x20, 9], ContentFront { content_size: Some(9), window: 9, ..plain }),
            (&[0x40, 0, 1, 0], ContentFront { len: 8, content_size: Some(257), ..plain }),
            (
                &[0xC0, 0, 0, 0, 0, 0, 0, 0, 4, 0],
                ContentFront { len: 14, content_size: Some(4 << 48), ..plain },
            ),
            (&[3, 0, 7, 0, 0, 1], ContentFront { len: 10, dictionary: 7 | 1 << 24, ..plain }),
        ];
        for (rest, expected) in table {
            assert_eq!(front(&with(rest)), Front::Content(expected), "{rest:?}");
            for cut in 1..4 + rest.len() {
                assert_eq!(front(&with(rest)[..cut]), Front::Short, "{rest:?} cut at {cut}");
            }
        }
        assert_eq!(front(&with(&[8, 0])), Front::Reserved);
        assert_eq!(front(&[0x5E, 0x2A, 0x4D, 0x18, 9, 0, 0, 0]), Front::Skippable(0x184D_2A5E, 17));
        for other in [&b"PK\x03\x04"[..], b"x", &[0; 18]] {
            assert_eq!(front(other), Front::Other, "{other:?}");
        }
        assert_eq!(front(b""), Front::Short);
    }

    #[test]
    fn fo1_blocks() {
        let bytes = |header: u32| {
            let [a, b, c, _] = header.to_le_bytes();
            [a, b, c]
        };
        let stored = Block { len: 103, last: false, content_size: Some(100) };
        assert_eq!(block(bytes(100 << 3)), Some(stored));
        let repeated = Block { len: 4, last: true, ..stored };
        assert_eq!(block(bytes(100 << 3 | 1 << 1 | 1)), Some(repeated));
        let compressed = Block { content_size: None, ..stored };
        assert_eq!(block(bytes(100 << 3 | 2 << 1)), Some(compressed));
        assert_eq!(block(bytes(100 << 3 | 3 << 1)), None);
        assert_eq!(block(bytes((128 << 10 | 1) << 3)), None);
    }
}
