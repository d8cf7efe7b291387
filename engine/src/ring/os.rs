//! The real disk: descriptors, and the system calls on them.
//!
//! One open file description is made for each file of a job and shared by all its threads and
//! rings, because the lock belongs to it: `flock` is held until the last write in flight on the
//! description has ended, even after a SIGKILL, and so fences the next writer off from the last
//! one's stragglers.
//!
//! Direct I/O is decided when a file is opened: asked for, offered by the file system
//! (`statx(STATX_DIOALIGN)`) at no coarser a grid than ours, and not btrfs, which takes direct
//! writes and buffers them after all. A kernel that doesn't tell is asked by trying, on ext4, xfs
//! and block devices.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, openat};
use nix::sys::stat::Mode;
use nix::unistd::{LinkatFlags, UnlinkatFlags, Whence, linkat, lseek, unlinkat};

use super::acl::without_acl;
use super::file::{Attributes, Directory, Disk, File, FileKind, Guard, Replace, Status};
use super::pwrite::Pwrite;
use super::status::{self, status_of};
use super::system;
use super::uring::Uring;
use super::writeback::settled_after;
use super::{Backend, BackendConfig, BackendKind};
use crate::limits::ALIGN;
use crate::planted::{self, Bug};

/// The real disk.
///
/// ```
/// use ringpack::write::{ContainerWriter, WriteOptions};
/// use ringpack::{Disk, OsDisk};
/// use std::sync::Arc;
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.zst");
/// let disk: Arc<dyn Disk> = Arc::new(OsDisk);
/// let writer = ContainerWriter::create_on(disk, &path, &WriteOptions::default())?;
/// # drop(writer);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn creation_mode(&self) -> u32 {
        0o666 & !system::umask().unwrap_or(0o077)
    }

    fn run_id(&self) -> [u8; 16] {
        use rustix::rand::{GetRandomFlags, getrandom};
        let mut id = [0; 16];
        // So few bytes come whole or not at all; a signal may come first.
        let given = rustix::io::retry_on_intr(|| getrandom(&mut id, GetRandomFlags::empty()));
        assert_eq!(given, Ok(id.len()), "the kernel has random bytes");
        id
    }

    fn kind(&self, path: &Path) -> io::Result<FileKind> {
        Ok(status_of(&rustix::fs::stat(path)?).kind)
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let directory = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC)
            .open(path)?;
        Ok(Arc::new(OsDirectory(directory)))
    }

    fn open(&self, path: &Path, direct: bool) -> io::Result<Arc<dyn File>> {
        let open = |flags| {
            let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY;
            fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
        };
        OsFile::adopt(open_promptly(open, libc::O_RDONLY)?, direct)
    }

    fn backend(
        &self,
        kind: BackendKind,
        config: BackendConfig<'_>,
    ) -> io::Result<Box<dyn Backend>> {
        match kind {
            BackendKind::Uring => Ok(Box::new(Uring::new(config)?)),
            BackendKind::Pwrite => Ok(Box::new(Pwrite::new(config.files))),
            BackendKind::Sim => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub struct OsFile(fs::File);

impl OsFile {
    /// Takes an open file, turning direct I/O on if it is asked for and served.
    ///
    /// # Errors
    /// As `fcntl`.
    pub fn adopt(file: fs::File, direct: bool) -> io::Result<Arc<dyn File>> {
        if direct && serves_direct(&file) {
            match set_flag(&file, OFlag::O_DIRECT, true) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Arc::new(Self(file)))
    }
}

impl File for OsFile {
    fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }

    fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }

    fn status(&self) -> io::Result<Status> {
        let mut status = without_acl(&self.0, status_of(&rustix::fs::fstat(&self.0)?));
        if status.kind == FileKind::BlockDevice {
            status.len = lseek(&self.0, 0, Whence::SeekEnd)? as u64;
            status.allocated = status.len;
        }
        Ok(status)
    }

    fn born(&self) -> io::Result<Option<SystemTime>> {
        status::born(&self.0)
    }

    fn settled(&self) -> io::Result<Status> {
        let stat = rustix::fs::fstat(&self.0)?;
        match status_of(&stat).kind {
            FileKind::Regular => {
                Ok(without_acl(&self.0, status_of(&settled_after(&self.0, stat)?)))
            }
            // What is written to a device moves no time of its node.
            _ => self.status(),
        }
    }

    fn states_length(&self) -> bool {
        // linux/magic.h: sysfs, debugfs, tracefs, securityfs.
        const MADE_UP: [u32; 4] = [0x6265_6572, 0x6462_6720, 0x7472_6163, 0x7363_6673];
        let system = rustix::fs::fstatfs(&self.0).map(|system| system.f_type as u32);
        !system.is_ok_and(|system| MADE_UP.contains(&system))
    }

    fn is_direct(&self) -> bool {
        flags(&self.0).is_ok_and(|flags| flags.contains(OFlag::O_DIRECT))
    }

    fn leave_direct(&self) -> io::Result<bool> {
        let was = self.is_direct();
        set_flag(&self.0, OFlag::O_DIRECT, false)?;
        Ok(was)
    }

    fn suits_ring(&self) -> bool {
        suits_ring(&self.0)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    fn will_read(&self, offset: u64, len: u64) {
        use rustix::fs::{Advice, fadvise};
        // One call starts no more than the device's read-ahead, of which this is the default.
        const STEP_BYTES: u64 = 128 << 10;
        for from in (offset..offset.saturating_add(len)).step_by(STEP_BYTES as usize) {
            let len = NonZero::new(STEP_BYTES.min(offset + len - from));
            if fadvise(&self.0, from, len, Advice::WillNeed).is_err() {
                return;
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let seek = |from: u64, whence| lseek(&self.0, from as i64, whence);
        let start = match seek(offset, Whence::SeekData) {
            Ok(start) => start as u64,
            Err(Errno::ENXIO) => return Ok(None),
            // A file system or device without the call has no holes to tell of.
            Err(Errno::EINVAL) => return Ok(Some((offset, self.status()?.len))),
            Err(error) => return Err(error.into()),
        };
        let end = seek(start, Whence::SeekHole)? as u64;
        Ok(Some((start, end)))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        supported(fallocate(&self.0, FallocateFlags::empty(), offset as i64, len as i64))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let system = rustix::fs::fstatvfs(&self.0)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        supported(fallocate(&self.0, flags, offset as i64, len as i64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        let mut mode = attributes.mode;
        if let Some((uid, gid)) = attributes.owner {
            granted(std::os::unix::fs::fchown(&self.0, Some(uid), Some(gid)))?;
            // Permissions meant for another group are not given to ours (as gzip does).
            if self.0.metadata()?.gid() != gid {
                mode &= !0o070;
            }
        }
        // After the owner: changing it may clear permission bits. Where there are none to set, the
        // file stays as it was created: its owner's alone.
        granted(self.0.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode)))?;
        match attributes.modified {
            Some(modified) => granted(self.0.set_modified(modified)),
            None => Ok(()),
        }
    }

    fn try_lock(&self) -> io::Result<bool> {
        use rustix::fs::{FlockOperation, flock};
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// An open directory.
#[derive(Debug)]
struct OsDirectory(fs::File);

impl OsDirectory {
    fn open_at(&self, name: &OsStr, flags: OFlag, mode: Mode) -> io::Result<fs::File> {
        Ok(openat(&self.0, name, flags | OFlag::O_CLOEXEC, mode)?.into())
    }
}

impl OsDirectory {
    /// Opens a regular file of this user's, after making it writable for him and his alone.
    fn open_own(&self, name: &OsStr) -> io::Result<fs::File> {
        let found = self.open_at(name, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?;
        let status = status_of(&rustix::fs::fstat(&found)?);
        if status.kind != FileKind::Regular || !self.is_own(&status) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        // By descriptor: the name may lead elsewhere by now.
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path)
    }
}

impl OsDirectory {
    /// Renames to a name that nothing has, where the file system can't be told so.
    fn rename_to_free_name(&self, from: &OsStr, to: &OsStr) -> io::Result<Guard> {
        match linkat(&self.0, from, &self.0, to, LinkatFlags::empty()) {
            // It fails on a taken name as surely as a rename would with the flag.
            Ok(()) => {
                unlinkat(&self.0, from, UnlinkatFlags::NoRemoveDir)?;
                Ok(Guard::FileSystem)
            }
            // No hard links either, as on most of FUSE. Of those who would write the same target
            // only who has the lock comes here; another program may take the name in between.
            Err(
                Errno::EPERM
                | Errno::EACCES
                | Errno::EOPNOTSUPP
                | Errno::ENOSYS
                | Errno::EINVAL
                | Errno::EMLINK,
            ) => match self.status(to)? {
                Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    rustix::fs::renameat(&self.0, from, &self.0, to)?;
                    Ok(Guard::Look)
                }
            },
            Err(error) => Err(error.into()),
        }
    }
}

const OWNER_ONLY: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

impl Directory for OsDirectory {
    fn create_new(&self, name: &OsStr, direct: bool) -> io::Result<Arc<dyn File>> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        OsFile::adopt(self.open_at(name, flags, OWNER_ONLY)?, direct)
    }

    fn open_existing(&self, name: &OsStr, direct: bool) -> io::Result<Arc<dyn File>> {
        let open = |flags| self.open_at(name, OFlag::from_bits_retain(flags), Mode::empty());
        let opened = match open_promptly(open, libc::O_RDWR | libc::O_NOFOLLOW) {
            // A partial file that has its final mode already, which may let nobody write.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.open_own(name).map_err(|_| error)
            }
            opened => opened,
        };
        OsFile::adopt(opened?, direct)
    }

    fn scratch(&self) -> io::Result<Arc<dyn File>> {
        let flags = OFlag::O_RDWR | OFlag::O_TMPFILE;
        match self.open_at(OsStr::new("."), flags, OWNER_ONLY) {
            Ok(file) => OsFile::adopt(file, false),
            // A file system without O_TMPFILE: a name that is gone as soon as it is made.
            Err(_) => {
                // Drawn: the jobs of a process don't meet, nor does one that was killed in between
                // stand in the way of the next.
                let name = u128::from_ne_bytes(OsDisk.run_id());
                let name = format!(".ringpack-scratch-{name:032x}");
                let file = self.create_new(OsStr::new(&name), false)?;
                self.unlink(OsStr::new(&name))?;
                Ok(file)
            }
        }
    }

    fn status(&self, name: &OsStr) -> io::Result<Option<Status>> {
        // No descriptor is needed for it: it is asked while cleaning up, when they may have run
        // out.
        match rustix::fs::statat(&self.0, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(status_of(&stat))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn name_bytes_max(&self) -> usize {
        // Some tell nonsense: no file system on Linux has longer names, or none of a few words.
        let told = rustix::fs::fstatvfs(&self.0).map_or(255, |told| told.f_namemax);
        usize::try_from(told).ok().filter(|max| (64..=255).contains(max)).unwrap_or(255)
    }

    fn is_ours(&self, status: &Status) -> bool {
        // Root gives a partial file to the input's owner before it is published.
        let me = nix::unistd::geteuid();
        me.is_root() || status.uid == me.as_raw()
    }

    fn is_own(&self, status: &Status) -> bool {
        status.uid == nix::unistd::geteuid().as_raw()
    }

    fn rename(&self, from: &OsStr, to: &OsStr, replace: Replace) -> io::Result<Guard> {
        use rustix::fs::{RenameFlags, renameat_with};
        let rename = |flags| renameat_with(&self.0, from, &self.0, to, flags);
        match replace {
            Replace::Allowed => Ok(rename(RenameFlags::empty()).map(|()| Guard::None)?),
            Replace::Never => match rename(RenameFlags::NOREPLACE) {
                // A file system without the flag.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    self.rename_to_free_name(from, to)
                }
                renamed => Ok(renamed.map(|()| Guard::FileSystem)?),
            },
        }
    }

    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }

    fn sync(&self) -> io::Result<()> {
        match self.0.sync_all() {
            // A file system without the call for directories, such as vboxsf and some of FUSE.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS)
                ) =>
            {
                Ok(rustix::fs::syncfs(&self.0)?)
            }
            synced => synced,
        }
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

fn flags(file: &impl AsFd) -> io::Result<OFlag> {
    Ok(OFlag::from_bits_retain(nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_GETFL)?))
}

fn set_flag(file: &impl AsFd, flag: OFlag, on: bool) -> io::Result<()> {
    let mut flags = flags(file)?;
    flags.set(flag, on);
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Opens by `open`, which is given the flags to open by, and doesn't wait for the other end of a
/// FIFO, since nobody may ever come. A regular file whose lease somebody holds (fcntl(2),
/// `F_SETLEASE`) is waited for, as any program does: the kernel asks for the lease back, and takes
/// it in the end.
///
/// # Errors
/// As `open`.
pub fn open_promptly(
    open: impl Fn(i32) -> io::Result<fs::File>,
    flags: i32,
) -> io::Result<fs::File> {
    let file = match open(flags | libc::O_NONBLOCK) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let found = open(libc::O_PATH | flags & libc::O_NOFOLLOW)?;
            if status_of(&rustix::fs::fstat(&found)?).kind != FileKind::Regular {
                return Err(error);
            }
            // By descriptor: the name may lead elsewhere by now.
            let flags = OFlag::from_bits_retain(flags & !libc::O_NOFOLLOW) | OFlag::O_CLOEXEC;
            let path = format!("/proc/self/fd/{}", found.as_raw_fd());
            nix::fcntl::open(path.as_str(), flags, Mode::empty())?.into()
        }
        opened => opened?,
    };
    // Left on, a read of a device that can't tell whether it would wait is refused: before Linux
    // 6.4 each one that a ring is asked for.
    set_flag(&file, OFlag::O_NONBLOCK, false)?;
    Ok(file)
}

/// Takes it for done where the process may not do it, or the file system has no such thing: a user
/// namespace that doesn't map the owner (EINVAL), vfat (EPERM), and the like.
fn granted(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EPERM | libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS)
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

fn supported(result: nix::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ENODEV) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        result => Ok(result?),
    }
}

/// As [`File::suits_ring`]: whether the file is not on FUSE. virtiofs and `fuseblk` say of
/// themselves that they are FUSE.
pub fn suits_ring(file: impl AsFd) -> bool {
    const FUSE_SUPER_MAGIC: u32 = 0x6573_5546; // linux/magic.h
    let is_on_fuse =
        rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type as u32 == FUSE_SUPER_MAGIC);
    !is_on_fuse || planted::is(Bug::FuseByRing)
}

/// Whether direct I/O is to be tried on a file.
fn serves_direct(file: &fs::File) -> bool {
    let (Ok(file_system), Ok(stat)) = (rustix::fs::fstatfs(file), rustix::fs::fstat(file)) else {
        return false;
    };
    is_worth_trying(status_of(&stat).kind, file_system.f_type as u32, direct_grid(file))
}

/// Whether direct I/O is to be tried on a file of this kind, on a file system that calls itself
/// this and asks for this `grid`, if it tells. Who tries it has to do without it where a read or
/// write is refused.
fn is_worth_trying(kind: FileKind, file_system: u32, grid: Option<(u32, u32)>) -> bool {
    // linux/magic.h; the last is that of ext2 and ext3 as well.
    const BTRFS: u32 = 0x9123_683E;
    const XFS: u32 = 0x5846_5342;
    const EXT4: u32 = 0xEF53;
    let fits = |align: u32| align > 0 && (ALIGN as u32).is_multiple_of(align);
    match grid {
        // A device isn't of the file system that its node is in.
        _ if kind != FileKind::BlockDevice && file_system == BTRFS => false,
        Some((memory, offset)) => fits(memory) && fits(offset),
        // Before Linux 6.1 none tells. These have long served it, and on a grid of a logical block.
        None => kind == FileKind::BlockDevice || matches!(file_system, EXT4 | XFS),
    }
}

/// What the file system asks of direct I/O on a file: alignment of memory, and of offsets and
/// lengths, in bytes. Zeros where it has none, `None` where the kernel doesn't tell (before Linux
/// 6.1) or the file system doesn't.
pub fn direct_grid(file: impl AsFd) -> Option<(u32, u32)> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::DIOALIGN);
    told.then_some((stat.stx_dio_mem_align, stat.stx_dio_offset_align))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Arc<dyn Directory>) {
        let folder = tempfile::tempdir().unwrap();
        let opened = OsDisk.directory(folder.path()).unwrap();
        (folder, opened)
    }

    #[test]
    fn a_folder_lists_what_is_in_it_each_time() {
        let (path, folder) = folder();
        assert!(folder.list().unwrap().is_empty());
        let odd = OsStr::from_bytes(b"no \xff text");
        folder.create_new(odd, false).unwrap();
        fs::create_dir(path.path().join("sub")).unwrap();
        for _ in 0..2 {
            let mut names = folder.list().unwrap();
            names.sort();
            assert_eq!(names, [odd, OsStr::new("sub")]);
        }
    }

    #[test]
    fn runs_have_names_of_their_own() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|_| OsDisk.run_id()).collect();
        assert_eq!(ids.len(), 100);
    }

    #[test]
    fn an_existing_file_is_opened_as_a_new_one_is_and_dropping_its_cache_loses_nothing() {
        let (_path, folder) = folder();
        let name = OsStr::new("a");
        for direct in [false, true] {
            let new = folder.create_new(name, direct).unwrap();
            let again = folder.open_existing(name, direct).unwrap();
            assert_eq!(again.is_direct(), new.is_direct());
            assert!(direct || !again.is_direct());
            new.leave_direct().unwrap();
            new.write_at(b"dirty", 0).unwrap();
            new.drop_cache().unwrap();
            new.sync_data().unwrap();
            new.drop_cache().unwrap();
            let mut bytes = [0; 5];
            assert_eq!(new.read_at(&mut bytes, 0).unwrap(), 5);
            assert_eq!(&bytes, b"dirty");
            folder.unlink(name).unwrap();
        }
    }

    #[test]
    fn direct_io_is_tried_where_it_is_offered_or_known() {
        const EXT4: u32 = 0xEF53;
        const XFS: u32 = 0x5846_5342;
        const BTRFS: u32 = 0x9123_683E;
        const TMPFS: u32 = 0x0102_1994;
        const FUSE: u32 = 0x6573_5546;
        use FileKind::{BlockDevice, Regular};
        for (kind, file_system, grid, is_tried) in [
            (Regular, EXT4, Some((4, 512)), true),
            (Regular, XFS, Some((512, 4096)), true),
            (Regular, EXT4, Some((512, 8192)), false),
            (Regular, EXT4, Some((0, 0)), false),
            (Regular, EXT4, None, true),
            (Regular, XFS, None, true),
            (Regular, BTRFS, Some((512, 512)), false),
            (Regular, BTRFS, None, false),
            (Regular, TMPFS, None, false),
            (Regular, FUSE, None, false),
            (BlockDevice, TMPFS, None, true),
            (BlockDevice, BTRFS, Some((512, 512)), true),
            (BlockDevice, TMPFS, Some((512, 8192)), false),
        ] {
            let found = is_worth_trying(kind, file_system, grid);
            assert_eq!(found, is_tried, "{kind:?} {file_system:x} {grid:?}");
        }
    }

    /// Each way of opening a file that a backend may be given.
    #[test]
    fn no_file_is_left_not_to_block() {
        let (path, folder) = folder();
        let name = OsStr::new("a");
        let own = OsStr::new("own");
        for direct in [false, true] {
            let created = folder.create_new(name, direct).unwrap();
            folder.create_new(own, false).unwrap();
            let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o400);
            fs::set_permissions(path.path().join("own"), read_only).unwrap();
            for (file, what) in [
                (created, "create_new"),
                (folder.open_existing(name, direct).unwrap(), "open_existing"),
                (folder.open_existing(own, direct).unwrap(), "open_existing, read-only"),
                (folder.scratch().unwrap(), "scratch"),
                (OsDisk.open(&path.path().join("a"), direct).unwrap(), "open"),
            ] {
                let flags = flags(&file.share().unwrap()).unwrap();
                assert!(!flags.contains(OFlag::O_NONBLOCK), "{what}");
            }
            folder.unlink(name).unwrap();
            folder.unlink(own).unwrap();
        }
    }

    #[test]
    fn a_pause_takes_its_time() {
        let (_path, folder) = folder();
        let before = std::time::Instant::now();
        folder.pause(Duration::from_millis(5));
        assert!(before.elapsed() >= Duration::from_millis(5));
    }
}
