//! Restores any bytes as an archive, and checks that nothing outside of the target changes. The
//! fuzz target `extract` calls this; the test below gives it seeds and changes of them.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ringpack::{Cancel, Progress};

use super::extract::{Extraction, Rights};
use crate::tar_stream::read::TarReader;

/// Most members that are restored: what comes later has no other ways.
const MEMBERS_MAX: usize = 200;

/// Restores what `bytes` are, as the first of them decides, and checks what is beside the target.
pub(crate) fn check(bytes: &[u8]) {
    // In memory, where the end of a restore waits for no disk.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(parent).expect("a folder can be made");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("victim"), b"as it was").expect("a file can be made");
    fs::create_dir(at("outside")).expect("a folder can be made");
    fs::create_dir(at("target")).expect("a folder can be made");
    let before = seen(folder.path());
    let choice = bytes.first().copied().unwrap_or_default();
    let rights = Rights {
        replace: choice & 1 != 0,
        owners: false,
        permissions: choice & 2 != 0,
        devices: false,
        umask: 0o022,
    };
    let cancel = Cancel::new();
    let extraction = Extraction::into(&at("target"), rights, Progress::default(), &cancel);
    restore(extraction.expect("the target is there"), bytes);
    assert_eq!(seen(folder.path()), before, "something outside of the target changed");
    check_names(&at("target"));
}

/// Restores until something is wrong.
fn restore(mut extraction: Extraction<'_>, bytes: &[u8]) {
    let Ok(mut reader) = TarReader::at(Cursor::new(bytes), 0) else { return };
    for _ in 0..MEMBERS_MAX {
        let Ok(Some(entry)) = reader.next() else { break };
        if extraction.member(&entry, &mut reader).is_err() || reader.go_to(entry.next()).is_err() {
            break;
        }
    }
    drop(extraction.finish());
}

/// What there is to know of all that is in the folder, but for what is in `target`.
fn seen(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["", "victim", "outside"] {
        let status = fs::symlink_metadata(folder.join(name)).expect("it is there");
        let names = fs::read_dir(folder.join(name)).map_or(0, Iterator::count);
        let content = fs::read(folder.join(name)).unwrap_or_default();
        let times = (status.mtime(), status.mtime_nsec(), status.nlink());
        found.push(format!("{name} {:o} {times:?} {names} {content:?}", status.mode()));
    }
    found
}

/// Nothing is left under a name of this program's own.
fn check_names(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_encoded_bytes();
        assert!(!name.ends_with(b".ringpack-partial") || name[0] != b'.', "{name:?} is left");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            check_names(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of a member, and its bytes.
    fn put(archive: &mut Vec<u8>, kind: u8, path: &str, link: &str, mode: u32, bytes: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(bytes.len() as u64);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        archive.extend(header.as_bytes());
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }

    /// Kind, path, link and content of a member.
    type Entry<'a> = (u8, &'a str, &'a str, &'a [u8]);

    fn seeds() -> Vec<Vec<u8>> {
        let table: [&[Entry<'_>]; 6] = [
            &[(b'5', "d", "", b""), (b'0', "d/f", "", b"x"), (b'1', "d/h", "d/f", b"")],
            &[(b'2', "l", "../outside", b""), (b'0', "l/f", "", b"x"), (b'5', "l", "", b"")],
            &[(b'2', "l", "../victim", b""), (b'1', "h", "l", b""), (b'0', "h", "", b"bad")],
            &[
                (b'6', "p", "", b""),
                (b'6', "p", "", b""),
                (b'1', "q", "p", b""),
                (b'3', "c", "", b""),
            ],
            &[
                (b'5', "a", "", b""),
                (b'0', "a/../../victim", "", b"bad"),
                (b'1', "v", "../victim", b""),
            ],
            &[
                (b'0', "a/b/c", "", b"x"),
                (b'5', "a/b", "", b""),
                (b'2', "a", "..", b""),
                (b'5', "a", "", b""),
            ],
        ];
        let archive = |members: &&[(u8, &str, &str, &[u8])]| {
            let mut archive = Vec::new();
            for &(kind, path, link, bytes) in *members {
                put(&mut archive, kind, path, link, 0o6755, bytes);
            }
            archive
        };
        table.iter().map(archive).collect()
    }

    /// Each seed as it is, and with bytes of its headers exchanged for others that matter there,
    /// their checksums mended.
    #[test]
    fn nothing_outside_changes() {
        const BYTES: &[u8] = b"./\0lx0123456789dpqS\xFF";
        for seed in seeds() {
            check(&seed);
            for round in 0..150 {
                let mut bytes = seed.clone();
                let hash = |salt: usize| scrambled(round * 31 + salt);
                for salt in 0..3 {
                    let at = hash(salt) % bytes.len();
                    let near = [0, 1, 2, 156, 157, 158, 100, 124][hash(salt + 10) % 8];
                    bytes[at - at % 512 + near] = BYTES[hash(salt + 20) % BYTES.len()];
                }
                for block in bytes.chunks_mut(512) {
                    if block.get(257..262) == Some(b"ustar") {
                        block[148..156].fill(b' ');
                        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                    }
                }
                check(&bytes);
            }
        }
    }

    /// A number that looks random.
    fn scrambled(number: usize) -> usize {
        let mut mixed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 32)) as usize
    }
}
