//! `ringpack cat`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use ringpack::escape::shown;
use ringpack::foreign::read_range;
use ringpack::members::{Member, MemberKind};
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::ring::stream::PipeEnd;
use ringpack::{Cancel, Error, ErrorKind, Progress, Result};

use super::archive::{each_member, entry, reader};
use super::foreign;
use crate::args;
use crate::exit::Failure;
use crate::streams::{refuse_stdin, standard_output, unwritable};
use crate::tree::place::key;

pub(crate) fn run(args: &args::Cat, cancel: &Cancel) -> Result<ExitCode, Failure> {
    refuse_stdin(&args.input)?;
    let output = PipeEnd::for_writing(standard_output(args.force)?, cancel).map_err(unwritable)?;
    let container = match Container::open(&OsDisk, &args.input, false) {
        Err(error) if foreign::may_be(&error) && args.member.is_none() => {
            let end = args.length.map(|length| args.offset.saturating_add(length));
            let (range, options) = ((args.offset, end), args.foreign.options(None));
            let mut sink = |bytes: &[u8]| put(&output, bytes);
            read_range(&OsDisk, &args.input, range, &options, cancel, &mut sink)?;
            return Ok(ExitCode::SUCCESS);
        }
        container => container?,
    };
    if let Some(name) = &args.member {
        member(&container, name, cancel, &output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let size = container.header().content_size;
    let length = args.length.unwrap_or_else(|| size.saturating_sub(args.offset));
    let end = args.offset.checked_add(length).ok_or_else(|| {
        Failure::Usage(
            "--offset and --length together pass the largest file there can be: give less".into(),
        )
    })?;
    container.read_range(args.offset..end, &mut |bytes| put(&output, bytes))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file of the archive.
fn member(
    container: &Container,
    name: &OsStr,
    cancel: &Cancel,
    output: &PipeEnd,
) -> Result<(), Failure> {
    let shown = shown(name);
    let Some(mut found) = find(container, name.as_bytes(), cancel)? else {
        return Err(Failure::Other(format!(
            "{shown}: no member has this name; ringpack ls has all"
        )));
    };
    if found.kind == MemberKind::HardLink {
        found = find(container, &found.link, cancel)?.ok_or_else(|| {
            Failure::Other(format!("{shown}: is another name of a member that is missing"))
        })?;
    }
    if found.kind != MemberKind::Regular {
        return Err(Failure::Other(format!("{shown}: is no regular file")));
    }
    let mut reader = reader(container, Progress::default())?;
    let entry = entry(container, &mut reader, &found)?;
    let mut at = 0;
    reader.bytes(&entry, &mut |offset, bytes| {
        zeros(output, offset - at)?;
        at = offset + bytes.len() as u64;
        put(output, bytes)
    })?;
    zeros(output, found.size - at)?;
    Ok(())
}

/// The member of this name, of several the last, as tar restores it.
fn find(container: &Container, name: &[u8], cancel: &Cancel) -> Result<Option<Member>> {
    let (mut found, name) = (None, key(name));
    each_member(container, true, cancel, &mut |member| {
        // A hard link to itself says nothing. Archives that were appended to have such links.
        let is_own = member.kind == MemberKind::HardLink && key(&member.link) == name;
        if key(&member.path) == name && !is_own {
            found = Some(member.clone());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Writes what a hole reads as.
fn zeros(output: &PipeEnd, mut len: u64) -> Result<()> {
    let piece = [0; 64 << 10];
    while len > 0 {
        let step = len.min(piece.len() as u64);
        put(output, &piece[..step as usize])?;
        len -= step;
    }
    Ok(())
}

fn put(output: &PipeEnd, bytes: &[u8]) -> Result<()> {
    if output.write_full(bytes).map_err(unwritable)? {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"))
    }
}
