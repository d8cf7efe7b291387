//! A disk whose files are read slowly from a place on, until a gate opens.
//!
//! A run that is to be stopped midway must not get to its end before its first checkpoint does,
//! however slow flushes are against the processor. It asks for holes before it reads an extent, so
//! that is where it is held up: the input has to be sparse. It isn't held up for good, since who
//! waits there doesn't look at what was written, which the checkpoint may need.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpack::ring::file::{Attributes, Directory, Disk, File, FileKind, Status};
use ringpack::ring::os::OsDisk;
use ringpack::ring::{Backend, BackendConfig, BackendKind};

/// For how long each question behind the gate is held up. A run asks dozens of times.
const HOLD: Duration = Duration::from_millis(50);

/// The disk of the operating system, with a gate in each file opened for reading.
#[derive(Debug)]
pub struct GatedDisk {
    gate: Arc<Gate>,
}

/// What holds readers up.
struct Gate {
    /// Bytes from the start of a file that are before the gate.
    free: u64,
    is_open: Box<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a gate after {} bytes", self.free)
    }
}

impl GatedDisk {
    /// Readers are held up from byte `free` of a file on, until `is_open` says otherwise.
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
            let end = Instant::now() + HOLD;
            while !(self.gate.is_open)() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
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
