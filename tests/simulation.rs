//! The whole pipeline on the simulated disk: any order, any fault and a power cut at any step give
//! the same bytes or none.
//!
//! Every run is made by a seed, which a failure names; `RINGPACK_SEED=N` runs that one alone.
//!
//! # Invariants
//! - P1: whatever happens, the target's name leads to the whole new file, or to what it led to
//!   before.
//! - P2: once packing has reported success, a power cut leaves the new file.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use ringpack::commit::Cadence;
use ringpack::format::header::PlacementKind;
use ringpack::pack::{self, Codec, Input, PackOptions, pack_scheduled};
use ringpack::pipeline::{IoMode, Schedule};
use ringpack::ring::file::{Attributes, Disk};
use ringpack::ring::os::OsDisk;
use ringpack::ring::sim::{Fault, SimDisk, SimOptions};
use ringpack::unpack::{self, UnpackOptions, unpack_scheduled};
use ringpack::verify::{VerifyOptions, verify};
use ringpack::{Cancel, ErrorKind, Result};
use support::watched::{Step, WatchedDisk};
use support::{Random, content};

const IN: &str = "/in";
const OUT: &str = "/out";
const PARTIAL: &str = "out.ringpack-partial";
const OLD: &[u8] = b"what stood there before";
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What is done to `IN`, giving `OUT`.
#[derive(Clone, Debug)]
enum Job {
    Pack(PackOptions),
    Unpack,
}

/// A job, what it is made of and what it must give.
#[derive(Clone, Debug)]
struct Case {
    job: Job,
    workers: usize,
    input: Vec<u8>,
    expected: Vec<u8>,
    replace: bool,
}

fn options(placement: PlacementKind) -> PackOptions {
    PackOptions {
        codec: Codec::Zstd(1),
        chunk_log2: Some(16),
        placement,
        // What a checkpoint leaves behind is tests/crash.rs's.
        checkpoints: None,
        io: IoMode::Sim,
        ..PackOptions::default()
    }
}

/// The container that a plain run on the real disk makes.
fn packed(bytes: &[u8], options: &PackOptions) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    fs::write(&input, bytes).unwrap();
    let options = PackOptions { io: IoMode::Pwrite, threads: Some(1), ..options.clone() };
    let to = pack::Output::Path(output.clone());
    pack::pack(&OsDisk, Input::Path(input), to, &options, &Cancel::new()).unwrap();
    fs::read(output).unwrap()
}

impl Case {
    fn pack(bytes: &[u8], options: PackOptions, workers: usize) -> Self {
        Self {
            workers,
            input: bytes.to_vec(),
            expected: packed(bytes, &options),
            replace: false,
            job: Job::Pack(options),
        }
    }

    fn unpack(bytes: &[u8], options: &PackOptions, workers: usize) -> Self {
        Self {
            job: Job::Unpack,
            workers,
            input: packed(bytes, options),
            expected: bytes.to_vec(),
            replace: false,
        }
    }

    fn replacing(self) -> Self {
        Self { replace: true, ..self }
    }

    fn disk(&self, seed: u64, options: SimOptions) -> SimDisk {
        let disk = SimDisk::new(seed, options);
        disk.write_file(IN, &self.input);
        if self.replace {
            disk.write_file(OUT, OLD);
        }
        disk
    }

    fn run(&self, disk: &dyn Disk) -> Result<()> {
        let schedule = Schedule::Inline(self.workers);
        let cancel = Cancel::new();
        match &self.job {
            Job::Pack(options) => {
                let options = PackOptions { replace: self.replace, ..options.clone() };
                let (from, to) = (Input::Path(IN.into()), pack::Output::Path(OUT.into()));
                pack_scheduled(disk, from, to, &options, &cancel, &schedule).map(|_| ())
            }
            Job::Unpack => {
                let options = UnpackOptions {
                    replace: self.replace,
                    io: IoMode::Sim,
                    ..UnpackOptions::default()
                };
                let to = unpack::Output::Path(OUT.into());
                unpack_scheduled(disk, Path::new(IN), to, &options, &cancel, &schedule).map(|_| ())
            }
        }
    }

    /// That the target is whole, and nothing else is left.
    fn check_done(&self, disk: &SimDisk, what: &str) {
        assert_eq!(disk.names("/"), ["in", "out"], "{what}");
        assert!(disk.read_file(OUT).unwrap() == self.expected, "{what}: other bytes");
    }

    /// That the target is as it was, and nothing else is left.
    fn check_undone(&self, disk: &SimDisk, what: &str) {
        let names: &[&str] = if self.replace { &["in", "out"] } else { &["in"] };
        assert_eq!(disk.names("/"), names, "{what}");
        assert!(self.is_old(disk), "{what}: the old target was touched");
    }

    fn is_old(&self, disk: &SimDisk) -> bool {
        disk.read_file(OUT).as_deref() == self.replace.then_some(OLD)
    }

    /// P1, after a power cut: whole or as before, and beside it a partial file at most.
    fn check_survivor(&self, left: &SimDisk, what: &str) {
        let is_new = left.read_file(OUT).is_some_and(|bytes| bytes == self.expected);
        assert!(is_new || self.is_old(left), "{what}: neither old nor new: {:?}", left.names("/"));
        let known = ["in", "out", PARTIAL].map(OsString::from);
        let names = left.names("/");
        assert!(names.iter().all(|name| known.contains(name)), "{what}: {names:?}");
    }
}

/// The seeds to run: those below `count`, or the one that was asked for.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("RINGPACK_SEED") {
        Ok(seed) => vec![seed.parse().expect("RINGPACK_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

/// Runs `check` for each seed, and says which one failed.
fn each_seed(count: u64, check: impl Fn(u64)) {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {0}: RINGPACK_SEED={0} runs it alone", self.0);
            }
        }
    }
    for seed in seeds(count) {
        let _told = Told(seed);
        check(seed);
    }
}

/// A run in a world that is made by `seed`: order, cuts, interruptions, the grid of direct I/O.
fn check(case: &Case, seed: u64, what: &str) {
    let mut random = Random(seed);
    let mut per_mille = |most| {
        if random.below(2) == 0 { 0 } else { random.below(most) as u16 }
    };
    let world = SimOptions {
        short_per_mille: per_mille(400),
        eintr_per_mille: per_mille(200),
        eagain_per_mille: per_mille(200),
        reorder: random.below(4) > 0,
        direct: random.below(2) == 0,
        einval_direct: random.below(4) == 0,
        ..SimOptions::default()
    };
    let what = format!("seed {seed}, {what}, {} workers, {world:?}", case.workers);
    let disk = case.disk(seed, world);
    case.run(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    case.check_done(&disk, &what);
}

#[test]
fn any_order_and_any_interruption_gives_the_same_bytes() {
    each_seed(300, |seed| {
        let mut random = Random(seed ^ 0x5EED);
        let placement =
            if random.below(2) == 0 { PlacementKind::Dense } else { PlacementKind::Slots };
        // A dense extent is 4 MiB: now and then more than one of them.
        let lens = [0, 1, 65_536, 65_537, 1 << 18, 777_777, 1_200_000, (9 << 20) + 5];
        let slots = placement == PlacementKind::Slots;
        let len = lens[random.below(if slots { 7 } else { 8 }) as usize];
        let bytes = content(len, seed);
        let options = PackOptions {
            codec: if random.below(4) == 0 { Codec::Store } else { Codec::Zstd(1) },
            blake3: random.below(4) == 0,
            spool_memory: if random.below(2) == 0 { 300 } else { 8 << 20 },
            ..options(placement)
        };
        for workers in 1..=3 {
            check(&Case::pack(&bytes, options.clone(), workers), seed, "pack");
        }
        let workers = 1 + random.below(3) as usize;
        check(&Case::unpack(&bytes, &options, workers), seed, "unpack");
    });
}

/// The jobs that faults and power cuts are let loose on.
fn cases() -> Vec<(&'static str, Case)> {
    let bytes = content(500_000, 7);
    let long = content((4 << 20) + 100_000, 8);
    // Some of its middle is a hole once it is unpacked.
    let mut holed = content(600_000, 9);
    holed[131_072..393_216].fill(0);
    let (dense, slots) = (options(PlacementKind::Dense), options(PlacementKind::Slots));
    vec![
        ("pack dense", Case::pack(&bytes, dense.clone(), 1)),
        ("pack slots", Case::pack(&bytes, slots.clone(), 2)),
        ("pack dense, -f", Case::pack(&long, dense.clone(), 2).replacing()),
        ("pack slots, -f", Case::pack(&bytes, slots.clone(), 1).replacing()),
        ("pack nothing", Case::pack(&[], dense.clone(), 1)),
        ("unpack dense", Case::unpack(&holed, &dense, 1)),
        ("unpack dense, -f", Case::unpack(&long, &dense, 2).replacing()),
        ("unpack slots, -f", Case::unpack(&holed, &slots, 1).replacing()),
    ]
}

/// Worlds without faults, in which they are then made.
const WORLDS: [SimOptions; 2] = {
    let plain = SimOptions::PLAIN;
    [plain, SimOptions { reorder: true, direct: true, short_per_mille: 100, ..plain }]
};

/// A disk on which the container fits, with little to spare, is full enough; so says ext4, which
/// keeps what a failed allocation took.
#[test]
fn what_fits_is_packed() {
    let world = SimOptions { direct: true, ..SimOptions::PLAIN };
    for size in 1..=20 {
        let cases = [PlacementKind::Dense, PlacementKind::Slots].map(|it| [(it, 20), (it, 100)]);
        for (placement, part) in cases.into_iter().flatten() {
            let bytes = content(size * 97_531, size as u64);
            let often = Cadence { bytes: 1, interval: Duration::MAX, percent_max: 100 };
            let options = PackOptions { checkpoints: Some(often), ..options(placement) };
            let case = Case::pack(&bytes, options, 1 + size % 2);
            let disk = case.disk(1, world);
            // What the input takes, the container, and the journal.
            let room = case.expected.len() as u64 + 2 * 4096;
            let capacity = Some(bytes.len().next_multiple_of(4096) as u64 + room + room / part);
            disk.set_options(SimOptions { capacity, ..world });
            let what = format!("{} bytes, {placement:?}", bytes.len());
            case.run(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            case.check_done(&disk, &what);
        }
    }
}

#[test]
fn each_write_that_fails_leaves_the_target_as_it_was() {
    for (name, case) in cases() {
        for world in WORLDS {
            let clean = case.disk(1, world);
            case.run(&clean).unwrap();
            case.check_done(&clean, name);
            assert!(clean.writes() > 0, "{name}: a job writes");
            for nth in 1..=clean.writes() {
                for (errno, kind) in [(EIO, ErrorKind::Output), (ENOSPC, ErrorKind::NoSpace)] {
                    let fail_write = Some(Fault { nth, errno });
                    let disk = case.disk(1, SimOptions { fail_write, ..world });
                    let what = format!("{name}, write {nth} fails with {errno}");
                    let error = case.run(&disk).expect_err(&what);
                    assert_eq!(error.kind(), kind, "{what}: {error}");
                    assert_eq!(error.path(), Some(Path::new(OUT)), "{what}: {error}");
                    case.check_undone(&disk, &what);
                    let renamed = disk.trace().iter().any(|call| call.starts_with("rename"));
                    assert!(!renamed, "{what}: published");
                    for seed in 0..4 {
                        let left = disk.crash(seed);
                        assert!(case.is_old(&left), "{what}, then power cut {seed}");
                    }
                }
            }
        }
    }
}

#[test]
fn each_sync_that_fails_is_final() {
    for (name, case) in cases() {
        for world in WORLDS {
            let clean = case.disk(1, world);
            case.run(&clean).unwrap();
            let syncs = clean.syncs();
            assert!(syncs >= 2, "{name}: the file's and the directory's");
            for nth in 1..=syncs {
                let fail_sync = Some(Fault { nth, errno: EIO });
                let disk = case.disk(1, SimOptions { fail_sync, ..world });
                let what = format!("{name}, sync {nth} of {syncs} fails");
                let error = case.run(&disk).expect_err(&what);
                assert_eq!(error.kind(), ErrorKind::Output, "{what}: {error}");
                assert_eq!(disk.syncs(), nth, "{what}: synced again");
                if nth < syncs {
                    case.check_undone(&disk, &what);
                } else {
                    // The directory's, after the rename: the message says how it stands.
                    case.check_done(&disk, &what);
                    assert!(error.to_string().contains("is in place"), "{what}: {error}");
                }
                for seed in 0..8 {
                    let left = disk.crash(seed);
                    let what = format!("{what}, then power cut {seed}");
                    case.check_survivor(&left, &what);
                    assert!(nth == syncs || case.is_old(&left), "{what}: published");
                }
            }
        }
    }
}

#[test]
fn a_disk_too_small_leaves_the_target_as_it_was() {
    for (name, case) in cases() {
        for world in WORLDS {
            let mut fitted = false;
            // The input and the old target are there already.
            let there = case.input.len() as u64 + 4096;
            let most = there + case.expected.len() as u64 * 2 + (1 << 20);
            for capacity in (there..most).step_by((most - there) as usize / 30) {
                let disk = case.disk(1, SimOptions { capacity: Some(capacity), ..world });
                let what = format!("{name}, {capacity} bytes");
                match case.run(&disk) {
                    Ok(()) => {
                        case.check_done(&disk, &what);
                        fitted = true;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}: {error}");
                        assert!(error.to_string().contains("free some space"), "{what}: {error}");
                        case.check_undone(&disk, &what);
                        assert!(!fitted, "{what}: less was enough");
                    }
                }
            }
            assert!(fitted, "{name}: {most} bytes are enough");
        }
    }
}

#[test]
fn p2_after_success_a_power_cut_leaves_the_new_file() {
    for (name, case) in cases() {
        for world in WORLDS {
            let disk = case.disk(1, SimOptions { garbage: true, ..world });
            case.run(&disk).unwrap();
            each_seed(200, |seed| {
                let left = disk.crash(seed);
                case.check_done(&left, &format!("{name}, power cut {seed}"));
            });
            if matches!(case.job, Job::Pack(_)) {
                let options = VerifyOptions {
                    decode: true,
                    io: IoMode::Sim,
                    threads: Some(1),
                    ..VerifyOptions::default()
                };
                let report = verify(&disk.crash(0), Path::new(OUT), &options, &Cancel::new());
                assert_eq!(report.unwrap().damage_count, 0, "{name}");
            }
        }
    }
}

/// The job, and before each of its steps what `look` makes of the disk.
fn at_each_step(
    case: &Case,
    world: SimOptions,
    look: impl Fn(&SimDisk, usize) + Send + Sync + 'static,
) -> usize {
    let disk = case.disk(1, world);
    // Not the partial file's own mode: it is taken over before the end.
    let input =
        disk.directory(Path::new("/")).unwrap().open_existing("in".as_ref(), false).unwrap();
    let attributes = Attributes { mode: 0o644, owner: None, modified: None };
    input.set_attributes(&attributes).unwrap();
    input.sync_all().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (looked_at, counted) = (disk.clone(), Arc::clone(&count));
    let watched = WatchedDisk::new(disk, move |_: Step| {
        // Cleaning up after a look that failed is no step of the job.
        if !std::thread::panicking() {
            look(&looked_at, counted.fetch_add(1, SeqCst) + 1);
        }
    });
    case.run(&watched).unwrap();
    count.load(SeqCst)
}

#[test]
fn p1_a_power_cut_at_each_step_leaves_the_old_or_the_new() {
    for (name, case) in cases() {
        for world in WORLDS {
            let world = SimOptions { garbage: true, ..world };
            let seen = case.clone();
            let steps = at_each_step(&case, world, move |disk, step| {
                for seed in 0..8 {
                    let left = disk.crash(seed);
                    seen.check_survivor(&left, &format!("{name}, step {step}, power cut {seed}"));
                }
            });
            assert!(steps > 10, "{name}: {steps} steps were seen");
        }
    }
}

/// What a dead run left is taken over by the next one.
#[test]
fn after_a_power_cut_or_a_kill_at_each_step_the_next_run_succeeds() {
    let stragglers = Arc::new(AtomicUsize::new(0));
    for (name, case) in cases() {
        for world in WORLDS {
            let (seen, counted) = (case.clone(), Arc::clone(&stragglers));
            at_each_step(&case, world, move |disk, step| {
                let lefts = [
                    (disk.killed(), "kill"),
                    (disk.killed_with_stragglers(step as u64), "kill with stragglers"),
                    (disk.crash(step as u64), "power cut"),
                ];
                for (left, how) in lefts {
                    counted.fetch_add(left.stragglers(), SeqCst);
                    let what = format!("{name}, {how} at step {step}, {:?}", left.names("/"));
                    seen.check_survivor(&left, &what);
                    let again = if seen.is_old(&left) {
                        seen.clone()
                    } else {
                        // It was published already: replace it.
                        Case { replace: true, ..seen.clone() }
                    };
                    again.run(&left).unwrap_or_else(|error| panic!("{what}: {error}"));
                    again.check_done(&left, &what);
                }
            });
        }
    }
    let stragglers = stragglers.load(SeqCst);
    assert!(stragglers > 0, "no write outlived its process");
}
