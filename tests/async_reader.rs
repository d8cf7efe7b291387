//! Reading a container on a tokio runtime: any walk, reads dropped midway, seeks meanwhile, damage,
//! and a runtime that is never held up.

use std::future::Future;
use std::io::{Cursor, ErrorKind, SeekFrom};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringpack::aio::AsyncContentReader;
use ringpack::format::header::PlacementKind;
use ringpack::pack::Codec;
use ringpack::{ContainerReader, ReadAt};
use support::forge::Shape;
use support::source::Source;
use support::{Random, assert_same, content};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt};
use tokio::runtime::{Builder, Runtime};

const CHUNK: usize = 1 << 16;
const SHAPE: Shape = Shape { placement: PlacementKind::Dense, blake3: true };
/// Longer than any test waits that passes.
const NEVER: Duration = Duration::from_secs(60);

fn packed(content: &[u8]) -> Vec<u8> {
    SHAPE.pack(content, Codec::Zstd(1))
}

fn reader(content: &[u8]) -> AsyncContentReader {
    AsyncContentReader::new(ContainerReader::from_source(packed(content)).unwrap())
}

/// A runtime with one thread of its own, that of the test, and one that may block.
fn lone() -> Runtime {
    Builder::new_current_thread().max_blocking_threads(1).build().unwrap()
}

/// What the first poll of a future says; it is dropped then.
fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A container whose source, once it was opened, waits to be let through before each read.
struct Gate {
    container: ContainerReader,
    /// How often the source was read since.
    reads: Box<dyn Fn() -> u64>,
    pass: Sender<()>,
}

fn gated(bytes: Vec<u8>) -> Gate {
    let (pass, passes) = channel();
    let passes: Mutex<Receiver<()>> = Mutex::new(passes);
    let shut = Arc::new(AtomicBool::new(false));
    let is_shut = Arc::clone(&shut);
    let source = Arc::new(Source::new(bytes, move |bytes, buf, offset| {
        if is_shut.load(Relaxed) {
            let passed = passes.lock().unwrap().recv_timeout(NEVER);
            passed.map_err(std::io::Error::other)?;
        }
        bytes.read_at(buf, offset)
    }));
    let container = ContainerReader::from_source(Arc::clone(&source)).unwrap();
    shut.store(true, Relaxed);
    let opened = source.reads();
    Gate { container, reads: Box::new(move || source.reads() - opened), pass }
}

/// Every step is done to a reader and to the content in memory, and both must answer the same.
#[test]
fn any_walk_gives_what_the_content_gives() {
    let threads = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for (runtime, len) in
        [lone(), threads].iter().flat_map(|it| [0, 1, CHUNK, 3 * CHUNK + 77].map(|len| (it, len)))
    {
        let bytes = content(len, 3);
        let mut reader = reader(&bytes);
        runtime.block_on(async {
            let mut expected = Cursor::new(&bytes);
            let mut random = Random(len as u64);
            for step in 0..200 {
                let number = random.below((len + CHUNK) as u64) as i64;
                let to = match random.below(8) {
                    0 | 1 => SeekFrom::Start(number as u64),
                    2 => SeekFrom::End(-number),
                    3 => SeekFrom::Current(number - len as i64 / 2),
                    _ => SeekFrom::Current(0),
                };
                let (got, wanted) = (reader.seek(to).await, expected.seek(to).await);
                assert_eq!(got.map_err(|it| it.kind()), wanted.map_err(|it| it.kind()), "{to:?}");
                let mut room = vec![0; number as usize % (2 * CHUNK)];
                // Now and then a read is begun and dropped.
                if random.below(3) == 0 {
                    let mut own = vec![0; 10];
                    match poll_once(reader.read(&mut own)) {
                        Poll::Ready(got) => {
                            let mut same = vec![0; got.unwrap()];
                            expected.read_exact(&mut same).await.unwrap();
                            assert!(own.starts_with(&same), "step {step}");
                        }
                        Poll::Pending => assert!(own.iter().all(|&byte| byte == 0)),
                    }
                }
                let got = reader.read(&mut room).await.unwrap();
                let mut same = vec![0; got];
                expected.read_exact(&mut same).await.unwrap();
                assert!(room[..got] == same, "{len} bytes, step {step}: {to:?}");
                let at_end = expected.position() >= len as u64;
                assert!(got > 0 || room.is_empty() || at_end, "{len} bytes, step {step}: {to:?}");
                assert_eq!(reader.stream_position().await.unwrap(), expected.position());
            }
            reader.rewind().await.unwrap();
            let mut whole = Vec::new();
            assert_eq!(reader.read_to_end(&mut whole).await.unwrap(), len);
            assert_same(&whole, &bytes, "the whole");
        });
    }
}

#[test]
fn lines_are_read_across_chunks() {
    let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    let reader = reader(text.as_bytes());
    lone().block_on(async {
        let mut lines = reader.lines();
        for expected in text.lines() {
            assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(expected));
        }
        assert_eq!(lines.next_line().await.unwrap(), None);
    });
}

#[test]
fn many_tasks_read_one_container_at_once() {
    let bytes: Arc<[u8]> = content(8 * CHUNK, 4).into();
    let container = ContainerReader::from_source(packed(&bytes)).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..16)
            .map(|start| {
                let (container, bytes) = (container.clone(), Arc::clone(&bytes));
                tokio::spawn(async move {
                    let mut reader = AsyncContentReader::new(container);
                    let from = start * CHUNK / 2;
                    reader.seek(SeekFrom::Start(from as u64)).await.unwrap();
                    let mut rest = Vec::new();
                    reader.read_to_end(&mut rest).await.unwrap();
                    assert_same(&rest, &bytes[from..], "the rest");
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// The source is let through by a task of the same runtime, which has one thread: were it held up
/// by the read, nobody would.
#[test]
fn the_runtime_is_not_held_up_by_a_read() {
    let bytes = content(2 * CHUNK, 5);
    let Gate { container, pass, .. } = gated(packed(&bytes));
    lone().block_on(async {
        let read = tokio::spawn(async move {
            let mut whole = Vec::new();
            AsyncContentReader::new(container).read_to_end(&mut whole).await.map(|_| whole)
        });
        let other = tokio::spawn(async move {
            for _ in 0..2 {
                tokio::task::yield_now().await;
                pass.send(()).unwrap();
            }
            // The sender lives as long as a read may wait for it.
            pass
        });
        let _pass = other.await.unwrap();
        assert_same(&read.await.unwrap().unwrap(), &bytes, "the whole");
    });
}

/// AR1: a read that is dropped while it waits takes nothing with it, and the chunk that it began is
/// the next one's.
#[test]
fn ar1_a_read_that_is_dropped_loses_nothing() {
    let bytes = content(2 * CHUNK, 6);
    let Gate { container, reads, pass } = gated(packed(&bytes));
    let mut reader = AsyncContentReader::new(container);
    lone().block_on(async {
        for _ in 0..5 {
            let mut buf = [0xAA; 100];
            assert!(poll_once(reader.read(&mut buf)).is_pending());
            assert_eq!(buf, [0xAA; 100]);
            assert_eq!(reader.stream_position().await.unwrap(), 0);
        }
        pass.send(()).unwrap();
        let mut buf = vec![0; 100];
        reader.read_exact(&mut buf).await.unwrap();
        assert_same(&buf, &bytes[..100], "the first");
        assert_eq!(reads(), 1, "it is begun once");
        pass.send(()).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_same(&rest, &bytes[100..], "the rest");
    });
}

/// AR1: a seek while a chunk is on its way leads where it leads, and what comes then is from there.
#[test]
fn ar1_a_seek_while_a_chunk_is_read_leads_elsewhere() {
    let bytes = content(4 * CHUNK, 7);
    let Gate { container, reads, pass } = gated(packed(&bytes));
    let mut reader = AsyncContentReader::new(container);
    lone().block_on(async {
        assert!(poll_once(reader.read(&mut [0; 100])).is_pending());
        let to = SeekFrom::Start(3 * CHUNK as u64 + 5);
        assert_eq!(reader.seek(to).await.unwrap(), 3 * CHUNK as u64 + 5);
        for _ in 0..2 {
            pass.send(()).unwrap();
        }
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_same(&rest, &bytes[3 * CHUNK + 5..], "behind the seek");
        assert_eq!(reads(), 2);
        let error = reader.seek(SeekFrom::Current(-(5 * CHUNK as i64))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(reader.stream_position().await.unwrap(), 4 * CHUNK as u64, "it stays");
        // There and back, while a chunk is read that then is the one that is needed.
        reader.rewind().await.unwrap();
        assert!(poll_once(reader.read(&mut [0; 100])).is_pending());
        reader.seek(SeekFrom::End(0)).await.unwrap();
        assert_eq!(reader.read(&mut [0; 9]).await.unwrap(), 0, "the end needs no chunk");
        reader.rewind().await.unwrap();
        pass.send(()).unwrap();
        let mut first = [0; 100];
        reader.read_exact(&mut first).await.unwrap();
        assert_same(&first, &bytes[..100], "the first");
        assert_eq!(reads(), 3);
    });
}

fn with_chunk_2_damaged(content: &[u8]) -> Vec<u8> {
    let mut bytes = packed(content);
    let container = ContainerReader::from_source(bytes.clone()).unwrap();
    let frame = container.chunk(2).unwrap().frame_range();
    bytes[(frame.start + frame.end) as usize / 2] ^= 1;
    bytes
}

/// V2: not a byte of a damaged chunk comes out, however often it is asked for; what is around it
/// does.
#[test]
fn v2_a_damaged_chunk_is_an_error_each_time_and_the_others_are_read() {
    let bytes = content(4 * CHUNK, 8);
    let container = ContainerReader::from_source(with_chunk_2_damaged(&bytes)).unwrap();
    let mut reader = AsyncContentReader::new(container);
    lone().block_on(async {
        let mut before = vec![0; 2 * CHUNK];
        reader.read_exact(&mut before).await.unwrap();
        assert_same(&before, &bytes[..2 * CHUNK], "before");
        for _ in 0..3 {
            let mut room = vec![0xAA; CHUNK];
            let error = reader.read(&mut room).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let inner = error.get_ref().and_then(|it| it.downcast_ref::<ringpack::Error>());
            assert_eq!(inner.expect("the engine's own error is within").chunk(), Some(2));
            assert!(room.iter().all(|&byte| byte == 0xAA), "not a byte of it comes out");
            assert_eq!(reader.stream_position().await.unwrap(), 2 * CHUNK as u64);
        }
        reader.seek(SeekFrom::Start(3 * CHUNK as u64)).await.unwrap();
        let mut after = Vec::new();
        reader.read_to_end(&mut after).await.unwrap();
        assert_same(&after, &bytes[3 * CHUNK..], "after");
    });
}

/// AR2: who seeks away from a damaged chunk while it is read doesn't hear of it.
#[test]
fn ar2_an_error_is_told_only_to_who_reads_that_chunk() {
    let bytes = content(4 * CHUNK, 9);
    let Gate { container, pass, .. } = gated(with_chunk_2_damaged(&bytes));
    let mut reader = AsyncContentReader::new(container);
    lone().block_on(async {
        reader.seek(SeekFrom::Start(2 * CHUNK as u64)).await.unwrap();
        assert!(poll_once(reader.read(&mut [0; 100])).is_pending());
        // Not before: the thread could be done ahead of the poll.
        (0..3).for_each(|_| pass.send(()).unwrap());
        reader.seek(SeekFrom::Start(CHUNK as u64)).await.unwrap();
        let mut other = [0; 100];
        reader.read_exact(&mut other).await.unwrap();
        assert_same(&other, &bytes[CHUNK..CHUNK + 100], "another chunk");
        reader.seek(SeekFrom::Start(2 * CHUNK as u64)).await.unwrap();
        assert!(reader.read(&mut other).await.is_err(), "who reads it does");
    });
}

#[test]
fn without_a_runtime_or_after_a_panic_there_is_an_error() {
    let bytes = content(CHUNK, 10);
    let mut calm = reader(&bytes);
    let Poll::Ready(Err(error)) = poll_once(calm.read(&mut [0; 9])) else {
        panic!("there is no runtime here");
    };
    assert_eq!(error.kind(), ErrorKind::Other, "{error}");
    let runtime = lone();
    let mut first = [0; 9];
    runtime.block_on(calm.read_exact(&mut first)).unwrap();
    assert_eq!(first, bytes[..9]);

    let panics = Arc::new(Mutex::new(0));
    let left = Arc::clone(&panics);
    let source = Source::new(packed(&bytes), move |bytes, buf, offset| {
        let panic_now = {
            let mut left = left.lock().unwrap();
            *left -= i32::from(*left > 0);
            *left == 1
        };
        assert!(!panic_now, "as the test wants it");
        bytes.read_at(buf, offset)
    });
    let mut reader = AsyncContentReader::new(ContainerReader::from_source(source).unwrap());
    *panics.lock().unwrap() = 2;
    assert!(runtime.block_on(reader.read(&mut first)).is_err());
    runtime.block_on(reader.read_exact(&mut first)).unwrap();
    assert_eq!(first, bytes[..9], "it goes on after the panic");
}

#[test]
fn a_runtime_that_shut_down_is_an_error() {
    let mut reader = reader(&content(CHUNK, 10));
    let runtime = lone();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    let _within = handle.enter();
    assert!(matches!(poll_once(reader.read(&mut [0; 9])), Poll::Ready(Err(_))));
}

/// The one thread that may block has the first's chunk, so the second's waits; dropped, it is not
/// read at all.
#[test]
fn a_reader_that_is_dropped_takes_back_what_waits() {
    let bytes = content(4 * CHUNK, 11);
    let Gate { container, reads, pass } = gated(packed(&bytes));
    let mut first = AsyncContentReader::new(container.clone());
    let mut second = AsyncContentReader::new(container);
    lone().block_on(async {
        assert!(poll_once(first.read(&mut [0; 9])).is_pending());
        assert!(poll_once(second.read(&mut [0; 9])).is_pending());
        drop(second);
        pass.send(()).unwrap();
        first.read_exact(&mut [0; 9]).await.unwrap();
        // What were left of the second's would have the thread before this.
        pass.send(()).unwrap();
        first.seek(SeekFrom::Start(CHUNK as u64)).await.unwrap();
        let mut next = [0; 9];
        first.read_exact(&mut next).await.unwrap();
        assert_eq!((next.as_slice(), reads()), (&bytes[CHUNK..CHUNK + 9], 2));
    });
}
