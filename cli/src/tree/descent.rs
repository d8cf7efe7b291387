//! The directories between the root and the member that is restored, and what is to be set of each
//! once it is left.
//!
//! A directory's permissions and times are set when the archive goes on outside of it, as GNU tar
//! does. So what is held depends on the depth alone, not on the number of directories. A directory
//! that is entered again later gets its attributes once more; the file system itself keeps them
//! meanwhile.
//!
//! Only the innermost directories are held open, since a tree may be deeper than a process may have
//! files open. One that is needed again is reached from above, name by name, and must be the same
//! as before.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{Stat, fstat};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::place::open_directory;

/// Most directories that are held open.
const OPEN_MAX: usize = 64;

/// The directories entered, the innermost last.
pub(super) struct Descent {
    root: Rc<OwnedFd>,
    levels: Vec<Level>,
}

/// A directory that was entered.
struct Level {
    name: Vec<u8>,
    identity: (u64, u64),
    open: Option<Rc<OwnedFd>>,
    later: Option<Attributes>,
}

/// What tells a file from all others.
pub(super) fn identity(status: &Stat) -> (u64, u64) {
    (status.st_dev, status.st_ino)
}

impl Descent {
    /// At the root.
    pub(super) fn new(root: Rc<OwnedFd>) -> Self {
        Self { root, levels: Vec::new() }
    }

    /// How many directories were entered.
    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// How many of them lie on the way through `names`.
    pub(super) fn shared(&self, names: &[&[u8]]) -> usize {
        self.levels.iter().zip(names).take_while(|(level, name)| level.name == **name).count()
    }

    /// The path of the innermost.
    pub(super) fn path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.levels.iter().map(|level| level.name.as_slice()).collect();
        names.join(&b'/')
    }

    /// Enters a directory within the innermost.
    pub(super) fn enter(
        &mut self,
        name: &[u8],
        open: OwnedFd,
        status: &Stat,
        later: Option<Attributes>,
    ) {
        if let Some(outer) = self.levels.len().checked_sub(OPEN_MAX) {
            self.levels[outer].open = None;
        }
        let (name, identity) = (name.to_vec(), identity(status));
        self.levels.push(Level { name, identity, open: Some(Rc::new(open)), later });
    }

    /// Bytes of attributes that are to be set later.
    pub(super) fn later_len(&self) -> usize {
        self.levels.iter().filter_map(|level| level.later.as_ref()).map(Attributes::len).sum()
    }

    /// The innermost directory, open.
    pub(super) fn innermost(&mut self) -> rustix::io::Result<Rc<OwnedFd>> {
        let Some(last) = self.levels.last() else { return Ok(Rc::clone(&self.root)) };
        if let Some(open) = &last.open {
            return Ok(Rc::clone(open));
        }
        let depth = self.levels.len();
        let from = self.levels.iter().rposition(|level| level.open.is_some());
        let mut open = match from {
            Some(at) => self.levels[at].open.clone().unwrap_or_else(|| Rc::clone(&self.root)),
            None => Rc::clone(&self.root),
        };
        for at in from.map_or(0, |at| at + 1)..depth {
            let level = &mut self.levels[at];
            let next = open_directory(open.as_fd(), &level.name)?;
            if identity(&fstat(&next)?) != level.identity {
                // Somebody put another directory in its place.
                return Err(Errno::STALE);
            }
            open = Rc::new(next);
            if at + OPEN_MAX >= depth {
                level.open = Some(Rc::clone(&open));
            }
        }
        Ok(open)
    }

    /// Leaves the innermost directory. Gives what is to be set of it.
    pub(super) fn leave(&mut self) -> Option<Attributes> {
        self.levels.pop()?.later
    }
}
