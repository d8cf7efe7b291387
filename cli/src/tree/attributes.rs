//! Owner, permissions, times and extended attributes of what was restored.
//!
//! They are set by descriptor. By name, another user of the directory could put a link in the
//! place of what was just made, and have root change the file that it leads to. A link, a FIFO or a
//! device is not opened for it, since opening a device can do harm: a descriptor opened with
//! `O_PATH` will do.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::stat::{FchmodatFlags, fchmodat};
use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, chmod, chownat, fchmod, fchown, futimens,
    utimensat,
};
use rustix::io::{Errno, Result};

use super::place::Place;
use super::xattrs::{self, is_acl};
use crate::tar_stream::Xattr;

/// What is set.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) owner: Option<(Uid, Gid)>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) mode: Option<Mode>,
    pub(super) times: Timestamps,
}

/// What could not be set.
#[derive(Debug, Default)]
pub(super) struct Unset {
    /// The first extended attribute, why it could not be set, and how many could not.
    pub(super) xattrs: Option<(Vec<u8>, Errno, u64)>,
    /// Anything else, and why.
    pub(super) others: Vec<(&'static str, Errno)>,
}

impl Attributes {
    /// Permissions and times as they are.
    pub(super) fn as_they_are(status: &Stat) -> Self {
        let time = |tv_sec, tv_nsec: u64| Timespec { tv_sec, tv_nsec: tv_nsec as i64 };
        Self {
            owner: None,
            xattrs: Vec::new(),
            mode: Some(Mode::from_raw_mode(status.st_mode & 0o7777)),
            times: Timestamps {
                last_access: time(status.st_atime, status.st_atime_nsec),
                last_modification: time(status.st_mtime, status.st_mtime_nsec),
            },
        }
    }

    /// Bytes that it holds.
    pub(super) fn len(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Sets them of an open file or directory, in this order: a new owner takes capabilities and
    /// bits away, and who may not write any more may not set attributes either.
    pub(super) fn set(&self, file: impl AsFd) -> Unset {
        let file = file.as_fd();
        let mut unset = Unset::default();
        if let Some((uid, gid)) = self.owner {
            unset.note("the owner", fchown(file, Some(uid), Some(gid)));
        }
        let (acls, others): (Vec<&Xattr>, _) = self.xattrs.iter().partition(|it| is_acl(&it.0));
        unset.set_xattrs(file, others);
        if let Some(mode) = self.mode {
            unset.note("the permissions", fchmod(file, mode));
        }
        // An ACL's mask counts more than the group's permissions, which are the same bits.
        unset.set_xattrs(file, acls);
        unset.note("the times", futimens(file, &self.times));
        unset
    }

    /// Sets them of a link, a FIFO or a device that is open as a path alone, and stands at `place`.
    pub(super) fn set_of_path(&self, file: impl AsFd, place: &Place) -> Unset {
        let file = file.as_fd();
        let mut unset = Unset::default();
        if let Some((uid, gid)) = self.owner {
            let owned = chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH);
            unset.note("the owner", owned);
        }
        if let Some(mode) = self.mode {
            unset.note("the permissions", chmod_path(file, place, mode));
        }
        let timed = match utimensat(file, "", &self.times, AtFlags::EMPTY_PATH) {
            // A kernel before 5.8. No link is followed, and a time harms nobody.
            Err(Errno::INVAL) => {
                let name = place.name.as_slice();
                utimensat(&*place.parent, name, &self.times, AtFlags::SYMLINK_NOFOLLOW)
            }
            timed => timed,
        };
        unset.note("the times", timed);
        unset
    }
}

impl Unset {
    fn note(&mut self, what: &'static str, done: Result<()>) {
        if let Err(error) = done {
            self.others.push((what, error));
        }
    }

    /// Sets extended attributes of an open file or directory.
    pub(super) fn set_xattrs<'a>(
        &mut self,
        file: impl AsFd,
        all: impl IntoIterator<Item = &'a Xattr>,
    ) {
        for xattr in all {
            if let Err(error) = xattrs::set(file.as_fd(), xattr) {
                let first = self.xattrs.get_or_insert_with(|| (xattr.0.clone(), error, 0));
                first.2 += 1;
            }
        }
    }
}

/// Sets the permissions of what is open as a path alone, and stands at `place`.
pub(super) fn chmod_path(file: BorrowedFd<'_>, place: &Place, mode: Mode) -> Result<()> {
    match chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode) {
        // No /proc here. The C library asks the kernel to follow no link (fchmodat2, Linux 6.6).
        Err(Errno::NOENT) => {
            let mode = nix::sys::stat::Mode::from_bits_truncate(mode.as_raw_mode());
            let name = place.name.as_slice();
            fchmodat(&*place.parent, name, mode, FchmodatFlags::NoFollowSymlink)
                .map_err(|error| Errno::from_raw_os_error(error as i32))
        }
        done => done,
    }
}
