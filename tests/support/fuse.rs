//! A file system in user space over a folder, with faults to order: reads that fail or end early,
//! and calls that a file system may lack.
//!
//! Every request goes through to a folder of its own. The kernel keeps nothing of the answers, and
//! keeps the locks itself.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    Session, TimeOrNow, WriteFlags,
};

use crate::{is_root, skip};

/// How a file system behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Behaviour {
    /// Files opened from now on go past the page cache (`FOPEN_DIRECT_IO`): each read of a program
    /// becomes requests, and their answers are the program's.
    pub direct_io: bool,
    /// How reads go.
    pub reads: Transfers,
    /// How writes go.
    pub writes: Transfers,
    /// It knows no flags of `renameat2`. Hard links it never knows.
    pub no_rename_flags: bool,
    /// What renaming fails with.
    pub renames: Option<Refusal>,
    /// What syncing a directory fails with.
    pub directory_sync: Option<Refusal>,
}

/// An error number, by the name of what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `EINVAL`: there is no such call on such a file.
    Invalid,
    /// `EIO`.
    Failed,
}

impl Refusal {
    fn errno(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Invalid => nix::libc::EINVAL,
            Self::Failed => nix::libc::EIO,
        })
    }
}

/// How reads or writes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transfers {
    /// All well.
    #[default]
    Whole,
    /// Those that reach the byte at this offset fail with `EIO`.
    FailAt(u64),
    /// Those that begin before this offset end there.
    EndAt(u64),
}

impl Transfers {
    /// How many bytes of `len` at `offset` are moved.
    fn moves(self, offset: u64, len: u64) -> io::Result<u64> {
        match self {
            Self::FailAt(at) if (offset..offset + len).contains(&at) => {
                Err(io::Error::from_raw_os_error(nix::libc::EIO))
            }
            Self::EndAt(at) if offset < at => Ok(len.min(at - offset)),
            _ => Ok(len),
        }
    }
}

/// A mounted file system, gone when dropped.
#[derive(Debug)]
pub struct FuseMount {
    session: Option<BackgroundSession>,
    behaviour: Arc<Mutex<Behaviour>>,
    folders: tempfile::TempDir,
}

impl FuseMount {
    /// Mounts a file system over an empty folder. Where the machine can't, it says that `test` is
    /// skipped, and there is none.
    ///
    /// # Panics
    /// Where no folder for it can be made.
    #[must_use]
    pub fn new(test: &str, behaviour: Behaviour) -> Option<Self> {
        if !is_root() || !Path::new("/dev/fuse").exists() {
            skip(test, "a file system in user space needs root and /dev/fuse");
            return None;
        }
        let folders = tempfile::tempdir().expect("a temporary folder");
        let (below, mounted) = (folders.path().join("below"), folders.path().join("mounted"));
        for folder in [&below, &mounted] {
            fs::create_dir(folder).expect("a folder");
        }
        let behaviour = Arc::new(Mutex::new(behaviour));
        let server = Server::new(below, Arc::clone(&behaviour));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("ringpack-tests".to_owned())];
        let session = match Session::new(server, &mounted, &config).and_then(Session::spawn) {
            Ok(session) => Some(session),
            Err(why) => {
                skip(test, &format!("a file system in user space can't be mounted: {why}"));
                return None;
            }
        };
        Some(Self { session, behaviour, folders })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folders.path().join("mounted")
    }

    /// The folder below it: the same files, without faults.
    #[must_use]
    pub fn below(&self) -> PathBuf {
        self.folders.path().join("below")
    }

    /// From now on it behaves like this.
    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.behaviour) = behaviour;
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let unmount = |lazily: &[&str]| {
            let mut command = Command::new("umount");
            command.args(lazily).arg(self.path());
            command.output().is_ok_and(|output| output.status.success())
        };
        if unmount(&[]) {
            drop(session.join());
        } else if !unmount(&["-l"]) {
            eprintln!("cannot unmount {}", self.path().display());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the kernel may believe an answer: not at all.
const AT_ONCE: Duration = Duration::ZERO;

struct Server {
    below: PathBuf,
    behaviour: Arc<Mutex<Behaviour>>,
    state: Mutex<State>,
}

/// What nodes and handles stand for.
#[derive(Default)]
struct State {
    /// Where the node of each number is, the root's being 1; nowhere once it is removed.
    paths: Vec<Option<PathBuf>>,
    open: HashMap<u64, (INodeNo, Arc<fs::File>)>,
    handles: u64,
}

impl State {
    fn path(&self, node: INodeNo) -> io::Result<&Path> {
        let path = usize::try_from(node.0 - 1).ok().and_then(|at| self.paths.get(at)?.as_deref());
        path.ok_or_else(|| io::Error::from_raw_os_error(nix::libc::ENOENT))
    }

    /// The node at a path, numbered if it wasn't yet.
    fn node(&mut self, path: &Path) -> INodeNo {
        let known = self.paths.iter().position(|known| known.as_deref() == Some(path));
        let at = known.unwrap_or_else(|| {
            self.paths.push(Some(path.to_owned()));
            self.paths.len() - 1
        });
        INodeNo(at as u64 + 1)
    }

    fn forget(&mut self, path: &Path) {
        self.paths.iter_mut().filter(|known| known.as_deref() == Some(path)).for_each(|known| {
            *known = None;
        });
    }

    fn moved(&mut self, from: &Path, to: &Path) {
        self.forget(to);
        for path in self.paths.iter_mut().flatten() {
            if let Ok(rest) = path.strip_prefix(from) {
                *path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }

    fn opened(&mut self, node: INodeNo, file: fs::File) -> FileHandle {
        self.handles += 1;
        self.open.insert(self.handles, (node, Arc::new(file)));
        FileHandle(self.handles)
    }

    /// The file of a handle, or any that is open of a node.
    fn file(&self, node: INodeNo, handle: Option<FileHandle>) -> Option<Arc<fs::File>> {
        let by_handle = handle.and_then(|handle| self.open.get(&handle.0));
        let found = by_handle.or_else(|| self.open.values().find(|(of, _)| *of == node));
        found.map(|(_, file)| Arc::clone(file))
    }
}

fn kind(metadata: &fs::Metadata) -> FileType {
    if metadata.is_dir() { FileType::Directory } else { FileType::RegularFile }
}

impl Server {
    fn new(below: PathBuf, behaviour: Arc<Mutex<Behaviour>>) -> Self {
        let state = State { paths: vec![Some(below.clone())], ..State::default() };
        Self { below, behaviour, state: Mutex::new(state) }
    }

    fn behaviour(&self) -> Behaviour {
        *locked(&self.behaviour)
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        Ok(locked(&self.state).path(parent)?.join(name))
    }

    fn attributes(&self, node: INodeNo) -> io::Result<FileAttr> {
        let state = locked(&self.state);
        let metadata = match (state.path(node), state.file(node, None)) {
            (Ok(path), _) => fs::symlink_metadata(path)?,
            // Removed, and still open.
            (Err(_), Some(file)) => file.metadata()?,
            (Err(error), None) => return Err(error),
        };
        let changed = UNIX_EPOCH
            + Duration::new(metadata.ctime().unsigned_abs(), metadata.ctime_nsec() as u32);
        Ok(FileAttr {
            ino: node,
            size: metadata.len(),
            blocks: metadata.blocks(),
            atime: metadata.accessed()?,
            mtime: metadata.modified()?,
            ctime: changed,
            crtime: changed,
            kind: kind(&metadata),
            perm: (metadata.mode() & 0o7777) as u16,
            nlink: metadata.nlink() as u32,
            uid: metadata.uid(),
            gid: metadata.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn entry(&self, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let path = self.child(parent, name)?;
        fs::symlink_metadata(&path)?;
        let node = locked(&self.state).node(&path);
        self.attributes(node)
    }

    fn opened(&self, node: INodeNo, file: fs::File) -> (FileHandle, FopenFlags) {
        let direct = self.behaviour().direct_io;
        let flags = if direct { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() };
        (locked(&self.state).opened(node, file), flags)
    }

    fn file(&self, node: INodeNo, handle: FileHandle) -> io::Result<Arc<fs::File>> {
        let file = locked(&self.state).file(node, Some(handle));
        file.ok_or_else(|| io::Error::from_raw_os_error(nix::libc::EBADF))
    }

    fn read(&self, file: &fs::File, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let len = self.behaviour().reads.moves(offset, len.into())?;
        let mut bytes = vec![0; len as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
        let behaviour = self.behaviour();
        if !flags.is_empty() && behaviour.no_rename_flags {
            return Err(Refusal::Invalid.errno());
        }
        if let Some(refusal) = behaviour.renames {
            return Err(refusal.errno());
        }
        if flags.contains(RenameFlags::RENAME_NOREPLACE) && fs::symlink_metadata(to).is_ok() {
            return Err(io::Error::from_raw_os_error(nix::libc::EEXIST));
        }
        fs::rename(from, to)?;
        locked(&self.state).moved(from, to);
        Ok(())
    }

    fn set_attributes(
        &self,
        node: INodeNo,
        mode: Option<u32>,
        owner: (Option<u32>, Option<u32>),
        size: Option<u64>,
        modified: Option<TimeOrNow>,
    ) -> io::Result<()> {
        let (path, file) = {
            let state = locked(&self.state);
            (state.path(node).map(Path::to_owned), state.file(node, None))
        };
        let file = match (file, path) {
            (Some(file), _) => file,
            (None, Ok(path)) => Arc::new(fs::File::options().read(true).open(path)?),
            (None, Err(error)) => return Err(error),
        };
        if let Some(mode) = mode {
            file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
        }
        if owner != (None, None) {
            std::os::unix::fs::fchown(&file, owner.0, owner.1)?;
        }
        if let Some(size) = size {
            file.set_len(size)?;
        }
        match modified {
            Some(TimeOrNow::SpecificTime(time)) => file.set_modified(time),
            Some(TimeOrNow::Now) => file.set_modified(SystemTime::now()),
            None => Ok(()),
        }
    }
}

/// Gives the answer, or the error.
macro_rules! answer {
    ($reply:ident, $result:expr, $good:expr) => {
        match $result {
            Ok(value) => $good(value),
            Err(error) => $reply.error(Errno::from(error)),
        }
    };
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(reply, self.entry(parent, name), |it| reply.entry(&AT_ONCE, &it, Generation(0)));
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.attributes(node), |it| reply.attr(&AT_ONCE, &it));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = self.set_attributes(node, mode, (uid, gid), size, modified);
        answer!(reply, set.and_then(|()| self.attributes(node)), |it| reply.attr(&AT_ONCE, &it));
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.child(parent, name).and_then(|path| {
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & !umask))?;
            self.entry(parent, name)
        });
        answer!(reply, made, |it| reply.entry(&AT_ONCE, &it, Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gone = self.child(parent, name).and_then(|path| {
            fs::remove_file(&path)?;
            locked(&self.state).forget(&path);
            Ok(())
        });
        answer!(reply, gone, |()| reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gone = self.child(parent, name).and_then(|path| {
            fs::remove_dir(&path)?;
            locked(&self.state).forget(&path);
            Ok(())
        });
        answer!(reply, gone, |()| reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.child(parent, name).and_then(|from| {
            let to = self.child(new_parent, new_name)?;
            self.rename(&from, &to, flags)
        });
        answer!(reply, renamed, |()| reply.ok());
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let path = locked(&self.state).path(node).map(Path::to_owned);
        // The kernel has checked what may be done with it.
        let opened = path.and_then(|path| fs::File::options().read(true).write(true).open(path));
        answer!(reply, opened, |file| {
            let (handle, flags) = self.opened(node, file);
            reply.opened(handle, flags);
        });
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let created = self.child(parent, name).and_then(|path| {
            let mut options = fs::File::options();
            options.read(true).write(true).create_new(true).mode(mode & !umask);
            let file = options.open(path)?;
            Ok((file, self.entry(parent, name)?))
        });
        answer!(reply, created, |(file, it): (fs::File, FileAttr)| {
            let (handle, flags) = self.opened(it.ino, file);
            reply.created(&AT_ONCE, &it, Generation(0), handle, flags);
        });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        locked(&self.state).open.remove(&handle.0);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.file(node, handle).and_then(|file| Self::read(self, &file, offset, size));
        answer!(reply, read, |bytes: Vec<u8>| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.file(node, handle).and_then(|file| {
            let len = self.behaviour().writes.moves(offset, data.len() as u64)?;
            file.write_all_at(&data[..len as usize], offset)?;
            Ok(len as u32)
        });
        answer!(reply, written, |len| reply.written(len));
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // What is here needs to outlive no power cut.
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.behaviour().directory_sync {
            None => reply.ok(),
            Some(refusal) => reply.error(Errno::from(refusal.errno())),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(locked(&self.state).path(node)?)? {
                let entry = entry?;
                names.push((entry.file_name(), kind(&entry.metadata()?)));
            }
            names.sort_by(|a, b| a.0.cmp(&b.0));
            io::Result::Ok(names)
        };
        answer!(reply, listed(), |names: Vec<_>| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            for (at, (name, kind)) in names.iter().enumerate().skip(from) {
                // The number is asked for anew when the name is looked up.
                if reply.add(INodeNo(u64::MAX), at as u64 + 1, *kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let told = rustix::fs::statvfs(&self.below).map_err(io::Error::from);
        answer!(reply, told, |it: rustix::fs::StatVfs| reply.statfs(
            it.f_blocks,
            it.f_bfree,
            it.f_bavail,
            it.f_files,
            it.f_ffree,
            it.f_bsize as u32,
            it.f_namemax as u32,
            it.f_frsize as u32,
        ));
    }
}
