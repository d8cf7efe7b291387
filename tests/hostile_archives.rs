//! Archives that try to leave the directory they are restored in, or to give rights: each is
//! refused or restored harmlessly, and what lies outside stays as it was.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::inotify;
use support::archive::put;
use support::codes::{DAMAGED, INPUT, OUTPUT};
use support::mount::{FileSystem, Mount};
use support::processes::Running;
use support::{binary, fail, is_root, names, ringpack, run, run_with_input, skip, succeed};
use tar::{EntryType, Header};

const VICTIM: &[u8] = b"what must stay as it is";

/// A member: kind, path, link, mode, and bytes.
type Crafted<'a> = (EntryType, &'a str, &'a str, u32, &'a [u8]);

fn crafted(members: &[Crafted<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(kind, path, link, mode, content) in members {
        put(&mut bytes, kind, path, link, mode, content);
    }
    bytes.extend([0; 1024]);
    bytes
}

/// A folder with `victim` and `outside/`, a `target` to restore in, and `in.zst` of an archive.
fn folder(archive: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), archive);
    folder
}

fn fill(folder: &Path, archive: &[u8]) {
    let path = |name: &str| folder.join(name);
    fs::write(path("victim"), VICTIM).unwrap();
    fs::set_permissions(path("victim"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(path("outside")).unwrap();
    fs::create_dir(path("target")).unwrap();
    let mut pack = ringpack(["pack", "-", "-o", "in.zst"]);
    let packed = run_with_input(pack.current_dir(folder), archive);
    assert!(packed.status.success());
}

fn check_outside(folder: &Path, what: &str) {
    assert_eq!(fs::read(folder.join("victim")).unwrap(), VICTIM, "{what}");
    let victim = fs::metadata(folder.join("victim")).unwrap();
    assert_eq!((victim.mode() & 0o7777, victim.nlink()), (0o640, 1), "{what}");
    assert_eq!(names(&folder.join("outside")), [""; 0], "{what}");
    assert_eq!(names(folder), ["in.zst", "outside", "target", "victim"], "{what}");
}

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Link;
const SYMLINK: EntryType = EntryType::Symlink;
const FOLDER: EntryType = EntryType::Directory;

#[test]
fn paths_that_leave_the_target_are_refused() {
    let table: &[(&str, &[Crafted<'_>])] = &[
        ("a parent", &[(FILE, "../victim", "", 0o644, b"bad")]),
        ("a parent within", &[(FILE, "a/../../victim", "", 0o644, b"bad")]),
        ("a new file above", &[(FILE, "../outside/new", "", 0o644, b"bad")]),
        ("a folder above", &[(FOLDER, "../outside/new", "", 0o755, b"")]),
        ("a link above", &[(SYMLINK, "../outside/new", "x", 0o777, b"")]),
        ("an absolute name", &[(FILE, "/tmp/ringpack-hostile", "", 0o644, b"bad")]),
        (
            "through a link to a folder",
            &[(SYMLINK, "l", "../outside", 0o777, b""), (FILE, "l/new", "", 0o644, b"bad")],
        ),
        (
            "through a link to the parent",
            &[(SYMLINK, "l", "..", 0o777, b""), (FILE, "l/victim", "", 0o644, b"bad")],
        ),
        (
            "through two links",
            &[
                (FOLDER, "d", "", 0o755, b""),
                (SYMLINK, "d/l", "../..", 0o777, b""),
                (SYMLINK, "m", "d/l", 0o777, b""),
                (FILE, "m/victim", "", 0o644, b"bad"),
            ],
        ),
        (
            "a folder over a link",
            &[(SYMLINK, "l", "../outside", 0o777, b""), (FOLDER, "l", "", 0o700, b"")],
        ),
        ("a hard link above", &[(LINK, "h", "../victim", 0o644, b"")]),
        ("a hard link to an absolute name", &[(LINK, "h", "/etc/passwd", 0o644, b"")]),
        (
            "a hard link through a link",
            &[(SYMLINK, "l", "..", 0o777, b""), (LINK, "h", "l/victim", 0o644, b"")],
        ),
    ];
    for (what, members) in table {
        let folder = folder(&crafted(members));
        for options in [&["-x"][..], &["-f", "--same-permissions", "--member=*"]] {
            let what = format!("{what}, {options:?}");
            let mut unpack = ringpack(["unpack", "in.zst", "-o", "target"]);
            let said = fail(unpack.args(options).current_dir(folder.path()), OUTPUT);
            assert!(said.contains("target/"), "{what}: {said}");
            // The archive is at fault, not the target.
            assert!(said.contains("ringpack ls") && !said.contains("doctor"), "{what}: {said}");
            check_outside(folder.path(), &what);
            fs::remove_dir_all(folder.path().join("target")).unwrap();
            fs::create_dir(folder.path().join("target")).unwrap();
        }
    }
    assert!(!Path::new("/tmp/ringpack-hostile").exists());
}

/// A link's own target may be anything: it is never followed, and written over, not through.
#[test]
fn a_file_over_a_link_replaces_the_link() {
    let members =
        [(SYMLINK, "l", "../victim", 0o777, &b""[..]), (FILE, "l", "", 0o604, b"instead")];
    let folder = folder(&crafted(&members));
    let args = ["unpack", "-x", "-f", "in.zst", "-o", "target"];
    succeed(ringpack(args).current_dir(folder.path()));
    let found = folder.path().join("target/l");
    assert!(fs::symlink_metadata(&found).unwrap().is_file());
    assert_eq!(fs::read(found).unwrap(), b"instead");
    check_outside(folder.path(), "a file over a link");
}

/// So may that of a hard link to it: what has the name next replaces the link.
#[test]
fn a_file_over_a_hard_link_to_a_link_replaces_it() {
    let members = [
        (SYMLINK, "l", "../victim", 0o777, &b""[..]),
        (LINK, "h", "l", 0o644, b""),
        (FILE, "h", "", 0o644, b"instead"),
    ];
    let folder = folder(&crafted(&members));
    succeed(ringpack(["unpack", "-x", "in.zst", "-o", "target"]).current_dir(folder.path()));
    assert_eq!(fs::read(folder.path().join("target/h")).unwrap(), b"instead");
    check_outside(folder.path(), "a file over a hard link to a link");
}

/// Whoever may write to the target puts links in the place of what root makes there: FIFOs and
/// links, whose permissions and owners are set after they are made.
#[test]
fn names_swapped_for_links_change_nothing_else() {
    if !is_root() {
        return skip("hostile_archives::names_swapped", "owners need root");
    }
    let names: Vec<String> = (0..3000).map(|number| format!("f{number}")).collect();
    let members: Vec<Crafted<'_>> = names
        .iter()
        .enumerate()
        .map(|(number, name)| match number % 3 {
            0 => (SYMLINK, name.as_str(), "x", 0o777, &b""[..]),
            _ => (EntryType::Fifo, name.as_str(), "", 0o666, &b""[..]),
        })
        .collect();
    // In memory, where the end of a restore waits for no disk.
    let Some(mount) = Mount::new("hostile_archives::names_swapped", FileSystem::Tmpfs, 64) else {
        return;
    };
    let folder = tempfile::tempdir_in(mount.path()).unwrap();
    fill(folder.path(), &crafted(&members));
    let target = folder.path().join("target");
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK);
    let watch = watch.unwrap();
    inotify::add_watch(&watch, &target, inotify::WatchFlags::CREATE).unwrap();
    let args = ["unpack", "-q", "-x", "-f", "--same-permissions", "in.zst", "-o", "target"];
    // It may end with an error: who owns the directory can always disturb it.
    let mut rounds = 0;
    while rounds < 8 {
        rounds += 1;
        let mut running = Running::start(ringpack(args).current_dir(folder.path()));
        let mut buffer = [std::mem::MaybeUninit::uninit(); 16384];
        while running.child().try_wait().unwrap().is_none() {
            let mut events = inotify::Reader::new(&watch, &mut buffer);
            let mut last = None;
            while let Ok(event) = events.next() {
                last = event.file_name().map(ToOwned::to_owned);
                if events.is_buffer_empty() {
                    break;
                }
            }
            let Some(name) = last else { continue };
            let (name, aside) =
                (target.join(OsStr::from_bytes(name.to_bytes())), target.join("aside"));
            let _ = symlink("../victim", &aside);
            let _ = rustix::fs::renameat_with(
                rustix::fs::CWD,
                &aside,
                rustix::fs::CWD,
                &name,
                rustix::fs::RenameFlags::EXCHANGE,
            );
        }
        drop(running.end());
        check_outside(folder.path(), "names swapped");
        fs::remove_dir_all(&target).unwrap();
        fs::create_dir(&target).unwrap();
        inotify::add_watch(&watch, &target, inotify::WatchFlags::CREATE).unwrap();
    }
}

/// Matching takes time by a path's length, not by its square.
#[test]
fn long_paths_are_matched_in_linear_time() {
    let path = format!("{}z", "a/".repeat(32_000));
    let rest = path.len() + " path=\n".len();
    let record = format!("{} path={path}\n", rest + (rest + 5).to_string().len());
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(record.len() as u64);
    header.set_cksum();
    let mut long = header.as_bytes().to_vec();
    long.extend(record.bytes());
    long.resize(long.len().next_multiple_of(512), 0);
    long.extend(&crafted(&[(FILE, "x", "", 0o644, b"")])[..512]);
    let mut archive = long.repeat(800);
    archive.extend(crafted(&[(FILE, "found", "", 0o644, b"x")]));
    let folder = folder(&archive);
    let line = ["-c", "ulimit -t 8; exec \"$0\" ls -q in.zst '*b?c*' 'x*y*/z' found"];
    let mut command = Command::new("sh");
    let output = run(command.args(line).arg(binary()).current_dir(folder.path()));
    assert_eq!(output.stdout, b"found\n", "{output:?}");
}

/// Links that stand in the target before anything is restored.
#[test]
fn links_in_the_target_are_not_followed() {
    let file = crafted(&[(FILE, "d/new", "", 0o644, b"bad")]);
    let same = crafted(&[(FILE, "victim", "", 0o644, b"bad")]);
    let over = crafted(&[(FOLDER, "d", "", 0o700, b"")]);
    for (what, archive, name, link, code) in [
        ("a folder's name", &file, "d", "../outside", OUTPUT),
        ("a folder itself", &over, "d", "../outside", OUTPUT),
        ("a file's name", &same, "victim", "../victim", 0),
    ] {
        let folder = folder(archive);
        let at = folder.path().join("target").join(name);
        symlink(link, &at).unwrap();
        let args = ["unpack", "-x", "-f", "in.zst", "-o", "target"];
        let output = run(ringpack(args).current_dir(folder.path()));
        assert_eq!(output.status.code(), Some(code), "{what}");
        assert_eq!(fs::symlink_metadata(&at).unwrap().is_symlink(), code != 0, "{what}");
        check_outside(folder.path(), what);
    }
}

#[test]
fn no_rights_are_given() {
    let members = [
        (FILE, "setuid", "", 0o6755, &b"x"[..]),
        (FOLDER, "sticky", "", 0o3777, b""),
        (EntryType::Char, "null", "", 0o666, b""),
        (EntryType::Block, "disk", "", 0o666, b""),
    ];
    let folder = folder(&crafted(&members));
    let args = ["unpack", "-x", "in.zst", "-o", "target"];
    let mut unpack = Command::new("sh");
    unpack.args(["-c", "umask 027; exec \"$0\" \"$@\""]).arg(binary()).args(args);
    succeed(unpack.current_dir(folder.path()));
    let target = folder.path().join("target");
    assert_eq!(names(&target), ["setuid", "sticky"]);
    for (name, mode) in [("setuid", 0o750), ("sticky", 0o750)] {
        let found = fs::metadata(target.join(name)).unwrap();
        assert_eq!(found.mode() & 0o7777, mode, "{name}");
    }
    if !is_root() {
        return skip("hostile_archives::no_rights_are_given", "device nodes need root");
    }
    succeed(ringpack(args).args(["-f", "--devices"]).current_dir(folder.path()));
    assert_eq!(names(&target), ["disk", "null", "setuid", "sticky"]);
}

/// What no tar writes: each ends with an error, soon, in little memory.
#[test]
fn headers_that_make_no_sense_are_refused() {
    let header = |change: &dyn Fn(&mut Header)| {
        let mut bytes = crafted(&[(FILE, "a", "", 0o644, b"x")]);
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&bytes[..512]);
        change(&mut header);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        bytes
    };
    let long = |kind, len: u64| {
        let mut bytes = header(&|header| {
            header.set_entry_type(kind);
            header.set_size(len);
        });
        bytes.truncate(512);
        bytes.resize(512 + 20_000_000, b'n');
        bytes
    };
    let sparse = |pieces: &[(u64, u64)], real: u64| {
        header(&|header| {
            header.set_entry_type(EntryType::GNUSparse);
            let gnu = header.as_gnu_mut().unwrap();
            gnu.set_real_size(real);
            for (place, &(offset, len)) in gnu.sparse.iter_mut().zip(pieces) {
                place.set_offset(offset);
                place.set_length(len);
            }
        })
    };
    let mut flipped = crafted(&[(FILE, "a", "", 0o644, b"x"), (FILE, "b", "", 0o644, b"x")]);
    flipped[1024] ^= 1;
    let mut cut = crafted(&[(FILE, "a", "", 0o644, &[7; 5000])]);
    cut.truncate(3000);
    let two = crafted(&[(FILE, "a", "", 0o644, &[7; 5000]), (FILE, "b", "", 0o644, b"x")]);
    let header_cut = two[..512 + 5120 + 100].to_vec();
    let table = [
        ("a few bytes", b"hello".to_vec(), INPUT),
        ("cut short within a header", header_cut, DAMAGED),
        ("no archive", b"some text that is no archive at all".repeat(50), INPUT),
        ("a flipped bit", flipped, DAMAGED),
        ("cut short", cut, DAMAGED),
        ("a size past all sense", header(&|it| it.set_size(u64::MAX)), DAMAGED),
        ("no path", header(&|it| it.as_gnu_mut().unwrap().name = [0; 100]), DAMAGED),
        ("a long name", long(EntryType::GNULongName, 15_000_000), DAMAGED),
        ("a vast name", long(EntryType::GNULongName, u64::MAX), DAMAGED),
        ("a vast header", long(EntryType::XHeader, 19_000_000), DAMAGED),
        ("records that are none", long(EntryType::XHeader, 512), DAMAGED),
        ("a map out of order", sparse(&[(512, 1), (0, 0)], 1000), DAMAGED),
        ("a map past the end", sparse(&[(512, 1)], 100), DAMAGED),
        ("a map that overflows", sparse(&[(u64::MAX, 1)], u64::MAX), DAMAGED),
        ("a map of more than there is", sparse(&[(0, 600)], 1000), DAMAGED),
    ];
    for (what, archive, code) in table {
        let folder = folder(&archive);
        for args in [&["unpack", "-x", "in.zst", "-o", "target"][..], &["ls", "in.zst"]] {
            let output = run(ringpack(args).current_dir(folder.path()));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{what}, {args:?}: {stderr}");
        }
        check_outside(folder.path(), what);
        assert!(names(&folder.path().join("target")).iter().all(|name| name == "a"), "{what}");
    }
}

/// What is appended to an archive takes the place of what it has already, as with tar.
#[test]
fn of_a_member_that_comes_twice_the_last_counts() {
    let members = [
        (FILE, "a", "", 0o644, &b"old"[..]),
        (SYMLINK, "l", "x", 0o777, b""),
        (FILE, "a", "", 0o644, b"newer"),
        (SYMLINK, "l", "y", 0o777, b""),
    ];
    let folder = folder(&crafted(&members));
    succeed(ringpack(["unpack", "-x", "in.zst", "-o", "target"]).current_dir(folder.path()));
    let target = folder.path().join("target");
    assert_eq!(fs::read(target.join("a")).unwrap(), b"newer");
    assert_eq!(fs::read_link(target.join("l")).unwrap(), Path::new("y"));
    // What was there before is kept all the same.
    let output =
        run(ringpack(["unpack", "-x", "in.zst", "-o", "target"]).current_dir(folder.path()));
    assert_eq!(output.status.code(), Some(7));
}

/// A hard link that is restored without its file becomes the file; a symbolic one stays what it is.
#[test]
fn a_symbolic_link_beside_a_hard_one_leads_where_it_says() {
    let members = [
        (FILE, "a", "", 0o644, &b"content"[..]),
        (LINK, "b", "a", 0o644, b""),
        (SYMLINK, "c", "a", 0o777, b""),
    ];
    let folder = folder(&crafted(&members));
    for members in [["b", "c"], ["c", "b"]] {
        let args = ["unpack", "-f", "--member", members[0], "--member", members[1], "in.zst"];
        succeed(ringpack(args).args(["-o", "target"]).current_dir(folder.path()));
        let target = folder.path().join("target");
        assert_eq!(fs::read(target.join("b")).unwrap(), b"content");
        assert_eq!(fs::read_link(target.join("c")).unwrap(), Path::new("a"));
    }
}
