//! Reads and writes on the runtime's ring, each seen to its end.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;

use tokio::sync::Notify;

use super::file::RuntimeFile;
use crate::buffer::AlignedMemory;
use crate::limits::{ALIGN, RETRIES_MAX};

thread_local! {
    /// Operations of this thread's runtime that have not ended.
    static IN_FLIGHT: Cell<usize> = const { Cell::new(0) };
    static IDLE: Rc<Notify> = Rc::new(Notify::new());
}

/// Runs `program` on a tokio-uring runtime of its own, and waits for every operation of this
/// module before that ends.
///
/// ```no_run
/// use ringpack::aio::uring::{UringReader, start};
///
/// let greeting = start(async {
///     let reader = UringReader::open("greeting.zst").await?;
///     reader.read_range(0..5).await
/// });
/// # let _: ringpack::Result<Vec<u8>> = greeting;
/// ```
pub fn start<F: Future>(program: F) -> F::Output {
    tokio_uring::start(async {
        let output = program.await;
        drain().await;
        output
    })
}

/// Waits until no operation of this module is in flight on the calling thread's runtime: for
/// programs that make their runtime themselves, as the last thing that they do on it.
pub async fn drain() {
    loop {
        let idle = IDLE.with(Rc::clone);
        let notified = idle.notified();
        if in_flight() == 0 {
            return;
        }
        notified.await;
    }
}

/// How many operations of this module are in flight on the calling thread's runtime.
#[must_use]
pub fn in_flight() -> usize {
    IN_FLIGHT.get()
}

/// Counts an operation until it ends. One that is dropped before, with its runtime, never does.
async fn counted<T>(operation: impl Future<Output = T>) -> T {
    IN_FLIGHT.set(IN_FLIGHT.get() + 1);
    let output = operation.await;
    IN_FLIGHT.set(IN_FLIGHT.get() - 1);
    if in_flight() == 0 {
        IDLE.with(|idle| idle.notify_waiters());
    }
    output
}

/// How an operation ended: where it failed, and why.
pub(super) type Ended = Result<(), (u64, io::Error)>;

/// Reads `len` bytes at `offset` into `memory`. To be run as a task of its own.
pub(super) async fn read_exact(
    file: Rc<RuntimeFile>,
    mut memory: AlignedMemory,
    len: usize,
    offset: u64,
) -> (AlignedMemory, Ended) {
    let (mut done, mut interrupted) = (0, 0);
    while done < len {
        let at = offset + done as u64;
        let result;
        (result, memory) = counted(file.read_at(memory, done..len, at)).await;
        match result {
            Ok(0) => return (memory, Err((at, io::ErrorKind::UnexpectedEof.into()))),
            Ok(read) => (done, interrupted) = (done + read, 0),
            Err(error) if is_passing(&error) && interrupted < RETRIES_MAX => interrupted += 1,
            Err(error) => return (memory, Err((at, error))),
        }
    }
    (memory, Ok(()))
}

/// Writes the first `len` bytes of `memory` at `offset`; both are on the grid. `output` is the same
/// file, whose direct I/O is turned off where it is refused. To be run as a task of its own.
pub(super) async fn write_all(
    file: Rc<RuntimeFile>,
    mut memory: AlignedMemory,
    len: usize,
    offset: u64,
    output: &dyn crate::ring::File,
) -> (AlignedMemory, Ended) {
    let (mut done, mut interrupted) = (0, 0);
    while done < len {
        let at = offset + done as u64;
        let result;
        (result, memory) = counted(file.write_at(memory, done..len, at)).await;
        match result {
            Ok(written) if written > 0 => {
                // Back to the grid, so that the rest stays legal for direct I/O.
                let whole = written == len - done || !output.is_direct();
                let kept = if whole { written } else { written & !(ALIGN - 1) };
                interrupted = if kept > 0 { 0 } else { interrupted + 1 };
                done += kept;
                if interrupted > RETRIES_MAX {
                    return (memory, Err((at, io::ErrorKind::WriteZero.into())));
                }
            }
            Ok(_) if interrupted < RETRIES_MAX => interrupted += 1,
            Ok(_) => return (memory, Err((at, io::ErrorKind::WriteZero.into()))),
            Err(error) if is_passing(&error) && interrupted < RETRIES_MAX => interrupted += 1,
            Err(error)
                if error.raw_os_error() == Some(libc::EINVAL)
                    && output.leave_direct().unwrap_or(false) => {}
            Err(error) => return (memory, Err((at, error))),
        }
    }
    (memory, Ok(()))
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::os::OsFile;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    fn pipe() -> (RuntimeFile, std::fs::File) {
        let (reader, writer) = std::io::pipe().unwrap();
        let [reader, writer]: [OwnedFd; 2] = [reader.into(), writer.into()];
        (RuntimeFile::new(reader.into()), writer.into())
    }

    #[test]
    fn a2_a_runtime_that_ends_too_early_leaks_what_was_lent() {
        let memory = AlignedMemory::zeroed(4096);
        let address = memory.address();
        tokio_uring::start(async {
            let (reader, _writer) = pipe();
            tokio_uring::spawn(read_exact(Rc::new(reader), memory, 16, 0));
            tokio::task::yield_now().await;
            assert_eq!(in_flight(), 1);
        });
        // The allocator gives the same place out again as soon as it is free.
        let others: Vec<_> = (0..64).map(|_| AlignedMemory::zeroed(4096)).collect();
        assert!(others.iter().all(|other| other.address() != address));
    }

    #[test]
    fn a2_the_end_waits_for_every_operation_whoever_gave_it_up() {
        // A thread of its own, whose count begins at none.
        let test = std::thread::spawn(|| {
            let arrived = Rc::new(Cell::new(false));
            let seen = Rc::clone(&arrived);
            start(async move {
                let (reader, mut writer) = pipe();
                let memory = AlignedMemory::zeroed(4096);
                let read = tokio_uring::spawn(async move {
                    let (memory, ended) = read_exact(Rc::new(reader), memory, 3, 0).await;
                    ended.unwrap();
                    seen.set(memory[..3] == *b"end");
                });
                tokio::task::yield_now().await;
                drop(read);
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(100));
                    writer.write_all(b"end").unwrap();
                });
            });
            assert!(arrived.get() && in_flight() == 0);
        });
        test.join().unwrap();
    }

    #[test]
    fn what_is_written_and_read_is_whole_and_an_end_too_early_is_named() {
        let file = tempfile::tempfile().unwrap();
        let output = OsFile::adopt(file.try_clone().unwrap(), false).unwrap();
        start(async move {
            let file = Rc::new(RuntimeFile::new(file));
            let mut memory = AlignedMemory::zeroed(3 * ALIGN);
            for (at, byte) in memory.iter_mut().enumerate() {
                *byte = (at / 7) as u8;
            }
            let expected = memory.to_vec();
            let at = ALIGN as u64;
            let (memory, ended) =
                write_all(Rc::clone(&file), memory, 3 * ALIGN, at, &*output).await;
            ended.unwrap();
            let (memory, ended) = read_exact(Rc::clone(&file), memory, 2 * ALIGN, at + 5).await;
            ended.unwrap();
            assert_eq!(memory[..2 * ALIGN], expected[5..2 * ALIGN + 5]);
            let (_, ended) = read_exact(file, memory, 3 * ALIGN, 2 * at).await;
            let (at, error) = ended.unwrap_err();
            assert_eq!((at, error.kind()), (4 * ALIGN as u64, io::ErrorKind::UnexpectedEof));
        });
    }
}
