//! The header: 4096 bytes at offset 0 that say what the file is and where its parts are.
//!
//! It is written twice: as `open` before the first extent, so that whatever a crash leaves behind
//! says of itself that it is unfinished, and as `final` after everything else is durable. A
//! container written to a pipe says `streamed` at the front, with no sizes, and repeats the header
//! with its sizes near the end as the *trailing header*.
//!
//! ```text
//!   0  58 2A 4D 18   4  F8 0F 00 00   8  "RINGPACK"  16  major u16  18  minor u16
//!  20  subtype  21  state  22  chunk_log2  23  codec  24  flags u32  28  ignorable flags u32
//!  32  level i32  36  libzstd version u32  40  placement u16  42  extent_chunks u16  44  align u32
//!  48  content_size  56  chunk_count  64  data_end  72  index_offset  80  index_len
//!  88  table_offset  96  file_size  104  slot_len        (u64 each)
//! 112  content_crc32c u32  116  digest kind u32  120  digest [32]
//! 152  run [16], of an open header alone  168  members_len u64  176  member_count u64
//! 184 … zero  4092  crc32c u32
//! ```

use super::recipe::RunId;
use super::{Cursor, Decoded, FormatError, Subtype, skippable_prefix};
use crate::checksum::crc32c;
use crate::limits::{ALIGN, CHUNK_LOG2_MAX, CHUNK_LOG2_MIN, HEADER_LEN};

/// What stands at offset 8.
pub const MAGIC: [u8; 8] = *b"RINGPACK";
/// The format's major version. A reader refuses any other.
pub const MAJOR: u16 = 1;
/// The format's minor version, of a container with a member index; 0 of any other. A reader
/// accepts any.
pub const MINOR: u16 = 1;

/// The flag that a reader must know of a container with a member index: the tail is longer by it.
const FLAG_MEMBERS: u32 = 1;

/// How far a container has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum State {
    /// Being written, or left unfinished by a crash.
    Open = 0,
    /// Complete.
    Final = 1,
    /// Written to a pipe; the trailing header has the sizes.
    Streamed = 2,
}

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

/// The header's fields. Sizes are in bytes, offsets from the file's start.
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
    /// How far the container has come.
    pub state: State,
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
    /// Start of the index; equals `data_end`.
    pub index_offset: u64,
    /// Length of all index frames together.
    pub index_len: u64,
    /// Start of the seek table, 0 where there is none.
    pub table_offset: u64,
    /// Length of the file.
    pub file_size: u64,
    /// Length of a slot, 0 for `dense`.
    pub slot_len: u64,
    /// CRC32C of the whole content.
    pub content_crc32c: u32,
    /// Digest of the whole content.
    pub digest: Digest,
    /// Of an open header, the run that writes it; zeros in any other, so that the same content
    /// gives the same bytes.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub run: RunId,
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
    pub fn encode(&self, subtype: Subtype) -> [u8; HEADER_LEN] {
        let (digest_kind, digest) = match self.digest {
            Digest::None => (0u32, [0; 32]),
            Digest::Blake3(digest) => (1, digest),
        };
        let mut fields = Vec::with_capacity(HEADER_LEN);
        fields.extend(skippable_prefix((HEADER_LEN - 8) as u32));
        fields.extend(MAGIC);
        fields.extend(MAJOR.to_le_bytes());
        let has_members = self.members_len > 0;
        let (minor, flags) = if has_members { (MINOR, FLAG_MEMBERS) } else { (0, 0) };
        fields.extend(minor.to_le_bytes());
        fields.extend([subtype as u8, self.state as u8, self.chunk_log2, self.codec as u8]);
        fields.extend(flags.to_le_bytes());
        fields.extend([0; 4]); // ignorable flags
        fields.extend(self.level.to_le_bytes());
        fields.extend(self.zstd_version.to_le_bytes());
        fields.extend((self.placement as u16).to_le_bytes());
        fields.extend(self.extent_chunks.to_le_bytes());
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
        ] {
            fields.extend(size.to_le_bytes());
        }
        fields.extend(self.content_crc32c.to_le_bytes());
        fields.extend(digest_kind.to_le_bytes());
        fields.extend(digest);
        fields.extend(self.run);
        fields.extend(self.members_len.to_le_bytes());
        fields.extend(self.member_count.to_le_bytes());
        fields.resize(HEADER_LEN - 4, 0);
        let crc = crc32c(&fields);
        let mut bytes = [0; HEADER_LEN];
        let (body, tail) = bytes.split_at_mut(HEADER_LEN - 4);
        body.copy_from_slice(&fields);
        tail.copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header of the given subtype, checking its checksum and the range of each field, but
    /// not whether the sizes fit a file: see [`super::layout`].
    ///
    /// # Errors
    /// `Foreign` without our magic, `Damaged` where the checksum or a field is wrong,
    /// `Unsupported` for an intact header of another version or with an unknown required feature.
    pub fn decode(bytes: &[u8], subtype: Subtype) -> Decoded<Self> {
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
        if cursor.u8()? != subtype as u8 {
            return Err(FormatError::damaged("a header of another subtype stands here"));
        }
        let state = match cursor.u8()? {
            0 => State::Open,
            1 => State::Final,
            2 => State::Streamed,
            other => return Err(unknown("state", other.into())),
        };
        let chunk_log2 = cursor.u8()?;
        if !(CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX).contains(&chunk_log2) {
            return Err(unknown("chunk length 2^", chunk_log2.into()));
        }
        let codec = CodecKind::decode(cursor.u8()?)?;
        let flags = cursor.u32()?;
        if flags & !FLAG_MEMBERS != 0 {
            return Err(unknown("required flags", flags.into()));
        }
        let _ignorable = cursor.u32()?;
        let level = cursor.i32()?;
        let zstd_version = cursor.u32()?;
        let placement = PlacementKind::decode(cursor.u16()?)?;
        let extent_chunks = cursor.u16()?;
        if extent_chunks == 0 || (placement == PlacementKind::Slots && extent_chunks != 1) {
            return Err(unknown("extent length", extent_chunks.into()));
        }
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
        let content_crc32c = cursor.u32()?;
        let digest = match (cursor.u32()?, cursor.array()?) {
            (0, _) => Digest::None,
            (1, digest) => Digest::Blake3(digest),
            (other, _) => return Err(unknown("digest", other.into())),
        };
        let run = cursor.array()?;
        let (members_len, member_count) = match flags & FLAG_MEMBERS {
            0 => (0, 0),
            _ => match (cursor.u64()?, cursor.u64()?) {
                (0, _) | (_, 0) => {
                    return Err(FormatError::damaged("the header states an empty member index"));
                }
                stated => stated,
            },
        };
        Ok(Self {
            state,
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
            run,
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
            state: State::Final,
            chunk_log2: 20,
            codec: CodecKind::Zstd,
            level: 3,
            zstd_version: 10507,
            placement: PlacementKind::Dense,
            extent_chunks: 4,
            content_size: 0x0102_0304_0506,
            chunk_count: 0x0010_2031,
            data_end: 0x10_0000,
            index_offset: 0x10_0000,
            index_len: 0x123,
            table_offset: 0x20_0000,
            file_size: 0x30_0000,
            slot_len: 0,
            content_crc32c: 0xDEAD_BEEF,
            digest: Digest::Blake3([0x5A; 32]),
            run: [0; 16],
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
        let bytes = sample().encode(Subtype::Header);
        assert_eq!(bytes[..4], SKIPPABLE_MAGIC.to_le_bytes());
        assert_eq!(bytes[..8], [0x58, 0x2A, 0x4D, 0x18, 0xF8, 0x0F, 0, 0]);
        assert_eq!(bytes[8..24], *b"RINGPACK\x01\0\0\0\0\x01\x14\x01");
        assert_eq!(bytes[24..32], [0; 8]);
        assert_eq!(bytes[32..48], [3, 0, 0, 0, 0x0B, 0x29, 0, 0, 0, 0, 4, 0, 0, 0x10, 0, 0]);
        assert_eq!(bytes[48..64], [6, 5, 4, 3, 2, 1, 0, 0, 0x31, 0x20, 0x10, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[64..80], [0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[80..96], [0x23, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[96..112], [0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[112..120], [0xEF, 0xBE, 0xAD, 0xDE, 1, 0, 0, 0]);
        assert_eq!(bytes[120..152], [0x5A; 32]);
        assert!(bytes[152..4092].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn the_run_stands_behind_the_digest() {
        let open = Header { state: State::Open, run: [7; 16], ..sample() };
        let bytes = open.encode(Subtype::Header);
        assert_eq!(bytes[152..168], [7; 16]);
        assert!(bytes[168..4092].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_member_index_is_stated_behind_the_run() {
        let archive = Header { members_len: 0x0102_0304, member_count: 5, ..sample() };
        let bytes = archive.encode(Subtype::Header);
        assert_eq!(bytes[16..20], [1, 0, 1, 0]);
        assert_eq!(bytes[24..32], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[168..184], [4, 3, 2, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert!(bytes[184..4092].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn f2_round_trip() {
        let streamed = Header {
            state: State::Streamed,
            codec: CodecKind::Store,
            placement: PlacementKind::Slots,
            extent_chunks: 1,
            slot_len: 1 << 21,
            digest: Digest::None,
            level: -5,
            ..sample()
        };
        let open = Header { state: State::Open, run: [7; 16], ..sample() };
        let archive = Header { members_len: 0x0102_0304, member_count: 5, ..streamed.clone() };
        let headers = [sample(), streamed, open, archive];
        let [front, trailing] = [Subtype::Header, Subtype::TrailingHeader];
        for (header, subtype) in headers.into_iter().zip([front, trailing, front, trailing]) {
            assert_eq!(Header::decode(&header.encode(subtype), subtype), Ok(header));
        }
    }

    #[test]
    fn f1_f3_every_flipped_bit_and_every_truncation() {
        let bytes = sample().encode(Subtype::Header);
        every_flipped_bit(&bytes, |bytes| Header::decode(bytes, Subtype::Header).is_err());
        every_truncation(&bytes, |bytes| Header::decode(bytes, Subtype::Header).is_err());
    }

    #[test]
    fn a_field_out_of_range_is_refused_though_the_checksum_fits() {
        let check = |offset: usize, value: u8, fault| {
            let mut bytes = sample().encode(Subtype::Header);
            bytes[offset] = value;
            reseal(&mut bytes);
            let refused = Header::decode(&bytes, Subtype::Header).unwrap_err();
            assert_eq!(refused.fault, fault, "byte {offset} = {value}: {refused}");
        };
        check(16, 2, Fault::Unsupported); // major
        check(20, 3, Fault::Damaged); // subtype
        check(21, 3, Fault::Unsupported); // state
        check(22, 15, Fault::Unsupported); // chunk_log2
        check(22, 27, Fault::Unsupported);
        check(23, 2, Fault::Unsupported); // codec
        check(24, 1, Fault::Damaged); // a member index without length or count
        check(24, 2, Fault::Unsupported); // flags
        check(40, 2, Fault::Unsupported); // placement
        check(42, 0, Fault::Unsupported); // extent_chunks
        check(45, 0, Fault::Unsupported); // align
        check(116, 2, Fault::Unsupported); // digest kind
    }

    #[test]
    fn ignorable_flags_and_a_later_minor_are_read() {
        let mut bytes = sample().encode(Subtype::Header);
        bytes[28] = 0xFF;
        bytes[18] = 9;
        reseal(&mut bytes);
        assert_eq!(Header::decode(&bytes, Subtype::Header), Ok(sample()));
    }

    #[test]
    fn anything_else_is_foreign() {
        for bytes in [&b""[..], b"\x28\xB5\x2F\xFD", &[0; 4096], b"#!/bin/sh\n"] {
            let refused = Header::decode(bytes, Subtype::Header).unwrap_err();
            assert_eq!(refused.fault, Fault::Foreign);
        }
    }
}
