//! The files of a directory compared with the members of an archive.
//!
//! The archive is read as a stranger's, and the files by plain reads from their start to their end:
//! nothing of how a tree is packed has a part in it. In particular nobody asks where holes are,
//! which read as zeros.
//!
//! Compared are kinds, targets of links, numbers of devices and content; and unless only those are
//! asked for, also permissions, owners and extended attributes, and times of modification but of
//! directories, which change with any file that comes and goes. Files that the archive lacks are a
//! difference where it has the directory that they are in.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, Read, Seek};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ringpack::members::{Member, MemberKind};
use ringpack::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::select::Patterns;
use super::{acl, when, xattrs};
use crate::tar_stream::Xattr;
use crate::tar_stream::read::{Entry, TarReader};

/// Bytes of a file read at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Differences that are described; more are counted.
const DIFFERENCES_MAX: usize = 1000;

/// What is compared of a directory, and how.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The directory.
    pub(crate) root: PathBuf,
    /// Its name in the archive, where that is known.
    pub(crate) name: Option<Vec<u8>>,
    /// What was left out of the archive.
    pub(crate) exclude: Patterns,
    /// Whether directories on other file systems were left empty.
    pub(crate) one_file_system: bool,
    /// Whether permissions, owners, times and extended attributes are passed over.
    pub(crate) content_only: bool,
    /// Whether the archive has every extended attribute that the files have.
    pub(crate) all_xattrs: bool,
    /// The time of modification that everything has in the archive.
    pub(crate) mtime: Option<i64>,
    /// The latest that anything has in the archive.
    pub(crate) mtime_max: Option<i64>,
}

/// A comparison: what its threads share.
#[derive(Debug)]
pub(crate) struct Comparison {
    rules: Rules,
    /// The names before a member's own that stand for the directory.
    prefix: OnceLock<Option<Vec<u8>>>,
    keys: [RandomState; 2],
    found: Mutex<Found>,
}

/// A path as it is remembered: two hashes with keys of their own, which nobody can aim at.
type Key = [u64; 2];

#[derive(Debug, Default)]
struct Found {
    /// The members, by path; last where their headers begin.
    members: Vec<(Key, u64)>,
    directories: Vec<Vec<u8>>,
    differences: Vec<Difference>,
    described: usize,
}

/// A difference, of the member whose headers begin there.
#[derive(Debug)]
struct Difference {
    key: Key,
    header_offset: u64,
    error: Option<Error>,
}

/// What was found, once all was compared.
#[derive(Debug)]
pub(crate) struct Differences {
    /// The first of them, in the archive's order; what the archive lacks comes last.
    pub(crate) described: Vec<Error>,
    /// Number of all.
    pub(crate) count: u64,
}

impl Comparison {
    /// A comparison by these rules.
    pub(crate) fn new(rules: Rules) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self { rules, prefix: OnceLock::new(), keys, found: Mutex::default() }
    }

    /// Takes note of a member, before it is compared; in the archive's order.
    pub(crate) fn note(&self, member: &Member) {
        let prefix = self.prefix.get_or_init(|| self.rules.prefix(member));
        let Some(path) = within(&member.path, prefix.as_deref()) else { return };
        let mut found = self.found();
        found.members.push((self.key(&path), member.header_offset));
        if member.kind == MemberKind::Directory {
            found.directories.push(path);
        }
    }

    /// Looks for what the archive lacks, and gives what was found.
    ///
    /// # Errors
    /// `Input` where a directory can't be listed.
    pub(crate) fn end(self) -> Result<Differences> {
        let Found { mut members, directories, mut differences, .. } =
            std::mem::take(&mut *self.found());
        // Of several members of one name, the last is what is restored.
        members.sort_unstable();
        let last = |key: &Key| {
            let end = members.partition_point(|(other, _)| other <= key);
            end.checked_sub(1).map(|at| members[at]).filter(|(other, _)| other == key)
        };
        differences.retain(|found| {
            last(&found.key).is_none_or(|(_, offset)| offset == found.header_offset)
        });
        differences.sort_by_key(|found| found.header_offset);
        let mut count = differences.len() as u64;
        let mut described: Vec<Error> =
            differences.into_iter().filter_map(|found| found.error).collect();
        let mut files = Files::of(&self)?;
        let device = fstat(&*files.root).map(|status| status.st_dev);
        let mut listed = HashSet::new();
        for directory in directories {
            let key = self.key(&directory);
            if !listed.insert(key) {
                continue;
            }
            files.unknown(&directory, device.ok(), &mut |path| {
                if last(&self.key(path)).is_some() {
                    return;
                }
                count += 1;
                if described.len() < DIFFERENCES_MAX {
                    let error = Error::new(ErrorKind::Differs, "isn't in the archive");
                    described.push(error.at(self.rules.shown(path)));
                }
            })?;
        }
        Ok(Differences { described, count })
    }

    fn key(&self, path: &[u8]) -> Key {
        [self.keys[0].hash_one(path), self.keys[1].hash_one(path)]
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    /// The name in the archive that stands for the directory. A directory that all is packed below
    /// does, unless one of that name stands in this directory, which then is the one around it.
    fn prefix(&self, first: &Member) -> Option<Vec<u8>> {
        if self.name.is_some() {
            return self.name.clone();
        }
        let path = within(&first.path, None)?;
        if first.kind != MemberKind::Directory || path.is_empty() || path.contains(&b'/') {
            return None;
        }
        let name = Path::new(OsStr::from_bytes(&path));
        let is_own = fs::canonicalize(&self.root)
            .is_ok_and(|root| root.file_name() == Some(name.as_os_str()));
        (is_own || !self.root.join(name).is_dir()).then_some(path)
    }

    /// Where it stands, for people.
    fn shown(&self, path: &[u8]) -> PathBuf {
        match path.is_empty() {
            true => self.root.clone(),
            false => self.root.join(OsStr::from_bytes(path)),
        }
    }

    fn failed(&self, what: &'static str, error: impl Into<io::Error>, path: &[u8]) -> Error {
        Error::from_io(ErrorKind::Input, what, error.into()).at(self.shown(path))
    }
}

/// A member's path below the directory, of plain names; `None` if it lies outside.
fn within(path: &[u8], prefix: Option<&[u8]>) -> Option<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/');
    let mut names: Vec<&[u8]> = names.filter(|name| !name.is_empty() && *name != b".").collect();
    if names.contains(&&b".."[..]) {
        return None;
    }
    if let Some(prefix) = prefix.filter(|prefix| *prefix != b".") {
        if names.first() != Some(&prefix) {
            return None;
        }
        names.remove(0);
    }
    Some(names.join(&b'/'))
}

/// The files of the directory, as one thread reaches them.
pub(crate) struct Files<'a> {
    comparison: &'a Comparison,
    root: Rc<OwnedFd>,
    /// The directory reached last, by its path: members follow their siblings.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    piece: Vec<u8>,
}

/// A name in an open directory.
struct Place {
    parent: Rc<OwnedFd>,
    name: Vec<u8>,
}

impl<'a> Files<'a> {
    /// Opens the directory.
    ///
    /// # Errors
    /// `Input` where it can't be opened.
    pub(crate) fn of(comparison: &'a Comparison) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&comparison.rules.root, flags, Mode::empty())
            .map_err(|error| comparison.rules.failed("cannot open", error, b""))?;
        Ok(Self { comparison, root: Rc::new(root), last: None, piece: vec![0; PIECE_BYTES] })
    }

    /// Compares `range` of a member's bytes, and all else with the first of them.
    ///
    /// # Errors
    /// `Input` where the file can't be read, `InputChanged` where it changed meanwhile, and what
    /// keeps the archive from being read.
    pub(crate) fn compare<R: BufRead + Read + Seek>(
        &mut self,
        entry: &Entry,
        range: Range<u64>,
        archive: &mut TarReader<R>,
    ) -> Result<()> {
        let member = &entry.member;
        let prefix = self.comparison.prefix.get().and_then(|prefix| prefix.as_deref());
        let Some(path) = within(&member.path, prefix) else {
            let path = member.path.clone();
            self.differs(&path, member, None, "lies elsewhere in the archive".to_owned());
            return Ok(());
        };
        let Some((place, status)) = self.find(&path)? else {
            if range.start == 0 {
                self.differs(&path, member, None, "is missing".to_owned());
            }
            return Ok(());
        };
        if range.start == 0 {
            if member.kind == MemberKind::HardLink {
                return self.hard_link(&path, member, &status, prefix);
            }
            let (here, there) = (kind(&status), named(member.kind));
            if here != there {
                let what = format!("is {here} where the archive has {there}");
                self.differs(&path, member, None, what);
                return Ok(());
            }
            self.attributes(&path, entry, &status);
        }
        match member.kind {
            MemberKind::Regular if kind(&status) == named(member.kind) => {
                self.file(&path, entry, range, &place, archive)
            }
            MemberKind::Directory => self.xattrs(&path, entry, &place, OFlags::DIRECTORY),
            MemberKind::Symlink => {
                let link = readlinkat(&*place.parent, place.name.as_slice(), Vec::new());
                let link =
                    link.map_err(|error| self.failed("cannot read the link", error, &path))?;
                if link.as_bytes() != member.link {
                    let (here, there) = (link.to_string_lossy(), shown(&member.link));
                    let what = format!("leads to {here} where the archive has {there}");
                    self.differs(&path, member, None, what);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn attributes(&self, path: &[u8], entry: &Entry, status: &Stat) {
        let (member, rules) = (&entry.member, &self.comparison.rules);
        let device = (rustix::fs::major(status.st_rdev), rustix::fs::minor(status.st_rdev));
        let is_device = matches!(member.kind, MemberKind::CharDevice | MemberKind::BlockDevice);
        if is_device && device != entry.device {
            let (here, there) = (device, entry.device);
            let what = format!(
                "is device {}:{} where the archive has {}:{}",
                here.0, here.1, there.0, there.1
            );
            self.differs(path, member, None, what);
        }
        if rules.content_only {
            return;
        }
        let mode = status.st_mode & 0o7777;
        if member.kind != MemberKind::Symlink && mode != member.mode {
            let what = format!("has mode {mode:04o} where the archive has {:04o}", member.mode);
            self.differs(path, member, None, what);
        }
        if (status.st_uid, status.st_gid) != (member.uid, member.gid) {
            let (here, there) = ((status.st_uid, status.st_gid), (member.uid, member.gid));
            let what = format!(
                "belongs to {}:{} where the archive has {}:{}",
                here.0, here.1, there.0, there.1
            );
            self.differs(path, member, None, what);
        }
        let here = (status.st_mtime, status.st_mtime_nsec as u32);
        let (seconds, nanos) = when::archived(here, rules.mtime, rules.mtime_max);
        let there = (member.mtime, member.mtime_ns);
        // Many archives have no fractions of seconds.
        let is_same = seconds == there.0 && (nanos == there.1 || there.1 == 0);
        if member.kind != MemberKind::Directory && !is_same {
            let what = format!(
                "was modified at {} where the archive has {}",
                when::exactly(here.0, here.1),
                when::exactly(there.0, there.1)
            );
            self.differs(path, member, None, what);
        }
    }

    fn xattrs(&self, path: &[u8], entry: &Entry, place: &Place, flags: OFlags) -> Result<()> {
        if self.comparison.rules.content_only {
            return Ok(());
        }
        let file = self.open(path, place, flags)?;
        self.xattrs_of(path, entry, &file)
    }

    fn xattrs_of(&self, path: &[u8], entry: &Entry, file: &File) -> Result<()> {
        let rules = &self.comparison.rules;
        if rules.content_only {
            return Ok(());
        }
        let here = xattrs::of(file, false)
            .map_err(|error| self.failed("cannot read the attributes of", error, path))?;
        let (here, there) = (plain(&here), plain(&entry.xattrs));
        for (name, value) in &there {
            let what = match here.get(name) {
                None => format!("lacks the attribute {}", shown(name)),
                Some(found) if found != value => {
                    format!("has another value of the attribute {}", shown(name))
                }
                Some(_) => continue,
            };
            self.differs(path, &entry.member, None, what);
        }
        for name in here.keys().filter(|name| rules.all_xattrs && !there.contains_key(*name)) {
            let what = format!("has the attribute {}, which the archive lacks", shown(name));
            self.differs(path, &entry.member, None, what);
        }
        Ok(())
    }

    fn file<R: BufRead + Read + Seek>(
        &mut self,
        path: &[u8],
        entry: &Entry,
        range: Range<u64>,
        place: &Place,
        archive: &mut TarReader<R>,
    ) -> Result<()> {
        let file = self.open(path, place, OFlags::empty())?;
        let rules = &self.comparison.rules;
        let look = || fstat(&file).map_err(|error| rules.failed("cannot look at", error, path));
        let before = look()?;
        if range.start == 0 {
            self.xattrs_of(path, entry, &file)?;
        }
        let mut against =
            Against { file: &file, piece: &mut self.piece, at: range.start, first: None };
        let failed = |error: io::Error| rules.failed("cannot read", error, path);
        archive.bytes_within(entry, &range, &mut |offset, bytes| {
            against.zeros(offset).map_err(failed)?;
            against.bytes(bytes).map_err(failed)
        })?;
        against.zeros(range.end).map_err(failed)?;
        if range.end == entry.member.size && against.first.is_none() {
            against.end().map_err(failed)?;
        }
        let first = against.first;
        let after = look()?;
        let marks =
            |it: &Stat| (it.st_size, it.st_mtime, it.st_mtime_nsec, it.st_ctime, it.st_ctime_nsec);
        if marks(&after) != marks(&before) {
            let error = Error::new(ErrorKind::InputChanged, "changed while it was compared");
            return Err(error.at(rules.shown(path)));
        }
        if let Some((offset, what)) = first {
            self.differs(path, &entry.member, Some(offset), what);
        }
        Ok(())
    }

    /// Compares another name of a file: that it is the same file, or has the same content at least.
    fn hard_link(
        &mut self,
        path: &[u8],
        member: &Member,
        status: &Stat,
        prefix: Option<&[u8]>,
    ) -> Result<()> {
        let other = match within(&member.link, prefix) {
            Some(link) => self.find(&link)?.map(|(place, status)| (link, place, status)),
            None => None,
        };
        let differs = |this: &Self| {
            let what = format!("isn't another name of {}, as in the archive", shown(&member.link));
            this.differs(path, member, None, what);
        };
        let Some((link, place, of_link)) = other else {
            differs(self);
            return Ok(());
        };
        if (status.st_dev, status.st_ino) == (of_link.st_dev, of_link.st_ino) {
            return Ok(());
        }
        if !self.comparison.rules.content_only || kind(status) != kind(&of_link) {
            differs(self);
            return Ok(());
        }
        let Some((own, _)) = self.find(path)? else { return Ok(()) };
        if kind(status) != named(MemberKind::Regular) {
            // The first name was compared with the archive.
            let target = |it: &Place| readlinkat(&*it.parent, it.name.as_slice(), Vec::new()).ok();
            if status.st_rdev != of_link.st_rdev || target(&own) != target(&place) {
                differs(self);
            }
            return Ok(());
        }
        let file = self.open(path, &own, OFlags::empty())?;
        let mut linked = self.open(&link, &place, OFlags::empty())?;
        let rules = &self.comparison.rules;
        let failed = |error: io::Error| rules.failed("cannot read", error, path);
        let mut against = Against { file: &file, piece: &mut self.piece, at: 0, first: None };
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match linked.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => against.bytes(&piece[..read]).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(rules.failed("cannot read", error, &link)),
            }
        }
        if against.first.is_none() {
            against.end().map_err(failed)?;
        }
        if let Some((offset, what)) = against.first {
            self.differs(path, member, Some(offset), what);
        }
        Ok(())
    }

    /// What stands at a path, reached without following a link; `None` if nothing does.
    fn find(&mut self, path: &[u8]) -> Result<Option<(Place, Stat)>> {
        let (directory, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b""[..], if path.is_empty() { &b"."[..] } else { path }),
        };
        let found = self.parent(directory).and_then(|parent| {
            let status = statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok((Place { parent, name: name.to_vec() }, status))
        });
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            Err(error) => Err(self.failed("cannot look at", error, path)),
        }
    }

    fn parent(&mut self, path: &[u8]) -> rustix::io::Result<Rc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((_, open)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(Rc::clone(open));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut open = Rc::clone(&self.root);
        for name in path.split(|&byte| byte == b'/') {
            open = Rc::new(openat(&*open, name, flags, Mode::empty())?);
        }
        self.last = Some((path.to_vec(), Rc::clone(&open)));
        Ok(open)
    }

    fn open(&self, path: &[u8], place: &Place, flags: OFlags) -> Result<File> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        openat(&*place.parent, place.name.as_slice(), flags | OFlags::CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|error| self.failed("cannot open", error, path))
    }

    /// Gives the paths of what is in a directory and could be in the archive.
    fn unknown(
        &mut self,
        path: &[u8],
        device: Option<u64>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let rules = &self.comparison.rules;
        // What is no directory, or is missing, was told.
        let Some((place, status)) = self.find(path)? else { return Ok(()) };
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory
            || (rules.one_file_system && Some(status.st_dev) != device)
        {
            return Ok(());
        }
        let open = self.open(path, &place, OFlags::DIRECTORY)?;
        let failed = |error| self.failed("cannot list", error, path);
        let mut names = Vec::new();
        for entry in Dir::read_from(&open).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            // An archive can't hold a socket.
            if name != b"." && name != b".." && entry.file_type() != FileType::Socket {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        for name in names {
            let path = if path.is_empty() { name } else { [path, b"/", &name].concat() };
            if !rules.exclude.exclude(&path) {
                sink(&path);
            }
        }
        Ok(())
    }

    fn differs(&self, path: &[u8], member: &Member, offset: Option<u64>, what: String) {
        let mut found = self.comparison.found();
        let is_described = found.described < DIFFERENCES_MAX;
        found.described += usize::from(is_described);
        let error = is_described.then(|| {
            let error = Error::new(ErrorKind::Differs, what).at(self.comparison.rules.shown(path));
            offset.into_iter().fold(error, Error::offset)
        });
        let (key, header_offset) = (self.comparison.key(path), member.header_offset);
        found.differences.push(Difference { key, header_offset, error });
    }

    fn failed(&self, what: &'static str, error: Errno, path: &[u8]) -> Error {
        self.comparison.rules.failed(what, error, path)
    }
}

/// A file that is compared with bytes in order, up to the first difference.
struct Against<'a> {
    file: &'a File,
    piece: &'a mut Vec<u8>,
    at: u64,
    first: Option<(u64, String)>,
}

impl Against<'_> {
    /// Compares the next bytes.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        for expected in bytes.chunks(PIECE_BYTES) {
            if self.first.is_some() {
                return Ok(());
            }
            let read = read_full(self.file, &mut self.piece[..expected.len()], self.at)?;
            let found = &self.piece[..read];
            if found != expected {
                let differing = expected.iter().zip(found).position(|(there, here)| there != here);
                self.first = Some(match differing {
                    Some(at) => {
                        let (here, there) = (found[at], expected[at]);
                        let what = format!("has {here:02x} where the archive has {there:02x}");
                        (self.at + at as u64, what)
                    }
                    None => (self.at + read as u64, "ends where the archive goes on".to_owned()),
                });
            }
            self.at += expected.len() as u64;
        }
        Ok(())
    }

    /// Compares what comes up to `end` with zeros.
    fn zeros(&mut self, end: u64) -> io::Result<()> {
        static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];
        while self.at < end && self.first.is_none() {
            let len = (end - self.at).min(PIECE_BYTES as u64) as usize;
            self.bytes(&ZEROS[..len])?;
        }
        self.at = self.at.max(end);
        Ok(())
    }

    /// Looks whether the file ends here.
    fn end(&mut self) -> io::Result<()> {
        if read_full(self.file, &mut [0], self.at)? > 0 {
            self.first = Some((self.at, "goes on where the archive ends".to_owned()));
        }
        Ok(())
    }
}

fn read_full(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Attributes that are packed and restored, each ACL as the kernel has it. One that says no more
/// than the permissions do is none.
fn plain(xattrs: &[Xattr]) -> BTreeMap<&[u8], Cow<'_, [u8]>> {
    /// Of owner, group and others alone, behind a version.
    const LEAST_ACL_LEN: usize = 4 + 3 * 8;
    let mut plain = BTreeMap::new();
    for (name, value) in xattrs.iter().filter(|(name, _)| xattrs::is_restored(name, true)) {
        let mut value = Cow::Borrowed(value.as_slice());
        if xattrs::is_acl(name) {
            value = acl::of_kernel(&value).map_or(value, Cow::Owned);
            if value.len() == LEAST_ACL_LEN && name.ends_with(b"access") {
                continue;
            }
        }
        plain.insert(name.as_slice(), value);
    }
    plain
}

fn kind(status: &Stat) -> &'static str {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => named(MemberKind::Regular),
        FileType::Directory => named(MemberKind::Directory),
        FileType::Symlink => named(MemberKind::Symlink),
        FileType::Fifo => named(MemberKind::Fifo),
        FileType::CharacterDevice => named(MemberKind::CharDevice),
        FileType::BlockDevice => named(MemberKind::BlockDevice),
        _ => "a socket",
    }
}

fn named(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Regular | MemberKind::HardLink => "a file",
        MemberKind::Directory => "a directory",
        MemberKind::Symlink => "a link",
        MemberKind::Fifo => "a FIFO",
        MemberKind::CharDevice => "a character device",
        MemberKind::BlockDevice => "a block device",
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_path_is_taken_below_the_directory() {
        for (path, prefix, expected) in [
            ("data", Some("data"), Some("")),
            ("data/a", Some("data"), Some("a")),
            ("./data//a/./b/", Some("data"), Some("a/b")),
            ("other/a", Some("data"), None),
            ("data/../a", Some("data"), None),
            ("a/b", None, Some("a/b")),
            (".", None, Some("")),
            ("./a", Some("."), Some("a")),
            ("/a", None, Some("a")),
        ] {
            let found = within(path.as_bytes(), prefix.map(str::as_bytes));
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{path} {prefix:?}");
        }
    }
}
