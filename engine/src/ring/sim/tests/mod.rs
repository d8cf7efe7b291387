//! The disk as a job sees it: names, locks, capacity, faults, power cuts, and the backend on it.

use std::collections::BTreeSet;

mod faults;
mod stragglers;
mod transfers;

use super::*;
use crate::buffer::Buffer;
use crate::limits::ALIGN;
use crate::ring::Wait;
use crate::ring::file::{Attributes, Replace};
use crate::ring::op::{Completed, Failure, FileSlot, Op, OpKind, Span};

fn disk(options: SimOptions) -> (SimDisk, Arc<dyn Directory>) {
    let disk = SimDisk::new(1, options);
    disk.mkdir("/out");
    let folder = disk.directory(Path::new("/out")).unwrap();
    (disk, folder)
}

fn name(name: &str) -> &OsStr {
    OsStr::new(name)
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().map(|error| error.raw_os_error().unwrap())
}

/// What some power cut leaves of `/out/NAME`: its bytes, or nothing.
fn left(disk: &SimDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..100).map(|seed| disk.crash(seed).read_file(Path::new("/out").join(name))).collect()
}

fn write_op(tag: u64, offset: u64, len: usize) -> Op {
    let mut buffer = Buffer::new(len, 0);
    buffer[..len].fill(tag as u8);
    let spans = vec![Span::exact(offset, 0, len)];
    Op { kind: OpKind::Write, file: FileSlot(0), spans, buffer, tag }
}

fn backend(disk: &SimDisk, kind: BackendKind, file: &Arc<dyn File>) -> Box<dyn Backend> {
    let buffers: Vec<Buffer> = (0..16).map(|id| Buffer::new(ALIGN, id)).collect();
    let config = BackendConfig { files: vec![file.clone()], buffers: buffers.iter().collect() };
    disk.backend(kind, config).unwrap()
}

fn run(backend: &mut dyn Backend) -> Vec<Completed> {
    let mut done = Vec::new();
    while backend.in_flight() > 0 {
        let before = done.len();
        backend.turn(Wait::ForOne, &mut done).unwrap();
        assert!(done.len() > before, "S13");
    }
    done
}

#[test]
fn a_synced_file_needs_its_directory_synced_too() {
    // S5, S7
    let (disk, folder) = disk(SimOptions::default());
    let file = folder.create_new(name("a"), false).unwrap();
    file.write_at(b"new", 0).unwrap();
    // The length may survive without the bytes.
    let unsynced = [None, Some(vec![]), Some(vec![0; 3]), Some(b"new".to_vec())];
    assert_eq!(left(&disk, "a"), BTreeSet::from(unsynced));
    file.sync_all().unwrap();
    assert_eq!(left(&disk, "a"), BTreeSet::from([None, Some(b"new".to_vec())]));
    folder.sync().unwrap();
    assert_eq!(left(&disk, "a"), BTreeSet::from([Some(b"new".to_vec())]));
}

#[test]
fn publishing_without_the_files_sync_may_publish_nothing_at_all() {
    let (disk, folder) = disk(SimOptions::default());
    disk.write_file("out/a", b"old");
    let file = folder.create_new(name("a.part"), false).unwrap();
    file.write_at(b"new", 0).unwrap();
    folder.rename(name("a.part"), name("a"), Replace::Allowed).unwrap();
    folder.sync().unwrap();
    let published = [Some(vec![]), Some(vec![0; 3]), Some(b"new".to_vec())];
    assert_eq!(left(&disk, "a"), BTreeSet::from(published), "and never the old");
    file.sync_data().unwrap();
    assert_eq!(left(&disk, "a"), BTreeSet::from([Some(b"new".to_vec())]));
}

#[test]
fn names_follow_posix() {
    let (disk, folder) = disk(SimOptions::default());
    disk.mkdir("/out/sub");
    let a = folder.create_new(name("a"), false).unwrap();
    let again = folder.create_new(name("a"), false).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(errno(folder.create_new(name("sub"), false)), Some(libc::EEXIST));
    let missing = folder.open_existing(name("b"), false).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    folder.create_new(name("b"), false).unwrap();
    let refused = folder.rename(name("a"), name("b"), Replace::Never).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    folder.rename(name("a"), name("b"), Replace::Allowed).unwrap();
    assert_eq!(disk.names("/out"), ["b"]);
    let identity = a.status().unwrap().identity;
    assert_eq!(folder.status(name("b")).unwrap().unwrap().identity, identity);
    assert_eq!(folder.status(name("a")).unwrap(), None);
    assert_eq!(errno(folder.unlink(name("a"))), Some(libc::ENOENT));
    assert_eq!(errno(disk.directory(Path::new("/out/b"))), Some(libc::ENOTDIR));
    assert_eq!(errno(disk.directory(Path::new("/none"))), Some(libc::ENOENT));
    assert_eq!(errno(disk.open(Path::new("/out/sub"), false)), Some(libc::EISDIR));
    let read_only = disk.open(Path::new("./out/b"), false).unwrap();
    assert_eq!(errno(read_only.write_at(b"x", 0)), Some(libc::EBADF));
    assert_eq!(errno(read_only.set_len(1)), Some(libc::EINVAL));
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open_and_no_longer() {
    // S9
    let (disk, folder) = disk(SimOptions { capacity: Some(8192), ..SimOptions::default() });
    let file = folder.create_new(name("a"), false).unwrap();
    let scratch = folder.scratch().unwrap();
    scratch.write_at(&[2; 4096], 0).unwrap();
    file.write_at(&[1; 4096], 0).unwrap();
    folder.unlink(name("a")).unwrap();
    let mut bytes = [0; 2];
    assert_eq!(file.read_at(&mut bytes, 4095).unwrap(), 1);
    assert_eq!(bytes, [1, 0]);
    assert_eq!(errno(scratch.write_at(&[2; 4096], 4096)), Some(libc::ENOSPC));
    drop(file);
    let full = errno(scratch.write_at(&[2; 4096], 4096));
    assert_eq!(full, Some(libc::ENOSPC), "a power cut may bring the name back");
    folder.sync().unwrap();
    assert_eq!(scratch.write_at(&[2; 4096], 4096).unwrap(), 4096);
    assert!(disk.names("out").is_empty());
}

#[test]
fn a_lock_belongs_to_the_open_file_description() {
    // S10
    let (disk, folder) = disk(SimOptions::default());
    let first = folder.create_new(name("a"), false).unwrap();
    let shared = first.clone();
    let second = folder.open_existing(name("a"), false).unwrap();
    assert!(first.try_lock().unwrap() && shared.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    for restarted in [disk.killed(), disk.crash(0)] {
        restarted.write_file("/out/b", b"");
        let folder = restarted.directory(Path::new("/out")).unwrap();
        for name in restarted.names("/out") {
            assert!(folder.open_existing(&name, false).unwrap().try_lock().unwrap());
        }
    }
    drop(first);
    assert!(!second.try_lock().unwrap(), "a clone still has it");
    drop(shared);
    assert!(second.try_lock().unwrap());
}

#[test]
fn a_failed_sync_is_followed_by_one_that_lies() {
    // S6
    let fail_sync = Some(Fault { nth: 3, errno: libc::EIO });
    let (disk, folder) = disk(SimOptions { fail_sync, ..SimOptions::default() });
    let file = folder.create_new(name("a"), false).unwrap();
    file.write_at(b"old", 0).unwrap();
    file.sync_all().unwrap();
    folder.sync().unwrap();
    file.write_at(b"new", 0).unwrap();
    assert_eq!(errno(file.sync_data()), Some(libc::EIO));
    file.sync_data().unwrap();
    assert_eq!(disk.syncs(), 4);
    assert_eq!(disk.read_file("/out/a").unwrap(), b"new");
    assert_eq!(left(&disk, "a"), BTreeSet::from([Some(b"old".to_vec())]));
}

#[test]
fn a_full_disk_takes_what_fits_and_then_says_so() {
    let (disk, folder) = disk(SimOptions { capacity: Some(3 * 4096), ..SimOptions::default() });
    let file = folder.create_new(name("a"), false).unwrap();
    file.allocate(0, 4096).unwrap();
    assert_eq!(errno(file.allocate(4096, 3 * 4096)), Some(libc::ENOSPC));
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    backend.submit(write_op(1, 0, 4 * 4096));
    let Err((reached, Failure::Os(error))) = run(&mut *backend).remove(0).result else { panic!() };
    assert_eq!((reached, error.raw_os_error()), (3 * 4096, Some(libc::ENOSPC)));
    assert_eq!(file.status().unwrap().allocated, 3 * 4096);
    file.punch_hole(0, 4096).unwrap();
    assert_eq!(file.write_at(&[1; 4096], 3 * 4096).unwrap(), 4096);
}

#[test]
fn a_synchronous_caller_that_goes_on_gets_to_the_end() {
    // S12: small writes too, as of a journal's records.
    let (disk, folder) = disk(SimOptions { short_per_mille: 1000, ..SimOptions::default() });
    let file = folder.create_new(name("a"), false).unwrap();
    let (mut at, mut calls) = (0, 0);
    while at < 100 {
        at += file.write_at(&[7; 100][at..], at as u64).unwrap();
        calls += 1;
    }
    assert_eq!((disk.read_file("/out/a").unwrap(), calls), (vec![7; 100], 2));
}

#[test]
fn direct_io_off_the_grid_is_refused() {
    // S11
    let (disk, folder) = disk(SimOptions { direct: true, ..SimOptions::default() });
    let file = folder.create_new(name("a"), true).unwrap();
    let buffer = Buffer::new(3 * 4096, 0);
    assert_eq!(file.write_at(&buffer[..8192], 4096).unwrap(), 8192);
    for (from, to, offset) in [(0, 4096, 512), (0, 512, 0), (512, 4608, 0)] {
        assert_eq!(errno(file.write_at(&buffer[from..to], offset)), Some(libc::EINVAL));
    }
    assert!(file.leave_direct().unwrap() && !file.leave_direct().unwrap());
    assert_eq!(file.write_at(&buffer[512..520], 3).unwrap(), 8);
    assert!(!folder.open_existing(name("a"), false).unwrap().is_direct());
    assert!(disk.open(Path::new("/out/a"), true).unwrap().is_direct());
}

#[test]
fn the_trace_tells_the_order_of_calls() {
    let fail_sync = Some(Fault { nth: 2, errno: libc::EIO });
    let (disk, folder) = disk(SimOptions { fail_sync, ..SimOptions::default() });
    let file = folder.create_new(name("a.part"), false).unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    file.allocate(0, 8192).unwrap();
    backend.submit(write_op(1, 4096, 4096));
    run(&mut *backend);
    file.set_len(5000).unwrap();
    file.sync_data().unwrap();
    file.write_at(b"head", 0).unwrap();
    let attributes = Attributes { mode: 0o640, owner: Some((5, 6)), modified: None };
    file.set_attributes(&attributes).unwrap();
    let status = file.status().unwrap();
    assert_eq!((status.mode, status.uid, status.gid), (0o640, 5, 6));
    file.sync_all().unwrap_err();
    folder.rename(name("a.part"), name("a"), Replace::Never).unwrap();
    folder.sync().unwrap();
    file.punch_hole(0, 10).unwrap();
    folder.unlink(name("a")).unwrap();
    folder.unlink(name("a")).unwrap_err();
    let expected = [
        "create a.part",
        "allocate a.part 0 8192",
        "write a.part 4096 4096",
        "set_len a.part 5000",
        "sync_data a.part",
        "write a.part 0 4",
        "set_attributes a.part",
        "sync_all a.part errno 5",
        "rename a.part a",
        "sync /out",
        "punch_hole a 0 10",
        "unlink a",
        "unlink a errno 2",
    ];
    assert_eq!(disk.trace(), expected);
}

#[test]
fn a_restarted_disk_has_its_one_shot_faults_behind_it() {
    let fail_write = Some(Fault { nth: 1, errno: libc::EIO });
    let options = SimOptions { fail_write, reorder: true, ..SimOptions::default() };
    let disk = SimDisk::new(1, options);
    for restarted in [disk.killed(), disk.crash(5)] {
        assert_eq!(restarted.options(), SimOptions { fail_write: None, ..options });
        assert_eq!((restarted.trace(), restarted.writes()), (vec![], 0));
    }
}

#[test]
fn a_kill_keeps_what_was_seen_and_a_power_cut_after_it_may_not() {
    let (disk, folder) = disk(SimOptions::default());
    let file = folder.create_new(name("a"), false).unwrap();
    file.write_at(b"new", 0).unwrap();
    let killed = disk.killed();
    assert_eq!(killed.read_file("/out/a").unwrap(), b"new");
    assert!(left(&killed, "a").contains(&None));
}

#[test]
fn a_directorys_sync_can_fail_and_lie_too() {
    // S6 for names, S7
    let fail_sync = Some(Fault { nth: 1, errno: libc::EIO });
    let (disk, folder) = disk(SimOptions { fail_sync, ..SimOptions::default() });
    folder.create_new(name("a"), false).unwrap();
    assert_eq!(errno(folder.sync()), Some(libc::EIO));
    folder.sync().unwrap();
    assert_eq!(disk.names("/out"), ["a"]);
    assert_eq!(left(&disk, "a"), BTreeSet::from([None]));
}

#[test]
fn a_file_put_there_is_durable_whatever_went_before() {
    let (disk, folder) = disk(SimOptions::default());
    folder.create_new(name("a"), false).unwrap();
    folder.unlink(name("a")).unwrap();
    folder.create_new(name("a"), false).unwrap();
    disk.write_file("/out/a", b"put");
    assert_eq!(left(&disk, "a"), BTreeSet::from([Some(b"put".to_vec())]));
    assert_eq!((disk.writes(), disk.syncs()), (0, 0));
}

#[test]
fn sparse_files_tell_where_their_data_is() {
    let (_disk, folder) = disk(SimOptions::default());
    let file = folder.create_new(name("a"), false).unwrap();
    file.set_len(100_000).unwrap();
    file.write_at(&[1; 10], 50_000).unwrap();
    assert_eq!(file.next_data(0).unwrap(), Some((49_152, 53_248)));
    assert_eq!(file.next_data(53_248).unwrap(), None);
    assert_eq!(file.status().unwrap().allocated, 4096);
    let before = file.status().unwrap().modified;
    file.write_at(&[1; 10], 0).unwrap();
    assert!(file.status().unwrap().modified > before);
}
