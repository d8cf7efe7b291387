//! A tar stream as files below a directory.
//!
//! A file is written under a name of its own in its directory, and gets its member's name once it
//! is whole, so a name never shows half a file. What stands there already is kept unless it is to
//! be replaced; nothing is ever written through a link ([`place`](super::place)). Rights that a
//! stranger's archive shouldn't give are given only if asked for: owners, setuid and setgid bits,
//! file capabilities and ACLs, device nodes, and what the umask takes away. A directory gets its
//! permissions and times when the archive leaves it ([`descent`](super::descent)); at the end all
//! is made durable at once.
//!
//! What is held to the end is a few bytes a member ([`seen`](super::seen)), whatever its name and
//! attributes are.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use ringpack::escape::shown;
use ringpack::members::{Member, MemberKind};
use ringpack::{Cancel, Error, ErrorKind, Progress, Result, Stage};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, Uid, fstat,
    linkat, makedev, mkdirat, mknodat, openat, renameat, renameat_with, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::{Attributes, Unset, chmod_path};
use super::descent::Descent;
use super::place::{PATH_LEN_MAX, Place, Root, names, open_directory};
use super::seen::{Fate, Seen};
use super::strays::{Kinds, OwnNames, sweep};
use super::warnings::Warnings;
use super::xattrs;
use crate::tar_stream::Xattr;
use crate::tar_stream::read::{Entry, TarReader};

/// Most bytes of ACLs that are held for the directories on the way.
const LATER_LEN_MAX: usize = 8 << 20;
/// What the owner needs of a directory to write in it.
const OWNERS: u32 = 0o700;

/// How a directory is opened that is open as a path alone.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What is restored beside names, bytes, permissions and times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rights {
    /// Whether existing files are replaced.
    pub(crate) replace: bool,
    /// Whether owners are restored.
    pub(crate) owners: bool,
    /// Whether permissions are restored whatever the umask, and setuid, setgid and sticky bits,
    /// capabilities and ACLs too.
    pub(crate) permissions: bool,
    /// Whether device nodes are made.
    pub(crate) devices: bool,
    /// Permission bits that are not given unless `permissions` says so.
    pub(crate) umask: u32,
}

/// What was restored so far.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// Members that are there now.
    pub(crate) members: u64,
    /// Bytes of files.
    pub(crate) bytes: u64,
    /// Members that were left out because their names were taken.
    pub(crate) kept: u64,
    /// Members that were left out or lack an owner, permissions or times, against what was asked
    /// for.
    pub(crate) incomplete: u64,
    /// What a person should know of.
    pub(crate) warnings: Warnings,
}

/// Restores members below a directory.
pub(crate) struct Extraction<'a> {
    root: Root,
    rights: Rights,
    /// What is told of the bytes written.
    progress: Progress,
    cancel: &'a Cancel,
    restored: Restored,
    descent: Descent<Option<Attributes>>,
    /// What became of each path: a hard link can name a file, and what comes again takes the place
    /// of what came before.
    seen: Seen,
    own_names: OwnNames,
}

/// What became of the file that a hard link names.
enum FirstName {
    /// It was restored, under this name of an open directory.
    At(Rc<OwnedFd>, Vec<u8>),
    /// It was left out for what exists.
    Kept,
    /// It is a device that wasn't made.
    LeftOut,
}

/// A member's path, taken apart.
struct Target {
    place: Place,
    /// The path as it is noted.
    key: Vec<u8>,
}

impl<'a> Extraction<'a> {
    /// Opens the directory, which is made if it is missing.
    pub(crate) fn into(
        path: &Path,
        rights: Rights,
        progress: Progress,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let root = Root::open(path)?;
        let descent = Descent::new(Rc::clone(&root.open));
        remove_strays(&root.open);
        Ok(Self {
            root,
            rights,
            progress,
            cancel,
            restored: Restored::default(),
            descent,
            seen: Seen::default(),
            own_names: OwnNames::default(),
        })
    }

    /// Restores a member whose headers `reader` has just given.
    ///
    /// # Errors
    /// What keeps it from being read or written, and a path that leads out of the directory; what
    /// was restored before it stays.
    pub(crate) fn member<R: BufRead + Read + Seek>(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<()> {
        self.check_cancelled()?;
        let member = &entry.member;
        let path = member.path.as_slice();
        if path.len().max(member.link.len()) >= PATH_LEN_MAX {
            self.restored.incomplete += 1;
            self.warn(path, "has a name or a link of more than 4,095 bytes, and is left out");
            return Ok(());
        }
        entry.notes.iter().for_each(|note| self.warn(path, note));
        let names = names(path).map_err(|what| self.root.refused(path, what))?;
        let Some((&name, parents)) = names.split_last() else {
            // The directory itself, which is the caller's.
            return Ok(());
        };
        let is_device = matches!(member.kind, MemberKind::CharDevice | MemberKind::BlockDevice);
        if is_device && !self.rights.devices {
            let key = names.join(&b'/');
            if self.seen.fate(&key).is_none() {
                self.seen.note(&key, Fate::LeftOut);
            }
            self.warn(path, "is a device node: left out; --devices makes it");
            return Ok(());
        }
        let parent = self.go_to(parents, path)?;
        let place = Place { parent, name: name.to_vec() };
        let target = Target { place, key: names.join(&b'/') };
        if member.kind == MemberKind::Directory {
            return self.directory(&target, entry);
        }
        let failed = |this: &Self, error| this.root.failed(path, "cannot restore", error);
        // What an archive has twice was appended to it: the last counts, as with tar.
        let replace = self.rights.replace || self.seen.fate(&target.key) == Some(Fate::Restored);
        if !replace && target.place.is_taken().map_err(|error| failed(self, error))? {
            return self.keep(path, &target.key);
        }
        let made = match member.kind {
            MemberKind::Regular => self.file(&target.place, entry, reader, replace)?,
            MemberKind::HardLink => {
                let (from, name) = match self.linked(member)? {
                    FirstName::At(from, name) => (from, name),
                    // What exists is no file of the archive for it to be another name of.
                    FirstName::Kept => return self.keep(path, &target.key),
                    FirstName::LeftOut => {
                        let what = "is another name of a device node: left out; --devices makes it";
                        self.warn(path, what);
                        return Ok(());
                    }
                };
                let make = |place: &Place| {
                    let to = place.name.as_slice();
                    linkat(&from, name.as_slice(), &*place.parent, to, AtFlags::empty())
                };
                self.named(&target.place, replace, member, make, None)?
            }
            MemberKind::Symlink => {
                let link = member.link.as_slice();
                let make = |place: &Place| symlinkat(link, &*place.parent, place.name.as_slice());
                self.named(&target.place, replace, member, make, Some(FileType::Symlink))?
            }
            kind => {
                let (kind, (major, minor)) = match kind {
                    MemberKind::CharDevice => (FileType::CharacterDevice, entry.device),
                    MemberKind::BlockDevice => (FileType::BlockDevice, entry.device),
                    _ => (FileType::Fifo, (0, 0)),
                };
                let mode = self.mode(member, 0);
                let make = |place: &Place| {
                    let device = makedev(major, minor);
                    mknodat(&*place.parent, place.name.as_slice(), kind, mode, device)
                };
                self.named(&target.place, replace, member, make, Some(kind))?
            }
        };
        if !made {
            return self.keep(path, &target.key);
        }
        self.restored.members += 1;
        self.seen.note(&target.key, Fate::Restored);
        Ok(())
    }

    /// Sets the attributes of the directories on the way and makes everything durable.
    ///
    /// # Errors
    /// What keeps it from that.
    pub(crate) fn finish(mut self) -> Result<Restored> {
        self.leave_to(0);
        self.progress.finish(self.progress.look().content_bytes);
        self.progress.timed(Stage::Write, || self.root.sync())?;
        self.progress.done();
        Ok(std::mem::take(&mut self.restored))
    }

    /// Goes to the directory that `names` lead to. Those that are missing are made.
    fn go_to(&mut self, names: &[&[u8]], path: &[u8]) -> Result<Rc<OwnedFd>> {
        let shared = self.descent.shared(names);
        self.leave_to(shared);
        for depth in shared..names.len() {
            let entered = self.enter(&names[..=depth]);
            entered.map_err(|error| self.root.unreachable(path, error))?;
        }
        self.descent.innermost().map_err(|error| self.root.unreachable(path, error))
    }

    /// Enters the directory that the last of `names` leads to.
    fn enter(&mut self, names: &[&[u8]]) -> rustix::io::Result<()> {
        let Some(name) = names.last() else { return Ok(()) };
        let parent = self.descent.innermost()?;
        let key = names.join(&b'/');
        let (open, made) = match open_directory(&parent, name) {
            Err(Errno::NOENT) => match mkdirat(&parent, *name, Mode::from_raw_mode(0o777)) {
                Ok(()) => (open_directory(&parent, name)?, true),
                Err(Errno::EXIST) => (open_directory(&parent, name)?, false),
                Err(error) => return Err(error),
            },
            opened => (opened?, false),
        };
        let status = fstat(&open)?;
        let fate = self.seen.fate(&key);
        if made || fate == Some(Fate::Set) {
            // Whatever the umask and its entry say, until it is left.
            let place = Place { parent, name: name.to_vec() };
            open_up(&open, &place, &status)?;
        }
        let later = match fate {
            Some(Fate::Set) => {
                let acl = self.default_acl(&open)?;
                Some(Attributes { xattrs: acl, ..Attributes::as_they_are(&status) })
            }
            _ if made => {
                self.seen.note(&key, Fate::Made);
                None
            }
            Some(Fate::Made | Fate::Existing) => None,
            _ => {
                remove_strays(&open);
                self.seen.note(&key, Fate::Existing);
                None
            }
        };
        self.descent.enter(name, Rc::new(open), &status, later);
        Ok(())
    }

    /// Takes away the ACL that a directory which this run restored gives to what is made in it.
    fn default_acl(&self, directory: &OwnedFd) -> rustix::io::Result<Vec<Xattr>> {
        if !self.rights.permissions || self.descent.later_len() > LATER_LEN_MAX / 2 {
            return Ok(Vec::new());
        }
        let real = openat(directory, ".", DIRECTORY, Mode::empty())?;
        Ok(xattrs::take_default_acl(real)?.into_iter().collect())
    }

    /// Leaves directories until `depth` are left, and sets what is to be set of them.
    fn leave_to(&mut self, depth: usize) {
        while self.descent.depth() > depth {
            let path = self.descent.path();
            let open = self.descent.innermost();
            let Some(later) = self.descent.leave().flatten() else { continue };
            let open = open.and_then(|open| openat(&*open, ".", DIRECTORY, Mode::empty()));
            let unset = match open {
                Ok(open) => later.set(&open),
                Err(error) => Unset { others: vec![("the attributes", error)], ..Unset::default() },
            };
            self.warn_unset(&path, unset);
        }
    }

    /// Restores a directory. Its entry may come after what is in it, and more than once.
    fn directory(&mut self, target: &Target, entry: &Entry) -> Result<()> {
        let (place, path) = (&target.place, entry.member.path.as_slice());
        let failed = |this: &Self, error| this.root.failed(path, "cannot make", error);
        match mkdirat(&*place.parent, place.name.as_slice(), Mode::from_raw_mode(OWNERS)) {
            Ok(()) => self.seen.note(&target.key, Fate::Made),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(self, error)),
        }
        let open = match open_directory(&place.parent, &place.name) {
            Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                let what = "is refused: a link, or no directory, stands where a directory goes";
                return Err(self.root.refused(path, what));
            }
            opened => opened.map_err(|error| failed(self, error))?,
        };
        self.restored.members += 1;
        let fate = self.seen.fate(&target.key);
        if fate.is_none() {
            remove_strays(&open);
            self.seen.note(&target.key, Fate::Existing);
        }
        let is_own = matches!(fate, Some(Fate::Made | Fate::Set));
        if !is_own && !self.rights.replace {
            return Ok(());
        }
        let status = fstat(&open).map_err(|error| failed(self, error))?;
        open_up(&open, place, &status).map_err(|error| failed(self, error))?;
        if self.seen.fate(&target.key) == Some(Fate::Set) {
            // The entry before this one doesn't count.
            self.default_acl(&open).map_err(|error| failed(self, error))?;
        }
        let mut later = self.attributes(entry, status.st_mode);
        let (acls, others) = later.xattrs.into_iter().partition(|(name, _)| xattrs::is_acl(name));
        later.xattrs = acls;
        let mut unset = Unset::default();
        if !others.is_empty() {
            // These have no effect on what is made in it, so they needn't be held.
            let real = openat(&open, ".", DIRECTORY, Mode::empty());
            unset.set_xattrs(real.map_err(|error| failed(self, error))?, &others);
        }
        if self.descent.later_len() + later.len() > LATER_LEN_MAX {
            let count = later.xattrs.len() as u64;
            unset.xattrs = Some((later.xattrs.swap_remove(0).0, Errno::NOSPC, count));
            later.xattrs.clear();
        }
        self.warn_unset(path, unset);
        self.seen.note(&target.key, Fate::Set);
        self.descent.enter(&place.name, Rc::new(open), &status, Some(later));
        Ok(())
    }

    /// Writes a file and gives it its name; `false` where the name was taken meanwhile.
    fn file<R: BufRead + Read + Seek>(
        &mut self,
        place: &Place,
        entry: &Entry,
        reader: &mut TarReader<R>,
        replace: bool,
    ) -> Result<bool> {
        let path = &entry.member.path;
        let made = self.own_names.file(&place.parent);
        let (name, file) = made.map_err(|error| self.root.failed(path, "cannot make", error))?;
        let undo = || {
            let _ = unlinkat(&*place.parent, name.as_slice(), AtFlags::empty());
        };
        let unset = self.write(&file, entry, reader).inspect_err(|_| undo())?;
        let named = give_name(&place.parent, &name, place, replace);
        if !matches!(named, Ok(())) {
            undo();
        }
        match named {
            Err(Errno::EXIST) if !replace => return Ok(false),
            named => named.map_err(|error| self.root.failed(path, "cannot restore", error))?,
        }
        self.warn_unset(path, unset);
        self.restored.bytes += entry.member.size;
        Ok(true)
    }

    fn write<R: BufRead + Read + Seek>(
        &self,
        file: &File,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<Unset> {
        let path = &entry.member.path;
        let failed = |error: io::Error| {
            Error::from_io(ErrorKind::Output, "cannot write", error).at(self.root.shown(path))
        };
        reader.bytes(entry, &mut |offset, bytes| {
            self.check_cancelled()?;
            let write = || file.write_all_at(bytes, offset);
            self.progress.timed(Stage::Write, write).map_err(failed)?;
            self.progress.extent(bytes.len() as u64, 0);
            Ok(())
        })?;
        if entry.is_sparse() {
            file.set_len(entry.member.size).map_err(failed)?;
        }
        let unset = self.attributes(entry, 0).set(file);
        if self.rights.replace {
            // What it takes the place of may be durable: so has this to be.
            self.progress.timed(Stage::Write, || file.sync_all()).map_err(failed)?;
        }
        Ok(unset)
    }

    /// Makes what isn't written to and gives it its name; `false` where the name was taken
    /// meanwhile. What is of a `kind` of its own gets its attributes.
    ///
    /// A link can have its name at once, where it takes nobody's place. All else is made in a
    /// directory of its own first.
    fn named(
        &mut self,
        place: &Place,
        replace: bool,
        member: &Member,
        make: impl Fn(&Place) -> rustix::io::Result<()>,
        kind: Option<FileType>,
    ) -> Result<bool> {
        let failed = |this: &Self, error| this.root.failed(&member.path, "cannot restore", error);
        if !replace && matches!(kind, None | Some(FileType::Symlink)) {
            match make(place) {
                Err(Errno::EXIST) => return Ok(false),
                made => made.map_err(|error| failed(self, error))?,
            }
            self.finish_node(place, member, kind)?;
            return Ok(true);
        }
        let staging = self.own_names.staging(&place.parent);
        let staging = staging.map_err(|error| failed(self, error))?;
        make(&staging.place).map_err(|error| failed(self, error))?;
        self.finish_node(&staging.place, member, kind)?;
        match give_name(&staging.place.parent, &staging.place.name, place, replace) {
            Err(Errno::EXIST) if !replace => Ok(false),
            named => named.map(|()| true).map_err(|error| failed(self, error)),
        }
    }

    /// Sets the attributes of a link, a FIFO or a device that was just made at `place`.
    fn finish_node(
        &mut self,
        place: &Place,
        member: &Member,
        kind: Option<FileType>,
    ) -> Result<()> {
        let Some(kind) = kind else { return Ok(()) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = openat(&*place.parent, place.name.as_slice(), flags, Mode::empty());
        let opened = open.and_then(|open| fstat(&open).map(|status| (open, status)));
        let (open, status) = opened
            .map_err(|error| self.root.failed(&member.path, "cannot set attributes of", error))?;
        // Whoever else may write to the directory may have put something in its place.
        let is_own = FileType::from_raw_mode(status.st_mode) == kind && status.st_nlink <= 1;
        if !is_own {
            let what = "was replaced by another process while it was restored";
            return Err(self.root.refused(&member.path, what));
        }
        let mut attributes = self.attributes_of(member, 0);
        // It was made with these already; a link has none.
        let is_as_made = attributes.mode.is_some_and(|mode| {
            mode.as_raw_mode() == status.st_mode & 0o7777 && !self.rights.owners
        });
        if kind == FileType::Symlink || is_as_made {
            attributes.mode = None;
        }
        let unset = attributes.set_of_path(&open, place);
        self.warn_unset(&member.path, unset);
        Ok(())
    }

    /// The attributes that an open file or directory gets, which has permissions `current`.
    fn attributes(&self, entry: &Entry, current: u32) -> Attributes {
        let with_rights = self.rights.permissions;
        let restored = entry.xattrs.iter().filter(|it| xattrs::is_restored(&it.0, with_rights));
        let xattrs = restored.cloned().collect();
        Attributes { xattrs, ..self.attributes_of(&entry.member, current) }
    }

    fn attributes_of(&self, member: &Member, current: u32) -> Attributes {
        let owner = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
        let time = Timespec { tv_sec: member.mtime, tv_nsec: member.mtime_ns.into() };
        Attributes {
            owner: self.rights.owners.then_some(owner),
            xattrs: Vec::new(),
            mode: Some(self.mode(member, current)),
            times: Timestamps { last_access: time, last_modification: time },
        }
    }

    /// The permissions that a member gets. Unless they are restored as they are, a directory keeps
    /// the setgid bit that it has from the one above it, and any such bit that it had before.
    fn mode(&self, member: &Member, current: u32) -> Mode {
        Mode::from_raw_mode(match self.rights.permissions {
            true => member.mode & 0o7777,
            false => (member.mode & 0o777 & !self.rights.umask) | (current & 0o7000),
        })
    }

    /// Where what a hard link names stands.
    fn linked(&self, member: &Member) -> Result<FirstName> {
        let (path, link) = (&member.path, member.link.as_slice());
        // Some archives have the names of links from the root on, as tar was given them.
        let first = link.iter().position(|&byte| byte != b'/').unwrap_or(link.len());
        let names = names(&link[first..]).map_err(|what| self.root.refused(path, what))?;
        let Some((&name, parents)) = names.split_last() else {
            return Err(self
                .root
                .refused(path, "is refused: it is a link to the directory itself"));
        };
        match self.seen.fate(&names.join(&b'/')) {
            Some(Fate::Restored) => {}
            Some(Fate::Kept) => return Ok(FirstName::Kept),
            Some(Fate::LeftOut) => return Ok(FirstName::LeftOut),
            _ => {
                let what = "is another name of a member that was not restored: restore both";
                return Err(self.root.refused(path, what));
            }
        }
        // The file that it names lies below the root too, reached as carefully.
        let parent = self.root.reach(parents);
        let parent = parent.map_err(|error| self.root.unreachable(&member.link, error))?;
        Ok(FirstName::At(parent, name.to_vec()))
    }

    fn keep(&mut self, path: &[u8], key: &[u8]) -> Result<()> {
        self.restored.kept += 1;
        self.seen.note(key, Fate::Kept);
        self.warn(path, "exists, and is kept");
        Ok(())
    }

    fn warn(&mut self, path: &[u8], what: &str) {
        let name = self.root.shown(path);
        self.restored.warnings.push(format!("{}: {what}", shown(&name)));
    }

    fn warn_unset(&mut self, path: &[u8], unset: Unset) {
        if let Some((name, error, count)) = unset.xattrs {
            let (name, error) = (shown(OsStr::from_bytes(&name)), io::Error::from(error));
            let what = "extended attributes could not be set here, the first of them";
            self.warn(path, &format!("{count} {what} {name}: {error}"));
        }
        self.restored.incomplete += u64::from(!unset.others.is_empty());
        for (what, error) in unset.others {
            self.warn(path, &format!("cannot set {what}: {}", io::Error::from(error)));
        }
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        }
        Ok(())
    }
}

impl Drop for Extraction<'_> {
    /// What was restored before an error is complete, directories too.
    fn drop(&mut self) {
        self.leave_to(0);
    }
}

/// Lets this user write in a directory that it restored.
fn open_up(open: &OwnedFd, place: &Place, status: &Stat) -> rustix::io::Result<()> {
    let mode = status.st_mode & 0o7777;
    if mode & OWNERS == OWNERS {
        return Ok(());
    }
    chmod_path(open.as_fd(), place, Mode::from_raw_mode(mode | OWNERS))
}

/// Removes what a killed restore left in a directory. What can't be removed does no harm.
fn remove_strays(directory: &OwnedFd) {
    if let Ok(open) = openat(directory, ".", DIRECTORY, Mode::empty()) {
        drop(sweep(&open, Kinds::All, true));
    }
}

/// Gives what was made as `name` in `from` the name that it is to have.
fn give_name(from: &OwnedFd, name: &[u8], place: &Place, replace: bool) -> rustix::io::Result<()> {
    let (parent, to) = (&*place.parent, place.name.as_slice());
    if replace {
        renameat(from, name, parent, to)?;
        // Two names of one file: a rename leaves both, and the one of its own goes.
        let _ = unlinkat(from, name, AtFlags::empty());
        return Ok(());
    }
    match renameat_with(from, name, parent, to, RenameFlags::NOREPLACE) {
        // A file system that can't: a second name is refused where there is one.
        Err(Errno::INVAL | Errno::NOSYS) => {}
        renamed => return renamed,
    }
    match linkat(from, name, parent, to, AtFlags::empty()) {
        Ok(()) => unlinkat(from, name, AtFlags::empty()),
        Err(Errno::EXIST) => Err(Errno::EXIST),
        // One without hard links either: another program may take the name in between.
        Err(_) if place.is_taken()? => Err(Errno::EXIST),
        Err(_) => renameat(from, name, parent, to),
    }
}
