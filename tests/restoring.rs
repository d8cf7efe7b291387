//! Archives restored: who may do what with the result, what a killed run leaves, how much memory it
//! takes. What isn't a decision about safety is compared with GNU tar's result.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rustix::fs::{FlockOperation, flock};
use support::archive::{put, put_pax};
use support::codes::{EXISTS, FAILURE};
use support::mount::{FileSystem, Mount};
use support::processes::{Running, until};
use support::{
    binary, content, fail, has_tool, is_root, names, ringpack, run, run_with_input, skip, succeed,
};
use tar::EntryType;

const NOBODY: &str = "65534";
const FILE: EntryType = EntryType::Regular;
const FOLDER: EntryType = EntryType::Directory;
const SYMLINK: EntryType = EntryType::Symlink;
const LINK: EntryType = EntryType::Link;
const FIFO: EntryType = EntryType::Fifo;

/// A folder that everyone may use, with `in.tar`, and `in.zst` of it that came as a stream.
fn folder(archive: Vec<u8>) -> tempfile::TempDir {
    folder_in(&std::env::temp_dir(), archive)
}

fn folder_in(parent: &Path, mut archive: Vec<u8>) -> tempfile::TempDir {
    archive.extend([0; 1024]);
    let folder = tempfile::tempdir_in(parent).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut pack = ringpack(["pack", "-q", "-1", "-", "-o", "in.zst"]);
    assert!(run_with_input(pack.current_dir(folder.path()), &archive).status.success());
    fs::set_permissions(folder.path().join("in.zst"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(folder.path().join("in.tar"), archive).unwrap();
    folder
}

/// Runs a line in `folder`, as a user who isn't root where this one is. Programs of the folder are
/// on the path.
fn as_nobody(folder: &Path, line: &str) -> std::process::Output {
    // The one that is built may lie where only root can reach it.
    if !folder.join("ringpack").exists() {
        fs::copy(binary(), folder.join("ringpack")).unwrap();
    }
    let mut command = Command::new(if is_root() { "setpriv" } else { "env" });
    if is_root() {
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    }
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    command.args(["sh", "-c", line]).env("PATH", path).current_dir(folder).stdin(Stdio::null());
    run(&mut command)
}

/// Kind, permissions and time of all that is below.
fn described(root: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    find.arg(".").args(["-mindepth", "1", "-printf", "%p %M %T@ %n %l\n"]);
    let found = String::from_utf8(succeed(find.current_dir(root))).unwrap();
    let mut lines: Vec<String> = found.lines().map(Into::into).collect();
    lines.sort();
    lines
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Whether GNU tar and `setpriv` are here; says so where they aren't.
fn can_compare(test: &str) -> bool {
    let can = has_tool("tar") && (!is_root() || has_tool("setpriv"));
    if !can {
        skip(&format!("restoring::{test}"), "tar or setpriv is not installed");
    }
    can
}

#[test]
fn the_umask_is_applied_as_by_tar() {
    if !can_compare("the_umask_is_applied_as_by_tar") {
        return;
    }
    let mut archive = Vec::new();
    put(&mut archive, FOLDER, "d", "", 0o777, b"");
    put(&mut archive, FILE, "d/f", "", 0o666, b"x");
    put(&mut archive, FILE, "d/x", "", 0o755, b"x");
    put(&mut archive, FIFO, "d/p", "", 0o666, b"");
    put(&mut archive, FILE, "made/f", "", 0o640, b"x");
    put(&mut archive, FOLDER, "r", "", 0o555, b"");
    put(&mut archive, FILE, "r/f", "", 0o444, b"x");
    let folder = folder(archive);
    let at = |name: &str| folder.path().join(name);
    for umask in ["000", "022", "027", "077"] {
        for name in ["ours", "theirs"] {
            fs::create_dir(at(name)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let line = format!("umask {umask}; exec ringpack unpack -q -x in.zst -o ours");
        let output = as_nobody(folder.path(), &line);
        assert!(output.status.success(), "{umask}: {output:?}");
        let line = format!("umask {umask}; exec tar -C theirs -xf in.tar");
        let output = as_nobody(folder.path(), &line);
        assert!(output.status.success(), "{umask}: {output:?}");
        // A directory without an entry has the time at which it was made.
        let known = |root: &Path| {
            assert_eq!(mode(&at("ours/made")), mode(&at("theirs/made")), "{umask}");
            let lines = described(root).into_iter().filter(|line| !line.starts_with("./made "));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(known(&at("ours")), known(&at("theirs")), "{umask}");
        // Whoever asks for all permissions gets them.
        let line = format!(
            "umask {umask}; exec ringpack unpack -q -x -f --same-permissions in.zst -o ours"
        );
        let output = as_nobody(folder.path(), &line);
        assert!(output.status.success(), "{umask}: {output:?}");
        assert_eq!((mode(&at("ours/d")), mode(&at("ours/d/f"))), (0o777, 0o666), "{umask}");
        for name in ["ours", "theirs"] {
            succeed(Command::new("rm").arg("-rf").arg(at(name)));
        }
    }
    // Where the umask takes the owner's own rights, tar fails.
    let line = "umask 177; mkdir -m 777 ours; exec ringpack unpack -q -x in.zst -o ours";
    let output = as_nobody(folder.path(), line);
    assert!(output.status.success(), "{output:?}");
    for (name, expected) in [("d", 0o600), ("d/f", 0o600), ("d/x", 0o600), ("d/p", 0o600)] {
        assert_eq!(mode(&at("ours").join(name)), expected, "{name}");
    }
}

/// A new directory has the setgid bit of the one above it, and one that existed keeps its bits.
#[test]
fn bits_of_the_target_are_kept() {
    let mut archive = Vec::new();
    put(&mut archive, FOLDER, "new", "", 0o750, b"");
    put(&mut archive, FILE, "new/f", "", 0o640, b"x");
    put(&mut archive, FOLDER, "old", "", 0o700, b"");
    let folder = folder(archive);
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("out/old")).unwrap();
    fs::set_permissions(at("out"), fs::Permissions::from_mode(0o2755)).unwrap();
    fs::set_permissions(at("out/old"), fs::Permissions::from_mode(0o3777)).unwrap();
    let unpack = || {
        let mut command = ringpack(["unpack", "-q", "-x", "in.zst", "-o", "out"]);
        command.current_dir(folder.path());
        command
    };
    succeed(&mut unpack());
    assert_eq!((mode(&at("out/new")), mode(&at("out/old"))), (0o2750, 0o3777));
    succeed(unpack().arg("-f"));
    assert_eq!((mode(&at("out/new")), mode(&at("out/old"))), (0o2750, 0o3700));
    succeed(unpack().args(["-f", "--same-permissions"]));
    assert_eq!((mode(&at("out/new")), mode(&at("out/old"))), (0o750, 0o700));
}

/// What the target can't take is said; all else is restored.
#[test]
fn an_attribute_that_cannot_be_set_ends_nothing() {
    let test = "restoring::an_attribute_that_cannot_be_set_ends_nothing";
    let Some(mount) = Mount::new(test, FileSystem::Ext4, 16) else { return };
    let mut archive = Vec::new();
    put(&mut archive, FILE, "a", "", 0o644, b"first");
    let big = vec![b'v'; 20_000];
    for (kind, name) in [(FILE, "f"), (FOLDER, "d")] {
        put_pax(&mut archive, &[("SCHILY.xattr.user.big", &big), ("SCHILY.xattr.user.ok", b"1")]);
        put(&mut archive, kind, name, "", 0o755, b"");
    }
    put(&mut archive, FILE, "z", "", 0o644, b"last");
    let folder = folder(archive);
    let out = mount.path().join("out");
    let mut unpack = ringpack(["unpack", "-x", "in.zst", "-o"]);
    let output = run(unpack.arg(&out).current_dir(folder.path()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("user.big").count(), 2, "{said}");
    assert_eq!(names(&out), ["a", "d", "f", "z"]);
    for name in ["f", "d"] {
        let mut value = [0; 8];
        let len = rustix::fs::lgetxattr(out.join(name), "user.ok", &mut value).unwrap();
        assert_eq!(&value[..len], b"1", "{name}");
    }
    // An owner that isn't restored, though that was asked for, is no success.
    if has_tool("setpriv") && is_root() {
        let line = "ringpack unpack -x --same-owner in.zst -o mine";
        let output = as_nobody(folder.path(), line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(FAILURE), "{said}");
        assert!(said.contains("cannot set the owner"), "{said}");
        assert_eq!(names(&folder.path().join("mine")), ["a", "d", "f", "z"]);
    }
}

#[test]
fn hard_links_to_any_kind_by_any_spelling() {
    if !can_compare("hard_links_to_any_kind_by_any_spelling") {
        return;
    }
    let mut archive = Vec::new();
    put(&mut archive, FILE, "./d/a", "", 0o644, b"one");
    for (name, link) in [("b", "d/a"), ("c", "./d/a"), ("e", "d//a"), ("g", "d/./a")] {
        put(&mut archive, LINK, &format!("d/{name}"), link, 0o644, b"");
    }
    put(&mut archive, LINK, "d/a", "d/a", 0o644, b"");
    put(&mut archive, LINK, "d/last", "/d/a", 0o644, b"");
    put(&mut archive, SYMLINK, "s", "nowhere", 0o777, b"");
    put(&mut archive, LINK, "s2", "./s", 0o777, b"");
    put(&mut archive, FIFO, "p", "", 0o600, b"");
    put(&mut archive, LINK, "p2", "p", 0o600, b"");
    let folder = folder(archive);
    fs::create_dir(folder.path().join("theirs")).unwrap();
    let mut tar = Command::new("tar");
    succeed(tar.args(["-C", "theirs", "-xf", "in.tar"]).current_dir(folder.path()));
    let unpack = ["unpack", "-q", "-x", "in.zst", "-o", "ours"];
    let theirs = described(&folder.path().join("theirs"));
    let theirs: Vec<_> = theirs.iter().filter(|line| !line.starts_with("./d ")).collect();
    for options in [&[][..], &["-f"]] {
        succeed(ringpack(unpack).args(options).current_dir(folder.path()));
        let ours = described(&folder.path().join("ours"));
        let ours: Vec<_> = ours.iter().filter(|line| !line.starts_with("./d ")).collect();
        assert_eq!(ours, theirs, "{options:?}");
    }
    // By name, a link brings its file along, however it is spelled.
    let only = ["unpack", "-q", "--member", "d/[ceg]", "in.zst", "-o", "some"];
    succeed(ringpack(only).current_dir(folder.path()));
    assert_eq!(names(&folder.path().join("some/d")), ["c", "e", "g"]);
    let some = |name: &str| fs::metadata(folder.path().join("some/d").join(name)).unwrap();
    assert_eq!((some("c").nlink(), some("e").ino()), (3, some("g").ino()));
    assert_eq!(fs::read(folder.path().join("some/d/g")).unwrap(), b"one");
    let cat = succeed(ringpack(["cat", "in.zst", "d/g"]).current_dir(folder.path()));
    assert_eq!(cat, b"one");
}

/// Entries of directories after what is in them, and more than once: the last one counts.
#[test]
fn a_directorys_last_entry_counts_wherever_it_stands() {
    let mut archive = Vec::new();
    put(&mut archive, FILE, "late/in/f", "", 0o600, b"x");
    put(&mut archive, FOLDER, "late/in", "", 0o710, b"");
    put(&mut archive, FOLDER, "late", "", 0o750, b"");
    put(&mut archive, FOLDER, "twice", "", 0o700, b"");
    put(&mut archive, FILE, "twice/f", "", 0o600, b"x");
    put(&mut archive, FOLDER, "other", "", 0o500, b"");
    put(&mut archive, FOLDER, "twice", "", 0o555, b"");
    // What comes later still leaves permissions and times as they are.
    put(&mut archive, FILE, "other/g", "", 0o600, b"x");
    put(&mut archive, FILE, "twice/g", "", 0o600, b"x");
    put(&mut archive, FILE, "late/in/g", "", 0o600, b"x");
    let folder = folder(archive);
    if is_root() && !has_tool("setpriv") {
        skip("restoring::a_directorys_last_entry", "setpriv is not installed");
        return;
    }
    let output = as_nobody(folder.path(), "umask 0; ringpack unpack -x in.zst -o out");
    assert!(output.status.success(), "{output:?}");
    for (name, expected) in
        [("late", 0o750), ("late/in", 0o710), ("twice", 0o555), ("other", 0o500)]
    {
        let found = fs::metadata(folder.path().join("out").join(name)).unwrap();
        let found = (found.mode() & 0o7777, found.mtime(), found.nlink());
        assert_eq!((found.0, found.1), (expected, 1_000_000_000), "{name}");
    }
    for name in ["late/in", "twice"] {
        assert_eq!(names(&folder.path().join("out").join(name)), ["f", "g"]);
    }
    // A directory that the archive didn't make stays as it is, unless it is to be replaced.
    fs::create_dir_all(folder.path().join("mine/late")).unwrap();
    fs::set_permissions(folder.path().join("mine/late"), fs::Permissions::from_mode(0o777))
        .unwrap();
    let unpack = ["unpack", "-q", "-x", "in.zst", "-o", "mine"];
    succeed(ringpack(unpack).current_dir(folder.path()));
    assert_eq!(mode(&folder.path().join("mine/late")), 0o777);
    assert_eq!(mode(&folder.path().join("mine/late/in")), 0o710);
}

/// Deeper than the process may have files open.
#[test]
fn a_tree_deeper_than_open_files() {
    if !can_compare("a_tree_deeper_than_open_files") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let line = "mkdir src ours theirs; d=src; for i in $(seq 900); do d=$d/n; done; mkdir -p $d; \
                echo leaf > $d/leaf; chmod 750 src/n/n; touch -d @1000000000 src/n/n/n src/n/n; \
                tar -C src -cf - n > in.tar; tar -C theirs -xpf in.tar";
    succeed(Command::new("sh").args(["-c", line]).current_dir(folder.path()));
    let archive = fs::read(folder.path().join("in.tar")).unwrap();
    let mut pack = ringpack(["pack", "-q", "-", "-o", "in.zst"]);
    assert!(run_with_input(pack.current_dir(folder.path()), &archive).status.success());
    let line = format!(
        "ulimit -n 48; exec {} unpack -q -x --same-permissions in.zst -o ours",
        binary().display()
    );
    succeed(Command::new("sh").args(["-c", &line]).current_dir(folder.path()));
    let at = |name: &str| described(&folder.path().join(name));
    assert_eq!(at("ours"), at("theirs"));
    // Two deep branches in turns: each is left and entered again.
    let mut archive = Vec::new();
    let deep = |branch: &str| format!("{branch}/{}", "n/".repeat(40));
    for number in 0..20 {
        for branch in ["a", "b"] {
            put(&mut archive, FILE, &format!("{}{number}", deep(branch)), "", 0o644, b"x");
        }
    }
    archive.extend([0; 1024]);
    let mut pack = ringpack(["pack", "-q", "-f", "-", "-o", "in.zst"]);
    assert!(run_with_input(pack.current_dir(folder.path()), &archive).status.success());
    succeed(Command::new("sh").args(["-c", &line]).current_dir(folder.path()));
    for branch in ["a", "b"] {
        assert_eq!(names(&folder.path().join("ours").join(deep(branch))).len(), 20);
    }
}

/// Names as long as the file system takes, of every kind, made and replaced.
#[test]
fn names_as_long_as_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let src = folder.path().join("src");
    fs::create_dir_all(src.join("d".repeat(255))).unwrap();
    fs::write(src.join("f".repeat(255)), b"x").unwrap();
    fs::hard_link(src.join("f".repeat(255)), src.join("h".repeat(255))).unwrap();
    symlink("x", src.join("s".repeat(255))).unwrap();
    nix::unistd::mkfifo(&src.join("p".repeat(255)), nix::sys::stat::Mode::S_IRWXU).unwrap();
    succeed(ringpack(["pack", "-q", "src", "-o", "in.zst"]).current_dir(folder.path()));
    for options in [&[][..], &["-f"], &["-f"]] {
        let unpack = ["unpack", "-q", "-x", "in.zst", "-o", "out"];
        succeed(ringpack(unpack).args(options).current_dir(folder.path()));
        assert_eq!(described(&folder.path().join("out/src")), described(&src), "{options:?}");
    }
    // What is longer than any call takes is left out, and all else is restored.
    let mut archive = Vec::new();
    let long = format!("{}name", "./".repeat(4000));
    put_pax(&mut archive, &[("path", long.as_bytes())]);
    put(&mut archive, FILE, "x", "", 0o644, b"x");
    put_pax(&mut archive, &[("linkpath", long.as_bytes())]);
    put(&mut archive, SYMLINK, "y", "", 0o644, b"");
    put(&mut archive, FILE, "z", "", 0o644, b"x");
    let folder = self::folder(archive);
    let unpack = ["unpack", "-x", "in.zst", "-o", "out"];
    let said = fail(ringpack(unpack).current_dir(folder.path()), FAILURE);
    assert!(said.contains("more than 4,095 bytes") && said.len() < 2000, "{said}");
    assert_eq!(names(&folder.path().join("out")), ["z"]);
}

fn strays(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| name.ends_with(".ringpack-partial")).collect()
}

/// A killed run leaves what it was writing; the next one removes it, and nothing else.
#[test]
fn what_a_killed_run_left_is_removed() {
    let mut archive = Vec::new();
    put(&mut archive, FOLDER, "d", "", 0o755, b"");
    put(&mut archive, FILE, "d/big", "", 0o644, &content(96 << 20, 1));
    let folder = folder(archive);
    let inner = folder.path().join("out/d");
    fs::create_dir_all(&inner).unwrap();
    let unpack = || {
        let mut command = ringpack(["unpack", "-q", "-x", "in.zst", "-o", "out"]);
        command.current_dir(folder.path());
        command
    };
    // One that lives, in the way that another process's does.
    let live = ".1-1.ringpack-partial";
    let held = fs::File::create(inner.join(live)).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let foreign = [".1-x.ringpack-partial", "mine.ringpack-partial"];
    foreign.iter().for_each(|name| fs::write(inner.join(name), b"").unwrap());
    let mut running = Running::start(&mut unpack());
    until("it writes", || strays(&inner).len() == 4);
    running.signal(Signal::SIGKILL);
    drop(running.end());
    let left = strays(&inner);
    assert_eq!(left.len(), 4, "{left:?}");
    // A directory of its own, as one is made for what can't be locked.
    fs::create_dir(inner.join(".7-7.ringpack-partial")).unwrap();
    symlink("x", inner.join(".7-7.ringpack-partial/staged")).unwrap();
    // `clean` looks below only if that is asked for.
    let clean = |args: &[&str]| {
        let output = succeed(ringpack(["clean"]).args(args).current_dir(folder.path()));
        String::from_utf8(output).unwrap()
    };
    assert_eq!(clean(&["out"]), "");
    let said = clean(&["-n", "-r", "out"]);
    assert_eq!(said.matches("would remove").count(), 4, "{said}");
    assert!(said.contains(&format!("in use, kept: out/d/{live}")), "{said}");
    assert_eq!(strays(&inner).len(), 5);
    succeed(&mut unpack());
    let mut expected = vec![live];
    expected.extend(foreign);
    assert_eq!(strays(&inner), expected);
    assert_eq!(fs::metadata(inner.join("big")).unwrap().len(), 96 << 20);
    let said = clean(&["-r", "out"]);
    assert_eq!(said.matches("removed").count(), 2, "{said}");
    assert_eq!(strays(&inner), [live]);
}

/// A restore that replaces what exists takes a directory over by its entry, and looks in it too.
#[test]
fn what_a_killed_run_left_is_removed_by_one_that_replaces() {
    let mut archive = Vec::new();
    put(&mut archive, FOLDER, "by-entry", "", 0o755, b"");
    put(&mut archive, FILE, "by-entry/file", "", 0o644, b"1");
    put(&mut archive, FILE, "by-member/file", "", 0o644, b"2");
    let folder = folder(archive);
    for args in [&[][..], &["-f"]] {
        let inner = ["", "by-entry", "by-member"].map(|name| folder.path().join("out").join(name));
        for inner in &inner {
            fs::create_dir_all(inner).unwrap();
            fs::write(inner.join(".7-1.ringpack-partial"), b"stale").unwrap();
        }
        let mut unpack = ringpack(["unpack", "-q", "-x", "in.zst", "-o", "out"]);
        succeed(unpack.args(args).current_dir(folder.path()));
        for inner in &inner {
            assert_eq!(strays(inner), [""; 0], "{args:?}, {}", inner.display());
        }
        fs::remove_dir_all(folder.path().join("out")).unwrap();
    }
}

/// Peak of one run, in KiB, as seen by a process that has no other child.
fn peak(folder: &Path, line: &str) -> i64 {
    let script = "import os,resource,subprocess,sys\n\
                  code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n\
                  print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(binary()).args(line.split(' ')).current_dir(folder);
    let said = String::from_utf8(succeed(&mut command)).unwrap();
    let mut numbers = said.split_whitespace().map(|it| it.parse::<i64>().unwrap());
    let code = numbers.next().unwrap();
    assert!([0, i64::from(EXISTS)].contains(&code), "{line}: {code}");
    numbers.next().unwrap()
}

/// A member costs a few bytes of memory, whatever its name and attributes are.
#[test]
fn memory_is_bounded_by_the_number_of_members() {
    if !has_tool("python3") {
        return skip("restoring::memory_is_bounded", "python3 is not installed");
    }
    let of = |count: usize, kind: EntryType| {
        let mut archive = Vec::new();
        let value = vec![b'a'; 400];
        for number in 0..count {
            let path = format!("{}/{number:06}", "n".repeat(200));
            let key = ("SCHILY.xattr.trusted.x", value.as_slice());
            put_pax(&mut archive, &[("path", path.as_bytes()), key]);
            put(&mut archive, kind, "x", if kind == SYMLINK { "y" } else { "" }, 0o755, b"");
        }
        // In memory, where the end of a restore waits for no disk.
        folder_in(Path::new("/dev/shm"), archive)
    };
    const COUNT: usize = 8_000;
    for kind in [SYMLINK, FOLDER] {
        let (one, many) = (of(10, kind), of(COUNT, kind));
        for line in [
            "ls in.zst",
            "unpack -x in.zst -o out",
            "unpack -x in.zst -o out",
            "unpack -f --member n* in.zst -o some",
        ] {
            let (base, found) = (peak(one.path(), line), peak(many.path(), line));
            // 48 bytes a member, and what differs from run to run.
            let most = base + (COUNT as i64 * 48) / 1024 + 3000;
            assert!(found <= most, "{line}: {found} KiB for {COUNT}, {base} for ten");
        }
    }
}
