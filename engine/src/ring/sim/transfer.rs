//! Reads and writes of the simulated disk, with the faults that befall them.
//!
//! A transfer has two steps. When it is issued, what can be refused at once is refused: a bad
//! descriptor, an offset off the grid under direct I/O, the write that a test chose to fail. When
//! it finishes, it may be interrupted, cut short, or find the disk full, and only then do its bytes
//! appear. A synchronous call does both at once; a backend leaves time between them.
//!
//! # Invariants
//! - S11: under direct I/O offset, length and address lie on the grid, or the answer is `EINVAL`.
//! - S12: a caller that asks for the rest of a short transfer gets to the end: cuts leave at least
//!   a page of progress, and of two small transfers in a row one is whole.

use super::content::{PAGE_BYTES, Run};
use super::state::{State, Sys};
use crate::ring::op::OpKind;

/// A transfer that was issued and has not finished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Issued {
    descriptor: i32,
    offset: u64,
    len: usize,
    /// Whether the file was under direct I/O when it was issued.
    pub(super) direct: bool,
    /// The bytes' place among the file's writes in flight; none for a read.
    write: Option<u64>,
    refused: Option<i32>,
    /// Whether the caller waits: it is then never told to come again.
    waited_for: bool,
}

impl Issued {
    /// The transfer as one that its caller waits for.
    pub(super) fn waited_for(self) -> Self {
        Self { waited_for: true, ..self }
    }
}

fn is_on_grid(value: u64) -> bool {
    value.is_multiple_of(PAGE_BYTES)
}

impl State {
    /// Issues a transfer. For a write, `bytes` are taken as they are now.
    pub(super) fn issue(
        &mut self,
        descriptor: i32,
        kind: OpKind,
        offset: u64,
        bytes: &[u8],
    ) -> Issued {
        let refused = self.admit(descriptor, kind, offset, bytes).err();
        let write = (kind == OpKind::Write && refused.is_none()).then(|| self.number());
        if let Some(id) = write {
            self.inode_of(descriptor).issue(id, descriptor, Run::new(offset, bytes));
        }
        let direct = self.description(descriptor).direct;
        Issued { descriptor, offset, len: bytes.len(), direct, write, refused, waited_for: false }
    }

    fn admit(&mut self, descriptor: i32, kind: OpKind, offset: u64, bytes: &[u8]) -> Sys<()> {
        let description = self.description(descriptor).clone();
        if kind == OpKind::Write {
            if !description.writable {
                return Err(libc::EBADF);
            }
            self.count_write()?;
        } else {
            self.count_read()?;
        }
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(if kind == OpKind::Write { libc::EFBIG } else { libc::EINVAL });
        }
        if description.direct {
            let address = bytes.as_ptr().addr() as u64;
            // S11: unless this file refuses direct I/O anyway.
            let on_grid = [offset, bytes.len() as u64, address].into_iter().all(is_on_grid);
            if self.options.einval_direct || !on_grid {
                return Err(libc::EINVAL);
            }
        }
        Ok(())
    }

    /// Finishes a read into `bytes`.
    pub(super) fn finish_read(&mut self, issued: Issued, bytes: &mut [u8]) -> Sys<usize> {
        self.interrupt(issued)?;
        let len = self.cut(bytes.len(), true);
        let inode = self.inode_of(issued.descriptor);
        let content = if issued.direct { inode.behind_cache() } else { inode.content() };
        Ok(content.read(issued.offset, &mut bytes[..len]))
    }

    /// Finishes a write: its bytes, as far as they go, are seen from now on.
    pub(super) fn finish_write(&mut self, issued: Issued) -> Sys<usize> {
        let result = self.interrupt(issued).and_then(|()| self.room(issued));
        if let Some(id) = issued.write {
            let modified = self.now();
            let inode = self.inode_of(issued.descriptor);
            match result {
                Ok(moved) => {
                    inode.land(id, moved);
                    inode.metadata.modified = modified;
                }
                Err(_) => inode.abandon(id),
            }
        }
        let moved = *result.as_ref().unwrap_or(&issued.len);
        let name = self.inode_of(issued.descriptor).name.to_string_lossy().into_owned();
        self.traced(format!("write {name} {} {moved}", issued.offset), result)
    }

    /// How much of a write is moved.
    fn room(&mut self, issued: Issued) -> Sys<usize> {
        let len = self.cut(issued.len, issued.direct);
        let free = self.free_bytes();
        let content = self.inode_of(issued.descriptor).content();
        match content.fitting(issued.offset, len, free) {
            0 if len > 0 => Err(libc::ENOSPC),
            fits => Ok(fits),
        }
    }

    /// Finishes a transfer that nobody waits for any more, as a kernel does: whole, if it can.
    pub(super) fn finish_unwatched(&mut self, issued: Issued) {
        if let Some(id) = issued.write {
            let free = self.free_bytes();
            let inode = self.inode_of(issued.descriptor);
            let fits = inode.content().fitting(issued.offset, issued.len, free);
            inode.land(id, fits);
        }
    }

    fn interrupt(&mut self, issued: Issued) -> Sys<()> {
        if let Some(errno) = issued.refused {
            return Err(errno);
        }
        if self.random.happens(self.options.eintr_per_mille) {
            return Err(libc::EINTR);
        }
        if !issued.waited_for && self.random.happens(self.options.eagain_per_mille) {
            return Err(libc::EAGAIN);
        }
        Ok(())
    }

    /// How much of a transfer is moved; whole pages only, if so asked.
    fn cut(&mut self, len: usize, whole_pages: bool) -> usize {
        if len < 2 || !self.random.happens(self.options.short_per_mille) {
            return len;
        }
        let page = PAGE_BYTES as usize;
        if len > page {
            // S12: a page at least.
            let short = page + self.random.index(len - page);
            return if whole_pages { short - short % page } else { short };
        }
        // S12: no two in a row.
        self.cut_small = !whole_pages && !self.cut_small;
        if self.cut_small { 1 + self.random.index(len - 1) } else { len }
    }
}
