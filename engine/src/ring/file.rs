//! Files, directories and the disk they are on, as far as a job needs them.
//!
//! These calls are made once a job, or once every few hundred MiB, by one thread; reads and writes
//! of extents go through a [`Backend`] instead. Everything that a crash could leave half done is
//! behind these traits, so that the simulator sees every step of it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Backend, BackendConfig, BackendKind};
use crate::planted::{self, Bug};

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A block device.
    BlockDevice,
    /// A pipe, a socket or a terminal: bytes that come once, in order.
    Stream,
    /// A directory.
    Directory,
}

/// Identity and attributes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Status {
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes; of a block device, its capacity; 0 for a stream.
    pub len: u64,
    /// Bytes allocated for it.
    pub allocated: u64,
    /// Permission bits, set-id and sticky bits left out. Those of an open file with an ACL are what
    /// the owning group has by it, not the ACL's mask.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub modified: SystemTime,
    /// Device and inode number.
    pub identity: (u64, u64),
    /// Names that lead to it.
    pub links: u64,
    /// Time of the last change to its content or attributes, which no call sets back.
    pub changed: SystemTime,
}

impl Status {
    /// In what way the file is another now, as a message has it, where `self` is what it was and
    /// `now` what it is; `None` where nobody wrote to it.
    ///
    /// The time of the last change counts beside that of the last modification, which whoever may
    /// write may also set back. A change of attributes or links moves it too, and can't be told
    /// from a hidden write.
    #[must_use]
    pub fn change_to(&self, now: &Self) -> Option<String> {
        let (then_len, now_len) = (self.len, now.len);
        if now_len < then_len {
            return Some(format!("shrank from {then_len} to {now_len} bytes while it was read"));
        }
        if now_len > then_len {
            return Some(format!("grew from {then_len} to {now_len} bytes while it was read"));
        }
        match self.kind {
            // The times of a device's node say nothing of the device's content.
            FileKind::BlockDevice | FileKind::Stream => None,
            _ if now.modified != self.modified => {
                Some("was written to while it was read".to_owned())
            }
            _ if now.changed != self.changed && !planted::is(Bug::ChangeTimeIgnored) => {
                let what = "was changed while it was read: its time of change (ctime) differs";
                Some(what.to_owned())
            }
            _ => None,
        }
    }
}

/// Attributes that a finished file takes over.
///
/// ```
/// use ringpack::Attributes;
/// use ringpack::write::{ContainerWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.zst");
/// let for_the_owner = Attributes { mode: 0o600, owner: None, modified: None };
/// ContainerWriter::create(&path, &WriteOptions::default())?.finalize(for_the_owner)?;
/// # use std::os::unix::fs::PermissionsExt;
/// # assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner and group, where they are to be changed.
    pub owner: Option<(u32, u32)>,
    /// Time of last modification, where it is to be set.
    pub modified: Option<SystemTime>,
}

/// An open file, shared by all threads of a job: one open file description, and so one lock.
pub trait File: Send + Sync + fmt::Debug {
    /// The descriptor that a backend of the same disk knows the file by.
    fn descriptor(&self) -> i32;

    /// Another descriptor of the same open file, lock and all, for a runtime with a ring of its
    /// own.
    ///
    /// # Errors
    /// As `dup`; `Unsupported` where the disk is none of the system's.
    fn share(&self) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Identity and attributes as they are now.
    ///
    /// # Errors
    /// As `fstat`.
    fn status(&self) -> io::Result<Status>;

    /// When it was created, if the file system says so.
    ///
    /// # Errors
    /// As `statx`.
    fn born(&self) -> io::Result<Option<SystemTime>>;

    /// As [`Self::status`], once any later write to the content would change the answer.
    ///
    /// # Errors
    /// As `fstat`; `ResourceBusy` where it is written to all the time.
    fn settled(&self) -> io::Result<Status> {
        self.status()
    }

    /// Whether the length that the file states is that of its content. The kernel makes some files
    /// up as they are read, those of sysfs for one.
    fn states_length(&self) -> bool {
        true
    }

    /// Whether reads and writes go past the page cache. They must then be on the grid.
    fn is_direct(&self) -> bool;

    /// Turns direct I/O off, for good and for everyone who shares the file; `false` where it was
    /// off already.
    ///
    /// # Errors
    /// As `fcntl(F_SETFL)`.
    fn leave_direct(&self) -> io::Result<bool>;

    /// Whether reads and writes may be given to io_uring. Backends give the others to
    /// [`Self::read_at`] and [`Self::write_at`].
    ///
    /// A file on FUSE may not, since its server can have it opened past the page cache. Where a
    /// read of such a file ends short, or fails midway, the kernel asks for the rest at the place
    /// where it began, and reports success (seen on Linux 6.18).
    fn suits_ring(&self) -> bool {
        true
    }

    /// Reads at `offset` into `bytes`; may read less.
    ///
    /// # Errors
    /// As `pread`.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Forgets what the page cache holds of the file and the medium should have too, so that later
    /// reads show the medium. After a failed sync the two differ, and only the cache has the new
    /// bytes. What is still to be written stays.
    ///
    /// The kernel takes it for advice: a page that is dirty, mapped or being read may stay cached.
    ///
    /// # Errors
    /// As `posix_fadvise`.
    fn drop_cache(&self) -> io::Result<()>;

    /// Says that a range will be read through the page cache soon. The kernel takes it for advice.
    fn will_read(&self, _offset: u64, _len: u64) {}

    /// Writes `bytes` at `offset`; may write less.
    ///
    /// # Errors
    /// As `pwrite`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Start and end of the next run of data at or after `offset`, or `None` where only a hole
    /// follows. A file system that knows no holes has one run.
    ///
    /// # Errors
    /// As `lseek(SEEK_DATA)`.
    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>>;

    /// Allocates `offset .. offset + len` ahead, growing the file (`fallocate` with mode 0). Where
    /// it fails, a part may be allocated all the same: ext4 keeps what it took.
    ///
    /// # Errors
    /// `Unsupported` where the file system can't, else as `fallocate`.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Bytes that the file system still has free for processes without privileges. Quotas don't
    /// show in it.
    ///
    /// # Errors
    /// As `fstatvfs`.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Turns `offset .. offset + len` into a hole.
    ///
    /// # Errors
    /// `Unsupported` where the file system can't, else as `fallocate`.
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// As `ftruncate`.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes data and metadata durable. A failure is final for the file: never called again after
    /// one (see docs/decisions).
    ///
    /// # Errors
    /// As `fsync`.
    fn sync_all(&self) -> io::Result<()>;

    /// Makes data durable, and what metadata reading it back needs.
    ///
    /// # Errors
    /// As `fdatasync`.
    fn sync_data(&self) -> io::Result<()>;

    /// Takes attributes over.
    ///
    /// # Errors
    /// As `fchown`, `fchmod` and `futimens`. What the process may not do, or the file system has no
    /// such thing for, is no error: the file is then less readable than asked, never more.
    fn set_attributes(&self, attributes: &Attributes) -> io::Result<()>;

    /// Takes the exclusive lock of this open file description; `false` where another holds it. It
    /// is held until the file is closed *and* every write in flight on it has ended.
    ///
    /// # Errors
    /// As `flock`.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Whether publishing may replace a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replace {
    /// Fails where the name is taken.
    Never,
    /// Takes the name over.
    Allowed,
}

/// What kept a rename from replacing another file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// Nothing: it was allowed to.
    None,
    /// The file system.
    FileSystem,
    /// A look at the name just before: another program might have taken it in between.
    Look,
}

/// An open directory: names are resolved in it even if it is moved or replaced meanwhile.
pub trait Directory: Send + Sync + fmt::Debug {
    /// Creates a file that doesn't exist (`O_EXCL`), mode 0600, for reading and writing, past the
    /// page cache where the file system serves that and `direct` asks for it.
    ///
    /// # Errors
    /// `AlreadyExists` where anything has the name, else as `openat`.
    fn create_new(&self, name: &OsStr, direct: bool) -> io::Result<Arc<dyn File>>;

    /// Opens an existing regular file for reading and writing without following a link, past the
    /// page cache where the file system serves that and `direct` asks for it. One of this user's
    /// that doesn't let him write is made to, and his alone.
    ///
    /// # Errors
    /// As `openat`.
    fn open_existing(&self, name: &OsStr, direct: bool) -> io::Result<Arc<dyn File>>;

    /// A nameless file for passing use, freed when closed.
    ///
    /// # Errors
    /// As `openat`.
    fn scratch(&self) -> io::Result<Arc<dyn File>>;

    /// What has the name, links not followed; `None` where nothing has.
    ///
    /// # Errors
    /// As `fstatat`.
    fn status(&self, name: &OsStr) -> io::Result<Option<Status>>;

    /// Whether a file in it belongs to whom this process acts for: its owner is the effective user,
    /// or the process may act for anyone.
    fn is_ours(&self, _status: &Status) -> bool {
        true
    }

    /// Whether a file in it was made by whom this process acts for, and no one else: what it says
    /// may be acted on.
    fn is_own(&self, _status: &Status) -> bool {
        true
    }

    /// The names in it, in no order, without `.` and `..`.
    ///
    /// # Errors
    /// As `getdents64`.
    fn list(&self) -> io::Result<Vec<OsString>>;

    /// Most bytes that a name in it may have.
    fn name_bytes_max(&self) -> usize {
        255
    }

    /// Renames within the directory, as `renameat2`. Where the file system can't be told that the
    /// name must be free, it is looked at just before.
    ///
    /// # Errors
    /// `AlreadyExists` where `to` exists and [`Replace::Never`] is asked, else as `renameat2`.
    fn rename(&self, from: &OsStr, to: &OsStr, replace: Replace) -> io::Result<Guard>;

    /// Removes a name.
    ///
    /// # Errors
    /// As `unlinkat`.
    fn unlink(&self, name: &OsStr) -> io::Result<()>;

    /// Makes the directory's names durable; with all else on a file system that syncs no directory.
    ///
    /// # Errors
    /// As `fsync`.
    fn sync(&self) -> io::Result<()>;

    /// Lets `time` go by before a lock is tried again. On a simulated disk none does, and only what
    /// would end meanwhile ends.
    fn pause(&self, time: Duration);
}

/// A disk: where files are opened, and where the backends for them come from.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a directory.
    ///
    /// # Errors
    /// As `open` with `O_DIRECTORY`.
    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>>;

    /// What `path` leads to, without opening it: opening a FIFO and closing it again would break
    /// its writer's pipe.
    ///
    /// # Errors
    /// As `stat`.
    fn kind(&self, path: &Path) -> io::Result<FileKind> {
        Ok(self.open(path, false)?.status()?.kind)
    }

    /// Opens a file for reading, past the page cache where the file system serves that and `direct`
    /// asks for it.
    ///
    /// # Errors
    /// As `open`.
    fn open(&self, path: &Path, direct: bool) -> io::Result<Arc<dyn File>>;

    /// Permission bits that a file gets where nothing else decides them: what the process's umask
    /// leaves of 0666.
    fn creation_mode(&self) -> u32 {
        0o600
    }

    /// Names one run: random bytes, others at each call.
    ///
    /// # Panics
    /// Where the system has no random bytes to give.
    fn run_id(&self) -> [u8; 16];

    /// Makes a backend for the calling thread.
    ///
    /// # Errors
    /// Where the system refuses a backend of that kind.
    fn backend(&self, kind: BackendKind, config: BackendConfig<'_>)
    -> io::Result<Box<dyn Backend>>;
}
