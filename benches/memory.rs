//! What the codec by itself can do: libzstd on one core, from memory to memory, with a context
//! that is used again and no checksum but its own.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name};

use crate::run::{Spent, on_this_thread};

/// Most bytes that are held in memory for it.
const BYTES_MAX: u64 = 512 << 20;

/// Content in memory.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    chunk_len: usize,
}

/// Its chunks, each as a frame.
#[derive(Debug)]
pub struct Frames {
    frames: Vec<Vec<u8>>,
    bytes: usize,
    chunk_len: usize,
}

/// How fast that is.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Bytes of content a second.
    pub rate: f64,
    /// Seconds of processor time a byte.
    pub cpu: f64,
}

impl Speed {
    fn of(spent: Spent, bytes: usize) -> Self {
        Self { rate: bytes as f64 / spent.wall, cpu: spent.cpu / bytes as f64 }
    }
}

impl Held {
    /// Reads the first bytes of the file.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn read(path: &Path, chunk_len: usize) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(Self { bytes, chunk_len })
    }

    /// How fast it is compressed.
    ///
    /// # Errors
    /// Where libzstd fails.
    pub fn compress(&self, level: i32) -> io::Result<Speed> {
        let mut room = vec![0; compress_bound(self.chunk_len)];
        let mut context = context(level)?;
        let (spent, ()) = on_this_thread(|| {
            self.bytes.chunks(self.chunk_len).try_for_each(|chunk| {
                context.compress2(&mut room[..], chunk).map(drop).map_err(failed)
            })
        })?;
        Ok(Speed::of(spent, self.bytes.len()))
    }

    /// The frames that it is compressed to.
    ///
    /// # Errors
    /// Where libzstd fails.
    pub fn frames(&self, level: i32) -> io::Result<Frames> {
        let mut context = context(level)?;
        let compress = |chunk: &[u8]| {
            let mut frame = Vec::with_capacity(compress_bound(chunk.len()));
            context.compress2(&mut frame, chunk).map_err(failed)?;
            frame.shrink_to_fit();
            Ok(frame)
        };
        let frames = self.bytes.chunks(self.chunk_len).map(compress).collect::<io::Result<_>>()?;
        Ok(Frames { frames, bytes: self.bytes.len(), chunk_len: self.chunk_len })
    }
}

impl Frames {
    /// How fast they are decompressed.
    ///
    /// # Errors
    /// Where libzstd fails.
    pub fn decompress(&self) -> io::Result<Speed> {
        let mut room = vec![0; self.chunk_len];
        let mut context = DCtx::create();
        let (spent, ()) = on_this_thread(|| {
            self.frames.iter().try_for_each(|frame| {
                context.decompress(&mut room[..], frame).map(drop).map_err(failed)
            })
        })?;
        Ok(Speed::of(spent, self.bytes))
    }

    /// Seconds that decompressing each of these takes, by number.
    ///
    /// # Errors
    /// Where libzstd fails.
    pub fn decompress_each(&self, numbers: &[usize]) -> io::Result<f64> {
        let mut room = vec![0; self.chunk_len];
        let mut context = DCtx::create();
        let (spent, ()) = on_this_thread(|| {
            numbers.iter().try_for_each(|&number| {
                let frame = &self.frames[number % self.frames.len()];
                context.decompress(&mut room[..], frame).map(drop).map_err(failed)
            })
        })?;
        Ok(spent.wall / numbers.len().max(1) as f64)
    }
}

fn context(level: i32) -> io::Result<CCtx<'static>> {
    let mut context = CCtx::create();
    for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(true)] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    Ok(context)
}

fn failed(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}
