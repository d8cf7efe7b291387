//! The archive within a container, as `ls`, `cat` and `unpack` see it: by its member index, or by
//! reading through it where it has none.

use ringpack::escape::shown;
use ringpack::members::Member;
use ringpack::read::{Container, ContentReader};
use ringpack::{Cancel, Error, ErrorKind, Progress, Result};

use crate::message;
use crate::tar_stream::read::{Entry, TarReader};

/// The reader of an open container's archive.
pub(super) type Reader<'a> = TarReader<ContentReader<&'a Container>>;

/// Gives each member to `sink`, in the order of the archive. Says so where there is no index,
/// unless `quiet`.
pub(super) fn each_member(
    container: &Container,
    quiet: bool,
    cancel: &Cancel,
    sink: &mut dyn FnMut(Member) -> Result<()>,
) -> Result<()> {
    let going_on = || match cancel.is_cancelled() {
        true => Err(Error::new(ErrorKind::Cancelled, "the job was cancelled")),
        false => Ok(()),
    };
    if let Some(index) = container.members()? {
        for member in index.iter()? {
            going_on()?;
            sink(member?)?;
        }
        return Ok(());
    }
    let mut reader = reader(container, 0, Progress::default())?;
    let mut told = quiet;
    while let Some(entry) = reader.next().map_err(|error| container.named(error))? {
        going_on()?;
        if !told {
            told = true;
            let name = container.path().map(|path| shown(path).to_string()).unwrap_or_default();
            let what =
                "has no member index, as of an archive that came as a stream: reading through";
            message::warning(&format!("{name}: {what}"));
        }
        reader.pass(&entry)?;
        sink(entry.member)?;
    }
    Ok(())
}

/// A reader of the archive from the headers at `offset` on, for a job of that progress.
pub(super) fn reader(container: &Container, offset: u64, progress: Progress) -> Result<Reader<'_>> {
    TarReader::at(ContentReader::new(container)?.watched_by(progress), offset)
}

/// The member as the archive itself has it, which must be as `stated`.
pub(super) fn entry(
    container: &Container,
    reader: &mut Reader<'_>,
    stated: &Member,
) -> Result<Entry> {
    let read = |reader: &mut Reader<'_>| {
        reader.go_to(stated.header_offset)?;
        let found = reader.next().map_err(|error| container.named(error))?;
        Ok(found.filter(|entry| entry.member == *stated))
    };
    let mut found = read(reader)?;
    if found.is_none() {
        // What an archive says of all members that follow stands before some of them only.
        reader.learn(stated.header_offset)?;
        found = read(reader)?;
    }
    found.ok_or_else(|| {
        let what = "the member index doesn't agree with the archive";
        let error = Error::new(ErrorKind::Damaged, what);
        container
            .named(error.hint("restore the archive with ringpack unpack, and read it with tar"))
    })
}

/// A path of a member as people type it: no `./` before it, no slash at its end.
pub(super) fn plain(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    match path.strip_suffix(b"/") {
        Some(path) if !path.is_empty() => path,
        _ => path,
    }
}
