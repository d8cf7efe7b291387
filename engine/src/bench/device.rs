//! What the device can do: the per-core loop with nothing between reading and writing.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use super::content::xorshift;
use super::{BenchOptions, Spent, timed};
use crate::buffer::Buffer;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::pipeline::{Channel, Crew, Schedule, Shared};
use crate::ring::file::{Disk, File};
use crate::ring::{Failure, FileSlot, OpKind, Span};
use crate::units::align_down;
use crate::worker::{Claim, Input, Placing, Task};

/// Where and how the device is measured.
pub(super) struct Device<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) folder: &'a Path,
    pub(super) options: &'a BenchOptions,
    pub(super) schedule: &'a Schedule,
    pub(super) cancel: &'a Cancel,
}

/// What is done with each piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Write,
    Read,
    Copy,
}

impl Device<'_> {
    /// Writes `size` bytes into a new file, and syncs it.
    pub(super) fn write(&self, size: u64) -> Result<Spent> {
        self.over(Way::Write, size)
    }

    /// Reads the content.
    pub(super) fn read(&self, size: u64) -> Result<Spent> {
        self.over(Way::Read, size)
    }

    /// Reads the content and writes as much into a new file at once, and syncs it.
    pub(super) fn copy(&self, size: u64) -> Result<Spent> {
        self.over(Way::Copy, size)
    }

    fn over(&self, way: Way, size: u64) -> Result<Spent> {
        // Whole blocks: what is left over of the content is not worth a short read.
        let size = align_down(size);
        let mut files = Vec::new();
        if way != Way::Write {
            let raw = self.folder.join("raw");
            let opened = self.disk.open(&raw, self.options.direct);
            files.push(opened.map_err(|error| {
                Error::from_io(ErrorKind::Input, "cannot open", error).at(&raw)
            })?);
        }
        let target = if way == Way::Read { None } else { Some(self.target(size)?) };
        files.extend(target.clone());
        let shared = Shared::new(self.cancel);
        let piece = limits::EXTENT_RAW_BYTES;
        let pieces = size.div_ceil(piece);
        let depth = limits::buffers_per_side(piece, pieces);
        let crew = Crew {
            disk: self.disk,
            io: self.options.io,
            schedule: self.schedule,
            inputs: (depth, if way == Way::Write { limits::ALIGN } else { piece as usize }),
            outputs: (depth, if way == Way::Read { limits::ALIGN } else { piece as usize }),
            files,
            shared: Arc::clone(&shared),
        };
        let next = AtomicU64::new(0);
        let (spent, ()) = timed(|| {
            let (channel, receiver) = Channel::<()>::new(self.schedule.workers());
            let task =
                || Pieces { next: &next, way, size, shared: &shared, _open: channel.sender() };
            crew.run(task, &receiver, &mut |()| Ok(()))?;
            match &target {
                Some(target) => target.sync_all().map_err(failed),
                None => Ok(()),
            }
        })?;
        Ok(spent)
    }

    /// A new file of `size` allocated bytes. Its name is gone at once, so that nothing stays.
    fn target(&self, size: u64) -> Result<Arc<dyn File>> {
        let name = OsStr::new("device");
        let make = || {
            let folder = self.disk.directory(self.folder)?;
            let file = folder.create_new(name, self.options.direct)?;
            folder.unlink(name)?;
            match file.allocate(0, size) {
                Err(error) if error.kind() != std::io::ErrorKind::Unsupported => Err(error),
                _ => Ok(file),
            }
        };
        make().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::from_io(ErrorKind::Output, "cannot write to measure the device", error)
}

/// Pieces of the length of an extent, each claimed by one core.
struct Pieces<'a> {
    next: &'a AtomicU64,
    way: Way,
    size: u64,
    shared: &'a Shared,
    /// Tells the coordinator, by its end, that this worker is through.
    _open: Sender<()>,
}

/// A piece: where it stands, and how long it is.
struct Piece {
    offset: u64,
    len: usize,
}

impl Task for Pieces<'_> {
    type Unit = Piece;

    fn claim(&mut self) -> Result<Claim<Piece>> {
        let step = limits::EXTENT_RAW_BYTES;
        let offset = self.next.fetch_add(1, Ordering::Relaxed) * step;
        if offset >= self.size {
            return Ok(Claim::Exhausted);
        }
        let len = step.min(self.size - offset) as usize;
        let input = match self.way {
            Way::Write => Input::Held,
            Way::Read | Way::Copy => Input::Read(FileSlot(0), vec![Span::exact(offset, 0, len)]),
        };
        Ok(Claim::Unit(Piece { offset, len }, input))
    }

    fn transform(
        &mut self,
        piece: &mut Piece,
        _: Option<&mut [u8]>,
        output: &mut [u8],
    ) -> Result<()> {
        // Noise, once a buffer: a device may make nothing of zeros.
        if self.way != Way::Read && output[..8] == [0; 8] {
            let mut state = piece.offset | 1;
            for word in output.chunks_exact_mut(8) {
                word.copy_from_slice(&xorshift(&mut state).to_le_bytes());
            }
        }
        Ok(())
    }

    fn place(&mut self, piece: &mut Piece) -> Result<Placing> {
        let slot = match self.way {
            Way::Read => return Ok(Placing::Nothing),
            Way::Write => FileSlot(0),
            Way::Copy => FileSlot(1),
        };
        Ok(Placing::Write(slot, vec![Span::exact(piece.offset, 0, piece.len)]))
    }

    fn hand_over(&mut self, _: Piece, _: Buffer) -> Result<()> {
        unreachable!("measuring hands nothing over")
    }

    fn reclaim(&mut self) -> Option<Buffer> {
        None
    }

    fn complete(&mut self, _: Piece) -> Result<()> {
        Ok(())
    }

    fn failed(&mut self, _: Piece, kind: OpKind, offset: u64, failure: Failure) -> Result<()> {
        let kind = match kind {
            OpKind::Read => ErrorKind::Input,
            OpKind::Write => ErrorKind::Output,
        };
        let error = match failure {
            Failure::Os(error) => Error::from_io(kind, "the device can't be measured", error),
            Failure::EndOfFile => Error::new(ErrorKind::InputChanged, "shrank while it was read"),
        };
        Err(error.offset(offset))
    }

    fn check(&self) -> Result<()> {
        self.shared.check()
    }
}
