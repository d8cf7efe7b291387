//! `ringpack doctor`: what it says of this system, of one that refuses things, and of folders that
//! can't be written; and that it leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::mount::{FileSystem, Mount};
use support::{backends, binary, fail, has_tool, is_root, names, ringpack, run, skip, succeed};

/// Runs the doctor by a wrapper and gives its code, its findings, and what it said.
fn examined(wrapper: &[&str], folder: &Path) -> (Option<i32>, Value, String) {
    let mut words: Vec<&Path> = wrapper.iter().map(Path::new).collect();
    let program = binary();
    words.extend([program.as_path(), Path::new("doctor"), Path::new("--json"), folder]);
    let output = run(Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|error| panic!("{wrapper:?}: {error}: {stderr}"));
    (output.status.code(), report, stderr)
}

fn finding<'a>(report: &'a Value, subject: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["subject"] == subject);
    found.unwrap_or_else(|| panic!("nothing of {subject}: {report}"))
}

/// That a subject is in a state, and the words that what was found and its remedy have.
fn check(report: &Value, subject: &str, state: &str, found: &str, remedy: &str) {
    let finding = finding(report, subject);
    assert_eq!(finding["state"], state, "{finding}");
    assert!(finding["found"].as_str().unwrap().contains(found), "{found}: {finding}");
    let is_well = state == "ok";
    for field in ["cost", "remedy"] {
        assert_eq!(finding[field].is_null(), is_well, "{finding}");
    }
    assert!(is_well || finding["remedy"].as_str().unwrap().contains(remedy), "{finding}");
}

#[test]
fn of_this_system_it_says_what_packing_shows() {
    let folder = tempfile::tempdir().unwrap();
    let (code, report, stderr) = examined(&["env"], folder.path());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(names(folder.path()).is_empty());
    let has_uring = backends("of_this_system_it_says_what_packing_shows").contains(&"uring");
    assert_eq!(finding(&report, "io_uring")["state"] == "ok", has_uring);
    fs::write(folder.path().join("in"), [7; 100_000]).unwrap();
    let packed = run(ringpack(["pack", "-v", "in"]).current_dir(folder.path()));
    let said = String::from_utf8(packed.stderr).unwrap();
    let is_direct = finding(&report, "direct I/O")["state"] == "ok";
    assert_eq!(said.contains("output direct"), is_direct, "{said}");
}

#[test]
fn people_get_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let stdout = succeed(ringpack(["doctor"]).arg(folder.path()));
    let text = String::from_utf8(stdout).unwrap();
    for word in ["kernel", "io_uring", "locked memory", "file system", "direct I/O", "locking"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let verdict = text.lines().last().unwrap();
    assert!(verdict.starts_with(folder.path().to_str().unwrap()), "{verdict}");
}

#[test]
fn each_file_system_is_named_and_left_as_it_was() {
    let test = "each_file_system_is_named_and_left_as_it_was";
    for kind in FileSystem::ALL {
        let mib = if kind == FileSystem::Xfs { 300 } else { 256 };
        let Some(mount) = Mount::new(test, kind, mib) else { continue };
        let before = names(mount.path());
        let (code, report, _) = examined(&["env"], mount.path());
        assert_eq!((code, names(mount.path())), (Some(0), before), "{}", kind.name());
        let found = finding(&report, "file system")["found"].as_str().unwrap();
        assert!(found.starts_with(kind.name()), "{found}");
        let direct = if kind.is_direct() { "ok" } else { "warning" };
        assert_eq!(finding(&report, "direct I/O")["state"], direct, "{report}");
        for subject in ["allocating ahead", "holes", "locking", "taken names", "syncing"] {
            assert_eq!(finding(&report, subject)["state"], "ok", "{}: {subject}", kind.name());
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written() {
    let test = "a_folder_that_cannot_be_written";
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let stderr = fail(ringpack(["doctor"]).arg(&missing), 8);
    assert!(stderr.contains("missing") && stderr.lines().count() == 1, "{stderr}");
    let Some(mount) = Mount::new(test, FileSystem::Ext4, 64) else { return };
    mount.remount("ro");
    let (code, report, _) = examined(&["env"], mount.path());
    assert_eq!((code, report["state"].as_str()), (Some(8), Some("fail")));
    check(&report, "directory", "fail", "Read-only", "mount it for writing");
    // What doesn't need the folder is told all the same.
    assert_ne!(finding(&report, "io_uring")["state"], "fail");
    let Some(mount) = Mount::new(test, FileSystem::Tmpfs, 1) else { return };
    let _ = fs::write(mount.path().join("ballast"), vec![1; 2 << 20]);
    let (code, report, _) = examined(&["env"], mount.path());
    assert_eq!((code, names(mount.path())), (Some(9), vec!["ballast".to_owned()]), "{report}");
    check(&report, "free space", "fail", "0 MiB", "free some space");
}

/// Runs its arguments where `io_uring_setup` ends with `EPERM` by a seccomp filter.
const FILTERED: &str = r#"
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06        # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
ALLOW, EPERM, SETUP = 0x7fff0000, 0x00050001, 425
rows = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, SETUP), (RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rows), ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2
if prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(SET_SECCOMP, FILTER, program, 0, 0):
    sys.exit(99)
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_seccomp_filter_is_named() {
    let test = "a_seccomp_filter_is_named";
    if !has_tool("python3") {
        return skip(test, "python3 is not installed");
    }
    if !backends(test).contains(&"uring") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper = ["python3", "-c", FILTERED];
    if run(Command::new("python3").args(["-c", FILTERED, "/bin/true"])).status.code() == Some(99) {
        return skip(test, "a seccomp filter can't be set here");
    }
    let (code, report, _) = examined(&wrapper, folder.path());
    assert_eq!((code, names(folder.path()).len()), (Some(0), 0), "{report}");
    check(&report, "io_uring", "warning", "a seccomp filter forbids it", "io_uring_setup");
    // The rest is tried all the same.
    assert_eq!(finding(&report, "locking")["state"], "ok");
}

#[test]
fn what_forbids_io_uring_is_told_apart() {
    let test = "what_forbids_io_uring_is_told_apart";
    let tools = ["strace", "unshare"];
    if let Some(tool) = tools.into_iter().find(|tool| !has_tool(tool)) {
        return skip(test, &format!("{tool} is not installed"));
    }
    if !run(Command::new("strace").args(["-o", "/dev/null", "true"])).status.success() {
        return skip(test, "strace is refused");
    }
    let folder = tempfile::tempdir().unwrap();
    let inject = |errno| format!("inject=io_uring_setup:error={errno}");
    let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=io_uring_setup", "-e"];
    for (errno, found, remedy) in [
        ("ENOSYS", "built without it", "CONFIG_IO_URING"),
        ("EACCES", "a security module may", "ausearch"),
        ("ENOMEM", "no locked memory left", "LimitMEMLOCK"),
    ] {
        let inject = inject(errno);
        let (code, report, _) = examined(&[&strace[..], &[&inject]].concat(), folder.path());
        assert_eq!(code, Some(0), "{report}");
        check(&report, "io_uring", "warning", found, remedy);
    }
    if !is_root() {
        return skip(test, "mounting a sysctl's double needs root");
    }
    // The sysctl is the whole system's: a namespace of mounts has another in its place.
    let value = folder.path().join("value");
    fs::write(&value, "2\n").unwrap();
    let script = format!(
        "mount --bind {} /proc/sys/kernel/io_uring_disabled && exec \"$@\"",
        value.display()
    );
    let inject = inject("EPERM");
    let wrapper = [&["unshare", "-m", "sh", "-c", &script, "sh"], &strace[..], &[&inject]].concat();
    if !run(Command::new("unshare").args(["-m", "true"])).status.success() {
        return skip(test, "namespaces of mounts are refused");
    }
    if !Path::new("/proc/sys/kernel/io_uring_disabled").exists() {
        return skip(test, "this kernel has no kernel.io_uring_disabled");
    }
    let (code, report, _) = examined(&wrapper, folder.path());
    assert_eq!(code, Some(0), "{report}");
    check(&report, "io_uring", "warning", "kernel.io_uring_disabled is 2", "io_uring_disabled=0");
}

#[test]
fn limits_are_told_with_their_remedy() {
    let test = "limits_are_told_with_their_remedy";
    if !has_tool("prlimit") {
        return skip(test, "prlimit is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    for (limit, subject, found, remedy) in [
        ("--nofile=12", "open files", "12 allowed", "LimitNOFILE="),
        ("--fsize=8000000", "length of files", "8000000 bytes", "LimitFSIZE="),
    ] {
        let (code, report, _) = examined(&["prlimit", limit], folder.path());
        assert_eq!((code, names(folder.path()).len()), (Some(0), 0), "{report}");
        check(&report, subject, "warning", found, remedy);
    }
    // Too short for what is tried: said, and survived.
    let (code, report, _) = examined(&["prlimit", "--fsize=0"], folder.path());
    assert!(code.is_some() && names(folder.path()).is_empty(), "{report}");
    check(&report, "length of files", "warning", "0 bytes", "LimitFSIZE=");
    if !is_root() || !has_tool("setpriv") {
        return skip(test, "becoming another user needs root and setpriv");
    }
    if !backends(test).contains(&"uring") {
        return;
    }
    // Root is exempt from the limit on locked memory. What is built may lie where only root may go.
    let place = tempfile::tempdir().unwrap();
    let anyone = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777));
    let program = place.path().join("ringpack");
    // By another process: a thread that forks meanwhile would keep the copy open for writing.
    succeed(Command::new("cp").arg(binary()).arg(&program));
    anyone(&program).unwrap();
    anyone(place.path()).unwrap();
    let examined = |folder: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args(["prlimit", "--memlock=65536"]).arg(&program).args(["doctor", "--json"]);
        let output = run(command.arg(folder));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report)
    };
    let (code, report) = examined(place.path());
    assert_eq!((code, names(place.path()).len()), (Some(0), 1), "{report}");
    check(&report, "locked memory", "warning", "0 MiB allowed", "LimitMEMLOCK=");
    let theirs = tempfile::tempdir_in(place.path()).unwrap();
    fs::set_permissions(theirs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, report) = examined(theirs.path());
    assert_eq!(code, Some(8), "{report}");
    check(&report, "directory", "fail", "Permission denied", "ReadWritePaths=");
}
