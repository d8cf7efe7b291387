//! Packed trees held against directories: `verify --against DIR`, and `pack DIR --check`.
//!
//! diff tells of two trees whether their files are the same, and GNU tar whether a tree is as an
//! archive has it.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::stat::SFlag;
use ringpack::members::MemberList;
use ringpack::pack::{Archive, Input, Output, PackOptions, pack};
use ringpack::{Cancel, Error, ErrorKind, OsDisk};
use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};
use support::codes::{DAMAGED, DIFFERS, FOREIGN, INPUT, USAGE};
use support::tree::{self, node};
use support::{content, fail, has_tool, is_root, names, ringpack, run, skip, succeed};

const MIB: usize = 1 << 20;

/// A folder with `tree`: files longer than what is compared at once, and one of every kind.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    tree::make(&tree, 9 * MIB + 77);
    // Gigabytes of nothing take their time to be read.
    fs::remove_file(tree.join("hole")).unwrap();
    folder
}

fn here(folder: &Path, args: &[&str]) -> Command {
    let mut command = ringpack(args);
    command.current_dir(folder);
    command
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(bytes, offset).unwrap();
    file.set_modified(modified).unwrap();
}

fn set_len(path: &Path, len: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_len(len).unwrap();
    file.set_modified(modified).unwrap();
}

/// How a copy of the tree is made to differ, and what is to be said of it.
struct Way {
    what: &'static str,
    change: fn(&Path),
    said: &'static str,
    /// Whether files or names differ, and not only what goes with them.
    of_content: bool,
}

const fn way(what: &'static str, change: fn(&Path), said: &'static str, of_content: bool) -> Way {
    Way { what, change, said, of_content }
}

const WAYS: &[Way] = &[
    way("nothing", |_| {}, "", false),
    way(
        "a byte",
        |tree| write_at(&tree.join("a.txt"), 4, b"?"),
        "a.txt: at byte 4: has 3f where the archive has 6f",
        true,
    ),
    way(
        "a byte behind the first part",
        |tree| write_at(&tree.join("big"), 8 * MIB as u64 + 5, b"\0\xFF\0\xFF"),
        "big: at byte 83886",
        true,
    ),
    way(
        "the last byte",
        |tree| write_at(&tree.join("big"), 9 * MIB as u64 + 76, b"\xFE"),
        "big: at byte 9437260: has fe ",
        true,
    ),
    way(
        "a hole",
        |tree| write_at(&tree.join("end hole"), 5_000_000, b"x"),
        "end hole: at byte 5000000: has 78 where the archive has 00",
        true,
    ),
    way(
        "shorter",
        |tree| set_len(&tree.join("big"), 5_000_000),
        "big: at byte 5000000: ends ",
        true,
    ),
    way("longer", |tree| set_len(&tree.join("a.txt"), 7), "a.txt: at byte 6: goes on ", true),
    way(
        "another kind",
        |tree| {
            fs::remove_file(tree.join("with space")).unwrap_err();
            fs::remove_dir(tree.join("with space")).unwrap();
            fs::write(tree.join("with space"), b"").unwrap();
        },
        "with space: is a file where the archive has a directory",
        true,
    ),
    way(
        "a link for a directory",
        |tree| {
            fs::rename(tree.join("sub"), tree.join("../aside")).unwrap();
            symlink("../aside", tree.join("sub")).unwrap();
        },
        "sub: is a link where the archive has a directory",
        true,
    ),
    way(
        "another target",
        |tree| {
            fs::remove_file(tree.join("long link")).unwrap();
            symlink("elsewhere", tree.join("long link")).unwrap();
        },
        "long link: leads to elsewhere where the archive has xxx",
        true,
    ),
    way(
        "a file less",
        |tree| fs::remove_file(tree.join("nothing")).unwrap(),
        "nothing: is missing",
        true,
    ),
    way(
        "a file more",
        |tree| fs::write(tree.join("sub/new"), b"").unwrap(),
        "sub/new: isn't in",
        true,
    ),
    way(
        "a directory more",
        |tree| fs::create_dir_all(tree.join("sub/empty/a/b")).unwrap(),
        "sub/empty/a: isn't in the archive",
        true,
    ),
    way(
        "a FIFO less",
        |tree| fs::remove_file(tree.join("fifo")).unwrap(),
        "fifo: is missing",
        true,
    ),
    way(
        "permissions",
        |tree| fs::set_permissions(tree.join("sub"), fs::Permissions::from_mode(0o700)).unwrap(),
        "sub: has mode 0700 where the archive has 2750",
        false,
    ),
    way(
        "a time",
        |tree| {
            let file = fs::File::open(tree.join("a.txt")).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        },
        "a.txt: was modified at 1970-01-01T00:00:01Z where the archive has 2009-02-13T23:31:30.123456789Z",
        false,
    ),
    way(
        "two files for one",
        |tree| {
            let bytes = fs::read(tree.join("a.txt")).unwrap();
            fs::remove_file(tree.join("sub/another name")).unwrap();
            fs::write(tree.join("sub/another name"), bytes).unwrap();
        },
        "another name of tree/a.txt",
        false,
    ),
    way(
        "an owner",
        |tree| chown(tree.join("big"), Some(1002), None).unwrap(),
        "big: belongs to 1002:1001 where the archive has 1000:1001",
        false,
    ),
    way(
        "an attribute's value",
        |tree| lsetxattr(tree.join("a.txt"), "user.note", b"other", XattrFlags::empty()).unwrap(),
        "a.txt: has another value of the attribute user.note",
        false,
    ),
    way(
        "an attribute less",
        |tree| lremovexattr(tree.join("sub"), "user.note").unwrap(),
        "sub: lacks the attribute user.note",
        false,
    ),
    way(
        "an attribute more",
        |tree| lsetxattr(tree.join("big"), "user.new", b"", XattrFlags::empty()).unwrap(),
        "big: has the attribute user.new, which the archive lacks",
        false,
    ),
    way(
        "another device",
        |tree| {
            fs::remove_file(tree.join("char")).unwrap();
            node(&tree.join("char"), SFlag::S_IFCHR, (1, 5));
        },
        "char: is device 1:5 where the archive has 1:3",
        true,
    ),
];

#[test]
fn each_way_in_which_a_tree_differs_is_told() {
    let test = "compare_trees::each_way_in_which_a_tree_differs_is_told";
    if !is_root() || !has_tool("diff") {
        return skip(test, "owners and devices need root, and diff has to be there");
    }
    let folder = folder();
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    for Way { what, change, said, of_content } in WAYS {
        succeed(Command::new("cp").args(["-a", "tree", "other"]).current_dir(folder.path()));
        change(&folder.path().join("other"));
        let verify = ["verify", "--against", "other", "tree.tar.zst"];
        let differs = |found: &mut Command| {
            let output = run(found);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => None,
                Some(DIFFERS) => Some(text),
                code => panic!("{what}: {code:?}: {text}"),
            }
        };
        let found = differs(&mut here(folder.path(), &verify));
        assert_eq!(found.is_none(), said.is_empty(), "{what}: {found:?}");
        assert!(found.is_none_or(|found| found.contains(said)), "{what}: {said} isn't said");
        let found = differs(here(folder.path(), &verify).arg("--content-only"));
        assert_eq!(found.is_some(), *of_content, "{what}: {found:?}");
        // Of devices diff knows nothing.
        if !what.contains("device") {
            let diff = ["-r", "--no-dereference", "tree", "other"];
            let diff = run(Command::new("diff").args(diff).current_dir(folder.path()));
            let text = String::from_utf8_lossy(&diff.stdout);
            let is_same = diff.status.success() || text.lines().all(|it| it.contains(" is a fifo"));
            let is_special = text.contains("is a block special") || text.contains("is a character");
            assert!(is_same != *of_content || is_special, "{what}: {text}");
        }
        fs::remove_dir_all(folder.path().join("other")).unwrap();
        let _ = fs::remove_dir_all(folder.path().join("aside"));
    }
}

#[test]
fn a_directory_is_the_one_that_was_packed_or_the_one_around_it() {
    let folder = folder();
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    let all = ["--same-owner", "--same-permissions", "--devices"];
    succeed(here(folder.path(), &["unpack", "-x", "tree.tar.zst", "-o", "out"]).args(all));
    succeed(Command::new("cp").args(["-a", "tree", "copy"]).current_dir(folder.path()));
    for against in ["tree", "out", "out/tree", "copy", "./tree/", "copy/../out"] {
        succeed(&mut here(folder.path(), &["verify", "--against", against, "tree.tar.zst"]));
    }
    let said = fail(
        &mut here(folder.path(), &["verify", "--against", "tree/sub", "tree.tar.zst"]),
        DIFFERS,
    );
    assert!(said.contains("tree/sub/a.txt: is missing"), "{said}");
}

/// Archives that came as streams: without an index, in tar's formats, appended to.
#[test]
fn an_archive_of_tar_is_compared_as_tar_does() {
    let test = "compare_trees::an_archive_of_tar_is_compared_as_tar_does";
    if !has_tool("tar") {
        return skip(test, "tar is not installed");
    }
    let folder = folder();
    let tar = |args: &[&str]| {
        let mut command = Command::new("tar");
        command.args(args).current_dir(folder.path());
        command
    };
    let packed = |archive: &str| {
        let input = fs::File::open(folder.path().join(archive)).unwrap();
        let mut pack = here(folder.path(), &["pack", "-f", "-o", "tar.zst", "-"]);
        succeed(pack.stdin(Stdio::from(input)));
    };
    let verified = |against: &str| {
        let output =
            run(&mut here(folder.path(), &["verify", "-q", "--against", against, "tar.zst"]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for (format, place, from) in [("gnu", ".", "tree"), ("pax", ".", "tree"), ("gnu", "tree", ".")]
    {
        succeed(&mut tar(&["-C", place, "--sparse", "--format", format, "-cf", "a.tar", from]));
        packed("a.tar");
        let (code, said) = verified("tree");
        assert_eq!(code, Some(0), "{format} {from}: {said}");
    }
    succeed(&mut tar(&["-cf", "a.tar", "tree"]));
    let file = folder.path().join("tree/a.txt");
    fs::write(&file, b"changed\n").unwrap();
    packed("a.tar");
    let (code, said) = verified("tree");
    let compared = run(&mut tar(&["--compare", "-f", "a.tar"]));
    assert_eq!((code, compared.status.code()), (Some(DIFFERS), Some(1)), "{said}");
    // The last of several counts.
    succeed(&mut tar(&["-rf", "a.tar", "tree/a.txt", "tree/sub/another name"]));
    packed("a.tar");
    let (code, said) = verified("tree");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn what_was_left_out_is_passed_over_where_that_is_said() {
    let folder = folder();
    let args = ["pack", "--check", "tree", "--exclude", "*hole*", "--exclude", "sub/ddd*"];
    succeed(&mut here(folder.path(), &args));
    // A socket is in no archive.
    let _socket = UnixListener::bind(folder.path().join("tree/socket")).unwrap();
    let verify = ["verify", "--against", "tree", "tree.tar.zst"];
    let said = fail(&mut here(folder.path(), &verify), DIFFERS);
    assert!(said.contains("end hole: isn't in the archive"), "{said}");
    assert!(!said.contains("socket"), "{said}");
    succeed(here(folder.path(), &verify).args(["--exclude", "*hole*", "--exclude", "sub/ddd*"]));
}

#[test]
fn a_tree_is_checked_before_it_is_published() {
    let folder = folder();
    for options in [
        &[][..],
        &["--placement", "slots", "-T1"],
        &["--mtime", "@7", "--no-direct"],
        &["--clamp-mtime", "@1000000000", "--io", "pwrite"],
        &["--sort", "none", "--one-file-system", "--chunk-size", "64K"],
    ] {
        let mut pack = here(folder.path(), &["pack", "--check", "--json", "-f", "tree"]);
        let said = succeed(pack.args(options));
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(said["checked"], true, "{options:?}: {said}");
    }
    assert_eq!(names(folder.path()), ["tree", "tree.tar.zst"]);
    fail(&mut here(folder.path(), &["pack", "--check", "-c", "tree"]), USAGE);
}

/// Whoever made the archive says whether the container holds it.
#[test]
fn pc1_an_archive_that_is_found_to_differ_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let try_pack = |compare: fn(u64) -> ringpack::Result<()>, check_content| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let bytes = content(100_000, 1);
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes));
        let archive = Archive {
            stream: std::os::fd::OwnedFd::from(reader).into(),
            path: "made up".into(),
            ending: Box::new(|| Ok(MemberList::new())),
            compare: Some(Box::new(move |container| compare(container.header().content_size))),
        };
        let options = PackOptions { check_content, ..PackOptions::default() };
        let to = Output::Path(folder.path().join("out"));
        let packed = pack(&OsDisk, Input::Archive(archive), to, &options, &Cancel::new());
        writing.join().unwrap().unwrap();
        packed
    };
    let differs = |_| Err(Error::new(ErrorKind::Differs, "is another").at("a file"));
    let error = try_pack(differs, true).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Differs, Some(Path::new("a file"))));
    assert!(names(folder.path()).is_empty());
    // It isn't asked where nobody wants to know.
    try_pack(differs, false).unwrap();
    fs::remove_file(folder.path().join("out")).unwrap();
    let same = |size| {
        assert_eq!(size, 100_000);
        Ok(())
    };
    assert!(try_pack(same, true).unwrap().checked);
}

#[test]
fn what_holds_no_tree_is_refused() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), content(300_000, 2)).unwrap();
    succeed(&mut here(folder.path(), &["pack", "file"]));
    let against = |args: &[&str]| here(folder.path(), &[&["verify", "--against"], args].concat());
    let said = fail(&mut against(&["tree", "file.zst"]), INPUT);
    assert!(said.contains("holds no archive"), "{said}");
    fs::write(at("theirs.zst"), zstd::encode_all(&b"content"[..], 1).unwrap()).unwrap();
    let said = fail(&mut against(&["tree", "theirs.zst"]), FOREIGN);
    assert!(said.contains("tar --compare"), "{said}");
    let said = fail(&mut against(&["file", "--content-only", "file.zst"]), USAGE);
    assert!(said.contains("--against DIRECTORY"), "{said}");
    // A damaged container is not compared.
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    let mut bytes = fs::read(at("tree.tar.zst")).unwrap();
    bytes[4096 + 50] ^= 1;
    fs::write(at("tree.tar.zst"), &bytes).unwrap();
    let said = fail(&mut against(&["tree", "tree.tar.zst"]), DAMAGED);
    assert!(said.contains("chunk 0") && !said.contains("archive has"), "{said}");
}
