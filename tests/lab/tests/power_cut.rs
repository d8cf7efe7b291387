//! Power is cut at every moment of packing and of going on, on every file system: what was claimed
//! is there, and going on ends with the same bytes.
//!
//! `RINGPACK_STATES` is how many states to show a file system, `RINGPACK_SEED` what they are drawn
//! by.

mod environment;

use std::path::Path;

use environment::{number, seed};
use ringpack_lab::outcome::complaint;
use ringpack_lab::packing::CHECKPOINT;
use ringpack_lab::record::Options;
use ringpack_lab::shape::CHECKPOINT_BYTES;
use ringpack_lab::survey::survey;
use ringpack_lab::{Flavour, Lab, Packing, Shape, Stop};

/// Bytes packed: enough for dozens of extents and a dozen of checkpoints, few enough to be packed
/// again after each cut.
const LEN: usize = 3 << 20;
/// States shown a file system unless another number is asked for.
const STATES: u64 = 2000;
/// Different images that are shown a file system at the least.
const IMAGES_MIN: usize = 2000;

/// The runs that are recorded on each file system, one share of the states each: from the start, or
/// going on with what a run stopped this way had left.
const RUNS: [(Shape, Option<Stop>); 6] = [
    (Shape::DENSE, None),
    (Shape::SLOTS, None),
    (Shape::BUFFERED, None),
    (Shape::BUFFERED_SLOTS, None),
    (Shape::BUFFERED, Some(Stop::Kill(2 * CHECKPOINT_BYTES))),
    (Shape::SLOTS, Some(Stop::Suspend(2 * CHECKPOINT_BYTES))),
];

fn check(test: &str, flavour: Flavour) {
    let Some(lab) = Lab::new(test) else { return };
    let states = number("RINGPACK_STATES").unwrap_or(STATES) as usize;
    let seed = seed();
    let (mut shown, mut images, mut resumed, mut anew, mut checkpoints) = (0, 0, 0, 0, 0);
    for (shape, stop) in RUNS {
        let program = Path::new(env!("CARGO_BIN_EXE_claiming-pack"));
        let packing = Packing::new(&lab, program, LEN, shape);
        let options = Options::new(seed);
        let (base, claimed) = match stop {
            None => (packing.base(&lab, flavour), None),
            Some(stop) => match packing.interrupted_base(&lab, flavour, stop) {
                Some((base, claimed)) => (Some(base), Some(claimed)),
                None => (None, None),
            },
        };
        let Some(base) = base else { return };
        let (log, output) = match claimed {
            None => packing.record(&base, &options),
            Some(claimed) => packing.record_resume(&base, &options, claimed),
        };
        assert!(output.status.success(), "{}", complaint(&output));
        let share = states.div_ceil(RUNS.len());
        let findings =
            survey(&base, &log, seed, share, |folder, claims| packing.check(folder, claims));
        let recovered = packing.recovered();
        println!(
            "{}{}: {findings}\n  ({} resumed, {} packed anew; {} writes, {} at a time, {} flushes, {} \
             over writes, {} checkpoints)",
            shape.name,
            stop.map_or(String::new(), |stop| format!(", going on after {stop:?}")),
            recovered.0,
            recovered.1,
            log.write_count(),
            log.in_flight_max(),
            log.flush_count(),
            log.flushes_over_writes(),
            log.claims().count(CHECKPOINT),
        );
        findings.require_none();
        assert!(log.in_flight_max() > 1, "a disk that does one thing at a time hides mistakes");
        let taken = log.claims().count(CHECKPOINT);
        assert!(taken > 0, "no checkpoint: {:?}", log.claims());
        shown += findings.states;
        images += findings.images;
        checkpoints += taken;
        resumed += recovered.0;
        anew += recovered.1;
    }
    println!(
        "{}: {shown} states, {images} images, {resumed} resumed, {anew} packed anew",
        flavour.name()
    );
    assert!(checkpoints > 4 * RUNS.len(), "few checkpoints: {checkpoints}");
    assert!(resumed > shown / 4, "few states were gone on from: {resumed}");
    assert!(images >= IMAGES_MIN.min(states * 4 / 5), "few images: {images}");
}

#[test]
fn packing_on_ext4_survives_every_cut() {
    check("packing_on_ext4_survives_every_cut", Flavour::Ext4);
}

#[test]
fn packing_on_strict_ext4_survives_every_cut() {
    check("packing_on_strict_ext4_survives_every_cut", Flavour::Ext4Strict);
}

#[test]
fn packing_on_xfs_survives_every_cut() {
    check("packing_on_xfs_survives_every_cut", Flavour::Xfs);
}

#[test]
fn packing_on_btrfs_survives_every_cut() {
    check("packing_on_btrfs_survives_every_cut", Flavour::Btrfs);
}
