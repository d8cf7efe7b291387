//! An open directory of the simulated disk.
//!
//! Directories are made by tests, before a job, and never removed or renamed, so a path names one
//! for good.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::SimDisk;
use super::file::SimFile;
use crate::ring::file::{Directory, File, Guard, Replace, Status};

/// The open directory.
#[derive(Debug)]
pub(super) struct SimDirectory {
    disk: SimDisk,
    path: PathBuf,
}

impl SimDirectory {
    /// A directory that exists, at a normalised path.
    pub(super) fn new(disk: SimDisk, path: PathBuf) -> Self {
        Self { disk, path }
    }

    fn file(&self, descriptor: i32) -> Arc<dyn File> {
        Arc::new(SimFile::new(self.disk.clone(), descriptor))
    }
}

impl Directory for SimDirectory {
    fn create_new(&self, name: &OsStr, direct: bool) -> io::Result<Arc<dyn File>> {
        let descriptor = self.disk.call(|state| {
            let inode = state.create(&self.path, name)?;
            Ok(state.open(inode, true, direct))
        })?;
        Ok(self.file(descriptor))
    }

    fn open_existing(&self, name: &OsStr, direct: bool) -> io::Result<Arc<dyn File>> {
        let descriptor = self.disk.call(|state| {
            let inode = state.look_up(&self.path, name)?;
            Ok(state.open(inode, true, direct))
        })?;
        Ok(self.file(descriptor))
    }

    fn scratch(&self) -> io::Result<Arc<dyn File>> {
        let descriptor = self.disk.call(|state| {
            let inode = state.create_nameless()?;
            Ok(state.open(inode, true, false))
        })?;
        Ok(self.file(descriptor))
    }

    fn status(&self, name: &OsStr) -> io::Result<Option<Status>> {
        self.disk.call(|state| match state.look_up(&self.path, name) {
            Ok(inode) => Ok(Some(state.status(inode))),
            Err(libc::EISDIR) => Ok(Some(state.folder_status(&self.path.join(name)))),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        })
    }

    fn list(&self) -> io::Result<Vec<OsString>> {
        self.disk.call(|state| Ok(state.list(&self.path)))
    }

    fn rename(&self, from: &OsStr, to: &OsStr, replace: Replace) -> io::Result<Guard> {
        self.disk.call(|state| state.rename(&self.path, from, to, replace))?;
        Ok(match replace {
            Replace::Never => Guard::FileSystem,
            Replace::Allowed => Guard::None,
        })
    }

    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        self.disk.call(|state| state.unlink(&self.path, name))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call(|state| state.sync_folder(&self.path))
    }

    fn pause(&self, _: Duration) {
        self.disk.state().pause();
    }
}
