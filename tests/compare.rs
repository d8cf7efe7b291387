//! Containers held against their sources: `verify --against` a file or a device, and `pack
//! --check`.
//!
//! Every checksum of these containers fits. What tells a difference is the source, and what tells
//! whether it was told rightly is cmp.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::SystemTime;

use nix::sys::stat::Mode;
use ringpack::pack::{
    Codec, Input, Output, PackOptions, ResumeOptions, pack, recorded_input, resume,
};
use ringpack::ring::file::Disk;
use ringpack::verify::{Comparison, VerifyOptions, verify};
use ringpack::{Cadence, Cancel, ErrorKind, IoMode, OsDisk, Phase, PlacementKind, Progress};
use support::codes::{DAMAGED, DIFFERS, INPUT, USAGE};
use support::liar::LyingDisk;
use support::mount::{FileSystem, LoopDevice, Mount};
use support::watched::{Step, WatchedDisk};
use support::{Random, backends, content, fail, names, ringpack, run, run_with_input, succeed};

/// Length of the chunks here.
const CHUNK: usize = 1 << 16;
const MIB: usize = 1 << 20;

/// Where cmp finds two files to differ first, and which chunks it finds to differ.
fn cmp(content: &Path, source: &Path) -> (Option<u64>, BTreeSet<u64>) {
    let output = run(Command::new("cmp").arg("-l").args([content, source]));
    let text = String::from_utf8(output.stdout).unwrap();
    let offsets = text.lines().filter_map(|line| line.split_whitespace().next());
    let offsets: Vec<u64> = offsets.map(|it| it.parse::<u64>().unwrap() - 1).collect();
    let mut chunks: BTreeSet<u64> = offsets.iter().map(|at| at / CHUNK as u64).collect();
    let lens = [content, source].map(|path| fs::metadata(path).unwrap().len());
    let end = (lens[0] != lens[1]).then(|| lens[0].min(lens[1]));
    if lens[1] < lens[0] {
        // What the content has behind the source's end.
        chunks.extend((lens[1] / CHUNK as u64)..lens[0].div_ceil(CHUNK as u64));
    }
    assert_eq!(output.status.success(), offsets.is_empty() && end.is_none());
    (offsets.into_iter().chain(end).min(), chunks)
}

fn options() -> PackOptions {
    let codec = Codec::Zstd(1);
    PackOptions { codec, chunk_log2: Some(16), extent_chunks: Some(3), ..PackOptions::default() }
}

/// Packs a file, into a pipe if it is to be streamed.
fn packed(input: &Path, container: &Path, streamed: bool, options: &PackOptions) {
    let from = Input::Path(input.to_owned());
    if !streamed {
        let to = Output::Path(container.to_owned());
        pack(&OsDisk, from, to, options, &Cancel::new()).unwrap();
        return;
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        let read = scope.spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let to = Output::Stream(std::os::fd::OwnedFd::from(writer).into());
        pack(&OsDisk, from, to, options, &Cancel::new()).unwrap();
        fs::write(container, read.join().unwrap()).unwrap();
    });
}

fn compared(container: &Path, source: &Path, options: VerifyOptions) -> Comparison {
    let options = VerifyOptions { against: Some(source.to_owned()), ..options };
    let report = verify(&OsDisk, container, &options, &Cancel::new()).unwrap();
    assert_eq!(report.damage_count, 0, "{:?}", report.damages);
    report.comparison.unwrap()
}

/// Compares a container, whose content `content` is, with `source`, and what is found with cmp.
fn check(container: &Path, content: &Path, source: &Path, options: VerifyOptions, what: &str) {
    let found = compared(container, source, options);
    let (first, chunks) = cmp(content, source);
    assert_eq!(found.chunks, chunks.len() as u64, "{what}");
    let Some(first) = first else {
        assert!(found.first.is_none(), "{what}: {:?}", found.first);
        return;
    };
    let error = found.first.unwrap_or_else(|| panic!("{what}: no difference is found"));
    assert_eq!(error.kind(), ErrorKind::Differs, "{what}: {error}");
    assert_eq!(error.path(), Some(container), "{what}: {error}");
    let place = format!(" at byte {first}: ");
    assert!(error.to_string().contains(&place), "{what}: {error} where cmp says {first}");
    let chunk = first / CHUNK as u64;
    assert!(error.chunk().is_none_or(|found| found == chunk), "{what}: {error}");
    assert_eq!(error.chunk().is_some(), chunks.contains(&chunk), "{what}: {error}");
}

/// Sources that differ from `bytes`, each in a way of its own.
fn others(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut others = vec![
        ("itself".to_owned(), bytes.to_vec()),
        ("empty".to_owned(), Vec::new()),
        ("longer by a byte".to_owned(), [bytes, b"x"].concat()),
        ("longer by a hole".to_owned(), [bytes, &[0; 3 * CHUNK]].concat()),
    ];
    let len = bytes.len();
    let ends = [1, CHUNK, len % CHUNK, len / 2].into_iter().filter(|&by| by <= len);
    others.extend(ends.map(|by| (format!("shorter by {by}"), bytes[..len - by].to_vec())));
    let places = [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK - 1, 3 * CHUNK, 4 * CHUNK + 5000, len - 1];
    others.extend(places.into_iter().map(|at| {
        let mut other = bytes.to_vec();
        other[at] ^= 0x80;
        (format!("another byte at {at}"), other)
    }));
    let mut random = Random(5);
    others.extend((0..4).map(|number| {
        let mut other = bytes.to_vec();
        for _ in 0..=number {
            let at = random.below(len as u64) as usize;
            other[at] = !other[at];
        }
        (format!("{number} more bytes"), other)
    }));
    others
}

#[test]
fn ag1_each_difference_is_found_where_cmp_finds_it_in_every_kind_of_container() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bytes = content(7 * CHUNK + 1234, 1);
    fs::write(at("content"), &bytes).unwrap();
    let others = others(&bytes);
    for codec in [Codec::Store, Codec::Zstd(1), Codec::Zstd(3)] {
        for placement in [PlacementKind::Dense, PlacementKind::Slots] {
            for (streamed, blake3) in [(false, true), (true, false)] {
                let extent_chunks = (placement == PlacementKind::Dense).then_some(3);
                let options = PackOptions { codec, placement, blake3, extent_chunks, ..options() };
                let container = at("container");
                let _ = fs::remove_file(&container);
                packed(&at("content"), &container, streamed, &options);
                for (number, (what, other)) in others.iter().enumerate() {
                    fs::write(at("other"), other).unwrap();
                    let what = format!("{what}, {codec:?}, {placement:?}, streamed {streamed}");
                    let verifying = VerifyOptions {
                        io: [IoMode::Auto, IoMode::Pwrite][number % 2],
                        threads: Some(1 + number % 3),
                        direct: number % 4 < 2,
                        ..VerifyOptions::default()
                    };
                    check(&container, &at("content"), &at("other"), verifying, &what);
                }
            }
        }
    }
}

#[test]
fn ag1_nothing_at_all_is_compared_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty"), b"").unwrap();
    fs::write(at("a byte"), b"x").unwrap();
    for (content, others) in [("empty", ["empty", "a byte"]), ("a byte", ["empty", "a byte"])] {
        let container = at(&format!("{content}.zst"));
        packed(&at(content), &container, false, &options());
        for other in others {
            let what = format!("{content} against {other}");
            check(&container, &at(content), &at(other), VerifyOptions::default(), &what);
        }
    }
}

/// A hole of the source is zeros, whatever packing took it for.
#[test]
fn ag1_a_hole_is_compared_as_what_it_reads_as() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let sparse = |name: &str, pieces: &[u64]| {
        let file = fs::File::create(at(name)).unwrap();
        file.set_len(40 * CHUNK as u64 + 77).unwrap();
        pieces.iter().for_each(|&at| file.write_all_at(&[7; 9000], at).unwrap());
    };
    sparse("content", &[5000, 9 * CHUNK as u64 - 100, 30 * CHUNK as u64]);
    packed(&at("content"), &at("content.zst"), false, &options());
    for (name, pieces) in [
        ("the same", &[5000, 9 * CHUNK as u64 - 100, 30 * CHUNK as u64][..]),
        ("more", &[5000, 9 * CHUNK as u64 - 100, 20 * CHUNK as u64, 30 * CHUNK as u64]),
        ("less", &[5000, 30 * CHUNK as u64]),
        ("nothing", &[]),
    ] {
        sparse(name, pieces);
        check(&at("content.zst"), &at("content"), &at(name), VerifyOptions::default(), name);
    }
    // Zeros that are written are the same as a hole.
    fs::write(at("written"), fs::read(at("content")).unwrap()).unwrap();
    check(&at("content.zst"), &at("content"), &at("written"), VerifyOptions::default(), "written");
}

fn against(container: &Path, source: &Path) -> Command {
    let mut command = ringpack(["verify", "--against"]);
    command.args([source, container]);
    command
}

/// The messages of a run with `--json`, and its code.
fn objects(command: &mut Command) -> (Vec<serde_json::Value>, Option<i32>) {
    let output = run(command.arg("--json"));
    let text = String::from_utf8(output.stdout).unwrap();
    let objects = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (objects, output.status.code())
}

#[test]
fn people_and_programs_are_told_where_it_differs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut bytes = content(4 * MIB, 2);
    fs::write(at("data"), &bytes).unwrap();
    succeed(ringpack(["pack", "--chunk-size", "1M"]).arg(at("data")));
    succeed(&mut against(&at("data.zst"), &at("data")));
    let (said, code) = objects(&mut against(&at("data.zst"), &at("data")));
    assert_eq!((said.len(), code), (1, Some(0)));
    assert_eq!((&said[0]["same"], &said[0]["decoded"]), (&true.into(), &true.into()));
    assert_eq!(said[0]["against"], at("data").to_str().unwrap());
    for place in [3 * MIB + 17, MIB - 1] {
        bytes[place] ^= 1;
    }
    fs::write(at("data"), &bytes).unwrap();
    let said = fail(&mut against(&at("data.zst"), &at("data")), DIFFERS);
    let first = format!("chunk 0 at byte {}: the content has ", MIB - 1);
    assert!(said.contains(&first) && said.contains("2 of 4 chunks differ from "), "{said}");
    let (said, code) = objects(&mut against(&at("data.zst"), &at("data")));
    assert_eq!(code, Some(DIFFERS));
    let [error, summary] = &said[..] else { panic!("{said:?}") };
    assert_eq!(error["kind"], "differs");
    assert_eq!((&error["chunk"], &error["offset"]), (&0.into(), &(MIB - 1).into()));
    assert_eq!(error["exit_code"], DIFFERS);
    assert_eq!((&summary["intact"], &summary["same"]), (&true.into(), &false.into()));
    assert_eq!(summary["differing_chunks"], 2);
    // Without a source there is nothing to say of one.
    let (said, _) = objects(ringpack(["verify"]).arg(at("data.zst")));
    assert!(said[0]["same"].is_null() && said[0]["against"].is_null(), "{said:?}");
}

#[test]
fn what_cant_be_compared_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("data"), content(100_000, 3)).unwrap();
    succeed(ringpack(["pack", "--chunk-size", "1M"]).arg(at("data")));
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    for (source, code, said) in [
        ("nowhere", INPUT, "No such file"),
        ("fifo", INPUT, "can only be read in order; compare it in order: "),
    ] {
        let found = fail(&mut against(&at("data.zst"), &at(source)), code);
        assert!(found.contains(said), "{found}");
    }
    let said = fail(against(&at("data.zst"), &at("data")).arg(at("data.zst")), USAGE);
    assert!(said.contains("one container at a time"), "{said}");
    // The packed file itself is another content.
    fail(&mut against(&at("data.zst"), &at("data.zst")), DIFFERS);
}

/// A damaged chunk is damage, and the others are compared all the same.
#[test]
fn damage_and_differences_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut bytes = content(4 * MIB, 4);
    fs::write(at("data"), &bytes).unwrap();
    succeed(ringpack(["pack", "--chunk-size", "1M"]).arg(at("data")));
    let mut container = fs::read(at("data.zst")).unwrap();
    container[100] ^= 1;
    fs::write(at("data.zst"), &container).unwrap();
    let said = fail(&mut against(&at("data.zst"), &at("data")), DAMAGED);
    assert!(said.contains("chunk 0") && !said.contains("the content has"), "{said}");
    bytes[2 * MIB] ^= 1;
    fs::write(at("data"), &bytes).unwrap();
    let said = fail(&mut against(&at("data.zst"), &at("data")), DIFFERS);
    assert!(said.contains("chunk 0") && said.contains(&format!("at byte {}", 2 * MIB)), "{said}");
}

#[test]
fn a_device_is_compared_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bytes = content(5 * MIB + 512, 5);
    for (name, len) in [("same", bytes.len()), ("shorter", 5 * MIB), ("longer", bytes.len() + 512)]
    {
        let mut other = bytes.clone();
        other.resize(len, 0);
        fs::write(at(name), other).unwrap();
    }
    let attach = |name| LoopDevice::attach("a_device_is_compared_to_its_end", &at(name));
    let [Some(device), Some(shorter), Some(longer)] = ["same", "shorter", "longer"].map(attach)
    else {
        return;
    };
    succeed(
        ringpack(["pack", "--check", "--chunk-size", "1M", "-o"])
            .arg(at("d.zst"))
            .arg(device.path()),
    );
    succeed(&mut against(&at("d.zst"), device.path()));
    let said = fail(&mut against(&at("d.zst"), shorter.path()), DIFFERS);
    let end = format!("at byte {}: the content goes on where ", 5 * MIB);
    assert!(said.contains(&end), "{said}");
    let said = fail(&mut against(&at("d.zst"), longer.path()), DIFFERS);
    let end = format!("at byte {}: the content ends where ", bytes.len());
    assert!(said.contains(&end), "{said}");
    let file = fs::OpenOptions::new().write(true).open(device.path()).unwrap();
    file.write_all_at(&[!bytes[3 * MIB]], 3 * MIB as u64).unwrap();
    let said = fail(&mut against(&at("d.zst"), device.path()), DIFFERS);
    assert!(said.contains(&format!("chunk 3 at byte {}: ", 3 * MIB)), "{said}");
}

/// What zstd wrote, and what comes through a pipe, are compared as they are decoded.
#[test]
fn files_of_other_programs_are_compared_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bytes = content(3 * MIB, 6);
    let frame = |bytes: &[u8], sized: bool| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        if sized {
            encoder.set_pledged_src_size(Some(bytes.len() as u64)).unwrap();
        }
        std::io::copy(&mut &bytes[..], &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let (front, back) = bytes.split_at(MIB + 77);
    for (what, file) in [
        ("one frame", frame(&bytes, true)),
        ("one frame of unknown size", frame(&bytes, false)),
        ("two frames", [frame(front, true), frame(back, false)].concat()),
    ] {
        fs::write(at("file.zst"), &file).unwrap();
        for (name, other) in others(&bytes) {
            fs::write(at("content"), &bytes).unwrap();
            fs::write(at("other"), &other).unwrap();
            let what = format!("{what}, {name}");
            match cmp(&at("content"), &at("other")).0 {
                None => drop(succeed(&mut against(&at("file.zst"), &at("other")))),
                Some(first) => {
                    let said = fail(&mut against(&at("file.zst"), &at("other")), DIFFERS);
                    assert!(said.contains(&format!(" at byte {first}: ")), "{what}: {said}");
                }
            }
        }
    }
    fs::write(at("content"), &bytes).unwrap();
    succeed(ringpack(["pack"]).arg(at("content")));
    let container = fs::read(at("content.zst")).unwrap();
    let piped = || {
        let mut command = against(Path::new("-"), &at("content"));
        run_with_input(&mut command, &container).status.code()
    };
    assert_eq!(piped(), Some(0));
    fs::write(at("content"), &bytes[1..]).unwrap();
    assert_eq!(piped(), Some(DIFFERS));
}

/// Calls `act` once, at the first read of what is compared.
fn acting(act: impl Fn() + Send + Sync + 'static) -> WatchedDisk<OsDisk> {
    let reads = AtomicUsize::new(0);
    WatchedDisk::new(OsDisk, move |step| {
        if step == Step::Read && reads.fetch_add(1, SeqCst) == 0 {
            act();
        }
    })
}

#[test]
fn ag2_a_source_that_changes_meanwhile_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (source, container) = (folder.path().join("data"), folder.path().join("data.zst"));
    let bytes = content(8 * CHUNK, 7);
    fs::write(&source, &bytes).unwrap();
    packed(&source, &container, false, &options());
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("written to", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(b"?", 5).unwrap();
            file.set_modified(SystemTime::now()).unwrap();
        }),
        ("longer", |path| {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(MIB as u64).unwrap();
        }),
        ("shorter", |path| {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(7).unwrap();
        }),
    ];
    for (what, change) in changes {
        fs::write(&source, &bytes).unwrap();
        let path = source.clone();
        let disk = acting(move || change(&path));
        let against = Some(source.clone());
        let options = VerifyOptions { against, threads: Some(1), ..VerifyOptions::default() };
        let error = verify(&disk, &container, &options, &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InputChanged, "{what}: {error}");
        assert_eq!(error.path(), Some(source.as_path()), "{what}: {error}");
    }
}

#[test]
fn a_comparison_is_cancelled_as_any_job() {
    let folder = tempfile::tempdir().unwrap();
    let (source, container) = (folder.path().join("data"), folder.path().join("data.zst"));
    fs::write(&source, content(8 * CHUNK, 8)).unwrap();
    packed(&source, &container, false, &options());
    let cancel = Cancel::new();
    let pulled = cancel.clone();
    let disk = acting(move || pulled.cancel());
    let against = Some(source);
    let options = VerifyOptions { against, threads: Some(1), ..VerifyOptions::default() };
    let error = verify(&disk, &container, &options, &cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

/// A file, and a disk on which one of its bytes is read wrongly, once.
fn a_lie(folder: &Path, at: usize) -> (PathBuf, LyingDisk) {
    let (source, lie) = (folder.join("data"), folder.join("lie"));
    let mut bytes = content(8 * CHUNK + 99, 9);
    fs::write(&source, &bytes).unwrap();
    bytes[at] ^= 1;
    fs::write(&lie, &bytes).unwrap();
    let disk = LyingDisk::new(&source, &lie);
    (source, disk)
}

/// The fault that no checksum shows: packing read something else than the source has.
#[test]
fn pc1_what_was_read_wrongly_is_not_published() {
    for io in [IoMode::Auto, IoMode::Pwrite] {
        for direct in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let options = |check_content| PackOptions { check_content, io, direct, ..options() };
            let try_pack = |check_content| {
                let (source, disk) = a_lie(folder.path(), 5 * CHUNK + 3);
                let to = Output::Path(folder.path().join("data.zst"));
                let options = options(check_content);
                pack(&disk, Input::Path(source), to, &options, &Cancel::new())
            };
            let error = try_pack(true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Differs, "{error}");
            let said = error.to_string();
            let place = format!("chunk 5 at byte {}: ", 5 * CHUNK + 3);
            assert!(said.contains(&place) && said.contains("nothing was published"), "{said}");
            assert_eq!(names(folder.path()), ["data", "lie"]);
            // As it was without: published, and intact by its own checksums.
            try_pack(false).unwrap();
            let container = folder.path().join("data.zst");
            succeed(ringpack(["verify", "--decode"]).arg(&container));
            fail(&mut against(&container, &folder.path().join("data")), DIFFERS);
        }
    }
}

/// Holes that end between chunks, behind data that a buffer may still have in it.
#[test]
fn pc1_a_sparse_file_is_published_only_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("data"), folder.path().join("data.zst"));
    let file = fs::File::create(&source).unwrap();
    file.set_len(80 * MIB as u64).unwrap();
    for chunk in 0..40u64 {
        let at = 2 * chunk * MIB as u64;
        file.write_all_at(&content(200_000 + 4096 * chunk as usize, chunk), at).unwrap();
        // Every third chunk between them has data at its end alone.
        if chunk % 3 == 0 {
            file.write_all_at(&[7; 4096], at + 2 * MIB as u64 - 4096).unwrap();
        }
    }
    let options = PackOptions {
        check_content: true,
        threads: Some(1),
        codec: Codec::Zstd(1),
        // So that holes go on behind their chunks.
        chunk_log2: Some(20),
        ..PackOptions::default()
    };
    let (from, to) = (Input::Path(source.clone()), Output::Path(target.clone()));
    let packed = pack(&OsDisk, from, to, &options, &Cancel::new());
    // Where it is planted that a hole isn't cleared, this says no, and nothing is there.
    assert!(packed.is_ok() || names(folder.path()) == ["data"], "a wrong container is there");
    packed.unwrap();
    succeed(&mut against(&target, &source));
}

/// What stood under the name stays.
#[test]
fn pc1_an_older_container_is_not_replaced_by_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let (source, disk) = a_lie(folder.path(), 7);
    let target = folder.path().join("data.zst");
    fs::write(&target, b"older").unwrap();
    let options = PackOptions { check_content: true, replace: true, ..options() };
    let to = Output::Path(target.clone());
    let error = pack(&disk, Input::Path(source), to, &options, &Cancel::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Differs, "{error}");
    assert_eq!(fs::read(&target).unwrap(), b"older");
    assert_eq!(names(folder.path()), ["data", "data.zst", "lie"]);
}

/// Stops a job after a checkpoint of its first chunk.
fn stopped(disk: &dyn Disk, source: &Path, target: &Path) {
    let cancel = Cancel::new();
    let pulled = cancel.clone();
    let observer = ringpack::Observer::new(move |_| pulled.suspend());
    let cadence = Cadence { bytes: 1, percent_max: 100, ..Cadence::default() };
    let options = PackOptions { checkpoints: Some(cadence), observer, ..by_chunk() };
    let (from, to) = (Input::Path(source.to_owned()), Output::Path(target.to_owned()));
    let error = pack(disk, from, to, &options, &cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Suspended, "{error}");
}

fn by_chunk() -> PackOptions {
    PackOptions { extent_chunks: Some(1), threads: Some(1), ..options() }
}

/// What an earlier run packed is compared as well.
#[test]
fn pc1_going_on_is_checked_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("data.zst");
    let (source, disk) = a_lie(folder.path(), 3);
    stopped(&disk, &source, &target);
    let options = ResumeOptions { check_content: true, ..ResumeOptions::default() };
    let cancel = Cancel::new();
    let error = resume(&OsDisk, &target, &mut recorded_input, &options, &cancel).unwrap_err();
    assert_eq!((error.kind(), error.chunk()), (ErrorKind::Differs, Some(0)), "{error}");
    assert_eq!(names(folder.path()), ["data", "lie"]);
    // Where nothing was read wrongly.
    stopped(&OsDisk, &source, &target);
    let (said, code) = objects(ringpack(["resume", "--check"]).arg(&target));
    assert_eq!(code, Some(0), "{said:?}");
    assert_eq!(said.last().unwrap()["checked"], true, "{said:?}");
    succeed(&mut against(&target, &source));
    fs::remove_file(&target).unwrap();
    stopped(&OsDisk, &source, &target);
    let options = PackOptions { check_content: true, resume: true, ..by_chunk() };
    let (from, to) = (Input::Path(source.clone()), Output::Path(target.clone()));
    let report = pack(&OsDisk, from, to, &options, &cancel).unwrap();
    assert!(report.checked && report.resumed.is_some());
    succeed(&mut against(&target, &source));
}

#[test]
fn pc1_a_source_that_changes_before_the_comparison_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("data"), folder.path().join("data.zst"));
    fs::write(&source, content(8 * CHUNK, 10)).unwrap();
    let progress = Progress::new();
    let (path, seen) = (source.clone(), progress.clone());
    let changed = AtomicUsize::new(0);
    let disk = WatchedDisk::new(OsDisk, move |step| {
        let checking = seen.look().phase == Phase::Checking;
        if step == Step::Read && checking && changed.fetch_add(1, SeqCst) == 0 {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"?", 3).unwrap();
            file.set_modified(SystemTime::now()).unwrap();
        }
    });
    let options = PackOptions { check_content: true, progress, threads: Some(1), ..options() };
    let to = Output::Path(target);
    let error = pack(&disk, Input::Path(source), to, &options, &Cancel::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InputChanged, "{error}");
    assert_eq!(names(folder.path()), ["data"]);
}

#[test]
fn a_check_is_cancelled_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("data"), folder.path().join("data.zst"));
    fs::write(&source, content(8 * CHUNK, 11)).unwrap();
    let (progress, cancel) = (Progress::new(), Cancel::new());
    let (seen, pulled) = (progress.clone(), cancel.clone());
    let disk = WatchedDisk::new(OsDisk, move |step| {
        if step == Step::Read && seen.look().phase == Phase::Checking {
            pulled.cancel();
        }
    });
    let options = PackOptions { check_content: true, progress, ..options() };
    let error = pack(&disk, Input::Path(source), Output::Path(target), &options, &cancel);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(names(folder.path()), ["data"]);
}

/// What the device gives back is no longer what was written to it.
#[test]
fn pc1_what_cant_be_read_back_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("data"), folder.path().join("data.zst"));
    fs::write(&source, content(8 * CHUNK, 12)).unwrap();
    let progress = Progress::new();
    let (partial, seen) = (folder.path().join("data.zst.ringpack-partial"), progress.clone());
    let disk = WatchedDisk::new(OsDisk, move |step| {
        if step == Step::Read && seen.look().phase == Phase::Checking {
            let file = fs::OpenOptions::new().write(true).open(&partial).unwrap();
            file.write_all_at(&[0xFF; 16], 200).unwrap();
        }
    });
    let options = PackOptions { check_content: true, progress, threads: Some(1), ..options() };
    let to = Output::Path(target);
    let error = pack(&disk, Input::Path(source), to, &options, &Cancel::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Output, "{error}");
    assert!(error.to_string().contains("what was written isn't what is read back"), "{error}");
    assert_eq!(names(folder.path()), ["data"]);
}

#[test]
fn a_check_of_what_is_read_once_is_refused_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("data"), content(1000, 13)).unwrap();
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    let refused = |args: &[&str], said: &str| {
        let mut command = ringpack(["pack", "--check"]);
        command.args(args).current_dir(folder.path());
        let found = fail(&mut command, USAGE);
        assert!(found.contains(said), "{args:?}: {found}");
    };
    refused(&["-c", "data"], "needs an output file");
    refused(&["-", "-o", "out"], "standard input can't be");
    refused(&["fifo", "-o", "out"], "can't be read a second time");
    let command = ["--from-command", "-o", "out", "--", "touch", "started"];
    refused(&command, "a command may write something else");
    assert_eq!(names(folder.path()), ["data", "fifo"]);
}

/// On each file system, with each backend, past the page cache and through it.
#[test]
fn a_check_goes_well_where_all_is_well() {
    let test = "a_check_goes_well_where_all_is_well";
    let backends = backends(test);
    for kind in [FileSystem::Ext4, FileSystem::Btrfs, FileSystem::Tmpfs] {
        let Some(mount) = Mount::new(test, kind, 128) else { continue };
        let at = |name: &str| mount.path().join(name);
        let file = fs::File::create(at("data")).unwrap();
        file.set_len(9 * MIB as u64 + 5).unwrap();
        file.write_all_at(&content(3 * MIB, 14), 2 * MIB as u64 + 4096).unwrap();
        for &backend in &backends {
            for option in ["--digest=blake3", "--no-direct", "--placement=slots", "--store", "--rm"]
            {
                let mut command = ringpack(["pack", "--check", "-f", "--io", backend, option]);
                let (said, code) = objects(command.arg("-o").arg(at("out")).arg(at("data")));
                assert_eq!(code, Some(0), "{kind:?}, {option}: {said:?}");
                assert_eq!(said.last().unwrap()["checked"], true, "{said:?}");
                if option == "--rm" {
                    assert!(!at("data").exists());
                    succeed(ringpack(["unpack", "-o"]).arg(at("data")).arg(at("out")));
                }
                succeed(&mut against(&at("out"), &at("data")));
            }
        }
    }
}

/// The progress of a check is told as a phase of its own.
#[test]
fn a_check_is_a_phase() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("data"), folder.path().join("data.zst"));
    fs::write(&source, content(8 * CHUNK, 15)).unwrap();
    let progress = Progress::new();
    let (seen, most) = (progress.clone(), Arc::new(AtomicUsize::new(0)));
    let noted = Arc::clone(&most);
    let disk = WatchedDisk::new(OsDisk, move |_| {
        let seen = seen.look();
        if seen.phase == Phase::Checking {
            noted.fetch_max(1 + seen.content_bytes as usize, SeqCst);
        }
    });
    let options = PackOptions { check_content: true, progress: progress.clone(), ..options() };
    pack(&disk, Input::Path(source), Output::Path(target), &options, &Cancel::new()).unwrap();
    assert!(most.load(SeqCst) > 0, "it never was in that phase");
    let seen = progress.look();
    assert_eq!((seen.phase, seen.content_bytes), (Phase::Done, 8 * CHUNK as u64));
}
