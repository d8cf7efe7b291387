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
    /// It is no container of ours at all.
    Foreign,
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
            (Self::Foreign, Err(error)) => error.kind() == ErrorKind::NotAContainer,
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

    /// 64 KiB in all: seventy chunks, an extent and a part of one, a pad after each.
    fn of_64_kib(blake3: bool, streamed: bool) -> Self {
        let shape = Shape { placement: PlacementKind::Dense, blake3, streamed };
        // Chunks begin with noise and end with zeros; more noise until the container is as long as
        // it is to be.
        for noisy in (500..900).step_by(20) {
            let mut content = Vec::new();
            for chunk in 0..70 {
                content.extend(noise(noisy, chunk));
                content.resize((chunk as usize + 1) * CHUNK, 0);
            }
            content.truncate(69 * CHUNK + 12_345);
            let sample = Self::new(shape, Codec::Zstd(1), content);
            if sample.bytes.len() == 16 * PAGE {
                return sample;
            }
        }
        panic!("no content gives a container of 64 KiB");
    }

    fn at(&self, byte: usize) -> &Finding {
        let place = self.places.partition_point(|(range, _)| range.end <= byte);
        &self.places[place].1
    }
}

/// The parts of a container, by the sizes that its header states (docs/FORMAT.md).
fn places(bytes: &[u8]) -> Vec<(Range<usize>, Finding)> {
    const HEADER: Finding = Finding::Refused(&["the header"]);
    const TABLE: Finding = Finding::Refused(&["seek table", "the end of this streamed container"]);
    let Parts { header, index, table, tail_pad, front, .. } = Parts::of(bytes);
    // The skippable frame's prefix and the magic tell a container from another file.
    let mut ends = vec![(16, Finding::Foreign), (PAGE, HEADER)];
    for number in 0..index.entries.len() {
        // A frame, and the pad that may follow it.
        let next = index.entries.get(number + 1).map_or(header.data_end, |next| next.offset);
        ends.push((next as usize, Finding::Chunk(number as u64)));
    }
    let index_end = (header.index_offset + header.index_len) as usize;
    ends.push((index_end, Finding::Refused(&["index"])));
    if front.is_some() {
        ends.push((index_end + PAGE, Finding::Refused(&["the end of this streamed container"])));
    }
    ends.push((header.table_offset as usize, Finding::Rest("tail pad")));
    assert_eq!(header.table_offset - tail_pad, ends[ends.len() - 2].0 as u64);
    ends.push((header.table_offset as usize + 8, TABLE));
    for number in 0..table.len() {
        let start = header.table_offset as usize + 8 + number * seek_table::ENTRY_LEN;
        ends.push((start + 8, TABLE));
        // A chunk's checksum is compared with its frame's, which says which chunk.
        let chunk = (1..=index.entries.len()).contains(&number);
        ends.push((start + 12, if chunk { Finding::Chunk(number as u64 - 1) } else { TABLE }));
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

/// All 524,288 of them.
#[test]
fn every_bit_of_64_kib() {
    let sample = Sample::of_64_kib(false, false);
    assert_eq!(check_flips(&sample, |_| true), 8 << 16);
}

/// The same with digest, and streamed: every bit outside frames and pads, every seventh of these.
/// Strides are odd, so that each of a byte's bits has its turn.
#[test]
fn bits_of_64_kib_with_digest() {
    for streamed in [false, true] {
        let sample = Sample::of_64_kib(true, streamed);
        let flips = check_flips(&sample, |bit| {
            let is_chunks = matches!(sample.at(bit / 8), Finding::Chunk(_) | Finding::Rest(_));
            !is_chunks || bit.is_multiple_of(7)
        });
        assert!(flips > 2 * PAGE * 8, "{}: {flips} flips", sample.what);
    }
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
    let mut samples = vec![Sample::of_64_kib(false, false), Sample::of_64_kib(true, true)];
    for shape in Shape::all() {
        samples.push(Sample::new(shape, Codec::Zstd(3), content(9000, 3)));
    }
    for sample in samples {
        share(
            sample.bytes.len(),
            || (),
            |(), len| {
                let disk = MemoryDisk::new(sample.bytes[..len].to_vec());
                // Below the magic's end nothing tells it from another file.
                let kind = if len < 16 { ErrorKind::NotAContainer } else { ErrorKind::Damaged };
                check_refused(&disk, &[kind], &format!("{}, cut at {len}", sample.what));
            },
        );
    }
}

#[test]
fn anything_appended_or_before() {
    for shape in Shape::all() {
        let sample = Sample::new(shape, Codec::Zstd(3), content(9000, 3));
        let other = Sample::new(shape, Codec::Zstd(3), content(9000, 4));
        let len = sample.bytes.len();
        let Parts { header, .. } = Parts::of(&sample.bytes);
        let table = &sample.bytes[header.table_offset as usize..];
        let tail = &sample.bytes[header.data_end as usize..];
        let other_tail = &other.bytes[Parts::of(&other.bytes).header.data_end as usize..];
        let mut tails = vec![
            ("its seek table again", table.to_vec()),
            ("its footer again", sample.bytes[len - 9..].to_vec()),
            ("its tail again", tail.to_vec()),
            ("itself", sample.bytes.clone()),
            ("another run", other.bytes.clone()),
            ("another run's tail", other_tail.to_vec()),
        ];
        for zeros in (1..=2 * PAGE).step_by(61).chain([1, 4095, PAGE, 4097, 2 * PAGE]) {
            tails.push(("zeros", vec![0; zeros]));
        }
        for (how, more) in &tails {
            let what = format!("{}, and {how}, {} bytes", sample.what, more.len());
            let appended = MemoryDisk::new([&sample.bytes[..], more].concat());
            check_refused(&appended, &[ErrorKind::Damaged], &what);
            let before = MemoryDisk::new([more, &sample.bytes[..]].concat());
            let kinds = [ErrorKind::Damaged, ErrorKind::NotAContainer];
            check_refused(&before, &kinds, &format!("{what}, before"));
        }
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
    let mut samples = vec![Sample::of_64_kib(false, false), Sample::of_64_kib(true, true)];
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
    let old = Sample::of_64_kib(true, false);
    let count = old.bytes.len() / PAGE;
    let mut changed = old.content.clone();
    // A byte each in the first chunks' noise.
    (0..70).step_by(5).for_each(|chunk| changed[chunk * CHUNK + 7] ^= 1);
    let mut other = old.content.clone();
    for chunk in 0..70 {
        let start = chunk * CHUNK;
        other[start..start + 400].copy_from_slice(&noise(400, 1000 + chunk as u64));
    }
    let shape = Shape { placement: PlacementKind::Dense, blake3: true, streamed: false };
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
