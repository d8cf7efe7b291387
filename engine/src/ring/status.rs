//! What the kernel says of a file, as the engine has it.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, StatxFlags, statx};

use super::file::{FileKind, Status};

/// What `stat` says of a file. The length of a block device is not in it.
#[must_use]
pub fn status_of(stat: &rustix::fs::Stat) -> Status {
    use rustix::fs::FileType;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        FileType::RegularFile => FileKind::Regular,
        FileType::BlockDevice => FileKind::BlockDevice,
        _ => FileKind::Stream,
    };
    Status {
        kind,
        len: if kind == FileKind::Regular { stat.st_size as u64 } else { 0 },
        allocated: stat.st_blocks as u64 * 512,
        mode: stat.st_mode & 0o777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        identity: (stat.st_dev, stat.st_ino),
        links: stat.st_nlink,
        changed: changed(stat),
    }
}

/// Time of the last change to a file's content or attributes.
pub(super) fn changed(stat: &rustix::fs::Stat) -> SystemTime {
    time(stat.st_ctime, stat.st_ctime_nsec)
}

/// When a file was created, where file system and kernel say so.
pub(super) fn born(file: &impl AsFd) -> io::Result<Option<SystemTime>> {
    let asked = StatxFlags::BTIME;
    match statx(file, "", AtFlags::EMPTY_PATH, asked) {
        Ok(stat) if stat.stx_mask & asked.bits() != 0 => {
            Ok(Some(time(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)))
        }
        // A sandbox, or a kernel before 4.11.
        Ok(_) | Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The C library and the kernel disagree about the type of `nanos`.
fn time(seconds: i64, nanos: impl TryInto<u64>) -> SystemTime {
    // The nanoseconds count forward from the second, before 1970 too.
    let from_epoch = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 { UNIX_EPOCH - from_epoch } else { UNIX_EPOCH + from_epoch };
    second + Duration::from_nanos(nanos.try_into().unwrap_or(0))
}
