//! Trees of files: one of every kind, and what there is to compare of one.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lsetxattr, utimensat,
};

use crate::{content, is_root};

/// Makes a tree with entries of every kind that this user can make, `big` with `big_len` bytes.
///
/// # Panics
/// Where it can't be made.
pub fn make(root: &Path, big_len: usize) {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("sub/empty")).unwrap();
    fs::create_dir(at("with space")).unwrap();
    fs::write(at("a.txt"), b"hello\n").unwrap();
    fs::write(at("nothing"), b"").unwrap();
    fs::hard_link(at("a.txt"), at("sub/another name")).unwrap();
    fs::write(at("big"), content(big_len, 7)).unwrap();
    symlink("../outside/of it", at("link")).unwrap();
    symlink("x".repeat(150), at("long link")).unwrap();
    let odd = OsStr::from_bytes(b"odd\xFF\nname");
    fs::write(root.join(odd), b"odd").unwrap();
    let deep = at("sub").join(vec!["d".repeat(60); 4].join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("n".repeat(200)), b"deep").unwrap();
    sparse(&at("hole"), 10 << 30, &[]);
    sparse(&at("end hole"), 9 << 20, &[(1 << 20, 5000)]);
    let many: Vec<(u64, usize)> = (0..60).map(|i| (i * 65_536, 5000)).collect();
    sparse(&at("many holes"), 60 * 65_536 + 77, &many);
    node(&at("fifo"), SFlag::S_IFIFO, (0, 0));
    if is_root() {
        node(&at("char"), SFlag::S_IFCHR, (1, 3));
        node(&at("block"), SFlag::S_IFBLK, (7, 250));
        std::os::unix::fs::lchown(at("big"), Some(1000), Some(1001)).unwrap();
        std::os::unix::fs::lchown(at("link"), Some(5), Some(6)).unwrap();
    }
    for (name, mode) in [("big", 0o4711), ("sub", 0o2750), ("nothing", 0o400), ("fifo", 0o620)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, value) in [("a.txt", &b"line\nline\0"[..]), ("sub", b"of a folder")] {
        // A file system may have none.
        let _ = lsetxattr(at(name), "user.note", value, XattrFlags::empty());
    }
    for (name, seconds, nanos) in [
        ("a.txt", 1_234_567_890, 123_456_789),
        ("link", 1_000_000_000, 5),
        ("fifo", 999_999_999, 0),
        ("sub/empty", -2, 500_000_000),
        ("sub", 978_307_200, 0),
    ] {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, at(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn sparse(path: &Path, len: u64, pieces: &[(u64, usize)]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(len).unwrap();
    for &(offset, piece) in pieces {
        file.write_all_at(&content(piece, offset), offset).unwrap();
    }
}

/// Makes a FIFO or a device node.
///
/// # Panics
/// Where it can't be made.
pub fn node(path: &Path, kind: SFlag, (major, minor): (u64, u64)) {
    mknod(path, kind, Mode::from_bits_truncate(0o600), makedev(major, minor)).unwrap();
}

/// What there is to know of every entry below `root`, and of itself: kind, permissions, owners,
/// time of modification, number of names, device, attributes, target, length, whether it has
/// holes, and content.
///
/// # Panics
/// Where it can't be read.
#[must_use]
pub fn described(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    describe(root, b"", &mut found);
    found
}

fn describe(path: &Path, name: &[u8], found: &mut BTreeMap<Vec<u8>, String>) {
    let status = fs::symlink_metadata(path).unwrap();
    let mut text = format!(
        "{:o} {}:{} {}.{:09}",
        status.mode(),
        status.uid(),
        status.gid(),
        status.mtime(),
        status.mtime_nsec()
    );
    if !status.is_dir() {
        text += &format!(" names {} device {}", status.nlink(), status.rdev());
    }
    if status.is_symlink() {
        text += &format!(" {:?}", fs::read_link(path).unwrap());
    }
    if status.is_dir() || status.is_file() {
        text += &format!(" {:?}", attributes(path));
    }
    if status.is_file() {
        let sparse = status.blocks() * 512 < status.len();
        text += &format!(" {} bytes, holes {sparse}", status.len());
        // A hole of gigabytes isn't worth reading.
        if status.blocks() > 0 {
            text += &format!(" {}", blake3::hash(&fs::read(path).unwrap()));
        }
    }
    found.insert(name.to_vec(), text);
    if status.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = [name, b"/", entry.file_name().as_bytes()].concat();
            describe(&entry.path(), &name, found);
        }
    }
}

fn attributes(path: &Path) -> Vec<(CString, Vec<u8>)> {
    let mut list = vec![0; 4096];
    let Ok(len) = llistxattr(path, &mut list[..]) else { return Vec::new() };
    let names = list[..len].split_inclusive(|&byte| byte == 0);
    let mut found: Vec<_> = names
        .map(|name| {
            let name = CString::from_vec_with_nul(name.to_vec()).unwrap();
            let mut value = vec![0; 4096];
            let len = lgetxattr(path, name.as_c_str(), &mut value[..]).unwrap();
            (name, value[..len].to_vec())
        })
        .collect();
    found.sort();
    found
}

/// Compares two trees entry by entry.
///
/// # Panics
/// Where they differ, naming the entries.
pub fn assert_same(found: &Path, expected: &Path, what: &str) {
    let (found, expected) = (described(found), described(expected));
    let differing = |name: &&Vec<u8>| found.get(*name) != expected.get(*name);
    let names = found.keys().chain(expected.keys()).filter(differing);
    let lines: Vec<String> = names
        .map(|name| {
            let shown = name.escape_ascii();
            format!("{shown}:\n  {:?}\n  {:?}", found.get(name), expected.get(name))
        })
        .collect();
    assert!(lines.is_empty(), "{what}, found and expected:\n{}", lines.join("\n"));
}
