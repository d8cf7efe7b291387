//! Macro benchmarks: whole jobs on the file system of the temporary directory (`TMPDIR`), the final
//! fsync included; and of these the parts that come at the end: finalizing, and going on.

use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringpack::pack::{
    self, Codec, Input, Observer, PackOptions, ResumeOptions, pack, recorded_input, resume,
};
use ringpack::pipeline::IoMode;
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{self, UnpackOptions, unpack};
use ringpack::verify::{VerifyOptions, verify};
use ringpack::write::WriteOptions;
use ringpack::{Cadence, Cancel, ContainerWriter, ErrorKind};
use ringpack_benches::content;

const CONTENT: usize = 64 << 20;

fn pack_file(input: &Path, output: &Path, codec: Codec, io: IoMode) {
    let options = PackOptions { codec, io, replace: true, ..PackOptions::default() };
    let (input, output) = (Input::Path(input.into()), pack::Output::Path(output.into()));
    pack(&OsDisk, input, output, &options, &Cancel::new()).expect("packed");
}

fn jobs(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (raw, container) = (folder.path().join("raw"), folder.path().join("raw.zst"));
    let restored = folder.path().join("restored");
    std::fs::write(&raw, content(CONTENT)).expect("content");
    let mut group = criterion.benchmark_group("jobs");
    group.sample_size(10).throughput(Throughput::Bytes(CONTENT as u64));
    for (name, codec) in [("store", Codec::Store), ("zstd-1", Codec::Zstd(1))] {
        for (backend, io) in [("auto", IoMode::Auto), ("pwrite", IoMode::Pwrite)] {
            group.bench_function(format!("pack {name} {backend}"), |bencher| {
                bencher.iter(|| pack_file(&raw, &container, codec, io));
            });
        }
    }
    // Whichever of these were asked for: what follows reads this one.
    pack_file(&raw, &container, Codec::Zstd(1), IoMode::Auto);
    group.bench_function("verify", |bencher| {
        let options = VerifyOptions::default();
        bencher.iter(|| verify(&OsDisk, &container, &options, &Cancel::new()).expect("verified"));
    });
    group.bench_function("verify, decoding", |bencher| {
        let options = VerifyOptions { decode: true, ..VerifyOptions::default() };
        bencher.iter(|| verify(&OsDisk, &container, &options, &Cancel::new()).expect("verified"));
    });
    group.bench_function("unpack", |bencher| {
        let options = UnpackOptions { replace: true, ..UnpackOptions::default() };
        bencher.iter(|| {
            let output = unpack::Output::Path(restored.clone());
            unpack(&OsDisk, &container, output, &options, &Cancel::new()).expect("unpacked")
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("4 KiB range, open container", |bencher| {
        let open = || Container::open(&OsDisk, &container, false).expect("opened");
        bencher.iter_batched_ref(
            open,
            |container| {
                let middle = CONTENT as u64 / 2;
                container.read_range(middle..middle + 4096, &mut |_| Ok(())).expect("read");
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("4 KiB range, cold index", |bencher| {
        bencher.iter(|| {
            let container = Container::open(&OsDisk, &container, false).expect("opened");
            let middle = CONTENT as u64 / 2;
            container.read_range(middle..middle + 4096, &mut |_| Ok(())).expect("read");
        });
    });
    group.finish();
}

/// From the last chunk given to the name durable: the index of 1000 chunks, and what it takes to
/// make a file durable whose data largely is.
fn finalize(criterion: &mut Criterion) {
    const CHUNKS: u64 = 1000;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out");
    let chunk = content(1 << 16);
    let options = WriteOptions { chunk_log2: 16, replace: true, ..WriteOptions::default() };
    let given = || {
        let writer = ContainerWriter::create(&path, &options).expect("created");
        (0..CHUNKS).for_each(|number| writer.write_chunk(number, &chunk).expect("written"));
        writer.checkpoint().expect("durable");
        writer
    };
    let mut group = criterion.benchmark_group("finalize");
    group.sample_size(10);
    group.bench_function("1000 chunks", |bencher| {
        bencher.iter_batched(
            given,
            |writer| writer.finalize(None).expect("published"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Going on from a checkpoint of the first half.
fn go_on(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (raw, container) = (folder.path().join("raw"), folder.path().join("raw.zst"));
    std::fs::write(&raw, content(CONTENT)).expect("content");
    let half = || {
        let _ = std::fs::remove_file(&container);
        let cancel = Cancel::new();
        let pull = cancel.clone();
        let bytes = CONTENT as u64 / 2;
        let options = PackOptions {
            codec: Codec::Zstd(1),
            checkpoints: Some(Cadence { bytes, interval: Duration::MAX, percent_max: 100 }),
            observer: Observer::new(move |_| pull.suspend()),
            ..PackOptions::default()
        };
        let (from, to) = (Input::Path(raw.clone()), pack::Output::Path(container.clone()));
        let stopped = pack(&OsDisk, from, to, &options, &cancel).expect_err("suspended");
        assert_eq!(stopped.kind(), ErrorKind::Suspended);
    };
    let mut group = criterion.benchmark_group("resume");
    group.sample_size(10).throughput(Throughput::Bytes(CONTENT as u64));
    group.bench_function("from the middle", |bencher| {
        bencher.iter_batched(
            half,
            |()| {
                let options = ResumeOptions::default();
                let cancel = Cancel::new();
                resume(&OsDisk, &container, &mut recorded_input, &options, &cancel).expect("done")
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, jobs, finalize, go_on);
criterion_main!(benches);
