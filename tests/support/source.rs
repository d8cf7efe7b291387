//! A source of bytes of which every read is as a test wants it: short, refused, slow, a lie.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringpack::ReadAt;

/// Bytes, and what stands between them and whoever reads them.
#[derive(Debug)]
pub struct Source<F> {
    bytes: Vec<u8>,
    len: u64,
    reads: AtomicU64,
    answer: F,
}

impl<F> Source<F>
where
    F: Fn(&[u8], &mut [u8], u64) -> io::Result<usize> + Send + Sync,
{
    /// `bytes`, each read of which `answer` answers: it is given them, the room, and the offset.
    pub fn new(bytes: Vec<u8>, answer: F) -> Self {
        Self { len: bytes.len() as u64, bytes, reads: AtomicU64::new(0), answer }
    }

    /// The same, claiming to be `len` bytes long.
    #[must_use]
    pub fn claiming(self, len: u64) -> Self {
        Self { len, ..self }
    }

    /// How often it was read.
    pub fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }
}

impl<F> ReadAt for Source<F>
where
    F: Fn(&[u8], &mut [u8], u64) -> io::Result<usize> + Send + Sync,
{
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.fetch_add(1, Relaxed);
        (self.answer)(&self.bytes, buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}
