//! The directories between the root and the entry that is packed or restored, and what belongs to
//! each of them.
//!
//! Packing keeps the names here that are still to be packed. Extraction keeps the permissions and
//! times, which it sets when the archive continues outside of the directory, as GNU tar does. So
//! what is held depends on the depth alone, not on the number of directories. A directory that
//! extraction enters again later gets its attributes once more; the file system itself keeps them
//! meanwhile.
//!
//! Only the innermost directories are held open, since a tree may be deeper than a process may have
//! files open. On the way up, a directory that was closed is opened again as the parent of the one
//! that is left. If that is another directory by now, the old one is looked for from the root, name
//! by name. Either way it must be the same as before, by device and inode.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::place::open_directory;

/// Most directories that are held open.
const OPEN_MAX: usize = 8;

/// The directories entered, the innermost last, each with what belongs to it.
pub(super) struct Descent<T> {
    root: Rc<OwnedFd>,
    levels: Vec<Level<T>>,
}

/// A directory that was entered.
struct Level<T> {
    name: Vec<u8>,
    identity: (u64, u64),
    open: Option<Rc<OwnedFd>>,
    own: T,
}

/// What tells a file from all others.
pub(super) fn identity(status: &Stat) -> (u64, u64) {
    (status.st_dev, status.st_ino)
}

impl<T> Descent<T> {
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
    pub(super) fn enter(&mut self, name: &[u8], open: Rc<OwnedFd>, status: &Stat, own: T) {
        if let Some(outer) = self.levels.len().checked_sub(OPEN_MAX) {
            self.levels[outer].open = None;
        }
        let (name, identity) = (name.to_vec(), identity(status));
        self.levels.push(Level { name, identity, open: Some(open), own });
    }

    /// What belongs to the innermost directory.
    pub(super) fn own_mut(&mut self) -> Option<&mut T> {
        self.levels.last_mut().map(|level| &mut level.own)
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

    /// Leaves the innermost directory. Gives what belongs to it.
    pub(super) fn leave(&mut self) -> Option<T> {
        let left = self.levels.pop()?;
        if let (Some(open), Some(outer)) = (&left.open, self.levels.last_mut())
            && outer.open.is_none()
        {
            // Where this fails, `innermost` goes the long way, and says what is wrong.
            let above = parent(open).ok().filter(|(_, found)| *found == outer.identity);
            outer.open = above.map(|(open, _)| open);
        }
        Some(left.own)
    }
}

impl Descent<Option<Attributes>> {
    /// Bytes of attributes that are to be set later.
    pub(super) fn later_len(&self) -> usize {
        self.levels.iter().filter_map(|level| level.own.as_ref()).map(Attributes::len).sum()
    }
}

/// The directory above an open one, and what identifies it.
fn parent(open: &OwnedFd) -> rustix::io::Result<(Rc<OwnedFd>, (u64, u64))> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat(open, "..", flags, Mode::empty())?;
    let identity = identity(&fstat(&parent)?);
    Ok((Rc::new(parent), identity))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    const DEPTH: usize = OPEN_MAX + 20;

    /// A directory of directories, one in the other, and a descent to the innermost.
    fn entered() -> (tempfile::TempDir, Vec<PathBuf>, Descent<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &PathBuf| Rc::new(OwnedFd::from(fs::File::open(path).unwrap()));
        let mut paths = vec![folder.path().join("top")];
        fs::create_dir(&paths[0]).unwrap();
        let mut descent = Descent::new(open(&paths[0]));
        for depth in 1..=DEPTH {
            let path = paths[depth - 1].join("n");
            fs::create_dir(&path).unwrap();
            let opened = open(&path);
            let status = fstat(&opened).unwrap();
            descent.enter(b"n", opened, &status, depth);
            paths.push(path);
        }
        (folder, paths, descent)
    }

    fn leave_to(descent: &mut Descent<usize>, depth: usize) {
        while descent.depth() > depth {
            let at = descent.depth();
            assert_eq!(descent.leave(), Some(at));
        }
    }

    fn found(descent: &mut Descent<usize>) -> rustix::io::Result<(u64, u64)> {
        Ok(identity(&fstat(&*descent.innermost()?)?))
    }

    #[test]
    fn the_way_up_leads_through_the_same_directories() {
        let (_folder, paths, mut descent) = entered();
        for depth in (0..=DEPTH).rev() {
            leave_to(&mut descent, depth);
            let expected = rustix::fs::stat(&paths[depth]).unwrap();
            assert_eq!(found(&mut descent), Ok(identity(&expected)), "{depth}");
            let open = descent.levels.iter().filter(|level| level.open.is_some()).count();
            assert!(open <= OPEN_MAX, "{open} are open at {depth}");
        }
    }

    #[test]
    fn a_directory_that_was_moved_away_leads_to_no_other() {
        let (folder, paths, mut descent) = entered();
        leave_to(&mut descent, 7);
        fs::rename(&paths[7], folder.path().join("aside")).unwrap();
        // The one above is no longer its parent, and still where it was.
        leave_to(&mut descent, 6);
        let expected = identity(&rustix::fs::stat(&paths[6]).unwrap());
        assert_eq!(found(&mut descent), Ok(expected));
        let (folder, paths, mut descent) = entered();
        leave_to(&mut descent, 7);
        fs::rename(&paths[7], folder.path().join("aside")).unwrap();
        fs::rename(&paths[6], folder.path().join("replaced")).unwrap();
        fs::create_dir(&paths[6]).unwrap();
        leave_to(&mut descent, 6);
        assert_eq!(descent.innermost().err(), Some(Errno::STALE));
    }
}
