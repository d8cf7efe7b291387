//! What the codec alone can do: chunks in memory, without a ring or a file.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{BenchOptions, Spent, timed};
use crate::codec::{Chunk, Decoder, Encoder, encode_room};
use crate::error::{Error, ErrorKind, Result};

/// A chunk's frame, and how long the chunk is.
pub(super) struct Encoded {
    frame: Vec<u8>,
    raw_len: usize,
}

/// Encodes the chunks of `sample` on `threads` threads. The frames are given back in no order.
pub(super) fn encode(
    sample: &[u8],
    options: &BenchOptions,
    threads: usize,
) -> Result<(Spent, Vec<Encoded>)> {
    let chunks: Vec<&[u8]> = sample.chunks(1 << options.chunk_log2).collect();
    let (kind, level) = options.codec.kind_and_level();
    let next = AtomicUsize::new(0);
    let frames = Mutex::new(Vec::with_capacity(chunks.len()));
    let (spent, ()) = timed(|| {
        on(threads, || {
            let mut encoder = Encoder::new(kind, level);
            let mut room = vec![0; encode_room(1 << options.chunk_log2)];
            while let Some(raw) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let len = encoder.encode(Chunk::Bytes(raw), None, &mut room)?.len;
                let encoded = Encoded { frame: room[..len].to_vec(), raw_len: raw.len() };
                frames.lock().unwrap_or_else(PoisonError::into_inner).push(encoded);
            }
            Ok(())
        })
    })?;
    Ok((spent, frames.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// Decodes them.
pub(super) fn decode(frames: &[Encoded], options: &BenchOptions, threads: usize) -> Result<Spent> {
    let next = AtomicUsize::new(0);
    let (spent, ()) = timed(|| {
        on(threads, || {
            let mut decoder = Decoder::new()?;
            let mut room = vec![0; 1 << options.chunk_log2];
            while let Some(encoded) = frames.get(next.fetch_add(1, Ordering::Relaxed)) {
                decoder.decode(&encoded.frame, &mut room[..encoded.raw_len])?;
            }
            Ok(())
        })
    })?;
    Ok(spent)
}

/// Runs `work` on as many threads at once.
fn on(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let panicked = |_| Err(Error::new(ErrorKind::Internal, "a thread panicked"));
        started.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::content;

    #[test]
    fn every_chunk_is_encoded_once_and_decodes() {
        let options = BenchOptions { chunk_log2: 16, ..BenchOptions::default() };
        let sample = content((5 << 16) + 7);
        for threads in [1, 3] {
            let (_, frames) = encode(&sample, &options, threads).unwrap();
            let mut lens: Vec<_> = frames.iter().map(|encoded| encoded.raw_len).collect();
            lens.sort_unstable();
            assert_eq!(lens, [7, 1 << 16, 1 << 16, 1 << 16, 1 << 16, 1 << 16]);
            decode(&frames, &options, threads).unwrap();
        }
    }
}
