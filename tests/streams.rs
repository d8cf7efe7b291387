//! The standard streams: closed, full, set not to block. What can't be read or written is an error,
//! never an empty input or a success whose output is lost.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use support::processes::until;
use support::{assert_same, binary, content, names, ringpack, run, succeed};

/// A folder with an input, containers of it and of a tree, and what an interrupted run left.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("in"), content(300_000, 1)).unwrap();
    fs::create_dir(at("tree")).unwrap();
    fs::write(at("tree/member"), b"text").unwrap();
    succeed(ringpack(["pack", "in", "tree"]).current_dir(folder.path()));
    fs::create_dir(at("left")).unwrap();
    fs::write(at("left/x.zst.ringpack-partial"), b"").unwrap();
    std::os::unix::fs::symlink(binary(), at("ringzstd")).unwrap();
    folder
}

/// Runs a line of shell in which `r` is the program.
fn shell(folder: &Path, line: &str) -> Output {
    let mut command = Command::new("bash");
    let script = format!("r() {{ \"$RINGPACK\" \"$@\"; }}; {line}");
    command.args(["-c", &script]).env("RINGPACK", binary()).current_dir(folder);
    command.stdin(Stdio::null());
    run(&mut command)
}

/// What writes to standard output.
const WRITERS: [&str; 24] = [
    "r pack -c in",
    "r pack - <in",
    "r pack -c tree",
    "r pack --from-command -- echo text",
    "r unpack -c in.zst",
    "r unpack - <in.zst",
    "r cat in.zst",
    "r cat tree.tar.zst tree/member",
    "r ls tree.tar.zst",
    "r ls --json tree.tar.zst",
    "r info in.zst",
    "r info --json in.zst",
    "r verify --json in.zst",
    "r pack --json in -o new.zst",
    "r unpack --json in.zst -o new",
    "r salvage --json in.zst -o new",
    "r clean -n left",
    "r clean --json -n left",
    "r generate man ringpack",
    "r doctor .",
    "r --help",
    "r pack --help",
    "./ringzstd -c in in.zst",
    "./ringzstd -l in.zst",
];

/// What reads standard input.
const READERS: [&str; 11] = [
    "r pack - -o new.zst",
    "r pack -c -",
    "r unpack - -o new",
    "r unpack -c -",
    "r verify -",
    "r verify --decode -",
    "./ringzstd",
    "./ringzstd -o new",
    "./ringzstd -d -o new",
    "./ringzstd -t",
    "./ringzstd -f in - -o new",
];

#[test]
fn cs1_closed_streams_are_neither_read_nor_written() {
    let folder = folder();
    let before = names(folder.path());
    let writers = WRITERS.map(|line| (line, ">&-", "standard output: is closed"));
    let readers = READERS.map(|line| (line, "<&-", "standard input: is closed"));
    for (line, closing, what) in writers.into_iter().chain(readers) {
        let output = shell(folder.path(), &format!("{line} {closing}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{line} {closing}: {said}");
        assert!(said.contains(what), "{line} {closing}: {said}");
        assert!(output.stdout.is_empty() || closing == "<&-", "{line} {closing}");
        assert_eq!(names(folder.path()), before, "{line} {closing}: something was published");
    }
}

/// A stream that isn't used may be closed, and `/dev/null` may be opened any way.
#[test]
fn streams_that_are_not_used_may_be_closed() {
    let folder = folder();
    for line in [
        "r pack in -o a.zst <&-",
        "r pack in -o b.zst >&-",
        "r pack -v in -o c.zst 2>&-",
        "r pack -v in -o d.zst <&- >&- 2>&-",
        "r unpack d.zst -o d <&- >&- 2>&-",
        "r verify in.zst <&- >&- 2>&-",
        "./ringzstd -q in -o e.zst <&- >&-",
        "r pack -c in 1<>/dev/null",
        "r cat in.zst 1<>/dev/null",
        "r info in.zst 1<>/dev/null",
        "r pack - -o f.zst <>/dev/null",
        "r pack - -o g.zst </dev/null",
    ] {
        let output = shell(folder.path(), line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
    }
    let original = content(300_000, 1);
    for name in ["a.zst", "b.zst", "c.zst", "d.zst", "e.zst"] {
        let args = ["-dcq", name];
        let restored = succeed(Command::new("zstd").args(args).current_dir(folder.path()));
        assert_same(&restored, &original, name);
    }
    assert_same(&fs::read(folder.path().join("d")).unwrap(), &original, "d");
}

/// A full disk, and a descriptor that is only to be read from.
#[test]
fn output_that_is_lost_is_an_error() {
    let folder = folder();
    for line in WRITERS {
        for (to, code) in [(">/dev/full", Some(9)), ("1</dev/null", None)] {
            let output = shell(folder.path(), &format!("rm -f new new.zst; {line} {to}"));
            let said = String::from_utf8_lossy(&output.stderr);
            let expected = if line.starts_with("./ringzstd") { Some(1) } else { code };
            let found = output.status.code();
            assert!(found != Some(0), "{line} {to}: {said}");
            assert!(code.is_none() || found == expected, "{line} {to}: {found:?}: {said}");
            assert!(said.contains("standard output"), "{line} {to}: {said}");
        }
    }
}

/// A pipe whose writing end doesn't block, full before anything is read.
#[test]
fn a_pipe_that_does_not_block_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Of noise, so that packed it doesn't fit into the pipe either; and many long names.
    let original = noise(3 << 20);
    fs::write(folder.join("in"), &original).unwrap();
    fs::create_dir(folder.join("tree")).unwrap();
    for number in 0..800 {
        fs::write(folder.join(format!("tree/{number:0200}")), b"").unwrap();
    }
    std::os::unix::fs::symlink(binary(), folder.join("ringzstd")).unwrap();
    succeed(ringpack(["pack", "in", "tree"]).current_dir(folder));
    let listed = succeed(ringpack(["ls", "tree.tar.zst"]).current_dir(folder));
    assert!(listed.len() > 2 * PIPE_BYTES, "{} bytes don't fill a pipe", listed.len());
    let zstd = |bytes: &[u8]| {
        let output = support::run_with_input(Command::new("zstd").arg("-dcq"), bytes);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let ringzstd = folder.join("ringzstd");
    for (program, args, expected, packed) in [
        (binary(), &["cat", "in.zst"][..], &original, false),
        (binary(), &["unpack", "-c", "in.zst"], &original, false),
        (binary(), &["pack", "-c", "in"], &original, true),
        (binary(), &["ls", "tree.tar.zst"], &listed, false),
        (ringzstd.clone(), &["-dc", "in.zst"], &original, false),
        (ringzstd, &["-c", "in"], &original, true),
    ] {
        let (mut reading, writing) = std::io::pipe().unwrap();
        let writing = OwnedFd::from(writing);
        unblock(&writing);
        let full = writing.try_clone().unwrap();
        let mut command = Command::new(program);
        command.args(args).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.stdout(writing).spawn().unwrap();
        drop(command);
        until("the pipe is full, or the program has ended", || {
            child.try_wait().unwrap().is_some() || !has_room(&full)
        });
        drop(full);
        let mut got = Vec::new();
        reading.read_to_end(&mut got).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        let got = if packed { zstd(&got) } else { got };
        assert_same(&got, expected, &format!("{args:?}"));
    }
}

/// Standard input that doesn't block, and is empty when it is read first.
#[test]
fn input_that_does_not_block_is_waited_for() {
    let folder = folder();
    let original = content(300_000, 1);
    let packed = fs::read(folder.path().join("in.zst")).unwrap();
    let ringzstd = folder.path().join("ringzstd");
    for (program, args, input) in [
        (binary(), &["pack", "-f", "-", "-o", "new"][..], &original),
        (binary(), &["unpack", "-f", "-", "-o", "new"], &packed),
        (ringzstd, &["-f", "-", "-", "-o", "new"], &original),
    ] {
        let (reading, writing) = std::io::pipe().unwrap();
        let reading = OwnedFd::from(reading);
        unblock(&reading);
        let empty = reading.try_clone().unwrap();
        let mut command = Command::new(&program);
        command.args(args).current_dir(folder.path()).stdin(reading).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        drop(command);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut writing = writing;
                for piece in input.chunks(50_000) {
                    // Each piece comes when what came before has been read.
                    until("the pipe is empty", || !has_input(&empty));
                    writing.write_all(piece).unwrap();
                }
            });
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{args:?}: {said}");
        });
        let mut found = fs::read(folder.path().join("new")).unwrap();
        if input.len() == original.len() {
            let args = ["-dcq", "new"];
            found = succeed(Command::new("zstd").args(args).current_dir(folder.path()));
        }
        assert_same(&found, &original, &format!("{args:?}"));
    }
}

/// What a pipe holds unless it is told otherwise.
const PIPE_BYTES: usize = 64 << 10;

fn noise(len: usize) -> Vec<u8> {
    let mut random = support::Random(7);
    (0..len / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

fn unblock(fd: &OwnedFd) {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

fn has_room(writing: &OwnedFd) -> bool {
    is_ready(writing, PollFlags::POLLOUT)
}

fn has_input(reading: &OwnedFd) -> bool {
    is_ready(reading, PollFlags::POLLIN)
}

fn is_ready(fd: &OwnedFd, events: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), events)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
}
