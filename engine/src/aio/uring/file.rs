//! A file whose bytes the runtime's ring moves, or threads of its own where a ring must not.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio_uring::fs::File;

use super::lent::Lent;
use crate::buffer::AlignedMemory;
use crate::ring::os::suits_ring;

/// The file. Its operations are to be run as tasks of their own, seen to their end.
#[derive(Debug)]
pub(super) enum RuntimeFile {
    /// By the runtime's ring.
    Ring(File),
    /// By calls on threads for what blocks: see [`crate::ring::File::suits_ring`].
    Calls(Arc<std::fs::File>),
}

impl RuntimeFile {
    pub(super) fn new(file: std::fs::File) -> Self {
        if suits_ring(&file) {
            Self::Ring(File::from_std(file))
        } else {
            Self::Calls(Arc::new(file))
        }
    }

    /// Reads at `offset` into a part of `memory`; may read less.
    pub(super) async fn read_at(
        &self,
        memory: AlignedMemory,
        part: Range<usize>,
        offset: u64,
    ) -> (io::Result<usize>, AlignedMemory) {
        match self {
            Self::Ring(file) => {
                let (result, lent) = file.read_at(Lent::new(memory, part), offset).await;
                (result, lent.take_back())
            }
            Self::Calls(file) => {
                call(file, memory, move |file, memory| file.read_at(&mut memory[part], offset))
                    .await
            }
        }
    }

    /// Writes a part of `memory` at `offset`; may write less.
    pub(super) async fn write_at(
        &self,
        memory: AlignedMemory,
        part: Range<usize>,
        offset: u64,
    ) -> (io::Result<usize>, AlignedMemory) {
        match self {
            Self::Ring(file) => {
                let (result, lent) = file.write_at(Lent::new(memory, part), offset).submit().await;
                (result, lent.take_back())
            }
            Self::Calls(file) => {
                call(file, memory, move |file, memory| file.write_at(&memory[part], offset)).await
            }
        }
    }

    /// Closes it. A failure loses nothing where it is synced through another descriptor.
    pub(super) async fn close(self) {
        if let Self::Ring(file) = self {
            let _ = file.close().await;
        }
    }
}

/// Runs a call on a thread that may block.
async fn call(
    file: &Arc<std::fs::File>,
    mut memory: AlignedMemory,
    work: impl FnOnce(&std::fs::File, &mut AlignedMemory) -> io::Result<usize> + Send + 'static,
) -> (io::Result<usize>, AlignedMemory) {
    let file = Arc::clone(file);
    let called = tokio::task::spawn_blocking(move || (work(&file, &mut memory), memory)).await;
    called.expect("a read or write of a file doesn't panic")
}
