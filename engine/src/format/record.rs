//! Journal records: what a checkpoint says, as bytes.
//!
//! ```text
//! len u32 (of kind and payload) | kind u8 | payload | crc32c of all before it u32
//! ```
//!
//! The checksums are chained: each goes on from the one of the record before it, and the first
//! record bears the run's id. So a record that an earlier run, or an earlier state of the same
//! bytes, left behind the end matches nothing. A journal is read until the first record that is cut
//! short or doesn't match: a torn tail is where the journal ends, not an error.

use super::header::PlacementKind;
use super::index::{CHAINING_LEN, ChainingValue, Entry};
use super::recipe::Recipe;
use super::{Cursor, Decoded, FormatError};
use crate::planted::{self, Bug};

/// Version of the journal's own format.
pub const JOURNAL_VERSION: u32 = 2;

/// Identity of a run: random bytes, so that no two journals' checksums run alike.
pub type RunId = [u8; 16];

/// Chunks that one extent record may name.
const CHUNKS_MAX: usize = u16::MAX as usize;

/// Longest name of a source, in bytes: `PATH_MAX` of Linux.
pub const SOURCE_NAME_LEN_MAX: usize = 4096;

/// Longest record, length and checksum included, in bytes.
pub const RECORD_LEN_MAX: usize = 4 + 19 + CHUNKS_MAX * ChunkRecord::LEN + 4;

/// What kind of source it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum SourceKind {
    /// Bytes that come once, in order.
    #[default]
    Stream = 0,
    /// A regular file.
    Regular = 1,
    /// A block device.
    BlockDevice = 2,
    /// A program, which gives chunks in any order.
    Chunks = 3,
}

/// What the source was when packing began, so that a resume can tell whether it still is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourceIdentity {
    /// What it is.
    pub kind: SourceKind,
    /// Length in bytes, 0 for a stream.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of any kind, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// Which file the partial one is. Its device isn't part of it: that number may be another after the
/// machine started again, and the journal stands beside it anyway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartialIdentity {
    /// Inode number.
    pub inode: u64,
    /// When it was created, nanoseconds since 1970; 0 where the file system doesn't say.
    pub born_ns: i64,
}

impl PartialIdentity {
    /// Whether both may be of one file. The time of creation decides where both have it: some file
    /// systems (vfat, many FUSE servers) give a file another inode number each time they are
    /// mounted.
    #[must_use]
    pub fn may_be(self, other: Self) -> bool {
        match (self.born_ns, other.born_ns) {
            (0, _) | (_, 0) => self.inode == other.inode,
            (this, other) => this == other,
        }
    }
}

/// One chunk of an extent record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkRecord {
    /// Its index entry.
    pub entry: Entry,
    /// Low half of its XXH64, for the seek table.
    pub xxh64_low: u32,
    /// Its BLAKE3 chaining value, zeros where no digest is made.
    pub chaining: ChainingValue,
}

impl ChunkRecord {
    /// Length of the encoded record in bytes.
    pub const LEN: usize = super::index::ENTRY_LEN + 4 + CHAINING_LEN;

    /// The record as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (entry, rest) = bytes.split_at_mut(super::index::ENTRY_LEN);
        entry.copy_from_slice(&self.entry.encode());
        let (xxh, chaining) = rest.split_at_mut(4);
        xxh.copy_from_slice(&self.xxh64_low.to_le_bytes());
        chaining.copy_from_slice(&self.chaining);
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// `Damaged` where `bytes` are shorter than [`Self::LEN`].
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        Self::read(&mut Cursor::new(bytes))
    }

    fn read(cursor: &mut Cursor<'_>) -> Decoded<Self> {
        Ok(Self {
            entry: Entry::decode(cursor)?,
            xxh64_low: cursor.u32()?,
            chaining: cursor.array()?,
        })
    }
}

/// What a journal opens with: all that going on needs to know of the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// The run.
    pub run: RunId,
    /// The partial file that it is about.
    pub partial: PartialIdentity,
    /// The options that decide the bytes.
    pub recipe: Recipe,
    /// Whether the target may be replaced.
    pub replace: bool,
    /// What the source was.
    pub source: SourceIdentity,
    /// Where the source was: a path, at most [`SOURCE_NAME_LEN_MAX`] bytes; empty for a stream
    /// without one.
    pub name: Vec<u8>,
}

impl Open {
    /// Whether extents are named in any order, with gaps between them: a program gives chunks as it
    /// has them, and each has a slot of its own. Otherwise they are named 0, 1, 2 … without a gap.
    #[must_use]
    pub fn is_scattered(&self) -> bool {
        self.source.kind == SourceKind::Chunks
            && self.recipe.geometry.placement == PlacementKind::Slots
    }
}

/// A journal record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The first: what is being written, from what, by which run.
    Open(Open),
    /// An extent that was written.
    Extent {
        /// Its number.
        number: u64,
        /// Where it starts in the container.
        offset: u64,
        /// Its chunks, in order.
        chunks: Vec<ChunkRecord>,
    },
    /// Everything named before this is durable.
    Checkpoint {
        /// Extents named by the records before this one.
        extents: u64,
        /// Content they hold, in bytes.
        bytes: u64,
    },
}

impl Record {
    /// Appends the record to `out`. `chain` is the checksum of the record before it, 0 for the
    /// first; its own is returned. An extent has at most 65,535 chunks.
    pub fn encode(&self, chain: u32, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend([0; 4]);
        match self {
            Self::Open(Open { run, partial, recipe, replace, source, name }) => {
                debug_assert!(name.len() <= SOURCE_NAME_LEN_MAX);
                out.push(1);
                out.extend(JOURNAL_VERSION.to_le_bytes());
                out.extend(run);
                out.extend(partial.inode.to_le_bytes());
                out.extend(partial.born_ns.to_le_bytes());
                out.extend(recipe.encode());
                out.extend([u8::from(*replace), source.kind as u8]);
                out.extend(source.size.to_le_bytes());
                out.extend(source.mtime_ns.to_le_bytes());
                out.extend(source.ctime_ns.to_le_bytes());
                out.extend(source.device.to_le_bytes());
                out.extend(source.inode.to_le_bytes());
                out.extend((name.len() as u16).to_le_bytes());
                out.extend(name);
            }
            Self::Extent { number, offset, chunks } => {
                debug_assert!(chunks.len() <= CHUNKS_MAX);
                out.push(2);
                out.extend(number.to_le_bytes());
                out.extend(offset.to_le_bytes());
                out.extend((chunks.len() as u16).to_le_bytes());
                for chunk in chunks {
                    out.extend(chunk.encode());
                }
            }
            Self::Checkpoint { extents, bytes } => {
                out.push(3);
                out.extend(extents.to_le_bytes());
                out.extend(bytes.to_le_bytes());
            }
        }
        let len = (out.len() - start - 4) as u32;
        if let Some(slot) = out.get_mut(start..start + 4) {
            slot.copy_from_slice(&len.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(chain, out.get(start..).unwrap_or_default());
        out.extend(crc.to_le_bytes());
        crc
    }

    /// Bytes that the record at the front of `bytes` takes, as it states; `None` where not even its
    /// length is there, or it states one that no record has.
    #[must_use]
    pub fn stated_len(bytes: &[u8]) -> Option<usize> {
        let (len, _) = bytes.split_first_chunk::<4>()?;
        let total = (u32::from_le_bytes(*len) as usize).checked_add(8)?;
        Some(total).filter(|&total| total <= RECORD_LEN_MAX)
    }

    /// Reads the record at the front of `bytes`, how many bytes it takes, and its checksum, which
    /// the next one goes on from; `None` at a torn tail. `chain` is as in [`Self::encode`].
    ///
    /// # Errors
    /// `Unsupported` or `Damaged` for an intact record that makes no sense.
    pub fn decode(bytes: &[u8], chain: u32) -> Decoded<Option<(Self, usize, u32)>> {
        let Some(total) = Self::stated_len(bytes) else {
            return Ok(None);
        };
        let Some((body, stated)) =
            bytes.get(..total).and_then(|record| record.split_last_chunk::<4>())
        else {
            return Ok(None);
        };
        let crc = crc32c::crc32c_append(chain, body);
        if crc.to_le_bytes() != *stated && !planted::is(Bug::TornTailTrusted) {
            return Ok(None);
        }
        let mut cursor = Cursor::new(body.get(4..).unwrap_or_default());
        let record = match cursor.u8()? {
            1 => {
                let version = cursor.u32()?;
                if version != JOURNAL_VERSION {
                    return Err(FormatError::unsupported(format!(
                        "journal version {version} is not known to this build"
                    )));
                }
                Self::Open(Open {
                    run: cursor.array()?,
                    partial: PartialIdentity {
                        inode: cursor.u64()?,
                        born_ns: cursor.array().map(i64::from_le_bytes)?,
                    },
                    recipe: Recipe::decode(&mut cursor)?,
                    replace: match cursor.u8()? {
                        0 => false,
                        1 => true,
                        _ => return Err(FormatError::unsupported("an unknown way to publish")),
                    },
                    source: SourceIdentity {
                        kind: match cursor.u8()? {
                            0 => SourceKind::Stream,
                            1 => SourceKind::Regular,
                            2 => SourceKind::BlockDevice,
                            3 => SourceKind::Chunks,
                            other => {
                                return Err(FormatError::unsupported(format!(
                                    "source kind {other} is not known to this build"
                                )));
                            }
                        },
                        size: cursor.u64()?,
                        mtime_ns: cursor.array().map(i64::from_le_bytes)?,
                        ctime_ns: cursor.array().map(i64::from_le_bytes)?,
                        device: cursor.u64()?,
                        inode: cursor.u64()?,
                    },
                    name: {
                        let len = cursor.u16()?;
                        cursor.bytes(len.into())?.to_vec()
                    },
                })
            }
            2 => {
                let (number, offset, count) = (cursor.u64()?, cursor.u64()?, cursor.u16()?);
                // F1: at most 65,535 records, each of them backed by bytes that are there.
                let chunks = (0..count).map(|_| ChunkRecord::read(&mut cursor));
                Self::Extent { number, offset, chunks: chunks.collect::<Decoded<_>>()? }
            }
            3 => Self::Checkpoint { extents: cursor.u64()?, bytes: cursor.u64()? },
            kind => {
                return Err(FormatError::unsupported(format!(
                    "journal record kind {kind} is not known to this build"
                )));
            }
        };
        if !cursor.rest().is_empty() {
            return Err(FormatError::damaged("a journal record is longer than its kind"));
        }
        Ok(Some((record, total, crc)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_file_is_known_by_its_birth_where_both_have_one() {
        let file = |inode, born_ns| PartialIdentity { inode, born_ns };
        for (this, other, may_be) in [
            (file(1, 5), file(1, 5), true),
            (file(1, 5), file(1, 6), false),
            // Mounted again.
            (file(1, 5), file(2, 5), true),
            // Not told, then told.
            (file(1, 0), file(1, 5), true),
            (file(1, 5), file(1, 0), true),
            (file(1, 0), file(2, 5), false),
            (file(1, 0), file(2, 0), false),
        ] {
            assert_eq!(this.may_be(other), may_be, "{this:?}, {other:?}");
        }
    }
    use crate::checksum::crc32c;
    use crate::format::header::{CodecKind, PlacementKind};
    use crate::format::layout::Geometry;
    use crate::format::tests::{every_flipped_bit, every_truncation};

    fn open() -> Open {
        Open {
            run: [9; 16],
            partial: PartialIdentity { inode: 5, born_ns: 6 },
            recipe: Recipe {
                codec: CodecKind::Zstd,
                level: 3,
                zstd_version: 10_507,
                geometry: Geometry::new(20, PlacementKind::Dense),
                blake3: false,
            },
            replace: true,
            source: SourceIdentity {
                kind: SourceKind::Regular,
                size: 10,
                mtime_ns: -1,
                ctime_ns: 4,
                device: 2,
                inode: 3,
            },
            name: b"/a".to_vec(),
        }
    }

    fn samples() -> Vec<Record> {
        let chunk = |i: u8| ChunkRecord {
            entry: Entry {
                offset: 4096,
                frame_len: 100,
                raw_len: 65536,
                frame_crc32c: 1,
                raw_crc32c: i.into(),
            },
            xxh64_low: 7,
            chaining: [i; 32],
        };
        vec![
            Record::Open(open()),
            Record::Extent { number: 5, offset: 4096, chunks: vec![chunk(1), chunk(2)] },
            Record::Checkpoint { extents: 6, bytes: 7 },
        ]
    }

    fn encode(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(0, &mut bytes);
        bytes
    }

    #[test]
    fn golden_bytes() {
        let bytes = encode(&Record::Checkpoint { extents: 6, bytes: 7 });
        let body = [17, 0, 0, 0, 3, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes[..21], body);
        assert_eq!(bytes[21..], crc32c(&body).to_le_bytes());
        let bytes = encode(&samples()[0]);
        // len, kind, version | run | partial file | recipe | replace, source kind
        assert_eq!(bytes[..9], [98, 0, 0, 0, 1, 2, 0, 0, 0]);
        assert_eq!(bytes[9..25], [9; 16]);
        assert_eq!(bytes[25..41], [5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[41..56], open().recipe.encode());
        assert_eq!(bytes[56..58], [1, 1]);
        assert_eq!(bytes[58..66], [10, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[66..74], [255; 8]);
        assert_eq!(bytes[74..82], [4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[82..90], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[90..98], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[98..102], [2, 0, b'/', b'a']);
        assert_eq!(bytes.len(), 106);
        let extent = encode(&samples()[1]);
        assert_eq!(extent[4..23], [2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(extent.len(), 23 + 2 * ChunkRecord::LEN + 4);
    }

    #[test]
    fn f2_round_trip_in_a_row() {
        let mut bytes = Vec::new();
        samples().iter().fold(0, |chain, record| record.encode(chain, &mut bytes));
        let (mut back, mut chain) = (Vec::new(), 0);
        let mut rest = &bytes[..];
        while let Some((record, len, crc)) = Record::decode(rest, chain).unwrap() {
            back.push(record);
            (rest, chain) = (&rest[len..], crc);
        }
        assert_eq!((back, rest.len()), (samples(), 0));
    }

    #[test]
    fn f1_f3_a_flipped_or_cut_record_is_a_torn_tail() {
        for record in samples() {
            let bytes = encode(&record);
            every_flipped_bit(&bytes, |bytes| !matches!(Record::decode(bytes, 0), Ok(Some(_))));
            every_truncation(&bytes, |bytes| Record::decode(bytes, 0) == Ok(None));
        }
    }

    #[test]
    fn a_record_behind_another_than_its_own_predecessor_is_a_torn_tail() {
        let checkpoint = Record::Checkpoint { extents: 6, bytes: 7 };
        let mut bytes = Vec::new();
        checkpoint.encode(1234, &mut bytes);
        assert!(Record::decode(&bytes, 1234).unwrap().is_some());
        assert_eq!(Record::decode(&bytes, 1235), Ok(None));
        assert_eq!(Record::decode(&bytes, 0), Ok(None));
    }

    #[test]
    fn a_length_that_no_record_has_is_a_torn_tail() {
        let mut bytes = vec![0; 100];
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Record::stated_len(&bytes), None);
        bytes[..4].copy_from_slice(&(RECORD_LEN_MAX as u32 - 8).to_le_bytes());
        assert_eq!(Record::stated_len(&bytes), Some(RECORD_LEN_MAX));
        assert_eq!(Record::decode(&bytes, 0), Ok(None));
    }

    #[test]
    fn an_intact_record_that_makes_no_sense_is_refused() {
        let check = |at: usize, value: u8| {
            let mut bytes = encode(&samples()[0]);
            bytes[at] = value;
            let end = bytes.len() - 4;
            let crc = crc32c(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc.to_le_bytes());
            assert!(Record::decode(&bytes, 0).is_err(), "byte {at} = {value}");
        };
        check(4, 9); // kind
        check(5, 1); // version
        check(4, 3); // a checkpoint with bytes left over
        check(50, 3); // chunks of 8 bytes
        check(56, 2); // whether to replace
        check(57, 4); // kind of source
        check(98, 3); // a name that is longer than the record
    }
}
