//! Every changed, cut, misplaced or stale byte of a container is found, and what is found names the
//! place: each flipped bit, each length, each mixture of two runs' pages.
//!
//! # Invariants
//! - P6: every changed, swapped, misplaced or stale byte of a container is found out by verifying,
//!   and where it belongs to a chunk, that chunk is named and no other.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ringpack::format::header::PlacementKind;
use ringpack::format::seek_table;
use ringpack::limits::HEADER_LEN;
use ringpack::pack::Codec;
use ringpack::verify::VerifyReport;
use ringpack::{ErrorKind, Result};
use support::cases::noise;
use support::forge::{Parts, Shape};
use support::memory::{MemoryDisk, share};
use support::{assert_same, content};

const PAGE: usize = 4096;
const CHUNK: usize = 65_536;

/// What verifying has to say of damage.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Finding {
    /// It can't be opened; one of these is in what is said.
    Refused(&'static [&'static str]),
    /// This chunk is damaged, and nothing else.
    Chunk(u64),
    /// No chunk is, but what is said has this in it.
    Rest(&'static str),
}

impl Finding {
    fn is(&self, found: &Result<VerifyReport>) -> bool {
        let only = |report: &VerifyReport| report.damage_count == 1 && report.damages.len() == 1;
        match (self, found) {
            (Self::Refused(said), Err(error)) => {
                let text = error.to_string();
                error.kind() == ErrorKind::Damaged && said.iter().any(|said| text.contains(said))
            }
            (Self::Chunk(chunk), Ok(report)) => {
                let damage = report.damages.first();
                let named = damage.is_some_and(|damage| damage.chunk() == Some(*chunk));
                only(report) && named && report.damages[0].kind() == ErrorKind::Damaged
            }
            (Self::Rest(said), Ok(report)) => {
                only(report)
                    && report.damages[0].chunk().is_none()
                    && report.damages[0].to_string().contains(said)
            }
            _ => false,
        }
    }
}

/// A container, and where its parts are.
struct Sample {
    what: String,
    content: Vec<u8>,
    bytes: Vec<u8>,
    /// Each part with what damage in it is to be called, in order, without gaps.
    places: Vec<(Range<usize>, Finding)>,
}

impl Sample {
    fn new(shape: Shape, codec: Codec, content: Vec<u8>) -> Self {
        let bytes = shape.pack(&content, codec);
        let places = places(&bytes);
        Self { what: format!("{shape:?}, {codec:?}"), content, bytes, places }
    }

    /// About 64 KiB: seventy chunks, a full extent and a part of one.
    fn of_64_kib(blake3: bool) -> Self {
        let shape = Shape { placement: PlacementKind::Dense, blake3 };
        // Chunks begin with noise and end with zeros.
        let mut content = Vec::new();
        for chunk in 0..70 {
            content.extend(noise(800, chunk));
            content.resize((chunk as usize + 1) * CHUNK, 0);
        }
        content.truncate(69 * CHUNK + 12_345);
        let sample = Self::new(shape, Codec::Zstd(1), content);
        assert!((60 << 10..76 << 10).contains(&sample.bytes.len()), "{}", sample.bytes.len());
        sample
    }

    fn at(&self, byte: usize) -> &Finding {
        let place = self.places.partition_point(|(range, _)| range.end <= byte);
        &self.places[place].1
    }
}

/// The parts of a container, by the sizes that its header states (docs/FORMAT.md).
fn places(bytes: &[u8]) -> Vec<(Range<usize>, Finding)> {
    const HEADER: Finding = Finding::Refused(&["the header"]);
    const TABLE: Finding =
        Finding::Refused(&["seek table", "what follows the header", "the header"]);
    let Parts { header, index, table, .. } = Parts::of(bytes);
    let mut ends = Vec::new();
    for number in 0..index.entries.len() {
        // A frame, and the rest of its slot.
        let next = index.entries.get(number + 1).map_or(header.data_end, |next| next.offset);
        ends.push((next as usize, Finding::Chunk(number as u64)));
    }
    ends.push((header.index_offset as usize, Finding::Rest("the copy of the header")));
    let index_end = (header.index_offset + header.index_len) as usize;
    ends.push((index_end, Finding::Refused(&["index"])));
    ends.push((header.table_offset as usize, HEADER));
    ends.push((header.table_offset as usize + 8, TABLE));
    for number in 0..table.len() {
        let start = header.table_offset as usize + 8 + number * seek_table::ENTRY_LEN;
        ends.push((start + 8, TABLE));
        // A chunk's checksum is compared with its frame's, which says which chunk.
        let is_chunks = number < index.entries.len();
        ends.push((start + 12, if is_chunks { Finding::Chunk(number as u64) } else { TABLE }));
    }
    ends.push((bytes.len(), TABLE));
    let mut start = 0;
    let mut places = Vec::new();
    for (end, finding) in ends {
        assert!(start <= end && end <= bytes.len(), "{start}..{end}");
        if start < end {
            places.push((start..end, finding));
        }
        start = end;
    }
    places
}

/// Flips the bits of `sample` whose numbers `chosen` takes, each alone, and gives how many.
fn check_flips(sample: &Sample, chosen: impl Fn(usize) -> bool + Sync) -> usize {
    let flips = AtomicUsize::new(0);
    let intact = MemoryDisk::new(sample.bytes.clone()).verify(true).unwrap();
    assert_eq!(intact.damage_count, 0, "{}", sample.what);
    let make = || MemoryDisk::new(sample.bytes.clone());
    share(sample.bytes.len() * 8, make, |disk, bit| {
        if !chosen(bit) {
            return;
        }
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        disk.change(|bytes| bytes[at] ^= mask);
        let found = disk.verify(false);
        let expected = sample.at(at);
        let what = || format!("{}: bit {} of byte {at}: {found:?}", sample.what, bit % 8);
        assert!(expected.is(&found), "{}, where {expected:?} was to be found", what());
        // Each byte in its turn: that nothing wrong is given out.
        if bit.is_multiple_of(509) {
            if let Ok(restored) = disk.unpack() {
                assert_same(&restored, &sample.content, &what());
            }
            if let Ok(container) = disk.open() {
                let (given, _) = disk.cat(&container, 0..sample.content.len() as u64);
                assert!(sample.content.starts_with(&given), "{}", what());
            }
        }
        disk.change(|bytes| bytes[at] ^= mask);
        flips.fetch_add(1, Relaxed);
    });
    flips.into_inner()
}

/// All of them, over half a million.
#[test]
fn every_bit_of_64_kib() {
    let sample = Sample::of_64_kib(false);
    assert_eq!(check_flips(&sample, |_| true), 8 * sample.bytes.len());
}

/// The same with digest: every bit outside frames and pads, every seventh of these.
/// Strides are odd, so that each of a byte's bits has its turn.
#[test]
fn bits_of_64_kib_with_digest() {
    let sample = Sample::of_64_kib(true);
    let flips = check_flips(&sample, |bit| {
        let is_chunks = matches!(sample.at(bit / 8), Finding::Chunk(_) | Finding::Rest(_));
        !is_chunks || bit.is_multiple_of(7)
    });
    assert!(flips > 2 * PAGE * 8, "{}: {flips} flips", sample.what);
}

/// Every shape and codec, each 31st bit.
#[test]
fn bits_of_every_shape() {
    for shape in Shape::all() {
        for codec in [Codec::Zstd(3), Codec::Store] {
            let len = if shape.placement == PlacementKind::Slots { CHUNK + 5000 } else { 9000 };
            let sample = Sample::new(shape, codec, content(len, 3));
            let flips = check_flips(&sample, |bit| bit.is_multiple_of(31));
            assert!(flips > sample.bytes.len() / 4, "{}: {flips} flips", sample.what);
        }
    }
}

/// That none of what reads it takes it for a container.
fn check_refused(disk: &MemoryDisk, kinds: &[ErrorKind], what: &str) {
    for (how, error) in [
        ("verify", disk.verify(false).err()),
        ("unpack", disk.unpack().err()),
        ("open", disk.open().err()),
    ] {
        let kind = error.as_ref().map(ringpack::Error::kind);
        assert!(kind.is_some_and(|kind| kinds.contains(&kind)), "{what}, {how}: {error:?}");
    }
}

#[test]
fn every_truncation() {
    let mut samples = vec![Sample::of_64_kib(false), Sample::of_64_kib(true)];
    for shape in Shape::all() {
        samples.push(Sample::new(shape, Codec::Zstd(3), content(9000, 3)));
    }
    for sample in samples {
        share(
            sample.bytes.len(),
            || (),
            |(), len| {
                let disk = MemoryDisk::new(sample.bytes[..len].to_vec());
                // Without its header nothing tells it from another program's file.
                let has_header = len >= header_end(&sample.bytes);
                let kind = if has_header { ErrorKind::Damaged } else { ErrorKind::NotAContainer };
                check_refused(&disk, &[kind], &format!("{}, cut at {len}", sample.what));
            },
        );
    }
}

/// From which length on the header is there.
fn header_end(bytes: &[u8]) -> usize {
    Parts::of(bytes).header_offset() as usize + HEADER_LEN
}

#[test]
fn anything_appended_or_before() {
    for shape in Shape::all() {
        let sample = Sample::new(shape, Codec::Zstd(3), content(9000, 3));
        let other = Sample::new(shape, Codec::Zstd(3), content(9000, 4));
        let len = sample.bytes.len();
        let Parts { header, .. } = Parts::of(&sample.bytes);
        let tail = &sample.bytes[header.data_end as usize..];
        let other_tail = &other.bytes[Parts::of(&other.bytes).header.data_end as usize..];
        let mut tails = vec![
            ("its footer again", sample.bytes[len - 9..].to_vec()),
            ("its tail again", tail.to_vec()),
            ("another run's tail", other_tail.to_vec()),
        ];
        for zeros in (1..=2 * PAGE).step_by(61).chain([1, 4095, PAGE, 4097, 2 * PAGE]) {
            tails.push(("zeros", vec![0; zeros]));
        }
        for (how, more) in &tails {
            let what = format!("{}, and {how}, {} bytes", sample.what, more.len());
            // What is more than a container is read as any Zstandard file is: from its start.
            let kinds = [ErrorKind::Damaged, ErrorKind::NotAContainer];
            for bytes in [[&sample.bytes[..], more].concat(), [more, &sample.bytes[..]].concat()] {
                let disk = MemoryDisk::new(bytes);
                check_refused(&disk, &kinds, &what);
                assert!(is_noticed_by_frames(&disk), "{what}");
            }
        }
        // Whole files, one behind the other, each read in its turn.
        let [a, b] = [&sample, &other].map(|sample| sample.bytes.as_slice());
        let plain = zstd::bulk::compress(b"another program's", 3).unwrap();
        let passed_over = [0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 9];
        for row in [&[a, b][..], &[a, a], &[a, &plain], &[&plain, a], &[a, &passed_over, b]] {
            let (disk, what) = (MemoryDisk::new(row.concat()), format!("{}, a row", sample.what));
            check_refused(&disk, &[ErrorKind::NotAContainer], &what);
            let expected = zstd::stream::decode_all(&row.concat()[..]).unwrap();
            assert!(disk.unpack_foreign().unwrap() == expected, "{what}");
            assert_eq!(disk.verify_foreign().unwrap().damage_count, 0, "{what}");
        }
    }
}

/// Whether reading frame by frame finds anything.
fn is_noticed_by_frames(disk: &MemoryDisk) -> bool {
    let is_found = disk.verify_foreign().map_or(true, |report| report.damage_count > 0);
    is_found && disk.unpack_foreign().is_err()
}

/// A container that lost frames, behind another program's file that is longer than what is missing:
/// its header's sizes lead to a place within that file.
#[test]
fn a_container_without_some_of_its_frames_behind_another_file() {
    let shape = Shape { placement: PlacementKind::Dense, blake3: false };
    let bytes = shape.pack(&content(200_000, 9), Codec::Zstd(3));
    let parts = Parts::of(&bytes);
    let entry = parts.index.entries[1];
    let (start, end) = (entry.offset as usize, entry.offset as usize + entry.frame_len as usize);
    let missing = [&bytes[..start], &bytes[end..]].concat();
    for before in [1, 2, 9] {
        let plain: Vec<u8> =
            (0..before).flat_map(|_| zstd::bulk::compress(&noise(30_000, 3), 1).unwrap()).collect();
        let whole = MemoryDisk::new([&plain[..], &bytes].concat());
        assert_eq!(whole.verify_foreign().unwrap().damage_count, 0, "{before} frames before");
        let disk = MemoryDisk::new([&plain[..], &missing].concat());
        let report = disk.verify_foreign().unwrap();
        assert!(report.damage_count > 0, "{before} frames before");
        assert!(disk.unpack_foreign().is_err(), "{before} frames before");
    }
}

/// Whether verifying finds anything.
fn is_noticed(found: &Result<VerifyReport>) -> bool {
    match found {
        Ok(report) => report.damage_count > 0,
        Err(error) => matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotAContainer),
    }
}

/// What a device or a file system does: pages never written, or written to each other's places.
#[test]
fn pages_zeroed_swapped_and_misplaced() {
    let mut samples = vec![Sample::of_64_kib(false), Sample::of_64_kib(true)];
    for shape in Shape::all() {
        let len = if shape.placement == PlacementKind::Slots { 2 * CHUNK } else { 9 * CHUNK };
        let zstd = Sample::new(shape, Codec::Zstd(3), content(len, 3));
        samples.extend([zstd, Sample::new(shape, Codec::Store, content(len / 2, 3))]);
    }
    for sample in samples {
        let pages: Vec<&[u8]> = sample.bytes.chunks(PAGE).collect();
        let count = pages.len();
        let check = |what: String, pages: Vec<&[u8]>| {
            let bytes = pages.concat();
            if bytes != sample.bytes {
                let found = MemoryDisk::new(bytes).verify(false);
                assert!(is_noticed(&found), "{}: {what}: {found:?}", sample.what);
            }
        };
        share(
            count,
            || (),
            |(), first| {
                let mut zeroed = pages.clone();
                zeroed[first] = &[0; PAGE];
                check(format!("page {first} is zeros"), zeroed);
                for second in 0..count {
                    let mut copied = pages.clone();
                    copied[first] = pages[second];
                    check(format!("page {first} is page {second}"), copied);
                    let mut swapped = pages.clone();
                    swapped.swap(first, second);
                    check(format!("pages {first} and {second} are swapped"), swapped);
                }
            },
        );
    }
}

/// What a writer leaves that was cut off, or that wrote over an older run: every mixture of the
/// pages of two runs, of the same input a little changed and of another one.
#[test]
fn every_mixture_of_two_runs() {
    let old = Sample::of_64_kib(true);
    let count = old.bytes.len() / PAGE;
    let mut changed = old.content.clone();
    // A byte each in the first chunks' noise.
    (0..70).step_by(5).for_each(|chunk| changed[chunk * CHUNK + 7] ^= 1);
    let mut other = old.content.clone();
    for chunk in 0..70 {
        let start = chunk * CHUNK;
        other[start..start + 400].copy_from_slice(&noise(400, 1000 + chunk as u64));
    }
    let shape = Shape { placement: PlacementKind::Dense, blake3: true };
    for (name, content) in [("changed", changed), ("another", other)] {
        let new = shape.pack(&content, Codec::Zstd(1));
        assert_eq!(new.len(), old.bytes.len(), "{name}: the runs are alike");
        let mixtures = AtomicUsize::new(0);
        share(
            1 << count,
            || MemoryDisk::new(old.bytes.clone()),
            |disk, choice| {
                let page = |number: usize| number * PAGE..(number + 1) * PAGE;
                disk.change(|bytes| {
                    for number in 0..count {
                        let from = if choice >> number & 1 == 0 { &old.bytes } else { &new };
                        bytes[page(number)].copy_from_slice(&from[page(number)]);
                    }
                });
                let mut is_whole = false;
                disk.change(|bytes| is_whole = *bytes == old.bytes || *bytes == new);
                let found = disk.verify(false);
                assert_eq!(is_noticed(&found), !is_whole, "{name}, {choice:b}: {found:?}");
                mixtures.fetch_add(usize::from(!is_whole), Relaxed);
            },
        );
        assert!(mixtures.into_inner() > 1 << (count - 3), "{name}: the runs differ");
    }
}
