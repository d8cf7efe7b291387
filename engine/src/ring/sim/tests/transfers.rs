//! The simulator's backend: order, faults, direct I/O, and what is in flight.

use super::*;

#[test]
fn a_lock_outlasts_the_writes_in_flight() {
    // S14: the backend finishes its writes before it lets go of the file (R3).
    let (disk, folder) = disk(SimOptions { reorder: true, ..SimOptions::default() });
    let file = folder.create_new(name("a"), false).unwrap();
    assert!(file.try_lock().unwrap());
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    for tag in 1..=8 {
        backend.submit(write_op(tag, (tag - 1) * 4096, 4096));
    }
    backend.turn(Wait::No, &mut Vec::new()).unwrap();
    assert!(backend.in_flight() > 0);
    drop(file);
    let second = folder.open_existing(name("a"), false).unwrap();
    assert!(!second.try_lock().unwrap());
    let killed = disk.killed().read_file("/out/a").unwrap();
    drop(backend);
    assert!(second.try_lock().unwrap());
    let expected: Vec<u8> = (1..=8).flat_map(|tag| [tag; 4096]).collect();
    assert!(disk.read_file("/out/a").unwrap() == expected);
    assert!(killed == expected);
}

#[test]
fn a_backends_writes_in_flight_are_not_covered_by_a_sync() {
    // S5: seen and durable are what had completed, and only that.
    let (disk, folder) = disk(SimOptions { reorder: true, ..SimOptions::default() });
    let file = folder.create_new(name("a"), false).unwrap();
    folder.sync().unwrap();
    file.set_len(16 * 4096).unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    for tag in 1..=16 {
        backend.submit(write_op(tag, (tag - 1) * 4096, 4096));
    }
    let mut done = Vec::new();
    backend.turn(Wait::ForOne, &mut done).unwrap();
    assert!((1..16).contains(&done.len()), "{}", done.len());
    file.sync_all().unwrap();
    let completed: BTreeSet<u64> = done.iter().map(|completed| completed.tag).collect();
    let (mut lost, mut landed) = (false, false);
    for seed in 0..50 {
        let bytes = disk.crash(seed).read_file("/out/a").unwrap();
        for tag in 1..=16 {
            let on_medium = bytes[(tag as usize - 1) * 4096] == tag as u8;
            assert!(on_medium || !completed.contains(&tag), "synced and gone");
            lost |= !on_medium;
            landed |= on_medium && !completed.contains(&tag);
        }
    }
    assert!(lost && landed);
}

#[test]
fn the_chosen_write_fails_and_no_other() {
    let fail_write = Some(Fault { nth: 2, errno: libc::EIO });
    let (disk, folder) = disk(SimOptions { fail_write, ..SimOptions::default() });
    let file = folder.create_new(name("a"), false).unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    for tag in 1..=3 {
        backend.submit(write_op(tag, (tag - 1) * 4096, 4096));
    }
    let failed: Vec<u64> =
        run(&mut *backend).iter().filter(|c| c.result.is_err()).map(|c| c.tag).collect();
    assert_eq!((failed, disk.writes()), (vec![2], 3));
    let bytes = disk.read_file("/out/a").unwrap();
    assert_eq!([bytes[0], bytes[4096], bytes[8192]], [1, 0, 3]);
}

#[test]
fn short_and_interrupted_transfers_get_to_the_end() {
    // S12: with every transfer cut that may be, and S13 in `run`.
    let options = SimOptions {
        short_per_mille: 1000,
        eintr_per_mille: 200,
        eagain_per_mille: 200,
        ..SimOptions::default()
    };
    for kind in [BackendKind::Sim, BackendKind::Pwrite] {
        for direct in [false, true] {
            for reorder in [false, true] {
                let (disk, folder) = disk(SimOptions { reorder, direct, ..options });
                let file = folder.create_new(name("a"), direct).unwrap();
                assert_eq!(file.is_direct(), direct);
                let mut backend = backend(&disk, kind, &file);
                for tag in 1..=6 {
                    backend.submit(write_op(tag, (tag - 1) * 20_480, 20_480));
                }
                let done = run(&mut *backend);
                assert!(done.iter().all(|completed| completed.result.is_ok()));
                let expected: Vec<u8> = (1..=6).flat_map(|tag| [tag; 20_480]).collect();
                assert!(disk.read_file("/out/a").unwrap() == expected);
                assert!(backend.counters().resubmitted > 6);
                let mut op = write_op(0, 0, 61_440);
                op.kind = OpKind::Read;
                backend.submit(op);
                let read = run(&mut *backend).remove(0);
                assert!(read.result.is_ok() && read.buffer[..] == expected[..61_440]);
            }
        }
    }
}

#[test]
fn a_file_that_refuses_direct_io_after_all_goes_on_without() {
    for reorder in [false, true] {
        let options = SimOptions { einval_direct: true, reorder, ..SimOptions::default() };
        let (disk, folder) = disk(options);
        let file = folder.create_new(name("a"), true).unwrap();
        assert!(file.is_direct());
        let mut backend = backend(&disk, BackendKind::Sim, &file);
        for tag in 1..=8 {
            backend.submit(write_op(tag, (tag - 1) * 4096, 4096));
        }
        // All of them were refused, not only the one that turns direct I/O off.
        assert!(run(&mut *backend).iter().all(|completed| completed.result.is_ok()));
        assert!(!file.is_direct());
        assert_eq!(disk.read_file("/out/a").unwrap().len(), 8 * 4096);
    }
}

#[test]
fn einval_is_asked_again_once_whoever_turned_direct_io_off() {
    let fail_write = Some(Fault { nth: 1, errno: libc::EINVAL });
    let (disk, folder) = disk(SimOptions { fail_write, ..SimOptions::default() });
    let file = folder.create_new(name("a"), true).unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    backend.submit(write_op(1, 0, 4096));
    assert!(run(&mut *backend).remove(0).result.is_ok());
    assert_eq!(backend.counters().resubmitted, 1);
}

/// A job with everything on: what its caller sees, and what a power cut leaves.
fn outcome(seed: u64) -> (Vec<u64>, Vec<String>, Option<Vec<u8>>) {
    let options = SimOptions {
        reorder: true,
        short_per_mille: 300,
        eintr_per_mille: 100,
        eagain_per_mille: 100,
        garbage: true,
        ..SimOptions::default()
    };
    let disk = SimDisk::new(seed, options);
    let folder = disk.directory(Path::new("/")).unwrap();
    let file = folder.create_new(name("a"), false).unwrap();
    folder.sync().unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    for tag in 1..=16 {
        backend.submit(write_op(tag, (tag - 1) * 8192, 8192));
    }
    let tags = run(&mut *backend).iter().map(|completed| completed.tag).collect();
    (tags, disk.trace(), disk.crash(seed).read_file("a"))
}

#[test]
fn a_seed_replays_and_another_differs() {
    // S1
    for seed in 0..20 {
        assert!(outcome(seed) == outcome(seed));
    }
    let orders: BTreeSet<Vec<u64>> = (0..20).map(|seed| outcome(seed).0).collect();
    assert_eq!(orders.len(), 20);
}

#[test]
fn without_reordering_operations_finish_in_order() {
    let (disk, folder) = disk(SimOptions::default());
    let file = folder.create_new(name("a"), false).unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    for tag in 1..=16 {
        backend.submit(write_op(tag, 0, 4096));
    }
    let mut done = Vec::new();
    backend.turn(Wait::No, &mut done).unwrap();
    assert!(done.iter().map(|completed| completed.tag).eq(1..=16));
    let counters = backend.counters();
    assert_eq!((counters.enters, counters.batches, counters.batch_max), (1, 1, 16));
    assert_eq!((counters.submitted, counters.completed), (16, 16));
    assert_eq!((counters.in_flight_max, counters.bytes_written), (16, 65_536));
    assert_eq!(backend.tier().kind, BackendKind::Sim);
    backend.turn(Wait::ForOne, &mut done).unwrap();
}
