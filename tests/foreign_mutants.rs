//! Other programs' files changed at random, by the thousand, and damaged files to be salvaged: the
//! bodies of the fuzz targets `foreign` and `salvage`, on their seeds and on mutants of real files.
//!
//! See `support::foreign_oracle` for what has to hold. Each mutant is made by a seed, which a
//! failure names; `RINGPACK_SEED=N` makes that one alone, `RINGPACK_MUTANTS=N` so many.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use peak_alloc::PeakAlloc;
use support::foreign_oracle::{self, Fate};
use support::memory::share;
use support::mutant::{self, Choices};
use support::{cases, foreign_mutant};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MUTANTS: usize = 6_000;
const MIB: usize = 1 << 20;
/// What a look at one may take: two frames of the largest that is decoded at once, what is kept of
/// the content to be compared, and a few times the file itself.
const MEMORY_MAX: usize = 2 * (64 * MIB) + 32 * MIB;

#[derive(Debug, Default)]
struct Tally([AtomicUsize; 3]);

impl Tally {
    fn count(&self, fate: Fate) {
        let number = match fate {
            Fate::Refused => 0,
            Fate::Damaged => 1,
            Fate::Good => 2,
        };
        self.0[number].fetch_add(1, Relaxed);
    }
}

/// Runs `look` on mutants that `make` makes of seeds, in bounded memory.
fn check(make: impl Fn(u64) -> Vec<u8> + Sync, look: impl Fn(&[u8], u64) -> Fate + Sync) {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {0}: RINGPACK_SEED={0} runs it alone", self.0);
            }
        }
    }
    let number = |name| std::env::var(name).ok().map(|it| it.parse().expect("a number"));
    let tally = Tally::default();
    let run = |seed: u64| {
        let told = Told(seed);
        tally.count(look(&make(seed), seed));
        drop(told);
    };
    if let Some(seed) = number("RINGPACK_SEED") {
        return run(seed);
    }
    let mutants = number("RINGPACK_MUTANTS").map_or(MUTANTS, |count| count as usize);
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    share(mutants, || (), |(), seed| run(seed as u64));
    let peak = HEAP.peak_usage() - before;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{tally:?}, {peak} bytes at most on {threads} threads");
    assert!(peak < threads * MEMORY_MAX, "{peak} bytes on {threads} threads");
    // All three come about, or the mutator has lost its edge.
    for count in tally.0 {
        assert!(count.into_inner() > mutants / 50);
    }
}

#[test]
fn other_programs_files() {
    let ancestors = foreign_mutant::ancestors("other_programs_files");
    check(|seed| foreign_mutant::of(&mut Choices::drawn(seed), &ancestors), foreign_oracle::check);
}

/// Half of them are containers, half other programs' files.
#[test]
fn salvaged_files() {
    let (own, others) = (mutant::ancestors(), foreign_mutant::ancestors("salvaged_files"));
    check(
        |seed| {
            let random = &mut Choices::drawn(seed);
            match seed % 2 {
                0 => mutant::of(random, &own),
                _ => foreign_mutant::of(random, &others),
            }
        },
        |bytes, _| foreign_oracle::check_salvage(bytes),
    );
}

#[test]
fn seeds_of_the_fuzz_targets() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let mut count = 0;
    for target in ["foreign", "salvage"] {
        for seed in fs::read_dir(seeds.join(target)).unwrap() {
            let bytes = fs::read(seed.unwrap().path()).unwrap();
            foreign_oracle::check(&bytes, 1);
            foreign_oracle::check_salvage(&bytes);
            count += 1;
        }
    }
    assert!(count > 8, "{count} seeds");
    // And what is nothing at all.
    for bytes in [&b""[..], b"\x28", &cases::noise(3000, 5)] {
        foreign_oracle::check(bytes, 1);
        foreign_oracle::check_salvage(bytes);
    }
}
