//! The library's writer: chunks from any thread in any order, checkpoints, going on, giving up.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use ringpack::ErrorKind;
use ringpack::codec::Codec;
use ringpack::commit::Cadence;
use ringpack::format::header::PlacementKind;
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::pipeline::IoMode;
use ringpack::ring::os::OsDisk;
use ringpack::ring::sim::{Fault, SimDisk, SimOptions};
use ringpack::write::{
    AtWriter, ContainerWriter, MemoryWriter, ReopenOptions, StreamWriter, WriteOptions,
};
use ringpack::{Cancel, Error, Result};
use support::chunks::{CHUNK, chunk, chunk_count, in_memory, shuffled};
use support::crash::{cheap_content, often};
use support::memory::MemoryDisk;
use support::{Random, assert_same, content, names};

const EIO: i32 = 5;
const OUT: &str = "/out";

fn options(placement: PlacementKind) -> WriteOptions {
    WriteOptions {
        chunk_log2: 16,
        placement,
        checkpoints: None,
        threads: Some(2),
        ..WriteOptions::default()
    }
}

fn simulated(placement: PlacementKind) -> WriteOptions {
    WriteOptions { io: IoMode::Sim, ..options(placement) }
}

const PLACEMENTS: [PlacementKind; 2] = [PlacementKind::Dense, PlacementKind::Slots];

/// Gives `sequences` from `threads` threads, each the next one that nobody took.
fn give(writer: &ContainerWriter, bytes: &[u8], sequences: &[u64], threads: usize) -> Vec<Error> {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&sequence) = sequences.get(next.fetch_add(1, SeqCst) as usize) {
                    if let Err(error) = writer.write_chunk(sequence, chunk(bytes, sequence)) {
                        failed.lock().unwrap().push(error);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn unpacked(container: Vec<u8>) -> Vec<u8> {
    let disk = MemoryDisk::new(container);
    disk.verify(true).unwrap();
    disk.unpack().unwrap()
}

/// The container depends on content and options alone: not on threads, order, backend or writer.
#[test]
fn any_order_from_any_thread_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(1);
    for placement in PLACEMENTS {
        for (len, blake3, codec) in [
            (0, true, Codec::Zstd(1)),
            (1, true, Codec::Store),
            (CHUNK - 1, false, Codec::Zstd(3)),
            (CHUNK, true, Codec::Zstd(1)),
            (CHUNK + 1, false, Codec::Store),
            (3 * CHUNK, true, Codec::Zstd(1)),
            (37 * CHUNK + 100, true, Codec::Zstd(1)),
            (150 * CHUNK, false, Codec::Store),
        ] {
            let bytes = content(len, 9);
            let options = WriteOptions {
                blake3,
                codec,
                window: Some(4096),
                expected_size: Some(len as u64),
                ..options(placement)
            };
            let expected = in_memory(&bytes, &options);
            assert_same(&unpacked(expected.clone()), &bytes, "what the memory writer made");
            for (threads, io) in [(1, IoMode::Auto), (5, IoMode::Pwrite), (5, IoMode::Auto)] {
                let path = folder.path().join(format!("{len}-{placement:?}-{threads}-{io:?}"));
                let options = WriteOptions { io, ..options.clone() };
                let writer = ContainerWriter::create(&path, &options).unwrap();
                let order = shuffled(0..chunk_count(&bytes), &mut random);
                let failed = give(&writer, &bytes, &order, threads);
                assert!(failed.is_empty(), "{failed:?}");
                let report = writer.finalize(None).unwrap();
                assert_eq!(report.header.content_size, len as u64);
                let what = format!("{len} bytes {placement:?} by {threads} threads on {io:?}");
                assert_same(&std::fs::read(&path).unwrap(), &expected, &what);
            }
            // Packing makes the same, one chunk an extent.
            let (from, to) = (folder.path().join("in"), folder.path().join("packed"));
            std::fs::write(&from, &bytes).unwrap();
            let packing = PackOptions {
                codec,
                chunk_log2: Some(16),
                placement,
                extent_chunks: Some(1),
                blake3,
                replace: true,
                ..PackOptions::default()
            };
            let (input, output) = (Input::Path(from), Output::Path(to.clone()));
            pack(&OsDisk, input, output, &packing, &Cancel::new()).unwrap();
            assert_same(&std::fs::read(&to).unwrap(), &expected, "packed");
        }
    }
}

#[test]
fn a_chunk_that_cannot_be_given_leaves_the_writer_as_it_was() {
    let bytes = content(3 * CHUNK + 5, 2);
    for placement in PLACEMENTS {
        let disk = SimDisk::new(1, SimOptions::PLAIN);
        let options = simulated(placement);
        let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
        writer.write_chunk(1, chunk(&bytes, 1)).unwrap();
        let refused = [
            (1, CHUNK, "was given before"),
            (0, CHUNK + 1, "has 65537 bytes, of 65536 at most"),
            (0, 100, "only the last chunk may have fewer"),
            (2, 0, "is empty"),
            (u64::MAX, 1, ""),
        ];
        for (sequence, len, why) in refused {
            let error = writer.write_chunk(sequence, &vec![0; len]).unwrap_err();
            assert_eq!((error.kind(), error.chunk()), (ErrorKind::Sequence, Some(sequence)));
            assert_eq!(error.path(), Some(Path::new(OUT)));
            assert!(error.to_string().contains(why), "{error}");
        }
        assert_eq!(writer.missing(0..4).collect::<Vec<_>>(), [0, 2, 3]);
        for sequence in [0, 2, 3] {
            writer.write_chunk(sequence, chunk(&bytes, sequence)).unwrap();
        }
        let behind = writer.write_chunk(4, &[1; CHUNK]).unwrap_err();
        assert!(behind.to_string().contains("behind chunk 3"), "{behind}");
        writer.finalize(None).unwrap();
        assert_same(&disk.read_file(OUT).unwrap(), &in_memory(&bytes, &options), "the container");
    }
}

#[test]
fn dense_placement_names_the_chunk_that_it_waits_for() {
    let bytes = content(12 * CHUNK, 3);
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    let options = WriteOptions { window: Some(4), ..simulated(PlacementKind::Dense) };
    let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
    for sequence in [0, 2, 4] {
        writer.write_chunk(sequence, chunk(&bytes, sequence)).unwrap();
    }
    for sequence in [5, 11] {
        let error = writer.write_chunk(sequence, chunk(&bytes, sequence)).unwrap_err();
        assert_eq!((error.kind(), error.chunk()), (ErrorKind::Sequence, Some(sequence)));
        assert!(error.to_string().contains("before chunk 1 is"), "{error}");
        assert!(!writer.is_given(sequence));
    }
    for sequence in [1, 3, 5, 6, 8, 7, 9, 11, 10] {
        writer.write_chunk(sequence, chunk(&bytes, sequence)).unwrap();
    }
    writer.finalize(None).unwrap();
    assert_same(&disk.read_file(OUT).unwrap(), &in_memory(&bytes, &options), "the container");
}

/// With as few buffers as the window is wide, whoever gives the chunk that all wait for still finds
/// one. Threads take chunks in order and are held up in turn, so that nearly every order of giving
/// inside the window comes up.
#[test]
fn a_narrow_window_holds_threads_up_and_never_for_good() {
    for seed in 0..20 {
        let bytes = cheap_content(60 * CHUNK, seed);
        let disk = SimDisk::new(seed, SimOptions { reorder: true, ..SimOptions::PLAIN });
        let options = WriteOptions {
            window: Some(1 + seed as u32 % 7),
            threads: Some(1 + seed as usize % 3),
            ..simulated(PlacementKind::Dense)
        };
        let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (writer, bytes, next) = (&writer, &bytes, &next);
                scope.spawn(move || {
                    let mut random = Random(seed * 100 + thread);
                    loop {
                        let sequence = next.fetch_add(1, SeqCst);
                        if sequence >= 60 {
                            return;
                        }
                        if random.below(4) == 0 {
                            std::thread::yield_now();
                        }
                        // One that is too early is offered until the others have caught up.
                        while let Err(error) = writer.write_chunk(sequence, chunk(bytes, sequence))
                        {
                            assert_eq!(error.kind(), ErrorKind::Sequence, "{error}");
                            std::thread::yield_now();
                        }
                    }
                });
            }
        });
        writer.finalize(None).unwrap();
        assert!(disk.holds(OUT, &in_memory(&bytes, &options)), "seed {seed}");
    }
}

#[test]
fn what_is_dropped_leaves_nothing() {
    for placement in PLACEMENTS {
        let disk = SimDisk::new(1, SimOptions::PLAIN);
        disk.write_file(OUT, b"the old file");
        let options = WriteOptions { replace: true, ..simulated(placement) };
        let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
        writer.write_chunk(0, &[1; CHUNK]).unwrap();
        writer.checkpoint().unwrap();
        writer.write_chunk(2, &[1; CHUNK]).unwrap();
        drop(writer);
        assert_eq!(disk.names("/"), ["out"]);
        assert!(disk.holds(OUT, b"the old file"));
    }
}

#[test]
fn a_panic_keeps_what_a_checkpoint_covers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let panicked = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let writer = ContainerWriter::create(&path, &options(PlacementKind::Slots)).unwrap();
            writer.write_chunk(7, &[1; CHUNK]).unwrap();
            writer.checkpoint().unwrap();
            panic!("for the test");
        });
        writing.join().is_err()
    });
    assert!(panicked && !path.exists());
    let writer = ContainerWriter::reopen(&path).unwrap();
    assert!(writer.is_given(7) && writer.given() == 1);
}

#[test]
fn a_missing_chunk_keeps_all_the_others() {
    let bytes = content(20 * CHUNK + 9, 4);
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    let options = simulated(PlacementKind::Slots);
    let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
    let given: Vec<u64> = (0..21).filter(|sequence| ![3, 11].contains(sequence)).collect();
    assert!(give(&writer, &bytes, &given, 3).is_empty());
    let error = writer.finalize(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sequence);
    assert!(error.to_string().contains("2 of 21 chunks are missing, the first is 3"), "{error}");
    assert_eq!(error.resumable_bytes(), Some((bytes.len() - 2 * CHUNK) as u64));
    assert!(disk.read_file(OUT).is_none());
    let writer = reopen(&disk).unwrap();
    assert_eq!(writer.missing(0..21).collect::<Vec<_>>(), [3, 11]);
    assert!(give(&writer, &bytes, &[11, 3], 1).is_empty());
    let report = writer.finalize(None).unwrap();
    assert_eq!(report.reopened.unwrap().chunks, 19);
    assert_same(&disk.read_file(OUT).unwrap(), &in_memory(&bytes, &options), "the container");
}

fn reopen(disk: &SimDisk) -> Result<ContainerWriter> {
    let options = ReopenOptions {
        io: IoMode::Sim,
        threads: Some(2),
        checkpoints: None,
        ..Default::default()
    };
    ContainerWriter::reopen_on(Arc::new(disk.clone()), OUT, &options)
}

/// The power is cut at some moment while threads give chunks and take checkpoints. Whatever a
/// checkpoint was reported to cover is found by the next writer, nothing that isn't as it was given
/// counts, and the container comes out with the bytes of an undisturbed one.
#[test]
fn what_a_checkpoint_covers_survives_every_power_cut() {
    const COUNT: u64 = 24;
    let mut resumed = 0;
    for seed in 0..150 {
        let mut random = Random(seed);
        let placement = PLACEMENTS[seed as usize % 2];
        let len = (COUNT - 1) as usize * CHUNK + 1 + random.below(CHUNK as u64) as usize;
        let bytes = cheap_content(len, seed);
        let world = SimOptions {
            reorder: seed % 3 != 0,
            garbage: seed % 4 == 0,
            short_per_mille: 100,
            direct: seed % 5 < 2,
            ..SimOptions::PLAIN
        };
        let disk = SimDisk::new(seed, world);
        let options = WriteOptions {
            blake3: seed % 3 == 0,
            checkpoints: (seed % 2 == 0).then(|| often(3 * CHUNK as u64)),
            window: Some(32),
            spool_memory: if seed % 7 == 0 { 100 } else { 1 << 20 },
            ..simulated(placement)
        };
        let expected = in_memory(&bytes, &options);
        let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
        let order = shuffled(0..COUNT, &mut random);
        let cut_after = random.below(COUNT + 1) as usize;
        let mut covered = HashSet::new();
        let mut left = None;
        for (at, &sequence) in order.iter().enumerate() {
            if at == cut_after {
                left = Some(disk.crash(seed));
                break;
            }
            writer.write_chunk(sequence, chunk(&bytes, sequence)).unwrap();
            if random.below(6) == 0 {
                let checkpoint = writer.checkpoint().unwrap();
                covered = order[..=at].iter().copied().collect();
                if placement == PlacementKind::Dense {
                    let prefix = (0..).take_while(|next| covered.contains(next)).count() as u64;
                    covered = (0..prefix).collect();
                }
                assert!(checkpoint.chunks >= covered.len() as u64, "seed {seed}: {checkpoint:?}");
            }
        }
        let left = left.unwrap_or_else(|| disk.crash(seed));
        drop(writer);
        assert!(left.read_file(OUT).is_none(), "seed {seed}");
        let writer = match reopen(&left) {
            Ok(writer) => writer,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotResumable, "seed {seed}: {error}");
                assert!(covered.is_empty(), "seed {seed}: {error}");
                continue;
            }
        };
        // Of an only chunk nobody can tell its digest: it has to be given again.
        let only = options.blake3 && covered.iter().eq([&0]);
        for sequence in covered.iter().filter(|_| !only) {
            assert!(writer.is_given(*sequence), "seed {seed}: chunk {sequence} is lost");
        }
        assert!(writer.given() <= cut_after as u64, "seed {seed}: more than was ever given");
        resumed += 1;
        let missing = shuffled(writer.missing(0..COUNT), &mut random);
        let failed = give(&writer, &bytes, &missing, 2);
        assert!(failed.is_empty(), "seed {seed}: {failed:?}");
        writer.finalize(None).unwrap();
        assert!(left.holds(OUT, &expected), "seed {seed}: other bytes");
        assert_eq!(left.names("/"), ["out"], "seed {seed}");
    }
    assert!(resumed >= 40, "only {resumed} of 150 cuts left anything to go on with");
}

/// A chunk that the medium lost after all is the only one to be given again where each has a slot.
#[test]
fn what_was_damaged_meanwhile_has_to_be_given_again() {
    for placement in PLACEMENTS {
        let bytes = content(10 * CHUNK, 5);
        let disk = SimDisk::new(1, SimOptions::PLAIN);
        let options = WriteOptions { codec: Codec::Store, ..simulated(placement) };
        let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
        let given: Vec<u64> = (0..10).collect();
        assert!(give(&writer, &bytes, &given, 1).is_empty());
        assert_eq!(writer.suspend().unwrap().chunks, 10);
        let mut partial = disk.read_file("/out.ringpack-partial").unwrap();
        let at = partial.len() / 2;
        partial[at] ^= 1;
        disk.rewrite_file("/out.ringpack-partial", &partial);
        let writer = reopen(&disk).unwrap();
        let missing: Vec<u64> = writer.missing(0..10).collect();
        match placement {
            PlacementKind::Slots => assert_eq!(missing.len(), 1, "{missing:?}"),
            PlacementKind::Dense => assert_eq!(missing, (missing[0]..10).collect::<Vec<_>>()),
        }
        assert!(missing[0] >= 3, "{missing:?}");
        assert!(give(&writer, &bytes, &missing, 1).is_empty());
        let report = writer.finalize(None).unwrap();
        assert!(report.run.warnings[0].contains("written anew"), "{:?}", report.run.warnings);
        assert_same(&disk.read_file(OUT).unwrap(), &in_memory(&bytes, &options), "the container");
    }
}

/// Every write and every sync fails once: nothing is published, everyone who gives is told, and no
/// thread waits for ever.
#[test]
fn a_failing_disk_is_told_to_everyone_and_publishes_nothing() {
    let bytes = cheap_content(30 * CHUNK, 6);
    let all: Vec<u64> = (0..30).collect();
    let fault = |nth| Some(Fault { nth, errno: EIO });
    let mut failed_runs = 0;
    for placement in PLACEMENTS {
        for nth in (1..40).step_by(3) {
            let worlds = [
                SimOptions { fail_write: fault(nth), ..SimOptions::PLAIN },
                SimOptions { fail_sync: fault(nth), ..SimOptions::PLAIN },
            ];
            for world in worlds {
                let disk = SimDisk::new(nth, world);
                let options =
                    WriteOptions { checkpoints: Some(often(CHUNK as u64)), ..simulated(placement) };
                let begun = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options);
                let error = match begun {
                    Err(error) => Some(error),
                    Ok(writer) => {
                        let given = give(&writer, &bytes, &all, 3);
                        let _ = writer.checkpoint();
                        if let Some(first) = given.first() {
                            // Said again, with its cause.
                            let again = writer.write_chunk(29, b"").unwrap_err();
                            assert_eq!(again.raw_os_error(), first.raw_os_error(), "{first}");
                        }
                        writer.finalize(None).err()
                    }
                };
                match error {
                    Some(error) => {
                        failed_runs += 1;
                        assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
                        // The very last sync makes the name durable, which then stands already.
                        let published = disk.read_file(OUT).is_some();
                        assert!(!published || error.to_string().contains("is in place"), "{error}");
                    }
                    None => assert!(disk.holds(OUT, &in_memory(&bytes, &options))),
                }
            }
        }
    }
    assert!(failed_runs >= 30, "{failed_runs} runs failed");
}

#[test]
fn a_full_disk_keeps_what_is_complete() {
    let bytes = content(60 * CHUNK, 7);
    let mut random = Random(7);
    let world = SimOptions { capacity: Some(40 * CHUNK as u64), ..SimOptions::PLAIN };
    let disk = SimDisk::new(1, world);
    let options = WriteOptions { codec: Codec::Store, ..simulated(PlacementKind::Slots) };
    let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
    let order = shuffled(0..60, &mut random);
    let failed = give(&writer, &bytes, &order, 2);
    assert!(failed.iter().all(|error| error.kind() == ErrorKind::NoSpace), "{failed:?}");
    let error = writer.finalize(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(error.resumable_bytes().is_some_and(|bytes| bytes > 20 * CHUNK as u64), "{error}");
    disk.set_options(SimOptions::PLAIN);
    let writer = reopen(&disk).unwrap();
    let missing = shuffled(writer.missing(0..60), &mut random);
    assert!(missing.len() < 40, "{} are missing", missing.len());
    assert!(give(&writer, &bytes, &missing, 2).is_empty());
    writer.finalize(None).unwrap();
    assert_same(&disk.read_file(OUT).unwrap(), &in_memory(&bytes, &options), "the container");
}

#[test]
fn room_that_is_not_there_is_told_at_the_start() {
    let world = SimOptions { capacity: Some(40 * CHUNK as u64), ..SimOptions::PLAIN };
    let disk = SimDisk::new(1, world);
    let expected_size = Some(60 * CHUNK as u64);
    let options = WriteOptions { expected_size, ..simulated(PlacementKind::Slots) };
    let refused = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    assert!(disk.names("/").is_empty());
}

#[test]
fn two_writers_of_a_target_and_a_target_that_exists_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let options = options(PlacementKind::Slots);
    let writer = ContainerWriter::create(&path, &options).unwrap();
    let second = ContainerWriter::create(&path, &options).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Locked);
    writer.finalize(None).unwrap();
    let third = ContainerWriter::create(&path, &options).unwrap_err();
    assert_eq!(third.kind(), ErrorKind::TargetExists);
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn packing_and_writing_go_on_only_with_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let writer = ContainerWriter::create(&path, &options(PlacementKind::Slots)).unwrap();
    writer.write_chunk(3, &[1; CHUNK]).unwrap();
    writer.suspend().unwrap();
    let stderr = support::fail(&mut support::ringpack(["resume", path.to_str().unwrap()]), 13);
    assert!(stderr.contains("by a program, chunk by chunk"), "{stderr}");
    let writer = ContainerWriter::reopen(&path).unwrap();
    assert!(writer.is_given(3));
}

#[test]
fn a_writer_without_a_checkpoint_leaves_nothing_to_reopen() {
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    let options = WriteOptions { checkpoints: None, ..simulated(PlacementKind::Slots) };
    let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
    writer.write_chunk(0, &[1; CHUNK]).unwrap();
    let killed = disk.killed();
    assert_eq!(reopen(&killed).unwrap_err().kind(), ErrorKind::NotResumable);
    let nothing = reopen(&SimDisk::new(1, SimOptions::PLAIN)).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotResumable);
    drop(writer);
}

#[test]
fn checkpoints_are_taken_unasked_and_told() {
    let told = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&told);
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    let options = WriteOptions {
        checkpoints: Some(Cadence { bytes: 4 * CHUNK as u64, ..often(0) }),
        observer: ringpack::commit::Observer::new(move |checkpoint| {
            tell.store(checkpoint.chunks, SeqCst);
        }),
        ..simulated(PlacementKind::Slots)
    };
    let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
    let bytes = content(40 * CHUNK, 8);
    let order: Vec<u64> = (0..40).rev().collect();
    assert!(give(&writer, &bytes, &order, 1).is_empty());
    // All are written by the time that this one is answered.
    assert_eq!(writer.checkpoint().unwrap().chunks, 40);
    assert_eq!(told.load(SeqCst), 40);
    let journal = disk.read_file("/out.ringpack-journal").unwrap();
    assert!(journal.len() > 40 * 60, "{} bytes", journal.len());
    writer.finalize(None).unwrap();
}

#[test]
fn a_stream_of_any_pieces_is_cut_into_chunks() {
    let mut random = Random(11);
    for len in [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK, 7 * CHUNK + 123] {
        let bytes = content(len, 12);
        let options = options(PlacementKind::Dense);
        let mut writer = StreamWriter::new(MemoryWriter::new(&options).unwrap());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let most = [10, 5000, 3 * CHUNK][random.below(3) as usize];
            let (piece, more) =
                rest.split_at(rest.len().min(1 + random.below(most as u64) as usize));
            writer.write_all(piece).unwrap();
            rest = more;
            assert_eq!(writer.position(), (len - rest.len()) as u64);
        }
        assert_same(&writer.finish().unwrap(), &in_memory(&bytes, &options), "the container");
    }
}

#[test]
fn a_stream_that_is_sent_again_passes_over_what_is_there() {
    let bytes = content(9 * CHUNK + 50, 13);
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    let options = simulated(PlacementKind::Dense);
    let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
    let mut stream = StreamWriter::new(writer);
    stream.write_all(&bytes[..6 * CHUNK + 1]).unwrap();
    assert_eq!(stream.get_ref().checkpoint().unwrap().chunks, 6);
    let killed = disk.killed();
    let mut stream = StreamWriter::new(reopen(&killed).unwrap());
    stream.write_all(&bytes).unwrap();
    assert_eq!(stream.finish().unwrap().reopened.unwrap().chunks, 6);
    assert_same(&killed.read_file(OUT).unwrap(), &in_memory(&bytes, &options), "the container");
}

#[test]
fn bytes_at_any_offsets_are_put_together() {
    let mut random = Random(14);
    for len in [1, CHUNK, 4 * CHUNK, 6 * CHUNK + 77] {
        let bytes = content(len, 15);
        let options = options(PlacementKind::Slots);
        let writer = AtWriter::new(MemoryWriter::new(&options).unwrap(), 100);
        let mut cuts: Vec<usize> = (0..40).map(|_| random.below(len as u64 + 1) as usize).collect();
        cuts.extend([0, len]);
        cuts.sort_unstable();
        cuts.dedup();
        let pieces = cuts.windows(2).map(|cut| (cut[0], cut[1])).collect::<Vec<_>>();
        let order = shuffled(0..pieces.len() as u64, &mut random);
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(&at) = order.get(next.fetch_add(1, SeqCst) as usize) {
                        let (from, to) = pieces[at as usize];
                        writer.write_at(&bytes[from..to], from as u64).unwrap();
                    }
                });
            }
        });
        let container = writer.finish(len as u64).unwrap();
        assert_same(&container, &in_memory(&bytes, &options), "the container");
    }
}

#[test]
fn bytes_given_twice_or_not_at_all_are_refused() {
    let new = |most| {
        let writer = MemoryWriter::new(&options(PlacementKind::Slots)).unwrap();
        AtWriter::new(writer, most)
    };
    let refused = |result: Result<()>, part: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Sequence);
        assert!(error.to_string().contains(part), "{error}");
    };
    let writer = new(2);
    writer.write_at(&[1; 10], 5).unwrap();
    refused(writer.write_at(&[1; 10], 14), "bytes 14 to 24 were written before");
    refused(writer.write_at(&[1; 6], 0), "written before");
    writer.write_at(&[2; CHUNK], CHUNK as u64).unwrap();
    refused(writer.write_at(&[2; 1], CHUNK as u64 + 9), "written before");
    writer.write_at(&[3; 1], 2 * CHUNK as u64).unwrap();
    refused(writer.write_at(&[3; 1], 3 * CHUNK as u64), "2 other chunks are written in part");
    let finish = |writer: AtWriter<MemoryWriter>, len: usize| writer.finish(len as u64).map(drop);
    refused(finish(writer, 2 * CHUNK + 1), "chunk 0: was written in part");
    let writer = new(9);
    writer.write_at(&[1; CHUNK + 5], 0).unwrap();
    refused(finish(writer, CHUNK + 6), "chunk 1: not just its first 6 bytes");
    let writer = new(9);
    writer.write_at(&[1; CHUNK], CHUNK as u64).unwrap();
    refused(finish(writer, 2 * CHUNK), "chunk 0: was not written");
    let writer = new(9);
    writer.write_at(&[1; 2 * CHUNK], 0).unwrap();
    refused(finish(writer, CHUNK), "chunk 1: lies beyond the end");
}

/// A piece that completes a chunk too early for the window isn't accepted, and can be written
/// again.
#[test]
fn bytes_refused_for_now_can_be_written_later() {
    const HALF: usize = CHUNK / 2;
    let bytes = content(10 * CHUNK, 16);
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    let options = WriteOptions { window: Some(4), ..simulated(PlacementKind::Dense) };
    let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
    let writer = AtWriter::new(writer, 16);
    let write = |from: usize, len: usize| writer.write_at(&bytes[from..from + len], from as u64);
    let ninth = 9 * CHUNK;
    write(ninth, HALF).unwrap();
    for _ in 0..2 {
        let refused = write(ninth + HALF, HALF).unwrap_err();
        assert_eq!((refused.kind(), refused.chunk()), (ErrorKind::Sequence, Some(9)), "{refused}");
        assert!(refused.to_string().contains("can't be given before chunk 0"), "{refused}");
    }
    let twice = write(ninth + HALF - 1, 2).unwrap_err();
    assert!(twice.to_string().contains("written before"), "{twice}");
    write(0, 9 * CHUNK).unwrap();
    write(ninth + HALF, HALF).unwrap();
    writer.finish(bytes.len() as u64).unwrap();
    assert_same(&disk.read_file(OUT).unwrap(), &in_memory(&bytes, &options), "the container");
}

/// Whoever may be started again loses no checkpoint to an error that passes.
#[test]
fn reopening_or_creating_begins_anew_only_where_nothing_is_lost() {
    let options = WriteOptions { codec: Codec::Store, ..simulated(PlacementKind::Slots) };
    let open = |disk: &SimDisk, options: &WriteOptions| {
        ContainerWriter::reopen_or_create_on(Arc::new(disk.clone()), OUT, options)
    };
    let disk = SimDisk::new(1, SimOptions::PLAIN);
    let writer = open(&disk, &options).unwrap();
    assert!(writer.reopened().is_none());
    writer.write_chunk(3, &[3; CHUNK]).unwrap();
    let locked = open(&disk, &options).unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked, "{locked}");
    writer.suspend().unwrap();
    // A disk that can't be read for the moment.
    for nth in 1.. {
        let fail_read = Some(Fault { nth: disk.reads() + nth, errno: EIO });
        disk.set_options(SimOptions { fail_read, ..SimOptions::PLAIN });
        match open(&disk, &options) {
            Ok(writer) => {
                assert!(nth > 2 && writer.is_given(3), "read {nth}");
                writer.suspend().unwrap();
                break;
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(EIO), "read {nth}: {error}"),
        }
    }
    disk.set_options(SimOptions::PLAIN);
    let other = WriteOptions { blake3: true, ..options.clone() };
    let refused = open(&disk, &other).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotResumable, "{refused}");
    let writer = open(&disk, &options).unwrap();
    assert_eq!((writer.reopened().unwrap().chunks, writer.given()), (1, 1));
    for sequence in 0..3 {
        writer.write_chunk(sequence, &[sequence as u8; CHUNK]).unwrap();
    }
    writer.finalize(None).unwrap();
    let complete = reopen(&disk).unwrap_err();
    assert_eq!(complete.kind(), ErrorKind::Complete, "{complete}");
    let exists = open(&disk, &options).unwrap_err();
    assert_eq!(exists.kind(), ErrorKind::TargetExists, "{exists}");
    let writer = open(&disk, &WriteOptions { replace: true, ..options.clone() }).unwrap();
    assert_eq!(writer.given(), 0, "asked to, it begins anew");
}

/// A disk on which the container fits, with a twentieth to spare, for as many sizes as that.
#[test]
fn what_fits_is_written() {
    let world = SimOptions { direct: true, ..SimOptions::PLAIN };
    for count in 1..=20 {
        for placement in PLACEMENTS {
            let bytes = content(count * CHUNK - 9, count as u64);
            let checkpoints = Some(often(1));
            let options = WriteOptions { codec: Codec::Store, checkpoints, ..simulated(placement) };
            let expected = in_memory(&bytes, &options);
            let disk = SimDisk::new(1, world);
            // A slot is written, and the part of it that isn't needed freed at the end.
            let most = chunk_count(&bytes) * (CHUNK as u64 + 3 * 4096) + 4 * 4096;
            disk.set_options(SimOptions { capacity: Some(most + most / 20), ..world });
            let writer = ContainerWriter::create_on(Arc::new(disk.clone()), OUT, &options).unwrap();
            let all: Vec<u64> = (0..chunk_count(&bytes)).collect();
            let failed = give(&writer, &bytes, &all, 1);
            assert!(failed.is_empty(), "{count} chunks, {placement:?}: {failed:?}");
            let finished = writer.finalize(None);
            assert!(finished.is_ok(), "{count} chunks, {placement:?}: {finished:?}");
            assert_same(&disk.read_file(OUT).unwrap(), &expected, "the container");
        }
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let plain = WriteOptions::default();
    for wrong in [
        WriteOptions { chunk_log2: 15, ..plain.clone() },
        WriteOptions { chunk_log2: 27, ..plain.clone() },
        WriteOptions { codec: Codec::Zstd(0), ..plain.clone() },
        WriteOptions { window: Some(0), ..plain.clone() },
        WriteOptions { window: Some(4097), ..plain.clone() },
        WriteOptions { threads: Some(0), ..plain.clone() },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let refused = ContainerWriter::create(folder.path().join("out"), &wrong).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidOptions, "{wrong:?}");
        assert!(names(folder.path()).is_empty());
    }
}

#[test]
fn the_program_in_the_docs_is_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (docs, example) = (read("docs/LIBRARY.md"), read("engine/examples/random_order.rs"));
    let (_, code) = docs.split_once("```rust\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    assert!(code.lines().count() <= 30 && example.contains(code), "{code}");
}
