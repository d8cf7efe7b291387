//! The ways of writing, side by side: `benches/designs`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringpack_benches::content;
use ringpack_benches::designs::{Design, Setup, write};

fn writers(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let content = content(16 << 20);
    let setup = Setup { chunks: 64, ..Setup::default() };
    let mut group = criterion.benchmark_group("writers");
    group.sample_size(10);
    group.throughput(Throughput::Bytes((setup.chunk_len * setup.chunks) as u64));
    for (codec, level) in [("store", None), ("zstd -1", Some(1))] {
        for design in Design::ALL {
            group.bench_function(BenchmarkId::new(codec, design.name()), |bencher| {
                bencher.iter_custom(|times| {
                    let setup = Setup { level, ..setup };
                    let once =
                        |_| write(design, setup, &content, folder.path()).expect("written").0;
                    (0..times).map(once).sum()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, writers);
criterion_main!(benches);
