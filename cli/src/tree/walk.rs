//! A directory as a tar stream.
//!
//! Directories are entered by their open parents and nothing is followed, so what is packed lies in
//! the tree whatever becomes of names meanwhile; only the innermost are held open
//! ([`descent`](super::descent)). A file is held open while it is read, and compared with what it
//! was before; so is a directory once all in it was packed. What vanished, shrank, grew or was
//! written to is an error, as it is for a single file: the archive would be of a state that never
//! was.
//!
//! Names are taken in the order of their bytes, so the same tree gives the same stream.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::unistd::{Gid, Group, Uid, User};
use ringpack::escape;
use ringpack::members::{Member, MemberKind, MemberList};
use ringpack::ring::os::open_promptly;
use ringpack::ring::status::status_of;
use ringpack::ring::writeback::settled;
use ringpack::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::descent::{Descent, identity};
use super::select::Patterns;
use super::{holes, when, xattrs};
use crate::tar_stream::write::{Beside, TarStream};

/// Bytes of a file read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// What is packed of a tree, and how.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The tree.
    pub(crate) root: PathBuf,
    /// Its name in the archive.
    pub(crate) name: Vec<u8>,
    /// What is left out.
    pub(crate) exclude: Patterns,
    /// Whether names are taken in the order of their bytes.
    pub(crate) sorted: bool,
    /// Whether directories on other file systems are left empty.
    pub(crate) one_file_system: bool,
    /// Whether names of users and groups are left out.
    pub(crate) numeric_owner: bool,
    /// The time of modification of everything.
    pub(crate) mtime: Option<i64>,
    /// The latest time of modification.
    pub(crate) mtime_max: Option<i64>,
}

/// What a walk came to.
#[derive(Debug)]
pub(crate) struct Walked {
    /// The archive's members.
    pub(crate) members: MemberList,
    /// What a person should know of.
    pub(crate) warnings: Vec<String>,
}

impl Walk {
    /// Writes the tree to `out` as a tar stream.
    ///
    /// # Errors
    /// `Input` where something can't be read, `InputChanged` where it changed while it was read,
    /// and `OutputClosed` where nobody reads the stream any more.
    pub(crate) fn write(&self, out: impl io::Write) -> Result<Walked> {
        let out = BufWriter::with_capacity(PIECE_BYTES, out);
        let mut walking = Walking {
            walk: self,
            stream: TarStream::new(out),
            names: HashMap::new(),
            users: HashMap::new(),
            groups: HashMap::new(),
            warnings: Vec::new(),
            piece: vec![0; PIECE_BYTES],
        };
        walking.tree()?;
        let members = walking.stream.end().map_err(closed)?;
        Ok(Walked { members, warnings: walking.warnings })
    }
}

/// What is held of a directory that is being gone through.
struct Level {
    status: Stat,
    /// Its name in the archive.
    path: Vec<u8>,
    /// Names not taken yet, the next one last.
    left: Vec<CString>,
}

struct Walking<'a, W: io::Write> {
    walk: &'a Walk,
    stream: TarStream<W>,
    /// The first name of everything but directories that has several, by device and inode.
    names: HashMap<(u64, u64), Vec<u8>>,
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
    warnings: Vec<String>,
    piece: Vec<u8>,
}

impl<W: io::Write> Walking<'_, W> {
    fn tree(&mut self) -> Result<()> {
        let walk = self.walk;
        // The tree itself may be named by a link; within it none is followed.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(&walk.root, flags, Mode::empty())
            .map_err(|error| self.failed("cannot open", error, &walk.name))?;
        let status = self.settled(&open, &walk.name)?;
        let device = status.st_dev;
        let open = Rc::new(open);
        let mut descent = Descent::new(Rc::clone(&open));
        let level = self.enter(&open, status, walk.name.clone())?;
        descent.enter(b".", open, &status, level);
        while let Some(level) = descent.own_mut() {
            let Some(name) = level.left.pop() else {
                let open = descent.innermost();
                let done = descent.leave().expect("it is the last");
                let open =
                    open.map_err(|error| self.failed("cannot look again at", error, &done.path))?;
                self.check_unchanged(&open, &done.status, &done.path)?;
                continue;
            };
            let path = [level.path.as_slice(), b"/", name.as_bytes()].concat();
            let within = path.get(walk.name.len() + 1..).unwrap_or_default();
            if walk.exclude.exclude(within) {
                continue;
            }
            let failed = |error| self.failed("cannot look at", error, &path);
            let parent = descent.innermost().map_err(failed)?;
            let parent = &*parent;
            let status = statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                    let (open, status) = self.open(parent, &name, flags, &status, &path)?;
                    let level = self.enter(&open, status, path)?;
                    if !walk.one_file_system || status.st_dev == device {
                        descent.enter(name.as_bytes(), Rc::new(open), &status, level);
                    }
                }
                _ if self.names_again(&status, &path)? => {}
                FileType::RegularFile => self.file(parent, &name, &status, path)?,
                FileType::Symlink => {
                    let link = readlinkat(parent, &name, Vec::new())
                        .map_err(|error| self.failed("cannot read the link", error, &path))?;
                    let link = link.into_bytes();
                    let member = self.described(MemberKind::Symlink, &status, path);
                    self.put_member(Member { link, ..member }, Beside::default())?;
                }
                FileType::Fifo => self.special(MemberKind::Fifo, &status, path)?,
                FileType::CharacterDevice => {
                    self.special(MemberKind::CharDevice, &status, path)?;
                }
                FileType::BlockDevice => self.special(MemberKind::BlockDevice, &status, path)?,
                _ => {
                    let name = self.shown(&path);
                    let what = "is a socket, which an archive can't hold: left out";
                    self.warnings.push(format!("{}: {what}", escape::shown(&name)));
                }
            }
        }
        Ok(())
    }

    /// What an open file or directory is, once any later write to it would show.
    fn settled(&self, open: &OwnedFd, path: &[u8]) -> Result<Stat> {
        settled(open).map_err(|error| match Errno::from_io_error(&error) {
            Some(error) => self.failed("cannot look at", error, path),
            None => self.changed("is being written to", path),
        })
    }

    /// Opens what a directory has under a name, and makes sure that it is what was looked at.
    fn open(
        &self,
        parent: &OwnedFd,
        name: &CString,
        flags: OFlags,
        status: &Stat,
        path: &[u8],
    ) -> Result<(OwnedFd, Stat)> {
        let failed = |error| self.failed("cannot open", error, path);
        let open = |flags: i32| {
            let flags = OFlags::from_bits_retain(flags as u32);
            let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
            Ok(openat(parent, name, flags, Mode::empty())?.into())
        };
        let open = open_promptly(open, flags.bits() as i32)
            .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let open = OwnedFd::from(open);
        let now = self.settled(&open, path)?;
        if identity(&now) == identity(status) {
            return Ok((open, now));
        }
        // Opening a place of an automounter has a file system mounted there, which looking at it
        // doesn't. A directory that took this one's place would be on the same one.
        if flags.contains(OFlags::DIRECTORY) && now.st_dev != status.st_dev {
            let again = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            if identity(&again) == identity(&now) {
                return Ok((open, now));
            }
        }
        Err(self.changed("was replaced while it was read", path))
    }

    /// Writes a directory's own header and reads the names in it.
    fn enter(&mut self, open: &OwnedFd, status: Stat, path: Vec<u8>) -> Result<Level> {
        let xattrs = xattrs::of(open, !self.walk.numeric_owner)
            .map_err(|error| self.failed("cannot read the attributes of", error, &path))?;
        let member = self.described(MemberKind::Directory, &status, path.clone());
        self.put_member(member, Beside { xattrs, ..Beside::default() })?;
        let failed = |error| self.failed("cannot list", error, &path);
        let mut left = Vec::new();
        for entry in Dir::read_from(open).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_owned();
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                left.push(name);
            }
        }
        if self.walk.sorted {
            left.sort_unstable();
        }
        left.reverse();
        Ok(Level { status, path, left })
    }

    /// Writes a hard link, if this is another name of what was packed already.
    fn names_again(&mut self, status: &Stat, path: &[u8]) -> Result<bool> {
        let kind = FileType::from_raw_mode(status.st_mode);
        if status.st_nlink < 2 || kind == FileType::Socket {
            return Ok(false);
        }
        let Some(first) = self.names.get(&identity(status)) else {
            self.names.insert(identity(status), path.to_vec());
            return Ok(false);
        };
        let link = first.clone();
        let member = self.described(MemberKind::HardLink, status, path.to_vec());
        self.put_member(Member { link, ..member }, Beside::default())?;
        Ok(true)
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        status: &Stat,
        path: Vec<u8>,
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let (open, before) = self.open(parent, name, flags, status, &path)?;
        let file = File::from(open);
        let failed = |what, error| self.failed(what, error, &path);
        let xattrs = xattrs::of(&file, !self.walk.numeric_owner)
            .map_err(|error| failed("cannot read the attributes of", error))?;
        let size = u64::try_from(before.st_size).unwrap_or(0);
        let sparse = u64::try_from(before.st_blocks).is_ok_and(|blocks| blocks * 512 < size);
        let pieces = match sparse {
            true => holes::data_pieces(&file, size)
                .map_err(|error| failed("cannot look for holes in", error))?,
            false => None,
        };
        let stored = pieces.as_ref().map_or(size, |all| all.iter().map(|(_, len)| len).sum());
        let member = self.described(MemberKind::Regular, &before, path.clone());
        let all = pieces.clone().unwrap_or_else(|| vec![(0, size)]);
        self.put_member(
            Member { size, stored, ..member },
            Beside { xattrs, pieces, ..Beside::default() },
        )?;
        for (offset, len) in all {
            self.bytes(&file, offset, len, &path)?;
        }
        self.stream.pad().map_err(closed)?;
        self.check_unchanged(&file, &before, &path)
    }

    /// Writes a piece of a file.
    fn bytes(&mut self, file: &File, mut offset: u64, len: u64, path: &[u8]) -> Result<()> {
        let end = offset + len;
        while offset < end {
            let step = (end - offset).min(PIECE_BYTES as u64) as usize;
            let read = match file.read_at(&mut self.piece[..step], offset) {
                Ok(0) => return Err(self.changed("shrank while it was read", path)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let error = Error::from_io(ErrorKind::Input, "cannot read", error);
                    return Err(error.at(self.shown(path)).offset(offset));
                }
            };
            self.stream.put(&self.piece[..read]).map_err(closed)?;
            offset += read as u64;
        }
        Ok(())
    }

    fn check_unchanged(
        &self,
        open: impl std::os::fd::AsFd,
        then: &Stat,
        path: &[u8],
    ) -> Result<()> {
        let now = fstat(open).map_err(|error| self.failed("cannot look again at", error, path))?;
        let change = status_of(then).change_to(&status_of(&now));
        change.map_or(Ok(()), |what| Err(self.changed(what, path)))
    }

    fn special(&mut self, kind: MemberKind, status: &Stat, path: Vec<u8>) -> Result<()> {
        let device = (rustix::fs::major(status.st_rdev), rustix::fs::minor(status.st_rdev));
        let member = self.described(kind, status, path);
        self.put_member(member, Beside { device, ..Beside::default() })
    }

    /// A member as its status has it.
    fn described(&self, kind: MemberKind, status: &Stat, path: Vec<u8>) -> Member {
        let own = (status.st_mtime, status.st_mtime_nsec as u32);
        let (mtime, mtime_ns) = when::archived(own, self.walk.mtime, self.walk.mtime_max);
        Member {
            kind,
            path,
            link: Vec::new(),
            mode: status.st_mode & 0o7777,
            uid: status.st_uid,
            gid: status.st_gid,
            mtime,
            mtime_ns,
            size: 0,
            stored: 0,
            header_offset: 0,
            data_offset: 0,
        }
    }

    /// Writes a member's headers, with the names of its owners.
    fn put_member(&mut self, member: Member, beside: Beside<'_>) -> Result<()> {
        let (uid, gid) = (member.uid, member.gid);
        let mut beside = beside;
        if !self.walk.numeric_owner {
            let user = |_: &u32| User::from_uid(Uid::from_raw(uid)).ok().flatten();
            let group = |_: &u32| Group::from_gid(Gid::from_raw(gid)).ok().flatten();
            let names = self.users.entry(uid).or_insert_with_key(|it| user(it).map(|it| it.name));
            beside.user = names.as_deref();
            let names = self.groups.entry(gid).or_insert_with_key(|it| group(it).map(|it| it.name));
            beside.group = names.as_deref();
        }
        let path = member.path.clone();
        self.stream.member(member, &beside).map_err(|error| match error.downcast::<Error>() {
            Ok(refused) => refused.at(shown(self.walk, &path)),
            Err(error) => closed(error),
        })
    }

    /// Where it stands, for people.
    fn shown(&self, path: &[u8]) -> PathBuf {
        shown(self.walk, path)
    }

    fn failed(&self, what: &'static str, error: Errno, path: &[u8]) -> Error {
        match error {
            Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::STALE if path != self.walk.name => {
                self.changed("vanished or was replaced while it was read", path)
            }
            error => Error::from_io(ErrorKind::Input, what, error.into()).at(self.shown(path)),
        }
    }

    fn changed(&self, what: impl Into<Cow<'static, str>>, path: &[u8]) -> Error {
        Error::new(ErrorKind::InputChanged, what)
            .at(self.shown(path))
            .hint("stop what writes to it, leave it out with --exclude, or pack a snapshot")
    }
}

fn shown(walk: &Walk, path: &[u8]) -> PathBuf {
    let within = path.get(walk.name.len() + 1..).unwrap_or_default();
    if within.is_empty() {
        return walk.root.clone();
    }
    walk.root.join(Path::new(OsStr::from_bytes(within)))
}

/// Nobody reads the stream any more: whoever did says why.
fn closed(error: io::Error) -> Error {
    Error::from_io(ErrorKind::OutputClosed, "the archive can't be written on", error)
}
