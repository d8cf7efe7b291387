//! A disk that tells of every step a job takes on it, just before it is taken.
//!
//! The watcher may change the world then: write to the file that is being read, or take a copy of a
//! simulated disk as a power cut would leave it. So a test hits one exact moment and waits for
//! nothing.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringpack::ring::file::{Attributes, Directory, Disk, File, Guard, Replace, Status};
use ringpack::ring::{Backend, BackendConfig, BackendKind, Completed, Op, OpKind, Tier, Wait};
use ringpack::stats::RingCounters;

/// A step that is about to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A read of an extent is submitted.
    Read,
    /// A write of an extent is submitted.
    Write,
    /// A backend takes what has completed.
    Turn,
    /// An open file or a name is looked at.
    Look,
    /// A file or name is changed, outside the backends.
    Change,
    /// A file or directory is synced.
    Sync,
    /// A file is renamed.
    Rename,
}

/// Who is told.
pub type Watcher = Arc<dyn Fn(Step) + Send + Sync>;

/// The disk.
pub struct WatchedDisk<D> {
    inner: D,
    watcher: Watcher,
}

impl<D> WatchedDisk<D> {
    /// `inner`, with `watcher` told of every step.
    pub fn new(inner: D, watcher: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self { inner, watcher: Arc::new(watcher) }
    }

    fn file(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile { inner, watcher: Arc::clone(&self.watcher) })
    }
}

impl<D: fmt::Debug> fmt::Debug for WatchedDisk<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchedDisk").field(&self.inner).finish()
    }
}

impl<D: Disk> Disk for WatchedDisk<D> {
    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let inner = self.inner.directory(path)?;
        Ok(Arc::new(WatchedDirectory { inner, watcher: Arc::clone(&self.watcher) }))
    }

    fn open(&self, path: &Path, direct: bool) -> io::Result<Arc<dyn File>> {
        self.inner.open(path, direct).map(|file| self.file(file))
    }

    fn creation_mode(&self) -> u32 {
        self.inner.creation_mode()
    }

    fn run_id(&self) -> [u8; 16] {
        self.inner.run_id()
    }

    fn backend(
        &self,
        kind: BackendKind,
        config: BackendConfig<'_>,
    ) -> io::Result<Box<dyn Backend>> {
        let inner = self.inner.backend(kind, config)?;
        Ok(Box::new(WatchedBackend { inner, watcher: Arc::clone(&self.watcher) }))
    }
}

struct WatchedBackend {
    inner: Box<dyn Backend>,
    watcher: Watcher,
}

impl Backend for WatchedBackend {
    fn submit(&mut self, op: Op) {
        (self.watcher)(match op.kind {
            OpKind::Read => Step::Read,
            OpKind::Write => Step::Write,
        });
        self.inner.submit(op);
    }

    fn turn(&mut self, wait: Wait, done: &mut Vec<Completed>) -> io::Result<()> {
        (self.watcher)(Step::Turn);
        self.inner.turn(wait, done)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn counters(&self) -> RingCounters {
        self.inner.counters()
    }

    fn tier(&self) -> Tier {
        self.inner.tier()
    }
}

macro_rules! watched {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.inner).finish()
            }
        }
    };
}
watched!(WatchedFile);
watched!(WatchedDirectory);

struct WatchedFile {
    inner: Arc<dyn File>,
    watcher: Watcher,
}

impl WatchedFile {
    fn before(&self, step: Step) -> &dyn File {
        (self.watcher)(step);
        self.inner.as_ref()
    }
}

impl File for WatchedFile {
    fn descriptor(&self) -> i32 {
        self.inner.descriptor()
    }

    fn status(&self) -> io::Result<Status> {
        self.before(Step::Look).status()
    }

    fn born(&self) -> io::Result<Option<SystemTime>> {
        self.inner.born()
    }

    fn is_direct(&self) -> bool {
        self.inner.is_direct()
    }

    fn leave_direct(&self) -> io::Result<bool> {
        self.inner.leave_direct()
    }

    fn suits_ring(&self) -> bool {
        self.inner.suits_ring()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.before(Step::Look).read_at(bytes, offset)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.before(Step::Look).drop_cache()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.before(Step::Change).write_at(bytes, offset)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        self.before(Step::Look).next_data(offset)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.before(Step::Change).allocate(offset, len)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.before(Step::Change).punch_hole(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.before(Step::Change).set_len(len)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.before(Step::Sync).sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.before(Step::Sync).sync_data()
    }

    fn set_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        self.before(Step::Change).set_attributes(attributes)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.before(Step::Look).try_lock()
    }
}

struct WatchedDirectory {
    inner: Arc<dyn Directory>,
    watcher: Watcher,
}

impl WatchedDirectory {
    fn before(&self, step: Step) -> &dyn Directory {
        (self.watcher)(step);
        self.inner.as_ref()
    }

    fn file(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile { inner, watcher: Arc::clone(&self.watcher) })
    }
}

impl Directory for WatchedDirectory {
    fn create_new(&self, name: &OsStr, direct: bool) -> io::Result<Arc<dyn File>> {
        let created = self.before(Step::Change).create_new(name, direct);
        created.map(|file| self.file(file))
    }

    fn open_existing(&self, name: &OsStr, direct: bool) -> io::Result<Arc<dyn File>> {
        let opened = self.before(Step::Look).open_existing(name, direct);
        opened.map(|file| self.file(file))
    }

    fn scratch(&self) -> io::Result<Arc<dyn File>> {
        self.before(Step::Change).scratch().map(|file| self.file(file))
    }

    fn status(&self, name: &OsStr) -> io::Result<Option<Status>> {
        self.before(Step::Look).status(name)
    }

    fn is_ours(&self, status: &Status) -> bool {
        self.inner.is_ours(status)
    }

    fn is_own(&self, status: &Status) -> bool {
        self.inner.is_own(status)
    }

    fn list(&self) -> io::Result<Vec<OsString>> {
        self.before(Step::Look).list()
    }

    fn rename(&self, from: &OsStr, to: &OsStr, replace: Replace) -> io::Result<Guard> {
        self.before(Step::Rename).rename(from, to, replace)
    }

    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        self.before(Step::Change).unlink(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.before(Step::Sync).sync()
    }

    fn pause(&self, time: Duration) {
        // Between two attempts at a lock, which are steps themselves.
        self.inner.pause(time);
    }
}
