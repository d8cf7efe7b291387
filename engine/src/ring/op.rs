//! Operations: what is asked of a backend, and what comes back.
//!
//! One operation moves one buffer's worth of bytes between a file and several spans of that buffer,
//! one span after the other. Most have one span; an extent of a sparse file has one for each run of
//! data, and an extent that is restored with holes one for each run between them.

use std::io;

use crate::buffer::Buffer;
use crate::units::align_up;

/// Which of a backend's files an operation is for: its place in [`super::BackendConfig::files`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileSlot(pub u8);

/// The direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpKind {
    /// From the file into the buffer.
    Read,
    /// From the buffer to the file.
    Write,
}

/// A run of bytes, in the file and in the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Where it starts in the file.
    pub offset: u64,
    /// Where it starts in the buffer.
    pub at: usize,
    /// Bytes to ask for. Under direct I/O a multiple of the block.
    pub len: usize,
    /// Bytes that must be moved for the span to be done: less than `len` only for a read whose last
    /// block reaches past the file's end.
    pub need: usize,
}

impl Span {
    /// A span of exactly `len` bytes.
    #[must_use]
    pub fn exact(offset: u64, at: usize, len: usize) -> Self {
        Self { offset, at, len, need: len }
    }

    /// A span to be read into a buffer's front: `len` bytes, and those up to the grid, which direct
    /// I/O asks for and the file needn't have. `offset` lies on the grid.
    #[must_use]
    pub fn to_grid(offset: u64, len: u64) -> Self {
        Self { offset, at: 0, len: align_up(len) as usize, need: len as usize }
    }
}

/// An operation, with the buffer that it owns until it is done.
#[derive(Debug)]
pub struct Op {
    /// The direction.
    pub kind: OpKind,
    /// The file.
    pub file: FileSlot,
    /// The runs of bytes, at least one, none of them empty.
    pub spans: Vec<Span>,
    /// The memory.
    pub buffer: Buffer,
    /// The caller's own mark, handed back.
    pub tag: u64,
}

/// Why an operation didn't succeed.
#[derive(Debug)]
pub enum Failure {
    /// The file ended before a read had what it needs.
    EndOfFile,
    /// The system refused.
    Os(io::Error),
}

/// An operation that is done.
#[derive(Debug)]
pub struct Completed {
    /// The operation's tag.
    pub tag: u64,
    /// Its direction.
    pub kind: OpKind,
    /// Its buffer, the caller's again.
    pub buffer: Buffer,
    /// How it went; on failure, the file offset it got to.
    pub result: Result<(), (u64, Failure)>,
}
