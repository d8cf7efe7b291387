//! Places below a directory, reached without ever leaving it.
//!
//! A path of an archive is taken apart into names. `..`, a slash at its front or a NUL are refused
//! before anything is opened. Each directory on the way is then opened from the one above it, by a
//! single name, and the kernel is told to follow no link and to stay beneath (openat2 with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`; where that call is refused, openat with
//! `O_NOFOLLOW`, which for a single name comes to the same). So neither the archive nor whoever
//! else may write to the target can make a path lead elsewhere, not even while it is walked.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringpack::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat};
use rustix::io::Errno;

/// The directory below which everything stays.
pub(super) struct Root {
    open: Rc<OwnedFd>,
    shown: PathBuf,
    /// The directory that was reached last, by its path: members follow their siblings.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

/// A name in an open directory below the root.
pub(super) struct Place {
    pub(super) parent: Rc<OwnedFd>,
    pub(super) name: Vec<u8>,
}

/// Whether directories that are missing on the way are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    Made,
    Refused,
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
        Ok(Self { open: Rc::new(open), shown: path.to_owned(), last: None })
    }

    /// Where a path of the archive leads; `None` where it is the root itself.
    pub(super) fn place(&mut self, path: &[u8], missing: Missing) -> Result<Option<Place>> {
        let mut names = names(path).map_err(|what| self.refused(path, what))?;
        let Some(name) = names.pop() else { return Ok(None) };
        let directory = names.join(&b'/');
        if let Some((last, open)) = &self.last
            && *last == directory
        {
            return Ok(Some(Place { parent: Rc::clone(open), name: name.to_vec() }));
        }
        let mut parent = Rc::clone(&self.open);
        for name in &names {
            let opened = match open_directory(&parent, name) {
                Err(Errno::NOENT) if missing == Missing::Made => {
                    match mkdirat(&parent, *name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => open_directory(&parent, name),
                        Err(error) => Err(error),
                    }
                }
                opened => opened,
            };
            parent = match opened {
                Ok(opened) => Rc::new(opened),
                Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                    let what = "is refused: on the way to it stands a link, or no directory";
                    return Err(self.refused(path, what));
                }
                Err(error) => {
                    let what = "cannot open the directory of";
                    return Err(self.failed(path, what, error));
                }
            };
        }
        self.last = Some((directory, Rc::clone(&parent)));
        Ok(Some(Place { parent, name: name.to_vec() }))
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

    /// The error of a member that can't be restored.
    pub(super) fn failed(&self, path: &[u8], what: &'static str, error: Errno) -> Error {
        Error::from_io(ErrorKind::Output, what, error.into()).at(self.shown(path))
    }

    /// The error of a member that is not to be restored.
    pub(super) fn refused(&self, path: &[u8], what: &'static str) -> Error {
        Error::new(ErrorKind::Output, what).at(self.shown(path))
    }

    /// A member's path, for people.
    pub(super) fn shown(&self, path: &[u8]) -> PathBuf {
        // Not joined: an absolute path would stand for itself.
        let mut shown = self.shown.as_os_str().to_owned();
        shown.push("/");
        shown.push(OsStr::from_bytes(path));
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

    /// Opens the directory that stands here, to read it and to set its attributes.
    pub(super) fn open_directory(&self) -> rustix::io::Result<File> {
        let path = open_directory(&self.parent, &self.name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&path, ".", flags, Mode::empty()).map(File::from)
    }

    /// Whether a directory stands here.
    pub(super) fn is_directory(&self) -> bool {
        open_directory(&self.parent, &self.name).is_ok()
    }
}

/// The names that a path leads through.
fn names(path: &[u8]) -> std::result::Result<Vec<&[u8]>, &'static str> {
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

fn open_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
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
}
