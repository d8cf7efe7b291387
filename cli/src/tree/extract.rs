//! A tar stream as files below a directory.
//!
//! A file is written under a name of its own in its directory, and gets its member's name once it
//! is whole, so a name never shows half a file. What stands there already is kept unless it is to
//! be replaced; nothing is ever written through a link ([`place`](super::place)). Rights that a
//! stranger's archive shouldn't give are given only if asked for: owners, setuid and setgid bits,
//! file capabilities and ACLs, device nodes. Directories get their permissions and times last, when
//! nothing is written in them any more; then all is made durable at once.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use ringpack::escape::shown;
use ringpack::members::{Member, MemberKind};
use ringpack::{Cancel, Error, ErrorKind, Progress, Result, Stage};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid,
    chownat, fchmod, fchown, flock, futimens, linkat, makedev, mkdirat, mknodat, openat, renameat,
    renameat_with, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::place::{Missing, Place, Root};
use super::xattrs;
use crate::tar_stream::Xattr;
use crate::tar_stream::read::{Entry, TarReader};

/// What is restored beside names, bytes, permissions and times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rights {
    /// Whether existing files are replaced.
    pub(crate) replace: bool,
    /// Whether owners are restored.
    pub(crate) owners: bool,
    /// Whether setuid, setgid and sticky bits, capabilities and ACLs are restored.
    pub(crate) permissions: bool,
    /// Whether device nodes are made.
    pub(crate) devices: bool,
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
    /// What a person should know of.
    pub(crate) warnings: Vec<String>,
}

/// Restores members below a directory.
pub(crate) struct Extraction<'a> {
    root: Root,
    rights: Rights,
    /// What is told of the bytes written.
    progress: Progress,
    cancel: &'a Cancel,
    restored: Restored,
    /// Directories that were made here, whose attributes are set last.
    directories: Vec<Entry>,
    /// What was restored by its path: a hard link can name a file, and what comes again takes the
    /// place of what came before.
    done: HashMap<Vec<u8>, MemberKind>,
    /// Paths that were left out for what exists already.
    kept: HashSet<Vec<u8>>,
    /// Number of the next file under a name of its own.
    number: u64,
}

impl<'a> Extraction<'a> {
    /// Opens the directory, which is made if it is missing.
    pub(crate) fn into(
        path: &Path,
        rights: Rights,
        progress: Progress,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        Ok(Self {
            root: Root::open(path)?,
            rights,
            progress,
            cancel,
            restored: Restored::default(),
            directories: Vec::new(),
            done: HashMap::new(),
            kept: HashSet::new(),
            number: 0,
        })
    }

    /// Restores a member whose headers `reader` has just given.
    ///
    /// # Errors
    /// What keeps it from being read or written, and a path that leads out of the directory; what
    /// was restored before it stays.
    pub(crate) fn member<R: BufRead + Read + Seek>(
        &mut self,
        entry: Entry,
        reader: &mut TarReader<R>,
    ) -> Result<()> {
        self.check_cancelled()?;
        let path = entry.member.path.clone();
        for note in &entry.notes {
            let name = self.root.shown(&path);
            self.restored.warnings.push(format!("{}: {note}", shown(&name)));
        }
        let Some(place) = self.root.place(&path, Missing::Made)? else {
            // The directory itself, which is the caller's.
            return Ok(());
        };
        let is_device =
            matches!(entry.member.kind, MemberKind::CharDevice | MemberKind::BlockDevice);
        if is_device && !self.rights.devices {
            let name = self.root.shown(&path);
            let what = "is a device node: left out; --devices makes it";
            self.restored.warnings.push(format!("{}: {what}", shown(&name)));
            return Ok(());
        }
        if entry.member.kind == MemberKind::Directory {
            return self.directory(&place, entry);
        }
        let failed = |this: &Self, error| this.root.failed(&path, "cannot restore", error);
        // What an archive has twice was appended to it: the last counts, as with tar.
        let replace = self.rights.replace || self.done.contains_key(&path);
        if !replace && place.is_taken().map_err(|error| failed(self, error))? {
            return self.keep(&path);
        }
        let (uid, gid) = (Uid::from_raw(entry.member.uid), Gid::from_raw(entry.member.gid));
        let times = times(&entry.member);
        if entry.member.kind == MemberKind::HardLink && self.kept.contains(&entry.member.link) {
            // What exists is no file of the archive for it to be another name of.
            return self.keep(&path);
        }
        let name = match entry.member.kind {
            MemberKind::Regular => self.file(&place, &entry, reader)?,
            MemberKind::HardLink => self.hard_link(&place, &entry.member)?,
            _ => {
                let name = self.own_name();
                let made = match entry.member.kind {
                    MemberKind::Symlink => {
                        symlinkat(entry.member.link.as_slice(), &*place.parent, name.as_slice())
                    }
                    kind => {
                        let (kind, device) = match kind {
                            MemberKind::CharDevice => (FileType::CharacterDevice, entry.device),
                            MemberKind::BlockDevice => (FileType::BlockDevice, entry.device),
                            _ => (FileType::Fifo, (0, 0)),
                        };
                        let mode = Mode::from_raw_mode(0o600);
                        let device = makedev(device.0, device.1);
                        mknodat(&*place.parent, name.as_slice(), kind, mode, device)
                    }
                };
                made.map_err(|error| failed(self, error))?;
                let set = self.set_by_name(&place, &name, &entry.member, uid, gid, &times);
                set.map_err(|error| self.undo(&place, &name, failed(self, error)))?;
                name
            }
        };
        match give_name(&place, &name, replace) {
            Ok(()) => {}
            Err(Errno::EXIST) if !replace => {
                drop(self.undo(&place, &name, failed(self, Errno::EXIST)));
                return self.keep(&path);
            }
            Err(error) => return Err(self.undo(&place, &name, failed(self, error))),
        }
        self.restored.members += 1;
        self.done.insert(path, entry.member.kind);
        Ok(())
    }

    /// Sets the attributes of the directories and makes everything durable.
    ///
    /// # Errors
    /// What keeps it from that.
    pub(crate) fn finish(mut self) -> Result<Restored> {
        // The innermost first: setting one's attributes changes no time of the one above it.
        while let Some(entry) = self.directories.pop() {
            let path = &entry.member.path;
            let Some(place) = self.root.place(path, Missing::Refused)? else { continue };
            let set = place.open_directory().and_then(|open| self.set(&open, &entry));
            let unset =
                set.map_err(|error| self.root.failed(path, "cannot set the attributes of", error))?;
            self.warn_unset(path, unset);
        }
        self.progress.finish(self.progress.look().content_bytes);
        self.progress.timed(Stage::Write, || self.root.sync())?;
        self.progress.done();
        Ok(self.restored)
    }

    fn directory(&mut self, place: &Place, entry: Entry) -> Result<()> {
        let path = entry.member.path.clone();
        let failed = |this: &Self, error| this.root.failed(&path, "cannot make", error);
        match mkdirat(&*place.parent, place.name.as_slice(), Mode::from_raw_mode(0o700)) {
            Ok(()) => self.directories.push(entry),
            Err(Errno::EXIST) if place.is_directory() => {
                if self.rights.replace {
                    self.directories.push(entry);
                }
            }
            Err(Errno::EXIST) => {
                let what = "is refused: a link, or no directory, stands where a directory goes";
                return Err(self.root.refused(&path, what));
            }
            Err(error) => return Err(failed(self, error)),
        }
        self.restored.members += 1;
        Ok(())
    }

    /// Writes a file under a name of its own, which is returned.
    fn file<R: BufRead + Read + Seek>(
        &mut self,
        place: &Place,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<Vec<u8>> {
        let path = &entry.member.path;
        let name = self.own_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o600);
        let open = openat(&*place.parent, name.as_slice(), flags | OFlags::CLOEXEC, mode)
            .map_err(|error| self.root.failed(path, "cannot make", error))?;
        let file = File::from(open);
        let written = self.write(&file, entry, reader);
        let unset = written.map_err(|error| self.undo(place, &name, error))?;
        self.warn_unset(path, unset);
        self.restored.bytes += entry.member.size;
        Ok(name)
    }

    fn write<R: BufRead + Read + Seek>(
        &self,
        file: &File,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<u64> {
        let path = &entry.member.path;
        let failed = |error: io::Error| {
            Error::from_io(ErrorKind::Output, "cannot write", error).at(self.root.shown(path))
        };
        // What `ringpack clean` takes for a file that nobody writes any more isn't locked.
        let _ = flock(file, FlockOperation::NonBlockingLockExclusive);
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
        let unset = self.set(file, entry).map_err(|error| failed(error.into()))?;
        if self.rights.replace {
            // What it takes the place of may be durable: so has this to be.
            self.progress.timed(Stage::Write, || file.sync_all()).map_err(failed)?;
        }
        Ok(unset)
    }

    /// Gives an open file or directory its owner, attributes, permissions, ACLs and times, in this
    /// order: a new owner takes capabilities and bits away, and who may not write any more may not
    /// set attributes either. Returns how many attributes could not be set.
    fn set(&self, file: &File, entry: &Entry) -> rustix::io::Result<u64> {
        let member = &entry.member;
        if self.rights.owners {
            fchown(file, Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid)))?;
        }
        let mut unset = 0;
        let permissions = self.rights.permissions;
        let restored = |(name, _): &&Xattr| xattrs::is_restored(name, permissions);
        let is_acl = |(name, _): &&Xattr| xattrs::is_acl(name);
        for xattr in entry.xattrs.iter().filter(restored).filter(|it| !is_acl(it)) {
            unset += u64::from(!xattrs::set(file, xattr)?);
        }
        fchmod(file, self.mode(member))?;
        // An ACL's mask counts more than the group's permissions, which are the same bits.
        for xattr in entry.xattrs.iter().filter(restored).filter(is_acl) {
            unset += u64::from(!xattrs::set(file, xattr)?);
        }
        futimens(file, &times(member))?;
        Ok(unset)
    }

    fn set_by_name(
        &self,
        place: &Place,
        name: &[u8],
        member: &Member,
        uid: Uid,
        gid: Gid,
        times: &Timestamps,
    ) -> rustix::io::Result<()> {
        let parent = &*place.parent;
        if self.rights.owners {
            chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if member.kind != MemberKind::Symlink {
            // The name is this process's own, made a moment ago: no link stands there.
            rustix::fs::chmodat(parent, name, self.mode(member), AtFlags::empty())?;
        }
        utimensat(parent, name, times, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn mode(&self, member: &Member) -> Mode {
        let bits = if self.rights.permissions { 0o7777 } else { 0o777 };
        Mode::from_raw_mode(member.mode & bits)
    }

    /// Links what stands under the other name, under a name of its own, which is returned.
    fn hard_link(&mut self, place: &Place, member: &Member) -> Result<Vec<u8>> {
        let refused = |this: &Self, what| this.root.refused(&member.path, what);
        // The file that it names lies below the root too, reached as carefully.
        let other = self.root.place(&member.link, Missing::Refused)?;
        let other = other
            .ok_or_else(|| refused(self, "is refused: it is a link to the directory itself"))?;
        if self.done.get(&member.link) != Some(&MemberKind::Regular) {
            let what = "is another name of a member that was not restored: restore both";
            return Err(refused(self, what));
        }
        let name = self.own_name();
        let (from, to) = (other.name.as_slice(), name.as_slice());
        linkat(&*other.parent, from, &*place.parent, to, AtFlags::empty())
            .map_err(|error| self.root.failed(&member.path, "cannot link", error))?;
        Ok(name)
    }

    /// A name of its own, which `ringpack clean` knows for what a run left.
    fn own_name(&mut self) -> Vec<u8> {
        self.number += 1;
        format!(".{}-{}.ringpack-partial", std::process::id(), self.number).into_bytes()
    }

    /// Removes what was made under a name of its own, and gives the error back.
    fn undo(&self, place: &Place, name: &[u8], error: Error) -> Error {
        let _ = unlinkat(&*place.parent, name, AtFlags::empty());
        error
    }

    fn keep(&mut self, path: &[u8]) -> Result<()> {
        self.restored.kept += 1;
        self.kept.insert(path.to_vec());
        let name = self.root.shown(path);
        self.restored.warnings.push(format!("{}: exists, and is kept", shown(&name)));
        Ok(())
    }

    fn warn_unset(&mut self, path: &[u8], unset: u64) {
        if unset > 0 {
            let name = self.root.shown(path);
            let what = "extended attributes could not be set here";
            self.restored.warnings.push(format!("{}: {unset} {what}", shown(&name)));
        }
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        }
        Ok(())
    }
}

fn times(member: &Member) -> Timestamps {
    let time = Timespec { tv_sec: member.mtime, tv_nsec: member.mtime_ns.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Gives what was made under a name of its own the one that it is to have.
fn give_name(place: &Place, name: &[u8], replace: bool) -> rustix::io::Result<()> {
    let (parent, to) = (&*place.parent, place.name.as_slice());
    if replace {
        renameat(parent, name, parent, to)?;
        // Two names of one file: a rename leaves both, and the one of its own goes.
        let _ = unlinkat(parent, name, AtFlags::empty());
        return Ok(());
    }
    match renameat_with(parent, name, parent, to, RenameFlags::NOREPLACE) {
        // A file system that can't: a second name is refused where there is one.
        Err(Errno::INVAL | Errno::NOSYS) => {
            match linkat(parent, name, parent, to, AtFlags::empty()) {
                Ok(()) => unlinkat(parent, name, AtFlags::empty()),
                Err(Errno::EXIST) => Err(Errno::EXIST),
                // One without hard links either: another program may take the name in between.
                Err(_) if place.is_taken()? => Err(Errno::EXIST),
                Err(_) => renameat(parent, name, parent, to),
            }
        }
        renamed => renamed,
    }
}
