//! Faults by kind, lasting and armed late; and the cache that hides what a failed sync has lost.

use super::*;

const EIO: Option<i32> = Some(libc::EIO);

fn fault(nth: u64) -> Option<Fault> {
    Some(Fault { nth, errno: libc::EIO })
}

/// Which of five calls fail.
fn failing<T>(mut call: impl FnMut(u64) -> io::Result<T>) -> Vec<u64> {
    (1..=5).filter(|&n| call(n).is_err()).collect()
}

#[test]
fn plain_is_the_default() {
    assert_eq!(SimOptions::PLAIN, SimOptions::default());
}

#[test]
fn s16_reads_fail_once_or_from_some_read_on() {
    for (options, expected) in [
        (SimOptions { fail_read: fault(2), ..SimOptions::PLAIN }, vec![2]),
        (SimOptions { reads_fail_from: fault(4), ..SimOptions::PLAIN }, vec![4, 5]),
    ] {
        let (disk, folder) = disk(options);
        disk.write_file("/out/a", b"bytes");
        let file = folder.open_existing(name("a"), false).unwrap();
        let failed = failing(|_| {
            file.write_at(b"w", 0).unwrap();
            file.read_at(&mut [0; 3], 0)
        });
        assert_eq!((failed, disk.reads(), disk.writes()), (expected, 5, 5));
    }
    let (disk, folder) = disk(SimOptions { fail_read: fault(1), ..SimOptions::PLAIN });
    let file = folder.create_new(name("a"), false).unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    backend.submit(Op { kind: OpKind::Read, ..write_op(1, 0, 4096) });
    let Err((_, Failure::Os(error))) = run(&mut *backend).remove(0).result else { panic!() };
    assert_eq!(error.raw_os_error(), EIO);
}

#[test]
fn s16_a_device_that_went_bad_stays_bad_until_the_disk_is_restarted() {
    let options = SimOptions { writes_fail_from: fault(3), ..SimOptions::PLAIN };
    let (disk, folder) = disk(SimOptions { syncs_fail_from: fault(2), ..options });
    let file = folder.create_new(name("a"), false).unwrap();
    assert_eq!(failing(|n| file.write_at(b"w", n)), [3, 4, 5]);
    assert_eq!(failing(|n| if n % 2 > 0 { file.sync_all() } else { folder.sync() }), [2, 3, 4, 5]);
    assert_eq!(disk.read_file("/out/a").unwrap(), b"\0ww");
    let restarted = disk.killed();
    assert_eq!(restarted.options(), SimOptions::PLAIN);
    let folder = restarted.directory(Path::new("/out")).unwrap();
    let file = folder.open_existing(name("a"), false).unwrap();
    assert!(failing(|n| file.write_at(b"w", n)).is_empty());
}

#[test]
fn s16_syncs_of_files_and_of_directories_fail_apart() {
    for (options, expected) in [
        (SimOptions { fail_file_sync: fault(2), ..SimOptions::PLAIN }, vec![3]),
        (SimOptions { fail_directory_sync: fault(2), ..SimOptions::PLAIN }, vec![4]),
        (SimOptions { fail_sync: fault(2), ..SimOptions::PLAIN }, vec![2]),
    ] {
        let (disk, folder) = disk(options);
        let file = folder.create_new(name("a"), false).unwrap();
        let failed = failing(|n| if n % 2 > 0 { file.sync_data() } else { folder.sync() });
        assert_eq!(failed, expected);
        assert_eq!((disk.syncs(), disk.file_syncs(), disk.directory_syncs()), (5, 3, 2));
    }
}

#[test]
fn s16_names_can_be_refused() {
    for nth in 1..=4 {
        let fail_name = Some(Fault { nth, errno: libc::ENOSPC });
        let (disk, folder) = disk(SimOptions { fail_name, ..SimOptions::PLAIN });
        let results = [
            errno(folder.create_new(name("a"), false)),
            errno(folder.scratch()),
            errno(folder.rename(name("a"), name("b"), Replace::Never)),
            errno(folder.unlink(name("b"))),
        ];
        assert_eq!(results[nth as usize - 1], Some(libc::ENOSPC));
        assert_eq!(disk.name_calls(), 4);
        let left: &[&str] = [&[][..], &[], &["a"], &["b"]][nth as usize - 1];
        assert_eq!(disk.names("/out"), left);
    }
}

#[test]
fn s16_armed_late_faults_count_from_there() {
    let (disk, folder) = disk(SimOptions::PLAIN);
    let file = folder.create_new(name("a"), false).unwrap();
    // Two calls more are left alone: of those after them, the second write fails.
    let armed_at_step = disk.steps() + 3;
    disk.set_options(SimOptions { fail_write: fault(2), armed_at_step, ..SimOptions::PLAIN });
    file.write_at(b"w", 0).unwrap();
    file.status().unwrap();
    file.write_at(b"w", 0).unwrap();
    file.status().unwrap();
    assert_eq!(errno(file.write_at(b"w", 0)), EIO);
    file.write_at(b"w", 0).unwrap();
    assert_eq!(disk.writes(), 4);
}

#[test]
fn s17_what_a_failed_sync_lost_is_found_out_once_the_cache_is_dropped() {
    let options = SimOptions { fail_sync: fault(3), direct: true, ..SimOptions::PLAIN };
    let (disk, folder) = disk(options);
    let file = folder.create_new(name("a"), false).unwrap();
    file.write_at(&[1; 4096], 0).unwrap();
    file.sync_all().unwrap();
    folder.sync().unwrap();
    file.write_at(&[2; 4096], 0).unwrap();
    let past_cache = folder.open_existing(name("a"), true).unwrap();
    let read = |file: &Arc<dyn File>| {
        let mut buffer = Buffer::new(4096, 0);
        assert_eq!(file.read_at(&mut buffer[..4096], 0).unwrap(), 4096);
        buffer[0]
    };
    assert_eq!((read(&file), read(&past_cache)), (2, 2));
    file.drop_cache().unwrap();
    assert_eq!(read(&file), 2, "dirty pages stay");
    assert_eq!(errno(file.sync_data()), EIO);
    file.sync_data().unwrap();
    assert_eq!((read(&file), read(&past_cache)), (2, 1));
    let resumed = disk.killed_with_stragglers(1);
    let file = resumed.directory(Path::new("/out")).unwrap().open_existing(name("a"), false);
    let file = file.unwrap();
    assert_eq!(read(&file), 2, "the cache outlives the process");
    file.drop_cache().unwrap();
    assert_eq!(read(&file), 1);
}

#[test]
fn holds_is_read_and_compared() {
    let (disk, folder) = disk(SimOptions::PLAIN);
    disk.write_file("/out/a", &[5; 9000]);
    let file = folder.open_existing(name("a"), false).unwrap();
    file.set_len(20_000).unwrap();
    let mut bytes = disk.read_file("/out/a").unwrap();
    assert!(disk.holds("/out/a", &bytes));
    assert!(!disk.holds("/out/a", &bytes[1..]) && !disk.holds("/out/b", &bytes));
    for at in [0, 8999, 9000, 19_999] {
        bytes[at] ^= 1;
        assert!(!disk.holds("/out/a", &bytes));
        bytes[at] ^= 1;
    }
}
