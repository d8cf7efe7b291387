//! Places below a directory, reached without ever leaving it.
//!
//! A path of an archive is taken apart into names. `..`, a slash at its front or a NUL are refused
//! before anything is opened. Each directory on the way is then opened from the one above it, by a
//! single name, and the kernel is told to follow no link and to stay beneath (openat2 with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`; where that call is refused, openat with
//! `O_NOFOLLOW`, which for a single name comes to the same). So neither the archive nor whoever
//! else may write to the target can make a path lead elsewhere, not even while it is walked.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringpack::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;

/// Longest path and longest target of a link, in bytes: what Linux takes in one call. So a path
/// leads through 2,048 directories at most.
pub(super) const PATH_LEN_MAX: usize = 4096;

/// The directory below which everything stays.
pub(super) struct Root {
    pub(super) open: Rc<OwnedFd>,
    shown: PathBuf,
}

/// A name in an open directory below the root.
pub(super) struct Place {
    pub(super) parent: Rc<OwnedFd>,
    pub(super) name: Vec<u8>,
}

impl Root {
    /// Opens `path`, which is made if it is missing; the one place where a link may be followed,
    /// since whoever asked named it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |what: &'static str| {
            move |error: std::io::Error| Error::from_io(ErrorKind::Output, what, error).at(path)
        };
        std::fs::create_dir_all(path).map_err(failed("cannot make the directory"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| failed("cannot open the directory")(error.into()))?;
        Ok(Self { open: Rc::new(open), shown: path.to_owned() })
    }

    /// The open directory that `names` lead to, each of which must exist.
    pub(super) fn reach(&self, names: &[&[u8]]) -> rustix::io::Result<Rc<OwnedFd>> {
        names
            .iter()
            .try_fold(Rc::clone(&self.open), |open, name| open_directory(&open, name).map(Rc::new))
    }

    /// Makes all that was written below durable.
    pub(super) fn sync(&self) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let synced = openat(&*self.open, ".", flags, Mode::empty()).and_then(rustix::fs::syncfs);
        synced.map_err(|error| {
            let what = "cannot make what was restored durable";
            Error::from_io(ErrorKind::Output, what, error.into()).at(&self.shown)
        })
    }

    /// The error of a path on which a directory can't be opened.
    pub(super) fn unreachable(&self, path: &[u8], error: Errno) -> Error {
        match error {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
                self.refused(path, "is refused: on the way to it stands a link, or no directory")
            }
            error => self.failed(path, "cannot open the directory of", error),
        }
    }

    /// The error of a member that can't be restored.
    pub(super) fn failed(&self, path: &[u8], what: &'static str, error: Errno) -> Error {
        Error::from_io(ErrorKind::Output, what, error.into()).at(self.shown(path))
    }

    /// The error of a member that is not to be restored.
    pub(super) fn refused(&self, path: &[u8], what: &'static str) -> Error {
        Error::new(ErrorKind::Output, what)
            .at(self.shown(path))
            .hint("ringpack ls lists what the archive holds")
    }

    /// A member's path, for people.
    pub(super) fn shown(&self, path: &[u8]) -> PathBuf {
        // Not joined: an absolute path would stand for itself.
        let mut shown = self.shown.as_os_str().to_owned();
        shown.push("/");
        if path.len() > PATH_LEN_MAX {
            shown.push(OsStr::from_bytes(&path[..100]));
            shown.push("...");
        } else {
            shown.push(OsStr::from_bytes(path));
        }
        PathBuf::from(shown)
    }
}

impl Place {
    /// Whether something stands here, a link that leads nowhere included.
    pub(super) fn is_taken(&self) -> rustix::io::Result<bool> {
        match statat(&*self.parent, self.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The names that a path leads through.
pub(super) fn names(path: &[u8]) -> std::result::Result<Vec<&[u8]>, &'static str> {
    if path.starts_with(b"/") {
        return Err("is refused: an absolute name leads out of the directory");
    }
    let mut names = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err("is refused: it leads out of the directory"),
            name if name.contains(&0) => return Err("is refused: it is no name of a file"),
            name => names.push(name),
        }
    }
    Ok(names)
}

/// A path as it is compared with others: its names, joined by single slashes.
pub(crate) fn key(path: &[u8]) -> Vec<u8> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.collect::<Vec<_>>().join(&b'/')
}

/// Opens a directory within another, as a path alone.
pub(super) fn open_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(&parent, name, flags, Mode::empty(), resolve) {
        // A kernel before 5.6, or a sandbox that doesn't know the call.
        Err(Errno::NOSYS | Errno::PERM) => openat(&parent, name, flags, Mode::empty()),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused_before_anything_is_opened() {
        for wrong in ["/etc/passwd", "..", "../x", "a/../../x", "a/..", "a\0b"] {
            assert!(names(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(names(b"./a//b/./c/"), Ok(vec![&b"a"[..], b"b", b"c"]));
        assert_eq!(names(b"."), Ok(vec![]));
        assert_eq!(names(b"..a/b.."), Ok(vec![&b"..a"[..], b"b.."]));
    }

    #[test]
    fn a_path_has_one_key_however_it_is_spelled() {
        for spelling in ["a/b", "./a/b", "a//b", "/a/./b/", "././a/b//."] {
            assert_eq!(key(spelling.as_bytes()), b"a/b", "{spelling}");
        }
        assert_eq!((key(b"."), key(b"a/../b")), (Vec::new(), b"a/../b".to_vec()));
    }
}
