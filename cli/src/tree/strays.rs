//! Names of a restore's own, and what a killed restore left under them.
//!
//! A file is written under a name of its own, and locked while it is. A link, a FIFO or a device
//! can't be locked, so it is made in a directory of its own, which is ([`Staging`]). What has such
//! a name and a free lock has no writer any more, and the next restore into its directory removes
//! it, as `ringpack clean` does.
//!
//! # Invariants
//! - X1: nothing is removed whose lock isn't held while it is, and whose name doesn't lead to it.
//! - X2: nothing is removed that has another form of name, another kind or another owner. Root
//!   gives what it restores to its owner before it gets its name, so root removes any owner's.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use ringpack::planted::{self, Bug};
use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, mkdirat, openat,
    statat, unlinkat,
};
use rustix::io::{Errno, Result};

use super::descent::identity;
use super::place::Place;

const SUFFIX: &str = ".ringpack-partial";
/// The name of what a directory of its own holds.
const STAGED: &str = "staged";
/// How often another run may take what was just made for a stray.
const TRIES_MAX: u32 = 100;

/// Names that no other restore of this process or another live one uses.
#[derive(Debug, Default)]
pub(super) struct OwnNames(u64);

impl OwnNames {
    fn next(&mut self) -> Vec<u8> {
        self.0 += 1;
        format!(".{}-{}{SUFFIX}", std::process::id(), self.0).into_bytes()
    }

    /// Makes a file under a name of its own in `parent`, and locks it.
    pub(super) fn file(&mut self, parent: &impl AsFd) -> Result<(Vec<u8>, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let make =
            |name: &[u8]| openat(parent, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
        self.made(parent, make).map(|(name, open)| (name, File::from(open)))
    }

    /// Makes a directory of its own in `parent`, and locks it.
    pub(super) fn staging(&mut self, parent: &Rc<OwnedFd>) -> Result<Staging> {
        let make = |name: &[u8]| {
            mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
            let open = openat(parent, name, DIRECTORY, Mode::empty())?;
            let mode = fstat(&open)?.st_mode & 0o7777;
            if mode & 0o700 != 0o700 {
                // The umask took that away. A setgid bit from above stays.
                fchmod(&open, Mode::from_raw_mode(mode | 0o700))?;
            }
            Ok(open)
        };
        let (name, open) = self.made(parent, make)?;
        let place = Place { parent: Rc::new(open), name: STAGED.into() };
        Ok(Staging { place, within: Rc::clone(parent), name })
    }

    fn made(
        &mut self,
        parent: &impl AsFd,
        make: impl Fn(&[u8]) -> Result<OwnedFd>,
    ) -> Result<(Vec<u8>, OwnedFd)> {
        let mut tries = 0;
        loop {
            let name = self.next();
            let made = match make(&name) {
                // A stray of a process that had the same number, or a thread of this one.
                Err(Errno::EXIST) => None,
                made => Some(made?),
            };
            // Between making and locking, another run may take it for a stray.
            if let Some(open) = made
                && flock(&open, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
                && leads_to(parent, &name, &open)?
            {
                return Ok((name, open));
            }
            tries += 1;
            if tries == TRIES_MAX {
                return Err(Errno::EXIST);
            }
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// A directory of this process's own, beside the name that what is made in it will have. Nobody
/// else may write to it. It is removed with what is left in it.
pub(super) struct Staging {
    /// Where something is made.
    pub(super) place: Place,
    within: Rc<OwnedFd>,
    name: Vec<u8>,
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What was renamed away isn't there any more, unless it was one more name of the same file.
        let _ = unlinkat(&*self.place.parent, STAGED, AtFlags::empty());
        let _ = unlinkat(&*self.within, self.name.as_slice(), AtFlags::REMOVEDIR);
    }
}

/// What became of a stray.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It was removed.
    Removed,
    /// It would be removed.
    Stale,
    /// Its writer is at work.
    InUse,
    /// It can't be looked at or removed, for this reason.
    Failed(String),
}

/// Kinds of strays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kinds {
    All,
    Directories,
}

/// What killed restores left in an open directory, which is removed if `remove` asks for it.
///
/// # Errors
/// What keeps the directory from being listed.
pub(crate) fn sweep(
    directory: impl AsFd,
    kinds: Kinds,
    remove: bool,
) -> Result<Vec<(OsString, Fate)>> {
    let directory = directory.as_fd();
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !is_own_name(name) {
            continue;
        }
        let fate = match one(directory, name, kinds, remove) {
            Ok(None) | Err(Errno::NOENT) => continue,
            Ok(Some(fate)) => fate,
            Err(error) => Fate::Failed(std::io::Error::from(error).to_string()),
        };
        found.push((OsString::from_vec(name.to_vec()), fate));
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

/// One that has such a name; `None` where it is something else.
fn one(directory: impl AsFd, name: &[u8], kinds: Kinds, remove: bool) -> Result<Option<Fate>> {
    let status = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let me = rustix::process::geteuid();
    // X2: no link, FIFO or device, and nothing of another user's.
    let is_ours = me.is_root() || status.st_uid == me.as_raw();
    let flags = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => DIRECTORY,
        FileType::RegularFile if kinds == Kinds::All => DIRECTORY.difference(OFlags::DIRECTORY),
        _ => return Ok(None),
    };
    if !is_ours {
        return Ok(None);
    }
    let open = openat(&directory, name, flags, Mode::empty())?;
    // X1: the lock is held until the name is gone.
    match flock(&open, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) if !planted::is(Bug::LockedStrayRemoved) => {
            return Ok(Some(Fate::InUse));
        }
        Err(error) if error != Errno::WOULDBLOCK => return Err(error),
        _ => {}
    }
    if identity(&fstat(&open)?) != identity(&status) || !leads_to(&directory, name, &open)? {
        return Ok(Some(Fate::InUse));
    }
    if !remove {
        return Ok(Some(Fate::Stale));
    }
    if flags.contains(OFlags::DIRECTORY) {
        match unlinkat(&open, STAGED, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        unlinkat(&directory, name, AtFlags::REMOVEDIR)?;
    } else {
        unlinkat(&directory, name, AtFlags::empty())?;
    }
    Ok(Some(Fate::Removed))
}

/// Whether the name leads to the open file.
fn leads_to(directory: impl AsFd, name: &[u8], open: &OwnedFd) -> Result<bool> {
    match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(identity(&status) == identity(&fstat(open)?)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether it is of the form `.PID-NUMBER.ringpack-partial`.
fn is_own_name(name: &[u8]) -> bool {
    let digits =
        |part: &[u8]| !part.is_empty() && part.len() <= 20 && part.iter().all(u8::is_ascii_digit);
    let numbers = name.strip_prefix(b".").and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    let Some(numbers) = numbers else { return false };
    let mut parts = numbers.split(|&byte| byte == b'-');
    let both = (parts.next(), parts.next());
    matches!(both, (Some(pid), Some(number)) if digits(pid) && digits(number))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn fates(folder: &std::path::Path, remove: bool) -> Vec<(String, Fate)> {
        let found = sweep(File::open(folder).unwrap(), Kinds::All, remove).unwrap();
        found.into_iter().map(|(name, fate)| (name.into_string().unwrap(), fate)).collect()
    }

    fn names(folder: &std::path::Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn x1_x2_what_is_stale_goes_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let others = [
            ".ringpack-partial",
            "1-2.ringpack-partial",
            ".1-2-3.ringpack-partial",
            ".-1.ringpack-partial",
            ".1-.ringpack-partial",
            ".1x-2.ringpack-partial",
            ".1-2.ringpack-partial.gz",
            "a.ringpack-partial",
        ];
        others.iter().for_each(|name| fs::write(at(name), b"").unwrap());
        symlink("/etc/passwd", at(".7-8.ringpack-partial")).unwrap();
        fs::write(at(".7-1.ringpack-partial"), b"stale").unwrap();
        fs::create_dir(at(".7-2.ringpack-partial")).unwrap();
        symlink("x", at(".7-2.ringpack-partial").join(STAGED)).unwrap();
        // One with something else in it.
        fs::create_dir(at(".7-3.ringpack-partial")).unwrap();
        fs::write(at(".7-3.ringpack-partial/mine"), b"").unwrap();
        let parent = Rc::new(OwnedFd::from(File::open(folder.path()).unwrap()));
        let mut own = OwnNames::default();
        let (live, held) = own.file(&parent).unwrap();
        let staging = own.staging(&parent).unwrap();
        let before = names(folder.path());
        let listed = fates(folder.path(), false);
        assert_eq!(names(folder.path()), before);
        let stale = listed.iter().filter(|(_, fate)| *fate == Fate::Stale).count();
        let in_use = listed.iter().filter(|(_, fate)| *fate == Fate::InUse).count();
        assert_eq!((stale, in_use, listed.len()), (3, 2, 5), "{listed:?}");
        fates(folder.path(), true);
        let mut expected: Vec<String> = before
            .into_iter()
            .filter(|name| !name.starts_with(".7-1.") && !name.starts_with(".7-2."))
            .collect();
        assert_eq!(names(folder.path()), expected);
        drop((held, staging));
        fates(folder.path(), true);
        let pid = format!(".{}-", std::process::id());
        assert!(String::from_utf8(live).unwrap().starts_with(&pid));
        expected.retain(|name| !name.starts_with(&pid));
        assert_eq!(names(folder.path()), expected);
    }
}
