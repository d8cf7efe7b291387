//! How far a job is: a bar on a terminal, objects for programs, a line for `SIGUSR1`; and colours.
//!
//! No test waits for a clock: the input or the output is a pipe that the test holds, so that the
//! job goes on until what is awaited was seen.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::unpack::{self, UnpackOptions, unpack};
use ringpack::verify::{VerifyOptions, verify};
use ringpack::{Cancel, ErrorKind, IoMode, OsDisk, Phase, Progress};
use support::processes::{Running, until};
use support::schema::messages;
use support::{backends, content, ringpack, run, succeed};

const LEN: usize = 9 << 20;

/// What a terminal was shown so far.
#[derive(Clone)]
struct Terminal(Arc<Mutex<Vec<u8>>>);

impl Terminal {
    /// Starts a program with a terminal for standard error, and a pipe for standard input.
    fn start(command: &mut Command) -> (Self, Running) {
        let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        command.stdin(Stdio::piped()).stderr(Stdio::from(pty.slave));
        let running = Running::with(command);
        let shown = Self(Arc::default());
        let (kept, mut master) = (shown.clone(), fs::File::from(pty.master));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // It fails once the other side is closed.
            while let Ok(len @ 1..) = master.read(&mut piece) {
                kept.0.lock().unwrap().extend_from_slice(&piece[..len]);
            }
        });
        (shown, running)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn packing(folder: &Path, out: &str, terminal: &str) -> Command {
    let mut command = ringpack(["pack", "-1", "-", "-f", "-o", out]);
    command.current_dir(folder).env("TERM", terminal).env_remove("NO_COLOR");
    command
}

/// Gives a program that packs a pipe two extents and a part of a third, and leaves it waiting.
fn feed(running: &mut Running) {
    running.child().stdin.as_mut().unwrap().write_all(&content(LEN, 1)).unwrap();
}

/// Ends the pipe, and waits for the program, which must go well.
fn finish(mut running: Running) {
    drop(running.child().stdin.take());
    assert!(running.end().status.success());
}

#[test]
fn a_bar_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    for (no_color, coloured) in [(None, true), (Some("1"), false)] {
        let mut command = packing(folder.path(), "out", "xterm");
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        let (terminal, mut running) = Terminal::start(&mut command);
        feed(&mut running);
        until("the bar is shown", || terminal.shown().contains("8.00 MiB, "));
        until("it names a bottleneck", || terminal.shown().contains("bottleneck "));
        finish(running);
        until("the summary is shown", || terminal.shown().contains("%), out"));
        let shown = terminal.shown();
        let after = shown.rsplit_once("bottleneck ").unwrap().1;
        assert!(after.contains("\x1b[2K"), "the bar is taken away: {shown:?}");
        assert!(shown.lines().last().unwrap().contains("-: 9.00 MiB -> "), "{shown:?}");
        assert!(coloured || !has_colour(&shown), "{shown:?}");
    }
}

/// Whether text has a sequence that sets a colour or a weight.
fn has_colour(text: &str) -> bool {
    let sequences = text.split("\x1b[").skip(1);
    let ends = |rest: &str| {
        rest.find(|c: char| c.is_ascii_alphabetic()).map(|at| rest[at..].starts_with('m'))
    };
    sequences.filter_map(ends).any(|is_graphic| is_graphic)
}

#[test]
fn no_bar_where_it_is_not_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let table: [(&str, &[&str]); 3] =
        [("dumb", &[]), ("xterm", &["-q"]), ("xterm", &["--progress=never"])];
    let mut begun = Vec::new();
    for (number, (terminal, args)) in table.into_iter().enumerate() {
        let mut command = packing(folder.path(), &number.to_string(), terminal);
        let (shown, mut running) = Terminal::start(command.args(args));
        feed(&mut running);
        begun.push((args, shown, running));
    }
    // When another that began later has its bar, these would have had theirs.
    let (other, mut running) = Terminal::start(&mut packing(folder.path(), "other", "xterm"));
    feed(&mut running);
    until("the other's bar is shown", || other.shown().contains("bottleneck "));
    finish(running);
    for (args, terminal, running) in begun {
        finish(running);
        let shown = terminal.shown();
        assert!(!shown.contains('\x1b') && !shown.contains("bottleneck"), "{args:?}: {shown:?}");
    }
}

#[test]
fn errors_are_coloured_on_terminals_only() {
    let folder = tempfile::tempdir().unwrap();
    for (terminal, no_color, coloured) in [
        ("xterm", None, true),
        ("xterm", Some(""), true),
        ("xterm", Some("1"), false),
        ("dumb", None, false),
    ] {
        let mut command = ringpack(["verify", "missing"]);
        command.current_dir(folder.path()).env("TERM", terminal).env_remove("NO_COLOR");
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        let (shown, running) = Terminal::start(&mut command);
        assert_eq!(running.end().status.code(), Some(3));
        until("the error is shown", || shown.shown().contains("missing: "));
        let shown = shown.shown();
        assert_eq!(has_colour(&shown), coloured, "{terminal} {no_color:?}: {shown:?}");
    }
    let output = run(ringpack(["verify", "missing"]).env("TERM", "xterm"));
    assert!(!String::from_utf8(output.stderr).unwrap().contains('\x1b'));
}

#[test]
fn objects_for_programs_at_a_steady_pace() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["pack", "--progress=json", "-1", "-", "-o", "out"];
    let mut command = ringpack(args);
    command.current_dir(folder.path()).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::with(&mut command);
    let mut lines = BufReader::new(running.child().stderr.take().unwrap()).lines();
    let mut next = || messages(lines.next()?.unwrap().as_bytes()).pop();
    feed(&mut running);
    let mut seen = next().unwrap();
    while seen["content_bytes"] != 8 << 20 {
        seen = next().unwrap();
    }
    assert_eq!((&seen["phase"], &seen["path"]), (&"working".into(), &"out".into()));
    assert!(seen["content_size"].is_null() && !seen["bottleneck"].is_null(), "{seen}");
    drop(running.child().stdin.take());
    while let Some(more) = next() {
        assert!(more["seconds"].as_f64() > seen["seconds"].as_f64(), "{more}");
        seen = more;
    }
    assert_eq!((&seen["phase"], &seen["content_size"]), (&"done".into(), &LEN.into()));
    assert_eq!(seen["content_bytes"], LEN);
    assert!(running.end().status.success());
}

#[test]
fn restoring_files_of_an_archive_is_watched_too() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for (name, len) in [("a", LEN), ("b", 700), ("c", LEN / 2)] {
        fs::write(tree.join(name), content(len, 1)).unwrap();
    }
    let here = |args: &[&str]| run(ringpack(args).current_dir(folder.path()));
    assert!(here(&["pack", "-1", "tree"]).status.success());
    let info = succeed(ringpack(["info", "--json", "tree.tar.zst"]).current_dir(folder.path()));
    let archive = messages(&info).pop().unwrap()["content_size"].clone();
    let some: &[&str] = &["--member", "*/b", "--member", "*/c"];
    let some_len = 700 + LEN / 2;
    for (options, size) in [(&["--extract"][..], archive), (some, some_len.into())] {
        let all = ["unpack", "--progress=json", "--json", "-o", "back", "-f", "tree.tar.zst"];
        let output = here(&[&all, options].concat());
        assert!(output.status.success(), "{output:?}");
        let seen = messages(&output.stderr).pop().unwrap();
        assert_eq!((&seen["phase"], &seen["content_bytes"]), (&"done".into(), &size));
        assert_eq!(seen["content_size"], size);
        let summary = messages(&output.stdout).pop().unwrap();
        for stage in ["read_seconds", "work_seconds", "write_seconds"] {
            assert!(summary[stage].as_f64() > Some(0.0), "{stage}: {summary}");
        }
    }
}

#[test]
fn sigusr1_asks_for_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(LEN, 1);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("in"), &bytes).unwrap();
    succeed(ringpack(["pack", "-1"]).arg(path("in")));
    let table: [(&[&str], &str); 3] = [
        (&["pack", "-q", "-", "-o", "out"], "out: "),
        (&["pack", "--json", "-", "-c"], "\"message_type\":\"progress\""),
        (&["unpack", "-q", "-c", "in.zst"], "in.zst: "),
    ];
    for (args, expected) in table {
        let mut command = ringpack(args);
        command.current_dir(folder.path()).stdin(Stdio::piped());
        // What nobody reads yet holds the job up.
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::with(&mut command);
        let mut lines = BufReader::new(running.child().stderr.take().unwrap()).lines();
        if args[0] == "unpack" {
            let mut first = [0];
            running.child().stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        } else {
            feed(&mut running);
        }
        // Two, one after the other: it goes on being asked.
        for _ in 0..2 {
            running.signal(Signal::SIGUSR1);
            let line = lines.next().unwrap().unwrap();
            assert!(line.contains(expected), "{args:?}: {line}");
        }
        drop(running.child().stdin.take());
        let mut rest = Vec::new();
        running.child().stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        assert!(running.end().status.success(), "{args:?}");
    }
}

#[test]
fn a_program_sees_what_is_through() {
    let folder = tempfile::tempdir().unwrap();
    let (input, target) = (folder.path().join("in"), folder.path().join("out"));
    let bytes = content(LEN, 1);
    fs::write(&input, &bytes).unwrap();
    for backend in backends("a_program_sees_what_is_through") {
        let io = if backend == "uring" { IoMode::Uring } else { IoMode::Pwrite };
        let progress = Progress::new();
        let options =
            PackOptions { io, replace: true, progress: progress.clone(), ..PackOptions::default() };
        let (from, to) = (Input::Path(input.clone()), Output::Path(target.clone()));
        let report = pack(&OsDisk, from, to, &options, &Cancel::new()).unwrap();
        let seen = progress.look();
        assert_eq!((seen.phase, seen.content_bytes), (Phase::Done, LEN as u64));
        assert_eq!(seen.stored_bytes, report.header.data_end, "{backend}");
        for stage in [seen.read, seen.work, seen.write] {
            assert!(!stage.is_zero(), "{backend}: {seen:?}");
        }
        // The same again for the next job: what the last one left is not in it.
        let options = VerifyOptions { io, progress: progress.clone(), ..VerifyOptions::default() };
        verify(&OsDisk, &target, &options, &Cancel::new()).unwrap();
        assert_eq!(progress.look().content_bytes, LEN as u64);
        let options = UnpackOptions { io, progress: Progress::new(), ..UnpackOptions::default() };
        let to = unpack::Output::Path(folder.path().join(backend));
        unpack(&OsDisk, &target, to, &options, &Cancel::new()).unwrap();
        let seen = options.progress.look();
        assert_eq!((seen.phase, seen.content_bytes), (Phase::Done, LEN as u64));
    }
    // One that fails is not done.
    let progress = Progress::new();
    let options = PackOptions { progress: progress.clone(), ..PackOptions::default() };
    let (from, to) = (Input::Path(input), Output::Path(target));
    let failed = pack(&OsDisk, from, to, &options, &Cancel::new()).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::TargetExists);
    assert_ne!(progress.look().phase, Phase::Done);
}

/// What holds a job up is named rightly where it is beyond doubt.
#[test]
fn the_bottleneck_is_the_slow_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    fs::write(&path, content(LEN, 1)).unwrap();
    // Encoded at the highest level, from and to files: nothing is as slow as that.
    let told = succeed(ringpack(["pack", "--json", "-19"]).arg(&path));
    assert_eq!(messages(&told)[0]["bottleneck"], "encode");
    // From a pipe that gives nothing while another program packs for long: the source.
    let said = folder.path().join("said");
    let mut command = ringpack(["pack", "--json", "--store", "-", "-o"]);
    command.arg(folder.path().join("out")).stdin(Stdio::piped());
    let mut running = Running::with(command.stdout(fs::File::create(&said).unwrap()));
    feed(&mut running);
    succeed(ringpack(["pack", "-q", "-f", "-19"]).arg(&path));
    finish(running);
    assert_eq!(messages(&fs::read(said).unwrap())[0]["bottleneck"], "read");
}
