//! The one shared state of a simulated disk: inodes, names, descriptors, faults and the trace.
//!
//! Everything here runs under the disk's lock. Results carry bare error numbers, as the kernel's
//! own do; the traits' side makes `io::Error`s of them. Reads and writes are in `transfer`.
//!
//! # Invariants
//! - S9: an inode lives exactly as long as a name, a change of names that a power cut may bring
//!   back, an open descriptor or a dead process's write in flight leads to it.
//! - S10: a lock belongs to an open file description, and ends with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::SimOptions;
use super::content::Run;
use super::faults::{Synced, Tallies};
use super::inode::{Change, Inode, Metadata};
use super::names::Names;
use super::random::Random;
use crate::ring::file::{FileKind, Replace, Status};

/// A result as the kernel gives it: a value or an error number.
pub(super) type Sys<T> = Result<T, i32>;

/// An open file description.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) inode: u64,
    pub(super) writable: bool,
    pub(super) direct: bool,
}

/// A folder: its own number, and its names.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    identity: u64,
    pub(super) names: Names,
}

/// The state.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) options: SimOptions,
    pub(super) random: Random,
    pub(super) trace: Vec<String>,
    /// Calls made so far: of all kinds, and by what faults are counted by.
    pub(super) steps: u64,
    pub(super) tallies: Tallies,
    /// Whether the last small transfer was cut short.
    pub(super) cut_small: bool,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) folders: BTreeMap<PathBuf, Folder>,
    pub(super) descriptions: BTreeMap<i32, Description>,
    /// Writes in flight of processes that are dead: inode and id.
    pub(super) stragglers: Vec<(u64, u64)>,
    /// Counts what must never be the same twice: inodes, writes in flight, the clock's ticks.
    pub(super) numbers: u64,
    pub(super) next_descriptor: i32,
}

/// Paths are taken from the root, whether or not they begin with it.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

fn text(name: &OsStr) -> std::borrow::Cow<'_, str> {
    name.to_string_lossy()
}

impl State {
    pub(super) fn new(seed: u64, options: SimOptions) -> Self {
        let mut state = Self {
            options,
            random: Random::new(seed),
            trace: Vec::new(),
            steps: 0,
            tallies: Tallies::default(),
            cut_small: false,
            inodes: BTreeMap::new(),
            folders: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            stragglers: Vec::new(),
            numbers: 0,
            next_descriptor: 3,
        };
        state.make_folders(Path::new(""));
        state
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The simulated time: each change happens a second after the one before.
    pub(super) fn now(&mut self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + self.number())
    }

    /// Notes a call in the trace, with the error number if it failed.
    pub(super) fn traced<T>(&mut self, call: String, result: Sys<T>) -> Sys<T> {
        self.trace.push(match result {
            Ok(_) => call,
            Err(errno) => format!("{call} errno {errno}"),
        });
        result
    }

    /// Makes a folder and those above it, durable at once.
    pub(super) fn make_folders(&mut self, path: &Path) {
        for path in path.ancestors() {
            if !self.is_folder(path) {
                let folder = Folder { identity: self.number(), names: Names::default() };
                self.folders.insert(path.to_owned(), folder);
            }
        }
    }

    pub(super) fn is_folder(&self, path: &Path) -> bool {
        self.folders.contains_key(path)
    }

    /// The names in a folder that exists: folders are never removed.
    pub(super) fn names(&self, folder: &Path) -> &Names {
        &self.folders[folder].names
    }

    /// Files and folders in a folder that exists.
    pub(super) fn list(&self, folder: &Path) -> Vec<OsString> {
        let folders = self.folders.keys().filter(|path| path.parent() == Some(folder));
        let folders = folders.filter_map(|path| path.file_name()).map(OsStr::to_owned);
        self.names(folder).list().into_iter().chain(folders).collect()
    }

    fn names_mut(&mut self, folder: &Path) -> &mut Names {
        &mut self.folders.get_mut(folder).expect("folders are never removed").names
    }

    /// The inode that a path leads to.
    pub(super) fn look_up(&self, folder: &Path, name: &OsStr) -> Sys<u64> {
        assert!(Path::new(name).components().count() == 1, "{name:?} is no single name");
        if self.is_folder(&folder.join(name)) {
            return Err(libc::EISDIR);
        }
        let folder = self.folders.get(folder).ok_or(libc::ENOENT)?;
        folder.names.get(name).ok_or(libc::ENOENT)
    }

    fn add_inode(&mut self, name: OsString) -> u64 {
        let modified = self.now();
        let number = self.number();
        // Unlike that of any other file of this disk, or of another that is left of it.
        let drawn = self.random.clone().next() ^ Random::new(number).next();
        let born = SystemTime::UNIX_EPOCH + Duration::from_nanos(drawn >> 2);
        let metadata = Metadata { mode: 0o600, uid: 0, gid: 0, modified, born };
        self.inodes.insert(number, Inode::new(name, metadata));
        number
    }

    pub(super) fn create(&mut self, folder: &Path, name: &OsStr) -> Sys<u64> {
        let result = self.count_name().and_then(|()| match self.look_up(folder, name) {
            Err(libc::ENOENT) => Ok(self.add_inode(name.into())),
            Err(_) | Ok(_) => Err(libc::EEXIST),
        });
        if let Ok(inode) = result {
            self.names_mut(folder).create(name, inode);
        }
        self.traced(format!("create {}", text(name)), result)
    }

    /// A file without a name.
    pub(super) fn create_nameless(&mut self) -> Sys<u64> {
        self.count_name()?;
        Ok(self.add_inode("(scratch)".into()))
    }

    /// Puts a file there, durable at once, in place of what has the name.
    pub(super) fn place(&mut self, folder: &Path, name: &OsStr, bytes: &[u8]) {
        assert!(!self.is_folder(&folder.join(name)), "a folder has the name");
        let number = self.add_inode(name.into());
        let inode = self.inode_mut(number);
        inode.change(Change::Write(Run::new(0, bytes)));
        inode.sync(true);
        self.names_mut(folder).place(name, number);
        self.collect();
    }

    /// Gives a file that is there other bytes, durable at once.
    pub(super) fn rewrite(&mut self, folder: &Path, name: &OsStr, bytes: &[u8]) {
        let number = self.look_up(folder, name).expect("the file is there");
        let mut inode = Inode::new(name.into(), self.inode(number).metadata);
        inode.change(Change::Write(Run::new(0, bytes)));
        inode.sync(true);
        self.inodes.insert(number, inode);
    }

    pub(super) fn rename(
        &mut self,
        folder: &Path,
        from: &OsStr,
        to: &OsStr,
        replace: Replace,
    ) -> Sys<()> {
        let found = self.count_name().and_then(|()| self.look_up(folder, from));
        let result = found.and_then(|inode| {
            match self.look_up(folder, to) {
                Ok(_) if replace == Replace::Never => return Err(libc::EEXIST),
                Err(libc::EISDIR) if replace == Replace::Never => return Err(libc::EEXIST),
                Err(libc::EISDIR) => return Err(libc::EISDIR),
                Ok(_) | Err(_) => {}
            }
            self.names_mut(folder).rename(from, to, inode);
            self.inode_mut(inode).name = to.into();
            Ok(())
        });
        self.collect();
        self.traced(format!("rename {} {}", text(from), text(to)), result)
    }

    pub(super) fn unlink(&mut self, folder: &Path, name: &OsStr) -> Sys<()> {
        let found = self.count_name().and_then(|()| self.look_up(folder, name));
        let result = found.map(|inode| self.names_mut(folder).unlink(name, inode));
        self.collect();
        self.traced(format!("unlink {}", text(name)), result)
    }

    pub(super) fn sync_folder(&mut self, folder: &Path) -> Sys<()> {
        let result = self.count_sync(Synced::Directory);
        match result {
            Ok(()) => self.names_mut(folder).sync(),
            Err(_) => self.names_mut(folder).fail_sync(),
        }
        self.collect();
        self.traced(format!("sync /{}", folder.to_string_lossy()), result)
    }

    pub(super) fn sync_file(&mut self, descriptor: i32, all: bool) -> Sys<()> {
        let result = self.count_sync(Synced::File);
        let inode = self.inode_of(descriptor);
        match result {
            Ok(()) => inode.sync(all),
            Err(_) => inode.fail_sync(),
        }
        let call = if all { "sync_all" } else { "sync_data" };
        let call = format!("{call} {}", text(&inode.name));
        self.traced(call, result)
    }

    /// Makes a change to a file that takes effect at once, noted as `call`.
    pub(super) fn change(&mut self, descriptor: i32, call: &str, change: Change) -> Sys<()> {
        let refused = match change {
            // As ftruncate says it.
            Change::SetLen(_) => libc::EINVAL,
            Change::Write(_) | Change::Allocate { .. } | Change::Punch { .. } => libc::EBADF,
        };
        let (noted, end, needed) = match change {
            Change::SetLen(len) => (format!("{len}"), len, 0),
            Change::Punch { offset, len } => {
                (format!("{offset} {len}"), offset.saturating_add(len), 0)
            }
            Change::Allocate { offset, len } => {
                let end = offset.saturating_add(len);
                let len_checked = if end > i64::MAX as u64 { 0 } else { len };
                let content = self.inode_of(descriptor).content();
                (format!("{offset} {len}"), end, content.missing(offset, len_checked))
            }
            Change::Write(_) => unreachable!("writes are issued and land"),
        };
        let result = if !self.description(descriptor).writable {
            Err(refused)
        } else if end > i64::MAX as u64 {
            Err(libc::EFBIG)
        } else if needed > self.free_bytes() {
            self.take_what_fits(descriptor, change);
            Err(libc::ENOSPC)
        } else {
            let modified = self.now();
            let inode = self.inode_of(descriptor);
            inode.change(change);
            inode.metadata.modified = modified;
            Ok(())
        };
        let name = self.inode_of(descriptor).name.clone();
        self.traced(format!("{call} {} {noted}", text(&name)), result)
    }

    /// An allocation that fails keeps what it took until then, as on ext4.
    fn take_what_fits(&mut self, descriptor: i32, change: Change) {
        let Change::Allocate { offset, len } = change else { return };
        let free = self.free_bytes();
        let inode = self.inode_of(descriptor);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let fits = inode.content().fitting(offset, len, free) as u64;
        if fits > 0 {
            inode.change(Change::Allocate { offset, len: fits });
        }
    }

    /// Bytes that can still be allocated.
    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.options.capacity else {
            return u64::MAX;
        };
        let used: u64 = self.inodes.values().map(|inode| inode.content().allocated()).sum();
        capacity.saturating_sub(used)
    }

    /// Opens an inode.
    pub(super) fn open(&mut self, inode: u64, writable: bool, direct: bool) -> i32 {
        let served = self.options.direct || self.options.einval_direct;
        let descriptor = self.next_descriptor;
        self.next_descriptor += 1;
        let description = Description { inode, writable, direct: direct && served };
        self.descriptions.insert(descriptor, description);
        descriptor
    }

    pub(super) fn close(&mut self, descriptor: i32) {
        let inode = self.description(descriptor).inode;
        self.descriptions.remove(&descriptor);
        let inode = self.inode_mut(inode);
        if inode.locked_by == Some(descriptor) {
            // S10: the lock goes with the description.
            inode.locked_by = None;
        }
        self.collect();
    }

    pub(super) fn try_lock(&mut self, descriptor: i32) -> bool {
        let holder = &mut self.inode_of(descriptor).locked_by;
        let taken = *holder.get_or_insert(descriptor) == descriptor;
        if !taken {
            let inode = self.description(descriptor).inode;
            self.land_straggler_of(inode);
        }
        taken
    }

    pub(super) fn is_open(&self, descriptor: i32) -> bool {
        self.descriptions.contains_key(&descriptor)
    }

    pub(super) fn description(&mut self, descriptor: i32) -> &mut Description {
        self.descriptions.get_mut(&descriptor).expect("the descriptor is open on this disk")
    }

    pub(super) fn inode_of(&mut self, descriptor: i32) -> &mut Inode {
        let inode = self.description(descriptor).inode;
        self.inode_mut(inode)
    }

    pub(super) fn inode(&self, number: u64) -> &Inode {
        &self.inodes[&number]
    }

    pub(super) fn inode_mut(&mut self, number: u64) -> &mut Inode {
        // S9: whoever has a number has it from a name or a descriptor.
        self.inodes.get_mut(&number).expect("a name or a descriptor leads to it")
    }

    pub(super) fn status(&self, number: u64) -> Status {
        let inode = self.inode(number);
        Status {
            kind: FileKind::Regular,
            len: inode.content().len(),
            allocated: inode.content().allocated(),
            mode: inode.metadata.mode,
            uid: inode.metadata.uid,
            gid: inode.metadata.gid,
            modified: inode.metadata.modified,
            identity: (1, number),
            links: 1,
            changed: inode.metadata.modified,
        }
    }

    pub(super) fn folder_status(&self, path: &Path) -> Status {
        Status {
            kind: FileKind::Directory,
            len: 0,
            allocated: 0,
            mode: 0o755,
            uid: 0,
            gid: 0,
            modified: SystemTime::UNIX_EPOCH,
            identity: (1, self.folders[path].identity),
            links: 2,
            changed: SystemTime::UNIX_EPOCH,
        }
    }

    /// Drops the inodes that nothing leads to.
    pub(super) fn collect(&mut self) {
        let named = self.folders.values().flat_map(|folder| folder.names.inodes());
        let opened = self.descriptions.values().map(|description| description.inode);
        let straggled = self.stragglers.iter().map(|&(inode, _)| inode);
        let reached: BTreeSet<u64> = named.chain(opened).chain(straggled).collect();
        // S9: exactly those are left.
        self.inodes.retain(|number, _| reached.contains(number));
    }
}
