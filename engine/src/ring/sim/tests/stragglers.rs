//! What a kill leaves in flight, the lock that waits for it, and the names of runs.

use super::*;

/// A disk on which eight writes are in flight to a synced, locked `/out/a`, and what holds it all.
fn in_flight() -> (SimDisk, Box<dyn Backend>) {
    let (disk, folder) = disk(SimOptions { reorder: true, ..SimOptions::default() });
    let file = folder.create_new(name("a"), false).unwrap();
    file.set_len(8 * 4096).unwrap();
    file.sync_all().unwrap();
    folder.sync().unwrap();
    assert!(file.try_lock().unwrap());
    let mut backend = backend(&disk, BackendKind::Sim, &file);
    for tag in 1..=8 {
        backend.submit(write_op(tag, (tag - 1) * 4096, 4096));
    }
    let mut done = Vec::new();
    while done.is_empty() && backend.in_flight() == 8 {
        backend.turn(Wait::No, &mut done).unwrap();
    }
    (disk, backend)
}

fn landed(disk: &SimDisk) -> usize {
    let bytes = disk.read_file("/out/a").unwrap();
    bytes.iter().step_by(4096).filter(|&&byte| byte > 0).count()
}

fn out(disk: &SimDisk) -> Arc<dyn Directory> {
    disk.directory(Path::new("/out")).unwrap()
}

#[test]
fn s18_s19_the_lock_comes_free_once_the_last_straggler_has_landed() {
    let (disk, backend) = in_flight();
    let count = backend.in_flight();
    assert!(count > 2, "seed 1 leaves some");
    let mut attempts_seen = BTreeSet::new();
    for seed in 0..100 {
        let left = disk.killed_with_stragglers(seed);
        assert_eq!((left.stragglers(), landed(&left)), (count, 8 - count));
        let file = out(&left).open_existing(name("a"), false).unwrap();
        let mut attempts = 1;
        while !file.try_lock().unwrap() {
            assert_eq!(landed(&left), 8 - left.stragglers());
            attempts += 1;
        }
        assert_eq!((left.stragglers(), landed(&left)), (0, 8));
        assert!(attempts <= count + 1, "S19: each attempt lands one");
        attempts_seen.insert(attempts);
        let straggled = left.trace().iter().filter(|call| call.starts_with("straggler a ")).count();
        assert_eq!(straggled, count);
    }
    assert!(attempts_seen.len() > 2, "{attempts_seen:?}");
    drop(backend);
    assert_eq!((disk.stragglers(), landed(&disk)), (0, 8), "the disk itself is unharmed");
}

#[test]
fn any_call_may_see_a_straggler_land_and_a_pause_always_does() {
    let (disk, _backend) = in_flight();
    let (mut some, mut none) = (0, 0);
    for seed in 0..50 {
        let left = disk.killed_with_stragglers(seed);
        let folder = out(&left);
        let before = left.stragglers();
        folder.status(name("a")).unwrap();
        match before - left.stragglers() {
            0 => none += 1,
            1 => some += 1,
            more => panic!("{more} at one call"),
        }
        let mut before = left.stragglers();
        while before > 0 {
            folder.pause(std::time::Duration::from_secs(3600));
            assert!(left.stragglers() < before, "S19");
            before = left.stragglers();
        }
    }
    assert!(some > 5 && none > 5, "{some} {none}");
}

#[test]
fn s18_stragglers_outlast_a_second_kill_and_a_power_cut_treats_them_as_in_flight() {
    let (disk, backend) = in_flight();
    let left = disk.killed_with_stragglers(3).killed_with_stragglers(4);
    assert_eq!(left.stragglers(), backend.in_flight());
    let still_locked = left.killed_with_stragglers(5);
    let file = out(&still_locked).open_existing(name("a"), false).unwrap();
    assert!(still_locked.stragglers() > 1 && !file.try_lock().unwrap());
    let landed: BTreeSet<usize> = (0..100).map(|seed| landed(&left.crash(seed))).collect();
    assert!(landed.contains(&(8 - backend.in_flight())) && landed.contains(&8), "{landed:?}");
    let dark = left.crash(0);
    assert_eq!(dark.stragglers(), 0);
    assert!(out(&dark).open_existing(name("a"), false).unwrap().try_lock().unwrap(), "S10");
    assert_eq!(left.killed().stragglers(), 0);
}

#[test]
fn s18_a_straggler_through_another_description_holds_no_lock_and_takes_none_away() {
    let (disk, folder) = disk(SimOptions { reorder: true, ..SimOptions::default() });
    let locked = folder.create_new(name("a"), false).unwrap();
    assert!(locked.try_lock().unwrap());
    let other = folder.open_existing(name("a"), false).unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &other);
    for tag in 1..=16 {
        backend.submit(write_op(tag, (tag - 1) * 4096, 4096));
    }
    backend.turn(Wait::No, &mut Vec::new()).unwrap();
    let left = disk.killed_with_stragglers(1);
    let folder = out(&left);
    let next = folder.open_existing(name("a"), false).unwrap();
    assert!(left.stragglers() > 3);
    assert!(next.try_lock().unwrap());
    while left.stragglers() > 0 {
        folder.pause(std::time::Duration::ZERO);
    }
    assert!(!folder.open_existing(name("a"), false).unwrap().try_lock().unwrap());
}

#[test]
fn s9_an_unlinked_file_lives_until_its_last_straggler_has_landed() {
    let (disk, folder) = disk(SimOptions { reorder: true, ..SimOptions::default() });
    let scratch = folder.scratch().unwrap();
    let mut backend = backend(&disk, BackendKind::Sim, &scratch);
    for tag in 1..=16 {
        backend.submit(write_op(tag, (tag - 1) * 4096, 4096));
    }
    backend.turn(Wait::No, &mut Vec::new()).unwrap();
    // Room for this file alone, and not even for all of it.
    disk.set_options(SimOptions { capacity: Some(15 * 4096), ..SimOptions::default() });
    let left = disk.killed_with_stragglers(1);
    let folder = out(&left);
    let file = folder.create_new(name("b"), false).unwrap();
    assert_eq!(errno(file.allocate(0, 15 * 4096)), Some(libc::ENOSPC));
    while left.stragglers() > 0 {
        folder.pause(std::time::Duration::ZERO);
    }
    file.allocate(0, 15 * 4096).unwrap();
}

#[test]
fn s1_stragglers_replay_by_seed() {
    let (disk, _backend) = in_flight();
    let run = |seed| {
        let left = disk.killed_with_stragglers(seed);
        let file = out(&left).open_existing(name("a"), false).unwrap();
        while !file.try_lock().unwrap() {}
        left.trace()
    };
    assert!((0..20).all(|seed| run(seed) == run(seed)));
    assert!((0..20).map(run).collect::<BTreeSet<_>>().len() > 3);
}

#[test]
fn runs_have_names_of_their_own() {
    let first = SimDisk::new(1, SimOptions::default());
    let twin = SimDisk::new(1, SimOptions::default());
    assert_eq!(first.run_id(), twin.run_id(), "S1");
    let mut ids = BTreeSet::from([first.run_id()]);
    // The same seed again and again, as a test that crashes in a loop may use it.
    let mut left = first;
    for _ in 0..50 {
        left = left.crash(7);
        assert!(ids.insert(left.run_id()) && ids.insert(left.run_id()));
        left = left.killed_with_stragglers(7);
        assert!(ids.insert(left.run_id()));
        assert!(ids.insert(left.crash(8).run_id()) && ids.insert(left.crash(9).run_id()));
    }
}

#[test]
fn a_folder_lists_what_is_in_it() {
    let (disk, folder) = disk(SimOptions::default());
    disk.mkdir("/out/sub/deeper");
    folder.create_new(name("a"), false).unwrap();
    folder.create_new(name("b"), false).unwrap();
    folder.unlink(name("b")).unwrap();
    assert_eq!(folder.list().unwrap(), ["a", "sub"]);
    assert_eq!(disk.directory(Path::new("/")).unwrap().list().unwrap(), ["out"]);
}
