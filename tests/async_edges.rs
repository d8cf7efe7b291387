//! The library on async runtimes: tokio and tokio-uring, writing.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringpack::ErrorKind;
use ringpack::aio::uring::{UringReader, UringWriter, in_flight, start};
use ringpack::aio::{AsyncContainerWriter, AsyncStreamWriter};
use ringpack::codec::Codec;
use ringpack::format::header::PlacementKind;
use ringpack::write::{ReopenOptions, WriteOptions};
use support::chunks::{CHUNK, chunk, in_memory, shuffled};
use support::{Random, assert_same, content, names};
use tokio::io::AsyncWriteExt;

const PLACEMENTS: [PlacementKind; 2] = [PlacementKind::Dense, PlacementKind::Slots];

fn options(placement: PlacementKind) -> WriteOptions {
    WriteOptions {
        codec: Codec::Zstd(1),
        chunk_log2: 16,
        placement,
        blake3: true,
        checkpoints: None,
        window: Some(64),
        ..WriteOptions::default()
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    (folder, path)
}

/// Runs a program of ordinary tokio's, in which no timer may be held up: that is what a blocked
/// thread of the runtime would do.
fn on_tokio<T>(program: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(program)
}

#[test]
fn a_tokio_uring_program_writes_the_same_bytes() {
    let mut random = Random(1);
    for placement in PLACEMENTS {
        for len in [0, 5, CHUNK, 40 * CHUNK + 9] {
            let bytes = content(len, 1);
            let options = options(placement);
            let expected = in_memory(&bytes, &options);
            let (folder, path) = folder();
            let order = shuffled(0..len.div_ceil(CHUNK) as u64, &mut random);
            let report = start(async {
                let writer = UringWriter::create(&path, &options).await.unwrap();
                for sequence in order {
                    writer.write_chunk(sequence, chunk(&bytes, sequence)).await.unwrap();
                }
                writer.finalize(None).await.unwrap()
            });
            assert_eq!(report.header.content_size, len as u64);
            assert_same(&std::fs::read(&path).unwrap(), &expected, "on tokio-uring");
            assert_eq!(names(folder.path()), ["out"]);
        }
    }
}

#[test]
fn tasks_of_a_tokio_uring_program_share_a_writer() {
    let bytes = Rc::new(content(50 * CHUNK, 2));
    let options = options(PlacementKind::Slots);
    let (_folder, path) = folder();
    start(async {
        let writer = Rc::new(UringWriter::create(&path, &options).await.unwrap());
        let tasks: Vec<_> = (0..5)
            .map(|task| {
                let (writer, bytes) = (Rc::clone(&writer), Rc::clone(&bytes));
                tokio_uring::spawn(async move {
                    for sequence in (task..50).step_by(5) {
                        writer.write_chunk(sequence, chunk(&bytes, sequence)).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        Rc::into_inner(writer).unwrap().finalize(None).await.unwrap();
    });
    assert_same(&std::fs::read(&path).unwrap(), &in_memory(&bytes, &options), "by five tasks");
}

#[test]
fn a_tokio_uring_writer_is_checkpointed_suspended_and_gone_on_with() {
    for placement in PLACEMENTS {
        let bytes = content(20 * CHUNK + 3, 3);
        let options = options(placement);
        let (folder, path) = folder();
        // Chunk 4 is missing: what stands behind it is covered only where each has a slot.
        start(async {
            let writer = UringWriter::create(&path, &options).await.unwrap();
            for sequence in (0..12).filter(|&sequence| sequence != 4) {
                writer.write_chunk(sequence, chunk(&bytes, sequence)).await.unwrap();
            }
            let twice = writer.write_chunk(3, chunk(&bytes, 3)).await.unwrap_err();
            assert_eq!(twice.kind(), ErrorKind::Sequence);
            let covered = writer.suspend().await.unwrap().chunks;
            assert_eq!(covered, if placement == PlacementKind::Slots { 11 } else { 4 });
        });
        assert!(!path.exists());
        start(async {
            let writer = UringWriter::reopen(&path, &ReopenOptions::default()).await.unwrap();
            for sequence in 0..21 {
                if !writer.is_given(sequence) {
                    writer.write_chunk(sequence, chunk(&bytes, sequence)).await.unwrap();
                }
            }
            let report = writer.finalize(None).await.unwrap();
            assert!(report.reopened.is_some());
        });
        assert_same(&std::fs::read(&path).unwrap(), &in_memory(&bytes, &options), "gone on with");
        assert_eq!(names(folder.path()), ["out"]);
    }
}

#[test]
fn a_chunk_that_a_tokio_uring_writer_misses_is_named_and_the_others_kept() {
    let bytes = content(6 * CHUNK, 4);
    let (_folder, path) = folder();
    start(async {
        let writer = UringWriter::create(&path, &options(PlacementKind::Slots)).await.unwrap();
        for sequence in [0, 1, 5] {
            writer.write_chunk(sequence, chunk(&bytes, sequence)).await.unwrap();
        }
        let missing = writer.finalize(None).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Sequence);
        assert!(missing.to_string().contains("3 of 6 chunks are missing, the first is 2"));
        assert_eq!(missing.resumable_bytes(), Some(3 * CHUNK as u64));
    });
}

#[test]
fn a_tokio_uring_writer_that_is_dropped_leaves_nothing() {
    for placement in PLACEMENTS {
        let bytes = content(10 * CHUNK, 5);
        let (folder, path) = folder();
        start(async {
            let writer = UringWriter::create(&path, &options(placement)).await.unwrap();
            for sequence in [0, 3, 1, 7] {
                writer.write_chunk(sequence, chunk(&bytes, sequence)).await.unwrap();
            }
        });
        assert_eq!(in_flight(), 0);
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn a_tokio_uring_program_reads_any_range_from_many_tasks() {
    for len in [0, 1, CHUNK, 33 * CHUNK + 5] {
        let bytes = Rc::new(content(len, 9));
        let (_folder, path) = folder();
        std::fs::write(&path, in_memory(&bytes, &options(PlacementKind::Dense))).unwrap();
        start(async {
            let reader = Rc::new(UringReader::open(&path).await.unwrap());
            assert_eq!(reader.len(), len as u64);
            assert_same(&reader.read_range(0..len as u64).await.unwrap(), &bytes, "all of it");
            let tasks: Vec<_> = (0..8)
                .map(|task| {
                    let (reader, bytes) = (Rc::clone(&reader), Rc::clone(&bytes));
                    tokio_uring::spawn(async move {
                        let mut random = Random(task);
                        for _ in 0..20 {
                            let to = random.below(len as u64 + 1);
                            let from = random.below(to + 1);
                            let found = reader.read_range(from..to).await.unwrap();
                            assert_same(&found, &bytes[from as usize..to as usize], "a range");
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let beyond = reader.read_range(0..len as u64 + 1).await.unwrap_err();
            assert_eq!(beyond.kind(), ErrorKind::OutOfRange);
        });
    }
}

#[test]
fn a_tokio_uring_reader_gives_no_byte_of_a_damaged_or_missing_chunk() {
    let bytes = content(6 * CHUNK, 10);
    let options = WriteOptions { codec: Codec::Store, ..options(PlacementKind::Dense) };
    let container = in_memory(&bytes, &options);
    let (_folder, path) = folder();
    std::fs::write(&path, &container).unwrap();
    start(async {
        let reader = UringReader::open(&path).await.unwrap();
        let mut damaged = container.clone();
        damaged[4096 + 2 * CHUNK] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        for (range, is_good) in [(0..CHUNK, true), (CHUNK..4 * CHUNK, false), (0..6 * CHUNK, false)]
        {
            let found = reader.read_range(range.start as u64..range.end as u64).await;
            match found {
                Ok(found) => assert!(is_good && found == bytes[range]),
                Err(error) => {
                    assert!(!is_good && error.kind() == ErrorKind::Damaged, "{error}");
                    assert_eq!(error.path(), Some(path.as_path()));
                }
            }
        }
        std::fs::write(&path, &container[..4 * CHUNK]).unwrap();
        let cut = reader.read_range(0..6 * CHUNK as u64).await.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::Damaged);
        // One that nobody waits for any more ends all the same.
        let mut read = Box::pin(reader.read_range(0..CHUNK as u64));
        let once = poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_pending()));
        assert!(once.await);
        tokio::task::yield_now().await;
        assert!(in_flight() > 0);
        drop(read);
    });
    assert_eq!(in_flight(), 0);
}

#[test]
fn a_tokio_program_writes_the_same_bytes_and_its_runtime_is_never_blocked() {
    let mut random = Random(6);
    for placement in PLACEMENTS {
        let bytes = content(60 * CHUNK + 100, 6);
        let options = options(placement);
        let (folder, path) = folder();
        let order = shuffled(0..61, &mut random);
        on_tokio(async {
            let writer = AsyncContainerWriter::create(&path, &options).await.unwrap();
            let tasks: Vec<_> = order
                .into_iter()
                .map(|sequence| {
                    let (writer, chunk) = (writer.clone(), chunk(&bytes, sequence).to_vec());
                    tokio::spawn(async move { writer.write_chunk(sequence, chunk).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            // M2: the short last one is durable with the end.
            let covered = if placement == PlacementKind::Dense { 60 } else { 61 };
            assert_eq!(writer.checkpoint().await.unwrap().chunks, covered);
            let clone = writer.clone();
            let used = writer.finalize(None).await.unwrap_err();
            assert!(used.to_string().contains("clone"), "{used}");
            clone.finalize(None).await.unwrap();
        });
        assert_same(&std::fs::read(&path).unwrap(), &in_memory(&bytes, &options), "on tokio");
        assert_eq!(names(folder.path()), ["out"]);
    }
}

/// A chunk whose call was given up is given all the same, and the end waits for it.
#[test]
fn a_tokio_call_that_is_given_up_keeps_nobody_from_finalizing() {
    let bytes = content(8 * CHUNK, 16);
    let options = options(PlacementKind::Slots);
    let (_folder, path) = folder();
    on_tokio(async {
        let writer = AsyncContainerWriter::create(&path, &options).await.unwrap();
        for sequence in 0..8 {
            let call = writer.write_chunk(sequence, chunk(&bytes, sequence).to_vec());
            let mut call = Box::pin(call);
            poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_pending())).await;
            drop(call);
        }
        writer.finalize(None).await.unwrap();
    });
    assert_same(&std::fs::read(&path).unwrap(), &in_memory(&bytes, &options), "given up");
}

#[test]
fn a_tokio_stream_is_cut_into_chunks() {
    for len in [0, 1, CHUNK, 5 * CHUNK + 7] {
        let bytes = content(len, 7);
        let options = options(PlacementKind::Dense);
        let (_folder, path) = folder();
        let report = on_tokio(async {
            let writer = AsyncContainerWriter::create(&path, &options).await.unwrap();
            let mut stream = AsyncStreamWriter::new(writer);
            for piece in bytes.chunks(7001) {
                stream.write_all(piece).await.unwrap();
            }
            stream.flush().await.unwrap();
            assert_eq!(stream.position(), len as u64);
            stream.finish().await.unwrap()
        });
        assert_eq!(report.header.content_size, len as u64);
        assert_same(&std::fs::read(&path).unwrap(), &in_memory(&bytes, &options), "as a stream");
    }
}

#[test]
fn a_tokio_stream_that_is_shut_down_is_published_and_one_that_is_dropped_is_not() {
    let (folder, path) = folder();
    let written = |path: &Path, shut: bool| {
        let (path, options) = (path.to_owned(), options(PlacementKind::Dense));
        on_tokio(async move {
            let writer = AsyncContainerWriter::create(path, &options).await.unwrap();
            let mut stream = AsyncStreamWriter::new(writer);
            stream.write_all(&[5; 3 * CHUNK]).await.unwrap();
            if shut {
                stream.shutdown().await.unwrap();
                assert!(stream.write_all(b"more").await.is_err());
                stream.shutdown().await.unwrap();
            }
        });
    };
    written(&path, false);
    assert_eq!(names(folder.path()), [""; 0]);
    written(&path, true);
    assert_eq!(names(folder.path()), ["out"]);
}

/// A chunk that takes long to encode is encoded elsewhere: a timer of the runtime's goes on.
#[test]
fn a_long_encoding_holds_no_timer_up() {
    let (_folder, path) = folder();
    let options =
        WriteOptions { codec: Codec::Zstd(19), chunk_log2: 24, ..options(PlacementKind::Slots) };
    on_tokio(async {
        let writer = AsyncContainerWriter::create(&path, &options).await.unwrap();
        let bytes = content(1 << 24, 8);
        let writing = tokio::spawn(async move { writer.write_chunk(0, bytes).await });
        let mut ticks = 0;
        while !writing.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ticks += 1;
        }
        writing.await.unwrap().unwrap();
        assert!(ticks > 10, "{ticks} ticks");
    });
}

#[test]
fn a_tokio_stream_counts_the_chunk_that_is_on_its_way() {
    let options = options(PlacementKind::Slots);
    let (_folder, path) = folder();
    on_tokio(async {
        let writer = AsyncContainerWriter::create(&path, &options).await.unwrap();
        let mut stream = AsyncStreamWriter::new(writer);
        for taken in [CHUNK - 1, 1, CHUNK, 5] {
            let before = stream.position();
            stream.write_all(&vec![7; taken]).await.unwrap();
            assert_eq!(stream.position(), before + taken as u64);
        }
        stream.finish().await.unwrap();
    });
}

#[test]
fn async_writers_are_reopened_or_begun_and_ended_by_the_last_of_their_clones() {
    let options = options(PlacementKind::Slots);
    let (_folder, path) = folder();
    on_tokio(async {
        let writer = AsyncContainerWriter::reopen_or_create(&path, &options).await.unwrap();
        writer.write_chunk(1, vec![7; CHUNK]).await.unwrap();
        let refused = writer.clone().finalize(None).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InUse, "{refused}");
        writer.suspend().await.unwrap();
        let writer = AsyncContainerWriter::reopen_or_create(&path, &options).await.unwrap();
        assert!(writer.get_ref().is_given(1));
        writer.suspend().await.unwrap();
    });
    start(async {
        let writer = UringWriter::reopen_or_create(&path, &options).await.unwrap();
        assert!(writer.is_given(1));
        writer.write_chunk(0, &[5; CHUNK]).await.unwrap();
        writer.finalize(None).await.unwrap();
    });
    assert!(path.exists());
}
