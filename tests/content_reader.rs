//! Reading a container as a file is read: any position, any length, several at once, damaged.

use std::io::{BufRead, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use ringpack::Cancel;
use ringpack::format::header::PlacementKind;
use ringpack::pack::{Input, Output, PackOptions, pack_scheduled};
use ringpack::pipeline::{IoMode, Schedule};
use ringpack::read::{Container, ContentReader};
use ringpack::ring::sim::{SimDisk, SimOptions};
use support::{Random, content};

const CHUNK: usize = 1 << 16;
const OUT: &str = "/out";

fn packed(bytes: &[u8], placement: PlacementKind) -> SimDisk {
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    disk.write_file("/in", bytes);
    let options = PackOptions {
        chunk_log2: Some(16),
        placement,
        blake3: true,
        io: IoMode::Sim,
        ..PackOptions::default()
    };
    let (from, to) = (Input::Path("/in".into()), Output::Path(OUT.into()));
    pack_scheduled(&disk, from, to, &options, &Cancel::new(), &Schedule::Inline(1)).unwrap();
    disk
}

fn open(disk: &SimDisk) -> Arc<Container> {
    Arc::new(Container::open(disk, Path::new(OUT), false).unwrap())
}

/// Every step is done to a reader and to the content in memory, and both must answer the same.
#[test]
fn any_walk_gives_what_the_content_gives() {
    for placement in [PlacementKind::Dense, PlacementKind::Slots] {
        for len in [0, 1, CHUNK - 1, CHUNK, 5 * CHUNK + 77] {
            let bytes = content(len, 3);
            let container = open(&packed(&bytes, placement));
            let mut reader = ContentReader::new(container).unwrap();
            let mut expected = Cursor::new(&bytes);
            let mut random = Random(len as u64);
            for step in 0..400 {
                let number = random.below((len + CHUNK) as u64) as i64;
                let to = match random.below(8) {
                    0 | 1 => SeekFrom::Start(number as u64),
                    2 => SeekFrom::End(-number),
                    3 => SeekFrom::Current(number - len as i64 / 2),
                    _ => SeekFrom::Current(0),
                };
                let (got, wanted) = (reader.seek(to), expected.seek(to));
                assert_eq!(got.map_err(|it| it.kind()), wanted.map_err(|it| it.kind()), "{to:?}");
                let mut room = vec![0; number as usize % (2 * CHUNK)];
                let got = reader.read(&mut room).unwrap();
                let mut same = vec![0; got];
                expected.read_exact(&mut same).unwrap();
                assert!(room[..got] == same, "{len} bytes, step {step}: {to:?}");
                let at_end = expected.position() >= len as u64;
                assert!(got > 0 || room.is_empty() || at_end, "{len} bytes, step {step}: {to:?}");
                assert_eq!(reader.stream_position().unwrap(), expected.position());
            }
            reader.rewind().unwrap();
            let mut whole = Vec::new();
            assert_eq!(reader.read_to_end(&mut whole).unwrap(), len);
            assert!(whole == bytes, "{len} bytes");
        }
    }
}

#[test]
fn lines_are_read_across_chunks() {
    let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    let reader = ContentReader::new(open(&packed(text.as_bytes(), PlacementKind::Dense))).unwrap();
    let lines: Vec<String> = reader.lines().collect::<Result<_, _>>().unwrap();
    assert!(lines.iter().map(String::as_str).eq(text.lines()));
}

#[test]
fn many_readers_read_one_container_at_once() {
    let bytes = content(8 * CHUNK, 4);
    let container = open(&packed(&bytes, PlacementKind::Slots));
    std::thread::scope(|scope| {
        for start in 0..8 {
            let (container, bytes) = (&*container, &bytes);
            scope.spawn(move || {
                let mut reader = ContentReader::new(container).unwrap();
                let from = start * CHUNK / 2;
                reader.seek(SeekFrom::Start(from as u64)).unwrap();
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest).unwrap();
                assert!(rest == bytes[from..]);
            });
        }
    });
}

/// V2: not a byte of a damaged chunk comes out, however often it is asked for, nor instead of it
/// the chunk read before; what is around it does.
#[test]
fn v2_a_damaged_chunk_is_an_error_each_time_and_the_others_are_read() {
    let bytes = content(4 * CHUNK, 5);
    let disk = packed(&bytes, PlacementKind::Slots);
    damage_chunk_2(&disk);
    let mut reader = ContentReader::new(open(&disk)).unwrap();
    let mut before = vec![0; 2 * CHUNK];
    reader.read_exact(&mut before).unwrap();
    assert!(before == bytes[..2 * CHUNK]);
    for _ in 0..3 {
        let mut room = vec![0xAA; CHUNK];
        let error = reader.read(&mut room).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let inner = error.get_ref().and_then(|it| it.downcast_ref::<ringpack::Error>());
        let inner = inner.expect("the engine's own error is within");
        assert!(inner.to_string().contains("chunk 2"), "{inner}");
        assert!(room.iter().all(|&byte| byte == 0xAA), "not a byte of it comes out");
        assert_eq!(reader.stream_position().unwrap(), 2 * CHUNK as u64);
    }
    reader.seek(SeekFrom::Start(3 * CHUNK as u64)).unwrap();
    let mut after = Vec::new();
    reader.read_to_end(&mut after).unwrap();
    assert!(after == bytes[3 * CHUNK..]);
    // Back at the damage, behind a chunk that is held.
    reader.seek(SeekFrom::Start(2 * CHUNK as u64 + 9)).unwrap();
    assert!(reader.read(&mut [0; 1]).is_err());
}

/// V2: the chunk that was held is not taken for held any more once another, shorter one was begun.
#[test]
fn v2_what_a_failed_read_left_is_not_taken_for_the_chunk_before() {
    let bytes = content(2 * CHUNK + 77, 5);
    let disk = packed(&bytes, PlacementKind::Slots);
    damage_chunk_2(&disk);
    let mut reader = ContentReader::new(open(&disk)).unwrap();
    let mut chunk = vec![0; CHUNK];
    for _ in 0..2 {
        reader.seek(SeekFrom::Start(CHUNK as u64)).unwrap();
        reader.read_exact(&mut chunk).unwrap();
        assert!(chunk == bytes[CHUNK..2 * CHUNK]);
        assert!(reader.read(&mut [0; 1]).is_err());
    }
}

fn damage_chunk_2(disk: &SimDisk) {
    let entry = open(disk).index().entries[2];
    let mut file = disk.read_file(OUT).unwrap();
    file[entry.offset as usize + entry.frame_len as usize / 2] ^= 1;
    disk.write_file(OUT, &file);
}
