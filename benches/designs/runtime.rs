//! A plain tokio-uring program: a runtime on a thread of its own, and a task for each chunk.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::mpsc as std_mpsc;
use std::sync::{Mutex, PoisonError};

use ringpack::units::align_up;
use tokio::sync::{Semaphore, mpsc};
use tokio_uring::buf::BoundedBuf;

use super::{Shared, on_each};

/// The grid of direct writes.
const ALIGN: usize = 4096;

/// A frame on its way to the runtime.
struct Encoded {
    memory: Vec<u8>,
    /// Where the frame starts in it, on the grid.
    at: usize,
    offset: u64,
    len: usize,
}

pub(super) fn write(shared: &Shared<'_>) -> io::Result<()> {
    let threads = shared.setup.threads;
    let depth = threads * shared.setup.depth;
    let (give, mut taken) = mpsc::channel::<Encoded>(depth);
    let (back, free) = std_mpsc::channel::<Vec<u8>>();
    for _ in 0..depth {
        let _ = back.send(vec![0; shared.room() + ALIGN]);
    }
    let free = Mutex::new(free);
    let give = Mutex::new(vec![give; threads]);
    let taken = Mutex::new(Some(&mut taken));
    let back = Mutex::new(Some(back));
    on_each(threads + 1, |number| {
        if number == 0 {
            let taken = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            let back = back.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (Some(taken), Some(back)) = (taken, back) else {
                return Err(io::Error::other("one thread for the runtime"));
            };
            return serve(shared, taken, back, depth);
        }
        let give = give.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let give = give.ok_or_else(|| io::Error::other("a sender for each thread"))?;
        let mut encoder = shared.encoder();
        while let Some(sequence) = shared.claim() {
            let gone = || io::Error::other("the runtime ended early");
            let next = free.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let mut memory = next.map_err(|_| gone())?;
            let at = memory.as_ptr().align_offset(ALIGN);
            let len = shared.encode(&mut encoder, sequence, &mut memory[at..])?;
            let offset = shared.reserve(sequence, len);
            let encoded = Encoded { memory, at, offset, len };
            give.blocking_send(encoded).map_err(|_| gone())?;
        }
        Ok(())
    })
}

fn serve(
    shared: &Shared<'_>,
    taken: &mut mpsc::Receiver<Encoded>,
    back: std_mpsc::Sender<Vec<u8>>,
    depth: usize,
) -> io::Result<()> {
    let file: OwnedFd = shared.file.share()?;
    tokio_uring::start(async move {
        let file = Rc::new(tokio_uring::fs::File::from_std(std::fs::File::from(file)));
        let room = Rc::new(Semaphore::new(depth));
        let mut tasks = Vec::new();
        while let Some(Encoded { memory, at, offset, len }) = taken.recv().await {
            let permit = Rc::clone(&room);
            let (file, back) = (Rc::clone(&file), back.clone());
            tasks.push(tokio_uring::spawn(async move {
                let _permit = permit.acquire().await;
                let bytes = memory.slice(at..at + align_up(len as u64) as usize);
                let (result, bytes) = file.write_all_at(bytes, offset).await;
                let _ = back.send(bytes.into_inner());
                result
            }));
        }
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}
