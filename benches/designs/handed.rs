//! Threads hand what they encoded to writer tasks, and get the buffers back.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Mutex, PoisonError};

use ringpack::buffer::Buffer;
use ringpack::ring::Wait;

use super::alone::Ring;
use super::{Shared, on_each};

/// A frame in its buffer, on its way to a writer.
struct Encoded {
    buffer: Buffer,
    offset: u64,
    len: usize,
}

pub(super) fn write(shared: &Shared<'_>, writers: usize) -> io::Result<()> {
    let threads = shared.setup.threads;
    let count = (threads * shared.setup.depth) as u16;
    let buffers: Vec<Buffer> = (0..count).map(|id| Buffer::new(shared.room(), id)).collect();
    // What a ring registers stays where it is; rings are made one after the other, each by the
    // thread that uses it, before the buffers are lent.
    let (give, taken) = channel::<Encoded>();
    let (back, free) = channel::<Buffer>();
    let (taken, free) = (Mutex::new(taken), Mutex::new(free));
    let lent = Mutex::new(Some(buffers));
    let giving: Vec<Sender<Encoded>> = vec![give; threads];
    let giving = Mutex::new(giving);
    let started = std::sync::Barrier::new(threads + writers);
    on_each(threads + writers, |number| {
        if number < writers {
            let made = {
                let lent = lent.lock().unwrap_or_else(PoisonError::into_inner);
                let buffers = lent.as_deref().unwrap_or_default();
                Ring::of_others(shared, buffers.iter().collect())
            };
            started.wait();
            let first = number == 0;
            if first
                && let Some(buffers) = lent.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                buffers.into_iter().for_each(|buffer| drop(back.send(buffer)));
            }
            serve(&mut made?, &taken, &back)
        } else {
            let give = giving.lock().unwrap_or_else(PoisonError::into_inner).pop();
            started.wait();
            let give = give.ok_or_else(|| io::Error::other("a sender for each thread"))?;
            make(shared, &give, &free)
        }
    })
}

/// Encodes chunks until there are none.
fn make(
    shared: &Shared<'_>,
    give: &Sender<Encoded>,
    free: &Mutex<Receiver<Buffer>>,
) -> io::Result<()> {
    let gone = |_| io::Error::other("the writers ended early");
    let mut encoder = shared.encoder();
    while let Some(sequence) = shared.claim() {
        let next = free.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let mut buffer = next.map_err(|_| io::Error::other("the writers ended early"))?;
        let len = shared.encode(&mut encoder, sequence, &mut buffer)?;
        let offset = shared.reserve(sequence, len);
        give.send(Encoded { buffer, offset, len }).map_err(gone)?;
    }
    Ok(())
}

/// Writes what comes, as much at once as there is.
fn serve(
    ring: &mut Ring,
    taken: &Mutex<Receiver<Encoded>>,
    back: &Sender<Buffer>,
) -> io::Result<()> {
    let mut open = true;
    while open || ring.in_flight() > 0 {
        while open {
            // Only a writer with nothing in flight sleeps on the queue, and sleeps with its lock:
            // one that has writes in flight must not wait for that lock, since a buffer of those
            // may be what the queue's next chunk waits for.
            let next = if ring.in_flight() == 0 {
                let queue = taken.lock().unwrap_or_else(PoisonError::into_inner);
                queue.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                taken.try_lock().map_or(Err(TryRecvError::Empty), |queue| queue.try_recv())
            };
            match next {
                Ok(Encoded { buffer, offset, len }) => ring.submit(buffer, offset, len),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => open = false,
            }
        }
        ring.turn(Wait::ForOne)?;
        for buffer in ring.take_free() {
            // Nobody wants it back once all is encoded.
            let _ = back.send(buffer);
        }
    }
    Ok(())
}
