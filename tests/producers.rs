//! Producers and guards: what doesn't end well, or isn't what was expected, is not published, and
//! no producer outlives its use.
//!
//! No test guesses how long something takes: a producer says by a file how far it is, and waits at
//! a FIFO until the test lets it go on.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use support::codes::{REFUSED, UNEXPECTED};
use support::processes::{Running, typed, until};
use support::{
    assert_same, backends, content, fail, has_tool, names, ringpack, run, run_with_input, skip,
    succeed,
};

const OLD: &[u8] = b"what stood there before";
const PARTIAL: &str = "out.ringpack-partial";
const JOURNAL: &str = "out.ringpack-journal";
/// So that every extent is a chunk, and every one of them has a checkpoint.
const IN_STEPS: [&str; 6] =
    ["--chunk-size", "64K", "--placement", "slots", "--checkpoint-size", "64K"];
/// Some chunks and a piece of one.
const LEN: usize = 9 * 65_536 + 30_000;

/// A folder with `in`.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in"), content(LEN, 6)).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Packing what a shell's line writes.
    fn pack(&self, args: &[&str], line: &str) -> Command {
        let mut command = ringpack(["pack", "-o", "out", "--from-command"]);
        command.args(args).args(["--", "sh", "-c", line]).current_dir(self.0.path());
        command
    }

    fn resume(&self, args: &[&str], line: &str) -> Command {
        let mut command = ringpack(["resume", "out", "--from-command"]);
        command.args(args).args(["--", "sh", "-c", line]).current_dir(self.0.path());
        command
    }

    /// The container that `in` gives with these options.
    fn expected(&self, args: &[&str]) -> Vec<u8> {
        let mut command = ringpack(["pack", "in", "-o", "expected"]);
        succeed(command.args(args).current_dir(self.0.path()));
        let expected = fs::read(self.path("expected")).unwrap();
        self.remove("expected");
        expected
    }

    fn fifo(&self, name: &str) {
        mkfifo(&self.path(name), Mode::S_IRWXU).unwrap();
    }

    /// The process that wrote its number into a file, once it did.
    fn process(&self, name: &str) -> Pid {
        let path = self.path(name);
        let number = || fs::read_to_string(&path).ok()?.strip_suffix('\n')?.parse().ok();
        until("the producer said its number", || number().is_some());
        Pid::from_raw(number().unwrap())
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a process runs: one that ended and wasn't reaped by its parent doesn't.
fn is_alive(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

fn is_gone(process: Pid) {
    until("the producer is gone", || !is_alive(process));
}

/// The command that a message names, on its last line.
fn named_command(stderr: &str) -> &str {
    assert!(stderr.contains("of the input are packed and kept; go on with:"), "{stderr}");
    stderr.lines().last().and_then(|line| line.strip_prefix("  ")).expect("it is indented")
}

#[test]
fn what_ends_well_is_published_as_a_file_would_be() {
    let place = Place::new();
    for backend in backends("what_ends_well_is_published_as_a_file_would_be") {
        for args in [&["--digest", "blake3"][..], &IN_STEPS, &[]] {
            let args = [&["--io", backend], args].concat();
            let expected = place.expected(&args);
            // What it says comes through, and it may end long after its output does.
            let output = run(&mut place.pack(&args, "cat in; exec >&-; echo said >&2"));
            assert_eq!((output.status.code(), stderr(&output)), (Some(0), "said\n".into()));
            assert_same(&fs::read(place.path("out")).unwrap(), &expected, &format!("{args:?}"));
            assert_eq!(place.names(), ["in", "out"]);
            place.remove("out");
        }
    }
}

/// CF2
#[test]
fn what_ends_badly_is_not_published() {
    let place = Place::new();
    for backend in backends("what_ends_badly_is_not_published") {
        let io = ["--io", backend];
        for steps in [&[][..], &IN_STEPS] {
            for (old, line, how) in [
                (true, "cat in; echo why >&2; exit 3", "sh: ended with exit code 3"),
                (false, "exit 1", "ended with exit code 1"),
                (true, "cat in; kill -9 $$", "was killed by SIGKILL"),
                (false, "cat in in in; echo why >&2; exec false", "ended with exit code 1"),
                (false, "exec >&-; echo why >&2; exit 255", "ended with exit code 255"),
            ] {
                let mut args = [&io, steps].concat();
                if old {
                    fs::write(place.path("out"), OLD).unwrap();
                    args.push("-f");
                }
                let said = fail(&mut place.pack(&args, line), REFUSED);
                assert!(said.contains(how), "{line}: {said}");
                // As it came, and once more.
                let times = if line.contains("why") { 2 } else { 0 };
                let count = said.lines().filter(|line| line.trim() == "why").count();
                assert_eq!(count, times, "{line}: {said}");
                let left: &[&str] = if old { &["in", "out"] } else { &["in"] };
                assert_eq!(place.names(), left, "{line}: left behind");
                if old {
                    assert_eq!(fs::read(place.path("out")).unwrap(), OLD, "{line}");
                    place.remove("out");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_started_leaves_nothing() {
    let place = Place::new();
    for (command, why) in [("no-such-program", "No such file"), ("/", "Permission denied")] {
        let mut packing = ringpack(["pack", "-o", "out", "--from-command", "--", command, "-x"]);
        let said = fail(packing.current_dir(place.0.path()), REFUSED);
        assert!(
            said.starts_with(&format!("ringpack: {command}: cannot start it: {why}")),
            "{said}"
        );
        assert_eq!(place.names(), ["in"]);
    }
    // Nor is it started where the output can't be.
    fs::write(place.path("out"), OLD).unwrap();
    fail(&mut place.pack(&[], "echo > started"), 7);
    assert_eq!(place.names(), ["in", "out"]);
}

#[test]
fn arguments_that_make_no_sense() {
    let place = Place::new();
    for args in [
        &["pack", "-o", "out", "--from-command"][..],
        &["pack", "-o", "out", "in", "more"],
        &["pack", "--rm", "--from-command", "--", "cat", "in"],
        &["pack", "in", "--expect-blake3", "00"],
        &["pack", "in", "--expect-size", "many"],
        &["resume", "out", "--from-command"],
        &["resume", "out", "in", "more"],
    ] {
        fail(ringpack(args).current_dir(place.0.path()), 2);
        assert_eq!(place.names(), ["in"], "{args:?}");
    }
}

/// A producer that is done with its output may still find that it was wrong.
#[test]
fn a_producer_that_runs_on_is_waited_for() {
    for (code, published) in [(0, true), (7, false)] {
        let place = Place::new();
        place.fifo("go");
        let line = format!("cat in; exec >&-; echo $$ > closed; read x < go; exit {code}");
        let running = Running::start(&mut place.pack(&IN_STEPS, &line));
        let process = place.process("closed");
        // All but the last piece, which is held back until the producer has ended.
        let journal = || fs::metadata(place.path(JOURNAL)).map_or(0, |it| it.len());
        until("a checkpoint was taken", || journal() > 0);
        assert!(!place.path("out").exists() && is_alive(process));
        fs::write(place.path("go"), "\n").unwrap();
        let output = running.end();
        let expected = if published { 0 } else { REFUSED };
        assert_eq!(output.status.code(), Some(expected), "{}", stderr(&output));
        assert_eq!(place.path("out").exists(), published);
        assert!(!place.path(PARTIAL).exists() && !place.path(JOURNAL).exists());
    }
}

/// CF3: what is kept ends before the chunk that the producer broke off in, so that it is found
/// again in what the next run sends.
#[test]
fn what_is_kept_on_request_can_be_gone_on_with() {
    let place = Place::new();
    let expected = place.expected(&IN_STEPS);
    let args = [&IN_STEPS[..], &["--keep-partial"]].concat();
    for (sent, packed) in [(LEN - 100, "576.00 KiB"), (3 * 65_536 + 1, "192.00 KiB")] {
        let line = format!("head -c {sent} in; echo \"it's why\" >&2; exit 3");
        let said = fail(&mut place.pack(&args, &line), REFUSED);
        assert_eq!(place.names(), ["in", JOURNAL, PARTIAL], "{said}");
        assert!(said.contains(&format!("{packed} of the input are packed")), "{said}");
        let command = named_command(&said);
        assert!(command.starts_with("ringpack resume out --from-command -- sh -c "), "{said}");
        // The very command that is named fails as before, and keeps what there is.
        let again = typed(command, place.0.path());
        assert_eq!(again.status.code(), Some(REFUSED), "{again:?}");
        assert_eq!(named_command(&stderr(&again)), command);
        // One that ends before what is there already, well or badly.
        let said = fail(&mut place.resume(&[], "head -c 70000 in; exit 3"), REFUSED);
        assert!(said.contains("ended with exit code 3"), "{said}");
        fail(&mut place.resume(&[], "head -c 65536 in"), 13);
        fail(&mut place.resume(&[], "tr a b < in"), 13);
        assert_eq!(place.names(), ["in", JOURNAL, PARTIAL]);
        let output = run(&mut place.resume(&["-v"], "cat in"));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains("of it from before"), "{}", stderr(&output));
        assert_same(&fs::read(place.path("out")).unwrap(), &expected, "gone on with");
        assert_eq!(place.names(), ["in", "out"]);
        place.remove("out");
        // And by pack, which needs no other command.
        fail(&mut place.pack(&args, &line), REFUSED);
        succeed(&mut place.pack(&[&IN_STEPS[..], &["--resume"]].concat(), "cat in"));
        assert_same(&fs::read(place.path("out")).unwrap(), &expected, "pack --resume");
        place.remove("out");
    }
}

/// A producer with a child of its own, in the middle of its output.
const BUSY: &str = "trap 'echo $1 > told; exit 0' INT TERM HUP; sleep 1000 & echo $! > child; \
                    cat in; echo $$ > leader; wait";

#[test]
fn signals_are_passed_on_and_nothing_is_left() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let place = Place::new();
        let mut running = Running::start(&mut place.pack(&["--no-checkpoint"], BUSY));
        let (child, leader) = (place.process("child"), place.process("leader"));
        running.signal(signal);
        let output = running.end();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(place.path("told").exists(), "{signal} was passed on");
        assert!(!is_alive(leader), "{signal}: it runs on");
        // Killed with the leader's group, and nobody waits for it to be dead.
        is_gone(child);
        assert_eq!(place.names(), ["child", "in", "leader", "told"]);
    }
}

#[test]
fn a_job_that_is_stopped_names_the_command_that_goes_on() {
    let place = Place::new();
    let expected = place.expected(&IN_STEPS);
    let line = "cat in; test -e done || { touch done; echo $$ > leader; exec sleep 1000; }";
    let mut running = Running::start(&mut place.pack(&IN_STEPS, line));
    let leader = place.process("leader");
    let journal = || fs::metadata(place.path(JOURNAL)).map_or(0, |it| it.len());
    until("a checkpoint was taken", || journal() > 0);
    running.signal(Signal::SIGTERM);
    let output = running.end();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(!is_alive(leader));
    let resumed = typed(named_command(&stderr(&output)), place.0.path());
    assert!(resumed.status.success(), "{resumed:?}");
    assert_same(&fs::read(place.path("out")).unwrap(), &expected, "gone on with");
}

/// Nobody can pass that on, but a pipe without a reader ends who writes to it.
#[test]
fn a_killed_job_publishes_nothing_and_its_producer_ends_at_its_next_write() {
    let place = Place::new();
    let line = "cat in; echo $$ > leader; exec yes";
    let mut running = Running::start(&mut place.pack(&["--no-checkpoint"], line));
    let leader = place.process("leader");
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().status.code(), None);
    is_gone(leader);
    assert!(!place.path("out").exists());
    // Who comes next takes it over.
    succeed(&mut place.pack(&[], "cat in"));
    let unpacked = succeed(ringpack(["unpack", "-c"]).arg(place.path("out")));
    assert_same(&unpacked, &fs::read(place.path("in")).unwrap(), "packed again");
    assert_eq!(place.names(), ["in", "leader", "out"]);
}

/// A job that fails by itself ends its producer; one whose leader failed doesn't wait for what
/// the leader started.
#[test]
fn a_producer_without_a_use_is_ended() {
    let place = Place::new();
    let line = "echo $$ > leader; exec yes";
    fail(&mut place.pack(&["--expect-size", "5M"], line), UNEXPECTED);
    assert!(!is_alive(place.process("leader")));
    fail(&mut place.pack(&[], "yes & echo $! > child; exit 5"), REFUSED);
    is_gone(place.process("child"));
    // Of a producer that ended well, what runs in the background is nobody's business.
    let line = "sleep 1000 > /dev/null 2>&1 & echo $! > child; cat in";
    succeed(&mut place.pack(&[], line));
    let child = place.process("child");
    assert!(is_alive(child));
    kill(child, Signal::SIGKILL).unwrap();
}

/// What a producer is started with: the signals that come here are blocked here alone.
#[test]
fn a_producer_starts_with_the_signals_that_this_program_was_started_with() {
    let place = Place::new();
    let signals = ["-E", "Sig(Blk|Ign)", "/proc/self/status"];
    let expected = succeed(Command::new("grep").args(signals));
    let mut command = ringpack(["pack", "-o", "out", "--from-command", "--", "grep"]);
    succeed(command.args(signals).current_dir(place.0.path()));
    let found = succeed(ringpack(["unpack", "-c"]).arg(place.path("out")));
    assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
}

/// CF4: what was written to a pipe can't be taken back, but nobody takes it for whole.
#[test]
fn a_stream_that_ends_badly_is_whole_to_no_reader() {
    let test = "a_stream_that_ends_badly_is_whole_to_no_reader";
    let place = Place::new();
    for (line, code) in [("cat in", 0), ("cat in in; exit 3", REFUSED), ("exit 3", REFUSED)] {
        for steps in [&[][..], &IN_STEPS[..4]] {
            let mut command = ringpack(["pack", "-c", "--from-command"]);
            command.args(steps).args(["--", "sh", "-c", line]).current_dir(place.0.path());
            let output = run(&mut command);
            assert_eq!(output.status.code(), Some(code), "{line}: {}", stderr(&output));
            fs::write(place.path("streamed.zst"), &output.stdout).unwrap();
            let is_whole = |command: &mut Command| {
                run(command.current_dir(place.0.path()).stdin(Stdio::null())).status.success()
            };
            let ours = is_whole(&mut ringpack(["unpack", "-f", "-o", "back", "streamed.zst"]));
            assert_eq!(ours, code == 0, "{line}");
            assert_eq!(is_whole(&mut ringpack(["verify", "streamed.zst"])), code == 0, "{line}");
            if !has_tool("zstd") {
                skip(test, "zstd isn't there");
                continue;
            }
            let zstd = is_whole(Command::new("zstd").args(["-qt", "streamed.zst"]));
            assert_eq!(zstd, code == 0, "zstd, {line}");
        }
    }
    // A reader that takes nothing is nobody to wait for.
    let line = "cat in in in; exit 3";
    let command = format!("ringpack pack -c --from-command -- sh -c '{line}' | true");
    assert!(typed(&command, place.0.path()).status.success());
}

/// CF2
#[test]
fn what_is_not_as_expected_is_not_published() {
    let test = "what_is_not_as_expected_is_not_published";
    let place = Place::new();
    let bytes = fs::read(place.path("in")).unwrap();
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let other = blake3::hash(b"something else").to_hex().to_string();
    let (size, shorter, longer) = (LEN.to_string(), (LEN - 1).to_string(), (LEN + 1).to_string());
    let right = ["--expect-size", &size, "--expect-blake3", &digest];
    for backend in backends(test) {
        let io = ["--io", backend, "--checkpoint-size", "64K"];
        // A file, a stream and a producer's output, each with its guards.
        let check = |guards: &[&str], code: i32, said: &[&str]| {
            for kind in ["in", "-", "command"] {
                let mut command = ringpack(["pack", "-o", "out"]);
                command.args(io).args(guards).current_dir(place.0.path());
                let output = match kind {
                    "in" => run(command.arg("in")),
                    "-" => run_with_input(command.arg("-"), &bytes),
                    _ => run(command.args(["--from-command", "--", "cat", "in"])),
                };
                let stderr = stderr(&output);
                assert_eq!(output.status.code(), Some(code), "{kind}, {guards:?}: {stderr}");
                assert!(said.iter().all(|said| stderr.contains(said)), "{kind}: {stderr}");
                let left: &[&str] = if code == 0 { &["in", "out"] } else { &["in"] };
                assert_eq!(place.names(), left, "{kind}, {guards:?}: left behind");
                if code == 0 {
                    let info = succeed(ringpack(["info", "--json"]).arg(place.path("out")));
                    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
                    let kept = info.to_string().contains(&digest);
                    assert_eq!(kept, guards.contains(&"--expect-blake3"), "{info}");
                    place.remove("out");
                }
            }
        };
        check(&right, 0, &[]);
        check(&right[..2], 0, &[]);
        check(&right[2..], 0, &[]);
        check(&["--expect-blake3", &digest.to_uppercase()], 0, &[]);
        check(&["--expect-size", &shorter], UNEXPECTED, &[&shorter, "expected"]);
        check(&["--expect-size", &longer], UNEXPECTED, &[&size, &longer]);
        check(&["--expect-blake3", &other], UNEXPECTED, &[&digest, &other]);
    }
    // An empty content is one of length 0.
    succeed(&mut place.pack(&["--expect-size", "0"], "true"));
    place.remove("out");
    fail(&mut place.pack(&["--expect-size", "1"], "true"), UNEXPECTED);
    assert_eq!(place.names(), ["in"]);
}

#[test]
fn what_is_expected_holds_for_who_goes_on_too() {
    let place = Place::new();
    let bytes = fs::read(place.path("in")).unwrap();
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let args = [&IN_STEPS[..], &["--keep-partial"]].concat();
    // Begun without a digest: there is none to be held against.
    fail(&mut place.pack(&args, "head -c 300000 in; exit 3"), REFUSED);
    let said = fail(&mut place.resume(&["--expect-blake3", &digest], "cat in"), 2);
    assert!(said.contains("keeps none"), "{said}");
    // Kept, although of a wrong length; the command that is named expects it still.
    let said = fail(&mut place.resume(&["--expect-size", "5"], "cat in"), UNEXPECTED);
    assert!(named_command(&said).contains("--expect-size 5 --from-command"), "{said}");
    let size = LEN.to_string();
    succeed(&mut place.resume(&["--expect-size", &size], "cat in"));
    place.remove("out");
    let digested = [&args[..], &["--digest", "blake3"]].concat();
    fail(&mut place.pack(&digested, "head -c 300000 in; exit 3"), REFUSED);
    let other = "0".repeat(64);
    let said = fail(&mut place.resume(&["--expect-blake3", &other], "cat in"), UNEXPECTED);
    assert!(said.contains(&digest) && said.contains(&other), "{said}");
    assert!(!place.path("out").exists());
    succeed(&mut place.resume(&["--expect-blake3", &digest], "cat in"));
    assert_eq!(place.names(), ["in", "out"]);
    succeed(ringpack(["verify", "--decode"]).arg(place.path("out")));
}
