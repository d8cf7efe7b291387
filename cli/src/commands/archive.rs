//! The archive within a container, as `ls`, `cat` and `unpack` see it: by its member index, or by
//! reading through it where it has none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringpack::escape::shown;
use ringpack::members::Member;
use ringpack::read::members::Members;
use ringpack::read::{Container, ContentReader, MemberIndex};
use ringpack::ring::os::OsDisk;
use ringpack::{Cancel, Error, ErrorKind, Progress, Result};

use crate::message;
use crate::tar_stream::read::{Entry, TarReader};

/// The reader of an open container's archive.
pub(super) type Reader<'a> = TarReader<ContentReader<&'a Container>>;

/// The members of an archive one after the other, and the reader that restores them.
pub(super) struct Listing<'a> {
    container: &'a Container,
    index: Option<Members<'a>>,
    pub(super) reader: Reader<'a>,
    /// Where the next member's headers are, where there is no index.
    next: u64,
}

/// A member.
pub(super) enum Listed {
    /// As the index states it.
    Stated(Member),
    /// As the archive has it.
    Found(Entry),
}

impl Listed {
    pub(super) fn member(&self) -> &Member {
        match self {
            Self::Stated(member) => member,
            Self::Found(entry) => &entry.member,
        }
    }
}

impl<'a> Listing<'a> {
    /// The members of which `index` tells, or which are found by reading through.
    pub(super) fn new(
        container: &'a Container,
        index: Option<&'a MemberIndex<'a>>,
        progress: Progress,
    ) -> Result<Self> {
        let index = index.map(MemberIndex::iter).transpose()?;
        let reader = reader(container, progress)?;
        Ok(Self { container, index, reader, next: 0 })
    }

    /// The next member.
    pub(super) fn next(&mut self) -> Result<Option<Listed>> {
        if let Some(index) = &mut self.index {
            return Ok(index.next().transpose()?.map(Listed::Stated));
        }
        self.reader.go_to(self.next)?;
        let found = self.reader.next().map_err(|error| self.container.named(error))?;
        Ok(found.map(|entry| {
            self.next = entry.next();
            Listed::Found(entry)
        }))
    }

    /// The member as the archive has it, which must be as the index states.
    pub(super) fn entry(&mut self, listed: Listed) -> Result<Entry> {
        match listed {
            Listed::Found(entry) => Ok(entry),
            Listed::Stated(member) => entry(self.container, &mut self.reader, &member),
        }
    }

    /// The member whose headers are at `offset`, which were passed already.
    pub(super) fn at(&mut self, offset: u64) -> Result<Entry> {
        if self.index.is_some() {
            self.reader.learn(offset)?;
        }
        self.reader.go_to(offset)?;
        let found = self.reader.next().map_err(|error| self.container.named(error))?;
        found.ok_or_else(|| disagrees(self.container, &format!("there is none at {offset}")))
    }
}

/// Gives each member to `sink`, in the order of the archive. Says so where there is no index,
/// unless `quiet`.
pub(super) fn each_member(
    container: &Container,
    quiet: bool,
    cancel: &Cancel,
    sink: &mut dyn FnMut(&Member) -> Result<()>,
) -> Result<()> {
    let index = container.members()?;
    let mut listing = Listing::new(container, index.as_ref(), Progress::default())?;
    let mut told = quiet || index.is_some();
    while let Some(listed) = listing.next()? {
        go_on(cancel)?;
        if !told {
            told = true;
            let name = container.path().map(|path| shown(path).to_string()).unwrap_or_default();
            let what =
                "has no member index, as of an archive that came as a stream: reading through";
            message::warning(&format!("{name}: {what}"));
        }
        sink(listed.member())?;
    }
    Ok(())
}

/// An error once the job is to stop.
pub(super) fn go_on(cancel: &Cancel) -> Result<()> {
    match cancel.is_cancelled() {
        true => Err(Error::new(ErrorKind::Cancelled, "the job was cancelled")),
        false => Ok(()),
    }
}

/// A reader of the archive, for a job of that progress.
pub(super) fn reader(container: &Container, progress: Progress) -> Result<Reader<'_>> {
    TarReader::at(ContentReader::new(container)?.watched_by(progress), 0)
}

/// The member as the archive itself has it, which must be as `stated`.
pub(super) fn entry(
    container: &Container,
    reader: &mut Reader<'_>,
    stated: &Member,
) -> Result<Entry> {
    let read = |reader: &mut Reader<'_>| {
        reader.go_to(stated.header_offset)?;
        reader.next().map_err(|error| container.named(error))
    };
    let mut found = read(reader)?;
    if found.as_ref().is_none_or(|entry| entry.member != *stated) {
        // What an archive says of all members that follow stands before some of them only.
        reader.learn(stated.header_offset)?;
        found = read(reader)?;
    }
    compare(container, Some(stated), found.as_ref().map(|entry| &entry.member))?;
    found.ok_or_else(|| disagrees(container, "a member is missing"))
}

/// Compares what the index states with what the archive has in its place.
///
/// # Errors
/// `Damaged` where they differ.
pub(super) fn compare(
    container: &Container,
    stated: Option<&Member>,
    found: Option<&Member>,
) -> Result<()> {
    let name = |member: &Member| shown(OsStr::from_bytes(&member.path)).to_string();
    let what = match (stated, found) {
        (stated, found) if stated == found => return Ok(()),
        (Some(stated), None) => format!("{} is not in the archive", name(stated)),
        (None, Some(found)) => format!("{} is not in the index", name(found)),
        (Some(stated), Some(found)) if stated.path == found.path => {
            format!("{} is stated otherwise than it is", name(stated))
        }
        (Some(stated), Some(found)) => {
            format!("{} is stated where the archive has {}", name(stated), name(found))
        }
        (None, None) => return Ok(()),
    };
    Err(disagrees(container, &what))
}

/// Compares the member index, if there is one, with the archive, whose headers are all read.
///
/// # Errors
/// `Damaged` where they differ, naming the member.
pub(super) fn check_index(path: &Path, cancel: &Cancel) -> Result<()> {
    let container = Container::open(&OsDisk, path, false)?;
    let Some(index) = container.members()? else { return Ok(()) };
    let mut stated = index.iter()?;
    let mut reader = reader(&container, Progress::default())?;
    loop {
        go_on(cancel)?;
        let found = reader.next().map_err(|error| container.named(error))?;
        let stated = stated.next().transpose()?;
        compare(&container, stated.as_ref(), found.as_ref().map(|entry| &entry.member))?;
        let Some(entry) = found else { return Ok(()) };
        reader.go_to(entry.next())?;
    }
}

fn disagrees(container: &Container, what: &str) -> Error {
    let what = format!("the member index doesn't agree with the archive: {what}");
    let error = Error::new(ErrorKind::Damaged, what);
    container.named(error.hint("restore the archive with ringpack unpack, and read it with tar"))
}
