//! A tar stream, written header by header, and the list of its members.
//!
//! The format is GNU's, which keeps names of any bytes and length and the maps of sparse files;
//! what it has no room for (fractions of seconds, times before 1970, extended attributes) stands
//! in a PAX header before it, which GNU tar reads as well. A member is
//!
//! ```text
//! [PAX header] [long link] [long name] HEADER [map of a sparse file] bytes, padded to 512
//! ```

use std::io::{self, Write};

use ringpack::format::members::TAR_BLOCK as BLOCK;
use ringpack::members::{Member, MemberKind, MemberList};
use ringpack::{Error, ErrorKind};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::extended::{XATTR, XATTRS_LEN_MAX, held};
use super::{ACL_OF_KERNEL, ACLS, Piece, Xattr, pax};

/// Length of a name in a header, in bytes.
const NAME_LEN: usize = 100;

/// What a header says beside what a member does.
#[derive(Debug, Default)]
pub(crate) struct Beside<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
    /// Numbers of a device.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<Xattr>,
    /// Pieces of a sparse file.
    pub(crate) pieces: Option<Vec<Piece>>,
}

/// The stream.
pub(crate) struct TarStream<W: Write> {
    out: W,
    at: u64,
    members: MemberList,
}

impl<W: Write> TarStream<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, at: 0, members: MemberList::new() }
    }

    /// Writes all that stands before a member's bytes, and notes the member; its offsets are set
    /// here.
    pub(crate) fn member(&mut self, member: Member, beside: &Beside<'_>) -> io::Result<()> {
        let header_offset = self.at;
        let mut path = member.path.clone();
        if member.kind == MemberKind::Directory {
            path.push(b'/');
        }
        self.pax(&member, &beside.xattrs)?;
        if member.link.len() > NAME_LEN {
            self.long(EntryType::GNULongLink, &member.link)?;
        }
        if path.len() > NAME_LEN {
            self.long(EntryType::GNULongName, &path)?;
        }
        let mut header = Header::new_gnu();
        let sparse = beside.pieces.as_deref();
        header.set_entry_type(match member.kind {
            MemberKind::Regular if sparse.is_some() => EntryType::GNUSparse,
            MemberKind::Regular => EntryType::Regular,
            MemberKind::Directory => EntryType::Directory,
            MemberKind::Symlink => EntryType::Symlink,
            MemberKind::HardLink => EntryType::Link,
            MemberKind::Fifo => EntryType::Fifo,
            MemberKind::CharDevice => EntryType::Char,
            MemberKind::BlockDevice => EntryType::Block,
        });
        header.set_mode(member.mode);
        header.set_uid(member.uid.into());
        header.set_gid(member.gid.into());
        header.set_size(member.stored);
        header.set_mtime(u64::try_from(member.mtime).unwrap_or(0));
        // Names too long for their fields are left out: the numbers say the same.
        let _ = beside.user.map(|name| header.set_username(name));
        let _ = beside.group.map(|name| header.set_groupname(name));
        if matches!(member.kind, MemberKind::CharDevice | MemberKind::BlockDevice) {
            header.set_device_major(beside.device.0)?;
            header.set_device_minor(beside.device.1)?;
        }
        let gnu = header.as_gnu_mut().expect("it was made as a GNU header");
        put_name(&mut gnu.name, &path);
        put_name(&mut gnu.linkname, &member.link);
        let mut rest = &[][..];
        if let Some(pieces) = sparse {
            gnu.set_real_size(member.size);
            rest = fill(&mut gnu.sparse, pieces);
            gnu.set_is_extended(!rest.is_empty());
        }
        header.set_cksum();
        self.put(header.as_bytes())?;
        while !rest.is_empty() {
            let mut more = GnuExtSparseHeader::new();
            rest = fill(&mut more.sparse, rest);
            more.set_is_extended(!rest.is_empty());
            self.put(more.as_bytes())?;
        }
        let member = Member { header_offset, data_offset: self.at, ..member };
        self.members.push(&member).map_err(io::Error::other)
    }

    fn pax(&mut self, member: &Member, xattrs: &[Xattr]) -> io::Result<()> {
        let mut records = Vec::new();
        if member.mtime_ns != 0 || member.mtime < 0 {
            let time = pax::time(member.mtime, member.mtime_ns);
            pax::put(&mut records, b"mtime", time.as_bytes());
        }
        if xattrs.iter().map(held).sum::<usize>() > XATTRS_LEN_MAX {
            let what = "has more than 8 MiB of extended attributes, which no archive here can hold";
            return Err(io::Error::other(Error::new(ErrorKind::Input, what)));
        }
        for (name, value) in xattrs {
            let acl = ACLS.iter().find(|(kernel, _)| *kernel == name);
            match acl.filter(|_| !value.starts_with(ACL_OF_KERNEL)) {
                Some((_, keyword)) => pax::put(&mut records, keyword, value),
                None => pax::put(&mut records, &[XATTR, &pax::keyword(name)].concat(), value),
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        self.special(EntryType::XHeader, b"././@PaxHeader", &records)
    }

    /// A name that its header has no room for.
    fn long(&mut self, kind: EntryType, name: &[u8]) -> io::Result<()> {
        self.special(kind, b"././@LongLink", &[name, b"\0"].concat())
    }

    fn special(&mut self, kind: EntryType, name: &[u8], content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        put_name(&mut header.as_gnu_mut().expect("it was made as a GNU header").name, name);
        header.set_cksum();
        self.put(header.as_bytes())?;
        self.put(content)?;
        self.pad()
    }

    /// Writes the next bytes of a member.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Fills up to the grid.
    pub(crate) fn pad(&mut self) -> io::Result<()> {
        let len = self.at.next_multiple_of(BLOCK) - self.at;
        self.put(&[0; BLOCK as usize][..len as usize])
    }

    /// Ends the stream; what remains to be known are its members.
    pub(crate) fn end(mut self) -> io::Result<MemberList> {
        // Two blocks of zeros, and up to tar's record of 20 blocks, as GNU tar has it.
        let end = (self.at + 2 * BLOCK).next_multiple_of(20 * BLOCK);
        while self.at < end {
            self.put(&[0; BLOCK as usize])?;
        }
        self.out.flush()?;
        Ok(self.members)
    }
}

fn put_name(field: &mut [u8; NAME_LEN], name: &[u8]) {
    let len = name.len().min(NAME_LEN);
    field[..len].copy_from_slice(&name[..len]);
}

/// Fills places of a map; what found no place is given back.
fn fill<'a>(places: &mut [GnuSparseHeader], pieces: &'a [Piece]) -> &'a [Piece] {
    let (now, later) = pieces.split_at(pieces.len().min(places.len()));
    for (place, (offset, len)) in places.iter_mut().zip(now) {
        place.set_offset(*offset);
        place.set_length(*len);
    }
    later
}
