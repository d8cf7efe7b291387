//! `ringpack unpack --extract` and `--member`: the files of an archive.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::ExitCode;

use ringpack::escape::shown;
use ringpack::members::{Member, MemberKind};
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::{Cancel, Error, ErrorKind, Progress, Result};

use super::archive::{each_member, entry, reader};
use super::ls::unmatched;
use super::report::{How, note, warn};
use super::unpack::Unpacked;
use crate::args;
use crate::exit::Failure;
use crate::job::Job;
use crate::message;
use crate::names;
use crate::size::human;
use crate::streams::refuse_stdin;
use crate::tar_stream::read::{Entry, LeftOut};
use crate::tree::extract::{Extraction, Rights};
use crate::tree::select::Patterns;

pub(super) fn run(
    input: &Path,
    args: &args::Unpack,
    cancel: &Cancel,
    job: &mut Job,
) -> Result<(), Failure> {
    let patterns = Patterns::new(&args.tree.member).map_err(Failure::Usage)?;
    let target = args.output.as_deref().unwrap_or(Path::new("."));
    if names::is_standard_stream(target) {
        let what = "files are restored into a directory: name it with --output (-o)";
        return Err(Failure::Usage(what.to_owned()));
    }
    refuse_stdin(input)?;
    let container = Container::open(&OsDisk, input, false)?;
    let rights = Rights {
        replace: args.force,
        owners: args.tree.same_owner,
        permissions: args.tree.same_permissions,
        devices: args.tree.devices,
    };
    let mut all_matched = true;
    let mut continued = LeftOut::default();
    let progress = job.progress();
    let mut extraction = Extraction::into(target, rights, progress.clone(), cancel)?;
    if patterns.is_empty() {
        let done = whole(&container, &progress, &mut extraction);
        continued = done.map_err(|error| container.named(error))?;
    } else {
        let (chosen, matched) = choose(&container, &patterns, args.talk.quiet, cancel)?;
        some(&container, &chosen, args.talk.quiet, &progress, cancel, &mut extraction)
            .map_err(|error| container.named(error))?;
        all_matched = unmatched(&patterns, &matched) == ExitCode::SUCCESS;
    }
    let restored = extraction.finish()?;
    job.note_size(container.header().file_size);
    job.over();
    let name = input.to_string_lossy();
    if args.talk.json {
        message::json(&Unpacked {
            course: job.course_of(restored.bytes),
            input: &name,
            output: &target.to_string_lossy(),
            content_size: restored.bytes,
            file_size: container.header().file_size,
            holes: 0,
            members: Some(restored.members),
            how: How::without_rings(1, Some(false), Some(false)),
        });
    }
    warn(&restored.warnings, &args.talk);
    note(&args.talk, || {
        let (members, bytes) = (restored.members, human(restored.bytes));
        let summary = format!("{}: {members} members, {bytes}, {}", shown(input), shown(target));
        match args.talk.is_verbose() {
            true => format!("{summary}\n{}", job.course_of(restored.bytes).text()),
            false => summary,
        }
    });
    if restored.kept > 0 {
        let what = format!("{} members were left out for what exists already", restored.kept);
        return Err(Error::new(ErrorKind::TargetExists, what).at(target).into());
    }
    if continued.count > 0 {
        let (count, first) = (continued.count, continued.first.escape_ascii());
        let what = format!("{count} members continue files of another volume: left out ({first})");
        let error = Error::new(ErrorKind::Unsupported, what).at(input);
        return Err(error.hint("restore all volumes with tar --multi-volume").into());
    }
    // Which didn't was said.
    if all_matched { Ok(()) } else { Err(Failure::Said) }
}

/// Restores every member, in one pass; returns those that can't be.
fn whole(
    container: &Container,
    progress: &Progress,
    extraction: &mut Extraction<'_>,
) -> Result<LeftOut> {
    let size = container.header().content_size;
    progress.begin(Some(size), 0);
    let mut reader = reader(container, 0, progress.clone())?;
    let mut at = 0;
    while let Some(entry) = reader.next().map_err(|error| container.named(error))? {
        let next = entry.next();
        counting(progress, next.saturating_sub(at), || extraction.member(entry, &mut reader))?;
        reader.go_to(next)?;
        at = next;
    }
    // What ends an archive, and fills up its last record.
    progress.extent(size.saturating_sub(at), 0);
    Ok(reader.into_continued())
}

/// Takes a step of `bytes` altogether, which counts no more than these itself.
fn counting(progress: &Progress, bytes: u64, step: impl FnOnce() -> Result<()>) -> Result<()> {
    let through = || progress.look().content_bytes;
    let end = through().saturating_add(bytes);
    step()?;
    progress.extent(end.saturating_sub(through()), 0);
    Ok(())
}

/// The members that the patterns mean, and which patterns meant any.
fn choose(
    container: &Container,
    patterns: &Patterns,
    quiet: bool,
    cancel: &Cancel,
) -> Result<(Vec<Member>, Vec<bool>)> {
    let mut chosen = Vec::new();
    let mut matched = vec![false; patterns.len()];
    each_member(container, quiet, cancel, &mut |member| {
        let meaning = patterns.meaning(&member.path);
        if !meaning.is_empty() {
            meaning.into_iter().for_each(|number| matched[number] = true);
            chosen.push(member);
        }
        Ok(())
    })?;
    Ok((chosen, matched))
}

/// Restores the members chosen. A hard link to one that isn't among them brings its bytes along.
fn some(
    container: &Container,
    chosen: &[Member],
    quiet: bool,
    progress: &Progress,
    cancel: &Cancel,
    extraction: &mut Extraction<'_>,
) -> Result<()> {
    let paths: HashSet<&[u8]> = chosen.iter().map(|member| member.path.as_slice()).collect();
    let wanted: HashSet<&[u8]> = chosen
        .iter()
        .filter(|member| member.kind == MemberKind::HardLink)
        .map(|member| member.link.as_slice())
        .filter(|link| !paths.contains(link))
        .collect();
    let mut linked: HashMap<Vec<u8>, Member> = HashMap::new();
    if !wanted.is_empty() {
        each_member(container, quiet, cancel, &mut |member| {
            if member.kind == MemberKind::Regular && wanted.contains(member.path.as_slice()) {
                linked.insert(member.path.clone(), member);
            }
            Ok(())
        })?;
    }
    // The first link to a member that wasn't chosen becomes the file that the others link to.
    let mut stands_for: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let size = chosen.iter().fold(0u64, |sum, member| sum.saturating_add(member.size));
    progress.begin(Some(size), 0);
    let mut reader = reader(container, 0, progress.clone())?;
    for member in chosen {
        let mut found = entry(container, &mut reader, member)?;
        if member.kind != MemberKind::HardLink {
            // A symbolic link leads wherever it says.
        } else if let Some(first) = stands_for.get(&member.link) {
            found.member.link.clone_from(first);
        } else if let Some(file) = linked.get(&member.link) {
            let file = entry(container, &mut reader, file)?;
            stands_for.insert(member.link.clone(), member.path.clone());
            found = Entry::named(file, member.path.clone());
        }
        counting(progress, member.size, || extraction.member(found, &mut reader))?;
    }
    Ok(())
}
