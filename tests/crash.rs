//! Crashes at every step of packing and of going on, and errors of every call: what was promised
//! holds, and whoever goes on ends with the bytes of the uninterrupted run.
//!
//! The promises are those of `simulation.rs`, P1 and P2, and those below. Every scenario is made by
//! a seed, which a failure names with its whole recipe; `RINGPACK_SEED=N` runs that one alone, and
//! `RINGPACK_CRASHES=X` X times as many. What each test counted stands on standard error.
//!
//! # Invariants
//! - P3: a checkpoint that was reported is never lost: going on adopts at least its bytes, unless
//!   the target is the new file already.
//! - P4: a checkpoint names nothing that isn't on the medium: all that it covers is adopted.
//! - P5: after an error of the output nothing is acknowledged any more, and no sync is tried again.
//! - P8: the partial file and its journals are for their owner alone, until attributes are taken
//!   over.
//! - P9: one writer at a time, writes of the dead included.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use ringpack::commit::clean::{Fate, clean};
use ringpack::pack::{self, Confirm, Expected, Input, PackOptions, pack_scheduled};
use ringpack::pipeline::Schedule;
use ringpack::ring::sim::{Fault, SimDisk, SimOptions};
use ringpack::{Cancel, ErrorKind};
use support::Random;
use support::crash::{
    Ended, JOURNAL, Lab, Left, MODE, NEW_JOURNAL, OUT, PARTIAL, Promise, Scenario, Way, check_left,
    each_scenario, first_failure, is_sync, mode,
};

const EIO: i32 = 5;

/// Every step of a run from nothing, each kind of crash, up to three deep. The laboratory holds P1
/// to P4, P8, P9 and J5 against each.
fn crash_everywhere(test: &'static str, first: u64, count: u64, least: u64) {
    let lab = Lab::new(test);
    each_scenario(first, count, |scenario| {
        let mut random = Random(scenario.seed);
        for left in lab.crash_at_each_step(scenario, 2) {
            lab.go_on(scenario, left, &mut random);
        }
    });
    lab.done(least);
}

#[test]
fn p3_p4_j5_a_crash_at_each_step_part_1() {
    crash_everywhere("each step, part 1", 0, 100, 24_000);
}

#[test]
fn p3_p4_j5_a_crash_at_each_step_part_2() {
    crash_everywhere("each step, part 2", 1000, 100, 24_000);
}

#[test]
fn p3_p4_j5_a_crash_at_each_step_part_3() {
    crash_everywhere("each step, part 3", 2000, 100, 24_000);
}

/// What a crash somewhere in the middle leaves, with a checkpoint.
fn left_in_the_middle(lab: &Lab, scenario: &Scenario, random: &mut Random) -> Option<Left> {
    let lefts = lab.crash_at_each_step(scenario, 1);
    let is_useful = |left: &Left| left.promised > 0 && !scenario.is_new(&left.disk);
    let mut useful: Vec<Left> = lefts.into_iter().filter(is_useful).collect();
    if useful.is_empty() {
        return None;
    }
    Some(useful.swap_remove(random.below(useful.len() as u64) as usize))
}

/// A run that goes on, crashed at each of its own steps.
#[test]
fn p3_p4_a_crash_at_each_step_of_going_on() {
    let lab = Lab::new("each step of going on");
    each_scenario(3000, 120, |scenario| {
        let mut random = Random(scenario.seed);
        let Some(left) = left_in_the_middle(&lab, scenario, &mut random) else {
            return;
        };
        let Left { disk, promised, what } = left;
        let way = if random.below(2) == 0 { Way::Pack } else { Way::Resume };
        let what = format!("{what}, promised {promised}, {way:?}, ");
        let promise = Promise::of(promised);
        for left in lab.crash_each_step_of(scenario, &disk, way, promise, 2, &what) {
            lab.go_on(scenario, left, &mut random);
        }
    });
    lab.done(27_000);
}

/// Which calls fail.
type Kind = (&'static str, fn(&SimDisk) -> u64, fn(SimOptions, Fault) -> SimOptions);

const KINDS: [Kind; 8] = [
    ("write", SimDisk::writes, |world, fault| SimOptions { fail_write: Some(fault), ..world }),
    ("writes from", SimDisk::writes, |world, fault| SimOptions {
        writes_fail_from: Some(fault),
        ..world
    }),
    ("file sync", SimDisk::file_syncs, |world, fault| SimOptions {
        fail_file_sync: Some(fault),
        ..world
    }),
    ("directory sync", SimDisk::directory_syncs, |world, fault| SimOptions {
        fail_directory_sync: Some(fault),
        ..world
    }),
    ("syncs from", SimDisk::syncs, |world, fault| SimOptions {
        syncs_fail_from: Some(fault),
        ..world
    }),
    ("name", SimDisk::name_calls, |world, fault| SimOptions { fail_name: Some(fault), ..world }),
    ("read", SimDisk::reads, |world, fault| SimOptions { fail_read: Some(fault), ..world }),
    ("reads from", SimDisk::reads, |world, fault| SimOptions {
        reads_fail_from: Some(fault),
        ..world
    }),
];

fn is_published(trace: &[String]) -> bool {
    trace.iter().any(|call| call == "rename out.ringpack-partial out")
}

/// Holds a run that met an error against P5; returns the bytes that are promised from now on.
fn check_failed(
    scenario: &Scenario,
    disk: &SimDisk,
    ended: &Ended,
    promised: u64,
    reads: bool,
    what: &str,
) -> u64 {
    let trace = disk.trace();
    let failed = |call: &String| call.ends_with(" errno 5");
    let published = is_published(&trace);
    if let Some(at) = first_failure(&trace).filter(|&at| is_sync(&trace[at])) {
        let after = &trace[at + 1..];
        let sync = after.iter().find(|call| is_sync(call));
        assert_eq!(sync, None, "{what}: P5: synced after {}", trace[at]);
        let renamed = after.iter().find(|call| call.starts_with("rename"));
        assert_eq!(renamed, None, "{what}: P5: renamed after {}", trace[at]);
        assert!(ended.result.is_err(), "{what}: P5: success after {}", trace[at]);
    }
    if let Some(call) = trace.iter().find(|call| failed(call) && call.starts_with("write out")) {
        assert!(ended.result.is_err() && !published, "{what}: P5: success after {call}");
    }
    match &ended.result {
        Ok(_) => {
            assert!(scenario.is_new(disk), "{what}: success without the new file");
            for seed in 0..3 {
                assert!(scenario.is_new(&disk.crash(seed)), "{what}: P2");
            }
        }
        Err(error) if published => {
            assert!(error.to_string().contains("is in place"), "{what}: {error}");
            assert!(scenario.is_new(disk), "{what}");
        }
        Err(error) => {
            assert!(scenario.is_old(disk), "{what}: P5: the old target was touched: {error}");
            let kinds = [ErrorKind::Output, ErrorKind::Input, ErrorKind::NoSpace];
            assert!(kinds.contains(&error.kind()), "{what}: {:?} {error}", error.kind());
            if let Some(bytes) = error.resumable_bytes().filter(|_| !reads) {
                // A run that goes on may have found more than was reported.
                assert!(bytes >= promised, "{what}: {error}: {bytes} of {promised}");
                assert!(ended.way != Way::Fresh || bytes == promised, "{what}: {error}: {bytes}");
            }
        }
    }
    // What can't be read back is written anew.
    let cut = reads && trace.iter().any(|call| call.starts_with("rename out.ringpack-rewrite"));
    if cut { 0 } else { promised }
}

/// A run with each of its calls failing, once or from then on, and what goes on from there: in the
/// same kernel, whose page cache shows what the medium lacks, and after a power cut.
fn fail_each_call(lab: &Lab, scenario: &Scenario, start: &Left, way: Way, random: &mut Random) {
    let clean = start.disk.killed();
    let whole = lab.run(scenario, &clean, way, &Promise::of(start.promised), |_, _| {});
    whole.result.unwrap_or_else(|error| panic!("without an error: {error}"));
    for (kind, count, arm) in KINDS {
        let reads = kind.starts_with("read");
        for nth in 1..=count(&clean) {
            if reads && nth > 4 && nth % 5 != 0 {
                continue;
            }
            let disk = start.disk.killed();
            disk.set_options(arm(scenario.world, Fault { nth, errno: EIO }));
            let what = format!("{}{way:?}, {kind} {nth} fails", start.what);
            let promise = Promise::of(start.promised);
            let ended = lab.run(scenario, &disk, way, &promise, |_, _| {});
            let promised = check_failed(scenario, &disk, &ended, promise.bytes(), reads, &what);
            let what = match &ended.result {
                Ok(_) => format!("{what}, success"),
                Err(error) => format!("{what}, {error}"),
            };
            let is_new = scenario.is_new(&disk);
            for cut in [random.next(), random.next()] {
                let what = format!("{what}, power cut {cut}");
                let disk = disk.crash(cut);
                lab.go_on(scenario, Left { disk, promised, what }, random);
            }
            // The same kernel. A name that it shows and the medium lacks was owned up to.
            let promised = if is_new { 0 } else { promised };
            let what = format!("{what}, the same kernel");
            let lied_to = disk.killed();
            lab.go_on(scenario, Left { disk: lied_to, promised, what: what.clone() }, random);
            if !is_new {
                let cut = random.next();
                let disk = disk.killed().crash(cut);
                let what = format!("{what}, then power cut {cut}");
                lab.go_on(scenario, Left { disk, promised, what }, random);
            }
        }
    }
}

fn nothing(scenario: &Scenario) -> Left {
    Left { disk: scenario.disk(), promised: 0, what: String::new() }
}

#[test]
fn p5_m1_an_error_of_each_call_and_then_a_crash() {
    let lab = Lab::new("errors, from nothing");
    each_scenario(4000, 40, |scenario| {
        let mut random = Random(scenario.seed);
        fail_each_call(&lab, scenario, &nothing(scenario), Way::Fresh, &mut random);
    });
    lab.done(9_000);
}

#[test]
fn p5_m1_an_error_of_each_call_of_going_on_and_then_a_crash() {
    let lab = Lab::new("errors, going on");
    each_scenario(5000, 40, |scenario| {
        let mut random = Random(scenario.seed);
        if let Some(mut start) = left_in_the_middle(&lab, scenario, &mut random) {
            start.what = format!("{}, promised {}, ", start.what, start.promised);
            for way in [Way::Pack, Way::Resume] {
                fail_each_call(&lab, scenario, &start, way, &mut random);
            }
        }
    });
    lab.done(15_000);
}

/// The device fills up at some point, and is given room again.
#[test]
fn p3_p5_a_full_disk_and_then_a_crash() {
    let lab = Lab::new("a full disk");
    each_scenario(6000, 150, |scenario| {
        let mut random = Random(scenario.seed);
        let there = scenario.content.len() as u64 + 2 * 4096;
        let most = there + scenario.expected.len() as u64;
        for _ in 0..24 {
            let capacity = Some(there + random.below(most - there));
            let disk = scenario.disk();
            disk.set_options(SimOptions { capacity, ..scenario.world });
            let promise = Promise::default();
            let ended = lab.run(scenario, &disk, Way::Fresh, &promise, |_, _| {});
            let Err(error) = ended.result else {
                lab.check_done(scenario, &disk, random.next(), "enough room");
                continue;
            };
            let what = format!("{capacity:?} bytes: {error}");
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}");
            assert!(scenario.is_old(&disk), "{what}: P5: the old target was touched");
            let promised = promise.bytes();
            assert_eq!(error.resumable_bytes().unwrap_or(0), promised, "{what}");
            let cut = random.next();
            for (disk, how) in [(disk.killed(), "kill"), (disk.crash(cut), "power cut")] {
                disk.set_options(scenario.world);
                let what = format!("{what}, {how} {cut}, room again");
                lab.go_on(scenario, Left { disk, promised, what }, &mut random);
            }
        }
    });
    lab.done(6000);
}

/// The owner stops the job at each step, and then the power goes.
#[test]
fn p3_a_job_that_is_stopped_at_each_step_can_be_gone_on_with() {
    let lab = Lab::new("stopped at each step");
    let suspended = AtomicUsize::new(0);
    each_scenario(7000, 40, |scenario| {
        let mut random = Random(scenario.seed);
        let clean = scenario.disk();
        let whole = lab.run(scenario, &clean, Way::Fresh, &Promise::default(), |_, _| {});
        whole.result.unwrap();
        for at in 1..=whole.steps {
            let (disk, promise) = (scenario.disk(), Promise::default());
            let (cancel, asked) = (Cancel::new(), random.below(4) > 0);
            let pulled = cancel.clone();
            let ended =
                lab.run_until(scenario, &disk, Way::Fresh, &promise, &cancel, move |_, step| {
                    if step == at {
                        if asked { pulled.suspend() } else { pulled.cancel() }
                    }
                });
            let what = format!("stopped at step {at}, to be gone on with: {asked}");
            let mut promised = promise.bytes();
            match ended.result.map_err(|error| (error.kind(), error.resumable_bytes())) {
                Ok(_) => lab.check_done(scenario, &disk, random.next(), &what),
                Err((ErrorKind::Suspended, bytes)) => {
                    assert!(asked && promised > 0, "{what}");
                    assert_eq!(bytes, Some(promised), "{what}");
                    assert!(scenario.is_old(&disk), "{what}");
                    suspended.fetch_add(1, SeqCst);
                }
                Err((ErrorKind::Cancelled, _)) => {
                    assert!(!asked || promised == 0, "{what}: {promised} bytes are lost");
                    assert!(scenario.is_old(&disk), "{what}");
                    let left = [PARTIAL, JOURNAL, NEW_JOURNAL].map(|name| disk.read_file(name));
                    assert_eq!(left, [None, None, None], "{what}: left behind");
                    promised = 0;
                }
                Err((kind, _)) => panic!("{what}: {kind:?}"),
            }
            let cut = random.next();
            for (disk, how) in [(disk.killed(), "in the same kernel"), (disk.crash(cut), "power")] {
                let what = format!("{what}, {how} {cut}");
                lab.go_on(scenario, Left { disk, promised, what }, &mut random);
            }
        }
    });
    lab.done(4500);
    assert!(suspended.load(SeqCst) > 0, "none could be gone on with");
}

/// The same scenario, whose content somebody says isn't whole.
fn refused(scenario: &Scenario, keep: bool, asked: &Arc<AtomicUsize>) -> Scenario {
    let count = Arc::clone(asked);
    let confirm = Confirm::new(move |_| {
        count.fetch_add(1, SeqCst);
        Err("its producer died".into())
    });
    let expected = Expected { confirm, keep, ..Expected::default() };
    scenario.clone().with(|options| options.expected = expected)
}

/// The content is refused at its end; before that, and while what is left of the job is cleaned
/// away or kept, the machine crashes at each step, and each run that goes on is refused too, until
/// one isn't.
#[test]
fn cf2_a_refused_job_publishes_nothing_at_any_step() {
    let lab = Lab::new("refused");
    let kept = AtomicUsize::new(0);
    each_scenario(10_000, 16, |scenario| {
        let mut random = Random(scenario.seed);
        for keep in [false, true] {
            let asked = Arc::new(AtomicUsize::new(0));
            let refused = refused(scenario, keep, &asked);
            let (disk, promise) = (scenario.disk(), Promise::default());
            let lefts: Arc<Mutex<Vec<Left>>> = Arc::default();
            let (keeping, seen, seed) = (Arc::clone(&lefts), promise.clone(), scenario.seed);
            let ended = lab.run(&refused, &disk, Way::Fresh, &promise, move |disk, step| {
                let cut = seed << 16 | step as u64;
                for (disk, how) in [
                    (disk.crash(cut), "power cut"),
                    (disk.killed(), "kill"),
                    (disk.killed_with_stragglers(cut), "kill with stragglers"),
                ] {
                    let what = format!("refused, keep {keep}, {how} at step {step}");
                    let promised = seen.bytes();
                    keeping.lock().unwrap().push(Left { disk, promised, what });
                }
            });
            let error = ended.result.expect_err("refused");
            let what = format!("keep {keep}: {error}");
            assert_eq!(error.kind(), ErrorKind::Refused, "{what}");
            assert_eq!(asked.load(SeqCst), 1, "{what}: CF1");
            assert!(scenario.is_old(&disk), "{what}: published");
            assert!(!is_published(&disk.trace()), "{what}: CF2");
            let promised = if keep { promise.bytes() } else { 0 };
            assert_eq!(error.resumable_bytes().unwrap_or(0), promised, "{what}");
            kept.fetch_add(usize::from(promised > 0), SeqCst);
            let left = [PARTIAL, JOURNAL, NEW_JOURNAL].map(|name| disk.read_file(name).is_some());
            assert_eq!(left, [promised > 0, promised > 0, false], "{what}: left behind");
            let mut lefts = std::mem::take(&mut *lefts.lock().unwrap());
            let disk = disk.killed();
            lefts.push(Left { disk, promised, what: what.clone() });
            for left in lefts {
                // CF2: what a crash leaves is the old target, whenever it comes.
                assert!(scenario.is_old(&left.disk), "{}: CF2: published", left.what);
                check_left(scenario, &left.disk, &left.what);
                let again = left.disk.killed();
                let way = if left.promised > 0 { Way::Resume } else { Way::Pack };
                let (keep_again, promise) = (random.below(2) == 0, Promise::of(left.promised));
                let refused = self::refused(scenario, keep_again, &asked);
                let ended = lab.run(&refused, &again, way, &promise, |_, _| {});
                let error = ended.result.expect_err("refused again");
                // What a checkpoint promised goes with a job that isn't kept.
                let is_known = error.kind() == ErrorKind::Refused
                    || (error.kind() == ErrorKind::NotResumable && !keep);
                assert!(is_known, "{}: {error}", left.what);
                assert!(scenario.is_old(&again), "{}: published by the next run", left.what);
                if random.below(4) == 0 {
                    let promised = if keep { left.promised } else { 0 };
                    lab.go_on(scenario, Left { promised, ..left }, &mut random);
                }
            }
        }
    });
    lab.done(700);
    assert!(kept.load(SeqCst) > 0, "none was kept");
}

/// At each step of a live writer, another that wants the same target is refused, and the first
/// isn't disturbed.
#[test]
fn p9_b6_beside_a_live_writer_nobody_writes() {
    let refused = Arc::new(AtomicUsize::new(0));
    let lab = Lab::new("live writers");
    each_scenario(8000, 20, |scenario| {
        let mut random = Random(scenario.seed);
        let mut starts = vec![(nothing(scenario), Way::Fresh)];
        if let Some(left) = left_in_the_middle(&lab, scenario, &mut random) {
            starts.push((left, Way::Resume));
        }
        for (start, way) in starts {
            let (seen, counted) = (scenario.clone(), Arc::clone(&refused));
            let promise = Promise::of(start.promised);
            let ended = lab.run(scenario, &start.disk, way, &promise, move |disk, step| {
                let trace = disk.trace();
                let locked = trace.iter().any(|call| {
                    call.starts_with("write out.ringpack-partial")
                        || call.starts_with("create out.ringpack-rewrite")
                });
                if !locked || is_published(&trace) || step % 3 != 0 {
                    return;
                }
                for resume in [false, true] {
                    let options = PackOptions { resume, replace: true, ..seen.options.clone() };
                    let (from, to) =
                        (Input::Path(seen.input.clone()), pack::Output::Path(OUT.into()));
                    let (cancel, schedule) = (Cancel::new(), Schedule::Inline(1));
                    let other = pack_scheduled(disk, from, to, &options, &cancel, &schedule);
                    let error = other.expect_err("two write one target");
                    assert_eq!(error.kind(), ErrorKind::Locked, "step {step}: {error}");
                    counted.fetch_add(1, SeqCst);
                }
                let found = clean(disk, Path::new("/"), true).unwrap();
                assert!(found.iter().all(|it| it.fate == Fate::InUse), "step {step}: {found:?}");
            });
            let report = ended.result.unwrap_or_else(|error| panic!("{way:?}: {error}"));
            let adopted = report.resumed.map_or(0, |resumed| resumed.adopted_bytes);
            assert!(adopted >= start.promised);
            lab.check_done(scenario, &start.disk, scenario.seed, "beside others");
        }
    });
    assert!(refused.load(SeqCst) > 100, "{refused:?} were refused");
}

/// From the first step to the last, and after a crash.
#[test]
fn p8_what_is_being_written_is_for_its_owner_alone() {
    let lab = Lab::new("modes");
    each_scenario(9000, 20, |scenario| {
        let seen = scenario.clone();
        let disk = scenario.disk();
        let ended = lab.run(scenario, &disk, Way::Fresh, &Promise::default(), move |disk, step| {
            let taken_over = disk.trace().iter().any(|call| call.starts_with("set_attributes out"));
            let what = format!("step {step}");
            let expected = if taken_over { MODE } else { 0o600 };
            let found = mode(disk, PARTIAL);
            assert!(found.is_none_or(|found| found == expected), "{what}: {found:?}");
            for journal in [JOURNAL, NEW_JOURNAL] {
                assert!(mode(disk, journal).is_none_or(|mode| mode == 0o600), "{what}");
            }
            let left = disk.crash(step as u64);
            check_left(&seen, &left, &what);
            assert!(taken_over || mode(&left, PARTIAL).is_none_or(|mode| mode == 0o600), "{what}");
        });
        ended.result.unwrap();
        assert_eq!(mode(&disk, OUT), Some(MODE));
    });
}
