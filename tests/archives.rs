//! Archives of other programs, restored by ringpack and by GNU tar: the trees are the same, as
//! programs that are neither of them tell. And archives of ringpack, restored by others.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::sys::stat::SFlag;
use peak_alloc::PeakAlloc;
use ringpack::members::MemberKind;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use support::codes::NEWER;
use support::mount::{FileSystem, Mount};
use support::processes::typed;
use support::{Random, content, has_tool, is_root, ringpack, run, skip, succeed, tree};

/// The program's own, which knows neither files nor directories.
#[allow(dead_code)]
#[path = "../cli/src/tar_stream/mod.rs"]
mod tar_stream;

use tar_stream::read::TarReader;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// Restores everything there is to restore.
const ALL: [&str; 3] = ["--same-owner", "--same-permissions", "--devices"];
const GNU_TAR: &str = "tar --numeric-owner --xattrs --xattrs-include='*' --acls -xpf";

/// Makes a tree that has something for each format to stumble over, its length in kilobytes.
fn make(root: &Path) {
    let at = |name: &str| root.join(name);
    let long = "l".repeat(120);
    let deep = ["d".repeat(70), "e".repeat(70), "f".repeat(130)].join("/");
    for name in ["sub/empty", &long, &deep, "\u{fc}/\u{65e5}\u{672c}"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    fs::write(at("one"), b"one\n").unwrap();
    fs::write(at("nothing"), b"").unwrap();
    fs::write(at("big"), content(100_000, 7)).unwrap();
    fs::write(at(&long).join("y"), b"y").unwrap();
    fs::write(at(&deep).join("n".repeat(200)), b"deep").unwrap();
    fs::write(at("\u{fc}/\u{65e5}\u{672c}/\u{e4} b"), b"umlaut").unwrap();
    fs::write(at("a%b=c"), b"signs").unwrap();
    fs::hard_link(at("one"), at("sub/hard")).unwrap();
    fs::hard_link(at("one"), at(&long).join("hard")).unwrap();
    symlink("one", at("sym")).unwrap();
    symlink("x".repeat(150), at("long link")).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(600_000).unwrap();
    for piece in 0..12 {
        sparse.write_all_at(&content(4096, piece), piece * 45_056).unwrap();
    }
    tree::node(&at("fifo"), SFlag::S_IFIFO, (0, 0));
    if is_root() {
        tree::node(&at("char"), SFlag::S_IFCHR, (1, 3));
        std::os::unix::fs::lchown(at("big"), Some(1000), Some(3_000_000)).unwrap();
        std::os::unix::fs::lchown(at("sym"), Some(5), Some(6)).unwrap();
    }
    for (name, mode) in [("one", 0o4755), ("nothing", 0o400), ("sub", 0o2750), ("fifo", 0o620)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, tv_sec, tv_nsec) in [
        ("one", 1_234_567_890, 123_456_789),
        ("big", -6, 0),
        ("sym", 1_000_000_000, 0),
        ("sub/empty", 10_000_000_000, 0),
        ("sub", 978_307_200, 0),
    ] {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, at(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// Gives the tree attributes and ACLs; whether the file system and the tools that are here let it.
fn give_attributes(root: &Path) -> bool {
    let line = "setfattr -n user.note -v 'a note' one && setfattr -n user.of -v 'a folder' sub \
        && setfacl -m u:1234:r,u:daemon:rw,m::rwx big && setfacl -d -m g:77:rwx,g:daemon:r sub/empty";
    let given = typed(line, root);
    if !given.status.success() {
        skip("archives::give_attributes", "setfattr or setfacl is missing, or refused");
    }
    given.status.success()
}

/// Gives it attributes whose names libarchive doesn't keep in the form that GNU tar writes.
fn give_odd_attributes(root: &Path) {
    let line = "setfattr -n 'user.rsync.%stat' -v x one; setfattr -n 'user.p%25q' -v z sub; \
        setfattr -n 'user.a=b' -v 'c=d' big";
    let _ = typed(line, root);
}

/// A folder with such a `tree` in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    make(&folder.path().join("tree"));
    folder
}

/// What there is of a tree, as find, sha256sum, getfattr and getfacl say.
fn described(folder: &Path, what: Described) -> String {
    let times = if what == Described::Seconds { "%Ts" } else { "%T@" };
    let of_directories = if what == Described::NoDirectories { "" } else { times };
    let of_links = if what == Described::Seconds { "" } else { times };
    let attributes = match what {
        Described::All | Described::NoDirectories => {
            "getfattr -R -h -d -m - -e hex . ; getfacl -R -n -p ."
        }
        _ => "true",
    };
    let line = format!(
        "find . ! -type d ! -type l -printf '%P %y %m %U:%G %s {times} %n\\n' | sort
        find . -type l -printf '%P %y %U:%G {of_links} %l\\n' | sort
        find . -mindepth 1 -type d -printf '%P %y %m %U:%G {of_directories}\\n' | sort
        find . -type f -print0 | sort -z | xargs -r0 sha256sum; {{ {attributes}; }} 2>/dev/null"
    );
    let output = typed(&line, folder);
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(found.contains(" d ") || found.contains(" f "), "{found}");
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Described {
    All,
    /// All but times of directories: those that an archive leaves out get the time of the day.
    NoDirectories,
    /// All but attributes and ACLs.
    Plain,
    /// The same, with times to the second, and none of links.
    Seconds,
}

fn assert_same(found: &str, expected: &str, what: &str) {
    let differing = |one: &str, other: &str| {
        let other: std::collections::HashSet<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.take(9).collect::<Vec<_>>().join("\n  ")
    };
    let (more, less) = (differing(found, expected), differing(expected, found));
    assert!(found == expected, "{what}, found:\n  {more}\nexpected:\n  {less}");
}

/// Restores an archive by ringpack, in order and member by member, and by GNU tar, and compares.
fn compare(archive: &Path, all: Described, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    succeed(ringpack(["pack", "-q", "--no-checkpoint"]).arg(archive).arg("-o").arg(at("in.zst")));
    fs::create_dir(at("theirs")).unwrap();
    let line = format!("{GNU_TAR} '{}' -C theirs", archive.display());
    // It ends with 2 where it passes over something.
    let theirs = typed(&line, folder.path());
    assert!(theirs.status.code().is_some_and(|code| code <= 2), "{what}: {theirs:?}");
    let expected = described(&at("theirs"), all);
    for (name, how) in [("ours", "--extract"), ("members", "--member=*")] {
        let mut unpack = ringpack(["unpack", "-q", "in.zst", "-o", name, how]);
        succeed(unpack.args(ALL).current_dir(folder.path()));
        assert_same(&described(&at(name), all), &expected, &format!("{what}, {how}"));
    }
    succeed(ringpack(["ls", "-q", "-l", "in.zst"]).current_dir(folder.path()));
}

/// Makes an archive by each line, which writes `out.tar` of `tree`, and compares.
fn each(test: &str, folder: &Path, all: Described, producers: &[(&str, &str)]) {
    for &(tool, line) in producers {
        if !has_tool(tool) {
            skip(test, &format!("{tool} is not installed"));
            continue;
        }
        let out = folder.join("out.tar");
        let _ = fs::remove_file(&out);
        // Some leave out, with an error, what their format has no room for.
        let made = typed(line, folder);
        assert!(out.metadata().is_ok_and(|out| out.len() > 0), "{line}: {made:?}");
        compare(&out, all, line);
    }
}

#[test]
fn archives_of_gnu_tar() {
    let folder = folder();
    let lines = [
        "tar --format=v7 -cf out.tar tree",
        "tar --format=oldgnu -cf out.tar tree",
        "tar --format=gnu -cf out.tar tree",
        "tar --format=ustar -cf out.tar tree",
        "tar --format=posix -cf out.tar tree",
        // Members twice, and a directory after what is in it.
        "tar -cf out.tar tree/one; touch -d @77 tree/one; tar -rf out.tar tree",
        "find tree -depth -print0 | tar --null --no-recursion -T - -cf out.tar",
    ];
    let producers = lines.map(|line| ("tar", line));
    each("archives::archives_of_gnu_tar", folder.path(), Described::All, &producers);
}

#[test]
fn archives_of_gnu_tar_with_more_in_them_than_files() {
    let folder = folder();
    let lines = [
        "tar --format=gnu -V 'a label' -cf out.tar tree",
        "tar --format=posix -V 'a label' -cf out.tar tree",
        "tar --format=gnu -g snar -cf out.tar tree",
        "tar --format=posix -g snar2 -cf out.tar tree",
        "tar --format=posix --pax-option=mtime=1000000000 -cf out.tar tree",
        "tar --format=posix --pax-option=exthdr.name=%d/x,comment=c,uid=77 -cf out.tar tree",
    ];
    let producers = lines.map(|line| ("tar", line));
    each(
        "archives::archives_of_gnu_tar_with_more_in_them",
        folder.path(),
        Described::All,
        &producers,
    );
}

#[test]
fn sparse_files_of_gnu_tar_and_attributes() {
    let folder = folder();
    give_attributes(&folder.path().join("tree"));
    give_odd_attributes(&folder.path().join("tree"));
    let lines = [
        "tar -S --format=gnu -cf out.tar tree",
        "tar -S --format=oldgnu -cf out.tar tree",
        "tar -S --format=posix --sparse-version=0.0 -cf out.tar tree",
        "tar -S --format=posix --sparse-version=0.1 -cf out.tar tree",
        "tar -S --format=posix --sparse-version=1.0 -cf out.tar tree",
        "tar -S --format=posix --xattrs --acls -cf out.tar tree",
        "tar --format=posix --xattrs --xattrs-include='user.*' -cf out.tar tree",
    ];
    let producers = lines.map(|line| ("tar", line));
    each(
        "archives::sparse_files_of_gnu_tar_and_attributes",
        folder.path(),
        Described::All,
        &producers,
    );
}

#[test]
fn archives_of_bsdtar() {
    let folder = folder();
    give_attributes(&folder.path().join("tree"));
    let lines = [
        "bsdtar --format=pax --acls --xattrs -cf out.tar tree",
        "bsdtar --format=paxr -cf out.tar tree",
        "bsdtar --format=ustar -cf out.tar tree",
        "bsdtar --format=gnutar -cf out.tar tree",
        "bsdtar --format=v7 -cf out.tar tree",
    ];
    let producers = lines.map(|line| ("bsdtar", line));
    // It writes a directory's files before what is in its directories.
    each("archives::archives_of_bsdtar", folder.path(), Described::NoDirectories, &producers);
}

#[test]
fn archives_of_busybox_cpio_and_python() {
    let folder = folder();
    let python = |format: &str| {
        format!(
            "python3 -c 'import tarfile; t = tarfile.open(\"out.tar\", \"w\", \
            format=tarfile.{format}); t.add(\"tree\"); t.close()'"
        )
    };
    let (gnu, pax) = (python("GNU_FORMAT"), python("PAX_FORMAT"));
    let producers = [
        ("busybox", "busybox tar -cf out.tar tree"),
        ("cpio", "find tree | cpio --quiet -o -H ustar > out.tar"),
        ("cpio", "find tree | cpio --quiet -o -H tar > out.tar"),
        ("python3", &gnu),
        ("python3", &pax),
    ];
    each(
        "archives::archives_of_busybox_cpio_and_python",
        folder.path(),
        Described::All,
        &producers,
    );
}

/// What programmers publish is a tar of the program that publishes it.
#[test]
fn archives_of_git_cargo_npm_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("tree/src")).unwrap();
    fs::write(at("tree/src/lib.rs"), b"//! Nothing.\n").unwrap();
    let manifest =
        "[package]\nname = \"x\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(at("tree/Cargo.toml"), manifest).unwrap();
    fs::write(at("tree/package.json"), b"{\"name\": \"x\", \"version\": \"1.0.0\"}\n").unwrap();
    fs::write(at("tree").join("p".repeat(120)), b"of a long name").unwrap();
    fs::write(at("tree/run.sh"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(at("tree/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(at("main.go"), GO).unwrap();
    let producers = [
        (
            "git",
            "cd tree && git init -q . && git add . && git -c user.name=a -c user.email=a@b \
            commit -qm m && git archive -o ../out.tar HEAD",
        ),
        (
            "cargo",
            "cd tree && cargo package -q --offline --no-verify --allow-dirty --target-dir ../t \
            && gzip -dc ../t/package/x-1.0.0.crate > ../out.tar",
        ),
        ("npm", "cd tree && npm pack --silent --offline && gzip -dc x-1.0.0.tgz > ../out.tar"),
        ("go", "GO111MODULE=off GOFLAGS= go run main.go > out.tar"),
    ];
    each(
        "archives::archives_of_git_cargo_npm_and_go",
        folder.path(),
        Described::NoDirectories,
        &producers,
    );
}

/// Each format that Go's own package writes.
const GO: &str = r#"package main

import ("archive/tar"; "os"; "strings"; "time")

func main() {
    w := tar.NewWriter(os.Stdout)
    formats := []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU}
    for i, format := range formats {
        name := strings.Repeat("d/", 40) + string(rune('a'+i)) + strings.Repeat("n", 60)
        h := tar.Header{Name: name, Mode: 0640, Uid: 1000, Gid: 7, Size: 4, Format: format}
        h.ModTime = time.Unix(1234567890, 0)
        if format != tar.FormatUSTAR {
            h.Name += "ü"
            h.Uid = 3000000
        }
        if format == tar.FormatPAX {
            h.ModTime = time.Unix(1234567890, 5)
            h.PAXRecords = map[string]string{"SCHILY.xattr.user.go": "a value"}
        }
        if w.WriteHeader(&h) != nil { os.Exit(1) }
        w.Write([]byte("four"))
        link := tar.Header{Typeflag: tar.TypeSymlink, Name: "s" + name, Linkname: "x", Mode: 0777}
        w.WriteHeader(&link)
    }
    global := map[string]string{"mtime": "99"}
    w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: global})
    w.WriteHeader(&tar.Header{Name: "last", Mode: 0600})
    w.Close()
}
"#;

#[test]
fn archives_of_ringpack_are_restored_by_others() {
    let test = "archives::archives_of_ringpack_are_restored_by_others";
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let with_attributes = give_attributes(&at("tree"));
    succeed(ringpack(["pack", "-q", "tree"]).current_dir(folder.path()));
    succeed(ringpack(["unpack", "-q", "tree.tar.zst", "-o", "out.tar"]).current_dir(folder.path()));
    let all = if with_attributes { Described::All } else { Described::Plain };
    let python = "python3 -c 'import tarfile; t = tarfile.open(\"out.tar\"); \
        t.extraction_filter = lambda member, path: member; t.extractall(\"to\", numeric_owner=True)'";
    fs::create_dir(at("from")).unwrap();
    fs::rename(at("tree"), at("from/tree")).unwrap();
    for (tool, line, what) in [
        ("tar", &*format!("{GNU_TAR} out.tar -C to"), all),
        ("bsdtar", "bsdtar --numeric-owner --acls --xattrs -xpf out.tar -C to", all),
        ("python3", python, Described::Seconds),
    ] {
        if !has_tool(tool) {
            skip(test, &format!("{tool} is not installed"));
            continue;
        }
        fs::create_dir(at("to")).unwrap();
        let restored = typed(line, folder.path());
        assert!(restored.status.success(), "{line}: {restored:?}");
        assert_same(&described(&at("to"), what), &described(&at("from"), what), line);
        fs::remove_dir_all(at("to")).unwrap();
    }
}

/// More pieces than are held at a time, packed by each of the two and restored by the other.
#[test]
fn sparse_files_of_many_pieces() {
    let test = "archives::sparse_files_of_many_pieces";
    // So small a file system has blocks of 1 KiB.
    let Some(mount) = Mount::new(test, FileSystem::Ext4, 400) else { return };
    let at = |name: &str| mount.path().join(name);
    fs::create_dir(at("tree")).unwrap();
    let file = fs::File::create(at("tree/many")).unwrap();
    for piece in 0..22_000u64 {
        file.write_all_at(&piece.to_le_bytes(), piece * 2048).unwrap();
    }
    drop(file);
    let cmp = |name: &str| {
        succeed(Command::new("cmp").arg(at("tree/many")).arg(at(name)));
        fs::remove_file(at(name)).unwrap();
    };
    let line = "ringpack pack -q --no-checkpoint tree -o ours.zst \
        && ringpack unpack -q -x ours.zst -o ours \
        && ringpack cat ours.zst tree/many | cmp - tree/many && rm -r ours \
        && mkdir theirs && zstd -qdc ours.zst | tar -xf - -C theirs && rm ours.zst";
    let done = typed(line, mount.path());
    assert!(done.status.success(), "{done:?}");
    cmp("theirs/tree/many");
    let line = "tar -S -c tree | ringpack pack -q --no-checkpoint - -o in.zst \
        && ringpack unpack -q -x in.zst -o theirs";
    let done = typed(line, mount.path());
    assert!(done.status.success(), "{done:?}");
    cmp("theirs/tree/many");
}

/// A member as raw bytes: fields are put into its header by their offsets, after the usual ones.
fn raw(name: &str, kind: u8, content: &[u8], fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\x00000001\x00000002\0");
    put(108, b"0000001\0");
    put(116, b"0000002\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"14524770400\0        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    fields.iter().for_each(|(at, bytes)| put(*at, bytes));
    let mut bytes = header.to_vec();
    seal(&mut bytes);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Puts the checksum in that fits.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The same with the checksum of those who add signed bytes.
fn signed(mut member: Vec<u8>) -> Vec<u8> {
    member[148..156].fill(b' ');
    let sum: i32 = member[..512].iter().map(|&byte| i32::from(byte.cast_signed())).sum();
    member[148..156].copy_from_slice(format!("{:06o}\0 ", sum & 0o777_777).as_bytes());
    member
}

fn pax(kind: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut content = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let len = (rest + 1..rest + 5).find(|len| *len == rest + len.to_string().len());
        content += &format!("{} {key}={value}\n", len.unwrap());
    }
    raw("PaxHeaders/x", kind, content.as_bytes(), &[])
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

/// What programs that aren't here write, each by itself.
#[test]
fn headers_as_many_write_them() {
    let file = |name, fields: &[(usize, &[u8])]| raw(name, b'0', b"abc", fields);
    let directory = |name, kind| raw(name, kind, b"", &[(100, b"0000755\0")]);
    let binary = [&b"\x80\0\0\0\0\x2D\xC6\xC0"[..], b"\x80\0\0\0\0\0\0\0\0\0\0\x03"];
    let before_1970 = [&[0xFF; 11][..], b"\x85"].concat();
    let one_by_one = vec![
        raw("a label", b'V', b"", &[(100, &[0; 48])]),
        file("blank owners", &[(108, &[0; 16])]),
        file("owners of spaces", &[(108, &[b' '; 16])]),
        file("a blank time", &[(136, &[0; 12])]),
        file("a blank mode", &[(100, &[0; 8])]),
        raw("a directory with no size", b'5', b"", &[(124, &[0; 12])]),
        file("spaces first", &[(100, b"100644 "), (108, b"     7 "), (124, b"         3 ")]),
        file("no terminators", &[(108, b"00000007"), (124, b"000000000003")]),
        file("NUL first", &[(108, b"\x00000007\0")]),
        file("binary", &[(108, binary[0]), (124, binary[1])]),
        file("before 1970", &[(136, &before_1970)]),
        signed(file("signed bytes summed up \u{e4}\u{f6}", &[])),
        raw("contiguous", b'7', b"abc", &[]),
        raw("of no kind", 0, b"abc", &[]),
        directory("an old directory/", 0),
        directory("an older directory/", b'0'),
        file("of V7", &[(257, &[0; 8])]),
        file("a prefix", &[(345, &[b'p'; 155])]),
        file("a prefix and no version", &[(263, b"\0\0"), (345, b"p/q")]),
        raw("of unknown kind", b'Z', b"abc", &[]),
        raw("ACLs of Solaris", b'A', b"1000003", &[]),
        raw("a directory's names/", b'D', b"Yf\0\0", &[(100, b"0000755\0")]),
        raw("a link with a length", b'2', b"", &[(124, b"00000000003\0"), (157, b"to")]),
        file("a link to itself", &[]),
        raw("a link to itself", b'1', b"", &[(157, b"a link to itself")]),
        pax(b'X', &[("mtime", "77")]),
        file("a PAX header of Solaris", &[]),
        pax(b'x', &[("path", "a directory by PAX/")]),
        directory("x", b'5'),
        pax(b'x', &[("uid", "many"), ("mtime", "soon")]),
        file("numbers of PAX that are none", &[]),
        file("the last", &[]),
    ];
    // Its end fills no block.
    let odd_end = [file("alone", &[]), vec![0; 6]].concat();
    let for_all = vec![
        pax(b'g', &[("mtime", "7.5"), ("uid", "8"), ("gid", "9")]),
        file("first", &[]),
        pax(b'x', &[("uid", "10")]),
        file("second", &[]),
        file("third", &[]),
        pax(b'g', &[("comment", "none"), ("uid", "11")]),
        file("fourth", &[]),
        pax(b'g', &[("size", "3")]),
        file("fifth", &[(124, b"00000000000\0")]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.tar");
    for (what, archive) in [
        ("one by one", archive(&one_by_one)),
        ("for all that follow", archive(&for_all)),
        ("an odd end", odd_end),
    ] {
        fs::write(&path, archive).unwrap();
        compare(&path, Described::NoDirectories, what);
    }
}

/// A field that makes no sense costs a warning, a member of another volume itself.
#[test]
fn what_cannot_be_restored_as_it_is_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let restore = |members: &[Vec<u8>], code: Option<i32>| {
        fs::write(folder.path().join("in.tar"), archive(members)).unwrap();
        succeed(
            ringpack(["pack", "-q", "-f", "in.tar", "-o", "in.zst"]).current_dir(folder.path()),
        );
        let mut unpack = ringpack(["unpack", "-f", "-x", "in.zst", "-o", "out"]);
        let output = run(unpack.args(ALL).current_dir(folder.path()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), code, "{said}");
        said
    };
    let last = || raw("last", b'0', b"last", &[]);
    let said = restore(&[raw("odd", b'Z', b"abc", &[]), last()], Some(0));
    assert!(said.contains("odd: is of unknown kind 'Z': restored as a file"), "{said}");
    let odd =
        raw("owned", b'0', b"abc", &[(100, b"rw-r--r-"), (108, b"somebody"), (136, b"today\0")]);
    let said = restore(&[odd, last()], Some(0));
    for field in ["mode", "owner", "time of modification"] {
        assert!(said.contains(&format!("owned: its {field} makes no sense: left out")), "{said}");
    }
    let owned = folder.path().join("out/owned");
    let told = typed("stat -c '%a %u %g %Y' out/owned", folder.path());
    let expected = if is_root() { "644 65534 2 0\n" } else { "644" };
    assert!(String::from_utf8_lossy(&told.stdout).starts_with(expected), "{told:?}");
    assert_eq!(fs::read(owned).unwrap(), b"abc");
    let rest = raw("rest of a file", b'M', b"the rest", &[]);
    let said = restore(&[rest, last()], Some(NEWER));
    assert!(said.contains("1 members continue files of another volume"), "{said}");
    assert!(!folder.path().join("out/rest of a file").exists());
    assert_eq!(fs::read(folder.path().join("out/last")).unwrap(), b"last");
}

/// Reads all there is of an archive; it holds that bytes lie in their files, in order.
fn read_through(bytes: &[u8]) -> ringpack::Result<u64> {
    let mut reader = TarReader::at(Cursor::new(bytes), 0)?;
    let mut members = 0;
    while let Some(entry) = reader.next()? {
        let (mut end, next) = (0, entry.next());
        assert!(next > entry.member.header_offset);
        if entry.member.kind == MemberKind::Regular {
            reader.bytes(&entry, &mut |offset, bytes| {
                assert!(offset >= end && offset + bytes.len() as u64 <= entry.member.size);
                end = offset + bytes.len() as u64;
                Ok(())
            })?;
        }
        reader.go_to(next)?;
        members += 1;
    }
    Ok(members)
}

/// Headers with bits flipped and the checksum mended, and archives cut short: errors at worst.
#[test]
fn damaged_archives_end_with_an_error_at_worst() {
    let test = "archives::damaged_archives_end_with_an_error_at_worst";
    let folder = folder();
    give_attributes(&folder.path().join("tree"));
    let python = "python3 -c 'import tarfile; t = tarfile.open(\"out.tar\", \"w\"); \
        t.add(\"tree\"); t.close()'";
    let mut random = Random(11);
    for (tool, line) in [
        ("tar", "tar -S --format=gnu -V label -cf out.tar tree"),
        ("tar", "tar -S --format=posix --sparse-version=0.0 --xattrs --acls -cf out.tar tree"),
        ("tar", "tar -S --format=posix --sparse-version=0.1 -cf out.tar tree"),
        ("tar", "tar -S --format=posix --sparse-version=1.0 -cf out.tar tree"),
        ("tar", "tar --format=posix --pax-option=uid=7,mtime=8 -cf out.tar tree"),
        ("tar", "tar --format=v7 -cf out.tar tree"),
        ("bsdtar", "bsdtar --format=pax --acls --xattrs -cf out.tar tree"),
        ("python3", python),
        ("tar", "ringpack pack -q -c tree | zstd -dq > out.tar"),
    ] {
        if !has_tool(tool) {
            skip(test, &format!("{tool} is not installed"));
            continue;
        }
        let _ = typed(line, folder.path());
        let bytes = fs::read(folder.path().join("out.tar")).unwrap();
        let members = read_through(&bytes).unwrap();
        assert!(members > 10, "{line}: {members}");
        // What is no file's content: the blocks that are cheap to change and hard to believe.
        let is_header =
            |block: &[u8]| block[257..262] == *b"ustar" || block[100..106] == *b"000064";
        let headers: Vec<usize> = (0..bytes.len() / 512)
            .map(|block| block * 512)
            .filter(|&at| is_header(&bytes[at..at + 512]))
            .collect();
        let mut mutant = bytes.clone();
        for _ in 0..1500 {
            let at = headers[random.below(headers.len() as u64) as usize];
            // The header, or the blocks behind it: records and maps.
            let first = at + 512 * random.below(3) as usize;
            let end = bytes.len().min(first + 512);
            for _ in 0..=random.below(3) {
                let byte = first.min(bytes.len() - 512) + random.below(512) as usize;
                mutant[byte] ^= 1 << random.below(8);
            }
            if first == at {
                seal(&mut mutant[at..at + 512]);
            }
            let len = match random.below(4) {
                0 => random.below(bytes.len() as u64) as usize,
                _ => bytes.len(),
            };
            let _ = read_through(&mutant[..len]);
            let from = at.min(first).min(bytes.len() - 512);
            let to = end.max(at + 512);
            mutant[from..to].copy_from_slice(&bytes[from..to]);
        }
        assert_eq!(mutant, bytes, "each mutant was mended");
    }
    let peak = PEAK.peak_usage_as_mb();
    assert!(peak < 300.0, "{peak} MB were held");
}

/// Pieces of any number are read, and not held: of GNU's form and of lines, a byte a piece.
#[test]
fn more_pieces_than_are_held() {
    const PIECES: u64 = (1 << 20) + 10;
    let size = PIECES * 4;
    let mut content = PIECES.to_string() + "\n";
    (0..PIECES).for_each(|piece| content += &format!("{}\n1\n", piece * 4));
    let mut content = content.into_bytes();
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend((0..PIECES).map(|piece| piece as u8));
    let said = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", &size.to_string()),
    ];
    let lines = archive(&[pax(b'x', &said), raw("f", b'0', &content, &[])]);
    let mut places = Vec::new();
    for piece in 0..PIECES {
        places.extend(format!("{:011o}\000000000001\0", piece * 4).as_bytes());
    }
    let real_size = format!("{size:011o}\0");
    let fields: [(usize, &[u8]); 4] =
        [(257, b"ustar  \0"), (386, &places[..96]), (482, &[1]), (483, real_size.as_bytes())];
    let bytes: Vec<u8> = (0..PIECES).map(|piece| piece as u8).collect();
    let mut member = raw("f", b'S', &bytes, &fields);
    let blocks = places[96..].chunks(504);
    let (count, mut map) = (blocks.len(), Vec::new());
    for (number, places) in blocks.enumerate() {
        map.extend(places);
        map.resize(number * 512 + 504, 0);
        map.push(u8::from(number + 1 < count));
        map.resize(number * 512 + 512, 0);
    }
    member.splice(512..512, map);
    for (what, archive) in [("lines", lines), ("GNU", archive(&[member]))] {
        let mut reader = TarReader::at(Cursor::new(archive), 0).unwrap();
        let entry = reader.next().unwrap().unwrap();
        assert_eq!((entry.member.size, entry.member.stored >= PIECES), (size, true), "{what}");
        let mut found = 0;
        let mut sink = |offset: u64, bytes: &[u8]| {
            assert_eq!((offset, bytes), (found * 4, &[found as u8][..]), "{what}");
            found += 1;
            Ok(())
        };
        reader.bytes(&entry, &mut sink).unwrap();
        assert_eq!(found, PIECES, "{what}");
        reader.go_to(entry.next()).unwrap();
        assert!(reader.next().unwrap().is_none(), "{what}");
    }
}
