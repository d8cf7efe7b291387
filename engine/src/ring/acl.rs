//! The permissions that a copy of a file gets when the file's ACL stays behind.
//!
//! The group bits of a file with an ACL are the ACL's mask: the most that any user or group named
//! in it gets. What the owning group itself gets is an entry of the ACL. A copy with the same mode
//! and without the ACL would give the group the rights of the mask:
//!
//! ```text
//! source  -rw-r-----  user::rw-  user:nobody:r--  group::---  mask::r--  other::---
//! copy    -rw-------  not -rw-r-----: the group can't read the source
//! ```

use std::os::fd::AsFd;

use rustix::fs::fgetxattr;
use rustix::io::{Errno, Result};

use super::file::{FileKind, Status};

/// Most bytes of an extended attribute.
const LEN_MAX: usize = 64 << 10;
/// The attribute begins with a version, and has entries of a tag, permissions and a number.
const HEADER_LEN: usize = 4;
const ENTRY_LEN: usize = 8;
/// The tag of the owning group's entry.
const GROUP_OBJ: u16 = 4;

/// The status of an open file, with the permission bits of its group as its ACL has them.
pub(super) fn without_acl(file: impl AsFd, status: Status) -> Status {
    if status.kind != FileKind::Regular || status.mode & 0o070 == 0 {
        return status;
    }
    let of_group = match access_acl(file) {
        Ok(acl) => group_bits(&acl) << 3,
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => 0o070,
        // It may have one.
        Err(_) => 0,
    };
    Status { mode: status.mode & (!0o070 | of_group), ..status }
}

fn access_acl(file: impl AsFd) -> Result<Vec<u8>> {
    const NAME: &str = "system.posix_acl_access";
    let file = file.as_fd();
    // Room for an ACL of a few dozen entries.
    let mut acl = vec![0; 256];
    let len = match fgetxattr(file, NAME, &mut acl[..]) {
        Err(Errno::RANGE) => {
            acl.resize(LEN_MAX, 0);
            fgetxattr(file, NAME, &mut acl[..])?
        }
        read => read?,
    };
    acl.truncate(len);
    Ok(acl)
}

/// What an ACL gives the owning group; nothing where that isn't in it.
fn group_bits(acl: &[u8]) -> u32 {
    let entries = acl.get(HEADER_LEN..).unwrap_or_default().chunks_exact(ENTRY_LEN);
    let number = |entry: &[u8], at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
    let of_group = entries.into_iter().find(|entry| number(entry, 0) == GROUP_OBJ);
    of_group.map_or(0, |entry| u32::from(number(entry, 2)) & 0o7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owning_groups_entry_is_found() {
        // user::rw-, user:65534:r--, group::-w-, mask::r--, other::---
        let entries = [(1, 6, u32::MAX), (2, 4, 65_534), (4, 2, u32::MAX), (16, 4, u32::MAX)];
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, number) in entries {
            acl.extend(u16::to_le_bytes(tag));
            acl.extend(u16::to_le_bytes(permissions));
            acl.extend(u32::to_le_bytes(number));
        }
        assert_eq!(group_bits(&acl), 0o2);
        for len in 0..acl.len() {
            let found = if len < HEADER_LEN + 3 * ENTRY_LEN { 0 } else { 0o2 };
            assert_eq!(group_bits(&acl[..len]), found, "{len} bytes of it");
        }
    }
}
