//! Directories: packed, listed, read member by member, restored by GNU tar and by ringpack.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use ringpack::members::{Member, MemberKind, MemberList};
use ringpack::pack::{Archive, Input, Output, PackOptions, pack};
use ringpack::read::Container;
use ringpack::{Cancel, Error, ErrorKind, OsDisk};
use support::codes::{
    CHANGED, DAMAGED, DIFFERS, EXISTS, FAILURE, INPUT, NO_SPACE, NOT_RESUMABLE, USAGE,
};
use support::mount::{FileSystem, Mount};
use support::{
    assert_same, binary, content, fail, has_tool, is_root, names, ringpack, run, run_with_input,
    skip, succeed, tree,
};

const NOBODY: &str = "65534";

/// Options that restore everything there is to restore.
const ALL: [&str; 3] = ["--same-owner", "--same-permissions", "--devices"];

/// A folder with `tree`, a small one of every kind.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tree::make(&folder.path().join("tree"), 300_000);
    folder
}

fn here(folder: &Path, args: &[&str]) -> Command {
    let mut command = ringpack(args);
    command.current_dir(folder);
    command
}

fn round_trip(folder: &Path, what: &str) {
    let expected = folder.join("tree");
    for args in [&["pack", "tree"][..], &["pack", "-f", "--placement", "slots", "tree"]] {
        succeed(&mut here(folder, args));
        succeed(&mut here(folder, &["verify", "--decode", "tree.tar.zst"]));
        let unpack = ["unpack", "-x", "tree.tar.zst", "-o", "ours"];
        succeed(here(folder, &unpack).args(ALL));
        tree::assert_same(&folder.join("ours/tree"), &expected, &format!("{what}, {args:?}"));
        if has_tool("tar") && has_tool("zstd") {
            fs::create_dir(folder.join("theirs")).unwrap();
            let mut tar = Command::new("tar");
            tar.args(["--zstd", "--xattrs", "--xattrs-include=*", "-xpf", "tree.tar.zst"]);
            succeed(tar.args(["-C", "theirs"]).current_dir(folder));
            let what = format!("{what}, {args:?}, by tar");
            tree::assert_same(&folder.join("theirs/tree"), &expected, &what);
            fs::remove_dir_all(folder.join("theirs")).unwrap();
        } else {
            skip("members::round_trip", "tar or zstd is not installed");
        }
        fs::remove_dir_all(folder.join("ours")).unwrap();
    }
}

#[test]
fn a_tree_comes_back_as_it_was() {
    round_trip(folder().path(), "where temporary files are");
}

/// Other names of what is no regular file, restored by ringpack, GNU tar and bsdtar.
#[test]
fn hard_links_to_anything_come_back() {
    let folder = folder();
    let at = |name: &str| folder.path().join("tree").join(name);
    let link = |from: &str, to: &str| fs::hard_link(at(from), at(to)).unwrap();
    link("fifo", "sub/fifo, too");
    link("fifo", "zz fifo");
    link("link", "sub/another link");
    if is_root() {
        link("block", "with space/block");
        link("char", "sub/char");
    }
    round_trip(folder.path(), "hard links to what is no file");
    for options in [&[][..], &["--content-only"]] {
        let verify = ["verify", "--against", "tree", "tree.tar.zst"];
        succeed(here(folder.path(), &verify).args(options));
    }
    // In a copy they may be files of their own, if only content counts.
    let copy = "rm -rf copy; cp -a tree copy; cd copy; rm 'zz fifo' 'sub/another link'; \
                mkfifo 'zz fifo'; cp -P link 'sub/another link'";
    succeed(Command::new("sh").args(["-c", copy]).current_dir(folder.path()));
    let against = ["verify", "--against", "copy", "tree.tar.zst"];
    succeed(here(folder.path(), &against).arg("--content-only"));
    fail(&mut here(folder.path(), &against), DIFFERS);
    let other = "ln -sfn elsewhere 'copy/sub/another link'";
    succeed(Command::new("sh").args(["-c", other]).current_dir(folder.path()));
    let said = fail(here(folder.path(), &against).arg("--content-only"), DIFFERS);
    assert!(said.contains("sub/another link: isn't another name of"), "{said}");
    if has_tool("bsdtar") && has_tool("zstd") {
        fs::create_dir(folder.path().join("theirs")).unwrap();
        let line = "zstd -dcq tree.tar.zst | bsdtar -C theirs -xpf -";
        succeed(Command::new("sh").args(["-c", line]).current_dir(folder.path()));
        let theirs = tree::described(&folder.path().join("theirs/tree"));
        let names = |about: &str| {
            let (_, rest) = about.split_once(" names ")?;
            rest.split(' ').next().map(str::to_owned)
        };
        for (name, about) in tree::described(&folder.path().join("tree")) {
            assert_eq!(names(&theirs[&name]), names(&about), "{}", name.escape_ascii());
        }
    } else {
        skip("members::hard_links_to_anything_come_back", "bsdtar or zstd is not installed");
    }
    // Another name of a device that isn't made isn't made either, and all else is there.
    let unpack = ["unpack", "-x", "tree.tar.zst", "-o", "plain"];
    let plain = run(&mut here(folder.path(), &unpack));
    let said = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(plain.status.success(), "{said}");
    for device in ["block", "with space/block", "char", "sub/char"] {
        assert!(!folder.path().join("plain/tree").join(device).exists(), "{device}");
        let warning = format!("plain/tree/{device}: is ");
        assert!(!is_root() || said.contains(&warning), "{device}: {said}");
    }
    // Names whose first name isn't chosen: one of them takes its place.
    let some = ["unpack", "-x", "tree.tar.zst", "-o", "some", "--member", "tree/zz fifo"];
    let more = ["--member", "tree/sub/fifo, too", "--member", "tree/sub/another link"];
    succeed(here(folder.path(), &some).args(more));
    let status =
        |name: &str| fs::symlink_metadata(folder.path().join("some/tree").join(name)).unwrap();
    assert_eq!(status("zz fifo").ino(), status("sub/fifo, too").ino());
    assert_eq!(status("zz fifo").nlink(), 2);
    assert!(status("sub/another link").is_symlink());
}

/// Deeper than the process may have files open, and names after the deep branch.
#[test]
fn a_tree_deeper_than_open_files() {
    let folder = tempfile::tempdir().unwrap();
    let line = "d=tree; for i in $(seq 900); do d=$d/n; done; mkdir -p $d tree/n/n/o; \
                echo leaf > $d/leaf; echo after > tree/n/n/o/p; echo last > tree/z; \
                tar --sort=name -cf theirs.tar tree";
    succeed(Command::new("sh").args(["-c", line]).current_dir(folder.path()));
    let limited = |line: &str| {
        let line = format!("ulimit -n 48; exec {} {line}", binary().display());
        succeed(Command::new("sh").args(["-c", &line]).current_dir(folder.path()))
    };
    limited("pack -q tree -o ours.zst");
    limited("verify -q --against tree ours.zst");
    let tar = &mut Command::new("tar");
    let theirs = succeed(tar.args(["-tf", "theirs.tar"]).current_dir(folder.path()));
    assert_same(&limited("ls ours.zst"), &theirs, "the names");
}

#[test]
fn a_tree_comes_back_as_it_was_on_ext4() {
    let test = "members::a_tree_comes_back_as_it_was_on_ext4";
    let Some(mount) = Mount::new(test, FileSystem::Ext4, 64) else { return };
    tree::make(&mount.path().join("tree"), 3_000_000);
    round_trip(mount.path(), "on ext4");
}

#[test]
fn the_same_tree_makes_the_same_bytes() {
    let folder = folder();
    succeed(&mut here(folder.path(), &["pack", "--mtime", "@7", "tree", "-o", "one.zst"]));
    let one = fs::read(folder.path().join("one.zst")).unwrap();
    // The same files, made anew and in another order.
    let tree = folder.path().join("tree");
    fs::rename(tree.join("a.txt"), tree.join("moved")).unwrap();
    fs::write(tree.join("zz"), b"").unwrap();
    fs::remove_file(tree.join("zz")).unwrap();
    fs::rename(tree.join("moved"), tree.join("a.txt")).unwrap();
    for options in [&["-T1"][..], &["-T3", "--io", "pwrite"], &["--no-direct", "--sort", "name"]] {
        let out = ["pack", "-f", "--mtime", "@7", "tree", "-o", "two.zst"];
        succeed(here(folder.path(), &out).args(options));
        let two = fs::read(folder.path().join("two.zst")).unwrap();
        assert_same(&two, &one, &format!("{options:?}"));
    }
    let listed = |container: &str| {
        let listed = succeed(&mut here(folder.path(), &["ls", "-l", container]));
        String::from_utf8_lossy(&listed).into_owned()
    };
    assert!(
        listed("one.zst")
            .lines()
            .all(|line| line.contains("1970-01-01T00:00:07Z") || line == "name"),
        "{}",
        listed("one.zst")
    );
    // What is later than the clamp becomes it; what is earlier stays.
    let mut clamped = here(folder.path(), &["pack", "tree", "-o", "clamped.zst"]);
    succeed(clamped.env("SOURCE_DATE_EPOCH", "1100000000"));
    let clamped = listed("clamped.zst");
    assert!(clamped.contains("2004-11-09T11:33:20Z tree/a.txt"), "{clamped}");
    assert!(clamped.contains("2001-09-09T01:46:40Z tree/link"), "{clamped}");
    let mut clamped = here(folder.path(), &["pack", "tree", "-o", "again.zst"]);
    succeed(clamped.args(["--clamp-mtime", "2004-11-09T11:33:20Z"]));
    let same = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_same(&same("again.zst"), &same("clamped.zst"), "the clamp as an option");
}

#[test]
fn what_is_excluded_is_left_out() {
    let folder = folder();
    let args =
        ["pack", "tree", "--exclude", "*hole*", "--exclude", "sub/ddd*", "--exclude", "fifo"];
    succeed(&mut here(folder.path(), &args));
    let listed = succeed(&mut here(folder.path(), &["ls", "tree.tar.zst"]));
    let listed = String::from_utf8_lossy(&listed);
    assert!(listed.contains("tree/sub/empty/\n") && listed.contains("tree/a.txt\n"), "{listed}");
    assert!(!listed.contains("hole") && !listed.contains("ddd"), "{listed}");
    assert!(!listed.contains("fifo"), "{listed}");
    fail(&mut here(folder.path(), &["pack", "-f", "tree", "--exclude", "["]), USAGE);
}

#[test]
fn another_file_system_is_left_out_where_asked_for() {
    let test = "members::another_file_system_is_left_out_where_asked_for";
    let Some(mount) = Mount::new(test, FileSystem::Tmpfs, 1) else { return };
    fs::write(mount.path().join("there"), b"").unwrap();
    let folder = mount.path().parent().unwrap();
    fs::write(folder.join("image"), b"").unwrap();
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out.zst");
    for (option, expected) in [("--sort=name", true), ("--one-file-system", false)] {
        succeed(ringpack(["pack", "-f", option]).arg(folder).arg("-o").arg(&out));
        let listed = succeed(ringpack(["ls"]).arg(&out));
        let listed = String::from_utf8(listed).unwrap();
        assert!(listed.contains("/mnt/\n") && listed.contains("/image\n"), "{listed}");
        assert_eq!(listed.contains("/mnt/there\n"), expected, "{option}: {listed}");
    }
}

/// Looking at a place of an automounter shows a directory, opening it another: what was mounted
/// there meanwhile. debugfs has such a place, where tracefs is mounted.
#[test]
fn an_automounters_place_is_what_is_mounted_there() {
    let test = "members::an_automounters_place_is_what_is_mounted_there";
    let Some(mount) = Mount::new(test, FileSystem::Tmpfs, 1) else { return };
    let tree = mount.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("beside"), b"").unwrap();
    let debugfs = Command::new("mount").args(["-t", "debugfs", "d"]).arg(&tree).output().unwrap();
    let unmount = Unmount(&tree);
    let place = tree.join("tracing");
    // Looking by statx, as the standard library does, would have it mounted.
    if !debugfs.status.success() || !names(&tree).contains(&"tracing".to_owned()) {
        return skip(test, "debugfs can't be mounted here, or has no tracing");
    }
    let out = mount.path().join("out.zst");
    // All else changes at any time.
    let args = ["pack", "tree", "-o", "out.zst", "--exclude=[!t]*", "--exclude=tracing/*"];
    succeed(here(mount.path(), &args).arg("--exclude=t[!r]*"));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(mounts.contains(place.to_str().unwrap()), "packing mounted nothing: {mounts}");
    let listed = succeed(ringpack(["ls"]).arg(&out));
    assert!(String::from_utf8_lossy(&listed).contains("tree/tracing/\n"), "{listed:?}");
    drop(unmount);
}

/// Unmounts all that is mounted there.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-R", "-l"]).arg(self.0).output();
    }
}

/// Each member is read without the rest: every chunk but its own is damaged.
#[test]
fn a_member_is_read_from_its_own_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for (number, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        fs::write(tree.join(name), content(400_000, number as u64)).unwrap();
    }
    succeed(&mut here(folder.path(), &["pack", "--chunk-size", "64K", "tree"]));
    let path = folder.path().join("tree.tar.zst");
    let container = Container::open(&OsDisk, &path, false).unwrap();
    let index = container.members().unwrap().unwrap();
    let members: Vec<Member> = index.iter().unwrap().map(Result::unwrap).collect();
    assert_eq!(members.len(), 5);
    let wanted = members.iter().find(|member| member.path == b"tree/c").unwrap();
    let own = wanted.header_offset / 65_536..=(wanted.data_offset + wanted.stored - 1) / 65_536;
    let mut bytes = fs::read(&path).unwrap();
    for (sequence, entry) in (0u64..).zip(&container.index().entries) {
        if !own.contains(&sequence) {
            bytes[entry.offset as usize + 20] ^= 1;
        }
    }
    fs::write(&path, bytes).unwrap();
    let expected = fs::read(tree.join("c")).unwrap();
    let found = succeed(&mut here(folder.path(), &["cat", "tree.tar.zst", "tree/c"]));
    assert_same(&found, &expected, "cat");
    let args = ["unpack", "--member", "tree/c", "tree.tar.zst", "-o", "out"];
    succeed(&mut here(folder.path(), &args));
    assert_same(&fs::read(folder.path().join("out/tree/c")).unwrap(), &expected, "unpack");
    assert_eq!(names(&folder.path().join("out/tree")), ["c"]);
    fail(&mut here(folder.path(), &["cat", "tree.tar.zst", "tree/a"]), DAMAGED);
    succeed(&mut here(folder.path(), &["ls", "tree.tar.zst"]));
}

#[test]
fn members_are_listed_and_printed() {
    let folder = folder();
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    // With an index, and without: as a stream to a stream, which has one, and by tar.
    let streamed = succeed(&mut here(folder.path(), &["pack", "-c", "tree"]));
    fs::write(folder.path().join("streamed.zst"), streamed).unwrap();
    succeed(&mut here(folder.path(), &["verify", "streamed.zst"]));
    let content = succeed(&mut here(folder.path(), &["unpack", "-c", "tree.tar.zst"]));
    let foreign = here(folder.path(), &["pack", "-", "-o", "foreign.zst"]);
    let output = run_with_input(&mut { foreign }, &content);
    assert!(output.status.success());
    let expected = succeed(&mut here(folder.path(), &["ls", "--json", "tree.tar.zst"]));
    for (container, has_index) in [("streamed.zst", true), ("foreign.zst", false)] {
        let output = run(&mut here(folder.path(), &["ls", "--json", container]));
        assert_same(&output.stdout, &expected, container);
        let said = String::from_utf8_lossy(&output.stderr).contains("no member index");
        assert_eq!(said, !has_index, "{container}");
        for name in ["tree/many holes", "./tree/a.txt", "tree/sub/another name", "tree/nothing"] {
            let found = succeed(&mut here(folder.path(), &["cat", container, name]));
            let expected = fs::read(folder.path().join(name)).unwrap();
            assert_same(&found, &expected, &format!("{container} {name}"));
        }
    }
    for line in String::from_utf8(expected).unwrap().lines() {
        let member: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(member["path"].is_string() && member["header_offset"].is_u64(), "{line}");
        let odd = member["path"].as_str().unwrap().contains("odd");
        assert_eq!(member["path_hex"].is_string(), odd, "{line}");
    }
    let long = succeed(&mut here(folder.path(), &["ls", "-l", "tree.tar.zst", "tree/a.txt"]));
    let owner = fs::metadata(folder.path().join("tree/a.txt")).unwrap();
    let owner = format!("{}/{}", owner.uid(), owner.gid());
    let expected = format!("-rw-r--r-- {owner:>11} {:>12} 2009-02-13T23:31:30Z tree/a.txt\n", 6);
    assert_eq!(String::from_utf8(long).unwrap(), expected);
    for wrong in [
        &["cat", "tree.tar.zst", "no"][..],
        &["cat", "tree.tar.zst", "tree/sub"],
        &["ls", "tree.tar.zst", "no*"],
    ] {
        fail(&mut here(folder.path(), wrong), FAILURE);
    }
    let with_range = ["cat", "tree.tar.zst", "tree/a.txt", "--offset", "1"];
    fail(&mut here(folder.path(), &with_range), USAGE);
    succeed(&mut here(folder.path(), &["pack", "tree/big", "-o", "file.zst"]));
    for args in [&["ls", "file.zst"][..], &["unpack", "-x", "file.zst", "-o", "out"]] {
        let said = fail(&mut here(folder.path(), args), INPUT);
        assert!(said.contains("file.zst") && said.contains("no archive"), "{said}");
    }
    let info = succeed(&mut here(folder.path(), &["info", "--json", "tree.tar.zst"]));
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info["members"], tree::described(&folder.path().join("tree")).len());
}

#[test]
fn what_exists_is_kept_unless_it_is_to_be_replaced() {
    let folder = folder();
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    let out = folder.path().join("out/tree");
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("a.txt"), b"mine").unwrap();
    let args = ["unpack", "-x", "tree.tar.zst", "-o", "out"];
    let said = fail(here(folder.path(), &args).args(ALL), EXISTS);
    assert!(said.contains("out/tree/a.txt") && said.contains("--force"), "{said}");
    assert_eq!(fs::read(out.join("a.txt")).unwrap(), b"mine");
    // What would have been its other name isn't made of a stranger's file.
    assert!(!out.join("sub/another name").exists());
    assert!(out.join("big").exists());
    succeed(here(folder.path(), &args).arg("-f").args(ALL));
    tree::assert_same(&out, &folder.path().join("tree"), "replaced");
}

#[test]
fn rights_are_restored_only_if_asked_for() {
    let folder = folder();
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    let output = run(&mut here(folder.path(), &["unpack", "-x", "tree.tar.zst", "-o", "out"]));
    assert!(output.status.success());
    let found = fs::metadata(folder.path().join("out/tree/big")).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o711);
    let own = fs::metadata(folder.path()).unwrap();
    assert_eq!((found.uid(), found.gid()), (own.uid(), own.gid()));
    if is_root() {
        assert!(!folder.path().join("out/tree/char").exists());
        assert!(String::from_utf8_lossy(&output.stderr).contains("tree/char: is a device node"));
    }
}

/// Of several names of a file, the one chosen brings the bytes along.
#[test]
fn a_hard_link_alone_is_a_file() {
    let folder = folder();
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    let args = ["unpack", "--member", "*another*", "tree.tar.zst", "-o", "out"];
    succeed(&mut here(folder.path(), &args));
    assert_eq!(fs::read(folder.path().join("out/tree/sub/another name")).unwrap(), b"hello\n");
    let args = ["unpack", "--member", "nothing at all", "tree.tar.zst", "-o", "out2"];
    let said = fail(&mut here(folder.path(), &args), FAILURE);
    assert!(said.contains("nothing at all: matches no member"), "{said}");
}

#[test]
fn a_full_disk_leaves_no_half_file() {
    let test = "members::a_full_disk_leaves_no_half_file";
    let Some(mount) = Mount::new(test, FileSystem::Tmpfs, 2) else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tree")).unwrap();
    fs::write(folder.path().join("tree/a"), content(500_000, 1)).unwrap();
    fs::write(folder.path().join("tree/b"), content(5_000_000, 2)).unwrap();
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    let mut command = here(folder.path(), &["unpack", "-x", "tree.tar.zst", "-o"]);
    let said = fail(command.arg(mount.path()), NO_SPACE);
    assert!(said.contains("tree/b"), "{said}");
    assert_eq!(names(&mount.path().join("tree")), ["a"]);
}

/// Reads a container from a pipe until `len` bytes of it have come; by then every directory above
/// the file that is being read has been listed, and the walk waits for more to be read.
fn with_a_walk_under_way(change: impl Fn(&Path), expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let big = fs::File::create(tree.join("big")).unwrap();
    // What doesn't compress, and is far longer than what is held on the way.
    let noise: Vec<u8> = {
        let mut random = support::Random(5);
        (0..1 << 17).flat_map(|_| random.next().to_le_bytes()).collect()
    };
    (0..64u64).for_each(|at| big.write_all_at(&noise, at << 20).unwrap());
    fs::write(tree.join("later"), b"later").unwrap();
    let mut command = here(folder.path(), &["pack", "-c", "-T1", "--store", "tree"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut bytes = vec![0; 5 << 20];
    stdout.read_exact(&mut bytes).unwrap();
    change(&tree);
    stdout.read_to_end(&mut bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(CHANGED), "{expected}: {stderr}");
    assert!(stderr.contains(expected), "{stderr}");
    // What came through the pipe doesn't pass for a container.
    fs::write(folder.path().join("got.zst"), bytes).unwrap();
    fail(&mut here(folder.path(), &["verify", "got.zst"]), DAMAGED);
}

#[test]
fn a_tree_that_changes_while_it_is_read_is_refused() {
    let big = |tree: &Path| fs::OpenOptions::new().write(true).open(tree.join("big")).unwrap();
    with_a_walk_under_way(
        |tree| fs::remove_file(tree.join("later")).unwrap(),
        "tree/later: vanished or was replaced",
    );
    with_a_walk_under_way(|tree| big(tree).set_len(40 << 20).unwrap(), "tree/big: shrank");
    with_a_walk_under_way(|tree| big(tree).set_len(65 << 20).unwrap(), "tree/big: grew");
    with_a_walk_under_way(
        |tree| big(tree).write_all_at(b"x", 0).unwrap(),
        "tree/big: was written to",
    );
    with_a_walk_under_way(|tree| fs::write(tree.join("new"), b"").unwrap(), "tree: was written to");
}

/// Packing that ends early goes on with the same command; the tree is read again, and compared.
#[test]
fn a_directory_is_gone_on_with() {
    let test = "members::a_directory_is_gone_on_with";
    if !is_root() || !has_tool("setpriv") {
        skip(test, "a file that can't be read needs root and setpriv");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), all).unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    // More than is on its way at once.
    fs::write(tree.join("a"), content(44 << 20, 3)).unwrap();
    fs::write(tree.join("z"), b"secret").unwrap();
    fs::set_permissions(tree.join("z"), fs::Permissions::from_mode(0o600)).unwrap();
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command.arg(binary()).args(args).current_dir(folder.path()).stdin(Stdio::null());
        command
    };
    let args = ["pack", "--checkpoint-size", "4M", "tree", "-o", "out.zst"];
    let said = fail(&mut as_nobody(&args), INPUT);
    assert!(said.contains("tree/z: cannot open"), "{said}");
    assert!(said.contains("ringpack pack --resume --checkpoint-size 4M tree -o out.zst"), "{said}");
    assert!(!folder.path().join("out.zst").exists());
    // A directory has options that no journal knows.
    let said = fail(&mut as_nobody(&["resume", "out.zst"]), NOT_RESUMABLE);
    assert!(said.contains("pack --resume"), "{said}");
    fs::set_permissions(tree.join("z"), fs::Permissions::from_mode(0o644)).unwrap();
    let again = ["pack", "--resume", "-v", "--checkpoint-size", "4M", "tree", "-o", "out.zst"];
    let output = run(&mut as_nobody(&again));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("of it from before"), "{stderr}");
    succeed(&mut here(folder.path(), &["pack", "tree", "-o", "whole.zst"]));
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_same(&read("out.zst"), &read("whole.zst"), "gone on with");
    succeed(&mut here(folder.path(), &["verify", "out.zst"]));
}

#[test]
fn an_output_within_the_tree_is_refused() {
    let folder = folder();
    for output in ["tree/out.zst", "tree/sub/../out.zst"] {
        let said = fail(&mut here(folder.path(), &["pack", "tree", "-o", output]), USAGE);
        assert!(said.contains("within the directory"), "{said}");
    }
    // Beside it, whatever the tree is called.
    succeed(&mut here(&folder.path().join("tree/sub"), &["pack", "../../tree/"]));
    succeed(&mut here(&folder.path().join("tree"), &["pack", "-f", "."]));
    assert_eq!(names(folder.path()), ["tree", "tree.tar.zst"]);
}

/// What GNU tar writes in each of its formats.
#[test]
fn archives_of_tar_are_read() {
    let test = "members::archives_of_tar_are_read";
    if !has_tool("tar") {
        return skip(test, "tar is not installed");
    }
    let folder = folder();
    let tree = folder.path().join("tree");
    for format in ["gnu", "oldgnu", "posix"] {
        let mut tar = Command::new("tar");
        tar.args(["--sparse", "--format", format, "-c", "tree"]);
        // The others have no room for attributes.
        tar.args((format == "posix").then_some("--xattrs"));
        let archive = succeed(tar.current_dir(folder.path()));
        let out = format!("{format}.zst");
        let mut command = here(folder.path(), &["pack", "-", "-o", &out]);
        assert!(run_with_input(&mut command, &archive).status.success());
        let target = folder.path().join(format);
        succeed(here(folder.path(), &["unpack", "-x", &out, "-o", format]).args(ALL));
        if format == "posix" {
            tree::assert_same(&target.join("tree"), &tree, format);
        } else {
            let keys = |root: &Path| tree::described(root).into_keys().collect::<Vec<_>>();
            assert_eq!(keys(&target.join("tree")), keys(&tree), "{format}");
            for name in ["big", "many holes", "end hole"] {
                let read = |root: &Path| fs::read(root.join(name)).unwrap();
                assert_same(&read(&target.join("tree")), &read(&tree), name);
            }
        }
        fs::remove_dir_all(target).unwrap();
    }
}

#[test]
fn a_damaged_member_index_is_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tree")).unwrap();
    fs::write(folder.path().join("tree/a"), b"hello").unwrap();
    succeed(&mut here(folder.path(), &["pack", "tree"]));
    let path = folder.path().join("tree.tar.zst");
    let bytes = fs::read(&path).unwrap();
    let tail = *Container::open(&OsDisk, &path, false).unwrap().tail();
    let range = tail.members_offset as usize..(tail.members_offset + tail.members_len) as usize;
    assert!(range.len() > 40);
    for bit in range.start * 8..range.end * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let container = Container::from_source(bytes).unwrap();
        let error = container.members().expect_err("a flipped bit is found");
        assert_eq!(error.kind(), ErrorKind::Damaged, "bit {bit}");
        assert_eq!(container.check_rest().unwrap_err().kind(), ErrorKind::Damaged);
    }
    let mut bytes = bytes;
    bytes[range.start + 30] ^= 1;
    fs::write(&path, bytes).unwrap();
    for args in [
        &["verify", "tree.tar.zst"][..],
        &["ls", "tree.tar.zst"],
        &["cat", "tree.tar.zst", "tree/a"],
    ] {
        fail(&mut here(folder.path(), args), DAMAGED);
    }
    // The content is as it was, and so is the archive that it is.
    succeed(&mut here(folder.path(), &["unpack", "-x", "tree.tar.zst", "-o", "out"]));
    assert_eq!(fs::read(folder.path().join("out/tree/a")).unwrap(), b"hello");
}

fn archive(
    bytes: Vec<u8>,
    ending: impl FnOnce() -> ringpack::Result<MemberList> + Send + 'static,
) -> Input {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || writer.write_all(&bytes));
    let stream = fs::File::from(OwnedFd::from(reader));
    let (path, compare) = ("made up".into(), None);
    Input::Archive(Archive { stream, path, ending: Box::new(ending), compare })
}

/// What is stated falsely, how, and the code that it comes to.
type Lie = (&'static str, fn(&mut Member), Option<i32>);

/// An index is a hint where to read: what it says of a member must be what the archive says.
#[test]
fn an_index_that_lies_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for name in ["a", "b"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        builder.append_data(&mut header, name, &b"hello"[..]).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    let true_one = |path: &[u8], header_offset| Member {
        kind: MemberKind::Regular,
        path: path.to_vec(),
        link: Vec::new(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_ns: 0,
        size: 5,
        stored: 5,
        header_offset,
        data_offset: header_offset + 512,
    };
    let lies: [Lie; 5] = [
        ("nothing", |_| {}, None),
        ("a name", |member| member.path = b"c".to_vec(), Some(DAMAGED)),
        ("a size", |member| (member.size, member.stored) = (4, 4), Some(DAMAGED)),
        ("a mode", |member| member.mode = 0o4755, Some(DAMAGED)),
        ("a place", |member| member.data_offset += 512, Some(DAMAGED)),
    ];
    for (what, lie, expected) in lies {
        let mut member = true_one(b"b", 1024);
        lie(&mut member);
        let name = String::from_utf8(member.path.clone()).unwrap();
        let mut list = MemberList::new();
        list.push(&true_one(b"a", 0)).unwrap();
        list.push(&member).unwrap();
        let output = folder.path().join("out.zst");
        let (from, to) = (archive(bytes.clone(), || Ok(list)), Output::Path(output.clone()));
        let options = PackOptions { replace: true, ..PackOptions::default() };
        pack(&OsDisk, from, to, &options, &Cancel::new()).unwrap();
        let cat = run(ringpack(["cat"]).arg(&output).arg(&name));
        let stderr = String::from_utf8_lossy(&cat.stderr);
        assert_eq!(cat.status.code(), Some(expected.unwrap_or(0)), "{what}: {stderr}");
        assert_eq!(cat.stdout, if expected.is_none() { &b"hello"[..] } else { b"" }, "{what}");
        check_whole(folder.path(), what, expected, &name);
    }
    // Members that aren't there, and that are but aren't stated.
    for (what, stated, named) in [("one too few", 1, "b"), ("one too many", 3, "c")] {
        let mut list = MemberList::new();
        let members = [true_one(b"a", 0), true_one(b"b", 1024), true_one(b"c", 2048)];
        members[..stated].iter().for_each(|member| list.push(member).unwrap());
        let output = folder.path().join("out.zst");
        let (from, to) = (archive(bytes.clone(), || Ok(list)), Output::Path(output));
        let options = PackOptions { replace: true, ..PackOptions::default() };
        pack(&OsDisk, from, to, &options, &Cancel::new()).unwrap();
        check_whole(folder.path(), what, Some(DAMAGED), named);
    }
}

/// What reads all of `out.zst` finds out what its index states falsely, and names the member.
fn check_whole(folder: &Path, what: &str, expected: Option<i32>, named: &str) {
    for args in [&["verify", "--decode", "out.zst"][..], &["unpack", "-x", "out.zst", "-o", "x"]] {
        let output = run(&mut here(folder, args));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected.unwrap_or(0)), "{what}: {stderr}");
        if expected.is_some() {
            assert!(stderr.contains(&format!("with the archive: {named} ")), "{what}: {stderr}");
        }
    }
    let _ = fs::remove_dir_all(folder.join("x"));
}

#[test]
fn an_archive_that_is_refused_at_its_end_is_not_published() {
    for len in [0, 100, 4 << 20, (4 << 20) + 1] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.zst");
        let refused = || Err(Error::new(ErrorKind::InputChanged, "changed"));
        let (from, to) = (archive(vec![7; len], refused), Output::Path(output));
        let refused = pack(&OsDisk, from, to, &PackOptions::default(), &Cancel::new());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InputChanged, "{len}");
        assert!(names(folder.path()).is_empty(), "{len}");
    }
}
