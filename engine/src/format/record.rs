//! Journal records: what a checkpoint says, as bytes.
//!
//! ```text
//! len u32 (of kind and payload) | kind u8 | payload | crc32c of all before it u32
//! ```
//!
//! A journal is read until the first record that is cut short or doesn't match its checksum: a
//! torn tail is where the journal ends, not an error.

use super::index::{CHAINING_LEN, ChainingValue, Entry};
use super::{Cursor, Decoded, FormatError};
use crate::checksum::crc32c;

/// Version of the journal's own format.
pub const JOURNAL_VERSION: u32 = 1;

/// Chunks that one extent record may name.
const CHUNKS_MAX: usize = u16::MAX as usize;

/// What the source was when packing began, so that a resume can tell whether it still is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourceIdentity {
    /// 0 stream, 1 regular file, 2 block device.
    pub kind: u8,
    /// Length in bytes, 0 for a stream.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
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

/// A journal record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The first: what is being written, from what, by which run.
    Open {
        /// Of the options that decide the bytes.
        options_fingerprint: u64,
        /// Of the input.
        source: SourceIdentity,
        /// Also in the partial file's open header.
        run_id: [u8; 16],
    },
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
    /// Appends the record to `out`. An extent has at most 65,535 chunks.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        match self {
            Self::Open { options_fingerprint, source, run_id } => {
                out.push(1);
                out.extend(JOURNAL_VERSION.to_le_bytes());
                out.extend(options_fingerprint.to_le_bytes());
                out.push(source.kind);
                out.extend(source.size.to_le_bytes());
                out.extend(source.mtime_ns.to_le_bytes());
                out.extend(source.device.to_le_bytes());
                out.extend(source.inode.to_le_bytes());
                out.extend(run_id);
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
        let crc = crc32c(out.get(start..).unwrap_or_default());
        out.extend(crc.to_le_bytes());
    }

    /// Reads the record at the front of `bytes` and how many bytes it takes, or `None` at a torn
    /// tail.
    ///
    /// # Errors
    /// `Unsupported` or `Damaged` for an intact record that makes no sense.
    pub fn decode(bytes: &[u8]) -> Decoded<Option<(Self, usize)>> {
        let mut cursor = Cursor::new(bytes);
        let Ok(len) = cursor.u32() else {
            return Ok(None);
        };
        let total = len as usize + 8;
        let Some((body, stated)) =
            bytes.get(..total).and_then(|record| record.split_last_chunk::<4>())
        else {
            return Ok(None);
        };
        if crc32c(body).to_le_bytes() != *stated {
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
                Self::Open {
                    options_fingerprint: cursor.u64()?,
                    source: SourceIdentity {
                        kind: cursor.u8()?,
                        size: cursor.u64()?,
                        mtime_ns: cursor.array().map(i64::from_le_bytes)?,
                        device: cursor.u64()?,
                        inode: cursor.u64()?,
                    },
                    run_id: cursor.array()?,
                }
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
        Ok(Some((record, total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::{every_flipped_bit, every_truncation};

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
            Record::Open {
                options_fingerprint: 0x1122_3344_5566_7788,
                source: SourceIdentity { kind: 1, size: 10, mtime_ns: -1, device: 2, inode: 3 },
                run_id: [9; 16],
            },
            Record::Extent { number: 5, offset: 4096, chunks: vec![chunk(1), chunk(2)] },
            Record::Checkpoint { extents: 6, bytes: 7 },
        ]
    }

    fn encode(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }

    #[test]
    fn golden_bytes() {
        let bytes = encode(&Record::Checkpoint { extents: 6, bytes: 7 });
        let body = [17, 0, 0, 0, 3, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes[..21], body);
        assert_eq!(bytes[21..], crc32c(&body).to_le_bytes());
        let open = encode(&samples()[0]);
        assert_eq!(open[..9], [62, 0, 0, 0, 1, 1, 0, 0, 0]);
        assert_eq!(open[9..18], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 1]);
        assert_eq!(open.len(), 70);
        let extent = encode(&samples()[1]);
        assert_eq!(extent[4..23], [2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(extent.len(), 23 + 2 * ChunkRecord::LEN + 4);
    }

    #[test]
    fn f2_round_trip_in_a_row() {
        let mut bytes = Vec::new();
        samples().iter().for_each(|record| record.encode(&mut bytes));
        let mut back = Vec::new();
        let mut rest = &bytes[..];
        while let Some((record, len)) = Record::decode(rest).unwrap() {
            back.push(record);
            rest = &rest[len..];
        }
        assert_eq!((back, rest.len()), (samples(), 0));
    }

    #[test]
    fn f1_f3_a_flipped_or_cut_record_is_a_torn_tail() {
        for record in samples() {
            let bytes = encode(&record);
            every_flipped_bit(&bytes, |bytes| !matches!(Record::decode(bytes), Ok(Some(_))));
            every_truncation(&bytes, |bytes| Record::decode(bytes) == Ok(None));
        }
    }

    #[test]
    fn an_intact_record_that_makes_no_sense_is_refused() {
        let check = |at: usize, value: u8| {
            let mut bytes = encode(&samples()[0]);
            bytes[at] = value;
            let end = bytes.len() - 4;
            let crc = crc32c(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc.to_le_bytes());
            assert!(Record::decode(&bytes).is_err(), "byte {at} = {value}");
        };
        check(4, 9); // kind
        check(5, 2); // version
        check(4, 3); // a checkpoint with bytes left over
    }
}
