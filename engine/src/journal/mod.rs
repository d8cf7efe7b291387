//! The journal: a file beside the partial file that says which part of it is durable.
//!
//! It is appended to at each checkpoint and read once, by the run that goes on after a crash. The
//! writer's order is what makes it true:
//!
//! ```text
//! extents written ─► fdatasync(partial) ─► append EXTENT…, CHECKPOINT ─► fdatasync ─► report
//!                    └ their bytes are durable  └ only now may a crash find it
//! ```
//!
//! so a checkpoint that can be read at all names nothing that isn't on the medium, and one that was
//! reported can be read after any crash. What stands behind the last intact checkpoint counts for
//! nothing. The format of the records is in [`crate::format::record`].
//!
//! A journal is never gone on with in place: whoever resumes writes what it adopted into a new one
//! that takes the name. The old one may show bytes, out of the page cache, that a failed sync has
//! kept from the medium, and what is appended behind such bytes can't be read after a power cut.
//!
//! # Invariants
//! - J1: a record is appended only after a sync of the partial file succeeded that was issued when
//!   every extent it names was complete.
//! - J2: a checkpoint is reported only after its record, and the names of both files, are durable.
//! - J3: after a write or sync of it failed, nothing more is appended; except after a write that
//!   found no room, which the next write repeats, byte for byte and at the same place, before it
//!   says more.
//! - J4: replay yields extents `0..n` in order, each at the place that the lengths before it give;
//!   of a program that gives chunks in any order, each in its slot, once; and nothing that an
//!   intact checkpoint doesn't cover.

pub mod replay;
pub mod writer;

pub use replay::Replay;
pub use writer::Journal;

use crate::format::record::ChunkRecord;

/// What a checkpoint covers, durable: a prefix of the content; where a program gives chunks in any
/// order into slots, any of them.
///
/// ```
/// use ringpack::write::{ContainerWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.zst");
/// let writer = ContainerWriter::create(&path, &WriteOptions::default())?;
/// writer.write_chunk(9, &[7; 1 << 20])?;
/// let checkpoint = writer.checkpoint()?;
/// assert_eq!((checkpoint.chunks, checkpoint.bytes), (1, 1 << 20));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Checkpoint {
    /// Extents.
    pub extents: u64,
    /// Chunks of these extents.
    pub chunks: u64,
    /// Content they hold, in bytes.
    pub bytes: u64,
    /// Where the furthest of them ends in the container.
    pub data_end: u64,
}

impl Checkpoint {
    /// What is covered before the first: nothing.
    #[must_use]
    pub fn start() -> Self {
        Self::default()
    }
}

/// An extent that a journal names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournaledExtent {
    /// Its number.
    pub number: u64,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::format::header::{CodecKind, PlacementKind};
    use crate::format::index::Entry;
    use crate::format::layout::{Geometry, Places};
    use crate::format::recipe::Recipe;
    use crate::format::record::{Open, PartialIdentity, Record, SourceIdentity, SourceKind};
    use crate::ring::file::{Directory, Disk};
    use crate::ring::sim::{Fault, SimDisk, SimOptions};
    use std::ffi::OsStr;
    use std::path::Path;
    use std::sync::Arc;

    const NAME: &str = "out.ringpack-journal";

    fn geometry() -> Geometry {
        Geometry::new(16, PlacementKind::Dense).with_extent_chunks(2)
    }

    fn open(run: u8) -> Open {
        Open {
            run: [run; 16],
            partial: PartialIdentity::default(),
            recipe: Recipe {
                codec: CodecKind::Store,
                level: 0,
                zstd_version: 10_507,
                geometry: geometry(),
                blake3: false,
            },
            replace: false,
            source: SourceIdentity::default(),
            name: Vec::new(),
        }
    }

    /// Extents of two full chunks whose frames are 1000 and 3096 bytes long.
    fn extent(number: u64) -> JournaledExtent {
        let offset = number * 4096;
        let chunk = |at: u64, frame_len: u32| ChunkRecord {
            entry: Entry {
                offset: offset + at,
                frame_len,
                raw_len: 1 << 16,
                frame_crc32c: number as u32,
                raw_crc32c: 7,
            },
            xxh64_low: 9,
            chaining: [0; 32],
        };
        JournaledExtent { number, chunks: vec![chunk(0, 1000), chunk(1000, 3096)] }
    }

    fn covering(extents: u64) -> Checkpoint {
        let mut places = Places::new(geometry());
        for number in 0..extents {
            for chunk in extent(number).chunks {
                assert_eq!(places.place(chunk.entry.frame_len), Some(chunk.entry.offset));
            }
        }
        let (chunks, data_end) = (2 * extents, places.end());
        Checkpoint { extents, chunks, bytes: chunks << 16, data_end }
    }

    fn directory(disk: &SimDisk) -> Arc<dyn Directory> {
        disk.directory(Path::new("/")).unwrap()
    }

    fn replay(disk: &SimDisk) -> crate::Result<Option<(Open, Checkpoint, u64)>> {
        let file = directory(disk).open_existing(OsStr::new(NAME), false).unwrap();
        let Some(replay) = Replay::read(file)? else {
            return Ok(None);
        };
        let mut next = 0;
        replay.each_extent(|found| {
            assert_eq!(found, extent(next));
            next += 1;
            Ok(())
        })?;
        Ok(Some((replay.open().clone(), replay.covered(), next)))
    }

    /// A journal with a checkpoint after each of `count` extents, and the length at each.
    fn written(disk: &SimDisk, count: u64) -> Vec<usize> {
        let mut journal = Journal::create(&directory(disk), OsStr::new(NAME), open(1)).unwrap();
        let lens = (0..count).map(|number| {
            journal.append(extent(number));
            journal.checkpoint(&covering(number + 1)).unwrap();
            disk.read_file(Path::new("/").join(NAME)).unwrap().len()
        });
        lens.collect()
    }

    fn with_bytes(bytes: &[u8]) -> SimDisk {
        let disk = SimDisk::new(1, SimOptions::default());
        disk.write_file(Path::new("/").join(NAME), bytes);
        disk
    }

    #[test]
    fn j4_a_journal_cut_anywhere_gives_the_last_checkpoint_before_the_cut() {
        let disk = SimDisk::new(1, SimOptions::default());
        let ends = written(&disk, 4);
        let bytes = disk.read_file(Path::new("/").join(NAME)).unwrap();
        let mut first = Vec::new();
        Record::Open(open(1)).encode(0, &mut first);
        for len in 0..=bytes.len() {
            let found = replay(&with_bytes(&bytes[..len])).unwrap();
            let covered = ends.iter().filter(|&&end| end <= len).count() as u64;
            let expected = (len >= first.len()).then(|| (open(1), covering(covered), covered));
            assert_eq!(found, expected, "cut at {len}");
        }
    }

    #[test]
    fn j4_every_flipped_bit_ends_the_journal_before_it() {
        let disk = SimDisk::new(1, SimOptions::default());
        let ends = written(&disk, 3);
        let bytes = disk.read_file(Path::new("/").join(NAME)).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = replay(&with_bytes(&bytes)).unwrap();
            let covered = ends.iter().filter(|&&end| end <= bit / 8).count() as u64;
            let found = found.map_or(0, |(_, covered, _)| covered.extents);
            assert_eq!(found, covered, "bit {bit}");
        }
    }

    #[test]
    fn records_of_another_run_behind_the_end_are_no_part_of_it() {
        let disk = SimDisk::new(1, SimOptions::default());
        let mut other = Journal::create(&directory(&disk), OsStr::new("other"), open(2)).unwrap();
        for number in 0..4 {
            other.append(extent(number));
            other.checkpoint(&covering(number + 1)).unwrap();
        }
        let theirs = disk.read_file("/other").unwrap();
        let ends = written(&disk, 2);
        let mut bytes = disk.read_file(Path::new("/").join(NAME)).unwrap();
        // As a file system that reuses a block may show it: in place, past what is ours.
        assert_eq!(bytes.len(), ends[1]);
        bytes.extend(&theirs[ends[1]..]);
        let (_, covered, _) = replay(&with_bytes(&bytes)).unwrap().unwrap();
        assert_eq!(covered, covering(2));
    }

    #[test]
    fn j4_intact_records_that_make_no_sense_are_refused() {
        let check = |records: &[Record], what: &str| {
            let mut bytes = Vec::new();
            let chain = Record::Open(open(1)).encode(0, &mut bytes);
            records.iter().fold(chain, |chain, record| record.encode(chain, &mut bytes));
            let refused = replay(&with_bytes(&bytes)).expect_err(what);
            assert_eq!(refused.kind(), ErrorKind::Damaged, "{what}: {refused}");
        };
        let record = |number: u64, change: &dyn Fn(&mut Vec<ChunkRecord>)| {
            let mut chunks = extent(number).chunks;
            change(&mut chunks);
            let offset = chunks.first().map_or(4096, |chunk| chunk.entry.offset);
            Record::Extent { number, offset, chunks }
        };
        let fine = || record(0, &|_| {});
        check(&[Record::Open(open(1))], "opened twice");
        check(&[record(1, &|_| {})], "not the first");
        check(&[fine(), fine()], "the same again");
        check(&[record(0, &|chunks| chunks.clear())], "no chunks");
        check(&[record(0, &|chunks| chunks.push(chunks[1]))], "three chunks of two");
        check(&[record(0, &|chunks| chunks[0].entry.raw_len -= 1)], "a short one in the middle");
        check(&[record(0, &|chunks| chunks[1].entry.raw_len += 1)], "a long one");
        check(&[record(0, &|chunks| chunks[1].entry.raw_len = 0)], "an empty one");
        check(&[record(0, &|chunks| chunks[1].entry.frame_len = 12)], "a frame too short");
        check(&[record(0, &|chunks| chunks[0].entry.frame_len = u32::MAX)], "a frame too long");
        check(&[record(0, &|chunks| chunks[1].entry.offset += 1)], "a gap");
        check(&[record(0, &|chunks| chunks[0].entry.offset = 4096)], "behind its place");
        check(&[record(0, &|chunks| chunks[1].entry.frame_len -= 1)], "full, off the grid");
        let shortened = record(0, &|chunks| chunks[1].entry.raw_len -= 1);
        check(&[shortened, record(1, &|_| {})], "something behind the end");
        check(&[record(0, &|chunks| chunks.truncate(1)), record(1, &|_| {})], "behind a short one");
        let Checkpoint { bytes, .. } = covering(1);
        check(&[fine(), Record::Checkpoint { extents: 2, bytes }], "counts too many");
        check(&[fine(), Record::Checkpoint { extents: 1, bytes: bytes + 1 }], "too many bytes");
        let mut headless = Vec::new();
        Record::Checkpoint { extents: 0, bytes: 0 }.encode(0, &mut headless);
        assert!(replay(&with_bytes(&headless)).is_err());
    }

    /// A program's journal, in which `numbers` are named: full chunks in slots, but for `change`.
    fn scattered(numbers: &[u64], change: &dyn Fn(u64, &mut ChunkRecord)) -> Vec<u8> {
        let geometry = Geometry::new(16, PlacementKind::Slots);
        let recipe = Recipe { geometry, ..open(1).recipe };
        let source = SourceIdentity { kind: SourceKind::Chunks, ..SourceIdentity::default() };
        let mut bytes = Vec::new();
        let mut chain = Record::Open(Open { recipe, source, ..open(1) }).encode(0, &mut bytes);
        let (mut extents, mut content) = (0, 0);
        for &number in numbers {
            let offset = number.wrapping_mul(geometry.slot_len());
            let mut chunk = ChunkRecord {
                entry: Entry { offset, ..extent(0).chunks[0].entry },
                ..extent(0).chunks[0]
            };
            change(number, &mut chunk);
            extents += 1;
            content += u64::from(chunk.entry.raw_len);
            let record = Record::Extent { number, offset, chunks: vec![chunk] };
            chain = record.encode(chain, &mut bytes);
        }
        Record::Checkpoint { extents, bytes: content }.encode(chain, &mut bytes);
        bytes
    }

    #[test]
    fn j4_a_program_s_extents_are_named_in_any_order_once_and_in_their_slots() {
        let read = |bytes: Vec<u8>| {
            let file = directory(&with_bytes(&bytes)).open_existing(OsStr::new(NAME), false);
            Replay::read(file.unwrap())
        };
        let fine = read(scattered(&[7, 0, 900_000, 3], &|_, _| {})).unwrap().unwrap();
        let mut named = Vec::new();
        fine.each_extent(|extent| {
            named.push(extent.number);
            Ok(())
        })
        .unwrap();
        assert_eq!(named, [7, 0, 900_000, 3]);
        let covered = fine.covered();
        assert_eq!((covered.extents, covered.chunks), (4, 4));
        let slot_len = Geometry::new(16, PlacementKind::Slots).slot_len();
        assert_eq!(covered.data_end, 900_001 * slot_len);
        let short = |at: u64| {
            move |number: u64, chunk: &mut ChunkRecord| {
                chunk.entry.raw_len -= u32::from(number == at);
            }
        };
        assert!(read(scattered(&[2, 9, 4], &short(9))).is_ok());
        let check = |bytes: Vec<u8>, what: &str| {
            let refused = read(bytes).expect_err(what);
            assert_eq!(refused.kind(), ErrorKind::Damaged, "{what}: {refused}");
        };
        check(scattered(&[2, 9, 2], &|_, _| {}), "named twice");
        check(scattered(&[2, 9, 4], &short(4)), "a short one before others");
        check(scattered(&[4, 9], &short(4)), "something behind the end");
        check(scattered(&[4, 9], &|_, chunk| chunk.entry.raw_len -= 1), "two short ones");
        check(scattered(&[4], &|_, chunk| chunk.entry.raw_len += 1), "a long one");
        check(scattered(&[4], &|_, chunk| chunk.entry.raw_len = 0), "an empty one");
        check(scattered(&[4], &|_, chunk| chunk.entry.frame_len = 12), "a frame too short");
        check(scattered(&[4], &|_, chunk| chunk.entry.offset += 4096), "in another slot");
        check(scattered(&[u64::MAX], &|_, _| {}), "an impossible number");
        check(scattered(&[1 << 32], &|_, _| {}), "more than can be given");
    }

    #[test]
    fn j2_a_reported_checkpoint_survives_every_power_cut() {
        for garbage in [false, true] {
            let disk = SimDisk::new(1, SimOptions { garbage, ..SimOptions::default() });
            let mut journal =
                Journal::create(&directory(&disk), OsStr::new(NAME), open(1)).unwrap();
            for number in 0..5 {
                journal.append(extent(number));
                journal.checkpoint(&covering(number + 1)).unwrap();
                journal.append(extent(number + 1));
                // The next batch is on its way.
                journal.write().unwrap();
                for seed in 0..100 {
                    let (_, covered, _) = replay(&disk.crash(seed)).unwrap().unwrap();
                    assert_eq!(covered, covering(number + 1), "power cut {seed}");
                }
                journal = written_again(&disk, number + 1);
            }
        }
    }

    /// The same journal made anew, in place of the one that is there.
    fn written_again(disk: &SimDisk, extents: u64) -> Journal {
        let names = (OsStr::new(NAME), OsStr::new("out.ringpack-rewrite"));
        let mut take = |number| Ok(extent(number));
        Journal::replace(&directory(disk), names, open(1), &covering(extents), &mut take).unwrap()
    }

    #[test]
    fn j2_a_journal_that_takes_anothers_place_is_whole_at_every_moment() {
        let disk = SimDisk::new(1, SimOptions::default());
        written(&disk, 3);
        // Left by an attempt that was cut off.
        disk.write_file("/out.ringpack-rewrite", b"unfinished");
        for syncs in 1..=2 {
            let copy = disk.killed();
            let names = (OsStr::new(NAME), OsStr::new("out.ringpack-rewrite"));
            let mut take = |number| Ok(extent(number));
            let failing = SimOptions {
                fail_sync: Some(Fault { nth: syncs, errno: libc::EIO }),
                ..SimOptions::default()
            };
            copy.set_options(failing);
            let at = directory(&copy);
            let failed = Journal::replace(&at, names, open(1), &covering(3), &mut take);
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Output);
            for seed in 0..50 {
                let (_, covered, _) = replay(&copy.crash(seed)).unwrap().unwrap();
                assert_eq!(covered, covering(3), "sync {syncs} failed, power cut {seed}");
            }
        }
        written_again(&disk, 3);
        for seed in 0..50 {
            let (_, covered, _) = replay(&disk.crash(seed)).unwrap().unwrap();
            assert_eq!(covered, covering(3));
        }
        assert_eq!(disk.names("/"), [NAME]);
    }

    #[test]
    fn j3_after_a_failure_nothing_is_appended_and_the_checkpoint_before_stands() {
        for (fail_write, fail_sync) in [(Some(2), None), (None, Some(3))] {
            let fault = |nth: Option<u64>| nth.map(|nth| Fault { nth, errno: libc::EIO });
            let options = SimOptions {
                fail_write: fault(fail_write),
                fail_sync: fault(fail_sync),
                ..SimOptions::default()
            };
            let disk = SimDisk::new(1, options);
            let mut journal =
                Journal::create(&directory(&disk), OsStr::new(NAME), open(1)).unwrap();
            journal.append(extent(0));
            journal.checkpoint(&covering(1)).unwrap();
            journal.append(extent(1));
            assert_eq!(journal.checkpoint(&covering(2)).unwrap_err().kind(), ErrorKind::Output);
            let (_, covered, _) = replay(&disk.crash(1)).unwrap().unwrap();
            assert_eq!(covered, covering(1));
            let again = std::panic::AssertUnwindSafe(|| journal.checkpoint(&covering(2)));
            assert!(std::panic::catch_unwind(again).is_err(), "tried again");
        }
    }
}
