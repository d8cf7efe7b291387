//! What PAX headers say: of the member that follows, and of all that follow.
//!
//! A value that is empty counts as not given, so the header's own field holds. Of a value that
//! makes no sense only what the archive's order depends on is an error, as with GNU tar; of the
//! rest a person is told.

use super::pax;
use super::sparse::{self, Piece};
use super::{ACLS, Xattr};

/// Longest path, in bytes.
pub(super) const NAME_LEN_MAX: usize = u16::MAX as usize;

/// Most memory for a member's attributes, in bytes: they are held while it is restored.
pub(super) const XATTRS_LEN_MAX: usize = 8 << 20;
/// The keyword of an attribute, before its name.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";
/// Most memory for what is said of all members that follow: that of 100,000 changes.
const GLOBALS_BYTES_MAX: usize = 16 << 20;

/// What a header may say of one member, or of all that follow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Common {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<(i64, u32)>,
}

/// What it says of a sparse file.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) name: Option<Vec<u8>>,
    /// Its length as it is restored.
    pub(super) size: Option<u64>,
    /// The version, from 1.0 on.
    pub(super) version: Option<(u64, u64)>,
    /// Pieces, in the versions before.
    pub(super) pieces: Option<Vec<Piece>>,
}

/// What a header says of one member.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) common: Common,
    pub(super) sparse: Sparse,
    pub(super) xattrs: Vec<Xattr>,
    /// What makes no sense, and was passed over.
    pub(super) senseless: Vec<&'static str>,
}

impl Common {
    /// What a header of all that follow says; `None` where it is damaged.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        for record in pax::records(bytes) {
            let (key, value) = record?;
            found.take(key, value, &mut Vec::new())?;
        }
        Some(found)
    }

    /// Takes a record that is meant for it; `false` for any other.
    fn take(
        &mut self,
        key: &[u8],
        value: &[u8],
        senseless: &mut Vec<&'static str>,
    ) -> Option<bool> {
        let name = |value: &[u8]| {
            let fits = value.len() <= NAME_LEN_MAX && !value.contains(&0);
            fits.then(|| Some(value.to_vec()).filter(|name| !name.is_empty()))
        };
        let mut told = |what| {
            if !value.is_empty() {
                told_once(senseless, what);
            }
        };
        let number = || u32::try_from(sparse::decimal(value)?).ok();
        match key {
            b"path" => self.path = name(value)?,
            b"linkpath" => self.link = name(value)?,
            b"size" if value.is_empty() => self.size = None,
            b"size" => self.size = Some(sparse::decimal(value)?),
            b"uid" => {
                self.uid = number();
                self.uid.is_none().then(|| told("its owner"));
            }
            b"gid" => {
                self.gid = number();
                self.gid.is_none().then(|| told("its group"));
            }
            b"mtime" => {
                self.mtime = pax::parse_time(value);
                self.mtime.is_none().then(|| told("its time of modification"));
            }
            _ => return Some(false),
        }
        Some(true)
    }
}

fn told_once(senseless: &mut Vec<&'static str>, what: &'static str) {
    if !senseless.contains(&what) {
        senseless.push(what);
    }
}

impl Extended {
    /// What the records say of a member for which `common` holds where they say nothing; `None`
    /// where they are damaged.
    pub(super) fn of(bytes: &[u8], common: &Common) -> Option<Self> {
        let mut found = Self { common: common.clone(), ..Self::default() };
        let (mut by_libarchive, mut acls) = (Vec::new(), Vec::new());
        let mut room = XATTRS_LEN_MAX;
        let mut version = (None, None);
        let mut offset = None;
        for record in pax::records(bytes) {
            let (key, value) = record?;
            if found.common.take(key, value, &mut found.senseless)? {
                continue;
            }
            let number = || sparse::decimal(value);
            let sparse = &mut found.sparse;
            match key {
                b"GNU.sparse.name" => sparse.name = Some(value.to_vec()),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => sparse.size = Some(number()?),
                b"GNU.sparse.major" => version.0 = Some(number()?),
                b"GNU.sparse.minor" => version.1 = Some(number()?),
                b"GNU.sparse.offset" => offset = Some(number()?),
                b"GNU.sparse.numbytes" => {
                    let piece = (offset.take()?, number()?);
                    sparse.pieces.get_or_insert_default().push(piece);
                }
                b"GNU.sparse.map" => sparse.pieces = Some(sparse::listed(value)?),
                _ => {
                    let (xattr, list) = if let Some(name) = key.strip_prefix(XATTR) {
                        (Some((pax::gnu_name(name), value.to_vec())), &mut found.xattrs)
                    } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                        let value = pax::base64(value);
                        let name = pax::libarchive_name(name);
                        (value.map(|value| (name, value)), &mut by_libarchive)
                    } else if let Some((name, _)) = ACLS.iter().find(|(_, acl)| *acl == key) {
                        let is_given = !value.is_empty();
                        (is_given.then(|| (name.to_vec(), value.to_vec())), &mut acls)
                    } else {
                        continue;
                    };
                    let Some(xattr) = xattr else {
                        if !value.is_empty() {
                            told_once(&mut found.senseless, "an extended attribute");
                        }
                        continue;
                    };
                    room = room.checked_sub(held(&xattr))?;
                    list.push(xattr);
                }
            }
        }
        found.sparse.version = version.0.zip(version.1);
        if !by_libarchive.is_empty() {
            // It writes each of them twice: this is the form that keeps every name.
            found.xattrs = by_libarchive;
        }
        // In text they count more than in bytes.
        found.xattrs.append(&mut acls);
        Some(found)
    }
}

/// The memory that an attribute takes.
pub(super) fn held((name, value): &Xattr) -> usize {
    size_of::<Xattr>() + name.len() + value.len()
}

/// What was said of all members that follow, by where it was said: a header of the kind takes the
/// place of the one before it altogether, as with GNU tar.
#[derive(Debug, Default)]
pub(super) struct Globals {
    /// In order; where nothing changed there is none.
    said: Vec<(u64, Common)>,
    bytes: usize,
}

impl Globals {
    /// What holds for a member behind `offset`.
    pub(super) fn before(&self, offset: u64) -> &Common {
        static NOTHING: Common =
            Common { path: None, link: None, size: None, uid: None, gid: None, mtime: None };
        let count = self.said.partition_point(|&(at, _)| at < offset);
        count.checked_sub(1).map_or(&NOTHING, |last| &self.said[last].1)
    }

    /// Keeps what the header at `offset` says; `None` where it would be too much to keep.
    pub(super) fn keep(&mut self, offset: u64, common: Common) -> Option<()> {
        let is_known = self.said.last().is_some_and(|&(last, _)| last >= offset);
        if is_known || common == *self.before(offset) {
            return Some(());
        }
        let len = |name: &Option<Vec<u8>>| name.as_ref().map_or(0, Vec::len);
        self.bytes += size_of::<(u64, Common)>() + len(&common.path) + len(&common.link);
        self.said.push((offset, common));
        (self.bytes <= GLOBALS_BYTES_MAX).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extended(records: &[(&str, &[u8])]) -> Option<Extended> {
        let mut bytes = Vec::new();
        records.iter().for_each(|(key, value)| pax::put(&mut bytes, key.as_bytes(), value));
        let common = Common { uid: Some(7), mtime: Some((5, 0)), ..Common::default() };
        Extended::of(&bytes, &common)
    }

    #[test]
    fn what_it_says_counts_more_than_what_was_said_of_all() {
        let found = extended(&[("uid", b"8"), ("gid", b""), ("mtime", b"")]).unwrap();
        assert_eq!((found.common.uid, found.common.gid, found.common.mtime), (Some(8), None, None));
        assert!(found.senseless.is_empty());
        let found = extended(&[("uid", b"-8"), ("mtime", b"soon")]).unwrap();
        assert_eq!(found.senseless, ["its owner", "its time of modification"]);
        let long = vec![b'n'; NAME_LEN_MAX + 1];
        for (key, wrong) in [("size", &b"x"[..]), ("path", b"a\0b"), ("linkpath", &long)] {
            assert!(extended(&[(key, wrong)]).is_none(), "{key}");
        }
    }

    #[test]
    fn attributes_by_either_writer() {
        let found = extended(&[("SCHILY.xattr.user.a%3Db", b"c=d")]).unwrap();
        assert_eq!(found.xattrs, [(b"user.a=b".to_vec(), b"c=d".to_vec())]);
        let both = [
            ("LIBARCHIVE.xattr.user.a%3Db", &b"Yz1k"[..]),
            ("SCHILY.xattr.user.a", b"b=c=d"),
            ("SCHILY.acl.access", b"user::rw-"),
        ];
        let acl = (b"system.posix_acl_access".to_vec(), b"user::rw-".to_vec());
        let found = extended(&both).unwrap();
        assert_eq!(found.xattrs, [(b"user.a=b".to_vec(), b"c=d".to_vec()), acl]);
    }

    #[test]
    fn what_is_said_of_all_holds_until_it_is_said_anew() {
        let uid = |uid| Common { uid: Some(uid), ..Common::default() };
        let mut globals = Globals::default();
        assert_eq!(*globals.before(9999), Common::default());
        for (offset, common) in [(0, Common::default()), (512, uid(1)), (1024, uid(1))] {
            globals.keep(offset, common).unwrap();
        }
        let gid = Common { gid: Some(3), ..Common::default() };
        globals.keep(2048, gid.clone()).unwrap();
        // Read again, by whoever goes back.
        globals.keep(512, uid(1)).unwrap();
        assert_eq!(globals.said.len(), 2);
        let found = [512, 513, 2048, 2049].map(|offset| globals.before(offset).clone());
        assert_eq!(found, [Common::default(), uid(1), uid(1), gid]);
        let kept = (0..1 << 20).find(|&at| globals.keep(4096 + at * 512, uid(at as u32)).is_none());
        assert!(kept.is_some_and(|count| count > 50_000), "{kept:?}");
    }
}
