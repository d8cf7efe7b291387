//! Each write and each flush of packing fails once, in its turn, and the header's for certain: the
//! job says so or does without, the old target is untouched, and the last checkpoint that was
//! claimed can be gone on from: at once, in the same kernel, whose page cache may show what the
//! medium has not, and after a power cut, before that and after. (M1: a checkpoint taken after the
//! failure would claim what isn't there.)

mod environment;

use std::path::Path;
use std::process::Output;

use environment::seed;
use ringpack_lab::outcome::{Outcome, complaint};
use ringpack_lab::packing::{CHECKPOINT, COMMITTED};
use ringpack_lab::record::{Fault, Options};
use ringpack_lab::shape::CHECKPOINT_BYTES;
use ringpack_lab::survey::survey;
use ringpack_lab::{Base, Claims, Flavour, Lab, Log, Packing, Rig, Shape};

/// Bytes packed: every operation fails in a run of its own, so there are few.
const LEN: usize = 3 * CHECKPOINT_BYTES as usize;
/// Power cuts shown of each run.
const STATES: usize = 6;

fn check(test: &str, flavour: Flavour, shape: Shape) {
    let Some(lab) = Lab::new(test) else { return };
    let program = Path::new(env!("CARGO_BIN_EXE_claiming-pack"));
    let packing = Packing::new(&lab, program, LEN, shape);
    let Some(base) = packing.base(&lab, flavour) else { return };
    let seed = seed();
    let sound = Options::new(seed);
    let (log, output) = packing.record(&base, &sound);
    assert!(output.status.success(), "{}", complaint(&output));
    let writes = (1..=log.write_count()).map(Fault::Write);
    let flushes = (1..=log.flush_count()).map(Fault::Flush);
    let (mut runs, mut hit, mut failed, mut went_on) = (0, 0, 0, 0);
    let end = packing.end_fault();
    for fault in writes.chain(flushes).chain([end]) {
        let options = Options { fault: Some(fault), ..sound };
        let (log, first, second) = packing.record_and_retry(&base, &options);
        runs += 1;
        hit += log.failure_count();
        failed += usize::from(!first.status.success());
        let checked = check_run(&packing, &base, &log, (&first, second.as_ref()), seed);
        let has_gone_on = checked.unwrap_or_else(|why| {
            let second = second.as_ref().map(complaint);
            panic!("{fault:?}: {why}; it said {}, and then {second:?}", complaint(&first))
        });
        // All the content has a checkpoint by then, and no file system gives up over a file's own
        // bytes: of the numbered operations, some kernels and orders leave none that is both.
        assert!(has_gone_on || fault != end, "nothing went on where the end wasn't written");
        went_on += usize::from(has_gone_on);
    }
    let (resumed, anew) = packing.recovered();
    println!(
        "{} {}: {runs} runs, {hit} met the fault, {failed} failed, {went_on} of them went on in the \
         same mount; {} states, {resumed} resumed, {anew} packed anew",
        flavour.name(),
        shape.name,
        runs * (STATES + 1)
    );
    assert!(failed > 0, "no fault was noticed");
}

/// Checks a run, and whether it was gone on with in the same mount.
fn check_run(
    packing: &Packing,
    base: &Base<'_>,
    log: &Log,
    (first, second): (&Output, Option<&Output>),
    seed: u64,
) -> Result<bool, String> {
    let claims = log.claims();
    // What the first run claimed: the second begins with a checkpoint of 0.
    let marks: Vec<&str> =
        claims.0.iter().copied().take_while(|mark| *mark != "checkpoint 0").collect();
    let claimed = Claims(marks.clone()).largest(CHECKPOINT).unwrap_or(0);
    let succeeded = second.unwrap_or(first).status.success();
    if claims.has(COMMITTED) != succeeded || Claims(marks).has(COMMITTED) != first.status.success()
    {
        return Err(format!("{} and claimed {:?}", first.status, claims.0));
    }
    let mut has_gone_on = false;
    if let Some(second) = second {
        match Outcome::read(first)? {
            // With the new name given, there is nothing to go on with in this kernel.
            Outcome::Failed { resumable } if resumable >= claimed || is_published(first) => {}
            outcome => return Err(format!("{claimed} bytes were claimed, and it said {outcome}")),
        }
        // A file system that lost its own journal serves no more writes: then a cut alone tells.
        match Outcome::read(second)? {
            Outcome::Done { adopted, covered } if adopted >= claimed && adopted == covered => {
                has_gone_on = true;
            }
            Outcome::Failed { .. } if is_refused(second) => {}
            Outcome::NotResumable if claimed == 0 || is_published(first) => {}
            outcome => return Err(format!("{claimed} bytes were claimed, then came {outcome}")),
        }
    }
    // What the medium holds if power stays, and what cuts leave of it.
    Rig::new(base, log).show(&log.end(), |folder, claims| packing.check(folder, claims))??;
    let findings = survey(base, log, seed, STATES, |folder, claims| packing.check(folder, claims));
    let is_sound = findings.broken.is_empty() && findings.unmountable.is_empty();
    if is_sound { Ok(has_gone_on) } else { Err(findings.to_string()) }
}

/// Whether the file system itself has given up, and serves this kernel no more writes.
fn is_refused(output: &Output) -> bool {
    let complaint = complaint(output);
    ["Read-only file system", "Input/output error"].iter().any(|why| complaint.contains(why))
}

/// Whether a run failed after it had given the new file its name.
fn is_published(output: &Output) -> bool {
    complaint(output).contains("the new file is in place")
}

#[test]
fn a_failing_ext4_costs_no_target_and_no_checkpoint() {
    check("a_failing_ext4_costs_no_target_and_no_checkpoint", Flavour::Ext4, Shape::DENSE);
}

#[test]
fn a_failing_strict_ext4_costs_no_target_and_no_checkpoint() {
    let test = "a_failing_strict_ext4_costs_no_target_and_no_checkpoint";
    check(test, Flavour::Ext4Strict, Shape::BUFFERED);
}

#[test]
fn a_failing_xfs_costs_no_target_and_no_checkpoint() {
    check("a_failing_xfs_costs_no_target_and_no_checkpoint", Flavour::Xfs, Shape::BUFFERED);
}

#[test]
fn a_failing_btrfs_costs_no_target_and_no_checkpoint() {
    check("a_failing_btrfs_costs_no_target_and_no_checkpoint", Flavour::Btrfs, Shape::DENSE);
}
