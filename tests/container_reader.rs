//! Reading a container by range, from whatever holds it: files, memory, sources that cut reads
//! short, and sources that lie.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use ringpack::checksum::crc32c;
use ringpack::format::header::PlacementKind;
use ringpack::pack::Codec;
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::{ContainerReader, Error, ErrorKind, ReadAt, Result};
use support::forge::Shape;
use support::memory::{MemoryDisk, share};
use support::source::Source;
use support::{Random, assert_same, content};

const CHUNK: usize = 1 << 16;
const PLAIN: Shape = Shape { placement: PlacementKind::Dense, blake3: false };
const ZSTD: Codec = Codec::Zstd(3);
/// What a buffer holds before anything is read into it.
const BLANK: u8 = 0xAA;
const EIO: i32 = 5;

fn of(bytes: Vec<u8>) -> Result<ContainerReader> {
    ContainerReader::from_source(bytes)
}

/// A source as a program might have one: never more at once than it likes, at times interrupted.
fn choppy(bytes: Vec<u8>) -> impl ReadAt + 'static {
    let random = Mutex::new(Random(7));
    Source::new(bytes, move |bytes, buf, offset| {
        let mut random = random.lock().unwrap();
        if random.below(3) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = (1 + random.below(9000) as usize).min(buf.len());
        bytes.read_at(&mut buf[..most], offset)
    })
}

/// Every way to read one container.
fn readers(path: &Path, bytes: &[u8]) -> Vec<(&'static str, ContainerReader)> {
    std::fs::write(path, bytes).unwrap();
    let boxed: Box<dyn ReadAt> = Box::new(Arc::<[u8]>::from(bytes));
    let lent: &'static [u8] = bytes.to_vec().leak();
    let direct = Container::open(&OsDisk, path, true).map(ContainerReader::from);
    [
        ("path", ContainerReader::open(path)),
        ("path, direct", direct),
        ("file", ContainerReader::from_source(File::open(path).unwrap())),
        ("memory", of(bytes.to_vec())),
        ("shared memory", ContainerReader::from_source(boxed)),
        ("lent memory", ContainerReader::from_source(lent)),
        ("choppy", ContainerReader::from_source(choppy(bytes.to_vec()))),
    ]
    .into_iter()
    .map(|(what, reader)| (what, reader.unwrap_or_else(|error| panic!("{what}: {error}"))))
    .collect()
}

#[test]
fn every_source_of_every_kind_of_container_gives_its_content() {
    let folder = tempfile::tempdir().unwrap();
    for shape in Shape::all() {
        for len in [0, 1, CHUNK, 3 * CHUNK + 77] {
            let expected = content(len, 11);
            let bytes = shape.pack(&expected, ZSTD);
            for (what, reader) in readers(&folder.path().join("c"), &bytes) {
                let what = format!("{shape:?}, {len} bytes, {what}");
                check_ranges(&reader, &expected, &what);
                check_chunks(&reader, &expected, &bytes, &what);
                let mut whole = Vec::new();
                reader.reader().unwrap().read_to_end(&mut whole).unwrap();
                assert_same(&whole, &expected, &what);
                for decode in [false, true] {
                    assert!(reader.verify(decode).unwrap().is_intact(), "{what}");
                }
            }
        }
    }
}

/// What opening needs stands in the last 64 KiB, and is read at once: a request where the bytes
/// come over a network.
#[test]
fn opening_reads_once() {
    for shape in Shape::all() {
        for len in [0, 1, 9 * CHUNK + 77, 300 * CHUNK] {
            let bytes = shape.pack(&vec![7; len], ZSTD);
            let reads = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&reads);
            let source = Source::new(bytes, move |bytes, buf, offset| {
                counted.fetch_add(1, Relaxed);
                bytes.read_at(buf, offset)
            });
            ContainerReader::from_source(source).unwrap();
            assert_eq!(reads.load(Relaxed), 1, "{shape:?}, {len} bytes");
        }
    }
}

fn check_ranges(reader: &ContainerReader, expected: &[u8], what: &str) {
    let len = expected.len();
    assert_eq!((reader.len(), reader.is_empty()), (len as u64, len == 0), "{what}");
    assert_same(&reader.read_range(..).unwrap(), expected, what);
    let mut random = Random(len as u64);
    for _ in 0..20 {
        let start = random.below(len as u64 + 1) as usize;
        let end = start + random.below((len - start) as u64 + 1) as usize;
        let range = reader.read_range(start as u64..end as u64).unwrap();
        assert_same(&range, &expected[start..end], what);
        // As `pread`: short at the end of the content, and nowhere else.
        let mut buf = vec![BLANK; random.below(2 * CHUNK as u64) as usize];
        let got = reader.read_at(&mut buf, start as u64).unwrap();
        assert_eq!(got, buf.len().min(len - start), "{what}");
        assert_same(&buf[..got], &expected[start..start + got], what);
        assert!(buf[got..].iter().all(|&byte| byte == BLANK), "{what}");
    }
}

fn check_chunks(reader: &ContainerReader, expected: &[u8], bytes: &[u8], what: &str) {
    assert_eq!(reader.chunks().len() as u64, reader.header().chunk_count, "{what}");
    let mut joined = Vec::new();
    for (number, chunk) in reader.chunks().enumerate() {
        assert_eq!(chunk.sequence(), number as u64, "{what}");
        assert_eq!(chunk.content_range().start, joined.len() as u64, "{what}");
        let own = chunk.read().unwrap();
        assert_eq!(chunk.crc32c(), crc32c(&own), "{what}");
        let frame = chunk.frame_range();
        let frame = &bytes[frame.start as usize..frame.end as usize];
        assert_same(&zstd::stream::decode_all(frame).unwrap(), &own, what);
        joined.extend(own);
        assert_eq!(chunk.content_range().end, joined.len() as u64, "{what}");
        let same = reader.chunk(number as u64).unwrap();
        assert_eq!(same.frame_range(), chunk.frame_range(), "{what}");
    }
    assert_same(&joined, expected, what);
    let mut backwards: Vec<u64> = reader.chunks().rev().map(|it| it.sequence()).collect();
    backwards.reverse();
    assert!(backwards.into_iter().eq(reader.chunks().map(|it| it.sequence())), "{what}");
    let step_by = reader.chunks().step_by(2).map(|it| it.sequence());
    assert!(step_by.eq((0..reader.header().chunk_count).step_by(2)), "{what}");
    assert!(reader.chunk(reader.header().chunk_count).is_none(), "{what}");
    assert!(reader.chunk(u64::MAX).is_none(), "{what}");
}

#[test]
fn ranges_are_taken_as_rust_writes_them_and_refused_outside_the_content() {
    let expected = content(CHUNK + 10, 2);
    let reader = of(PLAIN.pack(&expected, ZSTD)).unwrap();
    let len = expected.len() as u64;
    let within: [(Bound<u64>, Bound<u64>, &[u8]); 6] = [
        (Bound::Unbounded, Bound::Excluded(3), &expected[..3]),
        (Bound::Included(len), Bound::Unbounded, b""),
        (Bound::Included(len - 2), Bound::Included(len - 1), &expected[expected.len() - 2..]),
        (Bound::Excluded(0), Bound::Included(1), &expected[1..2]),
        (Bound::Included(5), Bound::Excluded(5), b""),
        (Bound::Excluded(len - 1), Bound::Excluded(len), b""),
    ];
    for (start, end, bytes) in within {
        assert_same(
            &reader.read_range((start, end)).unwrap(),
            bytes,
            &format!("{start:?} {end:?}"),
        );
    }
    let outside: [(Bound<u64>, Bound<u64>); 7] = [
        (Bound::Unbounded, Bound::Excluded(len + 1)),
        (Bound::Unbounded, Bound::Included(len)),
        (Bound::Included(len + 1), Bound::Unbounded),
        (Bound::Included(3), Bound::Excluded(2)),
        (Bound::Included(0), Bound::Included(u64::MAX)),
        (Bound::Excluded(u64::MAX), Bound::Unbounded),
        (Bound::Included(u64::MAX), Bound::Excluded(u64::MAX)),
    ];
    for range in outside {
        let error = reader.read_range(range).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange, "{range:?}: {error}");
    }
    for offset in [len, len + 1, u64::MAX] {
        assert_eq!(reader.read_at(&mut [0; 9], offset).unwrap(), 0);
    }
    assert_eq!(reader.read_at(&mut [], 0).unwrap(), 0);
}

#[test]
fn many_threads_read_one_container_at_once() {
    let expected = content(20 * CHUNK + 5, 3);
    let folder = tempfile::tempdir().unwrap();
    let bytes = Shape { blake3: true, ..PLAIN }.pack(&expected, ZSTD);
    let (expected, bytes) = (&expected, &bytes);
    for (what, reader) in readers(&folder.path().join("c"), bytes) {
        std::thread::scope(|scope| {
            for seed in 0..8 {
                // Some clone it, some share it.
                let reader = if seed % 2 == 0 { reader.clone() } else { reader.clone().clone() };
                scope.spawn(move || check_ranges(&reader, expected, &format!("{what}, {seed}")));
            }
        });
    }
}

/// The example of a short read: 600 of 100 bytes take one chunk from the source, not 600.
#[test]
fn short_reads_in_a_row_get_their_chunk_once() {
    let expected = content(2 * CHUNK, 4);
    let source = Arc::new(Source::new(PLAIN.pack(&expected, ZSTD), |bytes, buf, offset| {
        bytes.read_at(buf, offset)
    }));
    let reader = ContainerReader::from_source(Arc::clone(&source)).unwrap();
    let opened = source.reads();
    for offset in (0..CHUNK - 100).step_by(100) {
        let mut buf = [0; 100];
        assert_eq!(reader.clone().read_at(&mut buf, offset as u64).unwrap(), 100);
        assert_eq!(buf, expected[offset..offset + 100]);
    }
    assert_eq!(source.reads() - opened, 1);
    // Two positions are followed as well as one.
    for offset in (0..CHUNK - 100).step_by(100) {
        reader.read_at(&mut [0; 100], offset as u64).unwrap();
        reader.read_at(&mut [0; 100], (offset + CHUNK) as u64).unwrap();
    }
    assert_eq!(source.reads() - opened, 2);
}

/// Reads everything there is to read, in every way, and checks that nothing comes out that isn't
/// the content, from a failing call neither. Returns whether all of it came.
fn nothing_but(reader: &ContainerReader, expected: &[u8], seed: u64, what: &str) -> bool {
    let mut random = Random(seed);
    let mut all = true;
    let mut read_at = |offset: u64, len: usize| {
        let mut buf = vec![BLANK; len];
        let result = reader.read_at(&mut buf, offset);
        let given = &expected[expected.len().min(offset as usize)..];
        let given = &given[..given.len().min(len)];
        // On an error, chunks before the damaged one may have come, whole.
        let came = buf.iter().zip(given).take_while(|(a, b)| a == b).count();
        match result {
            Ok(got) => assert!(got == given.len() && came == got, "{what}: other bytes came out"),
            Err(_) => {
                all = false;
                let blank = buf[came..].iter().all(|&byte| byte == BLANK);
                let whole = came == 0 || (offset as usize + came).is_multiple_of(CHUNK);
                assert!(blank && whole, "{what}: a part of a chunk came out");
            }
        }
    };
    read_at(0, expected.len());
    for _ in 0..4 {
        read_at(random.below(expected.len() as u64), random.below(CHUNK as u64) as usize + 1);
    }
    if let Ok(given) = reader.read_range(..) {
        assert_same(&given, expected, what);
    }
    for chunk in reader.chunks() {
        let range = chunk.content_range();
        if let Ok(given) = chunk.read() {
            assert_same(&given, &expected[range.start as usize..range.end as usize], what);
        }
    }
    let mut streamed = Vec::new();
    let result = reader.reader().unwrap().read_to_end(&mut streamed);
    assert!(expected.starts_with(&streamed), "{what}: other bytes came out");
    assert!(result.is_err() || streamed.len() == expected.len(), "{what}: an early end");
    all
}

/// V2, X1: of a container with any byte changed, no byte comes out that isn't the content's, and
/// verifying finds the change.
#[test]
fn v2_whatever_byte_is_flipped_no_wrong_byte_comes_out() {
    // Three short frames and not a byte of it twice: BLANK isn't in it.
    let expected: Vec<u8> = (0..2 * CHUNK + 999).map(|at| (at / 700) as u8 & 0x7F).collect();
    for shape in [PLAIN, Shape { blake3: true, ..PLAIN }] {
        let bytes = shape.pack(&expected, ZSTD);
        let damaged_seen = AtomicU64::new(0);
        share(
            bytes.len(),
            || (),
            |(), at| {
                let what = format!("{shape:?}, byte {at}");
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << (at % 8);
                let Ok(reader) = of(bytes) else { return };
                let found = reader.verify(true);
                assert!(!found.is_ok_and(|found| found.is_intact()), "{what}: not found");
                if !nothing_but(&reader, &expected, at as u64, &what) {
                    damaged_seen.fetch_add(1, Relaxed);
                }
            },
        );
        // All bytes of all frames, and the pads aside nothing else that opens.
        let frames: u64 = (of(bytes).unwrap().chunks())
            .map(|it| it.frame_range().end - it.frame_range().start)
            .sum();
        assert_eq!(damaged_seen.into_inner(), frames, "{shape:?}");
    }
}

/// What a source is refused for is what a file with the same bytes is refused for.
#[test]
fn truncated_and_damaged_are_the_same_errors_from_every_source() {
    for shape in Shape::all() {
        let bytes = shape.pack(&content(CHUNK + 9, 5), ZSTD);
        let lens = (0..bytes.len()).step_by(61);
        let mut cases: Vec<Vec<u8>> = lens.map(|len| bytes[..len].to_vec()).collect();
        let mut random = Random(1);
        cases.extend((0..300).map(|_| {
            let mut bytes = bytes.clone();
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 0x10;
            bytes
        }));
        for bytes in cases {
            let text = |error: Error| (error.kind(), error.to_string().replace("/in: ", ""));
            let read = |opened: Result<Container>| match opened {
                Err(error) => Err(text(error)),
                Ok(opened) => {
                    let mut given = Vec::new();
                    let all = 0..opened.header().content_size;
                    let result = opened.read_range(all, &mut |bytes| {
                        given.extend_from_slice(bytes);
                        Ok(())
                    });
                    Ok((given, result.map_err(text)))
                }
            };
            let from_file = read(MemoryDisk::new(bytes.clone()).open());
            let from_source = read(Container::from_source(bytes));
            assert!(from_file == from_source, "{:?}", from_source.err());
        }
    }
}

/// An answer to a read, and what has to become of it where a container is being opened, and where
/// a chunk is read; `None` where it is as good as any.
type Lie = (&'static str, fn(&[u8], &mut [u8], u64) -> io::Result<usize>, [Option<ErrorKind>; 2]);

const LIES: &[Lie] = &[
    ("one more than there is room for", |_, buf, _| Ok(buf.len() + 1), [Some(ErrorKind::Input); 2]),
    ("more than there is memory", |_, _, _| Ok(usize::MAX), [Some(ErrorKind::Input); 2]),
    ("an early end", |_, _, _| Ok(0), [Some(ErrorKind::InputChanged); 2]),
    (
        "an early end after some",
        |bytes, buf, offset| match offset % 4096 {
            0 => bytes.read_at(&mut buf[..10], offset),
            _ => Ok(0),
        },
        [Some(ErrorKind::InputChanged); 2],
    ),
    (
        "interrupted for ever",
        |_, _, _| Err(io::ErrorKind::Interrupted.into()),
        [Some(ErrorKind::Input); 2],
    ),
    ("out of reach", |_, _, _| Err(io::Error::other("no net")), [Some(ErrorKind::Input); 2]),
    (
        "nothing, said to be all",
        |_, buf, _| Ok(buf.len()),
        [Some(ErrorKind::NotAContainer), Some(ErrorKind::Damaged)],
    ),
    (
        "noise",
        |_, buf, _| {
            buf.fill(0x55);
            Ok(buf.len())
        },
        [Some(ErrorKind::NotAContainer), Some(ErrorKind::Damaged)],
    ),
    (
        "what stands elsewhere",
        |bytes, buf, offset| bytes.read_at(buf, offset ^ 4096),
        // Beyond the end of a short file, where the other place is.
        [Some(ErrorKind::InputChanged), None],
    ),
    (
        "rubbish behind what it says it read",
        |bytes, buf, offset| {
            let most = buf.len().min(100);
            buf.fill(0x55);
            bytes.read_at(&mut buf[..most], offset)
        },
        [None; 2],
    ),
];

#[test]
fn a_source_that_lies_is_an_error_and_can_be_read_once_it_does_not() {
    // Two chunks alike: what is left of the first would do as the second's, but for its place.
    let half = content(CHUNK, 6);
    let expected = [half.clone(), half].concat();
    let bytes = PLAIN.pack(&expected, ZSTD);
    for (what, lie, kinds) in LIES {
        let lying = Arc::new(AtomicBool::new(true));
        let source = || {
            let lying = Arc::clone(&lying);
            Source::new(bytes.clone(), move |bytes, buf, offset| match lying.load(Relaxed) {
                true => lie(bytes, buf, offset),
                false => bytes.read_at(buf, offset),
            })
        };
        let opened = ContainerReader::from_source(source());
        assert_eq!(opened.err().map(|error| error.kind()), kinds[0], "{what}");
        lying.store(false, Relaxed);
        let reader = ContainerReader::from_source(source()).unwrap();
        let mut first = vec![0; CHUNK];
        reader.read_at(&mut first, 0).unwrap();
        lying.store(true, Relaxed);
        let mut buf = vec![BLANK; 100];
        let result = reader.read_at(&mut buf, CHUNK as u64 + 7);
        if let Some(kind) = kinds[1] {
            let error = result.expect_err(what);
            assert_eq!(error.kind(), kind, "{what}: {error}");
            assert!(error.path().is_none() && !error.to_string().is_empty());
            assert!(buf.iter().all(|&byte| byte == BLANK), "{what}");
        }
        nothing_but(&reader, &expected, 1, what);
        let _ = reader.verify(true);
        lying.store(false, Relaxed);
        assert!(nothing_but(&reader, &expected, 2, what), "{what}: it is well again");
        assert!(reader.verify(true).unwrap().is_intact(), "{what}");
    }
}

#[test]
fn a_length_that_is_not_so_is_refused() {
    let bytes = PLAIN.pack(&content(CHUNK, 7), ZSTD);
    let len = bytes.len() as u64;
    for claimed in [0, 1, 4096, len - 1, len + 1, len + 4096, u64::MAX] {
        let source = Source::new(bytes.clone(), |bytes, buf, offset| bytes.read_at(buf, offset));
        let error = ContainerReader::from_source(source.claiming(claimed)).unwrap_err();
        let kinds = [ErrorKind::Damaged, ErrorKind::NotAContainer, ErrorKind::InputChanged];
        assert!(kinds.contains(&error.kind()), "{claimed}: {error}");
    }
}

#[test]
fn a_source_that_panics_leaves_the_reader_as_it_was() {
    let expected = content(3 * CHUNK, 8);
    let panics = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&panics);
    let source = Source::new(PLAIN.pack(&expected, ZSTD), move |bytes, buf, offset| {
        assert!(!told.load(Relaxed), "as the test wants it");
        bytes.read_at(buf, offset)
    });
    let reader = ContainerReader::from_source(source).unwrap();
    panics.store(true, Relaxed);
    let result = catch_unwind(AssertUnwindSafe(|| reader.read_range(..)));
    assert!(result.is_err(), "it is the source's own");
    panics.store(false, Relaxed);
    assert_same(&reader.read_range(..).unwrap(), &expected, "afterwards");
}

/// X1: a place that the medium doesn't give back is damage, and the rest is verified all the same;
/// a source that can't be reached is an error.
#[test]
fn x1_verifying_names_each_damaged_chunk_and_goes_on() {
    let bytes = PLAIN.pack(&content(6 * CHUNK, 9), ZSTD);
    let index = of(bytes.clone()).unwrap().container().index().clone();
    let mut spoilt = bytes.clone();
    spoilt[index.entries[3].offset as usize + 20] ^= 1;
    let within_1 = index.entries[1].offset..index.entries[2].offset;
    for (errno, found) in [(EIO, Some([1, 3])), (110, None)] {
        let within_1 = within_1.clone();
        let source = Source::new(spoilt.clone(), move |bytes, buf, offset| {
            if within_1.contains(&offset) {
                return Err(io::Error::from_raw_os_error(errno));
            }
            bytes.read_at(buf, offset)
        });
        // The index stands behind the data, so it opens.
        let result = ContainerReader::from_source(source).unwrap().verify(false);
        let chunks = result.map(|found| {
            assert_eq!(found.damage_count, found.damages.len() as u64);
            found.damages.iter().map(|it| it.chunk().unwrap()).collect::<Vec<_>>()
        });
        match found {
            Some(found) => assert_eq!(chunks.unwrap(), found),
            None => assert_eq!(chunks.unwrap_err().kind(), ErrorKind::Input),
        }
    }
}

#[test]
fn what_is_no_file_of_bytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, _writer) = io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
    let plain = zstd::stream::encode_all(&b"plain"[..], 3).unwrap();
    let table: [(&str, Result<ContainerReader>, ErrorKind); 6] = [
        ("nothing", ContainerReader::open(folder.path().join("none")), ErrorKind::Input),
        ("a folder", ContainerReader::open(folder.path()), ErrorKind::Input),
        (
            "an open folder",
            ContainerReader::from_source(File::open(folder.path()).unwrap()),
            ErrorKind::Input,
        ),
        ("a pipe", ContainerReader::from_source(pipe), ErrorKind::Input),
        ("no bytes", of(Vec::new()), ErrorKind::NotAContainer),
        ("a Zstandard file", of(plain), ErrorKind::NotAContainer),
    ];
    for (what, result, kind) in table {
        assert_eq!(result.err().map(|error| error.kind()), Some(kind), "{what}");
    }
}

#[test]
fn readers_go_from_thread_to_thread() {
    fn goes<T: Send + Sync + 'static>() {}
    goes::<ContainerReader>();
    goes::<ringpack::read::ContentReader<ContainerReader>>();
    goes::<ringpack::aio::AsyncContentReader>();
}
