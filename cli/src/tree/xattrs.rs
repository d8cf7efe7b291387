//! Extended attributes: which are packed, and which are restored.
//!
//! Packed are those of the user, file capabilities, POSIX ACLs and `trusted`; what a security
//! module of the machine keeps for itself (SELinux, IMA, EVM) is not the file's own.
//!
//! ACLs are attributes of the kernel's making, and text in an archive ([`acl`](super::acl)).

use std::borrow::Cow;
use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::{Errno, Result};

use super::acl;
use crate::tar_stream::Xattr;

fn is_packed(name: &[u8]) -> bool {
    is_restored(name, true)
}

/// Whether it is restored: what gives rights only where these are to be; and what is never packed,
/// an archive of another program's has in vain.
pub(super) fn is_restored(name: &[u8], with_rights: bool) -> bool {
    name.starts_with(b"user.") || (with_rights && is_privileged(name))
}

/// Whether it decides who may do what, also of what is made in a directory later.
pub(super) fn is_acl(name: &[u8]) -> bool {
    name.starts_with(b"system.posix_acl_")
}

/// Whether it gives rights.
fn is_privileged(name: &[u8]) -> bool {
    name.starts_with(b"trusted.") || is_acl(name) || name == b"security.capability"
}

/// Those of an open file or directory, in the order of their names; ACLs with the names of users
/// and groups if asked for.
pub(super) fn of(file: impl AsFd, with_names: bool) -> Result<Vec<Xattr>> {
    let file = file.as_fd();
    let list = match whole(|buf| flistxattr(file, buf)) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = list.split(|&byte| byte == 0).filter(|name| is_packed(name));
    let mut found = Vec::new();
    for name in names {
        match whole(|buf| fgetxattr(file, name, buf)) {
            Ok(value) => {
                let text = is_acl(name).then(|| acl::to_text(&value, with_names)).flatten();
                found.push((name.to_vec(), text.unwrap_or(value)));
            }
            // Removed meanwhile, or not for this user to read.
            Err(Errno::NODATA | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// Gives an open file or directory an attribute.
///
/// # Errors
/// The file system has none such or no room for it, or this user may not set it.
pub(super) fn set(file: impl AsFd, (name, value): &Xattr) -> Result<()> {
    let mut value = Cow::Borrowed(value);
    if is_acl(name) {
        // One that makes no sense is refused as the kernel refuses one.
        value = Cow::Owned(acl::of_kernel(&value).ok_or(Errno::INVAL)?);
    }
    fsetxattr(file, name.as_slice(), &value, XattrFlags::empty())
}

/// Takes away the ACL that a directory gives to what is made in it.
pub(super) fn take_default_acl(directory: impl AsFd) -> Result<Option<Xattr>> {
    const NAME: &[u8] = b"system.posix_acl_default";
    let directory = directory.as_fd();
    match whole(|buf| fgetxattr(directory, NAME, buf)) {
        Ok(value) => fremovexattr(directory, NAME).map(|()| Some((NAME.to_vec(), value))),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a call gives that says how long it is only once the room is enough.
fn whole(mut call: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buf = vec![0; 256];
    loop {
        match call(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            // 64 KiB is the most that Linux gives.
            Err(Errno::RANGE) if buf.len() < 1 << 17 => buf.resize(buf.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}
