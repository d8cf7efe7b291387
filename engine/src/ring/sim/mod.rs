//! A simulated disk: the whole pipeline runs on it, with faults and power cuts, without a kernel.
//!
//! It stands in for the system behind the traits of [`crate::ring::file`] and behind [`Backend`].
//! What tells it from a plain in-memory file system is that it keeps apart what readers see and
//! what the medium has, for bytes, lengths and names alike, and the ordered changes between the
//! two. So [`SimDisk::crash`] can answer what a power cut would leave at this moment, as often as
//! asked and while the job goes on.
//!
//! ```text
//!   SimDisk ── state (one lock) ─┬─ folders: names      seen | unsynced | durable
//!      │                         ├─ inodes: bytes       seen | unsynced | durable  + in flight
//!      ├─ directory, file        ├─ descriptions: direct, lock
//!      └─ backend ── transfer ───┴─ random, faults, trace
//! ```
//!
//! It is stricter than real file systems: no order between unsynced changes is promised, not even
//! the one a journal would give. What is correct here is correct there; the reverse is not so.
//!
//! Not simulated: a failed write or sync that has reached the medium in part, links, permissions
//! being enforced, and changes from outside. A disk shared by several threads stays consistent, but
//! then the threads' timing decides what comes first, and a seed no longer replays.

mod backend;
mod content;
mod directory;
mod faults;
mod file;
mod inode;
mod names;
mod pages;
mod random;
mod ranges;
mod restart;
mod state;
mod stragglers;
#[cfg(test)]
mod tests;
mod transfer;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend::SimBackend;
use directory::SimDirectory;
pub use faults::Fault;
use file::SimFile;
use state::{State, Sys, normal};

use super::file::{Directory, Disk, File};
use super::pwrite::Pwrite;
use super::{Backend, BackendConfig, BackendKind};

/// How a simulated disk behaves. The default has no faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SimOptions {
    /// How many of a thousand reads and writes move less than they were asked to. Reads are cut to
    /// whole pages, as is everything under direct I/O, so a read of a page or less is never cut.
    pub short_per_mille: u16,
    /// How many of a thousand reads and writes end with `EINTR`.
    pub eintr_per_mille: u16,
    /// How many of a thousand reads and writes of a backend end with `EAGAIN`.
    pub eagain_per_mille: u16,
    /// Whether a backend's operations finish in random order, some turns later; otherwise each turn
    /// finishes all of them, in order.
    pub reorder: bool,
    /// A write to fail, counted over all files and both ways of writing, resubmissions included.
    pub fail_write: Option<Fault>,
    /// A sync to fail, counted over all files and directories. What was to be synced is marked
    /// clean: the next sync succeeds, and the medium keeps the old bytes.
    pub fail_sync: Option<Fault>,
    /// As [`Self::fail_sync`], counted over files alone.
    pub fail_file_sync: Option<Fault>,
    /// As [`Self::fail_sync`], counted over directories alone.
    pub fail_directory_sync: Option<Fault>,
    /// A read to fail, counted over all files and both ways of reading, resubmissions included.
    pub fail_read: Option<Fault>,
    /// A call to fail that gives, changes or takes a name: creating a file (a nameless one too),
    /// renaming, unlinking.
    pub fail_name: Option<Fault>,
    /// A device that goes bad: this read and every later one fail.
    pub reads_fail_from: Option<Fault>,
    /// A device that goes bad: this write and every later one fail.
    pub writes_fail_from: Option<Fault>,
    /// A device that goes bad: this sync and every later one fail, of files and directories.
    pub syncs_fail_from: Option<Fault>,
    /// The step, as [`SimDisk::steps`] counts them, from which on faults are armed: what is called
    /// before it is not counted towards any of them.
    pub armed_at_step: u64,
    /// Bytes that can be allocated before `ENOSPC`; without it, no end of them.
    pub capacity: Option<u64>,
    /// Whether that is a quota: the file system doesn't say how much is left of it.
    pub is_quota: bool,
    /// Whether files opened for direct I/O get it. Reads and writes off the grid then fail.
    pub direct: bool,
    /// Whether files opened for direct I/O claim to have it, and refuse every read and write with
    /// `EINVAL` until it is turned off.
    pub einval_direct: bool,
    /// Whether a power cut may leave garbage in pages of torn writes.
    pub garbage: bool,
}

impl SimOptions {
    /// No faults: the default, for constants.
    pub const PLAIN: Self = Self {
        short_per_mille: 0,
        eintr_per_mille: 0,
        eagain_per_mille: 0,
        reorder: false,
        fail_write: None,
        fail_sync: None,
        fail_file_sync: None,
        fail_directory_sync: None,
        fail_read: None,
        fail_name: None,
        reads_fail_from: None,
        writes_fail_from: None,
        syncs_fail_from: None,
        armed_at_step: 0,
        capacity: None,
        is_quota: false,
        direct: false,
        einval_direct: false,
        garbage: false,
    };

    /// The same with all faults behind it.
    fn without_faults(self) -> Self {
        Self {
            short_per_mille: self.short_per_mille,
            eintr_per_mille: self.eintr_per_mille,
            eagain_per_mille: self.eagain_per_mille,
            reorder: self.reorder,
            capacity: self.capacity,
            is_quota: self.is_quota,
            direct: self.direct,
            einval_direct: self.einval_direct,
            garbage: self.garbage,
            ..Self::PLAIN
        }
    }
}

/// A simulated disk. Clones share it.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk. The same seed and the same calls give the same outcomes.
    #[must_use]
    pub fn new(seed: u64, options: SimOptions) -> Self {
        Self::of(State::new(seed, options))
    }

    /// Bytes that can still be allocated.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.state().free_bytes()
    }

    fn of(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// The disk as a power cut at this moment would leave it; this one goes on unharmed.
    ///
    /// How much survives is drawn first, from nothing to everything, then each unsynced change is
    /// kept or dropped for itself; writes, those in flight included, may be torn at pages. Nothing
    /// is open or locked on the new disk, its counts and its trace start anew, and the chosen
    /// faults are behind it: a device that went bad is good again.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        Self::of(self.state().after_power_cut(seed))
    }

    /// The disk as it would be once all processes were killed at this moment: writes in flight
    /// land, nothing is open or locked, and what was not durable still isn't. Counts, trace and
    /// faults as in [`Self::crash`].
    #[must_use]
    pub fn killed(&self) -> Self {
        Self::of(self.state().after_kill())
    }

    /// As [`Self::killed`], but the writes in flight are still to land, as a kernel's are for some
    /// time after the process is gone. Each call on the new disk may be preceded by one of them, at
    /// random; a lock stays held until all that came through its holder have landed. Each failed
    /// attempt at the lock lands one, and so does each
    /// [`pause`](crate::ring::file::Directory::pause), so whoever waits gets it in the end. A power
    /// cut treats them as in flight.
    #[must_use]
    pub fn killed_with_stragglers(&self, seed: u64) -> Self {
        Self::of(self.state().after_kill_with_stragglers(seed))
    }

    /// Writes of killed processes that have not landed yet.
    #[must_use]
    pub fn stragglers(&self) -> usize {
        self.state().stragglers.len()
    }

    /// How the disk behaves.
    #[must_use]
    pub fn options(&self) -> SimOptions {
        self.state().options
    }

    /// Changes how the disk behaves from now on. Counts go on.
    pub fn set_options(&self, options: SimOptions) {
        self.state().options = options;
    }

    /// The calls that changed something or tried to, in order, one a line:
    ///
    /// - `create NAME`, `rename FROM TO`, `unlink NAME`, `sync /FOLDER`
    /// - `write NAME OFFSET LENGTH`, once it is finished; the length is what was moved
    /// - `set_len NAME LENGTH`, `allocate NAME OFFSET LENGTH`, `punch_hole NAME OFFSET LENGTH`
    /// - `sync_all NAME`, `sync_data NAME`, `set_attributes NAME`
    /// - `straggler NAME OFFSET LENGTH`, where a killed process's write lands
    ///
    /// A call that failed has ` errno NUMBER` after it. A file goes by the name it has at the time;
    /// one without, by `(scratch)`.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// Writes asked for so far, as [`SimOptions::fail_write`] counts them.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().tallies.writes.all
    }

    /// Syncs asked for so far, as [`SimOptions::fail_sync`] counts them.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().tallies.syncs.all
    }

    /// Syncs of files asked for so far, as [`SimOptions::fail_file_sync`] counts them.
    #[must_use]
    pub fn file_syncs(&self) -> u64 {
        self.state().tallies.file_syncs.all
    }

    /// Syncs of directories asked for so far, as [`SimOptions::fail_directory_sync`] counts them.
    #[must_use]
    pub fn directory_syncs(&self) -> u64 {
        self.state().tallies.directory_syncs.all
    }

    /// Reads asked for so far, as [`SimOptions::fail_read`] counts them.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.state().tallies.reads.all
    }

    /// Names given, changed or taken so far, as [`SimOptions::fail_name`] counts them.
    #[must_use]
    pub fn name_calls(&self) -> u64 {
        self.state().tallies.names.all
    }

    /// Calls made so far through the traits: on the disk, its directories and its files, whatever
    /// they ask for, and each time a backend hands over what was submitted.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Makes a folder and those above it, durable at once. The root is there from the start.
    pub fn mkdir(&self, path: impl AsRef<Path>) {
        self.state().make_folders(&normal(path.as_ref()));
    }

    /// Puts a file there, durable at once, with the folders above it. It replaces what had the
    /// name, and stands outside faults, counts and trace.
    ///
    /// # Panics
    /// Where the path is that of a folder.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let (folder, name) = split(path.as_ref()).expect("the root is a folder");
        let mut state = self.state();
        state.make_folders(&folder);
        state.place(&folder, &name, bytes);
    }

    /// Gives a file that is there other bytes, durable at once. It stays the same file.
    ///
    /// # Panics
    /// Where it isn't there.
    pub fn rewrite_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let (folder, name) = split(path.as_ref()).expect("the root is a folder");
        self.state().rewrite(&folder, &name, bytes);
    }

    /// The bytes of a file as reads see them, if it is there.
    #[must_use]
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let (folder, name) = split(path.as_ref())?;
        let state = self.state();
        let inode = state.look_up(&folder, &name).ok()?;
        Some(state.inode(inode).content().to_vec())
    }

    /// Whether a file is there and reads see these bytes; cheaper than [`Self::read_file`].
    #[must_use]
    pub fn holds(&self, path: impl AsRef<Path>, bytes: &[u8]) -> bool {
        let Some((folder, name)) = split(path.as_ref()) else {
            return false;
        };
        let state = self.state();
        let inode = state.look_up(&folder, &name);
        inode.is_ok_and(|inode| state.inode(inode).content().holds(bytes))
    }

    /// The names of the files in a folder, in order; folders are left out.
    #[must_use]
    pub fn names(&self, folder: impl AsRef<Path>) -> Vec<OsString> {
        let folder = normal(folder.as_ref());
        let state = self.state();
        if state.is_folder(&folder) { state.names(&folder).list() } else { Vec::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A failed assertion elsewhere is reported there, not by every file that is then dropped.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T>(&self, call: impl FnOnce(&mut State) -> Sys<T>) -> io::Result<T> {
        let mut state = self.state();
        state.step();
        call(&mut state).map_err(io::Error::from_raw_os_error)
    }
}

/// The folder and the name that a path is made of; none for the root.
fn split(path: &Path) -> Option<(PathBuf, OsString)> {
    let path = normal(path);
    let name = path.file_name().map(OsStr::to_owned)?;
    Some((path.parent().unwrap_or(Path::new("")).to_owned(), name))
}

impl Disk for SimDisk {
    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let path = normal(path);
        self.call(|state| match (state.is_folder(&path), split(&path)) {
            (true, _) => Ok(()),
            (false, Some((folder, name))) => {
                Err(state.look_up(&folder, &name).map_or_else(|errno| errno, |_| libc::ENOTDIR))
            }
            (false, None) => unreachable!("the root is a folder"),
        })?;
        Ok(Arc::new(SimDirectory::new(self.clone(), path)))
    }

    fn open(&self, path: &Path, direct: bool) -> io::Result<Arc<dyn File>> {
        let descriptor = self.call(|state| {
            let (folder, name) = split(path).ok_or(libc::EISDIR)?;
            let inode = state.look_up(&folder, &name)?;
            Ok(state.open(inode, false, direct))
        })?;
        Ok(Arc::new(SimFile::new(self.clone(), descriptor)))
    }

    fn run_id(&self) -> [u8; 16] {
        self.state().run_id()
    }

    /// The simulator's own backend, also where the ring is asked for; for [`BackendKind::Pwrite`]
    /// that one, on the simulated files.
    fn backend(
        &self,
        kind: BackendKind,
        config: BackendConfig<'_>,
    ) -> io::Result<Box<dyn Backend>> {
        Ok(match kind {
            BackendKind::Uring | BackendKind::Sim => {
                Box::new(SimBackend::new(self.clone(), config))
            }
            BackendKind::Pwrite => Box::new(Pwrite::new(config.files)),
        })
    }
}
