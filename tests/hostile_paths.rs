//! Names that an attacker got to first, or changes midway: what is in the way stays as it is, and
//! nothing is written where it leads.
//!
//! What targets and inputs may be from the start is in `wrong_input`, `inputs` and `filesystems`;
//! here is what stands under the partial file's name, and what changes while a job runs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use ringpack::commit::{Partial, Target};
use ringpack::pipeline::IoMode;
use ringpack::ring::file::Replace;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{Output, UnpackOptions, unpack};
use ringpack::{Cancel, ErrorKind};
use support::codes::OUTPUT;
use support::processes::Running;
use support::watched::{Step, WatchedDisk};
use support::{binary, content, has_tool, is_root, names, ringpack, run, skip, succeed};

const NOBODY: u32 = 65_534;
const PARTIAL: &str = "out.ringpack-partial";
const VICTIM: &[u8] = b"what must stay as it is";

/// A folder with `in`, `in.zst` and a file `victim`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), content(300_000, 1)).unwrap();
    succeed(ringpack(["pack", "in"]).current_dir(folder.path()));
    fs::write(folder.path().join("victim"), VICTIM).unwrap();
    folder
}

/// The jobs that write a file.
const JOBS: [&str; 4] =
    ["pack in -o out", "unpack in.zst -o out", "pack in -f -o out", "unpack in.zst -f -o out"];

/// What it is called, how it is put under a name, given a victim, and whether it is in the way.
type Obstacle = (&'static str, fn(&Path, &Path), bool);

#[test]
fn what_has_the_partial_files_name() {
    let put: [Obstacle; 7] = [
        ("a link to a file", |at, victim| symlink(victim, at).unwrap(), true),
        ("a link to nothing", |at, _| symlink("nowhere", at).unwrap(), true),
        ("a link to a device", |at, _| symlink("/dev/null", at).unwrap(), true),
        ("a folder", |at, _| fs::create_dir(at).unwrap(), true),
        ("a FIFO", |at, _| drop(succeed(Command::new("mkfifo").arg(at))), true),
        ("a socket", |at, _| drop(std::os::unix::net::UnixListener::bind(at).unwrap()), true),
        // Taken for a dead run's: its name is removed, and the file has another.
        ("a hard link", |at, victim| fs::hard_link(victim, at).unwrap(), false),
    ];
    for (what, put, is_in_the_way) in put {
        for job in JOBS {
            let what = format!("{what}, {job}");
            let folder = folder();
            let path = |name: &str| folder.path().join(name);
            put(&path(PARTIAL), &path("victim"));
            let before = fs::symlink_metadata(path(PARTIAL)).unwrap().ino();
            let output = Running::start(ringpack(job.split(' ')).current_dir(&folder)).end();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(fs::read(path("victim")).unwrap(), VICTIM, "{what}");
            assert!(!path("nowhere").exists(), "{what}: the link was followed");
            if is_in_the_way {
                assert_eq!(output.status.code(), Some(OUTPUT), "{what}: {stderr}");
                assert!(stderr.contains(PARTIAL), "{what}: {stderr}");
                assert_eq!(fs::symlink_metadata(path(PARTIAL)).unwrap().ino(), before, "{what}");
                assert_eq!(names(folder.path()), ["in", "in.zst", PARTIAL, "victim"], "{what}");
            } else {
                assert!(output.status.success(), "{what}: {stderr}");
                assert_eq!(names(folder.path()), ["in", "in.zst", "out", "victim"], "{what}");
                assert_eq!(fs::metadata(path("victim")).unwrap().nlink(), 1, "{what}");
            }
        }
    }
}

/// In a folder that all may write to, another's leftover isn't ours to remove.
#[test]
fn a_foreign_owners_leftover() {
    let test = "a_foreign_owners_leftover";
    if !is_root() || !has_tool("setpriv") {
        return skip(test, "only root can become nobody, with setpriv");
    }
    for job in JOBS {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        fs::copy(binary(), path("ringpack")).unwrap();
        fs::write(path(PARTIAL), VICTIM).unwrap();
        for name in ["", "in", "in.zst", PARTIAL] {
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let before = names(folder.path());
        let mut command = Command::new("setpriv");
        let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        command.args(user).arg("--clear-groups").arg(path("ringpack")).args(job.split(' '));
        let output = run(command.current_dir(folder.path()).stdin(Stdio::null()));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(OUTPUT), "{job}: {stderr}");
        assert!(stderr.contains("in the way"), "{job}: {stderr}");
        assert_eq!(names(folder.path()), before, "{job}");
        assert_eq!(fs::read(path(PARTIAL)).unwrap(), VICTIM, "{job}");
    }
}

/// Unpacks on a disk that is changed by `change` just before the `nth` step of a kind.
fn unpack_while(
    folder: &Path,
    (step, nth): (Step, usize),
    change: impl Fn() + Send + Sync + 'static,
) -> ringpack::Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let disk = WatchedDisk::new(OsDisk, move |taken| {
        if taken == step && counted.fetch_add(1, SeqCst) + 1 == nth {
            change();
        }
    });
    let options = UnpackOptions {
        replace: true,
        io: IoMode::Pwrite,
        threads: Some(1),
        ..UnpackOptions::default()
    };
    let to = Output::Path(folder.join("work").join("out"));
    let result = unpack(&disk, &folder.join("in.zst"), to, &options, &Cancel::new()).map(|_| ());
    assert!(count.load(SeqCst) >= nth, "{step:?} {nth} was never taken");
    result
}

/// The folder that was opened is the one that is written to, whatever takes its name.
#[test]
fn a_parent_replaced_midway() {
    for place in [(Step::Write, 1), (Step::Sync, 1), (Step::Rename, 1), (Step::Sync, 3)] {
        for linked in [false, true] {
            let what = format!("{place:?}, a link: {linked}");
            let folder = folder();
            let at = folder.path().to_owned();
            fs::create_dir(at.join("work")).unwrap();
            fs::create_dir(at.join("bait")).unwrap();
            fs::write(at.join("bait/out"), VICTIM).unwrap();
            let (work, aside, bait) = (at.join("work"), at.join("aside"), at.join("bait"));
            let swap = move || {
                fs::rename(&work, &aside).unwrap();
                if linked {
                    symlink(&bait, &work).unwrap();
                } else {
                    fs::create_dir(&work).unwrap();
                    fs::write(work.join("out"), VICTIM).unwrap();
                }
            };
            unpack_while(&at, place, swap).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(names(&at.join("aside")), ["out"], "{what}");
            let restored = fs::read(at.join("aside/out")).unwrap();
            assert!(restored == fs::read(at.join("in")).unwrap(), "{what}");
            assert_eq!(fs::read(at.join("work/out")).unwrap(), VICTIM, "{what}");
            assert_eq!(fs::read(at.join("bait/out")).unwrap(), VICTIM, "{what}");
        }
    }
}

/// A link that takes the target's name, or the partial file's, while the job runs.
#[test]
fn a_link_put_in_place_midway() {
    for name in ["out", PARTIAL] {
        for place in [(Step::Write, 1), (Step::Sync, 2), (Step::Rename, 1)] {
            let what = format!("{name} at {place:?}");
            let folder = folder();
            let at = folder.path().to_owned();
            fs::create_dir(at.join("work")).unwrap();
            let (link, victim): (PathBuf, PathBuf) =
                (at.join("work").join(name), at.join("victim"));
            let swap = move || {
                let _ = fs::remove_file(&link);
                symlink(&victim, &link).unwrap();
            };
            let result = unpack_while(&at, place, swap);
            assert_eq!(fs::read(at.join("victim")).unwrap(), VICTIM, "{what}");
            let out = at.join("work/out");
            match result {
                Ok(()) => {
                    assert!(!out.is_symlink(), "{what}");
                    assert!(fs::read(out).unwrap() == fs::read(at.join("in")).unwrap(), "{what}");
                    assert_eq!(name, "out", "{what}: the partial file was taken away");
                }
                // Between the last look at the name and the rename: noticed behind it.
                Err(error) if (name, place.0) == (PARTIAL, Step::Rename) => {
                    assert_eq!(error.kind(), ErrorKind::Output, "{what}: {error}");
                    assert!(error.to_string().contains("something else"), "{what}: {error}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Locked, "{what}: {error}");
                    assert_eq!(names(&at.join("work")), [PARTIAL], "{what}");
                }
            }
        }
    }
}

/// A container that is cut, grows or is written to while it is unpacked: whole, or not at all.
#[test]
fn a_container_that_changes_midway() {
    let cut = |path: &Path, len: u64| {
        fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
    };
    for (name, len) in [("emptied", 0), ("cut to a block", 4096), ("grown", 1 << 20)] {
        for place in [(Step::Read, 1), (Step::Turn, 1), (Step::Write, 1), (Step::Sync, 1)] {
            let what = format!("{name} at {place:?}");
            let folder = folder();
            let at = folder.path().to_owned();
            fs::create_dir(at.join("work")).unwrap();
            let container = at.join("in.zst");
            match unpack_while(&at, place, move || cut(&container, len)) {
                Ok(()) => {
                    let restored = fs::read(at.join("work/out")).unwrap();
                    assert!(restored == fs::read(at.join("in")).unwrap(), "{what}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::InputChanged, "{what}: {error}");
                    assert_eq!(names(&at.join("work")), [""; 0], "{what}");
                    assert_ne!(name, "grown", "{what}: {error}");
                }
            }
        }
    }
}

/// A descriptor that is closed is not taken by a file, to be written over.
#[test]
fn standard_streams_closed() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for job in
            ["pack in -f -o out", "unpack in.zst -f -o out", "verify in.zst", "unpack -c in.zst"]
        {
            let folder = folder();
            let before = ["in", "in.zst"].map(|name| fs::read(folder.path().join(name)).unwrap());
            let mut command = Command::new("sh");
            command.args(["-c", &format!("exec \"$0\" {job} {closed}")]).arg(binary());
            let output = run(command.current_dir(folder.path()));
            let what = format!("{job} {closed}: {:?}", output.status);
            let after = ["in", "in.zst"].map(|name| fs::read(folder.path().join(name)).unwrap());
            assert!(before == after, "{what}");
            // Nobody is there to be told; but a file that is made is made whole.
            assert!(output.status.code().is_some_and(|code| code < 100), "{what}");
            if job.ends_with("out") {
                assert!(output.status.success(), "{what}");
                let mut read = ringpack(["unpack", "-c", "out"]);
                let made = match job.starts_with("pack") {
                    true => succeed(read.current_dir(folder.path())),
                    false => fs::read(folder.path().join("out")).unwrap(),
                };
                assert!(made == before[0], "{what}");
            }
        }
    }
}

/// What a file may do beyond being read is never handed on: setuid, setgid, sticky, capabilities.
#[test]
fn privileges_are_not_copied() {
    let test = "privileges_are_not_copied";
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for name in ["in", "in.zst"] {
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o7755)).unwrap();
    }
    let tools = is_root() && has_tool("setcap") && has_tool("getcap");
    if tools {
        for name in ["in", "in.zst"] {
            succeed(Command::new("setcap").arg("cap_net_raw+ep").arg(path(name)));
        }
    } else {
        skip(test, "capabilities need root, setcap and getcap");
    }
    for job in ["pack in -f -o out", "unpack in.zst -f -o out"] {
        succeed(ringpack(job.split(' ')).current_dir(folder.path()));
        let mode = fs::metadata(path("out")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{job}");
        if tools {
            assert_eq!(succeed(Command::new("getcap").arg(path("out"))), b"", "{job}");
        }
    }
}

#[test]
fn a_journal_that_another_user_puts_in_place_midway_is_not_read() {
    let test = "a_journal_that_another_user_puts_in_place_midway_is_not_read";
    if !is_root() {
        return skip(test, "giving a file away needs root");
    }
    let folder = folder();
    let (own, foreign) = (folder.path().join("out.ringpack-journal"), folder.path().join("theirs"));
    // At each look that is taken on the way, and never.
    let (mut believed, mut refused) = (0, 0);
    for moment in 0..6 {
        for (path, bytes) in [(&own, b"ours"), (&foreign, b"evil")] {
            let _ = fs::remove_file(path);
            fs::write(path, bytes).unwrap();
        }
        std::os::unix::fs::chown(&foreign, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::write(folder.path().join(PARTIAL), b"").unwrap();
        let looks = Arc::new(AtomicUsize::new(usize::MAX));
        let (count, from, to) = (Arc::clone(&looks), foreign.clone(), own.clone());
        let disk = WatchedDisk::new(OsDisk, move |step| {
            let is_counted = step == Step::Look && count.load(SeqCst) != usize::MAX;
            if is_counted && count.fetch_add(1, SeqCst) == moment {
                fs::rename(&from, &to).unwrap();
            }
        });
        let target = Target::new(&disk, &folder.path().join("out"), Replace::Never).unwrap();
        let partial = Partial::adopt(target, false).unwrap().unwrap();
        looks.store(0, SeqCst);
        match partial.journal() {
            Ok(journal) => {
                let mut read = [0; 4];
                journal.unwrap().read_at(&mut read, 0).unwrap();
                assert_eq!(&read, b"ours", "at look {moment}");
                believed += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotResumable, "at look {moment}: {error}");
                refused += 1;
            }
        }
    }
    assert!(believed > 0 && refused > 0, "{believed} believed, {refused} refused");
}
