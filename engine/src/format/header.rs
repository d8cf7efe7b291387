//! The header: 256 bytes that say what the container is and where its parts are.
//!
//! It stands behind the index, right before the seek table, so that whoever reads the end of the
//! file has it; and nothing stands before the content, which any Zstandard reader finds at once.
//! Above 64 MiB of content a copy stands before the index too, for salvage.
//!
//! ```text
//!   0  5C 2A 4D 18   4  F8 00 00 00   8  "RINGPACK"  16  major u16  18  minor u16
//!  20  flags u32  24  ignorable flags u32  28  chunk_log2 u8  29  codec u8  30  placement u16
//!  32  level i32  36  libzstd version u32  40  extent_chunks u16  42  zero u16  44  align u32
//!  48  content_size  56  chunk_count  64  data_end  72  index_offset  80  index_len
//!  88  table_offset  96  file_size  104  slot_len  112  members_len  120  member_count  (u64 each)
//! 128  content_crc32c u32  132  digest kind u32  136  digest [32]
//! 168 … zero  252  crc32c u32
//! ```

use super::{Cursor, Decoded, FormatError, skippable_prefix};
use crate::checksum::crc32c;
use crate::limits::{ALIGN, CHUNK_LOG2_MAX, CHUNK_LOG2_MIN, HEADER_LEN};

/// What stands at offset 8.
pub const MAGIC: [u8; 8] = *b"RINGPACK";
/// The format's major version. A reader refuses any other.
pub const MAJOR: u16 = 2;
/// The format's minor version. A reader accepts any.
pub const MINOR: u16 = 0;

/// The flag that a reader must know of a container with a member index: the tail is longer by it.
const FLAG_MEMBERS: u32 = 1;

/// How chunks become frames.
///
/// ```
/// use ringpack::{CodecKind, ContainerReader};
/// # use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # let bytes = writer.finalize()?;
/// let reader = ContainerReader::from_source(bytes)?;
/// assert_eq!(reader.header().codec, CodecKind::Zstd);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum CodecKind {
    /// Raw blocks.
    Store = 0,
    /// Zstandard compression.
    Zstd = 1,
}

impl CodecKind {
    pub(super) fn decode(byte: u8) -> Decoded<Self> {
        match byte {
            0 => Ok(Self::Store),
            1 => Ok(Self::Zstd),
            other => Err(unknown("codec", other.into())),
        }
    }
}

/// Where frames stand.
///
/// ```
/// use ringpack::PlacementKind;
/// use ringpack::write::WriteOptions;
///
/// let shorter = WriteOptions { placement: PlacementKind::Dense, ..WriteOptions::default() };
/// # let _ = shorter;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[repr(u16)]
pub enum PlacementKind {
    /// Each extent starts where the one before it ends.
    #[default]
    Dense = 0,
    /// Each chunk has a slot of a fixed length of its own.
    Slots = 1,
}

impl PlacementKind {
    pub(super) fn decode(number: u16) -> Decoded<Self> {
        match number {
            0 => Ok(Self::Dense),
            1 => Ok(Self::Slots),
            other => Err(unknown("placement", other.into())),
        }
    }
}

/// A digest of the whole content.
///
/// ```
/// use ringpack::{ContainerReader, Digest};
/// # use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # let bytes = writer.finalize()?;
/// let reader = ContainerReader::from_source(bytes)?;
/// match &reader.header().digest {
///     Digest::Blake3(digest) => println!("{digest:02x?}"),
///     Digest::None => println!("no digest was made"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Digest {
    /// None was asked for.
    None,
    /// BLAKE3: the 32 bytes that `b3sum` prints.
    Blake3([u8; 32]),
}

impl Digest {
    /// Its hexadecimal digits, as `b3sum` prints them, if one was made.
    #[must_use]
    pub fn hex(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Blake3(digest) => Some(digest.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }
}

/// `null`, or the name of the digest with its hexadecimal digits.
#[cfg(feature = "serde")]
impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;

        let Some(digits) = self.hex() else { return serializer.serialize_none() };
        let mut digests = serializer.serialize_map(Some(1))?;
        digests.serialize_entry("blake3", &digits)?;
        digests.end()
    }
}

/// The header's fields. Sizes are in bytes, offsets from the container's start.
///
/// ```
/// use ringpack::{ContainerReader};
/// # use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # let bytes = writer.finalize()?;
/// let reader = ContainerReader::from_source(bytes)?;
/// let header = reader.header();
/// assert_eq!((header.content_size, header.chunk_count), (17, 1));
/// assert_eq!(header.chunk_len(), 1 << 20);
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Header {
    /// Chunk length as a power of two, 16 to 26.
    pub chunk_log2: u8,
    /// How chunks became frames.
    pub codec: CodecKind,
    /// Compression level, 0 for `store`.
    pub level: i32,
    /// The libzstd that encoded, as `ZSTD_versionNumber` gives it.
    pub zstd_version: u32,
    /// Where frames stand.
    pub placement: PlacementKind,
    /// Chunks an extent holds, at least 1.
    pub extent_chunks: u16,
    /// Length of the content.
    pub content_size: u64,
    /// Number of chunks; an empty content has one, of length 0.
    pub chunk_count: u64,
    /// End of the last extent.
    pub data_end: u64,
    /// Start of the index: `data_end`, or [`HEADER_LEN`] behind it where a copy of the header
    /// stands between.
    pub index_offset: u64,
    /// Length of all index frames together.
    pub index_len: u64,
    /// Start of the seek table, 0 where there is none.
    pub table_offset: u64,
    /// Length of the container.
    pub file_size: u64,
    /// Length of a slot, 0 for `dense`.
    pub slot_len: u64,
    /// CRC32C of the whole content.
    pub content_crc32c: u32,
    /// Digest of the whole content.
    pub digest: Digest,
    /// Length of the member index, 0 where there is none.
    pub members_len: u64,
    /// Number of members it names.
    pub member_count: u64,
}

impl Header {
    /// Length of a chunk in bytes; the last one may be shorter.
    #[must_use]
    pub fn chunk_len(&self) -> u64 {
        1 << self.chunk_log2
    }

    /// The header as it stands in the file.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let (digest_kind, digest) = match self.digest {
            Digest::None => (0u32, [0; 32]),
            Digest::Blake3(digest) => (1, digest),
        };
        let flags = if self.members_len > 0 { FLAG_MEMBERS } else { 0 };
        let mut fields = Vec::with_capacity(HEADER_LEN);
        fields.extend(skippable_prefix((HEADER_LEN - 8) as u32));
        fields.extend(MAGIC);
        fields.extend(MAJOR.to_le_bytes());
        fields.extend(MINOR.to_le_bytes());
        fields.extend(flags.to_le_bytes());
        fields.extend([0; 4]); // ignorable flags
        fields.extend([self.chunk_log2, self.codec as u8]);
        fields.extend((self.placement as u16).to_le_bytes());
        fields.extend(self.level.to_le_bytes());
        fields.extend(self.zstd_version.to_le_bytes());
        fields.extend(self.extent_chunks.to_le_bytes());
        fields.extend([0; 2]);
        fields.extend((ALIGN as u32).to_le_bytes());
        for size in [
            self.content_size,
            self.chunk_count,
            self.data_end,
            self.index_offset,
            self.index_len,
            self.table_offset,
            self.file_size,
            self.slot_len,
            self.members_len,
            self.member_count,
        ] {
            fields.extend(size.to_le_bytes());
        }
        fields.extend(self.content_crc32c.to_le_bytes());
        fields.extend(digest_kind.to_le_bytes());
        fields.extend(digest);
        fields.resize(HEADER_LEN - 4, 0);
        let crc = crc32c(&fields);
        let mut bytes = [0; HEADER_LEN];
        let (body, tail) = bytes.split_at_mut(HEADER_LEN - 4);
        body.copy_from_slice(&fields);
        tail.copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Where it ends in its container, as it says itself: at the seek table, or at the end where
    /// there is none. Its start is [`HEADER_LEN`] before.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        if self.table_offset == 0 { self.file_size } else { self.table_offset }
    }

    /// Whether these bytes begin as a header does, by the frame's length and its magic.
    #[must_use]
    pub fn opens(bytes: &[u8]) -> bool {
        let rest = bytes.strip_prefix(&skippable_prefix((HEADER_LEN - 8) as u32));
        rest.is_some_and(|rest| rest.starts_with(&MAGIC))
    }

    /// Reads a header, checking its checksum and the range of each field, but not whether the sizes
    /// fit a file: see [`super::layout`].
    ///
    /// # Errors
    /// `Foreign` without our magic, `Damaged` where the checksum or a field is wrong,
    /// `Unsupported` for an intact header of another version or with an unknown required feature.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let foreign = || FormatError::foreign("not a ringpack container");
        let mut cursor = Cursor::new(bytes);
        let prefix = cursor.array::<8>().map_err(|_| foreign())?;
        if prefix != skippable_prefix((HEADER_LEN - 8) as u32)
            || cursor.array().map_err(|_| foreign())? != MAGIC
        {
            return Err(foreign());
        }
        let body = bytes.get(..HEADER_LEN - 4);
        let stated = bytes.get(HEADER_LEN - 4..HEADER_LEN);
        let (Some(body), Some(stated)) = (body, stated) else {
            return Err(FormatError::damaged("the header is cut short"));
        };
        if crc32c(body).to_le_bytes() != stated {
            return Err(FormatError::damaged("the header doesn't match its checksum"));
        }
        let (major, minor) = (cursor.u16()?, cursor.u16()?);
        if major != MAJOR {
            return Err(FormatError::unsupported(format!(
                "format version {major}.{minor} is not known to this build, which reads {MAJOR}.x"
            )));
        }
        let flags = cursor.u32()?;
        if flags & !FLAG_MEMBERS != 0 {
            return Err(unknown("required flags", flags.into()));
        }
        let _ignorable = cursor.u32()?;
        let chunk_log2 = cursor.u8()?;
        if !(CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX).contains(&chunk_log2) {
            return Err(unknown("chunk length 2^", chunk_log2.into()));
        }
        let codec = CodecKind::decode(cursor.u8()?)?;
        let placement = PlacementKind::decode(cursor.u16()?)?;
        let level = cursor.i32()?;
        let zstd_version = cursor.u32()?;
        let extent_chunks = cursor.u16()?;
        if extent_chunks == 0 || (placement == PlacementKind::Slots && extent_chunks != 1) {
            return Err(unknown("extent length", extent_chunks.into()));
        }
        let _reserved = cursor.u16()?;
        let align = cursor.u32()?;
        if align as usize != ALIGN {
            return Err(unknown("alignment", align.into()));
        }
        let content_size = cursor.u64()?;
        let chunk_count = cursor.u64()?;
        let data_end = cursor.u64()?;
        let index_offset = cursor.u64()?;
        let index_len = cursor.u64()?;
        let table_offset = cursor.u64()?;
        let file_size = cursor.u64()?;
        let slot_len = cursor.u64()?;
        let (members_len, member_count) = (cursor.u64()?, cursor.u64()?);
        let has_members = flags & FLAG_MEMBERS != 0;
        if (members_len > 0, member_count > 0) != (has_members, has_members) {
            return Err(FormatError::damaged("the header contradicts itself on a member index"));
        }
        let content_crc32c = cursor.u32()?;
        let digest = match (cursor.u32()?, cursor.array()?) {
            (0, _) => Digest::None,
            (1, digest) => Digest::Blake3(digest),
            (other, _) => return Err(unknown("digest", other.into())),
        };
        Ok(Self {
            chunk_log2,
            codec,
            level,
            zstd_version,
            placement,
            extent_chunks,
            content_size,
            chunk_count,
            data_end,
            index_offset,
            index_len,
            table_offset,
            file_size,
            slot_len,
            content_crc32c,
            digest,
            members_len,
            member_count,
        })
    }
}

/// An intact header with a value that this version gives no meaning: a later version's.
fn unknown(what: &str, value: u64) -> FormatError {
    FormatError::unsupported(format!("{what} {value} is not known to this build"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::tests::{every_flipped_bit, every_truncation};
    use crate::format::{Fault, SKIPPABLE_MAGIC};

    pub(crate) fn sample() -> Header {
        Header {
            chunk_log2: 20,
            codec: CodecKind::Zstd,
            level: 3,
            zstd_version: 10507,
            placement: PlacementKind::Dense,
            extent_chunks: 4,
            content_size: 0x0102_0304_0506,
            chunk_count: 0x0010_2031,
            data_end: 0x10_0000,
            index_offset: 0x10_0100,
            index_len: 0x123,
            table_offset: 0x20_0000,
            file_size: 0x30_0000,
            slot_len: 0,
            content_crc32c: 0xDEAD_BEEF,
            digest: Digest::Blake3([0x5A; 32]),
            members_len: 0,
            member_count: 0,
        }
    }

    /// Re-seals a header after a field was set by hand, as an attacker would.
    pub(crate) fn reseal(bytes: &mut [u8]) {
        let crc = crc32c(&bytes[..HEADER_LEN - 4]);
        bytes[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    }

    /// Written out by hand from the layout in docs/FORMAT.md.
    #[test]
    fn golden_bytes() {
        let bytes = sample().encode();
        assert_eq!(bytes[..4], SKIPPABLE_MAGIC.to_le_bytes());
        assert_eq!(bytes[..8], [0x5C, 0x2A, 0x4D, 0x18, 0xF8, 0, 0, 0]);
        assert_eq!(bytes[8..28], *b"RINGPACK\x02\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(bytes[28..40], [0x14, 1, 0, 0, 3, 0, 0, 0, 0x0B, 0x29, 0, 0]);
        assert_eq!(bytes[40..48], [4, 0, 0, 0, 0, 0x10, 0, 0]);
        assert_eq!(bytes[48..64], [6, 5, 4, 3, 2, 1, 0, 0, 0x31, 0x20, 0x10, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[64..80], [0, 0, 0x10, 0, 0, 0, 0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[80..96], [0x23, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[96..112], [0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[112..128], [0; 16]);
        assert_eq!(bytes[128..136], [0xEF, 0xBE, 0xAD, 0xDE, 1, 0, 0, 0]);
        assert_eq!(bytes[136..168], [0x5A; 32]);
        assert!(bytes[168..252].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_member_index_is_stated_by_a_flag_and_two_sizes() {
        let archive = Header { members_len: 0x0102_0304, member_count: 5, ..sample() };
        let bytes = archive.encode();
        assert_eq!(bytes[20..28], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[112..128], [4, 3, 2, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn f2_round_trip() {
        let slots = Header {
            codec: CodecKind::Store,
            placement: PlacementKind::Slots,
            extent_chunks: 1,
            slot_len: 1 << 21,
            digest: Digest::None,
            level: -5,
            ..sample()
        };
        let archive = Header { members_len: 0x0102_0304, member_count: 5, ..slots.clone() };
        for header in [sample(), slots, archive] {
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn f1_f3_every_flipped_bit_and_every_truncation() {
        let bytes = sample().encode();
        every_flipped_bit(&bytes, |bytes| Header::decode(bytes).is_err());
        every_truncation(&bytes, |bytes| Header::decode(bytes).is_err());
    }

    #[test]
    fn a_field_out_of_range_is_refused_though_the_checksum_fits() {
        let check = |offset: usize, value: u8, fault| {
            let mut bytes = sample().encode();
            bytes[offset] = value;
            reseal(&mut bytes);
            let refused = Header::decode(&bytes).unwrap_err();
            assert_eq!(refused.fault, fault, "byte {offset} = {value}: {refused}");
        };
        check(16, 1, Fault::Unsupported); // major
        check(16, 3, Fault::Unsupported);
        check(20, 1, Fault::Damaged); // a member index without length or count
        check(20, 2, Fault::Unsupported); // flags
        check(28, 15, Fault::Unsupported); // chunk_log2
        check(28, 27, Fault::Unsupported);
        check(29, 2, Fault::Unsupported); // codec
        check(30, 2, Fault::Unsupported); // placement
        check(40, 0, Fault::Unsupported); // extent_chunks
        check(45, 0, Fault::Unsupported); // align
        check(112, 1, Fault::Damaged); // a member index without the flag
        check(132, 2, Fault::Unsupported); // digest kind
    }

    #[test]
    fn ignorable_flags_reserved_bytes_and_a_later_minor_are_read() {
        let mut bytes = sample().encode();
        bytes[24] = 0xFF;
        bytes[18] = 9;
        bytes[42] = 1;
        bytes[200] = 1;
        reseal(&mut bytes);
        assert_eq!(Header::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn anything_else_is_foreign() {
        for bytes in [&b""[..], b"\x28\xB5\x2F\xFD", &[0; 4096], b"#!/bin/sh\n"] {
            let refused = Header::decode(bytes).unwrap_err();
            assert_eq!(refused.fault, Fault::Foreign);
        }
    }
}
