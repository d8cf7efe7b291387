//! Micro benchmarks: one for each stage that a byte, a chunk or an extent goes through.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringpack::buffer::Buffer;
use ringpack::checksum;
use ringpack::codec::{Chunk, Decoder, Encoder, encode_room};
use ringpack::digest;
use ringpack::format::header::CodecKind;
use ringpack::format::index::{Entry, Index};
use ringpack::placement::Dense;
use ringpack::placement::sequence_set::SequenceSet;
use ringpack::ring::inflight::{Answer, InFlight};
use ringpack::ring::{FileSlot, Op, OpKind, Span};
use ringpack::units::{ExtentNumber, FileOffset, Sequence};
use ringpack_benches::content;

const CHUNK: usize = 1 << 20;

fn codec(criterion: &mut Criterion) {
    let raw = content(CHUNK);
    let mut out = vec![0; encode_room(CHUNK)];
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(CHUNK as u64));
    for (name, kind, level) in [
        ("store", CodecKind::Store, 0),
        ("zstd-1", CodecKind::Zstd, 1),
        ("zstd-3", CodecKind::Zstd, 3),
    ] {
        let mut encoder = Encoder::new(kind, level);
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                encoder.encode(Chunk::Bytes(black_box(&raw)), None, &mut out).expect("encoded")
            });
        });
        let frame = encoder.encode(Chunk::Bytes(&raw), None, &mut out).expect("encoded");
        let mut back = vec![0; CHUNK];
        let mut decoder = Decoder::new().expect("a decoder");
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| decoder.decode(&out[..frame.len], &mut back).expect("decoded"));
        });
    }
    group.finish();
}

fn sums(criterion: &mut Criterion) {
    let raw = content(CHUNK);
    let mut group = criterion.benchmark_group("sums");
    group.throughput(Throughput::Bytes(CHUNK as u64));
    group.bench_function("crc32c", |bencher| {
        bencher.iter(|| checksum::crc32c(black_box(&raw)));
    });
    group.bench_function("blake3 chaining value", |bencher| {
        bencher.iter(|| digest::chaining_value(black_box(&raw), 0, false));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("seed of a frame", |bencher| {
        bencher.iter(|| checksum::frame(Sequence(7), FileOffset(4096), black_box(9), CHUNK));
    });
    group.finish();
}

fn tables(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tables");
    const EXTENTS: u64 = 10_000;
    group.throughput(Throughput::Elements(EXTENTS));
    group.bench_function("dense placement, an extent", |bencher| {
        bencher.iter(|| {
            let table = Dense::new(ExtentNumber(0), 4096);
            for number in 0..EXTENTS {
                table.publish(ExtentNumber(number ^ 1), 4096);
            }
            table.offset(ExtentNumber(EXTENTS))
        });
    });
    group.bench_function("set of sequences, an extent", |bencher| {
        bencher.iter(|| {
            let mut seen = SequenceSet::default();
            (0..EXTENTS).for_each(|number| assert!(seen.insert(number ^ 1)));
            seen.complete(EXTENTS)
        });
    });
    group.throughput(Throughput::Elements(1));
    let mut table = InFlight::default();
    let mut free = Some(Buffer::new(4096, 0));
    group.bench_function("in-flight table, an operation", |bencher| {
        bencher.iter(|| {
            let buffer = free.take().expect("the buffer came back");
            let spans = vec![Span::exact(0, 0, 4096)];
            let op = Op { kind: OpKind::Write, file: FileSlot(0), spans, buffer, tag: 0 };
            let request = table.insert(op);
            match table.answer(request.token, Ok(4096), || true) {
                Answer::Done(completed) => free = Some(completed.buffer),
                Answer::Again(_) | Answer::LeaveDirect(_) | Answer::Directly(_) => {
                    unreachable!("all bytes were moved")
                }
            }
        });
    });
    let entry =
        |i: u64| Entry { offset: i, frame_len: 1, raw_len: 1, frame_crc32c: 2, raw_crc32c: 3 };
    let index = Index { entries: (0..EXTENTS).map(entry).collect(), chaining: Vec::new() };
    let bytes = index.encode();
    group.throughput(Throughput::Elements(EXTENTS));
    group.bench_function("index encode, a chunk", |bencher| {
        bencher.iter(|| black_box(&index).encode());
    });
    group.bench_function("index decode, a chunk", |bencher| {
        bencher.iter(|| Index::decode(black_box(&bytes), EXTENTS, false).expect("decoded"));
    });
    group.finish();
}

criterion_group!(stages, codec, sums, tables);
criterion_main!(stages);
