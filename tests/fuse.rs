//! File systems in user space: reads and writes that fail or end early there, and calls that such a
//! file system lacks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringpack::aio::uring::{UringReader, UringWriter, start};
use ringpack::codec::Codec;
use ringpack::write::{ContainerWriter, WriteOptions};
use ringpack::{ContainerReader, Disk, ErrorKind, OsDisk, PlacementKind};
use support::codes::{DAMAGED, EXISTS, INPUT, OUTPUT};
use support::fuse::{Behaviour, FuseMount, Refusal, Transfers};
use support::processes::typed;
use support::{Random, assert_same, backends, fail, names, ringpack, run, succeed};

const MIB: usize = 1 << 20;
const LEN: usize = 12 * MIB;
/// Within the second extent, some requests of the kernel's from its start.
const FAULT: u64 = 5 * MIB as u64 + 12_345;

/// Content of which no two places are alike.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

/// A file system that has its files opened past the page cache, and a folder elsewhere.
struct Place {
    mount: FuseMount,
    elsewhere: tempfile::TempDir,
    content: Vec<u8>,
}

impl Place {
    /// One with the content in `in` and a container of it in `in.zst`.
    fn new(test: &str) -> Option<Self> {
        let mount = FuseMount::new(test, direct())?;
        let content = noise(LEN, 1);
        fs::write(mount.below().join("in"), &content).unwrap();
        succeed(ringpack(["pack", "--store", "-q"]).arg(mount.below().join("in")));
        Some(Self { mount, elsewhere: tempfile::tempdir().unwrap(), content })
    }

    fn on_fuse(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    fn elsewhere(&self, name: &str) -> PathBuf {
        self.elsewhere.path().join(name)
    }
}

fn direct() -> Behaviour {
    Behaviour { direct_io: true, ..Behaviour::default() }
}

fn reading(reads: Transfers) -> Behaviour {
    Behaviour { reads, ..direct() }
}

fn writing(writes: Transfers) -> Behaviour {
    Behaviour { writes, ..direct() }
}

fn command(name: &str, io: &str, input: &Path, output: Option<&Path>) -> Command {
    let mut command = ringpack([name]);
    match name {
        "pack" => command.args(["-q", "--store", "--no-checkpoint", "--io", io]),
        "cat" => &mut command,
        _ => command.args(["-q", "--io", io]),
    };
    command.arg(input);
    if let Some(output) = output {
        command.arg("-o").arg(output);
    }
    command
}

fn content_of(container: &Path) -> Vec<u8> {
    zstd::decode_all(&*fs::read(container).unwrap()).unwrap()
}

#[test]
fn u4_a_read_that_fails_is_an_error_and_one_that_ends_early_is_made_up_for() {
    const TEST: &str = "u4_a_read_that_fails_is_an_error_and_one_that_ends_early_is_made_up_for";
    let Some(place) = Place::new(TEST) else { return };
    let out = place.elsewhere("out");
    let (raw, packed) = (place.on_fuse("in"), place.on_fuse("in.zst"));
    for io in backends(TEST) {
        for (name, input, output) in [
            ("pack", &raw, Some(&*out)),
            ("unpack", &packed, Some(&*out)),
            ("verify", &packed, None),
            ("cat", &packed, None),
        ] {
            let what = format!("{name}, {io}");
            place.mount.behave(reading(Transfers::FailAt(FAULT)));
            let (code, why) = match name {
                "verify" => (DAMAGED, "chunk 5 at byte 5247013: the device can't read its extent"),
                _ => (INPUT, "Input/output error"),
            };
            let said = fail(&mut command(name, io, input, output), code);
            assert!(said.contains(why), "{what}: {said}");
            assert!(names(place.elsewhere.path()).is_empty(), "{what}");

            place.mount.behave(reading(Transfers::EndAt(FAULT)));
            let given = succeed(&mut command(name, io, input, output));
            match name {
                "pack" => assert_same(&content_of(&out), &place.content, &what),
                "unpack" => assert_same(&fs::read(&out).unwrap(), &place.content, &what),
                "cat" => assert_same(&given, &place.content, &what),
                _ => {}
            }
            let _ = fs::remove_file(&out);
        }
    }
}

#[test]
fn u4_a_write_that_fails_is_an_error_and_one_that_ends_early_is_gone_on_with() {
    const TEST: &str = "u4_a_write_that_fails_is_an_error_and_one_that_ends_early_is_gone_on_with";
    let Some(place) = Place::new(TEST) else { return };
    let [raw, packed] = ["in", "in.zst"].map(|name| place.elsewhere(name));
    fs::copy(place.on_fuse("in"), &raw).unwrap();
    fs::copy(place.on_fuse("in.zst"), &packed).unwrap();
    let out = place.on_fuse("out");
    for io in backends(TEST) {
        for (name, input) in [("pack", &raw), ("unpack", &packed)] {
            let what = format!("{name}, {io}");
            place.mount.behave(writing(Transfers::FailAt(FAULT)));
            let said = fail(&mut command(name, io, input, Some(&out)), OUTPUT);
            assert!(said.contains("Input/output error"), "{what}: {said}");
            assert_eq!(names(&place.mount.below()), ["in", "in.zst"], "{what}");

            place.mount.behave(writing(Transfers::EndAt(FAULT)));
            succeed(&mut command(name, io, input, Some(&out)));
            let found = match name {
                "pack" => content_of(&place.mount.below().join("out")),
                _ => fs::read(place.mount.below().join("out")).unwrap(),
            };
            assert_same(&found, &place.content, &what);
            fs::remove_file(&out).unwrap();
        }
    }
}

/// A container whose writing was suspended, with a checkpoint of all but its last chunk.
fn suspended(path: &Path, content: &[u8], options: &WriteOptions) -> u64 {
    let writer = ContainerWriter::create(path, options).unwrap();
    let chunks = content.len().div_ceil(1 << options.chunk_log2) as u64;
    for (sequence, chunk) in (0..chunks - 1).zip(content.chunks(1 << options.chunk_log2)) {
        writer.write_chunk(sequence, chunk).unwrap();
    }
    writer.suspend().unwrap();
    chunks - 1
}

#[test]
fn u4_what_cannot_be_read_back_is_not_adopted() {
    const TEST: &str = "u4_what_cannot_be_read_back_is_not_adopted";
    let Some(place) = Place::new(TEST) else { return };
    let path = place.on_fuse("out");
    let options = WriteOptions { codec: Codec::Store, ..WriteOptions::default() };
    place.mount.behave(direct());
    let left = suspended(&path, &place.content, &options);

    place.mount.behave(reading(Transfers::FailAt(FAULT)));
    let error = ContainerWriter::reopen(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Output, "{error}");
    place.mount.behave(reading(Transfers::EndAt(FAULT)));
    let writer = ContainerWriter::reopen(&path).unwrap();
    let chunk_len = writer.chunk_len();
    writer.write_chunk(left, &place.content[left as usize * chunk_len..]).unwrap();
    assert_eq!(writer.given(), left + 1, "all that the checkpoint covers was adopted");
    writer.finalize(None).unwrap();
    let found = content_of(&place.mount.below().join("out"));
    assert_same(&found, &place.content, "gone on with");
}

#[test]
fn u4_a_tokio_uring_program_is_told_of_failed_reads_and_writes_too() {
    const TEST: &str = "u4_a_tokio_uring_program_is_told_of_failed_reads_and_writes_too";
    let Some(place) = Place::new(TEST) else { return };
    if backends(TEST).len() < 2 {
        return;
    }
    // One frame and one chunk across the fault.
    let placement = PlacementKind::Slots;
    let codec = Codec::Store;
    let options = WriteOptions { codec, placement, chunk_log2: 23, ..WriteOptions::default() };
    let write = |name: &str| {
        let path = place.on_fuse(name);
        start(async {
            let writer = UringWriter::create(&path, &options).await?;
            // The later one first: the other is then written to a place within the file.
            for (sequence, chunk) in
                [(1, &place.content[8 * MIB..]), (0, &place.content[..8 * MIB])]
            {
                writer.write_chunk(sequence, chunk).await?;
            }
            writer.finalize(None).await
        })
    };
    let read = |name: &str| {
        let path = place.on_fuse(name);
        start(async { UringReader::open(&path).await?.read_range(0..LEN as u64).await })
    };
    place.mount.behave(writing(Transfers::FailAt(FAULT)));
    assert_eq!(write("out").unwrap_err().kind(), ErrorKind::Output);
    place.mount.behave(writing(Transfers::EndAt(FAULT)));
    write("out").unwrap();
    place.mount.behave(direct());
    let found = ContainerReader::open(place.mount.below().join("out")).unwrap();
    assert_same(&found.read_range(0..LEN as u64).unwrap(), &place.content, "written");

    place.mount.behave(reading(Transfers::FailAt(FAULT)));
    assert_eq!(read("out").unwrap_err().kind(), ErrorKind::Input);
    place.mount.behave(reading(Transfers::EndAt(FAULT)));
    assert_same(&read("out").unwrap(), &place.content, "read");
}

/// A container of `in`, a container of a directory, and one that is damaged, beside it.
fn containers(folder: &Path, content: &[u8]) {
    fs::write(folder.join("in"), content).unwrap();
    fs::create_dir_all(folder.join("tree/sub")).unwrap();
    fs::write(folder.join("tree/sub/file"), content).unwrap();
    for input in ["in", "tree"] {
        succeed(ringpack(["pack", "-q"]).arg(folder.join(input)));
    }
}

#[test]
fn b1_a_file_system_without_rename_flags_and_links_is_written_to_all_the_same() {
    const TEST: &str = "b1_a_file_system_without_rename_flags_and_links_is_written_to_all_the_same";
    let behaviour = Behaviour { no_rename_flags: true, ..Behaviour::default() };
    let Some(mount) = FuseMount::new(TEST, behaviour) else { return };
    let (here, there) = (tempfile::tempdir().unwrap(), mount.path());
    let content = noise(3 * MIB, 2);
    containers(here.path(), &content);
    let jobs: [&[&str]; 5] = [
        &["pack", "in", "-o"],
        &["pack", "tree", "-o"],
        &["unpack", "in.zst", "-o"],
        &["unpack", "--extract", "tree.tar.zst", "-o"],
        &["salvage", "in.zst", "-o"],
    ];
    for (number, job) in jobs.into_iter().enumerate() {
        let out = there.join(format!("out{number}"));
        let below = mount.below().join(format!("out{number}"));
        let command = || {
            let mut command = ringpack(job);
            command.arg(&out).current_dir(here.path());
            command
        };
        succeed(&mut command());
        match job[0] {
            "pack" if job[1] == "in" => assert_same(&content_of(&below), &content, "pack"),
            "pack" => succeed(ringpack(["verify", "--decode"]).arg(&below)).clear(),
            "unpack" if job[1] == "--extract" => {
                assert_same(&fs::read(below.join("tree/sub/file")).unwrap(), &content, "extract");
            }
            _ => assert_same(&fs::read(&below).unwrap(), &content, job[0]),
        }
        // What is there isn't replaced.
        let file = if below.is_dir() { below.join("tree/sub/file") } else { below };
        fs::write(&file, b"old").unwrap();
        fail(&mut command(), EXISTS);
        assert_eq!(fs::read(&file).unwrap(), b"old", "{job:?}");
        let left: Vec<_> = names(&mount.below());
        assert!(left.iter().all(|name| !name.contains(".ringpack-")), "{left:?}");
    }
}

#[test]
fn b2_a_finished_file_is_kept_where_it_cannot_be_renamed() {
    const TEST: &str = "b2_a_finished_file_is_kept_where_it_cannot_be_renamed";
    let Some(mount) = FuseMount::new(TEST, Behaviour::default()) else { return };
    let here = tempfile::tempdir().unwrap();
    let content = noise(3 * MIB, 3);
    containers(here.path(), &content);
    let (out, below) = (mount.path().join("an out"), mount.below().join("an out"));
    let jobs: [&[&str]; 3] = [
        &["pack", "in", "-o"],
        // Beside a checkpoint too.
        &["pack", "--store", "--checkpoint-size", "1M", "-T1", "in", "-o"],
        &["unpack", "in.zst", "-o"],
    ];
    for job in jobs {
        let refusing = Behaviour { renames: Some(Refusal::Failed), ..Behaviour::default() };
        mount.behave(refusing);
        let said = fail(ringpack(job).arg(&out).current_dir(here.path()), OUTPUT);
        let end = said.trim_end().strip_suffix(" publishes it").expect(&said);
        let (_, command) = end.rsplit_once("the finished file is kept: ").expect(&said);
        assert!(names(&mount.below()).contains(&"an out.ringpack-partial".to_owned()), "{job:?}");

        mount.behave(Behaviour::default());
        assert!(typed(command, here.path()).status.success(), "{command}");
        let found = match job[0] {
            "pack" => content_of(&below),
            _ => fs::read(&below).unwrap(),
        };
        assert_same(&found, &content, command);
        fs::remove_file(&below).unwrap();
        succeed(ringpack(["clean"]).arg(mount.path()));
    }
}

#[test]
fn a_file_system_that_syncs_no_directory_is_synced_as_a_whole() {
    const TEST: &str = "a_file_system_that_syncs_no_directory_is_synced_as_a_whole";
    let Some(mount) = FuseMount::new(TEST, Behaviour::default()) else { return };
    let here = tempfile::tempdir().unwrap();
    containers(here.path(), &noise(MIB, 4));
    for (refusal, code) in [(Refusal::Invalid, 0), (Refusal::Failed, OUTPUT)] {
        let directory_sync = Some(refusal);
        mount.behave(Behaviour { directory_sync, ..Behaviour::default() });
        for job in [["pack", "in", "-o"], ["unpack", "in.zst", "-o"]] {
            let out = mount.path().join("out");
            let ended = run(ringpack(job).arg(&out).current_dir(here.path()));
            assert_eq!(ended.status.code(), Some(code), "{job:?}, {refusal:?}: {ended:?}");
            fs::remove_file(out).unwrap();
        }
    }
}

#[test]
fn the_doctor_says_what_a_file_system_in_user_space_lacks() {
    const TEST: &str = "the_doctor_says_what_a_file_system_in_user_space_lacks";
    let Some(mount) = FuseMount::new(TEST, Behaviour::default()) else { return };
    for (no_rename_flags, looked_at) in [(false, "are not renamed over"), (true, "are looked at")] {
        mount.behave(Behaviour { no_rename_flags, ..Behaviour::default() });
        let told = succeed(ringpack(["doctor", "--json"]).arg(mount.path()));
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let findings = told["findings"].as_array().unwrap();
        for (subject, state, found) in [
            ("files and io_uring", "warning", "pread and pwrite"),
            ("taken names", if no_rename_flags { "warning" } else { "ok" }, looked_at),
        ] {
            let finding = findings.iter().find(|finding| finding["subject"] == subject).unwrap();
            assert_eq!(finding["state"], state, "{finding}");
            assert!(finding["found"].as_str().unwrap().contains(found), "{finding}");
        }
        assert!(names(&mount.below()).is_empty());
    }
}

#[test]
fn jobs_of_one_process_make_nameless_files_where_each_has_a_name_for_a_moment() {
    const TEST: &str = "jobs_of_one_process_make_nameless_files_where_each_has_a_name_for_a_moment";
    let Some(mount) = FuseMount::new(TEST, Behaviour::default()) else { return };
    let directory = OsDisk.directory(&mount.path()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..4u8 {
            let directory = &directory;
            scope.spawn(move || {
                for _ in 0..50 {
                    let file = directory.scratch().unwrap();
                    file.write_at(&[number], 0).unwrap();
                    let mut read = [0xFF];
                    assert_eq!(file.read_at(&mut read, 0).unwrap(), 1);
                    assert_eq!(read, [number]);
                }
            });
        }
    });
    assert!(names(&mount.below()).is_empty());
}
