//! Signals: a job that is told to stop leaves nothing, one that is killed leaves what the next one
//! takes over, and two never write one target.
//!
//! No test guesses how long something takes: the input is a pipe that the test holds open, or the
//! program is stopped in the middle (`SIGSTOP`) while the test looks at what there is.
//!
//! `SIGKILL` leaves the page cache standing, so what it shows is safety from a process's death; of
//! power cuts `simulation` tells.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::processes::{Running, until};
use support::{binary, content, fail, names, ringpack, succeed};

const OLD: &[u8] = b"what stood there before";
const PARTIAL: &str = "out.ringpack-partial";

/// What the program is in the middle of when the signal comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    /// Packing a pipe that doesn't end and gives nothing more.
    PackPipe,
    /// Packing a file that takes long.
    PackFile,
    /// Unpacking a container.
    Unpack,
}

impl Doing {
    const ALL: [Self; 3] = [Self::PackPipe, Self::PackFile, Self::Unpack];
}

/// A folder with all that is needed: `in`, and `in.zst` made of it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self(folder);
        fs::write(place.path("in"), content(48 << 20, 3)).unwrap();
        succeed(ringpack(["pack", "-1"]).arg(place.path("in")));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, doing: Doing, force: bool) -> Command {
        let mut command = Command::new(binary());
        match doing {
            Doing::PackPipe => command.args(["pack", "--no-checkpoint", "-"]).stdin(Stdio::piped()),
            // Slow enough to be in the middle whatever the machine.
            Doing::PackFile => {
                command.args(["pack", "--no-checkpoint", "-19", "in"]).stdin(Stdio::null())
            }
            Doing::Unpack => command.args(["unpack", "in.zst"]).stdin(Stdio::null()),
        };
        command.args(["-o", "out"]).args(force.then_some("-f")).current_dir(self.0.path());
        command
    }

    /// The program in the middle of it: its partial file is there, and it is stopped.
    fn in_the_middle(&self, doing: Doing, force: bool) -> Running {
        self.in_the_middle_of(&mut self.command(doing, force))
    }

    fn in_the_middle_of(&self, command: &mut Command) -> Running {
        let mut running = Running::start(command);
        if let Some(stdin) = &mut running.child().stdin {
            // Some extents of it: more than the program can hold unread.
            stdin.write_all(&content(9 << 20, 4)).unwrap();
        }
        let partial = self.path(PARTIAL);
        until("the partial file is there", || partial.exists());
        running.signal(Signal::SIGSTOP);
        assert!(partial.exists(), "it was stopped in the middle");
        running
    }

    fn check_old(&self, old: Option<&[u8]>, what: &str) {
        assert_eq!(fs::read(self.path("out")).ok().as_deref(), old, "{what}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(place: &Place, doing: Doing, signal: Signal, code: i32, old: Option<&[u8]>) {
    let what = format!("{signal} while {doing:?}, target {old:?}");
    let target = place.path("out");
    let _ = fs::remove_file(&target);
    if let Some(old) = old {
        fs::write(&target, old).unwrap();
    }
    let before = names(place.0.path());
    let mut running = place.in_the_middle(doing, old.is_some());
    running.signal(signal);
    running.signal(Signal::SIGCONT);
    let output = running.end();
    assert_eq!(output.status.code(), Some(code), "{what}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{what}: it was asked to, and says nothing");
    place.check_old(old, &what);
    assert_eq!(names(place.0.path()), before, "{what}: left behind");
}

const SIGNALS: [(Signal, i32); 3] =
    [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)];

#[test]
fn asked_to_stop() {
    let place = Place::new();
    for doing in Doing::ALL {
        for (signal, code) in SIGNALS {
            for old in [None, Some(OLD)] {
                check(&place, doing, signal, code, old);
            }
        }
    }
}

#[test]
fn asked_to_stop_while_waiting_for_a_fifo_to_be_opened() {
    let place = Place::new();
    succeed(Command::new("mkfifo").arg(place.path("fifo")));
    let mut command = Command::new(binary());
    command.args(["pack", "fifo", "-o", "out"]).current_dir(place.0.path()).stdin(Stdio::null());
    let mut running = Running::start(&mut command);
    // It watches for signals from the moment it blocks them.
    let status = format!("/proc/{}/status", running.child().id());
    until("it watches for signals", || {
        let status = fs::read_to_string(&status).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
        let sigint = 1 << (Signal::SIGINT as u32 - 1);
        u64::from_str_radix(blocked, 16).unwrap() & sigint != 0
    });
    running.signal(Signal::SIGINT);
    let output = running.end();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(!place.path("out").exists());
}

#[test]
fn asked_to_stop_while_nobody_reads_the_output() {
    let place = Place::new();
    for args in [&["pack", "--store", "-c", "in"], &["unpack", "-c", "in.zst", "-q"]] {
        let mut command = Command::new(binary());
        command.args(args).current_dir(place.0.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Running::start(&mut command);
        let mut stdout = running.child().stdout.take().unwrap();
        // It writes now, and soon blocks: nothing more is read.
        stdout.read_exact(&mut [0; 5000]).unwrap();
        until("the pipe is full", || is_blocked_writing(running.child().id()));
        running.signal(Signal::SIGTERM);
        let output = running.end();
        assert_eq!(output.status.code(), Some(143), "{args:?}: {}", stderr(&output));
        drop(stdout);
    }
}

/// Whether a thread of the process sleeps in the kernel for room in a pipe.
fn is_blocked_writing(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().any(|task| {
        // poll with the pipe's end, or write to it.
        let call = fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let is_main = name.trim() == "ringpack";
        let call = call.split(' ').next().unwrap_or_default().parse::<u32>();
        let [write, poll, ppoll] =
            if cfg!(target_arch = "x86_64") { [1, 7, 271] } else { [64, 73, 73] };
        is_main && call.is_ok_and(|call| [write, poll, ppoll].contains(&call))
    })
}

#[test]
fn killed_and_taken_over() {
    let place = Place::new();
    for doing in Doing::ALL {
        for old in [None, Some(OLD)] {
            let what = format!("{doing:?}, target {old:?}");
            let target = place.path("out");
            let _ = fs::remove_file(&target);
            if let Some(old) = old {
                fs::write(&target, old).unwrap();
            }
            let mut running = place.in_the_middle(doing, old.is_some());
            running.signal(Signal::SIGKILL);
            let output = running.end();
            assert_eq!(output.status.code(), None, "{what}: it was killed");
            place.check_old(old, &what);
            assert_eq!(mode(&place.path(PARTIAL)), 0o600, "{what}");
            // The lock is free once its writes in flight have landed.
            let force = old.map(|_| "-f");
            let mut again = ringpack(["pack", "-1", "in", "-o", "out"]);
            again.args(force).current_dir(place.0.path());
            until("the dead one's lock is free", || {
                let output = support::run(&mut again);
                assert!(matches!(output.status.code(), Some(0 | 11)), "{}", stderr(&output));
                output.status.success()
            });
            assert!(fs::read(&target).unwrap() == fs::read(place.path("in.zst")).unwrap());
            assert!(!place.path(PARTIAL).exists(), "{what}");
        }
    }
}

#[test]
fn two_at_once_onto_one_target() {
    let place = Place::new();
    let mut first = place.in_the_middle(Doing::PackPipe, false);
    for args in ["pack in -o out", "pack in -o out -f", "unpack in.zst -o out"] {
        let stderr = fail(ringpack(args.split(' ')).current_dir(place.0.path()), 11);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains("out: ") && stderr.contains("another process"), "{stderr}");
        assert!(place.path(PARTIAL).exists(), "{args}: the first one's partial file stands");
    }
    first.signal(Signal::SIGCONT);
    drop(first.child().stdin.take());
    let output = first.end();
    assert!(output.status.success(), "{}", stderr(&output));
    let restored = succeed(ringpack(["unpack", "-c"]).arg(place.path("out")));
    assert!(restored == content(9 << 20, 4));
    assert!(!place.path(PARTIAL).exists());
}

/// One that waited for another's lock looks at the target again before it does any work.
#[test]
fn one_that_waited_for_a_writer_finds_its_file_and_leaves_nothing() {
    let place = Place::new();
    let mut first = place.in_the_middle(Doing::PackPipe, false);
    let mut second = Running::start(&mut place.command(Doing::Unpack, false));
    // It opens the other's partial file to wait for its lock.
    until("it waits", || has_open(second.child().id(), &place.path(PARTIAL)));
    second.signal(Signal::SIGSTOP);
    first.signal(Signal::SIGCONT);
    drop(first.child().stdin.take());
    let output = first.end();
    assert!(output.status.success(), "{}", stderr(&output));
    let packed = fs::read(place.path("out")).unwrap();
    second.signal(Signal::SIGCONT);
    let output = second.end();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(!stderr(&output).contains("finished"), "{}", stderr(&output));
    assert!(!place.path(PARTIAL).exists());
    assert!(fs::read(place.path("out")).unwrap() == packed);
}

/// Whether the process has the file open.
fn has_open(pid: u32, path: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let path = path.canonicalize().unwrap();
    open.flatten().any(|open| fs::read_link(open.path()).is_ok_and(|leads_to| leads_to == path))
}

/// What a file that is being written may be read by is its owner alone; what the finished one may,
/// its source says, or the umask.
#[test]
fn modes_under_any_umask() {
    let place = Place::new();
    for umask in ["000", "077", "022", "777"] {
        for (doing, source) in
            [(Doing::PackPipe, None), (Doing::PackFile, Some(0o640)), (Doing::Unpack, Some(0o604))]
        {
            let what = format!("{doing:?}, umask {umask}");
            let _ = fs::remove_file(place.path("out"));
            if let Some(mode) = source {
                let name = if doing == Doing::Unpack { "in.zst" } else { "in" };
                fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
            }
            let inner = place.command(doing, false);
            let mut command = Command::new("sh");
            command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(binary());
            // The file is packed quickly here: what counts is how it ends.
            command
                .args(inner.get_args().map(|arg| if arg == "-19" { "-1".as_ref() } else { arg }));
            command.current_dir(place.0.path());
            let stdin = if source.is_none() { Stdio::piped() } else { Stdio::null() };
            let mut running = place.in_the_middle_of(command.stdin(stdin));
            let partial = mode(&place.path(PARTIAL));
            assert_eq!(partial & !0o600, 0, "{what}: the partial file's mode is {partial:o}");
            running.signal(Signal::SIGCONT);
            drop(running.child().stdin.take());
            let output = running.end();
            assert!(output.status.success(), "{what}: {}", stderr(&output));
            let umask = u32::from_str_radix(umask, 8).unwrap();
            let expected = source.unwrap_or(0o666 & !umask);
            assert_eq!(mode(&place.path("out")), expected, "{what}");
        }
    }
}

/// What `--rm` removes is the file that was read, not whatever has its name by then.
#[test]
fn a_source_replaced_meanwhile_is_kept() {
    let place = Place::new();
    let mut command = place.command(Doing::Unpack, false);
    let mut running = place.in_the_middle_of(command.arg("--rm"));
    fs::write(place.path("new"), b"something else").unwrap();
    fs::rename(place.path("new"), place.path("in.zst")).unwrap();
    running.signal(Signal::SIGCONT);
    let output = running.end();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("the source is kept"), "{}", stderr(&output));
    assert_eq!(fs::read(place.path("in.zst")).unwrap(), b"something else");
    assert!(fs::read(place.path("out")).unwrap() == fs::read(place.path("in")).unwrap());
}

/// As under nohup, or in the background of a shell without job control.
#[test]
fn a_signal_ignored_from_the_start_stays_ignored() {
    let place = Place::new();
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"])
        .arg(binary())
        .args(["pack", "-", "-o", "out"])
        .stdin(Stdio::piped())
        .current_dir(place.0.path());
    let mut running = place.in_the_middle_of(&mut command);
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGINT);
    running.signal(Signal::SIGCONT);
    drop(running.child().stdin.take());
    let output = running.end();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    succeed(ringpack(["verify"]).arg(place.path("out")));
}

/// A key that is pressed twice at once is pressed once: the job still ends in order. A second press
/// that comes a second later insists.
#[test]
fn two_quick_interrupts_are_one_and_a_late_one_ends_the_program_at_once() {
    // Where the test was held up between the two signals, the second was not quick.
    while !interrupted_twice(false) {}
    interrupted_twice(true);
}

/// Interrupts a program twice while it waits for its producer to end in order; whether the second
/// came as soon, or as late, as it was meant to.
fn interrupted_twice(late: bool) -> bool {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let script = "trap ': > told' INT TERM; : > ready; \
                  while [ -e ready ] && ! [ -e end ]; do sleep 0.01; done; : > over";
    let mut command = ringpack(["pack", "--from-command", "-o", "out", "--", "sh", "-c", script]);
    let mut running = Running::start(command.current_dir(place.path()));
    // While the producer is started, a signal ends the program before there is anything to end.
    let id = running.child().id();
    until("the producer runs", || path("ready").exists() && has_thread(id, "producer-end"));
    let first = Instant::now();
    running.signal(Signal::SIGINT);
    until("the producer is passed the signal", || path("told").exists());
    // By now the program counts its second, which it began between these two moments.
    let told = Instant::now();
    if late {
        until("a second has gone by", || told.elapsed() > Duration::from_secs(1));
    }
    running.signal(Signal::SIGINT);
    let status = format!("/proc/{id}/status");
    until("the second signal is taken", || {
        let status = fs::read_to_string(&status).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:\t"));
        pending.is_none_or(|pending| u64::from_str_radix(pending, 16).unwrap() == 0)
    });
    let is_late = late || first.elapsed() >= Duration::from_secs(1);
    if !late {
        fs::write(path("end"), "").unwrap();
    }
    let output = running.end();
    let said = stderr(&output);
    if is_late != late {
        return false;
    }
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert_eq!(said.contains("a second signal ended the program at once"), late, "{said}");
    assert_eq!(path("over").exists(), !late, "the producer ended in order");
    true
}

fn has_thread(pid: u32, name: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = tasks.flatten().map(|task| fs::read_to_string(task.path().join("comm")));
    names.flatten().any(|found| found.trim() == name)
}
