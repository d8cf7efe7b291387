//! Mutants: intact containers changed at random, by parts and by bytes, their checksums mended, by
//! the hundred thousand.
//!
//! A mutant may be refused, found damaged, or be a good container of other content; see
//! `support::oracle` for what has to hold. Each is made by a seed, which a failure names;
//! `RINGPACK_SEED=N` makes that one alone.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use peak_alloc::PeakAlloc;
use support::memory::{MemoryDisk, share};
use support::mutant::{self, Choices};
use support::oracle::{self, Fate};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MUTANTS: usize = 160_000;
const MIB: usize = 1 << 20;
/// What a look at one mutant may take: two buffers of the largest chunk, the chunk that
/// reading decodes into, and a few times the file itself, which is a MiB at most.
const MEMORY_MAX: usize = 3 * (64 * MIB) + 16 * MIB;

/// What became of the mutants.
#[derive(Debug, Default)]
struct Tally {
    refused: AtomicUsize,
    damaged: AtomicUsize,
    good: AtomicUsize,
}

#[test]
fn mutants() {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {0}: RINGPACK_SEED={0} runs it alone", self.0);
            }
        }
    }
    let ancestors = mutant::ancestors();
    let tally = Tally::default();
    let run = |seed| {
        let told = Told(seed);
        let bytes = mutant::of(&mut Choices::drawn(seed), &ancestors);
        let count = match oracle::check(&MemoryDisk::new(bytes.clone()), &bytes, !seed) {
            Fate::Refused => &tally.refused,
            Fate::Damaged => &tally.damaged,
            Fate::Good => &tally.good,
        };
        count.fetch_add(1, Relaxed);
        drop(told);
    };
    if let Ok(seed) = std::env::var("RINGPACK_SEED") {
        return run(seed.parse().expect("RINGPACK_SEED is a number"));
    }
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    share(MUTANTS, || (), |(), seed| run(seed as u64));
    let peak = HEAP.peak_usage() - before;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{tally:?}, {peak} bytes at most on {threads} threads");
    assert!(peak < threads * MEMORY_MAX, "{peak} bytes on {threads} threads");
    // All three come about, or the mutator has lost its edge.
    for count in [tally.refused, tally.damaged, tally.good] {
        assert!(count.into_inner() > MUTANTS / 50);
    }
}
