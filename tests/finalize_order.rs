//! The order of finalize's system calls, as golden files, and what happens where one of them fails.
//!
//! A crash test finds an order that is wrong only if the crash hits the gap; here the order itself
//! is compared with what ARCHITECTURE.md says of it: data, then index, header and table, length,
//! attributes, one fsync, rename that replaces nothing, fsync of the directory. The attributes come
//! after the last write, which would undo the time. What only looks (`O_PATH`) and what allocates
//! ahead of the writes is left out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ringpack::Cancel;
use ringpack::format::header::PlacementKind;
use ringpack::pack::{Codec, Input, Output, PackOptions, pack_scheduled};
use ringpack::pipeline::{IoMode, Schedule};
use ringpack::ring::sim::{SimDisk, SimOptions};
use support::{backends, binary, content, has_tool, names, ringpack, run, skip, succeed};

const CALLS: &str = "io_uring_enter,openat,flock,fallocate,ftruncate,pwrite64,fsync,fdatasync,\
                     fchmod,fchown,utimensat,renameat2,rename,renameat,unlinkat";
const PARTIAL: &str = "out.ringpack-partial";
const RING: &str = "io_uring_enter, as often as there were batches";

/// Four chunks of 64 KiB, the last one short: one dense extent, or four slots.
fn input() -> Vec<u8> {
    let mut bytes = content(200_000, 11);
    // No hole at the end for unpacking to make.
    bytes[199_999] = 1;
    bytes
}

/// A folder with `in` in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    fs::write(&path, input()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    folder
}

/// The program under strace, in `folder`; calls are noted in its file `trace`.
fn traced(folder: &Path, args: &str, more: &[String]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "0", "-o", "trace"]).args(more);
    command.arg(binary()).args(args.split(' ')).current_dir(folder);
    command.stdin(std::process::Stdio::null());
    command
}

fn has_strace(test: &str) -> bool {
    if !has_tool("strace") {
        skip(test, "strace is not installed");
        return false;
    }
    // A container may forbid ptrace.
    let works = run(Command::new("strace").args(["-o", "/dev/null", "true"])).status.success();
    if !works {
        skip(test, "strace is refused");
    }
    works
}

fn has_uring(test: &str) -> bool {
    backends(test).contains(&"uring")
}

/// The calls on target, partial file and folder in the order in which they returned, without what
/// differs from run to run.
fn normalised(trace: &str, folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap();
    let folder = folder.to_str().unwrap();
    let mut unfinished = std::collections::HashMap::new();
    let mut calls: Vec<String> = Vec::new();
    for line in trace.lines() {
        let (pid, line) = line.split_once(' ').expect("a pid in front");
        let line = line.trim_start();
        if let Some((start, _)) = line.split_once(" <unfinished ...>") {
            unfinished.insert(pid, start.to_owned());
            continue;
        }
        let line = match line.split_once(" resumed>") {
            Some((_, rest)) => unfinished.remove(pid).expect("it was begun") + rest,
            None => line.to_owned(),
        };
        let Some((call, result)) = line.rsplit_once(" = ") else {
            continue;
        };
        let call = call.trim_end();
        if call.starts_with("io_uring_enter") {
            if calls.last().is_none_or(|last| last != RING) {
                calls.push(RING.to_owned());
            }
            continue;
        }
        let is_ours = call.contains(&format!("<{folder}")) && !call.contains("/in>");
        // AT_FDCWD: libraries and the input.
        let looks = ["O_PATH", "AT_FDCWD"];
        let only_looks = looks.iter().any(|flag| call.contains(flag));
        if !is_ours || only_looks {
            continue;
        }
        if call.starts_with("fallocate") && call.contains(">, 0, ") {
            continue;
        }
        let failed = if result.starts_with("-1") { format!(" = {result}") } else { String::new() };
        calls.push(normalised_call(call, folder) + &failed);
    }
    calls
}

fn normalised_call(call: &str, folder: &str) -> String {
    let (name, args) = call.split_once('(').expect("a call has arguments");
    let args = args.trim_end_matches(')').replace("\"\"..., ", "");
    let args = args
        .split(", ")
        .map(|arg| match arg {
            "\"out\"" => "<target>".to_owned(),
            arg if arg == format!("\"{PARTIAL}\"") => "<partial>".to_owned(),
            arg if arg.ends_with(&format!("<{folder}>")) => "<dir>".to_owned(),
            arg if arg.ends_with(&format!("<{folder}/{PARTIAL}>")) => "<partial>".to_owned(),
            arg => arg.to_owned(),
        })
        .collect::<Vec<_>>();
    // Owner and time are the input's.
    if name == "renameat2" && args.last().is_some_and(|flags| flags == "0") {
        // Which of the two a libc calls where no flag is given is its own affair.
        return format!("renameat({})", args[..4].join(", "));
    }
    let shown = if name == "fchown" || name == "utimensat" { 1 } else { args.len() };
    format!("{name}({})", args[..shown].join(", "))
}

fn golden(name: &str) -> String {
    let path = format!("{}/golden/finalize-{name}.txt", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compare(name: &str, calls: &[String]) {
    let (found, golden) = (calls.join("\n") + "\n", golden(name));
    assert!(found == golden, "{name}: expected\n{golden}\nfound\n{found}");
}

fn check(name: &str, folder: &Path, args: &str) {
    succeed(&mut traced(folder, args, &["-e".to_owned(), format!("trace={CALLS}")]));
    let trace = fs::read_to_string(folder.join("trace")).unwrap();
    compare(name, &normalised(&trace, folder));
}

const DENSE: &str = "pack in -o out --store --chunk-size 64K -T1";
const SLOTS: &str = "pack in -o out --store --chunk-size 64K -T1 --placement slots";

#[test]
fn packing_without_the_ring() {
    if !has_strace("packing_without_the_ring") {
        return;
    }
    check("pwrite-dense", folder().path(), &format!("{DENSE} --io pwrite"));
    check("pwrite-slots", folder().path(), &format!("{SLOTS} --io pwrite"));
    // As without it, but for the flag of the rename.
    let folder = folder();
    fs::write(folder.path().join("out"), "old").unwrap();
    check("pwrite-replace", folder.path(), &format!("{DENSE} --io pwrite -f"));
}

#[test]
fn packing_with_the_ring() {
    let test = "packing_with_the_ring";
    if !has_strace(test) || !has_uring(test) {
        return;
    }
    check("uring-dense", folder().path(), &format!("{DENSE} --io uring"));
    check("uring-slots", folder().path(), &format!("{SLOTS} --io uring"));
}

#[test]
fn unpacking() {
    if !has_strace("unpacking") {
        return;
    }
    let folder = folder();
    let to_packed = "pack in -o packed --store --chunk-size 64K";
    succeed(ringpack(to_packed.split(' ')).current_dir(folder.path()));
    check("unpack", folder.path(), "unpack packed -o out -T1 --io pwrite");
}

#[test]
fn on_the_simulated_disk() {
    for (name, placement) in
        [("simulator-dense", PlacementKind::Dense), ("simulator-slots", PlacementKind::Slots)]
    {
        let disk = SimDisk::new(1, SimOptions::default());
        disk.write_file("/in", &input());
        let options = PackOptions {
            codec: Codec::Store,
            chunk_log2: Some(16),
            placement,
            io: IoMode::Sim,
            ..PackOptions::default()
        };
        let (from, to) = (Input::Path("/in".into()), Output::Path("/out".into()));
        let schedule = Schedule::Inline(1);
        pack_scheduled(&disk, from, to, &options, &Cancel::new(), &schedule).unwrap();
        let calls: Vec<String> = disk
            .trace()
            .iter()
            .map(|call| {
                let words = call.split(' ').map(|word| match word {
                    "out" => "<target>",
                    PARTIAL => "<partial>",
                    "/" => "<dir>",
                    word => word,
                });
                words.collect::<Vec<_>>().join(" ")
            })
            .collect();
        compare(name, &calls);
    }
}

/// What becomes of the partial file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Partial {
    Removed,
    /// It is complete, and stays under its name.
    Kept,
    Published,
}

/// Calls that fail, by name and number, and what becomes of the partial file.
const FAILURES: [(&str, u32, Partial); 8] = [
    // An extent; the tail, on another thread, would be the first there too.
    ("pwrite64", 1, Partial::Removed),
    ("ftruncate", 1, Partial::Removed),
    ("fsync", 1, Partial::Removed),
    ("fchmod", 1, Partial::Removed),
    ("utimensat", 1, Partial::Removed),
    ("renameat,renameat2", 1, Partial::Kept),
    // The directory's: the name is given by then.
    ("fsync", 2, Partial::Published),
    ("flock", 1, Partial::Removed),
];

#[test]
fn each_call_that_fails() {
    if !has_strace("each_call_that_fails") {
        return;
    }
    for (call, nth, fate) in FAILURES {
        for old in [None, Some("old")] {
            let what = format!("{call} {nth}, target {old:?}");
            let folder = folder();
            let target = folder.path().join("out");
            if let Some(old) = old {
                fs::write(&target, old).unwrap();
            }
            let args = format!("{DENSE} --io pwrite{}", if old.is_some() { " -f" } else { "" });
            let more = [
                "-e".to_owned(),
                format!("trace={CALLS}"),
                "-e".to_owned(),
                format!("inject={call}:error=EIO:when={nth}"),
            ];
            let output = run(&mut traced(folder.path(), &args, &more));
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(8), "{what}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
            assert!(stderr.contains("out: "), "{what}: {stderr}");
            let trace = fs::read_to_string(folder.path().join("trace")).unwrap();
            let calls = normalised(&trace, folder.path());
            let failed = calls.iter().position(|call| call.contains("= -1 EIO"));
            let failed = failed.unwrap_or_else(|| panic!("{what}: nothing failed: {calls:#?}"));
            // Nothing follows but the removal of the partial file.
            let after: Vec<_> = calls[failed + 1..].iter().map(String::as_str).collect();
            let removal = ["unlinkat(<dir>, <partial>, 0)"];
            assert_eq!(after, &removal[..usize::from(fate == Partial::Removed)], "{what}");
            let finished = match fate {
                Partial::Removed => None,
                Partial::Kept => Some(folder.path().join(PARTIAL)),
                Partial::Published => Some(target.clone()),
            };
            if let Some(finished) = finished {
                assert_eq!(fs::metadata(finished).unwrap().len(), 200_533, "{what}");
            }
            if fate != Partial::Published {
                assert_eq!(fs::read_to_string(&target).ok().as_deref(), old, "{what}");
            }
            let is_there = names(folder.path()).iter().any(|name| name == PARTIAL);
            assert_eq!(is_there, fate == Partial::Kept, "{what}");
        }
    }
}

/// The number that stands after `what` in a report.
fn number_after(report: &str, what: &str) -> u64 {
    let (_, after) = report.split_once(what).unwrap_or_else(|| panic!("{what:?} in {report}"));
    let number: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
    number.parse().unwrap_or_else(|_| panic!("a number after {what:?} in {report}"))
}

/// One system call a batch, never one an operation on top of it.
#[test]
fn one_system_call_a_batch() {
    let test = "one_system_call_a_batch";
    if !has_strace(test) || !has_uring(test) {
        return;
    }
    let folder = folder();
    fs::write(folder.path().join("in"), content(24 << 20, 12)).unwrap();
    for args in ["", " --placement slots", " --no-direct"] {
        let args = format!("pack in -o out --store --io uring -v -f{args}");
        let count = ["-c", "-e", "trace=io_uring_enter"].map(str::to_owned);
        let output = run(&mut traced(folder.path(), &args, &count));
        let report = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args}: {report}");
        let trace = fs::read_to_string(folder.path().join("trace")).unwrap();
        let line = trace.lines().find(|line| line.ends_with("io_uring_enter"));
        let line = line.unwrap_or_else(|| panic!("{args}: no ring was used: {trace}"));
        let calls: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
        let operations = number_after(&report, "operations ");
        assert!(operations >= 12, "{args}: an extent is read and written: {report}");
        assert!(calls <= operations, "{args}: {calls} calls, {report}");
        assert_eq!(calls, number_after(&report, "system calls "), "{args}: {report}");
        assert!(number_after(&report, "batches ") <= calls, "{args}: {report}");
    }
}

#[test]
fn kernel_workers_are_reported() {
    let test = "kernel_workers_are_reported";
    let Some(mount) = support::mount::Mount::new(test, support::mount::FileSystem::Ext4, 256)
    else {
        return;
    };
    if !has_uring(test) {
        return;
    }
    let input = mount.path().join("in");
    fs::write(&input, content(64 << 20, 13)).unwrap();
    let mut command = ringpack(["pack", "--store", "--io", "uring", "-v"]);
    let output = run(command.arg(&input));
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("output direct"), "{report}");
    // How many is the file system's affair: a write over two extents of it is punted.
    assert!(number_after(&report, "kernel workers ") < 1000, "{report}");
}
