//! Micro benchmarks: the structures on disk, to bytes and back; and the journal, which is appended
//! to at a checkpoint and replayed after a crash.

use std::ffi::OsStr;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringpack::codec::{Chunk, Encoder, encode_room};
use ringpack::format::frame::FrameHeader;
use ringpack::format::header::{CodecKind, Header, PlacementKind};
use ringpack::format::index;
use ringpack::format::layout::Geometry;
use ringpack::format::recipe::Recipe;
use ringpack::format::record::{
    ChunkRecord, Open, PartialIdentity, Record, SourceIdentity, SourceKind,
};
use ringpack::format::seek_table;
use ringpack::journal::{Checkpoint, Journal, JournaledExtent, Replay};
use ringpack::limits::HEADER_LEN;
use ringpack::ring::file::Disk;
use ringpack::ring::os::OsDisk;
use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};

/// Extents that the journal names.
const EXTENTS: u64 = 1000;
/// Chunks of each, of 1 MiB, and the length of each one's frame.
const CHUNKS: u64 = 4;
const FRAME_LEN: u64 = 4096;

fn recipe() -> Recipe {
    Recipe {
        codec: CodecKind::Zstd,
        level: 3,
        zstd_version: 10_507,
        geometry: Geometry::new(20, PlacementKind::Dense),
        blake3: false,
    }
}

fn extent(number: u64) -> JournaledExtent {
    let chunk = |chunk: u64| ChunkRecord {
        entry: index::Entry {
            offset: (number * CHUNKS + chunk) * FRAME_LEN,
            frame_len: FRAME_LEN as u32,
            raw_len: 1 << 20,
            frame_crc32c: 2,
            raw_crc32c: 3,
        },
        xxh64_low: 4,
        chaining: [0; index::CHAINING_LEN],
    };
    JournaledExtent { number, chunks: (0..CHUNKS).map(chunk).collect() }
}

fn structures(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("structures");
    group.throughput(Throughput::Elements(1));
    let writer = MemoryWriter::new(&WriteOptions::default()).expect("a writer");
    writer.write_chunk(0, b"something to keep").expect("written");
    let container = writer.finalize().expect("a container");
    let table_len = seek_table::decode_footer(&container).map(seek_table::table_len);
    let end = container.len() - table_len.expect("a table") as usize;
    let bytes = &container[end - HEADER_LEN..end];
    group.bench_function("header decode", |bencher| {
        bencher.iter(|| Header::decode(black_box(bytes)).expect("decoded"));
    });
    let header = Header::decode(bytes).expect("decoded");
    group.bench_function("header encode", |bencher| {
        bencher.iter(|| black_box(&header).encode());
    });
    let mut frame = vec![0; encode_room(5000)];
    let len = Encoder::new(CodecKind::Zstd, 1)
        .encode(Chunk::Bytes(&[7; 5000]), None, &mut frame)
        .expect("encoded")
        .len;
    frame.truncate(len);
    group.bench_function("frame header decode", |bencher| {
        bencher.iter(|| FrameHeader::decode(black_box(&frame)).expect("decoded"));
    });
    let JournaledExtent { number, chunks } = extent(0);
    let record = Record::Extent { number, offset: 0, chunks };
    let mut out = Vec::new();
    group.bench_function("record encode, an extent", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&record).encode(7, &mut out)
        });
    });
    group.bench_function("record decode, an extent", |bencher| {
        bencher.iter(|| Record::decode(black_box(&out), 7).expect("decoded").is_some());
    });
    let entries = EXTENTS * CHUNKS;
    let entry = seek_table::Entry::without_content(FRAME_LEN as u32);
    let mut table = seek_table::encode_prefix(entries).to_vec();
    (0..entries).for_each(|_| table.extend(entry.encode()));
    table.extend(seek_table::encode_footer(entries));
    group.throughput(Throughput::Elements(entries));
    group.bench_function("seek table decode, a chunk", |bencher| {
        bencher.iter(|| seek_table::decode(black_box(&table)).expect("decoded"));
    });
    group.finish();
}

fn journal(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = OsDisk.directory(folder.path()).expect("a directory");
    let name = OsStr::new("journal");
    let open = || Open {
        run: [7; 16],
        partial: PartialIdentity::default(),
        recipe: recipe(),
        replace: false,
        source: SourceIdentity { kind: SourceKind::Stream, ..SourceIdentity::default() },
        name: Vec::new(),
    };
    let begin = || {
        let _ = directory.unlink(name);
        let mut journal = Journal::create(&directory, name, open()).expect("created");
        (0..EXTENTS).for_each(|number| journal.append(extent(number)));
        journal
    };
    let covered = Checkpoint {
        extents: EXTENTS,
        chunks: EXTENTS * CHUNKS,
        bytes: (EXTENTS * CHUNKS) << 20,
        data_end: EXTENTS * CHUNKS * FRAME_LEN,
    };
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(20).throughput(Throughput::Elements(EXTENTS));
    group.bench_function("append, an extent", |bencher| bencher.iter(|| drop(begin())));
    group.bench_function("checkpoint of 1000 extents, synced", |bencher| {
        bencher.iter_batched_ref(
            begin,
            |journal| journal.checkpoint(&covered).expect("durable"),
            BatchSize::PerIteration,
        );
    });
    begin().checkpoint(&covered).expect("durable");
    group.bench_function("replay, an extent", |bencher| {
        bencher.iter(|| {
            let file = directory.open_existing(name, false).expect("opened");
            let replay = Replay::read(file).expect("read").expect("a journal");
            assert_eq!(replay.covered().extents, EXTENTS);
        });
    });
    group.finish();
}

criterion_group!(benches, structures, journal);
criterion_main!(benches);
