//! A disk whose files are told of only so far until a gate opens.
//!
//! A run that is to be stopped midway must not get to its end before its first checkpoint does,
//! however slow flushes are and however fast the processor. It asks for holes before it reads, so
//! that is where it waits: the input has to be sparse.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ringpack::ring::file::{Attributes, Directory, Disk, File, FileKind, Status};
use ringpack::ring::os::OsDisk;
use ringpack::ring::{Backend, BackendConfig, BackendKind};
use support::processes::until;

/// The disk of the operating system, with a gate in each file opened for reading.
#[derive(Debug)]
pub struct GatedDisk {
    gate: Arc<Gate>,
}

/// What holds readers up.
struct Gate {
    /// Bytes from the start of a file that are told of at once.
    free: u64,
    is_open: Box<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a gate after {} bytes", self.free)
    }
}

impl GatedDisk {
    /// Readers pass byte `free` of a file once `is_open` says so.
    pub fn new(free: u64, is_open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { gate: Arc::new(Gate { free, is_open: Box::new(is_open) }) }
    }
}

impl Disk for GatedDisk {
    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        OsDisk.directory(path)
    }

    fn kind(&self, path: &Path) -> io::Result<FileKind> {
        OsDisk.kind(path)
    }

    fn open(&self, path: &Path, direct: bool) -> io::Result<Arc<dyn File>> {
        let file = OsDisk.open(path, direct)?;
        Ok(Arc::new(GatedFile { file, gate: Arc::clone(&self.gate) }))
    }

    fn creation_mode(&self) -> u32 {
        OsDisk.creation_mode()
    }

    fn run_id(&self) -> [u8; 16] {
        OsDisk.run_id()
    }

    fn backend(
        &self,
        kind: BackendKind,
        config: BackendConfig<'_>,
    ) -> io::Result<Box<dyn Backend>> {
        OsDisk.backend(kind, config)
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl File for GatedFile {
    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        if offset >= self.gate.free {
            until("the gate opens", || (self.gate.is_open)());
        }
        self.file.next_data(offset)
    }

    fn descriptor(&self) -> i32 {
        self.file.descriptor()
    }

    fn status(&self) -> io::Result<Status> {
        self.file.status()
    }

    fn is_direct(&self) -> bool {
        self.file.is_direct()
    }

    fn leave_direct(&self) -> io::Result<bool> {
        self.file.leave_direct()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.punch_hole(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        self.file.set_attributes(attributes)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
