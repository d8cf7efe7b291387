//! The folder that containers are to be written to: what its file system does of what a job asks.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Finding;
use crate::buffer::AlignedMemory;
use crate::commit::target::PARTIAL_SUFFIX;
use crate::error::ErrorKind;
use crate::limits::{ALIGN, ALLOCATE_STEP_BYTES};
use crate::ring::file::{Directory, File, Guard, Replace};
use crate::ring::os::direct_grid;
use crate::ring::system::{self, Mounted};

/// Bytes of the file that things are tried on.
const LEN: u64 = 1 << 20;

/// A folder, and a file without a name in it that things are tried on.
pub(super) struct Trial<'a> {
    directory: &'a dyn Directory,
    file: io::Result<Arc<dyn File>>,
    allocated: io::Result<()>,
}

impl<'a> Trial<'a> {
    /// Makes the file, if one can be made.
    pub(super) fn new(directory: &'a dyn Directory) -> Self {
        // DR1: the name is gone before anything is done with the file.
        let file = Named::new(directory, 0, true).map(|(file, _name)| file);
        let allocated = match &file {
            Ok(file) => file.allocate(0, LEN).or_else(|error| {
                file.set_len(LEN)?;
                Err(error)
            }),
            Err(error) => Err(error.kind().into()),
        };
        Self { directory, file, allocated }
    }

    /// The file, at least 1 MiB long, past the page cache where that is served.
    pub(super) fn file(&self) -> Option<&Arc<dyn File>> {
        self.file.as_ref().ok()
    }
}

/// A name that is taken for a moment. One that a kill leaves behind is a partial file's that
/// nothing can be resumed from: `clean` removes it, as it does others.
struct Named<'a> {
    directory: &'a dyn Directory,
    name: OsString,
}

impl<'a> Named<'a> {
    fn new(
        directory: &'a dyn Directory,
        number: u32,
        direct: bool,
    ) -> io::Result<(Arc<dyn File>, Self)> {
        let name = format!("doctor-{}-{number}{PARTIAL_SUFFIX}", std::process::id());
        let name = OsString::from(name);
        let file = directory.create_new(&name, direct)?;
        Ok((file, Self { directory, name }))
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        // DR1: whatever came of the trial.
        let _ = self.directory.unlink(&self.name);
    }
}

/// What was found of the folder.
pub(super) fn findings(folder: &Path, trial: &Trial<'_>) -> Vec<Finding> {
    let file_system = file_system(system::mounted(folder).as_ref());
    let space = system::space(folder);
    let file = match &trial.file {
        Ok(file) => &**file,
        Err(error) => return vec![unwritable(error), file_system, free(space)],
    };
    vec![
        Finding::ok("directory", "can be written"),
        file_system,
        free(space),
        by_ring(file),
        direct(file),
        allocation(&trial.allocated),
        holes(file),
        locking(trial.directory),
        taken_names(trial.directory),
        syncing(file, trial.directory),
    ]
}

fn unwritable(error: &io::Error) -> Finding {
    let (kind, remedy) = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            (ErrorKind::NoSpace, "free some space there, or raise the quota")
        }
        Some(libc::EROFS) => (ErrorKind::Output, "mount it for writing, or name another directory"),
        Some(libc::EACCES | libc::EPERM) => (
            ErrorKind::Output,
            "run as a user who may write there, or name another directory; in a unit of systemd \
             see ReadWritePaths= and ProtectSystem=",
        ),
        _ => (ErrorKind::Output, "name another directory"),
    };
    Finding::fail("directory", kind, format!("cannot be written: {error}"), remedy)
}

fn file_system(mounted: Option<&Mounted>) -> Finding {
    const SUBJECT: &str = "file system";
    let Some(Mounted { kind, source }) = mounted else {
        return Finding::ok(SUBJECT, "its kind isn't told");
    };
    let found = format!("{kind} on {source}");
    let is_remote = matches!(
        kind.as_str(),
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "glusterfs" | "lustre" | "afs"
    );
    if is_remote || kind.starts_with("fuse") {
        let cost = "what is durable is for a server or a program to keep, and a writer on another \
                    host may not see the lock";
        let remedy = "write to a local file system and copy the container, where that matters";
        return Finding::warning(SUBJECT, found, cost, remedy);
    }
    if matches!(kind.as_str(), "tmpfs" | "ramfs") {
        let cost = "it is memory: what it holds is gone when the power is";
        return Finding::warning(SUBJECT, found, cost, "write to a file system on a disk");
    }
    Finding::ok(SUBJECT, found)
}

fn free(space: Option<system::Space>) -> Finding {
    const SUBJECT: &str = "free space";
    let Some(system::Space { bytes, files }) = space else {
        return Finding::ok(SUBJECT, "isn't told");
    };
    let found = format!("{} MiB", bytes >> 20);
    let remedy = "free some space there, or name another directory";
    if files == Some(0) {
        let found = format!("{found}, but no file can be made (no inodes are left)");
        return Finding::fail(SUBJECT, ErrorKind::NoSpace, found, "remove some files there");
    }
    match bytes {
        0 => Finding::fail(SUBJECT, ErrorKind::NoSpace, found, remedy),
        _ if bytes < ALLOCATE_STEP_BYTES => {
            let cost = "a container that outgrows it ends with a full disk; what is packed by then \
                        can be gone on with";
            Finding::warning(SUBJECT, found, cost, remedy)
        }
        _ => Finding::ok(SUBJECT, found),
    }
}

fn by_ring(file: &dyn File) -> Finding {
    const SUBJECT: &str = "files and io_uring";
    if file.suits_ring() {
        return Finding::ok(SUBJECT, "files here may be read and written by io_uring");
    }
    let found = "files on FUSE are read and written by pread and pwrite";
    let cost = "one operation at a time per thread; io_uring reports failed reads and writes of \
                such files as done";
    Finding::warning(SUBJECT, found, cost, "use a file system that the kernel itself implements")
}

fn direct(file: &dyn File) -> Finding {
    const SUBJECT: &str = "direct I/O";
    let cost = "bytes go through the page cache: writes to one file are done one after the other, \
                and displace what others have in memory";
    let grid = file.share().ok().and_then(direct_grid);
    let asks = match grid {
        Some((0, _) | (_, 0)) => "not served".to_owned(),
        Some((memory, offset)) => format!("memory on {memory} bytes, offsets on {offset}"),
        None => "what it asks isn't told".to_owned(),
    };
    if !file.is_direct() {
        let why = match grid {
            Some((memory, offset)) if memory > 0 && offset > 0 => {
                if memory as usize > ALIGN || offset as usize > ALIGN {
                    format!("not used: {asks}, where containers have a grid of {ALIGN}")
                } else {
                    format!("not used: {asks}, but this file system buffers it all the same")
                }
            }
            Some(_) => "not served".to_owned(),
            None => format!("not used: {asks} (before Linux 6.1, or by this file system)"),
        };
        let remedy = "ext4 or xfs, on Linux 6.1 or later";
        return Finding::warning(SUBJECT, why, cost, remedy);
    }
    let tried = || {
        let mut memory = AlignedMemory::zeroed(ALIGN);
        memory[..ALIGN].fill(0x5A);
        let offset = LEN - ALIGN as u64;
        let written = file.write_at(&memory[..ALIGN], offset)?;
        memory[..ALIGN].fill(0);
        let read = file.read_at(&mut memory[..ALIGN], offset)?;
        let is_same =
            written == ALIGN && read == ALIGN && memory[..ALIGN].iter().all(|&b| b == 0x5A);
        is_same.then_some(()).ok_or_else(|| io::Error::other("other bytes come back"))
    };
    match tried() {
        Ok(()) => Finding::ok(SUBJECT, format!("works; {asks}")),
        Err(error) => {
            let found = format!("is said to be served ({asks}) and fails: {error}");
            Finding::warning(SUBJECT, found, cost, "look at dmesg, and pack through the page cache")
        }
    }
}

fn allocation(allocated: &io::Result<()>) -> Finding {
    const SUBJECT: &str = "allocating ahead";
    match allocated {
        Ok(()) => Finding::ok(SUBJECT, "works"),
        Err(error) => {
            let cost = "a write that makes the file longer isn't asynchronous, and the file may \
                        lie in pieces";
            let remedy = "a file system with fallocate(2): ext4, xfs, btrfs, tmpfs";
            Finding::warning(SUBJECT, format!("does not work: {error}"), cost, remedy)
        }
    }
}

fn holes(file: &dyn File) -> Finding {
    const SUBJECT: &str = "holes";
    match file.punch_hole(0, ALIGN as u64) {
        Ok(()) => Finding::ok(SUBJECT, "can be punched"),
        Err(error) => {
            let cost = "the rest of each slot, and zeros that are unpacked over allocated space, \
                        take room";
            let remedy = "a file system with FALLOC_FL_PUNCH_HOLE: ext4, xfs, btrfs, tmpfs";
            Finding::warning(SUBJECT, format!("cannot be punched: {error}"), cost, remedy)
        }
    }
}

fn locking(directory: &dyn Directory) -> Finding {
    const SUBJECT: &str = "locking";
    let remedy = "a file system with flock(2) (NFS: mount it without nolock)";
    let tried = || {
        let (first, name) = Named::new(directory, 1, false)?;
        let second = directory.open_existing(&name.name, false)?;
        let held = first.try_lock()?;
        io::Result::Ok(held && !second.try_lock()?)
    };
    match tried() {
        Ok(true) => Finding::ok(SUBJECT, "a second writer is kept out"),
        Ok(false) => {
            let found = "a second writer gets the lock too";
            Finding::fail(SUBJECT, ErrorKind::Output, found, remedy)
        }
        Err(error) => {
            let found = format!("does not work: {error}");
            Finding::fail(SUBJECT, ErrorKind::Output, found, remedy)
        }
    }
}

fn taken_names(directory: &dyn Directory) -> Finding {
    const SUBJECT: &str = "taken names";
    let remedy = "a file system with renameat2(RENAME_NOREPLACE) or hard links";
    let tried = || {
        let (_, from) = Named::new(directory, 2, false)?;
        let (_, to) = Named::new(directory, 3, false)?;
        let refused = directory.rename(&from.name, &to.name, Replace::Never);
        let is_there = |name: &OsStr| io::Result::Ok(directory.status(name)?.is_some());
        let both = is_there(&from.name)? && is_there(&to.name)?;
        match refused {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && both => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(Guard::None),
        }
        // The same where the name is free.
        directory.unlink(&to.name)?;
        directory.rename(&from.name, &to.name, Replace::Never)
    };
    match tried() {
        Ok(Guard::FileSystem) => Finding::ok(SUBJECT, "are not renamed over"),
        Ok(Guard::Look) => {
            let found = "are looked at before renaming: the file system has neither \
                         RENAME_NOREPLACE nor hard links";
            let cost = "a file that another program creates under the name at that moment is \
                        replaced";
            let remedy = "write to a directory that no other program writes to, or to another \
                          file system";
            Finding::warning(SUBJECT, found, cost, remedy)
        }
        Ok(Guard::None) => {
            let found = "a file is renamed over though that was forbidden";
            Finding::fail(SUBJECT, ErrorKind::Output, found, remedy)
        }
        Err(error) => {
            let found = format!("cannot be told: {error}");
            Finding::fail(SUBJECT, ErrorKind::Output, found, remedy)
        }
    }
}

fn syncing(file: &dyn File, directory: &dyn Directory) -> Finding {
    const SUBJECT: &str = "syncing";
    match file.sync_data().and_then(|()| file.sync_all()).and_then(|()| directory.sync()) {
        Ok(()) => Finding::ok(SUBJECT, "file and directory"),
        Err(error) => {
            let found = format!("fails: {error}");
            let remedy = "look at dmesg: the device may be failing";
            Finding::fail(SUBJECT, ErrorKind::Output, found, remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::ring::file::Disk;
    use crate::ring::os::OsDisk;

    #[test]
    fn file_systems_are_judged_by_what_they_keep() {
        let judged = |kind: &str| {
            let mounted = Mounted { kind: kind.to_owned(), source: "x".to_owned() };
            file_system(Some(&mounted)).state
        };
        for kind in ["ext4", "xfs", "btrfs", "overlay", "zfs"] {
            assert_eq!(judged(kind), State::Ok, "{kind}");
        }
        for kind in ["tmpfs", "nfs4", "fuse.sshfs", "cifs"] {
            assert_eq!(judged(kind), State::Warning, "{kind}");
        }
    }

    #[test]
    fn little_space_is_a_warning_and_none_a_failure() {
        let judged = |bytes, files| {
            let finding = free(Some(system::Space { bytes, files }));
            (finding.state, finding.fails_with)
        };
        assert_eq!(judged(1 << 40, None), (State::Ok, None));
        assert_eq!(judged(1 << 40, Some(5)), (State::Ok, None));
        assert_eq!(judged(1 << 20, None), (State::Warning, None));
        assert_eq!(judged(0, None), (State::Fail, Some(ErrorKind::NoSpace)));
        assert_eq!(judged(1 << 40, Some(0)), (State::Fail, Some(ErrorKind::NoSpace)));
    }

    #[test]
    fn a_folder_that_cannot_be_written_says_what_to_do() {
        for (errno, kind, remedy) in [
            (libc::EROFS, ErrorKind::Output, "mount it for writing"),
            (libc::EACCES, ErrorKind::Output, "ReadWritePaths="),
            (libc::ENOSPC, ErrorKind::NoSpace, "free some space"),
            (libc::EDQUOT, ErrorKind::NoSpace, "quota"),
        ] {
            let finding = unwritable(&io::Error::from_raw_os_error(errno));
            assert_eq!((finding.state, finding.fails_with), (State::Fail, Some(kind)));
            assert!(finding.remedy.unwrap().contains(remedy), "{remedy}");
        }
    }

    #[test]
    fn dr1_a_name_is_given_back_when_its_trial_ends() {
        let folder = tempfile::tempdir().unwrap();
        let directory = OsDisk.directory(folder.path()).unwrap();
        let (_file, name) = Named::new(&*directory, 0, false).unwrap();
        assert_eq!(directory.list().unwrap(), std::slice::from_ref(&name.name));
        // Taken: a second trial of the same process fails, and leaves the first one's name.
        assert!(Named::new(&*directory, 0, false).is_err());
        assert_eq!(directory.list().unwrap().len(), 1);
        drop(name);
        assert!(directory.list().unwrap().is_empty());
    }
}
