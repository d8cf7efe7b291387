//! Going on with what isn't as it was: other options, another source, another journal, a partial
//! file that was tampered with; and with streams, which have to be sent again.
//!
//! What can't be gone on with is refused, says why and stays as it is; what can gives the bytes of
//! the uninterrupted run. Crashes are `crash.rs`'s.

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ringpack::format::header::{CodecKind, PlacementKind};
use ringpack::format::record::{ChunkRecord, Open, Record, SourceKind};
use ringpack::pack::{
    self, Codec, Input, Observer, PackOptions, PackReport, ResumeOptions, pack_scheduled,
    recorded_input, resume_scheduled,
};
use ringpack::pipeline::{IoMode, Schedule};
use ringpack::ring::os::OsDisk;
use ringpack::ring::sim::{SimDisk, SimOptions};
use ringpack::{Cancel, ErrorKind, Result};
use support::crash::{
    JOURNAL, Lab, MODE, NEW_JOURNAL, OUT, PARTIAL, Promise, Scenario, Way, cheap_content, often,
    set_attributes,
};
use support::{Random, names};

const CHUNK: usize = 1 << 16;

fn options() -> PackOptions {
    PackOptions {
        codec: Codec::Zstd(1),
        chunk_log2: Some(16),
        extent_chunks: Some(1),
        checkpoints: Some(often(1)),
        io: IoMode::Sim,
        ..PackOptions::default()
    }
}

fn scenario(options: PackOptions) -> Scenario {
    let content = cheap_content(6 * CHUNK + 100, 5);
    Scenario::new(1, options, 1, SimOptions::PLAIN, "/src/in".into(), content)
}

/// A disk on which the job was interrupted when `bytes` were covered by a checkpoint.
fn interrupted_at(scenario: &Scenario, bytes: u64) -> SimDisk {
    let disk = scenario.disk();
    let cancel = Cancel::new();
    let pulled = cancel.clone();
    let observer = Observer::new(move |checkpoint| {
        if checkpoint.bytes >= bytes {
            pulled.suspend();
        }
    });
    let options = PackOptions { observer, ..scenario.options.clone() };
    let error = packed(&disk, scenario, &options, &cancel).expect_err("it is stopped");
    assert_eq!(error.kind(), ErrorKind::Suspended, "{error}");
    assert!(error.resumable_bytes() >= Some(bytes), "{error}");
    disk.killed()
}

fn interrupted(scenario: &Scenario) -> SimDisk {
    interrupted_at(scenario, 3 * CHUNK as u64)
}

fn packed(
    disk: &SimDisk,
    scenario: &Scenario,
    options: &PackOptions,
    cancel: &Cancel,
) -> Result<PackReport> {
    let (from, to) = (Input::Path(scenario.input.clone()), pack::Output::Path(OUT.into()));
    pack_scheduled(disk, from, to, options, cancel, &Schedule::Inline(1))
}

fn gone_on(disk: &SimDisk, scenario: &Scenario, way: Way) -> Result<PackReport> {
    if way == Way::Resume {
        let options = ResumeOptions { io: IoMode::Sim, ..ResumeOptions::default() };
        let mut input = |open: &Open| recorded_input(open);
        let (cancel, schedule) = (Cancel::new(), Schedule::Inline(1));
        resume_scheduled(disk, Path::new(OUT), &mut input, &options, &cancel, &schedule)
    } else {
        let options = PackOptions { resume: true, ..scenario.options.clone() };
        packed(disk, scenario, &options, &Cancel::new())
    }
}

/// That going on is refused in these words, and everything stays as it was.
fn check_refused(disk: &SimDisk, result: Result<PackReport>, words: &str, what: &str) {
    let error = result.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::NotResumable, "{what}: {error}");
    assert!(error.to_string().contains(words), "{what}: {error}");
    let changed = disk.trace().into_iter().find(|call| !call.starts_with("set_attributes in"));
    let changed = changed.filter(|call| !call.starts_with("sync_all in"));
    assert_eq!(changed, None, "{what}: something was changed");
    for name in [PARTIAL, JOURNAL] {
        assert!(disk.read_file(name).is_some(), "{what}: {name} is gone");
    }
    assert_eq!(disk.read_file(OUT), None, "{what}");
}

#[test]
fn j6_other_options_are_refused_and_named() {
    let scenario = scenario(options());
    let disk = interrupted(&scenario);
    let base = || PackOptions { resume: true, ..options() };
    let others = [
        ("the codec was zstd", PackOptions { codec: Codec::Store, ..base() }),
        ("the level was 1 and is 2", PackOptions { codec: Codec::Zstd(2), ..base() }),
        ("the chunk length was 65536", PackOptions { chunk_log2: Some(17), ..base() }),
        ("the placement was dense", PackOptions { placement: PlacementKind::Slots, ..base() }),
        ("the extent length was 1 chunks", PackOptions { extent_chunks: Some(2), ..base() }),
        ("the digest was none", PackOptions { blake3: true, ..base() }),
    ];
    for (words, options) in others {
        let left = disk.killed();
        check_refused(&left, packed(&left, &scenario, &options, &Cancel::new()), words, words);
        // With the options it had, it still goes on.
        let report = gone_on(&left, &scenario, Way::Pack).unwrap();
        assert!(report.resumed.unwrap().adopted_bytes >= 3 * CHUNK as u64);
        assert!(scenario.is_new(&left), "{words}");
    }
    let slots = PackOptions { placement: PlacementKind::Slots, ..options() };
    let slots = self::scenario(slots);
    let left = interrupted(&slots);
    check_refused(&left, gone_on(&left, &scenario, Way::Pack), "the placement was slots", "dense");
}

#[test]
fn j6_another_source_is_refused() {
    let scenario = scenario(options());
    let disk = interrupted(&scenario);
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    type Change<'a> = &'a dyn Fn(&SimDisk);
    let changes: [(&str, Change<'_>); 3] = [
        ("of another length", &|disk| disk.write_file(&scenario.input, b"short")),
        ("of another length", &|disk| {
            disk.write_file(&scenario.input, &[&scenario.content[..], b"x"].concat());
        }),
        ("another input file", &|disk| disk.write_file(&scenario.input, &scenario.content)),
    ];
    for (words, change) in changes {
        for way in [Way::Pack, Way::Resume] {
            let left = disk.killed();
            change(&left);
            check_refused(&left, gone_on(&left, &scenario, way), words, words);
        }
    }
    let left = changed(&disk, |records| {
        open_of(records).source.kind = SourceKind::BlockDevice;
    });
    for way in [Way::Pack, Way::Resume] {
        let left = left.killed();
        check_refused(&left, gone_on(&left, &scenario, way), "another kind of input", "kind");
    }
    // A later time of modification alone is no reason: the content is compared.
    let left = disk.killed();
    set_attributes(&left, &scenario.input, MODE, Some(later));
    gone_on(&left, &scenario, Way::Resume).unwrap();
    assert!(scenario.is_new(&left));
    // Only the device's number is no reason: it may change when the machine starts again.
    let left = changed(&disk, |records| open_of(records).source.device ^= 1);
    gone_on(&left, &scenario, Way::Pack).unwrap();
    assert!(scenario.is_new(&left));
}

/// A journal's records, each of them intact.
fn records(journal: &[u8]) -> Vec<Record> {
    let (mut records, mut chain, mut rest) = (Vec::new(), 0, journal);
    while let Some((record, len, next)) = Record::decode(rest, chain).unwrap() {
        records.push(record);
        (chain, rest) = (next, &rest[len..]);
    }
    records
}

fn encoded(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.iter().fold(0, |chain, record| record.encode(chain, &mut bytes));
    bytes
}

fn open_of(records: &mut [Record]) -> &mut Open {
    match &mut records[0] {
        Record::Open(open) => open,
        other => panic!("a journal opens with {other:?}"),
    }
}

/// The disk with a journal whose records were changed, and their checksums mended.
fn changed(disk: &SimDisk, change: impl FnOnce(&mut Vec<Record>)) -> SimDisk {
    let left = disk.killed();
    let mut records = records(&left.read_file(JOURNAL).unwrap());
    change(&mut records);
    left.write_file(JOURNAL, &encoded(&records));
    left
}

#[test]
fn j6_a_journal_of_another_run_is_refused() {
    let scenario = scenario(options());
    let disk = interrupted(&scenario);
    let journal = |disk: &SimDisk| disk.read_file(JOURNAL).unwrap();
    let another =
        |disk: &SimDisk| changed(disk, |records| open_of(records).partial.born_ns ^= 0x10);
    let stale = another(&disk);
    let longer = scenario_of(CHUNK * 9);
    let of_another_input = disk.killed();
    of_another_input.write_file(JOURNAL, &journal(&another(&interrupted(&longer))));
    let wide = self::scenario(PackOptions { chunk_log2: Some(17), ..options() });
    let of_another_length = disk.killed();
    of_another_length.write_file(JOURNAL, &journal(&another(&interrupted(&wide))));
    // A new partial file, of which no checkpoint was taken yet, beside the old journal.
    let new_partial = disk.killed();
    let unfinished = unfinished(&scenario);
    new_partial.write_file(PARTIAL, &unfinished);
    for (what, left) in [
        ("another run", stale),
        ("another input", of_another_input),
        ("another chunk length", of_another_length),
        ("a new partial file", new_partial),
    ] {
        let resumed = left.killed();
        let result = gone_on(&resumed, &scenario, Way::Resume);
        check_refused(&resumed, result, "belongs to another run", what);
        // Packing has nothing to go on with, and begins anew.
        let packed = left.killed();
        assert_eq!(gone_on(&packed, &scenario, Way::Pack).unwrap().resumed, None, "{what}");
        assert!(scenario.is_new(&packed), "{what}");
    }
}

fn scenario_of(len: usize) -> Scenario {
    let content = cheap_content(len, 77);
    Scenario::new(2, options(), 1, SimOptions::PLAIN, "/src/in".into(), content)
}

/// A partial file of the same job in the middle, without a checkpoint.
fn unfinished(scenario: &Scenario) -> Vec<u8> {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&kept);
    let disk = SimDisk::new(99, SimOptions::PLAIN);
    disk.write_file(&scenario.input, &scenario.content);
    let without = scenario.clone().with(|options| options.checkpoints = None);
    let lab = Lab::new("a partial file");
    let ended = lab.run(&without, &disk, Way::Fresh, &Promise::default(), move |disk, _| {
        let wrote = |call: &String| call.starts_with("write out.ringpack-partial");
        if disk.trace().iter().filter(|call| wrote(call)).count() == 5 {
            *seen.lock().unwrap() = disk.read_file(PARTIAL).unwrap();
        }
    });
    ended.result.unwrap();
    let bytes = std::mem::take(&mut *kept.lock().unwrap());
    assert!(bytes.len() > 3 * 4096);
    bytes
}

/// Where the extents of a journal stand.
fn extents(disk: &SimDisk) -> Vec<(u64, Vec<ChunkRecord>)> {
    let records = records(&disk.read_file(JOURNAL).unwrap());
    let extents = records.into_iter().filter_map(|record| match record {
        Record::Extent { offset, chunks, .. } => Some((offset, chunks)),
        _ => None,
    });
    extents.collect()
}

#[test]
fn j7_what_isnt_as_it_was_written_is_written_anew_and_all_behind_it() {
    for placement in [PlacementKind::Dense, PlacementKind::Slots] {
        for codec in [Codec::Zstd(1), Codec::Store] {
            let scenario = scenario(PackOptions { placement, codec, ..options() });
            let disk = interrupted_at(&scenario, 5 * CHUNK as u64);
            let whole = disk.read_file(PARTIAL).unwrap();
            let extents = extents(&disk);
            assert!(extents.len() >= 5);
            let check = |bytes: &[u8], kept: usize, what: &str| {
                for way in [Way::Pack, Way::Resume] {
                    let left = disk.killed();
                    left.rewrite_file(PARTIAL, bytes);
                    let report = gone_on(&left, &scenario, way).expect(what);
                    let resumed = report.resumed.unwrap();
                    assert_eq!(resumed.covered_bytes, 5 * CHUNK as u64, "{what}");
                    assert_eq!(resumed.adopted_bytes, (kept * CHUNK) as u64, "{what}");
                    let told = report.run.warnings.iter().any(|it| it.contains("written anew"));
                    assert!(told == (kept < 5), "{what}: {:?}", report.run.warnings);
                    assert!(scenario.is_new(&left), "{what}: other bytes");
                    assert!(scenario.is_new(&left.crash(3)), "{what}: not durable");
                }
            };
            check(&whole, 5, "as it was");
            let mut random = Random(7);
            for (number, (offset, chunks)) in extents.iter().enumerate().take(5) {
                let frame_len = u64::from(chunks[0].entry.frame_len);
                let places = [0, random.below(frame_len), random.below(frame_len), frame_len - 1];
                for place in places {
                    let mut bytes = whole.clone();
                    bytes[(offset + place) as usize] ^= 1 << random.below(8);
                    check(&bytes, number, &format!("extent {number}, byte {place} is flipped"));
                }
                let cut = &whole[..(offset + random.below(frame_len)) as usize];
                check(cut, number, &format!("cut short in extent {number}"));
                // Two at once: the first decides.
                let mut bytes = whole.clone();
                bytes[*offset as usize + 10] ^= 4;
                bytes[extents[4].0 as usize + 11] ^= 4;
                check(&bytes, number, &format!("extents {number} and 4"));
            }
        }
    }
}

/// The journal names the partial file: another one in its place is another run's, whatever it
/// holds, and however alike.
#[test]
fn j6_a_journal_is_about_one_partial_file() {
    let scenario = scenario(options());
    let disk = interrupted(&scenario);
    let whole = disk.read_file(PARTIAL).unwrap();
    let left = disk.killed();
    left.write_file(PARTIAL, &whole);
    let error = gone_on(&left, &scenario, Way::Resume).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotResumable, "{error}");
    assert_eq!(gone_on(&left, &scenario, Way::Pack).unwrap().resumed, None);
    assert!(scenario.is_new(&left));
}

/// Numbers that an attacker would try.
const WILD: [u64; 10] =
    [0, 1, 12, 4095, 1 << 16, u32::MAX as u64, 1 << 32, 1 << 62, u64::MAX - 4095, u64::MAX];

/// A journal with mended checksums: refused, or gone on with to a container; never a panic.
fn check_hostile(disk: &SimDisk, scenario: &Scenario, whole: bool, what: &str) -> bool {
    let mut accepted = false;
    for way in [Way::Pack, Way::Resume] {
        let left = disk.killed();
        let result = catch_unwind(AssertUnwindSafe(|| gone_on(&left, scenario, way)));
        match result.unwrap_or_else(|_| panic!("{what}, {way:?}: panicked")) {
            Ok(_) => {
                accepted = true;
                assert!(!whole || scenario.is_new(&left), "{what}, {way:?}: other bytes");
            }
            Err(_) => assert_eq!(left.read_file(OUT), None, "{what}, {way:?}"),
        }
    }
    accepted
}

#[test]
fn j4_hostile_journals_never_panic() {
    let scenario = scenario(PackOptions { extent_chunks: Some(2), blake3: true, ..options() });
    let disk = interrupted_at(&scenario, 4 * CHUNK as u64);
    let count = records(&disk.read_file(JOURNAL).unwrap()).len();
    for wild in WILD {
        let check = |what: &str, whole: bool, change: &dyn Fn(&mut Vec<Record>)| {
            let left = changed(&disk, change);
            check_hostile(&left, &scenario, whole, &format!("{what} {wild}"));
        };
        check("size", true, &|records| open_of(records).source.size = wild);
        check("inode", true, &|records| open_of(records).source.inode = wild);
        check("mtime", true, &|records| open_of(records).source.mtime_ns = wild as i64);
        // What the journal says that it began with, it ends with.
        check("level", false, &|records| open_of(records).recipe.level = wild as i32);
        check("zstd", true, &|records| open_of(records).recipe.zstd_version = wild as u32);
        check("chunk", true, &|records| {
            open_of(records).recipe.geometry.chunk_log2 = wild as u8;
        });
        check("extent", true, &|records| {
            open_of(records).recipe.geometry.extent_chunks = wild as u16;
        });
        check("codec", false, &|records| open_of(records).recipe.codec = CodecKind::Store);
        check("blake3", false, &|records| open_of(records).recipe.blake3 = false);
        check("name", false, &|records| {
            open_of(records).name = vec![b'x'; (wild % 4097) as usize];
        });
        for at in 1..count {
            let what = format!("record {at}:");
            check(&format!("{what} number"), false, &|records| match &mut records[at] {
                Record::Extent { number, .. } => *number = wild,
                Record::Checkpoint { extents, .. } => *extents = wild,
                Record::Open(_) => {}
            });
            check(&format!("{what} offset"), false, &|records| match &mut records[at] {
                Record::Extent { offset, .. } => *offset = wild,
                Record::Checkpoint { bytes, .. } => *bytes = wild,
                Record::Open(_) => {}
            });
            for chunk in 0..2 {
                let what = format!("{what} chunk {chunk}:");
                type Field = (&'static str, bool, fn(&mut ChunkRecord, u64));
                let fields: [Field; 7] = [
                    ("offset", false, |chunk, wild| chunk.entry.offset = wild),
                    ("frame length", false, |chunk, wild| chunk.entry.frame_len = wild as u32),
                    ("raw length", false, |chunk, wild| chunk.entry.raw_len = wild as u32),
                    ("frame checksum", true, |chunk, wild| {
                        chunk.entry.frame_crc32c = wild as u32;
                    }),
                    ("raw checksum", true, |chunk, wild| chunk.entry.raw_crc32c = wild as u32),
                    ("xxh64", true, |chunk, wild| chunk.xxh64_low = wild as u32),
                    ("chaining value", true, |chunk, wild| chunk.chaining[7] ^= wild as u8),
                ];
                for (field, whole, set) in fields {
                    check(&format!("{what} {field}"), whole, &|records| {
                        if let Record::Extent { chunks, .. } = &mut records[at]
                            && let Some(chunk) = chunks.get_mut(chunk)
                        {
                            set(chunk, wild);
                        }
                    });
                }
            }
        }
    }
    // Records left out, twice, swapped; and a tail that is cut or garbage at each byte.
    for at in 0..count {
        for other in 0..count {
            let left = changed(&disk, |records| records.swap(at, other));
            check_hostile(&left, &scenario, true, &format!("{at} and {other} swapped"));
            let left = changed(&disk, |records| records.insert(other, records[at].clone()));
            check_hostile(&left, &scenario, true, &format!("{at} again at {other}"));
        }
        let left = changed(&disk, |records| {
            records.remove(at);
        });
        check_hostile(&left, &scenario, true, &format!("without {at}"));
    }
    let journal = disk.read_file(JOURNAL).unwrap();
    let mut random = Random(9);
    for at in 0..journal.len() {
        let left = disk.killed();
        left.write_file(JOURNAL, &journal[..at]);
        check_hostile(&left, &scenario, true, &format!("cut at {at}"));
        let mut bytes = journal.clone();
        bytes[at] ^= 1 << random.below(8);
        left.write_file(JOURNAL, &bytes);
        left.write_file(NEW_JOURNAL, &bytes);
        check_hostile(&left, &scenario, true, &format!("flipped at {at}"));
        let noise = journal[at..].iter().map(|_| random.next() as u8);
        bytes = journal[..at].iter().copied().chain(noise).collect();
        left.write_file(JOURNAL, &bytes);
        check_hostile(&left, &scenario, true, &format!("noise from {at}"));
    }
}

/// A stream sent into a job; what came of it.
fn streamed(
    folder: &Path,
    bytes: &[u8],
    options: &PackOptions,
    cancel: &Cancel,
) -> Result<PackReport> {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A reader that is stopped goes away.
            let _ = writer.write_all(bytes);
        });
        let input = Input::Stream(File::from(std::os::fd::OwnedFd::from(reader)), "pipe".into());
        let to = pack::Output::Path(folder.join("out"));
        pack::pack(&OsDisk, input, to, options, cancel)
    })
}

/// Packs a stream until `covered` bytes are covered.
fn stream_until(folder: &Path, bytes: &[u8], options: &PackOptions, covered: u64) -> u64 {
    let cancel = Cancel::new();
    let pulled = cancel.clone();
    let observer = Observer::new(move |checkpoint| {
        if checkpoint.bytes >= covered {
            pulled.suspend();
        }
    });
    let options = PackOptions { observer, ..options.clone() };
    let error = streamed(folder, bytes, &options, &cancel).expect_err("it is stopped");
    assert_eq!(error.kind(), ErrorKind::Suspended, "{error}");
    let left = ["out.ringpack-journal", "out.ringpack-partial"];
    assert_eq!(names(folder), left);
    error.resumable_bytes().expect("a checkpoint")
}

#[test]
fn a_stream_that_is_sent_again_is_gone_on_with() {
    let bytes = cheap_content(9 * CHUNK + 777, 4);
    for placement in [PlacementKind::Dense, PlacementKind::Slots] {
        for (blake3, threads, at) in [(false, 1, 1), (true, 2, 4), (true, 1, 9), (false, 2, 10)] {
            // Of dense placement, no checkpoint covers what doesn't end on the grid (M2).
            let at = if placement == PlacementKind::Dense { at.min(9) } else { at };
            let io = IoMode::Pwrite;
            let threads = Some(threads);
            let options = PackOptions { placement, blake3, io, threads, ..options() };
            let plain = tempfile::tempdir().unwrap();
            streamed(plain.path(), &bytes, &options, &Cancel::new()).unwrap();
            let expected = std::fs::read(plain.path().join("out")).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            let covered = stream_until(folder, &bytes, &options, ((at - 1) * CHUNK + 1) as u64);
            let what = format!("{placement:?}, {covered} bytes");
            let partial = std::fs::read(folder.join("out.ringpack-partial")).unwrap();
            let options = PackOptions { resume: true, ..options };
            let refused = |sent: &[u8], how: &str| {
                let error = streamed(folder, sent, &options, &Cancel::new()).expect_err(how);
                assert_eq!(error.kind(), ErrorKind::NotResumable, "{what}, {how}: {error}");
                let left = ["out.ringpack-journal", "out.ringpack-partial"];
                assert_eq!(names(folder), left, "{what}, {how}");
                let now = std::fs::read(folder.join("out.ringpack-partial")).unwrap();
                let len = (covered as usize / CHUNK * 4096).min(partial.len());
                assert!(now[..len] == partial[..len], "{what}, {how}: it was changed");
            };
            let mut other = bytes.clone();
            other[covered as usize / 2] ^= 1;
            refused(&other, "another prefix");
            refused(&bytes[..covered as usize - 1], "a shorter one");
            refused(&[], "nothing");
            if covered as usize == bytes.len() {
                refused(&[&bytes[..], b"more"].concat(), "a longer one");
            }
            let report = streamed(folder, &bytes, &options, &Cancel::new()).expect(&what);
            let resumed = report.resumed.expect("gone on with");
            assert_eq!((resumed.covered_bytes, resumed.adopted_bytes), (covered, covered));
            assert_eq!(names(folder), ["out"], "{what}");
            assert!(std::fs::read(folder.join("out")).unwrap() == expected, "{what}: other bytes");
        }
    }
}
