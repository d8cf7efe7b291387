//! `ringpack ls`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use ringpack::escape::shown;
use ringpack::members::{Member, MemberKind};
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::{Cancel, Error};
use serde::Serialize;

use super::archive::each_member;
use crate::args;
use crate::exit::Failure;
use crate::message;
use crate::streams::{Text, refuse_stdin, unwritable};
use crate::tree::select::Patterns;
use crate::tree::when;

/// A member as programs read it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    message_type: &'static str,
    path: &'a str,
    /// The path's bytes, where they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: MemberKind,
    size: u64,
    mode: String,
    uid: u32,
    gid: u32,
    mtime: i64,
    mtime_ns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    header_offset: u64,
    data_offset: u64,
}

pub(crate) fn run(args: &args::Ls, cancel: &Cancel) -> Result<ExitCode, Failure> {
    let patterns = Patterns::new(&args.patterns).map_err(Failure::Usage)?;
    refuse_stdin(&args.input)?;
    let container = Container::open(&OsDisk, &args.input, false)?;
    let mut out = BufWriter::new(Text::new()?);
    let mut matched = vec![false; patterns.len()];
    each_member(&container, args.quiet, cancel, &mut |member| {
        let meaning = patterns.meaning(&member.path);
        if meaning.is_empty() && !patterns.is_empty() {
            return Ok(());
        }
        meaning.into_iter().for_each(|number| matched[number] = true);
        let (line, end) = match (args.null, args.json, args.long) {
            (true, ..) => (name(member), b"\0"),
            (_, true, _) => (json(member)?, b"\n"),
            (_, _, true) => (long(member).into_bytes(), b"\n"),
            _ => (shown(OsStr::from_bytes(&name(member))).to_string().into_bytes(), b"\n"),
        };
        out.write_all(&line).and_then(|()| out.write_all(end)).map_err(unwritable)
    })?;
    out.flush().map_err(unwritable)?;
    Ok(unmatched(&patterns, &matched))
}

/// Says which patterns matched nothing; the code says whether any did.
pub(super) fn unmatched(patterns: &Patterns, matched: &[bool]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (number, _) in matched.iter().enumerate().filter(|&(_, &found)| !found) {
        message::error(&format!("{}: matches no member", shown(patterns.typed(number))));
        code = ExitCode::from(crate::exit::FAILURE);
    }
    code
}

/// Its path, a directory's with a slash at the end.
fn name(member: &Member) -> Vec<u8> {
    let mut name = member.path.clone();
    if member.kind == MemberKind::Directory {
        name.push(b'/');
    }
    name
}

fn long(member: &Member) -> String {
    let Member { mode, uid, gid, size, mtime, .. } = *member;
    let (mode, owner) = (permissions(member.kind, mode), format!("{uid}/{gid}"));
    let name = name(member);
    let name = shown(OsStr::from_bytes(&name));
    let mut line = format!("{mode} {owner:>11} {size:>12} {} {name}", when::shown(mtime));
    if !member.link.is_empty() {
        let arrow = if member.kind == MemberKind::HardLink { "link to" } else { "->" };
        let _ = write!(line, " {arrow} {}", shown(OsStr::from_bytes(&member.link)));
    }
    line
}

/// Kind and permissions as `ls -l` has them.
fn permissions(kind: MemberKind, mode: u32) -> String {
    let mut text = String::new();
    text.push(match kind {
        MemberKind::Regular => '-',
        MemberKind::Directory => 'd',
        MemberKind::Symlink => 'l',
        MemberKind::HardLink => 'h',
        MemberKind::Fifo => 'p',
        MemberKind::CharDevice => 'c',
        MemberKind::BlockDevice => 'b',
    });
    // Setuid, setgid and sticky show in place of the three x.
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn json(member: &Member) -> Result<Vec<u8>, Error> {
    let path = String::from_utf8_lossy(&member.path);
    let link = String::from_utf8_lossy(&member.link);
    let is_text = std::str::from_utf8(&member.path).is_ok();
    let hex = || member.path.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = Line {
        message_type: "member",
        path: &path,
        path_hex: (!is_text).then(hex),
        kind: member.kind,
        size: member.size,
        mode: format!("{:04o}", member.mode),
        uid: member.uid,
        gid: member.gid,
        mtime: member.mtime,
        mtime_ns: member.mtime_ns,
        link: Some(&*link).filter(|link| !link.is_empty()),
        header_offset: member.header_offset,
        data_offset: member.data_offset,
    };
    crate::json::text(&line).map(String::into_bytes).map_err(|error| unwritable(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_as_ls_has_them() {
        assert_eq!(permissions(MemberKind::Regular, 0o644), "-rw-r--r--");
        assert_eq!(permissions(MemberKind::Regular, 0o4755), "-rwsr-xr-x");
        assert_eq!(permissions(MemberKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(permissions(MemberKind::Directory, 0o2640), "drw-r-S---");
    }
}
