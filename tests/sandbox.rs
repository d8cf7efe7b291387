//! Confinement: a command that reads what others wrote can reach its inputs and its outputs'
//! folders, and nothing else, whatever becomes of their names meanwhile; and all ways of naming
//! them work.
//!
//! The names are changed while the command waits for a FIFO: it is confined by then, since it has
//! opened its first input.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use support::foreign::{PLAIN, frame};
use support::{assert_same, binary, content, ringpack, run, skip, succeed};

/// The input can't be read.
const INPUT: i32 = 3;

/// Whether the kernel has Landlock, as the doctor says; that it hasn't is said.
fn is_confined(test: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let report = run(ringpack(["doctor", "--json"]).arg(folder.path())).stdout;
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|it| it["subject"] == "confinement").unwrap();
    let is_there = finding["state"] == "ok";
    if !is_there {
        skip(test, "the kernel has no Landlock: nothing is confined");
    }
    is_there
}

fn fifo(folder: &Path, name: &str) {
    let path = folder.join(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

/// Runs a command whose first input is the FIFO `first.zst`; `meanwhile` happens once it is open.
fn run_while(
    command: &mut Command,
    folder: &Path,
    bytes: &[u8],
    meanwhile: impl FnOnce(u32),
) -> (Option<i32>, String) {
    let piped = command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = piped.spawn().unwrap();
    // Opened once the command has opened it too.
    let mut writer = File::options().write(true).open(folder.join("first.zst")).unwrap();
    meanwhile(child.id());
    writer.write_all(bytes).unwrap();
    drop(writer);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A folder with the FIFO and a plain file `second.zst`, and another with a secret one.
fn folders() -> (tempfile::TempDir, tempfile::TempDir, Vec<u8>) {
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fifo(here.path(), "first.zst");
    let bytes = frame(b"what is in it", PLAIN);
    fs::write(here.path().join("second.zst"), &bytes).unwrap();
    fs::write(elsewhere.path().join("second.zst"), &bytes).unwrap();
    (here, elsewhere, bytes)
}

#[test]
fn what_was_not_named_is_not_read() {
    if !is_confined("what_was_not_named_is_not_read") {
        return;
    }
    for off in [false, true] {
        let (here, elsewhere, bytes) = folders();
        let folder = here.path();
        let mut command = ringpack(["verify", "first.zst", "second.zst"]);
        if off {
            command.env("RINGPACK_SANDBOX", "off");
        }
        let (code, said) = run_while(&mut command, folder, &bytes, |_| {
            fs::remove_file(folder.join("second.zst")).unwrap();
            symlink(elsewhere.path().join("second.zst"), folder.join("second.zst")).unwrap();
        });
        // Without confinement, the link is followed: that is what the test would see.
        assert_eq!(code, Some(if off { 0 } else { INPUT }), "{said}");
        assert!(off || said.contains("Permission denied"), "{said}");
    }
}

#[test]
fn nothing_is_written_elsewhere() {
    if !is_confined("nothing_is_written_elsewhere") {
        return;
    }
    for off in [false, true] {
        let (here, elsewhere, bytes) = folders();
        let (folder, other) = (here.path(), elsewhere.path());
        fs::create_dir(folder.join("out")).unwrap();
        let args = ["-q", "-d", "--output-dir-flat=out", "first.zst", "second.zst"];
        let mut command = Command::new(binary());
        // Where a flag stands in the place of a command, zstd's are meant.
        command.args(args).stdin(Stdio::null()).arg0("ringpack");
        if off {
            command.env("RINGPACK_SANDBOX", "off");
        }
        let (code, said) = run_while(&mut command, folder, &bytes, |_| {
            fs::rename(folder.join("out"), folder.join("moved")).unwrap();
            symlink(other, folder.join("out")).unwrap();
        });
        assert_eq!(fs::exists(other.join("second")).unwrap(), off, "{said}");
        assert_eq!(code, Some(i32::from(!off)), "{said}");
        assert!(off || said.contains("Permission denied"), "{said}");
    }
}

/// The rights that a program gains by running another are given up, unless one is run.
#[test]
fn no_new_privileges_unless_a_program_is_run() {
    let has_given_up = |status: &str| {
        let line = status.lines().find(|line| line.starts_with("NoNewPrivs:")).unwrap();
        line.ends_with('1')
    };
    let (here, _elsewhere, bytes) = folders();
    let folder = here.path();
    for args in [&["verify", "first.zst"][..], &["pack", "-o", "out.zst", "first.zst"]] {
        let mut command = ringpack(args);
        let (code, said) = run_while(&mut command, folder, &bytes, |process| {
            for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
                let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
                assert!(has_given_up(&status), "{args:?}: {status}");
            }
        });
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
    let producer = ["pack", "-c", "--from-command", "--", "cat", "/proc/self/status"];
    let packed = succeed(&mut ringpack(producer));
    let status = support::run_with_input(&mut ringpack(["unpack", "-"]), &packed).stdout;
    assert!(!has_given_up(&String::from_utf8(status).unwrap()));
}

/// That it is in force is logged, and so is that it is turned off.
#[test]
fn the_log_says_whether_it_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f.zst"), frame(b"content", PLAIN)).unwrap();
    let logged = |value: &str| {
        let mut command = ringpack(["verify", "-vv", "f.zst"]);
        let output = run(command.env("RINGPACK_SANDBOX", value).current_dir(folder.path()));
        String::from_utf8(output.stderr).unwrap()
    };
    if is_confined("the_log_says_whether_it_is_in_force") {
        assert!(logged("").contains("Enforced by Landlock, version "), "{}", logged(""));
    }
    assert!(logged("off").contains("not confined: RINGPACK_SANDBOX=off"), "{}", logged("off"));
}

/// All ways in which inputs and outputs are named go on working.
#[test]
fn every_way_of_naming_works() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plain = content(300_000, 1);
    for name in ["a", "b", "c", "out", "maps", "metrics", "tmp"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::write(folder.join("a/f"), &plain).unwrap();
    fs::write(folder.join("a/tree.txt"), &plain).unwrap();
    succeed(ringpack(["pack", "-q", "a/f", "-o", "a/own.zst"]).current_dir(folder));
    succeed(ringpack(["pack", "-q", "a", "-o", "b/tree.tar.zst"]).current_dir(folder));
    fs::write(folder.join("b/other.zst"), frame(&plain, PLAIN)).unwrap();
    symlink("../a/own.zst", folder.join("c/link.zst")).unwrap();
    symlink("out", folder.join("out-link")).unwrap();
    // As a shell runs them, each with a folder of its own for what is written.
    let table = [
        "$R unpack a/own.zst -o out/1 && cmp a/f out/1",
        "$R unpack c/link.zst -o out-link/2 && cmp a/f out/2",
        "cd out && $R unpack ../b/other.zst -o 3 && cmp ../a/f 3",
        "$R unpack - -o out/4 < a/own.zst && cmp a/f out/4",
        "cat b/other.zst | $R unpack - -o out/5 && cmp a/f out/5",
        "$R unpack <(cat b/other.zst) -o out/6 && cmp a/f out/6",
        "$R unpack -c a/own.zst > out/7 && cmp a/f out/7",
        "$R unpack -c a/own.zst | cmp - a/f",
        "cat a/own.zst | $R unpack - | cmp - a/f",
        "$R cat a/own.zst > out/8 && cmp a/f out/8",
        "$R unpack /dev/stdin -o out/9 < a/own.zst && cmp a/f out/9",
        "$R verify a/own.zst b/other.zst c/link.zst",
        "$R verify - < a/own.zst",
        "$R verify --against a/f a/own.zst && $R verify --against a/f b/other.zst",
        "$R verify --against a b/tree.tar.zst",
        "$R verify --repair-map maps/1 a/own.zst && test -s maps/1",
        "$R verify --metrics-file metrics/1 a/own.zst && grep -q success metrics/1",
        "RINGPACK_METRICS_FILE=metrics/2 $R -t a/own.zst && grep -q success metrics/2",
        "$R salvage a/own.zst -o out/10 && cmp a/f out/10 && test -s out/10.map",
        "cp a/own.zst a/gone.zst && $R unpack -q --rm a/gone.zst -o out/11 && test ! -e a/gone.zst",
        "cp a/own.zst c/x.zst && cp b/other.zst c/y.zst && $R unpack c/x.zst c/y.zst && cmp a/f c/y",
        "$R unpack -x b/tree.tar.zst -o out/new/deep && cmp a/f out/new/deep/a/f",
        "$R unpack -x b/tree.tar.zst b/tree.tar.zst -f -o out/twice && cmp a/f out/twice/a/f",
        "cd out && mkdir here && cd here && $R unpack -x ../../b/tree.tar.zst && cmp ../../a/f a/f",
        "$R unpack --member 'a/*.txt' b/tree.tar.zst -o out/some && cmp a/f out/some/a/tree.txt",
        "$R cat b/tree.tar.zst a/f | cmp - a/f",
        "$R ls b/tree.tar.zst | grep -q a/f && $R info a/own.zst | grep -q dense",
        "$R -dc a/own.zst | cmp - a/f && $R -dc < a/own.zst | cmp - a/f",
        "$R -dq a/own.zst -o out/12 && cmp a/f out/12 && $R -l a/own.zst b/other.zst",
        "$R -dq --output-dir-flat=out b/other.zst && cmp a/f out/other",
        "cp b/other.zst c/z.zst && $R -dq --rm c/z.zst && cmp a/f c/z && test ! -e c/z.zst",
        "head -c 70M /dev/zero | zstd -q | $R unpack - | cmp -n 73400320 - /dev/zero",
        "exec 7<a/own.zst && $R unpack /dev/fd/7 -o out/13 && cmp a/f out/13",
    ];
    for line in table {
        let line = format!("set -e -o pipefail; {line}");
        let output = run(Command::new("bash")
            .args(["-c", &line])
            .env("R", binary())
            .env("TMPDIR", folder.join("tmp"))
            .stdin(Stdio::null())
            .current_dir(folder));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {}: {said}", output.status);
    }
    assert_same(&fs::read(folder.join("out/1")).unwrap(), &plain, "unpacked");
}
