//! POSIX ACLs: as the kernel has them, and in text, as tar's headers have them.
//!
//! ```text
//! kernel  version 2 u32 | tag u16 | permissions u16 | number u32 | …       (little-endian)
//! text    user::rw-,user:alice:r--:1000,group::r--,mask::r--,other::---
//! ```
//!
//! GNU tar writes a line an entry, with a name where there is one and the number otherwise. star
//! and libarchive put the number behind the name, and so does this program: the name is for a
//! machine where the number is another.

use nix::unistd::{Gid, Group, Uid, User};

use crate::tar_stream::ACL_OF_KERNEL;

/// The number of an entry that is of nobody in particular.
const NONE: u32 = u32::MAX;

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// An ACL of the kernel in text, with the names of users and groups if asked for; `None` where it
/// is of another version.
pub(super) fn to_text(value: &[u8], with_names: bool) -> Option<Vec<u8>> {
    let (entries, []) = value.strip_prefix(ACL_OF_KERNEL)?.as_chunks::<8>() else { return None };
    let mut lines = Vec::new();
    for &[tag, high, permissions, _, number @ ..] in entries {
        let (tag, number) = (u16::from_le_bytes([tag, high]), u32::from_le_bytes(number));
        let (kind, name) = match tag {
            OWNER => ("user", None),
            USER => {
                ("user", Some(User::from_uid(Uid::from_raw(number)).map(|it| it.map(|it| it.name))))
            }
            OWNING_GROUP => ("group", None),
            GROUP => (
                "group",
                Some(Group::from_gid(Gid::from_raw(number)).map(|it| it.map(|it| it.name))),
            ),
            MASK => ("mask", None),
            OTHER => ("other", None),
            _ => return None,
        };
        let letter = |bit: u8, letter| if permissions & bit != 0 { letter } else { '-' };
        let permissions: String = [letter(4, 'r'), letter(2, 'w'), letter(1, 'x')].iter().collect();
        lines.push(match name {
            None => format!("{kind}::{permissions}"),
            Some(Ok(Some(name))) if with_names && is_plain(&name) => {
                format!("{kind}:{name}:{permissions}:{number}")
            }
            Some(_) => format!("{kind}:{number}:{permissions}"),
        });
    }
    Some(lines.join(",").into_bytes())
}

/// Whether a name is none of an entry's own signs, and no number.
fn is_plain(name: &str) -> bool {
    !name.contains([':', ',', '#', '\n', '\t', ' ']) && name.parse::<u32>().is_err()
}

/// The kernel's form of an ACL in either form; `None` where it makes no sense, or names a user or a
/// group that isn't there.
pub(super) fn of_kernel(acl: &[u8]) -> Option<Vec<u8>> {
    if acl.starts_with(ACL_OF_KERNEL) {
        return Some(acl.to_vec());
    }
    from_text(acl)
}

fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        for entry in line.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            entries.push(parse_entry(entry)?);
        }
    }
    entries.sort_unstable();
    let mut value = ACL_OF_KERNEL.to_vec();
    for (tag, number, permissions) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(number.to_le_bytes());
    }
    Some(value)
}

/// An entry's tag, number and permissions.
fn parse_entry(entry: &str) -> Option<(u16, u32, u16)> {
    // Old stars wrote so what the keyword says.
    let entry = entry.strip_prefix("default:").unwrap_or(entry);
    let mut fields = entry.split(':').map(str::trim);
    let (kind, name, permissions) = (fields.next()?, fields.next()?, fields.next());
    let number = fields.next().and_then(|number| number.parse().ok());
    let of_name = |found: fn(&str) -> Option<u32>| match name {
        "" => Some(NONE),
        name => number.or_else(|| name.parse().ok()).or_else(|| found(name)),
    };
    let (tag, number) = match kind {
        "user" | "u" => {
            let number = of_name(|name| Some(User::from_name(name).ok()??.uid.as_raw()))?;
            (if number == NONE { OWNER } else { USER }, number)
        }
        "group" | "g" => {
            let number = of_name(|name| Some(Group::from_name(name).ok()??.gid.as_raw()))?;
            (if number == NONE { OWNING_GROUP } else { GROUP }, number)
        }
        "mask" | "m" => (MASK, NONE),
        "other" | "o" => (OTHER, NONE),
        _ => return None,
    };
    // Of a mask and of others the name may be left out with its colon.
    let permissions = match permissions {
        None if number == NONE && tag >= MASK => name,
        permissions => permissions?,
    };
    let bits = permissions.chars().try_fold(0, |bits, letter| {
        Some(
            bits | match letter {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return None,
            },
        )
    });
    Some((tag, number, bits?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "user::rw-,user:4000000:r--,group::r-x,group:4000001:--x,mask::rwx,other::---";

    #[test]
    fn there_and_back() {
        let value = from_text(TEXT.as_bytes()).unwrap();
        assert_eq!(value.len(), 4 + 6 * 8);
        for with_names in [false, true] {
            assert_eq!(to_text(&value, with_names).unwrap(), TEXT.as_bytes());
        }
        for len in 0..value.len() {
            let is_whole = len % 8 == 4;
            assert_eq!(to_text(&value[..len], false).is_some(), is_whole, "{len}");
        }
    }

    #[test]
    fn as_others_write_it() {
        let value = from_text(TEXT.as_bytes());
        let lines = TEXT.replace(',', "\t# a comment\n") + "\n";
        assert_eq!(from_text(lines.as_bytes()), value);
        let star = TEXT.replace("4000000:r--", "nobody here:r--:4000000");
        assert_eq!(from_text(star.as_bytes()), value);
        assert_eq!(from_text(b"o:---,m:rwx,u:4000000:r,g:4000001:x,u::rw,g::rx"), value);
        let root = from_text(b"user::rw-,user:root:r--,group::r--,mask::r--,other::r--").unwrap();
        assert_eq!(
            to_text(&root, false).unwrap(),
            b"user::rw-,user:0:r--,group::r--,mask::r--,other::r--"
        );
        assert!(to_text(&root, true).unwrap().starts_with(b"user::rw-,user:root:r--:0,"));
        for wrong in ["user", "user::rq-", "king::rwx", "user:nobody here:rw-", "mask", "\u{FF}"] {
            assert_eq!(from_text(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
