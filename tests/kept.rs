//! Going on with what was stopped: what must not cost the checkpoint, and what not to believe.
//!
//! Each test is a way in which a reported checkpoint was once lost, or could be, in a run that goes
//! on from it. Crashes at every step are in `crash.rs`; here each case is one exact moment.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use ringpack::commit::clean::clean;
use ringpack::commit::{Cadence, Partial, Target};
use ringpack::format::header::PlacementKind;
use ringpack::journal::Checkpoint;
use ringpack::pack::{
    Codec, Input, Observer, Output, PackOptions, PackReport, ResumeOptions, pack_scheduled,
    recorded_input, resume_scheduled,
};
use ringpack::pipeline::{IoMode, Schedule};
use ringpack::ring::file::{Directory, Disk, Replace};
use ringpack::ring::os::OsDisk;
use ringpack::ring::sim::{Fault, SimDisk, SimOptions};
use ringpack::{Cancel, Error, ErrorKind, Result};
use support::content;
use support::processes::until;
use support::watched::{Step, WatchedDisk};

const IN: &str = "/in";
const OUT: &str = "/out";
const EIO: i32 = 5;
const LEN: usize = 10 * 65_536;
/// What stands beside the target when there is something to go on with.
const LEFT: [&str; 3] = ["in", "out.ringpack-journal", "out.ringpack-partial"];

fn often() -> Option<Cadence> {
    Some(Cadence { bytes: 1, interval: Duration::MAX, percent_max: 100 })
}

fn options() -> PackOptions {
    PackOptions {
        codec: Codec::Zstd(1),
        chunk_log2: Some(16),
        extent_chunks: Some(1),
        checkpoints: often(),
        io: IoMode::Sim,
        ..PackOptions::default()
    }
}

fn inline() -> Schedule {
    Schedule::Inline(2)
}

fn run(disk: &dyn Disk, options: &PackOptions, cancel: &Cancel) -> Result<PackReport> {
    let (from, to) = (Input::Path(IN.into()), Output::Path(OUT.into()));
    pack_scheduled(disk, from, to, options, cancel, &inline())
}

fn go_on(disk: &dyn Disk, cancel: &Cancel) -> Result<PackReport> {
    let options =
        ResumeOptions { checkpoints: often(), io: IoMode::Sim, ..ResumeOptions::default() };
    let out = Path::new(OUT);
    resume_scheduled(disk, out, &mut recorded_input, &options, cancel, &inline())
}

/// The container that an uninterrupted run makes.
fn expected(bytes: &[u8], options: &PackOptions) -> Vec<u8> {
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    disk.write_file(IN, bytes);
    run(&disk, options, &Cancel::new()).unwrap();
    disk.read_file(OUT).unwrap()
}

/// Suspends a run at the checkpoint that covers `extents`.
fn stopping(cancel: &Cancel, extents: u64) -> Observer {
    let cancel = cancel.clone();
    Observer::new(move |checkpoint: &Checkpoint| {
        if checkpoint.extents >= extents {
            cancel.suspend();
        }
    })
}

/// A disk on which packing was suspended in the middle.
fn stopped(options: &PackOptions, bytes: &[u8], world: SimOptions) -> (SimDisk, u64) {
    let disk = SimDisk::new(1, world);
    disk.write_file(IN, bytes);
    let cancel = Cancel::new();
    let options = PackOptions { observer: stopping(&cancel, 4), ..options.clone() };
    let error = run(&disk, &options, &cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Suspended, "{error}");
    assert_eq!(disk.names("/"), LEFT);
    (disk, error.resumable_bytes().unwrap())
}

fn check_completes(disk: &SimDisk, expected: &[u8], covered: u64) {
    let report = go_on(disk, &Cancel::new()).unwrap();
    let resumed = report.resumed.unwrap();
    assert_eq!((resumed.covered_bytes, resumed.adopted_bytes), (covered, covered));
    assert!(disk.read_file(OUT).unwrap() == expected, "other bytes");
    assert_eq!(disk.names("/"), ["in", "out"]);
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bytes() {
    let bytes = content(LEN, 1);
    for placement in [PlacementKind::Dense, PlacementKind::Slots] {
        for blake3 in [false, true] {
            let options = PackOptions { placement, blake3, ..options() };
            let (disk, covered) = stopped(&options, &bytes, SimOptions::PLAIN);
            assert!(covered >= 4 * 65_536);
            check_completes(&disk, &expected(&bytes, &options), covered);
        }
    }
}

/// An only chunk has another digest than a first one, and the journal keeps the first one's.
#[test]
fn a_digest_of_one_chunk_survives_any_number_of_stops() {
    let bytes = content(65_536, 2);
    let options = PackOptions { blake3: true, ..options() };
    let expected = expected(&bytes, &options);
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    disk.write_file(IN, &bytes);
    let cancel = Cancel::new();
    let stopping = PackOptions { observer: stopping(&cancel, 1), ..options };
    let error = run(&disk, &stopping, &cancel).unwrap_err();
    assert_eq!((error.kind(), error.resumable_bytes()), (ErrorKind::Suspended, Some(65_536)));
    let cancel = Cancel::new();
    cancel.suspend();
    let error = go_on(&disk, &cancel).unwrap_err();
    assert_eq!((error.kind(), error.resumable_bytes()), (ErrorKind::Suspended, Some(65_536)));
    check_completes(&disk, &expected, 65_536);
}

/// Asked to stop, or to give up, at any step of going on: what was there before stays.
#[test]
fn a_run_that_goes_on_never_throws_an_earlier_checkpoint_away() {
    let bytes = content(LEN, 3);
    let expected = expected(&bytes, &options());
    for gives_up in [false, true] {
        for at in (1..).step_by(7) {
            let (disk, covered) = stopped(&options(), &bytes, SimOptions::PLAIN);
            let (cancel, steps) = (Cancel::new(), Arc::new(AtomicUsize::new(0)));
            let (asked, counted) = (cancel.clone(), Arc::clone(&steps));
            let watched = WatchedDisk::new(disk.clone(), move |_: Step| {
                if counted.fetch_add(1, SeqCst) + 1 == at {
                    if gives_up { asked.cancel() } else { asked.suspend() }
                }
            });
            let what = format!("gives up: {gives_up}, step {at}");
            match go_on(&watched, &cancel) {
                Ok(_) => assert!(disk.holds(OUT, &expected), "{what}"),
                Err(error) => {
                    let kinds = [ErrorKind::Suspended, ErrorKind::Cancelled];
                    assert_eq!(error.kind(), kinds[usize::from(gives_up)], "{what}: {error}");
                    let kept = error.resumable_bytes().expect(&what);
                    assert!(kept >= covered, "{what}: {kept} of {covered}");
                    check_completes(&disk, &expected, kept);
                }
            }
            if steps.load(SeqCst) < at {
                break;
            }
        }
    }
}

/// J7: what can't be read back now isn't given up, and neither is it believed.
#[test]
fn j7_a_failure_to_read_back_ends_the_run_and_changes_nothing() {
    let bytes = content(LEN, 4);
    let expected = expected(&bytes, &options());
    let (disk, covered) = stopped(&options(), &bytes, SimOptions::PLAIN);
    let clean = disk.killed();
    go_on(&clean, &Cancel::new()).unwrap();
    let mut failed = 0;
    for nth in 1..=clean.reads() {
        let disk = disk.killed();
        let fail_read = Some(Fault { nth, errno: EIO });
        disk.set_options(SimOptions { fail_read, ..SimOptions::PLAIN });
        let Err(error) = go_on(&disk, &Cancel::new()) else {
            continue;
        };
        failed += 1;
        let kinds = [ErrorKind::Output, ErrorKind::Input];
        assert!(kinds.contains(&error.kind()), "read {nth}: {error}");
        assert_eq!(disk.names("/"), LEFT, "read {nth}");
        for left in [disk.killed(), disk.crash(nth)] {
            let report = go_on(&left, &Cancel::new()).unwrap();
            let resumed = report.resumed.unwrap();
            assert!(resumed.adopted_bytes >= covered, "read {nth}: {resumed:?}");
            assert!(left.holds(OUT, &expected), "read {nth}");
        }
    }
    assert!(failed > 10, "{failed} reads failed");
}

/// J7: everything from the first frame on that isn't as it was written is written anew.
#[test]
fn j7_a_frame_that_changed_is_written_anew_with_all_behind_it() {
    let bytes = content(LEN, 5);
    for placement in [PlacementKind::Dense, PlacementKind::Slots] {
        let options = PackOptions { placement, ..options() };
        let expected = expected(&bytes, &options);
        let (disk, covered) = stopped(&options, &bytes, SimOptions::PLAIN);
        let partial = "/out.ringpack-partial";
        let whole = disk.read_file(partial).unwrap();
        for at in (0..whole.len()).step_by(5003) {
            let disk = disk.killed();
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            disk.rewrite_file(partial, &bytes);
            let report = go_on(&disk, &Cancel::new()).unwrap();
            let Some(resumed) = report.resumed else { panic!("byte {at}") };
            assert_eq!(resumed.covered_bytes, covered);
            // A slot's hole isn't read back: nothing of it is in the container.
            if resumed.adopted_bytes < covered {
                assert!(report.run.warnings.iter().any(|it| it.contains("written anew")));
            } else {
                assert_eq!(placement, PlacementKind::Slots, "byte {at} was believed");
            }
            assert!(disk.holds(OUT, &expected), "{placement:?}, byte {at}");
        }
        // Shortened, down to nothing.
        for len in (0..whole.len()).step_by(40_000) {
            let disk = disk.killed();
            disk.rewrite_file(partial, &whole[..len]);
            match go_on(&disk, &Cancel::new()) {
                Ok(report) => {
                    // Of the last slot, the hole at its end may be all that is missing.
                    let in_hole = placement == PlacementKind::Slots && len + 65_536 > whole.len();
                    let adopted = report.resumed.unwrap().adopted_bytes;
                    assert!(adopted < covered || in_hole, "{len} bytes");
                    assert!(disk.holds(OUT, &expected), "{len} bytes");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotResumable, "{len} bytes: {error}");
                    assert_eq!(disk.names("/"), LEFT);
                }
            }
        }
    }
}

/// J5: a dead writer's writes in flight are waited for before anything is read.
#[test]
fn j5_stragglers_land_before_the_partial_file_is_read() {
    let bytes = content(LEN, 6);
    let options = PackOptions { placement: PlacementKind::Slots, ..options() };
    let expected = expected(&bytes, &options);
    let stragglers = Arc::new(AtomicUsize::new(0));
    let world = SimOptions { reorder: true, ..SimOptions::PLAIN };
    let disk = SimDisk::new(1, world);
    disk.write_file(IN, &bytes);
    let (looked, counted, seen) = (disk.clone(), Arc::clone(&stragglers), expected.clone());
    let watched = WatchedDisk::new(disk, move |step: Step| {
        if step != Step::Turn {
            return;
        }
        for seed in 0..4 {
            let left = looked.killed_with_stragglers(seed);
            counted.fetch_add(left.stragglers(), SeqCst);
            let again = PackOptions { resume: true, ..self::options() };
            let again = PackOptions { placement: PlacementKind::Slots, ..again };
            run(&left, &again, &Cancel::new()).unwrap();
            assert_eq!(left.stragglers(), 0, "the lock was held until they had landed");
            // Nothing was changed before; making old names durable is no change.
            let trace = left.trace();
            let calls = trace.iter().filter(|call| *call != "sync /");
            let late = calls.skip_while(|call| call.starts_with("straggler "));
            let late: Vec<_> = late.filter(|call| call.starts_with("straggler ")).collect();
            assert!(late.is_empty(), "landed on a file that was gone on with: {late:?}");
            assert!(left.holds(OUT, &seen));
        }
    });
    run(&watched, &options, &Cancel::new()).unwrap();
    assert!(stragglers.load(SeqCst) > 20);
}

/// J6: a journal beside a partial file of another run's.
#[test]
fn j6_a_journal_of_another_run_is_not_believed() {
    let bytes = content(LEN, 7);
    let (disk, _) = stopped(&options(), &bytes, SimOptions::PLAIN);
    // Another file has the name, everything else equal; the frames even fit their checksums.
    let partial = disk.read_file("/out.ringpack-partial").unwrap();
    disk.write_file("/out.ringpack-partial", &partial);
    let error = go_on(&disk, &Cancel::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotResumable);
    assert!(error.to_string().contains("another run"), "{error}");
    assert_eq!(disk.names("/"), LEFT);
}

/// J6: each option and each mark of the source that differs is named, and nothing is lost.
#[test]
fn j6_other_options_and_another_source_are_refused_by_name() {
    let bytes = content(LEN, 8);
    let (disk, covered) = stopped(&options(), &bytes, SimOptions::PLAIN);
    let check = |disk: &SimDisk, options: PackOptions, named: &str| {
        let options = PackOptions { resume: true, ..options };
        let error = run(disk, &options, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotResumable, "{named}: {error}");
        assert!(error.to_string().contains(named), "{named}: {error}");
        assert_eq!(disk.names("/"), LEFT, "{named}");
    };
    check(&disk, PackOptions { codec: Codec::Zstd(2), ..options() }, "the level was 1 and is 2");
    check(&disk, PackOptions { codec: Codec::Store, ..options() }, "codec");
    check(&disk, PackOptions { chunk_log2: Some(17), ..options() }, "chunk length");
    check(&disk, PackOptions { extent_chunks: Some(2), ..options() }, "extent length");
    check(&disk, PackOptions { blake3: true, ..options() }, "digest");
    check(&disk, PackOptions { placement: PlacementKind::Slots, ..options() }, "placement");
    let longer = disk.killed();
    longer.write_file(IN, &content(LEN + 1, 8));
    check(&longer, options(), "another length");
    let replaced = disk.killed();
    replaced.write_file(IN, &bytes);
    check(&replaced, options(), "another input file");
    check_completes(&disk, &expected(&bytes, &options()), covered);
}

/// M1: a device that fails is not asked for another checkpoint, whatever else went wrong.
#[test]
fn m1_after_a_failed_write_or_sync_nothing_more_is_acknowledged() {
    let bytes = content(LEN, 9);
    let expected = expected(&bytes, &options());
    let plain = SimDisk::new(1, SimOptions::PLAIN);
    plain.write_file(IN, &bytes);
    run(&plain, &options(), &Cancel::new()).unwrap();
    let fault = |nth| Some(Fault { nth, errno: EIO });
    let writes =
        (1..=plain.writes()).map(|nth| SimOptions { fail_write: fault(nth), ..SimOptions::PLAIN });
    let syncs =
        (1..=plain.syncs()).map(|nth| SimOptions { fail_sync: fault(nth), ..SimOptions::PLAIN });
    for world in writes.chain(syncs) {
        let disk = SimDisk::new(1, world);
        disk.write_file(IN, &bytes);
        let looked = disk.clone();
        let reported = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&reported);
        let observer = Observer::new(move |checkpoint: &Checkpoint| {
            let failed = looked.trace().iter().any(|call| call.contains(" errno 5"));
            assert!(!failed, "reported after a failure: {:?}", looked.trace());
            told.store(checkpoint.bytes as usize, SeqCst);
        });
        let error = run(&disk, &PackOptions { observer, ..options() }, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Output, "{world:?}: {error}");
        if disk.names("/").contains(&"out".into()) {
            // The directory's sync after the rename.
            assert!(error.to_string().contains("is in place"), "{world:?}: {error}");
            assert_eq!(error.resumable_bytes(), None, "{world:?}");
            continue;
        }
        let reported = reported.load(SeqCst) as u64;
        assert_eq!(error.resumable_bytes().unwrap_or(0), reported, "{world:?}");
        for left in [disk.killed(), disk.crash(1), disk.crash(2)] {
            match go_on(&left, &Cancel::new()) {
                Ok(report) => {
                    assert!(report.resumed.unwrap().adopted_bytes >= reported, "{world:?}");
                    assert!(left.crash(3).holds(OUT, &expected), "{world:?}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotResumable, "{world:?}: {error}");
                    assert_eq!(reported, 0, "{world:?}: a reported checkpoint is lost: {error}");
                }
            }
        }
    }
}

/// The last checkpoint's own failure is what the caller hears of, not that it was asked to stop.
#[test]
fn m1_a_last_checkpoint_that_fails_is_an_error_and_leaves_the_one_before() {
    let bytes = content(LEN, 10);
    let expected = expected(&bytes, &options());
    for sync in 1..=2 {
        let disk = SimDisk::new(1, SimOptions::PLAIN);
        disk.write_file(IN, &bytes);
        let cancel = Cancel::new();
        let (asked, armed) = (cancel.clone(), disk.clone());
        let observer = Observer::new(move |checkpoint: &Checkpoint| {
            if checkpoint.extents == 4 {
                let nth = armed.syncs() + sync;
                let fail_sync = Some(Fault { nth, errno: EIO });
                armed.set_options(SimOptions { fail_sync, ..SimOptions::PLAIN });
                asked.suspend();
            }
        });
        let rarely = Cadence { bytes: 4 * 65_536, ..often().unwrap() };
        let options = PackOptions { observer, checkpoints: Some(rarely), ..options() };
        let stopped = run(&disk, &options, &cancel);
        let error = stopped.unwrap_err();
        if disk.trace().iter().any(|call| call.contains(" errno 5")) {
            assert_eq!(error.kind(), ErrorKind::Output, "sync {sync}: {error}");
        }
        assert_eq!(error.resumable_bytes(), Some(4 * 65_536), "sync {sync}");
        for left in [disk.killed(), disk.crash(1)] {
            let report = go_on(&left, &Cancel::new()).unwrap();
            assert!(report.resumed.unwrap().adopted_bytes >= 4 * 65_536, "sync {sync}");
            assert!(left.crash(2).holds(OUT, &expected), "sync {sync}");
        }
    }
}

/// A full disk keeps what fits, even if no checkpoint was due before.
#[test]
fn a_full_disk_keeps_what_was_packed() {
    let bytes = content(LEN, 11);
    let rarely = Cadence { bytes: u64::MAX, interval: Duration::from_secs(3600), percent_max: 100 };
    let options = PackOptions { codec: Codec::Store, checkpoints: Some(rarely), ..options() };
    let expected = expected(&bytes, &options);
    for direct in [false, true] {
        let capacity = Some(LEN as u64 + 500_000);
        let disk = SimDisk::new(1, SimOptions { capacity, direct, ..SimOptions::PLAIN });
        disk.write_file(IN, &bytes);
        let error = run(&disk, &options, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        let covered = error.resumable_bytes().expect("some of it is kept");
        assert_eq!(disk.names("/"), LEFT);
        disk.set_options(SimOptions { direct, ..SimOptions::PLAIN });
        check_completes(&disk, &expected, covered);
    }
}

/// Wherever the room ends, in the data or in the journal: what was packed by then is kept.
#[test]
fn a_disk_that_is_full_at_any_moment_keeps_what_was_packed() {
    let bytes = content(LEN, 11);
    let options = PackOptions { codec: Codec::Store, ..options() };
    let expected = expected(&bytes, &options);
    for room in (300_000..LEN as u64).step_by(4096) {
        let capacity = Some(LEN as u64 + room);
        let disk = SimDisk::new(1, SimOptions { capacity, ..SimOptions::PLAIN });
        disk.write_file(IN, &bytes);
        let Err(error) = run(&disk, &options, &Cancel::new()) else {
            continue;
        };
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        let covered = error.resumable_bytes().unwrap_or_else(|| panic!("{room}: nothing is kept"));
        assert_eq!(disk.names("/"), LEFT, "{room}");
        disk.set_options(SimOptions::PLAIN);
        check_completes(&disk, &expected, covered);
    }
}

/// A writer that starts at any step of a cleaning of the same directory keeps its partial file.
#[test]
fn b6_a_writer_that_starts_while_the_folder_is_cleaned_is_left_alone() {
    for at in 1.. {
        let disk = SimDisk::new(1, SimOptions::PLAIN);
        disk.write_file("/out.ringpack-journal", b"nobody's");
        let (steps, writer) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(None)));
        let (counted, started, copy) = (Arc::clone(&steps), Arc::clone(&writer), disk.clone());
        let watched = WatchedDisk::new(disk.clone(), move |_: Step| {
            if counted.fetch_add(1, SeqCst) + 1 == at {
                let target = Target::new(&copy, Path::new(OUT), Replace::Never).unwrap();
                *started.lock().unwrap() = Partial::create(target, false).ok();
            }
        });
        clean(&watched, Path::new("/"), true).unwrap();
        let names = disk.names("/");
        if writer.lock().unwrap().is_some() {
            assert!(names.contains(&"out.ringpack-partial".into()), "step {at}: {names:?}");
        }
        if steps.load(SeqCst) < at {
            break;
        }
    }
}

/// A real folder, with packing of `in` suspended in it by the library.
fn stopped_for_real(bytes: &[u8]) -> (tempfile::TempDir, u64) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("in"), folder.path().join("out"));
    fs::write(&from, bytes).unwrap();
    let cancel = Cancel::new();
    let observer = stopping(&cancel, 4);
    let options = PackOptions { observer, io: IoMode::Pwrite, ..options() };
    let (from, to) = (Input::Path(from), Output::Path(to));
    let error = pack_scheduled(&OsDisk, from, to, &options, &cancel, &inline()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Suspended, "{error}");
    (folder, error.resumable_bytes().unwrap())
}

fn go_on_for_real(folder: &Path) -> Result<PackReport, Error> {
    let options =
        ResumeOptions { checkpoints: often(), io: IoMode::Pwrite, ..ResumeOptions::default() };
    let out = folder.join("out");
    resume_scheduled(&OsDisk, &out, &mut recorded_input, &options, &Cancel::new(), &inline())
}

/// The time of modification can be set back; what the file holds is then compared.
#[test]
fn a_source_that_was_changed_and_dated_back_is_found_out_and_costs_nothing() {
    let bytes = content(LEN, 12);
    let (folder, covered) = stopped_for_real(&bytes);
    let path = folder.path().join("in");
    let dated = fs::metadata(&path).unwrap().modified().unwrap();
    let rewrite = |bytes: &[u8]| {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.set_modified(dated).unwrap();
    };
    // In the last byte that is covered: everything before it compares equal.
    let mut other = bytes.clone();
    other[covered as usize - 1] ^= 1;
    rewrite(&other);
    let error = go_on_for_real(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotResumable, "{error}");
    assert!(error.to_string().contains("differs"), "{error}");
    // The right one is still good, and no chunk of the wrong one was adopted meanwhile.
    rewrite(&bytes);
    let resumed = go_on_for_real(folder.path()).unwrap().resumed.unwrap();
    assert_eq!(resumed.adopted_bytes, covered);
    let found = fs::read(folder.path().join("out")).unwrap();
    assert!(found == expected(&bytes, &options()));
}

/// What another user wrote decides nothing, even for root.
#[test]
fn another_users_journal_or_partial_file_is_not_acted_on() {
    if !support::is_root() {
        support::skip("another_users_journal_or_partial_file_is_not_acted_on", "needs root");
        return;
    }
    let bytes = content(LEN, 13);
    for name in ["out.ringpack-journal", "out.ringpack-partial"] {
        let (folder, _) = stopped_for_real(&bytes);
        std::os::unix::fs::chown(folder.path().join(name), Some(65_534), Some(65_534)).unwrap();
        let error = go_on_for_real(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotResumable, "{name}: {error}");
        assert!(error.to_string().contains("another user"), "{name}: {error}");
        assert!(!folder.path().join("out").exists());
    }
}

/// The partial file bears its final mode from finalize on; that mode may let nobody write.
#[test]
fn a_partial_file_that_is_read_only_already_can_be_gone_on_with() {
    use std::os::unix::fs::PermissionsExt;
    let bytes = content(LEN, 14);
    let (folder, covered) = stopped_for_real(&bytes);
    let partial = folder.path().join("out.ringpack-partial");
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o444)).unwrap();
    let mut command = support::ringpack(["resume", "--io", "pwrite", "-v", "out"]);
    command.current_dir(folder.path());
    if support::is_root() {
        // Root may write all the same: as somebody who may not.
        use std::os::unix::process::CommandExt;
        for name in ["in", "out.ringpack-partial", "out.ringpack-journal", "."] {
            std::os::unix::fs::chown(folder.path().join(name), Some(65_534), Some(65_534)).unwrap();
        }
        // What changed the source's time of change has it compared; that is no obstacle.
        let program = folder.path().join("ringpack");
        fs::copy(support::binary(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        command = std::process::Command::new(program);
        command.args(["resume", "--io", "pwrite", "-v", "out"]).current_dir(folder.path());
        command.uid(65_534).gid(65_534).stdin(std::process::Stdio::null());
    }
    let output = support::run(&mut command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let from_before = format!("{} of it from before", human(covered));
    assert!(stderr.contains(&from_before), "{stderr}");
    assert!(fs::read(folder.path().join("out")).unwrap() == expected(&bytes, &options()));
}

fn human(bytes: u64) -> String {
    format!("{:.2} KiB", bytes as f64 / 1024.0)
}

/// A worker panics in the middle of its work, which is the engine's own fault.
#[test]
fn p1_a_worker_that_panics_is_an_error_and_the_last_checkpoint_stays() {
    let bytes = content(LEN, 1);
    let expected = expected(&bytes, &options());
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    disk.write_file(IN, &bytes);
    let (told, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::clone(&told);
    let watched = WatchedDisk::new(disk.clone(), move |step| {
        let current = std::thread::current();
        let is_worker = current.name().is_some_and(|name| name == "ringpack-0");
        if is_worker && step == Step::Write && seen.fetch_add(1, SeqCst) == 6 {
            until("two checkpoints were told", || asked.load(SeqCst) >= 2);
            panic!("for the test");
        }
    });
    let observer = Observer::new(move |_: &Checkpoint| {
        told.fetch_add(1, SeqCst);
    });
    let options = PackOptions { observer, ..options() };
    let (from, to) = (Input::Path(IN.into()), Output::Path(OUT.into()));
    let schedule = Schedule::Threads(vec![None]);
    let packed = pack_scheduled(&watched, from, to, &options, &Cancel::new(), &schedule);
    let error = packed.expect_err("a worker panicked");
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!(disk.names("/"), LEFT, "nothing is published");
    let covered = error.resumable_bytes().expect("a checkpoint stays");
    assert!(covered >= 2 * 65_536, "{covered}");
    check_completes(&disk, &expected, covered);
}

/// What was allocated ahead when the run was stopped fills the disk to its last byte.
#[test]
fn p3_a_full_disk_has_room_for_the_journal_that_goes_on() {
    let bytes = content(LEN, 1);
    let expected = expected(&bytes, &options());
    let (disk, covered) = stopped(&options(), &bytes, SimOptions::PLAIN);
    let directory = disk.directory(Path::new("/")).unwrap();
    let partial = directory.open_existing("out.ringpack-partial".as_ref(), false).unwrap();
    partial.allocate(partial.status().unwrap().len, 2 * LEN as u64).unwrap();
    drop(partial);
    let used: u64 = disk.names("/").iter().map(|name| allocated(&*directory, name)).sum();
    disk.set_options(SimOptions { capacity: Some(used), ..SimOptions::PLAIN });
    check_completes(&disk, &expected, covered);
}

fn allocated(directory: &dyn Directory, name: &OsStr) -> u64 {
    directory.status(name).unwrap().unwrap().allocated
}

/// A finished container isn't resumed, and is no failure either; an older one that was to be
/// replaced says nothing of the job.
#[test]
fn a_finished_container_is_complete() {
    let bytes = content(LEN, 1);
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    disk.write_file(IN, &bytes);
    let nothing = go_on(&disk, &Cancel::new()).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotResumable, "{nothing}");
    run(&disk, &options(), &Cancel::new()).unwrap();
    let complete = go_on(&disk, &Cancel::new()).unwrap_err();
    assert_eq!(complete.kind(), ErrorKind::Complete, "{complete}");
    disk.write_file("/out.ringpack-partial", b"begun, and killed before its first checkpoint");
    let nothing = go_on(&disk, &Cancel::new()).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotResumable, "{nothing}");
    disk.write_file(OUT, b"no container");
    let nothing = go_on(&disk, &Cancel::new()).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotResumable, "{nothing}");
}
