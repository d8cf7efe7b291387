//! The member index: what an archive within the content holds, and where each member of it is.
//!
//! A container of a directory has a tar stream as its content. Its member index says, for each
//! member in the order of the stream, what a listing shows and where its header and its own bytes
//! begin, so that one file is read without decoding the rest. It is one skippable frame between the
//! index and what follows it; a container of anything else has none.
//!
//! ```text
//! skippable prefix | 4 "RPMEMBR" | count u64 | segments | crc32c of the payload so far u32
//! segment          raw_len u32 | frame_len u32 | members u32 | a zstd frame of raw_len bytes
//! member           kind u8 | flags u8 | path_len u16 | link_len u16 | mode u32 | uid u32 | gid u32
//!                  | mtime_ns u32 | mtime i64 | size u64 | stored u64 | header u64 | data u64
//!                  | path | link
//! ```
//!
//! Members lie in the content in order and without overlap, each header and each member's bytes on
//! the 512-byte grid of tar ([`Order`]).

use super::frame::store_len;
use super::{Cursor, Decoded, FormatError, Subtype, skippable_prefix};
use crate::checksum::crc32c;
use crate::limits::INDEX_PAYLOAD_BYTES_MAX;

/// Bytes of the frame before its first segment: skippable prefix, name, count.
pub const PREFIX_LEN: usize = 8 + NAME.len() + 8;
/// Bytes of the frame after its last segment: the checksum.
pub const SUFFIX_LEN: usize = 4;
/// Longest frame of a member index, in bytes.
pub const FRAME_LEN_MAX: u64 = 8 + INDEX_PAYLOAD_BYTES_MAX;
/// Most bytes of members that a segment holds, before they are encoded.
pub const SEGMENT_RAW_LEN_MAX: usize = 256 << 10;
/// Bytes before a segment's frame.
pub const SEGMENT_PREFIX_LEN: usize = 12;
/// The grid of a tar stream, in bytes.
pub const TAR_BLOCK: u64 = 512;

const NAME: [u8; 8] = *b"\x04RPMEMBR";
/// Bytes of a member before its path.
const FIXED_LEN: usize = 1 + 1 + 2 + 2 + 4 * 4 + 5 * 8;

const _: () = {
    assert!(NAME[0] == Subtype::Members as u8);
    // A member of the longest path and link fits a segment.
    assert!(FIXED_LEN + 2 * (u16::MAX as usize) < SEGMENT_RAW_LEN_MAX);
};

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum MemberKind {
    /// A regular file.
    Regular = 0,
    /// A directory.
    Directory = 1,
    /// A symbolic link; its target is the member's link.
    Symlink = 2,
    /// Another name of a member before it; that one's path is the member's link.
    HardLink = 3,
    /// A FIFO.
    Fifo = 4,
    /// A character device.
    CharDevice = 5,
    /// A block device.
    BlockDevice = 6,
}

impl MemberKind {
    const ALL: [Self; 7] = [
        Self::Regular,
        Self::Directory,
        Self::Symlink,
        Self::HardLink,
        Self::Fifo,
        Self::CharDevice,
        Self::BlockDevice,
    ];

    fn decode(byte: u8) -> Decoded<Self> {
        let kind = Self::ALL.get(usize::from(byte)).copied();
        kind.ok_or_else(|| FormatError::damaged(format!("a member is of unknown kind {byte}")))
    }
}

/// A member of the archive. Offsets are of the content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// What it is.
    pub kind: MemberKind,
    /// Its name within the archive, without a slash at the end. Any bytes but NUL.
    pub path: Vec<u8>,
    /// Target of a symbolic link, path of the member that a hard link names; empty for others.
    pub link: Vec<u8>,
    /// Permission bits, with those for setuid, setgid and sticky.
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Time of modification, in seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds to be added to it.
    pub mtime_ns: u32,
    /// Length of the file as it is restored, in bytes; 0 for all else.
    pub size: u64,
    /// Bytes of it that the stream has: fewer where the file has holes.
    pub stored: u64,
    /// Where the first of its headers begins.
    pub header_offset: u64,
    /// Where its bytes begin.
    pub data_offset: u64,
}

impl Member {
    /// Bytes it takes of a segment.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        FIXED_LEN + self.path.len() + self.link.len()
    }

    /// Appends the member as it stands in a segment. Path and link are at most 65535 bytes each.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend([self.kind as u8, u8::from(self.stored != self.size)]);
        out.extend((self.path.len() as u16).to_le_bytes());
        out.extend((self.link.len() as u16).to_le_bytes());
        for field in [self.mode, self.uid, self.gid, self.mtime_ns] {
            out.extend(field.to_le_bytes());
        }
        out.extend(self.mtime.to_le_bytes());
        for field in [self.size, self.stored, self.header_offset, self.data_offset] {
            out.extend(field.to_le_bytes());
        }
        out.extend(&self.path);
        out.extend(&self.link);
    }

    fn decode(cursor: &mut Cursor<'_>) -> Decoded<Self> {
        let kind = MemberKind::decode(cursor.u8()?)?;
        let flags = cursor.u8()?;
        let (path_len, link_len) = (cursor.u16()?, cursor.u16()?);
        let (mode, uid, gid, mtime_ns) =
            (cursor.u32()?, cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let mtime = cursor.u64()?.cast_signed();
        let (size, stored) = (cursor.u64()?, cursor.u64()?);
        let (header_offset, data_offset) = (cursor.u64()?, cursor.u64()?);
        let path = cursor.bytes(path_len.into())?.to_vec();
        let link = cursor.bytes(link_len.into())?.to_vec();
        let impossible = path.is_empty()
            || path.contains(&0)
            || link.contains(&0)
            || mode > 0o7777
            || mtime_ns >= 1_000_000_000
            || flags != u8::from(stored != size)
            || (kind != MemberKind::Regular && (size, stored) != (0, 0));
        if impossible {
            return Err(FormatError::damaged("a member has a field that no member can have"));
        }
        Ok(Self {
            kind,
            path,
            link,
            mode,
            uid,
            gid,
            mtime,
            mtime_ns,
            size,
            stored,
            header_offset,
            data_offset,
        })
    }
}

/// The check that members follow one another within the content.
#[derive(Clone, Debug)]
pub struct Order {
    free: u64,
    content_size: u64,
}

impl Order {
    /// The check before the first member.
    #[must_use]
    pub fn new(content_size: u64) -> Self {
        Self { free: 0, content_size }
    }

    /// Checks the next member.
    ///
    /// # Errors
    /// `Damaged` where it lies elsewhere than behind the one before it and within the content.
    pub fn member(&mut self, member: &Member) -> Decoded<()> {
        let Member { header_offset, data_offset, stored, .. } = *member;
        let on_grid = |offset: u64| offset.is_multiple_of(TAR_BLOCK);
        let end = data_offset.checked_add(stored).filter(|&end| end <= self.content_size);
        let header_fits = header_offset >= self.free && on_grid(header_offset);
        let data_fits = data_offset > header_offset && on_grid(data_offset);
        let Some(end) = end.filter(|_| header_fits && data_fits) else {
            return Err(FormatError::damaged("a member lies where none can"));
        };
        self.free = end;
        Ok(())
    }
}

/// A complete frame, and how many members it names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// Number of members.
    pub count: u64,
    /// The whole skippable frame.
    pub frame: Vec<u8>,
}

impl Encoded {
    /// The frame of `count` members in `segments`; `None` where it would be longer than
    /// [`FRAME_LEN_MAX`].
    #[must_use]
    pub fn new(count: u64, segments: &[u8]) -> Option<Self> {
        let len = PREFIX_LEN + segments.len() + SUFFIX_LEN;
        if len as u64 > FRAME_LEN_MAX {
            return None;
        }
        let mut frame = Vec::with_capacity(len);
        frame.extend(skippable_prefix((len - 8) as u32));
        frame.extend(NAME);
        frame.extend(count.to_le_bytes());
        frame.extend(segments);
        let (_, payload) = frame.split_at(8);
        let crc = crc32c(payload);
        frame.extend(crc.to_le_bytes());
        Some(Self { count, frame })
    }
}

/// Checks the [`PREFIX_LEN`] bytes before the segments of a frame of `frame_len` bytes that names
/// `count` members.
///
/// # Errors
/// `Damaged` where they are something else.
pub fn check_front(bytes: &[u8], frame_len: u64, count: u64) -> Decoded<()> {
    let mut cursor = Cursor::new(bytes);
    let payload_len = frame_len.checked_sub(8).and_then(|len| u32::try_from(len).ok());
    if payload_len.map(skippable_prefix) != Some(cursor.array()?) {
        return Err(FormatError::damaged("no member index stands here"));
    }
    if cursor.array()? != NAME || cursor.u64()? != count || !cursor.rest().is_empty() {
        return Err(FormatError::damaged("the member index is another than the header states"));
    }
    Ok(())
}

/// A segment's lengths, which stand before its frame. Segments are read one by one, so that an
/// index of any length takes the memory of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentPrefix {
    /// Bytes of its members.
    pub raw_len: usize,
    /// Bytes of its frame.
    pub frame_len: usize,
    /// Members in it.
    pub members: u32,
}

impl SegmentPrefix {
    /// Appends the prefix.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.raw_len as u32, self.frame_len as u32, self.members] {
            out.extend(field.to_le_bytes());
        }
    }

    /// Reads the prefix at the front of `bytes`.
    ///
    /// # Errors
    /// `Damaged` where a length is impossible.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let mut cursor = Cursor::new(bytes);
        let (raw_len, frame_len, members) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let (raw_len, frame_len) = (raw_len as usize, frame_len as usize);
        // F1: nothing is allocated by a length that isn't bounded.
        if raw_len > SEGMENT_RAW_LEN_MAX || members == 0 || (members as usize) > raw_len / FIXED_LEN
        {
            return Err(FormatError::damaged("a segment of the member index can't be as stated"));
        }
        if frame_len > store_len(raw_len) {
            return Err(FormatError::damaged("a segment of the member index is impossibly long"));
        }
        Ok(Self { raw_len, frame_len, members })
    }
}

/// The `count` members that fill `bytes` exactly.
///
/// # Errors
/// `Damaged` where they are others.
pub fn decode_members(bytes: &[u8], count: u32) -> Decoded<Vec<Member>> {
    let mut cursor = Cursor::new(bytes);
    let members =
        (0..count).map(|_| Member::decode(&mut cursor)).collect::<Decoded<Vec<Member>>>()?;
    if !cursor.rest().is_empty() {
        return Err(FormatError::damaged(
            "a segment of the member index has bytes past its members",
        ));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::{every_flipped_bit, every_truncation};

    fn sample() -> Member {
        Member {
            kind: MemberKind::Regular,
            path: b"d/\xFFa".to_vec(),
            link: Vec::new(),
            mode: 0o4755,
            uid: 1000,
            gid: 0x0102_0304,
            mtime: -2,
            mtime_ns: 999_999_999,
            size: 0x0102_0304_0506,
            stored: 512,
            header_offset: 512,
            data_offset: 1024,
        }
    }

    fn link() -> Member {
        let (size, stored, header_offset, data_offset) = (0, 0, 2048, 2560);
        let (path, link) = (b"l".to_vec(), b"../x".to_vec());
        let kind = MemberKind::Symlink;
        Member { kind, path, link, size, stored, header_offset, data_offset, ..sample() }
    }

    fn encode(members: &[Member]) -> Vec<u8> {
        let mut bytes = Vec::new();
        members.iter().for_each(|member| member.encode(&mut bytes));
        bytes
    }

    #[test]
    fn golden_bytes_of_a_member() {
        let expected = [
            &[0, 1, 4, 0, 0, 0][..],
            &[0xED, 9, 0, 0],
            &[0xE8, 3, 0, 0],
            &[4, 3, 2, 1],
            &[0xFF, 0xC9, 0x9A, 0x3B],
            &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            &[6, 5, 4, 3, 2, 1, 0, 0],
            &[0, 2, 0, 0, 0, 0, 0, 0],
            &[0, 2, 0, 0, 0, 0, 0, 0],
            &[0, 4, 0, 0, 0, 0, 0, 0],
            b"d/\xFFa",
        ]
        .concat();
        assert_eq!(encode(&[sample()]), expected);
        assert_eq!(sample().encoded_len(), expected.len());
    }

    #[test]
    fn golden_bytes_of_a_frame() {
        let mut segments = Vec::new();
        SegmentPrefix { raw_len: 70, frame_len: 5, members: 1 }.encode(&mut segments);
        segments.extend(b"frame");
        let encoded = Encoded::new(1, &segments).unwrap();
        let expected = [
            &[0x5C, 0x2A, 0x4D, 0x18, 37, 0, 0, 0][..],
            b"\x04RPMEMBR",
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[70, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0],
            b"frame",
        ]
        .concat();
        let (body, crc) = encoded.frame.split_last_chunk::<4>().unwrap();
        assert_eq!(body, expected);
        assert_eq!(u32::from_le_bytes(*crc), crc32c(&expected[8..]));
    }

    #[test]
    fn f2_round_trip() {
        let members = [sample(), link()];
        let bytes = encode(&members);
        assert_eq!(decode_members(&bytes, 2), Ok(members.to_vec()));
        let prefix = SegmentPrefix { raw_len: bytes.len(), frame_len: bytes.len(), members: 2 };
        let mut segment = Vec::new();
        prefix.encode(&mut segment);
        assert_eq!(segment.len(), SEGMENT_PREFIX_LEN);
        assert_eq!(SegmentPrefix::decode(&segment), Ok(prefix));
        let encoded = Encoded::new(2, &segment).unwrap();
        let front = &encoded.frame[..PREFIX_LEN];
        assert_eq!(check_front(front, encoded.frame.len() as u64, 2), Ok(()));
    }

    #[test]
    fn f1_f3_every_truncation_and_every_flipped_bit_before_the_segments() {
        let encoded = Encoded::new(2, b"whatever stands here").unwrap();
        let (front, len) = (&encoded.frame[..PREFIX_LEN], encoded.frame.len() as u64);
        every_truncation(front, |bytes| check_front(bytes, len, 2).is_err());
        every_flipped_bit(front, |bytes| check_front(bytes, len, 2).is_err());
        assert!(check_front(front, len, 3).is_err());
        assert!(check_front(front, len + 1, 2).is_err());
        let mut segment = Vec::new();
        SegmentPrefix { raw_len: 70, frame_len: 5, members: 1 }.encode(&mut segment);
        every_truncation(&segment, |bytes| SegmentPrefix::decode(bytes).is_err());
    }

    #[test]
    fn f1_lengths_of_a_segment_that_are_impossible_are_refused() {
        let sound = SegmentPrefix { raw_len: 70, frame_len: 5, members: 1 };
        for wrong in [
            SegmentPrefix { raw_len: SEGMENT_RAW_LEN_MAX + 1, ..sound },
            SegmentPrefix { members: 0, ..sound },
            SegmentPrefix { members: 2, ..sound },
            SegmentPrefix { frame_len: store_len(70) + 1, ..sound },
        ] {
            let mut segment = Vec::new();
            wrong.encode(&mut segment);
            assert!(SegmentPrefix::decode(&segment).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn f1_members_cut_short_are_refused() {
        let bytes = encode(&[sample(), link()]);
        every_truncation(&bytes, |bytes| decode_members(bytes, 2).is_err());
        assert!(decode_members(&bytes, 1).is_err());
        assert!(decode_members(&bytes, 3).is_err());
    }

    #[test]
    fn members_that_lie_elsewhere_are_refused() {
        let check = |members: &[Member], content_size| {
            let mut order = Order::new(content_size);
            members.iter().try_for_each(|member| order.member(member))
        };
        assert_eq!(check(&[sample(), link()], 2560), Ok(()));
        assert!(check(&[link(), sample()], 4096).is_err(), "out of order");
        assert!(check(&[sample(), sample()], 4096).is_err(), "twice");
        assert!(check(&[sample()], 1535).is_err(), "past the end");
        let spoil: [fn(&mut Member); 5] = [
            |m| m.header_offset += 1,
            |m| m.data_offset += 1,
            |m| m.data_offset = m.header_offset,
            |m| m.stored = u64::MAX,
            |m| m.data_offset = u64::MAX - 511,
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut member = sample();
            spoil(&mut member);
            assert!(check(&[member], 1 << 40).is_err(), "{number}");
        }
    }

    #[test]
    fn fields_that_no_member_has_are_refused() {
        let spoil: [fn(&mut Member); 6] = [
            |m| m.path.clear(),
            |m| m.path.push(0),
            |m| m.link.push(0),
            |m| m.mode = 0o10000,
            |m| m.mtime_ns = 1_000_000_000,
            |m| m.kind = MemberKind::Directory,
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut member = sample();
            spoil(&mut member);
            assert!(decode_members(&encode(&[member]), 1).is_err(), "{number}");
        }
    }
}
