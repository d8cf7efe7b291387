//! A core's buffers: made once, lent one at a time, given back by whoever is done with them.
//!
//! A buffer is a value: who holds it owns it, and nobody else can touch it. That is what lets the
//! in-flight table keep a buffer until the kernel is done with it. Back-pressure is a pool run dry.

use super::aligned::AlignedMemory;

/// A buffer of a pool.
#[derive(Debug)]
pub struct Buffer {
    memory: AlignedMemory,
    id: u16,
}

impl Buffer {
    /// A buffer of at least `len` bytes; `id` is its place in the table of registered buffers.
    #[must_use]
    pub fn new(len: usize, id: u16) -> Self {
        Self { memory: AlignedMemory::zeroed(len), id }
    }

    /// The buffer's number, unique among those of its core.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }
}

impl std::ops::Deref for Buffer {
    type Target = AlignedMemory;

    fn deref(&self) -> &AlignedMemory {
        &self.memory
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut AlignedMemory {
        &mut self.memory
    }
}

/// Buffers of one length, lent and given back.
#[derive(Debug)]
pub struct Pool {
    free: Vec<Buffer>,
}

impl Pool {
    /// Makes `count` buffers of at least `len` bytes with ids from `first_id` on.
    #[must_use]
    pub fn new(count: usize, len: usize, first_id: u16) -> Self {
        let free = (0..count as u16).rev().map(|i| Buffer::new(len, first_id + i)).collect();
        Self { free }
    }

    /// The same, or `None` where there is no memory for all of them.
    #[must_use]
    pub fn try_new(count: usize, len: usize, first_id: u16) -> Option<Self> {
        let buffer = |i| {
            let memory = AlignedMemory::try_zeroed(len)?;
            Some(Buffer { memory, id: first_id + i })
        };
        let free = (0..count as u16).rev().map(buffer).collect::<Option<Vec<_>>>()?;
        Some(Self { free })
    }

    /// Lends a buffer, or none where all are lent. The last one given back goes out first: it is
    /// the one most likely still in the cache. It holds what its last use left in it; see
    /// [`AlignedMemory::poison`].
    pub fn lease(&mut self) -> Option<Buffer> {
        let mut buffer = self.free.pop()?;
        buffer.poison();
        Some(buffer)
    }

    /// Takes a buffer back.
    pub fn give_back(&mut self, buffer: Buffer) {
        self.free.push(buffer);
    }

    /// Whether a buffer can be lent.
    #[must_use]
    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// The buffers that are not lent.
    pub fn iter(&self) -> impl Iterator<Item = &Buffer> {
        self.free.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::aligned::POISON;

    #[test]
    fn a_lent_buffer_shows_nothing_of_its_last_use() {
        let mut pool = Pool::new(1, 100, 0);
        for _ in 0..2 {
            let mut buffer = pool.lease().unwrap();
            assert!(buffer.iter().all(|&byte| byte == POISON));
            buffer.fill(0);
            pool.give_back(buffer);
        }
    }

    #[test]
    fn a_pool_run_dry_lends_nothing() {
        let mut pool = Pool::new(2, 100, 5);
        let (a, b) = (pool.lease().unwrap(), pool.lease().unwrap());
        assert_eq!((a.id(), b.id()), (5, 6));
        assert!(pool.lease().is_none() && !pool.has_free());
        pool.give_back(b);
        assert_eq!(pool.lease().unwrap().id(), 6);
    }
}
