//! The seek table: the standard one of the Zstandard Seekable Format, for every other reader.
//!
//! It has no offsets, only lengths to be summed, so each byte of the file before it belongs to
//! some entry: the chunks' frames first, then the header's copy, the index frames, the member index
//! and the header, without content. The rest of a slot counts into the entry of its frame.
//!
//! ```text
//! 5E 2A 4D 18 | size u32 | entries × { compressed u32, decompressed u32, checksum u32 }
//!             | entries u32 | 0x80 | B1 EA 92 8F
//! ```

use super::{Cursor, Decoded, FormatError};
use crate::limits::SEEK_TABLE_ENTRIES_MAX;

/// Magic number of the skippable frame that the table is.
pub const TABLE_MAGIC: u32 = 0x184D_2A5E;
/// Magic number that ends the file.
pub const FOOTER_MAGIC: u32 = 0x8F92_EAB1;
/// Length of an entry with checksum, in bytes.
pub const ENTRY_LEN: usize = 12;
/// Length of the footer, in bytes.
pub const FOOTER_LEN: usize = 9;

/// The descriptor byte: entries have checksums, reserved bits are zero.
const DESCRIPTOR: u8 = 0x80;

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Bytes in the file, at least 1.
    pub compressed: u32,
    /// Bytes of content.
    pub decompressed: u32,
    /// Low half of the XXH64 of the content.
    pub checksum: u32,
}

impl Entry {
    /// The entry of `compressed` bytes that hold no content.
    #[must_use]
    pub fn without_content(compressed: u32) -> Self {
        Self { compressed, decompressed: 0, checksum: super::frame::XXH_EMPTY }
    }

    /// The entry as it stands in the table.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        let fields = [self.compressed, self.decompressed, self.checksum];
        for (slot, field) in bytes.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

/// Length of the table of `entries` entries, in bytes.
#[must_use]
pub const fn table_len(entries: u64) -> u64 {
    8 + entries * ENTRY_LEN as u64 + FOOTER_LEN as u64
}

/// The bytes before the first entry. `entries` is at most [`SEEK_TABLE_ENTRIES_MAX`].
#[must_use]
pub fn encode_prefix(entries: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    let (magic, size) = bytes.split_at_mut(4);
    magic.copy_from_slice(&TABLE_MAGIC.to_le_bytes());
    size.copy_from_slice(&((table_len(entries) - 8) as u32).to_le_bytes());
    bytes
}

/// The bytes after the last entry.
#[must_use]
pub fn encode_footer(entries: u64) -> [u8; FOOTER_LEN] {
    let mut bytes = [0; FOOTER_LEN];
    let (count, rest) = bytes.split_at_mut(4);
    count.copy_from_slice(&(entries as u32).to_le_bytes());
    let (descriptor, magic) = rest.split_at_mut(1);
    descriptor.fill(DESCRIPTOR);
    magic.copy_from_slice(&FOOTER_MAGIC.to_le_bytes());
    bytes
}

/// Number of entries that the footer at the end of `bytes` states.
///
/// # Errors
/// `Damaged` where no footer of ours stands there.
pub fn decode_footer(bytes: &[u8]) -> Decoded<u64> {
    let missing = || FormatError::damaged("the file doesn't end with a seek table");
    let footer = bytes.last_chunk::<FOOTER_LEN>().ok_or_else(missing)?;
    let mut cursor = Cursor::new(footer);
    let entries = u64::from(cursor.u32()?);
    if cursor.u8()? != DESCRIPTOR || cursor.u32()? != FOOTER_MAGIC {
        return Err(missing());
    }
    if entries > SEEK_TABLE_ENTRIES_MAX {
        return Err(FormatError::damaged("the seek table has too many entries"));
    }
    Ok(entries)
}

/// Reads a table that fills `bytes` exactly.
///
/// # Errors
/// `Damaged` where the prefix, the footer and the length don't agree.
pub fn decode(bytes: &[u8]) -> Decoded<Vec<Entry>> {
    let count = decode_footer(bytes)?;
    // F1: the count is bounded by the bytes before anything is allocated for it.
    if table_len(count) != bytes.len() as u64 {
        return Err(FormatError::damaged("the seek table has another length than it states"));
    }
    let mut cursor = Cursor::new(bytes);
    if cursor.array()? != encode_prefix(count) {
        return Err(FormatError::damaged("no seek table stands here"));
    }
    (0..count)
        .map(|_| {
            Ok(Entry {
                compressed: cursor.u32()?,
                decompressed: cursor.u32()?,
                checksum: cursor.u32()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::every_truncation;

    fn encode(entries: &[Entry]) -> Vec<u8> {
        let count = entries.len() as u64;
        let body: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
        [&encode_prefix(count)[..], &body, &encode_footer(count)].concat()
    }

    fn sample() -> Vec<Entry> {
        vec![
            Entry::without_content(4096),
            Entry { compressed: 0x0102_0304, decompressed: 5, checksum: 0xAABB_CCDD },
        ]
    }

    #[test]
    fn golden_bytes() {
        let expected = [
            &[0x5E, 0x2A, 0x4D, 0x18, 33, 0, 0, 0][..],
            &[0, 0x10, 0, 0, 0, 0, 0, 0, 0x99, 0xE9, 0xD8, 0x51],
            &[4, 3, 2, 1, 5, 0, 0, 0, 0xDD, 0xCC, 0xBB, 0xAA],
            &[2, 0, 0, 0, 0x80, 0xB1, 0xEA, 0x92, 0x8F],
        ]
        .concat();
        assert_eq!(encode(&sample()), expected);
        assert_eq!(expected.len() as u64, table_len(2));
    }

    #[test]
    fn f2_round_trip() {
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
        assert_eq!(decode(&encode(&[])), Ok(vec![]));
    }

    #[test]
    fn f1_every_truncation_and_wild_counts() {
        let bytes = encode(&sample());
        every_truncation(&bytes, |bytes| decode(bytes).is_err());
        for count in [0u32, 1, 3, 1 << 27, (1 << 27) + 1, u32::MAX] {
            let mut bytes = bytes.clone();
            let at = bytes.len() - FOOTER_LEN;
            bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
            assert!(decode(&bytes).is_err(), "{count}");
        }
    }

    /// The table has no checksum of its own: a flipped entry is found by comparison with the
    /// index (see `layout`), so here only the frame around the entries can be attacked (F3).
    #[test]
    fn f3_every_flipped_bit_changes_what_is_read() {
        crate::format::tests::every_flipped_bit(&encode(&sample()), |bytes| {
            decode(bytes) != Ok(sample())
        });
    }
}
