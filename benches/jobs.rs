//! Macro benchmarks: whole jobs on the file system of the temporary directory (`TMPDIR`), the final
//! fsync included.

use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringpack::Cancel;
use ringpack::pack::{self, Codec, Input, PackOptions, pack};
use ringpack::pipeline::IoMode;
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{self, UnpackOptions, unpack};
use ringpack::verify::{VerifyOptions, verify};
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
    group.bench_function("verify", |bencher| {
        let options = VerifyOptions::default();
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
    group.finish();
}

criterion_group!(benches, jobs);
criterion_main!(benches);
