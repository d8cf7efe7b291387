//! A disk whose first reader of one file is given another file's bytes: what a fault of packing's
//! own reader comes to. Whoever opens the file once more reads what is really there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::SystemTime;

use ringpack::ring::file::{Attributes, Directory, Disk, File, FileKind, Status};
use ringpack::ring::os::OsDisk;
use ringpack::ring::{Backend, BackendConfig, BackendKind};

/// The disk.
#[derive(Debug)]
pub struct LyingDisk {
    file: PathBuf,
    lie: PathBuf,
    told: AtomicBool,
}

impl LyingDisk {
    /// The system's disk, on which `file` reads as `lie` does, once.
    #[must_use]
    pub fn new(file: &Path, lie: &Path) -> Self {
        Self { file: file.to_owned(), lie: lie.to_owned(), told: AtomicBool::new(false) }
    }
}

impl Disk for LyingDisk {
    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        OsDisk.directory(path)
    }

    fn kind(&self, path: &Path) -> io::Result<FileKind> {
        OsDisk.kind(path)
    }

    fn open(&self, path: &Path, direct: bool) -> io::Result<Arc<dyn File>> {
        if path != self.file || self.told.swap(true, SeqCst) {
            return OsDisk.open(path, direct);
        }
        let (truth, lie) = (OsDisk.open(path, false)?, OsDisk.open(&self.lie, direct)?);
        Ok(Arc::new(LyingFile { truth, lie }))
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

/// A file that is looked at as it is, and read as another.
#[derive(Debug)]
struct LyingFile {
    truth: Arc<dyn File>,
    lie: Arc<dyn File>,
}

impl File for LyingFile {
    fn descriptor(&self) -> i32 {
        self.lie.descriptor()
    }

    fn status(&self) -> io::Result<Status> {
        self.truth.status()
    }

    fn born(&self) -> io::Result<Option<SystemTime>> {
        self.truth.born()
    }

    fn is_direct(&self) -> bool {
        self.lie.is_direct()
    }

    fn leave_direct(&self) -> io::Result<bool> {
        self.lie.leave_direct()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.lie.read_at(bytes, offset)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.truth.drop_cache()
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        unreachable!("it is an input")
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        self.lie.next_data(offset)
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        unreachable!("it is an input")
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.truth.free_bytes()
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<()> {
        unreachable!("it is an input")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("it is an input")
    }

    fn sync_all(&self) -> io::Result<()> {
        self.truth.sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.truth.sync_data()
    }

    fn set_attributes(&self, _: &Attributes) -> io::Result<()> {
        unreachable!("it is an input")
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.truth.try_lock()
    }
}
