//! Containers made by an attacker: whatever they say, their checksums fit.
//!
//! Each attack changes the parts of an intact container and mends the sums after it. Nothing may
//! panic, take memory by a number that the file doesn't bear out, or give out a byte that isn't
//! what the index vouches for; and each refusal is of its kind and names the chunk where there is
//! one.
//!
//! # Invariants
//! - P7: memory, time and output are bounded whatever the input says.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;
use ringpack::ErrorKind;
use ringpack::checksum::crc32c;
use ringpack::format::frame::{encode_store, store_len};
use ringpack::format::header::{Digest, Header, PlacementKind};
use ringpack::format::index::{self, Entry};
use ringpack::format::layout::{Geometry, Tail};
use ringpack::format::seek_table;
use ringpack::limits::{ALIGN, HEADER_LEN as HEADER};
use ringpack::pack::Codec;
use support::cases::noise;
use support::forge::{Parts, Shape};
use support::memory::MemoryDisk;
use support::{binary, content, has_tool, names, run, skip};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const CHUNK: usize = 65_536;
const MIB: usize = 1 << 20;

/// What looking at a container may take beyond what it takes itself. Two buffers of 4 MiB a side
/// are what a worker has for chunks of 64 KiB; opening reads a MiB at a time.
const MEMORY_MAX: usize = 24 * MIB;

/// One test at a time, for what is measured is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `work` takes at most, beside what is taken already.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let result = work();
    (result, HEAP.peak_usage().saturating_sub(before))
}

fn sample_content() -> Vec<u8> {
    content(2 * CHUNK + 5000, 42)
}

/// Three chunks of each shape, and what messages call them.
fn samples() -> Vec<(String, Parts)> {
    let content = sample_content();
    let of =
        |shape: Shape| (format!("{shape:?}"), Parts::of(&shape.pack(&content, Codec::Zstd(3))));
    Shape::all().into_iter().map(of).collect()
}

/// Everything that reads the container refuses it at once, as `kind`, in little memory.
fn check_refused_disk(disk: &MemoryDisk, kind: ErrorKind, what: &str) {
    let check = |how, (error, peak): (Option<ringpack::Error>, usize)| {
        let found = error.as_ref().map(ringpack::Error::kind);
        assert_eq!(found, Some(kind), "{what}, {how}: {error:?}");
        assert!(peak < MEMORY_MAX, "{what}, {how}: {peak} bytes");
    };
    check("open", peak_of(|| disk.open().err()));
    check("verify", peak_of(|| disk.verify(false).err()));
    check("verify --decode", peak_of(|| disk.verify(true).err()));
    let ((unpacked, trace), peak) = peak_of(|| disk.unpack_traced());
    check("unpack", (unpacked.err(), peak));
    assert_eq!(trace, [""; 0], "{what}: unpacking changed something");
}

fn check_refused(bytes: Vec<u8>, kind: ErrorKind, what: &str) {
    check_refused_disk(&MemoryDisk::new(bytes), kind, what);
}

/// The chunk is found damaged when it is decoded, no other is, and what comes before it is all that
/// is given out.
fn check_damaged(parts: &Parts, chunk: usize, content: &[u8], what: &str) {
    let disk = MemoryDisk::new(parts.bytes());
    let (report, peak) = peak_of(|| disk.verify(true));
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    let chunks: Vec<_> = report.damages.iter().map(ringpack::Error::chunk).collect();
    assert_eq!(chunks, [Some(chunk as u64)], "{what}: {:?}", report.damages);
    assert!(peak < MEMORY_MAX, "{what}: {peak} bytes");
    let ((unpacked, trace), peak) = peak_of(|| disk.unpack_traced());
    let error = unpacked.expect_err(what);
    assert_eq!((error.kind(), error.chunk()), (ErrorKind::Damaged, Some(chunk as u64)), "{what}");
    assert!(peak < MEMORY_MAX, "{what}: {peak} bytes");
    // A length is set only once every chunk was verified.
    assert!(!trace.iter().any(|step| step.starts_with("set_len")), "{what}: {trace:?}");
    let container = disk.open().unwrap();
    let (given, result) = disk.cat(&container, 0..container.header().content_size);
    assert_eq!(result.unwrap_err().chunk(), Some(chunk as u64), "{what}");
    assert!(given == content[..chunk * CHUNK], "{what}: {} bytes given out", given.len());
}

/// Numbers that arithmetic goes wrong on.
const NUMBERS: [u64; 16] = [
    0,
    1,
    12,
    4095,
    4096,
    8192,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 40) + 4096,
    1 << 53,
    1 << 63,
    (1 << 63) + 4096,
    !4095,
    u64::MAX,
];

/// A field that an attacker sets, by what it is called.
type Field<T, N> = (&'static str, fn(&mut T) -> &mut N);

/// What an attacker does to something, by what it is called.
type Change<T> = (&'static str, fn(&mut T));

const SIZES: [Field<Header, u64>; 8] = [
    ("content_size", |header| &mut header.content_size),
    ("chunk_count", |header| &mut header.chunk_count),
    ("data_end", |header| &mut header.data_end),
    ("index_offset", |header| &mut header.index_offset),
    ("index_len", |header| &mut header.index_len),
    ("table_offset", |header| &mut header.table_offset),
    ("file_size", |header| &mut header.file_size),
    ("slot_len", |header| &mut header.slot_len),
];

/// Changes `parts` by `change`, mends every sum, and gives the bytes, but with all other parts
/// where they belong: what lies is the field alone.
fn lying(parts: &Parts, change: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut honest = parts.clone();
    honest.seal();
    let mut bytes = honest.bytes();
    let mut forged = honest.clone();
    change(&mut forged);
    let at = honest.header_offset() as usize;
    bytes[at..at + HEADER].copy_from_slice(&forged.header.encode());
    let index = forged.index.encode();
    let at = honest.header.index_offset as usize;
    if index.len() as u64 == honest.header.index_len {
        bytes[at..at + index.len()].copy_from_slice(&index);
    }
    let mut table: Vec<u8> = Vec::new();
    forged.table.iter().for_each(|entry| table.extend(entry.encode()));
    let at = honest.header.table_offset as usize + 8;
    bytes[at..at + table.len()].copy_from_slice(&table);
    bytes
}

#[test]
fn sizes_that_lie() {
    let _alone = alone();
    for (shape, parts) in samples() {
        for (name, field) in SIZES {
            let honest = *field(&mut parts.header.clone());
            let near =
                [honest.wrapping_sub(4096), honest.wrapping_sub(1), honest + 1, honest + 4096];
            for number in NUMBERS.into_iter().chain(near) {
                let what = format!("{shape}: {name} = {number}");
                let bytes = lying(&parts, |parts| *field(&mut parts.header) = number);
                if number == honest {
                    assert_eq!(MemoryDisk::new(bytes).verify(true).unwrap().damage_count, 0);
                } else {
                    check_refused(bytes, ErrorKind::Damaged, &what);
                }
            }
        }
        // Sizes that agree with each other, and with nothing else.
        for chunks in [1u64 << 20, 1 << 32, 1 << 47] {
            let bytes = lying(&parts, |parts| {
                parts.header.chunk_count = chunks;
                parts.header.content_size = chunks << 16;
            });
            check_refused(bytes, ErrorKind::Damaged, &format!("{shape}: {chunks} chunks"));
        }
    }
}

#[test]
fn entries_that_lie() {
    const FIELDS: [Field<Entry, u32>; 2] =
        [("frame_len", |entry| &mut entry.frame_len), ("raw_len", |entry| &mut entry.raw_len)];
    let _alone = alone();
    for (shape, parts) in samples() {
        for chunk in 0..3 {
            let honest = parts.index.entries[chunk];
            let others = parts.index.entries.iter().map(|entry| entry.offset);
            let near = [-4096i64, -1, 1, 4096].map(|by| honest.offset.wrapping_add_signed(by));
            for offset in NUMBERS.into_iter().chain(others).chain(near) {
                if offset != honest.offset {
                    // Overlaps, gaps, aliases, the header, past the end, past 2^64.
                    let what = format!("{shape}: chunk {chunk} at {offset}");
                    let bytes = lying(&parts, |parts| parts.index.entries[chunk].offset = offset);
                    check_refused(bytes, ErrorKind::Damaged, &what);
                }
            }
            for (name, field) in FIELDS {
                let most = store_len(honest.raw_len as usize) as u32 + 1;
                let honest = *field(&mut honest.clone());
                let near = [honest - 1, honest + 1, most, u32::MAX].map(u64::from);
                for number in NUMBERS.into_iter().chain(near) {
                    let Ok(number) = u32::try_from(number) else { continue };
                    let bytes =
                        lying(&parts, |parts| *field(&mut parts.index.entries[chunk]) = number);
                    let what = format!("{shape}: chunk {chunk}, {name} = {number}");
                    let dense = parts.header.placement == PlacementKind::Dense;
                    if number == honest {
                        continue;
                    } else if name == "frame_len" && (13..most).contains(&number) && !dense {
                        // In a slot the length alone moves nothing: the frame's sum doesn't fit.
                        let damaged = MemoryDisk::new(bytes).verify(false).unwrap().damages;
                        let chunks: Vec<_> = damaged.iter().map(ringpack::Error::chunk).collect();
                        assert_eq!(chunks, [Some(chunk as u64)], "{what}");
                    } else {
                        check_refused(bytes, ErrorKind::Damaged, &what);
                    }
                }
            }
        }
        for (name, change) in [
            ("a duplicate", (|entries| entries[1] = entries[0]) as fn(&mut Vec<Entry>)),
            ("another duplicate", |entries| entries[2] = entries[1]),
            ("swapped", |entries| entries.swap(0, 1)),
            ("reversed", |entries| entries.reverse()),
            ("all the same", |entries| {
                let first = entries[0];
                entries.fill(first);
            }),
        ] {
            let bytes = lying(&parts, |parts| change(&mut parts.index.entries));
            check_refused(bytes, ErrorKind::Damaged, &format!("{shape}: {name}"));
        }
    }
}

/// A million entries lead to one frame: a small file that would restore to 64 GiB.
#[test]
fn one_frame_a_million_times() {
    const COUNT: u64 = 1_000_000;
    let _alone = alone();
    for (shape, mut parts) in samples() {
        let first = parts.index.entries[0];
        parts.index.entries = vec![first; COUNT as usize];
        let chaining = parts.index.chaining.first().copied();
        parts.index.chaining = chaining.map_or(Vec::new(), |value| vec![value; COUNT as usize]);
        let data_end = parts.header.data_end;
        let tail = Tail::new(data_end, COUNT << 16, COUNT, chaining.is_some(), 0).unwrap();
        let header = &mut parts.header;
        (header.content_size, header.chunk_count) = (COUNT << 16, COUNT);
        header.index_offset = tail.index_offset;
        (header.index_len, header.table_offset) = (tail.index_len, tail.table_offset);
        (header.file_size, parts.file_len) = (tail.file_size, tail.file_size);
        parts.frames.truncate(1);
        let own = |len: u64| seek_table::Entry::without_content(len as u32);
        parts.table = vec![own(0); tail.table_entries.unwrap() as usize];
        *parts.table.last_mut().unwrap() = own(HEADER as u64);
        check_refused(parts.bytes(), ErrorKind::Damaged, &format!("{shape}: a million times"));
    }
}

#[test]
fn a_seek_table_that_disagrees() {
    let _alone = alone();
    for (shape, parts) in samples() {
        for entry in 0..parts.table.len() {
            let changes: [Change<seek_table::Entry>; 6] = [
                ("longer", |entry| entry.compressed += 1),
                ("shorter", |entry| entry.compressed -= 1),
                ("vast", |entry| entry.compressed = u32::MAX),
                ("more content", |entry| entry.decompressed += 1),
                ("vast content", |entry| entry.decompressed = u32::MAX),
                ("another checksum", |entry| entry.checksum ^= 1),
            ];
            for (name, change) in changes {
                let bytes = lying(&parts, |parts| change(&mut parts.table[entry]));
                let what = format!("{shape}: entry {entry}: {name}");
                let chunk = Some(entry).filter(|&chunk| chunk < 3);
                match (name, chunk) {
                    // A chunk's is compared with its frame's, by verifying alone.
                    ("another checksum", Some(chunk)) => {
                        let disk = MemoryDisk::new(bytes);
                        let damages = disk.verify(false).unwrap().damages;
                        assert_eq!(damages.len(), 1, "{what}");
                        assert_eq!(damages[0].chunk(), Some(chunk as u64), "{what}");
                        assert!(disk.unpack().unwrap() == sample_content(), "{what}");
                    }
                    _ => check_refused(bytes, ErrorKind::Damaged, &what),
                }
            }
        }
        for change in [
            (|table| {
                let last = table.len() - 1;
                table.swap(last - 1, last);
            }) as fn(&mut Vec<seek_table::Entry>),
            |table| table.swap(2, 3),
            |table| table.rotate_left(1),
            // Bytes counted into the wrong frame; a frame shared out.
            |table| {
                table[1].compressed += 8;
                table[2].compressed -= 8;
            },
            |table| {
                table[1].decompressed += 8;
                table[2].decompressed -= 8;
            },
        ] {
            let bytes = lying(&parts, |parts| change(&mut parts.table));
            check_refused(bytes, ErrorKind::Damaged, &format!("{shape}: entries moved"));
        }
        // In slots two full chunks' entries differ by their checksums alone.
        let swapped = MemoryDisk::new(lying(&parts, |parts| parts.table.swap(1, 2)));
        let is_found = swapped.verify(false).map_or(true, |report| report.damage_count == 2);
        assert!(is_found, "{shape}: entries of chunks swapped");
        let mut fewer = parts.clone();
        fewer.table.pop();
        check_refused(fewer.bytes(), ErrorKind::Damaged, &format!("{shape}: an entry less"));
        let mut more = parts.clone();
        more.table.push(seek_table::Entry::without_content(8));
        check_refused(more.bytes(), ErrorKind::Damaged, &format!("{shape}: an entry more"));
    }
}

/// The index's own prefix, its checksum mended.
#[test]
fn an_index_that_begins_with_something_else() {
    let _alone = alone();
    for (shape, parts) in samples() {
        let start = parts.header.index_offset as usize;
        let end = start + parts.header.index_len as usize;
        // First chunk, count, name, subtype, payload length, magic.
        let places = [(16, 8), (24, 8), (9, 7), (8, 1), (4, 4), (0, 4)];
        for (at, len) in places {
            for number in NUMBERS {
                let mut bytes = parts.bytes();
                let before = bytes.clone();
                bytes[start + at..start + at + len].copy_from_slice(&number.to_le_bytes()[..len]);
                let crc = crc32c(&bytes[start + 8..end - 4]);
                bytes[end - 4..end].copy_from_slice(&crc.to_le_bytes());
                if bytes != before {
                    let what = format!("{shape}: {number} at {at}");
                    check_refused(bytes, ErrorKind::Damaged, &what);
                }
            }
        }
    }
}

/// What a newer version may use is refused as such, not as damage; every value there is.
#[test]
fn versions_and_features_not_known() {
    let _alone = alone();
    let parts = Parts::of(&Shape::all()[0].pack(b"content", Codec::Zstd(3)));
    let bytes = parts.bytes();
    let start = parts.header_offset() as usize;
    let known = |at, value: u64| match at {
        16 => value == 2,                 // major
        20 => value <= 1,                 // flags
        28 => (16..=26).contains(&value), // chunk_log2
        40 => value > 0,                  // extent_chunks
        44 => value == 4096,              // align
        _ => value <= 1,                  // codec, placement, digest
    };
    let all_bytes: Vec<u64> = (0..256).collect();
    let all_words: Vec<u64> = (0..65_536).collect();
    let wide: Vec<u64> =
        (0..32).map(|bit| 1 << bit).chain([0, 3, 4095, 4097, u64::from(u32::MAX)]).collect();
    for (at, len, values) in [
        (16, 2, &all_words),
        (20, 4, &wide),
        (28, 1, &all_bytes),
        (29, 1, &all_bytes),
        (30, 2, &all_words),
        (40, 2, &vec![0]),
        (44, 4, &wide),
        (132, 4, &wide),
    ] {
        let disk = MemoryDisk::new(bytes.clone());
        let mut refused = 0;
        for &value in values.iter().filter(|&&value| !known(at, value)) {
            disk.change(|bytes| {
                let header = &mut bytes[start..start + HEADER];
                header[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
                let crc = crc32c(&header[..HEADER - 4]);
                header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
            });
            let kind = disk.open().map_err(|error| error.kind()).err();
            assert_eq!(kind, Some(ErrorKind::Unsupported), "{value} at {at}");
            refused += 1;
        }
        assert!(refused > 0, "nothing tried at {at}");
        check_refused_disk(&disk, ErrorKind::Unsupported, &format!("at {at}"));
    }
}

/// What is done to a frame.
type FrameAttack = (&'static str, fn(Vec<u8>) -> Vec<u8>);

/// Zstandard's magic, a frame header of one segment that states `len`, and then these bytes.
fn hand_made(len: u32, blocks: &[u8]) -> Vec<u8> {
    [&[0x28, 0xB5, 0x2F, 0xFD, 0xA4][..], &len.to_le_bytes(), blocks, &[0; 4]].concat()
}

/// Attacks on the middle frame, whose checksum in the index then fits.
const FRAMES: [FrameAttack; 17] = [
    ("cut by a byte", |frame| frame[..frame.len() - 1].to_vec()),
    ("cut in half", |frame| frame[..frame.len() / 2].to_vec()),
    ("a byte more", |frame| [&frame[..], &[0]].concat()),
    ("a skippable frame after it", |frame| {
        [&frame[..], &[0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]].concat()
    }),
    ("an empty frame after it", |frame| {
        [&frame[..], &[0x28, 0xB5, 0x2F, 0xFD, 0x24, 0, 1, 0, 0, 0x99, 0xE9, 0xD8, 0x51]].concat()
    }),
    ("another checksum", |mut frame| {
        *frame.last_mut().unwrap() ^= 1;
        frame
    }),
    ("a bit of its content", |mut frame| {
        let middle = frame.len() / 2;
        frame[middle] ^= 0x10;
        frame
    }),
    ("without its checksum flag", |mut frame| {
        frame[4] &= !4;
        frame
    }),
    ("a dictionary", |mut frame| {
        frame[4] |= 1;
        frame
    }),
    ("the reserved bit", |mut frame| {
        frame[4] |= 8;
        frame
    }),
    ("a skippable frame in its place", |_| {
        [&[0x50, 0x2A, 0x4D, 0x18, 92, 0, 0, 0][..], &[0; 92]].concat()
    }),
    ("the magic of zstd 0.7", |mut frame| {
        frame[0] = 0x27;
        frame
    }),
    // An RLE block of 128 KiB where 64 KiB are stated, and thousands of them.
    ("a bomb", |_| hand_made(CHUNK as u32, &[&[0x03, 0, 0x10, 7][..]].concat())),
    ("a large bomb", |_| hand_made(CHUNK as u32, &[0x02, 0, 0x10, 7].repeat(4000))),
    ("4 GiB stated", |_| hand_made(u32::MAX, &[0x03, 0, 0x10, 7])),
    ("8 EiB stated", |_| {
        [&[0x28, 0xB5, 0x2F, 0xFD, 0xE4][..], &[0xFF; 7], &[0x7F, 0x03, 0, 0x10, 7, 0, 0, 0, 0]]
            .concat()
    }),
    ("a window of 3.75 TiB", |_| {
        [&[0x28, 0xB5, 0x2F, 0xFD, 0x84, 0xFF, 0, 0, 1, 0][..], &[3, 0, 8, 7, 0, 0, 0, 0]].concat()
    }),
];

#[test]
fn frames_that_lie() {
    let _alone = alone();
    let content = sample_content();
    for (shape, parts) in samples() {
        for (name, change) in FRAMES {
            let what = format!("{shape}: {name}");
            let mut forged = parts.clone();
            forged.frames[1] = change(forged.frames[1].clone());
            forged.lay_out();
            forged.seal();
            check_damaged(&forged, 1, &content, &what);
        }
        // Frames of other content, whole in themselves: foreign, stale, swapped.
        let whole = |raw: &[u8]| {
            let mut frame = vec![0; store_len(raw.len())];
            encode_store(raw, &mut frame).unwrap();
            frame
        };
        let mut stale = content[CHUNK..2 * CHUNK].to_vec();
        stale[777] ^= 1;
        let others = [
            ("foreign", whole(&noise(CHUNK, 1))),
            ("stale", whole(&stale)),
            ("a shorter one", whole(&content[CHUNK..2 * CHUNK - 1])),
            ("a longer one", whole(&[&content[CHUNK..2 * CHUNK], &[0][..]].concat())),
            ("an empty one", whole(&[])),
            ("the first chunk's", parts.frames[0].clone()),
        ];
        for (name, frame) in others {
            let mut forged = parts.clone();
            // One byte more than a store frame is refused before it is looked at.
            if frame.len() > store_len(CHUNK) {
                continue;
            }
            forged.frames[1] = frame;
            forged.lay_out();
            forged.seal();
            check_damaged(&forged, 1, &content, &format!("{shape}: {name}"));
        }
        for (name, change) in [
            ("chunk's sum", (|parts| parts.index.entries[1].raw_crc32c ^= 1) as fn(&mut Parts)),
            ("chunk's digest", |parts| parts.index.chaining[1][31] ^= 1),
        ] {
            if name == "chunk's digest" && parts.index.chaining.is_empty() {
                continue;
            }
            let mut forged = parts.clone();
            change(&mut forged);
            forged.seal();
            check_damaged(&forged, 1, &content, &format!("{shape}: {name}"));
        }
    }
}

/// Two intact frames in each other's place, with lengths that fit: found without decoding.
#[test]
fn frames_swapped_on_disk() {
    let _alone = alone();
    for shape in Shape::all() {
        // Stored chunks are as long as each other.
        let bytes = shape.pack(&noise(3 * CHUNK, 5), Codec::Store);
        let mut parts = Parts::of(&bytes);
        parts.frames.swap(0, 1);
        let report = MemoryDisk::new(parts.bytes()).verify(false).unwrap();
        let damaged = |report: &ringpack::verify::VerifyReport| -> Vec<_> {
            report.damages.iter().map(ringpack::Error::chunk).collect()
        };
        let table = damaged(&report);
        assert_eq!(table, [Some(0), Some(1)], "{shape:?}");
        // One frame twice.
        parts.frames[0] = parts.frames[2].clone();
        parts.frames[1] = parts.frames[2].clone();
        let report = MemoryDisk::new(parts.bytes()).verify(false).unwrap();
        assert_eq!(damaged(&report), [Some(0), Some(1)], "{shape:?}: one frame three times");
    }
}

/// Sums of the whole that don't follow from the chunks'.
#[test]
fn the_whole_that_disagrees_with_its_chunks() {
    let _alone = alone();
    for (shape, parts) in samples() {
        let wrong = lying(&parts, |parts| parts.header.content_crc32c ^= 1);
        let refuse = |bytes: Vec<u8>, what: &str| {
            let disk = MemoryDisk::new(bytes);
            for error in [disk.verify(false).err(), disk.verify(true).err(), disk.unpack().err()] {
                let kind = error.as_ref().map(ringpack::Error::kind);
                assert_eq!(kind, Some(ErrorKind::Damaged), "{shape}: {what}: {error:?}");
            }
        };
        refuse(wrong, "another sum");
        if let Digest::Blake3(digest) = parts.header.digest {
            let wrong = digest.map(|byte| byte ^ 0x80);
            refuse(lying(&parts, |p| p.header.digest = Digest::Blake3(wrong)), "another digest");
            // Chunks of two runs, each intact: only the digest of all tells.
            let mut mixed = parts.clone();
            mixed.set_chunk(1, &noise(CHUNK, 9));
            mixed.lay_out();
            let kept = mixed.header.digest;
            mixed.seal();
            mixed.header.digest = kept;
            refuse(mixed.bytes(), "a chunk of another run");
        }
    }
}

/// The header of a container that is a hole of any length, and what stands at its end: the header,
/// and the seek table's footer.
fn header_of_a_hole(chunk_log2: u8, chunks: u64) -> (Header, Tail, Vec<u8>) {
    let data_end = 1u64 << 20;
    let mut header = Parts::of(&Shape::all()[0].pack(b"content", Codec::Zstd(3))).header;
    let content_size = chunks.checked_shl(chunk_log2.into()).unwrap();
    let tail = Tail::new(data_end, content_size, chunks, false, 0).unwrap();
    header.chunk_log2 = chunk_log2;
    header.extent_chunks = Geometry::new(chunk_log2, PlacementKind::Dense).extent_chunks;
    header.chunk_count = chunks;
    header.content_size = content_size;
    (header.data_end, header.index_offset) = (data_end, tail.index_offset);
    header.index_len = tail.index_len;
    header.table_offset = tail.table_entries.map_or(0, |_| tail.table_offset);
    header.file_size = tail.file_size;
    let mut end = header.encode().to_vec();
    if let Some(entries) = tail.table_entries {
        end.extend(seek_table::encode_prefix(entries));
        end.resize(HEADER + (tail.file_size - tail.table_offset) as usize, 0);
        let footer = seek_table::encode_footer(entries);
        let at = end.len() - footer.len();
        end[at..].copy_from_slice(&footer);
    }
    (header, tail, end)
}

/// A block that claims up to 8 EiB: in a file of a few bytes, and in one whose rest is a hole, so
/// that its length bears every number out. The index in the hole begins as it should, and its sums
/// are mended.
#[test]
fn a_block_that_claims_exbibytes() {
    let _alone = alone();
    for (chunk_log2, chunks) in [(16, 1 << 20), (26, 1 << 27), (26, 1 << 36), (26, (1 << 37) - 1)] {
        let (header, tail, end) = header_of_a_hole(chunk_log2, chunks);
        let what = format!("{chunks} chunks of 2^{chunk_log2}");
        check_refused(end.clone(), ErrorKind::Damaged, &format!("{what}, nothing before it"));
        let hole = MemoryDisk::with_hole(Vec::new(), tail.file_size, end.clone());
        check_refused_disk(&hole, ErrorKind::Damaged, &format!("{what}, a hole"));
        // The index's first frame opens as it should, and nothing but zeros follows.
        let run = index::runs(chunks, false).next().unwrap();
        let mut bytes = vec![0; header.index_offset as usize];
        bytes.extend(index::encode_prefix(run.start, run.end - run.start, false));
        let hole = MemoryDisk::with_hole(bytes, tail.file_size, end);
        let (error, peak) = peak_of(|| hole.open().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
        assert!(peak < MEMORY_MAX, "{what}, an index of zeros: {peak} bytes");
    }
}

/// A tebibyte, by an index that is honest about chunks that aren't there: each claims 64 MiB. What
/// is written is bounded by what was verified, and memory by a worker's buffers.
#[test]
fn a_tebibyte_of_chunks_that_are_not_there() {
    const COUNT: usize = 16_384;
    const CHUNK_MAX: usize = 1 << 26;
    let _alone = alone();
    let mut parts = Parts::of(&Shape::all()[0].pack(b"content", Codec::Zstd(3)));
    parts.header.chunk_log2 = 26;
    parts.header.extent_chunks = 1;
    // No frame of 64 MiB: a block of the grid each, as the frame that fills an extent ends on it.
    let frame = hand_made(CHUNK_MAX as u32, &[0; ALIGN - 13]);
    parts.frames = vec![frame; COUNT];
    let entry = Entry { raw_len: CHUNK_MAX as u32, ..parts.index.entries[0] };
    parts.index.entries = vec![entry; COUNT];
    parts.lay_out();
    parts.seal();
    assert_eq!(parts.header.content_size, (COUNT as u64) << 26);
    let disk = MemoryDisk::new(parts.bytes());
    let ((unpacked, trace), peak) = peak_of(|| disk.unpack_traced());
    assert_eq!(unpacked.unwrap_err().chunk(), Some(0));
    // Two buffers of a chunk a side, and little else.
    assert!(peak < 4 * CHUNK_MAX + MEMORY_MAX, "{peak} bytes");
    let is_output = |step: &&String| step.starts_with("write") || step.starts_with("set_len");
    assert_eq!(trace.iter().find(is_output), None);
    // Verifying goes on behind damage. Few, since buffers of a chunk are poisoned for each.
    const VERIFIED: usize = 64;
    parts.frames.truncate(VERIFIED);
    parts.index.entries.truncate(VERIFIED);
    parts.lay_out();
    parts.seal();
    let disk = MemoryDisk::new(parts.bytes());
    let (report, peak) = peak_of(|| disk.verify(true).unwrap());
    assert_eq!(report.damage_count, VERIFIED as u64);
    assert!(peak < 4 * CHUNK_MAX + MEMORY_MAX, "{peak} bytes");
}

/// Zeros that are truly there, and a last chunk that isn't: the length is never set.
#[test]
fn zeros_up_to_a_damaged_chunk() {
    const RAW: usize = 1 << 26;
    let _alone = alone();
    let mut parts = Parts::of(&Shape::all()[0].pack(b"content", Codec::Zstd(3)));
    parts.header.chunk_log2 = 26;
    parts.header.extent_chunks = 1;
    parts.set_chunk(0, &vec![0; RAW]);
    parts.frames = vec![parts.frames[0].clone(); 3];
    parts.index.entries = vec![parts.index.entries[0]; 3];
    parts.lay_out();
    parts.seal();
    let whole = MemoryDisk::new(parts.bytes());
    let (restored, trace) = whole.unpack_traced();
    assert_eq!(restored.unwrap().len(), 3 * RAW);
    let set_len =
        |trace: &[String]| trace.iter().filter(|step| step.starts_with("set_len")).count();
    assert_eq!(set_len(&trace), 1, "the trace shows it: {trace:?}");
    let end = parts.frames[2].len() - 1;
    parts.frames[2][end] ^= 1;
    parts.seal();
    let ((unpacked, trace), peak) = peak_of(|| MemoryDisk::new(parts.bytes()).unpack_traced());
    assert_eq!(unpacked.unwrap_err().chunk(), Some(2));
    assert_eq!(set_len(&trace), 0, "{trace:?}");
    assert!(peak < 2 * RAW + MEMORY_MAX, "{peak} bytes");
}

/// Files that other programs call their own, hostile ones too: none of ours, at once. There is no
/// way round by the seek table or by a scan, so nothing in them is believed.
#[test]
fn plain_zstd_files() {
    let _alone = alone();
    let plain = zstd::bulk::compress(&content(300_000, 1), 3).unwrap();
    let table = |count: u32, entries: &[u8]| {
        let size = (entries.len() as u32 + 9).to_le_bytes();
        let count = count.to_le_bytes();
        let magic = [0x5E, 0x2A, 0x4D, 0x18];
        [&plain[..], &magic, &size, entries, &count, &[0x80, 0xB1, 0xEA, 0x92, 0x8F]].concat()
    };
    let files = [
        ("plain", plain.clone()),
        ("an empty table", table(0, &[])),
        ("2^32 entries", table(u32::MAX, &[])),
        ("2^27 entries", table(1 << 27, &[])),
        ("entries of nothing", table(1000, &[0; 12_000])),
        ("vast entries", table(1000, &[0xFF; 12_000])),
        ("a bomb", zstd::bulk::compress(&vec![0; 64 * MIB], 19).unwrap()),
        ("a window of 3.75 TiB", vec![0x28, 0xB5, 0x2F, 0xFD, 0x04, 0xFF, 1, 0, 0, 0, 0, 0, 0]),
        ("8 EiB stated", [&[0x28, 0xB5, 0x2F, 0xFD, 0xE4][..], &[0xFF; 8]].concat()),
    ];
    for (what, bytes) in files {
        check_refused(bytes, ErrorKind::NotAContainer, what);
    }
}

/// The program itself, in an address space that holds it and little more: it says what is wrong
/// and isn't killed.
#[test]
fn in_little_memory() {
    let test = "in_little_memory";
    if !has_tool("prlimit") {
        return skip(test, "prlimit is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.zst");
    let mut cases = Vec::new();
    for (chunk_log2, chunks) in [(16u8, 1u64 << 20), (26, 1 << 27), (26, 1 << 36)] {
        let (header, tail, end) = header_of_a_hole(chunk_log2, chunks);
        let run = index::runs(chunks, false).next().unwrap();
        cases.push((Vec::new(), tail.file_size, end.clone()));
        let mut bytes = vec![0; header.index_offset as usize];
        bytes.extend(index::encode_prefix(run.start, run.end - run.start, false));
        cases.push((bytes, tail.file_size, end));
    }
    for (number, (bytes, len, end)) in cases.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        if file.write_all_at(end, len - end.len() as u64).is_err() {
            skip(test, &format!("no file of {len} bytes here"));
            continue;
        }
        for args in [&["verify", "-T1"][..], &["unpack", "-T1"], &["cat"], &["info"]] {
            let mut command = Command::new("prlimit");
            command.arg(format!("--as={}", 256 << 20)).arg(binary()).args(args).arg(&path);
            let output = run(command.current_dir(folder.path()).stdin(std::process::Stdio::null()));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(6), "{number}, {args:?}: {stderr}");
            assert!(output.stdout.is_empty(), "{number}, {args:?} gave bytes out");
            assert_eq!(names(folder.path()), ["bad.zst"], "{number}, {args:?}");
        }
    }
}
