//! Going on with what was stopped, as people do it: the message names the command, and the command
//! goes on. What stops a job here is a signal or a full disk; `storm.rs` kills.
//!
//! No test guesses how long something takes: the program is stopped (`SIGSTOP`) once its journal is
//! there, and the signal comes then.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use support::mount::{FileSystem, Mount};
use support::processes::{Running, typed, until};
use support::{Random, assert_same, content, fail, names, ringpack, run, succeed};

const OLD: &[u8] = b"what stood there before";
const PARTIAL: &str = "out.ringpack-partial";
const JOURNAL: &str = "out.ringpack-journal";
/// Packed slowly, so that there is a middle to be stopped in, with a checkpoint at once.
const SLOWLY: [&str; 8] = [
    "-19",
    "--chunk-size",
    "64K",
    "--placement",
    "slots",
    "--checkpoint-size",
    "64K",
    "--threads=1",
];
/// Length of the input in bytes: over a second's work.
const LEN: usize = 4 << 20;

/// A folder with `in`, and what comes of packing it.
struct Place {
    folder: tempfile::TempDir,
    expected: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in"), content(LEN, 5)).unwrap();
        let mut place = Self { folder, expected: Vec::new() };
        succeed(&mut place.pack("in"));
        place.expected = fs::read(place.path("out")).unwrap();
        fs::remove_file(place.path("out")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pack(&self, input: &str) -> Command {
        let mut command = ringpack(["pack", input, "-o", "out"]);
        command.args(SLOWLY).current_dir(self.folder.path());
        command
    }

    fn resume(&self) -> Command {
        let mut command = ringpack(["resume", "out"]);
        command.current_dir(self.folder.path());
        command
    }

    /// The program stopped (`SIGSTOP`) after a checkpoint.
    fn after_a_checkpoint(&self, command: &mut Command) -> Running {
        let journal = || fs::metadata(self.path(JOURNAL)).ok();
        let before = journal().map(|it| it.ino());
        let mut running = Running::start(command);
        until("there is a checkpoint", || {
            journal().is_some_and(|it| it.len() > 0 && Some(it.ino()) != before)
                || running.child().try_wait().unwrap().is_some()
        });
        running.signal(Signal::SIGSTOP);
        assert!(self.path(PARTIAL).exists(), "it was stopped in the middle");
        running
    }

    /// Leaves a partial file with a checkpoint, whose writer is gone.
    fn leave(&self) {
        let stopped = self.stop(&mut self.pack("in"), Signal::SIGTERM);
        assert_eq!(stopped.status.code(), Some(75), "{}", stderr(&stopped));
        assert_eq!(self.names(), ["in", JOURNAL, PARTIAL]);
    }

    fn stop(&self, command: &mut Command, signal: Signal) -> Output {
        let mut running = self.after_a_checkpoint(command);
        running.signal(signal);
        running.signal(Signal::SIGCONT);
        running.end()
    }

    fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }

    fn check_packed(&self, what: &str) {
        assert_eq!(self.names(), ["in", "out"], "{what}");
        assert_same(&fs::read(self.path("out")).unwrap(), &self.expected, what);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The command that a message names, which stands alone on its last line of three.
fn named_command(stderr: &str) -> &str {
    let lines: Vec<&str> = stderr.lines().collect();
    let [error, said, command] = *lines else { panic!("not three lines: {stderr}") };
    assert!(error.starts_with("ringpack: "), "{stderr}");
    assert!(said.ends_with("of the input are packed and kept; go on with:"), "{stderr}");
    command.strip_prefix("  ").expect("it is indented")
}

#[test]
fn stopped_by_the_system_and_gone_on_with_by_the_command_it_names() {
    let place = Place::new();
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        for old in [None, Some(OLD)] {
            let what = format!("{signal}, target {old:?}");
            let mut pack = place.pack("in");
            if let Some(old) = old {
                fs::write(place.path("out"), old).unwrap();
                pack.arg("-f");
            }
            let stopped = place.stop(&mut pack, signal);
            let stderr = stderr(&stopped);
            assert_eq!(stopped.status.code(), Some(75), "{what}: {stderr}");
            assert_eq!(fs::read(place.path("out")).ok().as_deref(), old, "{what}");
            assert_eq!(named_command(&stderr), "ringpack resume out", "{what}");
            let resumed = typed(named_command(&stderr), place.folder.path());
            assert!(resumed.status.success(), "{what}: {resumed:?}");
            place.check_packed(&what);
            fs::remove_file(place.path("out")).unwrap();
        }
    }
}

#[test]
fn a_name_with_a_quote_is_named_so_that_a_shell_takes_it() {
    let place = Place::new();
    let mut command = ringpack(["pack", "in", "-o", "it's out"]);
    command.args(SLOWLY).current_dir(place.folder.path());
    let mut running = Running::start(&mut command);
    let journal = place.path("it's out.ringpack-journal");
    until("there is a checkpoint", || journal.exists());
    running.signal(Signal::SIGTERM);
    let stopped = running.end();
    assert_eq!(stopped.status.code(), Some(75), "{}", stderr(&stopped));
    let resumed = typed(named_command(&stderr(&stopped)), place.folder.path());
    assert!(resumed.status.success(), "{resumed:?}");
    assert_eq!(place.names(), ["in", "it's out"]);
    assert_same(&fs::read(place.path("it's out")).unwrap(), &place.expected, "quoted");
}

#[test]
fn a_pipe_is_sent_again() {
    let place = Place::new();
    let bytes = content(LEN, 5);
    let mut pack = place.pack("-");
    let mut running = Running::start(pack.stdin(Stdio::piped()));
    // The pipe stays open, so the program waits for more when the signal comes.
    let stdin = running.child().stdin.as_mut().unwrap();
    stdin.write_all(&bytes[..LEN / 2]).unwrap();
    until("there is a checkpoint", || place.path(JOURNAL).exists());
    running.signal(Signal::SIGTERM);
    let stopped = running.end();
    assert_eq!(stopped.status.code(), Some(75), "{}", stderr(&stopped));
    let stopped = stderr(&stopped);
    let command = named_command(&stopped);
    assert_eq!(command, "PRODUCER | ringpack resume out");
    // Another stream is found out, and what was packed stays.
    let other = command.replace("PRODUCER", "head -c 4M /dev/zero");
    let refused = typed(&other, place.folder.path());
    assert_eq!(refused.status.code(), Some(13), "{refused:?}");
    assert_eq!(place.names(), ["in", JOURNAL, PARTIAL]);
    let resumed = typed(&command.replace("PRODUCER", "cat in"), place.folder.path());
    assert!(resumed.status.success(), "{resumed:?}");
    place.check_packed("a pipe");
}

#[test]
fn interrupted_by_a_person() {
    let place = Place::new();
    let cleaned = place.stop(&mut place.pack("in"), Signal::SIGINT);
    assert_eq!(cleaned.status.code(), Some(130));
    assert_eq!(stderr(&cleaned), "");
    assert_eq!(place.names(), ["in"]);
    let kept = place.stop(place.pack("in").arg("--keep-partial"), Signal::SIGINT);
    assert_eq!(kept.status.code(), Some(75), "{}", stderr(&kept));
    assert_eq!(place.names(), ["in", JOURNAL, PARTIAL]);
    // What an earlier run left is not the later one's to throw away.
    let stopped = place.stop(&mut place.resume(), Signal::SIGINT);
    let said = stderr(&stopped);
    assert_eq!(stopped.status.code(), Some(130), "{said}");
    assert_eq!(place.names(), ["in", JOURNAL, PARTIAL]);
    let resumed = typed(named_command(&said), place.folder.path());
    assert!(resumed.status.success(), "{resumed:?}");
    place.check_packed("interrupted twice");
}

#[test]
fn stopped_while_going_on() {
    let place = Place::new();
    place.leave();
    let stopped = place.stop(&mut place.resume(), Signal::SIGTERM);
    assert_eq!(stopped.status.code(), Some(75), "{}", stderr(&stopped));
    let resumed = typed(named_command(&stderr(&stopped)), place.folder.path());
    assert!(resumed.status.success(), "{resumed:?}");
    place.check_packed("stopped while going on");
}

/// Bytes that no codec makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut random = Random(77);
    (0..len / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

#[test]
fn a_full_disk_keeps_what_is_packed_until_there_is_room() {
    check_full_disk("a_full_disk_keeps_what_is_packed_until_there_is_room", &["--store"]);
}

/// The first checkpoint comes when what was allocated ahead has taken all the room there is.
#[test]
fn a_disk_that_is_full_at_the_first_checkpoint_keeps_what_is_packed() {
    let test = "a_disk_that_is_full_at_the_first_checkpoint_keeps_what_is_packed";
    check_full_disk(test, &["--store", "--checkpoint-size", "4M"]);
}

fn check_full_disk(test: &str, args: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::write(&input, noise(40 << 20)).unwrap();
    succeed(ringpack(["pack"]).arg(&input).args(args));
    let expected = fs::read(folder.path().join("in.zst")).unwrap();
    for (kind, mib) in [(FileSystem::Ext4, 64), (FileSystem::Xfs, 300), (FileSystem::Btrfs, 256)] {
        let Some(mount) = Mount::new(test, kind, mib) else { continue };
        let ballast = mount.path().join("ballast");
        let stat = nix::sys::statvfs::statvfs(mount.path()).unwrap();
        let available = stat.blocks_available() * stat.fragment_size();
        fs::write(&ballast, noise((available - (24 << 20)) as usize)).unwrap();
        fs::File::open(mount.path()).unwrap().sync_all().unwrap();
        let target = mount.path().join("out");
        fs::write(&target, OLD).unwrap();
        let said = fail(ringpack(["pack", "-f", "-o"]).arg(&target).arg(&input).args(args), 9);
        let command = named_command(&said);
        assert!(said.contains("free some space"), "{said}");
        assert_eq!(command, format!("ringpack resume {}", target.display()));
        assert_eq!(fs::read(&target).unwrap(), OLD, "{}", kind.name());
        // There still is no room.
        let again = typed(command, folder.path());
        assert_eq!(again.status.code(), Some(9), "{}: {again:?}", kind.name());
        assert_eq!(named_command(&stderr(&again)), command);
        fs::remove_file(&ballast).unwrap();
        succeed(Command::new("sync").arg("-f").arg(mount.path()));
        let resumed = typed(&format!("{command} -v"), folder.path());
        assert!(resumed.status.success(), "{}: {resumed:?}", kind.name());
        assert!(stderr(&resumed).contains("of it from before"), "{resumed:?}");
        assert_same(&fs::read(&target).unwrap(), &expected, kind.name());
        let left: Vec<String> =
            names(mount.path()).into_iter().filter(|name| name != "lost+found").collect();
        assert_eq!(left, ["out"], "{}", kind.name());
    }
}

#[test]
fn clean_lists_and_removes_what_nobody_writes() {
    let place = Place::new();
    place.leave();
    fs::write(place.path("other.ringpack-journal"), b"of a file that is gone").unwrap();
    let folder = tempfile::tempdir_in(place.folder.path()).unwrap();
    fs::write(folder.path().join(PARTIAL), b"below").unwrap();
    let clean = |args: &[&str]| {
        let mut command = ringpack(["clean"]);
        command.args(args).arg(place.folder.path());
        String::from_utf8(succeed(&mut command)).unwrap()
    };
    let before = place.names();
    let listed = clean(&["-n"]);
    assert_eq!(place.names(), before, "-n only lists");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let partial = place.path(PARTIAL);
    let line = listed.lines().next().unwrap();
    assert!(line.starts_with(&format!("would remove: {} (", partial.display())), "{listed}");
    assert!(line.ends_with("of its input packed)"), "{listed}");
    assert!(listed.contains("other.ringpack-journal"), "{listed}");
    assert_eq!(clean(&[]), listed.replace("would remove", "removed"));
    let below = folder.path().file_name().unwrap().to_str().unwrap();
    let mut left = vec![below.to_owned(), "in".to_owned()];
    left.sort();
    assert_eq!(place.names(), left);
    assert!(folder.path().join(PARTIAL).exists(), "folders below are left alone");
    assert_eq!(clean(&[]), "");
    drop(folder);

    let mut live = place.after_a_checkpoint(&mut place.pack("in"));
    for args in [&["-n"][..], &[]] {
        let said = clean(args);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("in use, kept: "), "{said}");
    }
    assert_eq!(place.names(), ["in", JOURNAL, PARTIAL]);
    live.signal(Signal::SIGCONT);
    let output = live.end();
    assert!(output.status.success(), "{}", stderr(&output));
    place.check_packed("cleaned meanwhile");
    fail(ringpack(["clean"]).arg(place.path("nowhere")), 1);
}

#[test]
fn pack_with_resume() {
    let place = Place::new();
    // With nothing there it just packs.
    succeed(place.pack("in").arg("--resume"));
    place.check_packed("--resume with nothing there");
    fs::remove_file(place.path("out")).unwrap();
    place.leave();
    // With other options it refuses, and keeps what is there.
    let mut other = ringpack(["pack", "in", "-o", "out", "--resume", "--digest", "blake3"]);
    other.current_dir(place.folder.path());
    let said = fail(&mut other, 13);
    assert_eq!(said.lines().count(), 1, "{said}");
    for named in ["out: ", "the level was 19 and is 3", "the chunk length", "placement", "digest"] {
        assert!(said.contains(named), "{named}: {said}");
    }
    assert_eq!(place.names(), ["in", JOURNAL, PARTIAL]);
    // So it does with another input, or the same one changed.
    fs::write(place.path("other"), content(LEN, 6)).unwrap();
    let said = fail(place.pack("other").arg("--resume"), 13);
    assert!(said.contains("another input file"), "{said}");
    fs::remove_file(place.path("other")).unwrap();
    let resumed = run(place.pack("in").args(["--resume", "-v"]));
    assert!(resumed.status.success(), "{resumed:?}");
    assert!(stderr(&resumed).contains("of it from before"), "{resumed:?}");
    place.check_packed("--resume");
}

/// J7: what isn't as it was written is written anew, with all that follows it.
#[test]
fn j7_a_partial_file_that_was_damaged_is_adopted_up_to_there() {
    let place = Place::new();
    place.leave();
    let mut bytes = fs::read(place.path(PARTIAL)).unwrap();
    // In the first chunk's frame.
    bytes[64] ^= 1;
    fs::write(place.path(PARTIAL), bytes).unwrap();
    let resumed = run(place.resume().arg("-v"));
    assert!(resumed.status.success(), "{resumed:?}");
    let said = stderr(&resumed);
    assert!(said.contains("chunk 0 is not as it was written"), "{said}");
    assert!(said.contains("  0 B of it from before"), "{said}");
    place.check_packed("damaged");
}

/// J6: the source is another now where it was packed already.
#[test]
fn an_input_that_was_written_to_is_not_resumed() {
    let place = Place::new();
    place.leave();
    let mut bytes = content(LEN, 5);
    bytes[0] ^= 1;
    fs::write(place.path("in"), &bytes).unwrap();
    let said = fail(&mut place.resume(), 13);
    assert!(said.contains("differs from what was packed"), "{said}");
    assert_eq!(place.names(), ["in", JOURNAL, PARTIAL]);
}

/// What was not packed yet is packed as it is now: the result is the source as it stands.
#[test]
fn an_input_that_was_written_to_behind_the_checkpoint_is_resumed() {
    let place = Place::new();
    place.leave();
    let mut bytes = content(LEN, 5);
    bytes[LEN - 1] ^= 1;
    fs::write(place.path("in"), &bytes).unwrap();
    succeed(&mut place.resume());
    let found = succeed(ringpack(["unpack", "-c"]).arg(place.path("out")));
    assert_same(&found, &bytes, "the source as it is now");
}

#[test]
fn plain_pack_begins_anew_and_says_what_it_removed() {
    let place = Place::new();
    place.leave();
    let output = run(&mut place.pack("in"));
    assert!(output.status.success(), "{output:?}");
    let said = stderr(&output);
    let expected = format!(
        "ringpack: warning: removed {PARTIAL} and its checkpoint, left by a run that ended early\n"
    );
    assert_eq!(said, expected);
    place.check_packed("begun anew");
}

#[test]
fn nothing_to_go_on_from() {
    let place = Place::new();
    let said = fail(&mut place.resume(), 13);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("out: ") && said.contains("pack it anew"), "{said}");
    assert_eq!(place.names(), ["in"]);
    // Neither is a partial file without a journal.
    fs::write(place.path(PARTIAL), b"begun").unwrap();
    fs::set_permissions(place.path(PARTIAL), fs::Permissions::from_mode(0o600)).unwrap();
    fail(&mut place.resume(), 13);
    assert_eq!(place.names(), ["in", PARTIAL]);
}

/// Who goes on with a job that is running is told so, and harms nothing (J5).
/// The message names what gets past a file that took the target's name meanwhile.
#[test]
fn a_target_that_appeared_meanwhile_is_replaced_if_asked() {
    let place = Place::new();
    place.leave();
    fs::write(place.path("out"), OLD).unwrap();
    let said = fail(&mut place.resume(), 7);
    assert!(said.contains("--force") && said.ends_with("  ringpack resume out\n"), "{said}");
    assert_eq!(fs::read(place.path("out")).unwrap(), OLD);
    succeed(place.resume().arg("--force"));
    place.check_packed("replaced");
}

#[test]
fn a_live_writers_job_is_not_gone_on_with() {
    let place = Place::new();
    let mut live = place.after_a_checkpoint(&mut place.pack("in"));
    let said = fail(&mut place.resume(), 11);
    assert!(said.contains("another process"), "{said}");
    live.signal(Signal::SIGCONT);
    let output = live.end();
    assert!(output.status.success(), "{}", stderr(&output));
    place.check_packed("two at once");
}

#[test]
fn what_is_left_of_a_target_with_a_long_name_is_gone_on_with_and_cleaned_away() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(LEN, 6);
    fs::write(folder.path().join("in"), &content).unwrap();
    // Two that differ in the last letter only.
    let [one, other] = ["a", "b"].map(|end| "long".repeat(63) + "xx" + end);
    let here = |args: &[&str]| {
        let mut command = ringpack(args);
        command.current_dir(folder.path());
        command
    };
    for target in [&one, &other] {
        let mut running = Running::start(here(&["pack", "in", "-o", target]).args(SLOWLY));
        let before = names(folder.path());
        let journal = || {
            let is_new =
                |name: &String| name.ends_with(".ringpack-journal") && !before.contains(name);
            let name = names(folder.path()).into_iter().find(is_new)?;
            fs::metadata(folder.path().join(name)).ok().filter(|it| it.len() > 0)
        };
        until("there is a checkpoint", || journal().is_some());
        running.signal(Signal::SIGTERM);
        let stopped = running.end();
        assert_eq!(stopped.status.code(), Some(75), "{}", stderr(&stopped));
        assert_eq!(named_command(&stderr(&stopped)), format!("ringpack resume {target}"));
    }
    assert_eq!(names(folder.path()).len(), 5, "a partial file and a journal each, and the input");
    succeed(&mut here(&["resume", "-q", &one]));
    let packed = fs::read(folder.path().join(&one)).unwrap();
    assert_same(&zstd::decode_all(&*packed).unwrap(), &content, "gone on with");
    assert_eq!(names(folder.path()).len(), 4);
    succeed(&mut here(&["clean", "."]));
    assert_eq!(names(folder.path()), ["in", &one]);
}

#[test]
fn a_container_that_is_finished_is_said_to_be_complete() {
    let place = Place::new();
    succeed(&mut place.pack("in"));
    let resumed = run(&mut place.resume());
    assert_eq!(stderr(&resumed), "out: complete, nothing to resume\n");
    assert_eq!(resumed.status.code(), Some(0));
    let quiet = run(place.resume().arg("-q"));
    assert!(quiet.status.success() && quiet.stderr.is_empty());
    place.check_packed("resumed for nothing");
    // A job that was to replace it, and left no checkpoint, is another matter.
    fs::write(place.path(PARTIAL), b"begun").unwrap();
    let said = fail(&mut place.resume(), 13);
    assert!(said.contains("there is no checkpoint"), "{said}");
}
