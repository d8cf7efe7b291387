//! `ringpack unpack --extract` and `--member`: the files of an archive.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::ExitCode;

use ringpack::escape::shown;
use ringpack::members::MemberKind;
use ringpack::read::{Container, MemberIndex};
use ringpack::ring::os::OsDisk;
use ringpack::ring::system::umask;
use ringpack::{Cancel, Error, ErrorKind, Progress, Result};

use super::archive::{Listing, compare, each_member, go_on, reader};
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
use crate::tar_stream::read::LeftOut;
use crate::tree::extract::{Extraction, Rights};
use crate::tree::place::key;
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
        umask: umask().unwrap_or(0o077),
    };
    let mut all_matched = true;
    let mut continued = LeftOut::default();
    let progress = job.progress();
    let mut extraction = Extraction::into(target, rights, progress.clone(), cancel)?;
    if patterns.is_empty() {
        let done = whole(&container, args.talk.quiet, &progress, &mut extraction);
        continued = done.map_err(|error| container.named(error))?;
    } else {
        let mut choice = choose(&container, &patterns, args.talk.quiet, cancel)?;
        some(&container, &patterns, &mut choice, &progress, cancel, &mut extraction)
            .map_err(|error| container.named(error))?;
        all_matched = unmatched(&patterns, &choice.matched) == ExitCode::SUCCESS;
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
    warn(&restored.warnings.into_lines(), &args.talk);
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
    if restored.incomplete > 0 {
        let (count, target) = (restored.incomplete, shown(target));
        let what = format!("{target}: {count} members are not restored as the archive has them");
        return Err(Failure::Other(what));
    }
    // Which didn't was said.
    if all_matched { Ok(()) } else { Err(Failure::Said) }
}

/// Restores every member, in one pass; returns those that can't be. The member index is compared
/// with the archive on the way.
fn whole(
    container: &Container,
    quiet: bool,
    progress: &Progress,
    extraction: &mut Extraction<'_>,
) -> Result<LeftOut> {
    let size = container.header().content_size;
    progress.begin(Some(size), 0);
    let index = match container.members() {
        // The content is intact, and the archive is in there.
        Err(error) if error.kind() == ErrorKind::Damaged => {
            if !quiet {
                message::warning(&format!("{error}: restoring the archive without it"));
            }
            None
        }
        index => index?,
    };
    let mut stated = index.as_ref().map(MemberIndex::iter).transpose()?;
    let mut reader = reader(container, progress.clone())?;
    let mut at = 0;
    loop {
        let found = reader.next().map_err(|error| container.named(error))?;
        if let Some(stated) = &mut stated {
            let stated = stated.next().transpose()?;
            compare(container, stated.as_ref(), found.as_ref().map(|entry| &entry.member))?;
        }
        let Some(entry) = found else { break };
        let next = entry.next();
        counting(progress, next.saturating_sub(at), || extraction.member(&entry, &mut reader))?;
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

/// What the patterns choose. It takes no memory for a member that isn't a hard link.
struct Choice {
    /// Which patterns mean any member.
    matched: Vec<bool>,
    /// Bytes of the files chosen.
    bytes: u64,
    /// Where the headers of the last member chosen are.
    last: Option<u64>,
    /// Files that weren't chosen, but a hard link to them was.
    linked: Linked,
}

/// Files that weren't chosen but are linked to, by a keyed hash of their paths: a few bytes each.
#[derive(Default)]
struct Linked {
    keys: RandomState,
    files: HashMap<u64, Stand>,
}

/// What stands for such a file. It is the offset of a member's headers, which is even, with 1 added
/// where that member is the link that was restored in the file's place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stand(u64);

impl Stand {
    const UNKNOWN: Self = Self(u64::MAX - 1);

    fn file(offset: u64) -> Self {
        Self(offset)
    }

    fn link(offset: u64) -> Self {
        Self(offset | 1)
    }

    fn offset(self) -> u64 {
        self.0 & !1
    }

    fn is_link(self) -> bool {
        self.0 & 1 == 1
    }
}

impl Linked {
    fn hash(&self, path: &[u8]) -> u64 {
        self.keys.hash_one(key(path))
    }
}

/// Finds what the patterns choose.
fn choose(
    container: &Container,
    patterns: &Patterns,
    quiet: bool,
    cancel: &Cancel,
) -> Result<Choice> {
    let (matched, linked) = (vec![false; patterns.len()], Linked::default());
    let mut choice = Choice { matched, bytes: 0, last: None, linked };
    each_member(container, quiet, cancel, &mut |member| {
        let meaning = patterns.meaning(&member.path);
        if meaning.is_empty() {
            return Ok(());
        }
        meaning.into_iter().for_each(|number| choice.matched[number] = true);
        choice.bytes = choice.bytes.saturating_add(member.size);
        choice.last = Some(member.header_offset);
        if member.kind == MemberKind::HardLink && patterns.meaning(&member.link).is_empty() {
            let hash = choice.linked.hash(&member.link);
            choice.linked.files.insert(hash, Stand::UNKNOWN);
        }
        Ok(())
    })?;
    Ok(choice)
}

/// Restores the members chosen. A hard link to one that isn't among them brings its bytes along:
/// the first becomes the file that the others link to.
fn some(
    container: &Container,
    patterns: &Patterns,
    choice: &mut Choice,
    progress: &Progress,
    cancel: &Cancel,
    extraction: &mut Extraction<'_>,
) -> Result<()> {
    progress.begin(Some(choice.bytes), 0);
    let Some(last) = choice.last else { return Ok(()) };
    let linked = &mut choice.linked;
    let index = container.members()?;
    let mut listing = Listing::new(container, index.as_ref(), progress.clone())?;
    while let Some(listed) = listing.next()? {
        go_on(cancel)?;
        let member = listed.member();
        let (size, offset) = (member.size, member.header_offset);
        if patterns.meaning(&member.path).is_empty() {
            let can_be_linked =
                !matches!(member.kind, MemberKind::Directory | MemberKind::HardLink);
            if can_be_linked && !linked.files.is_empty() {
                let hash = linked.hash(&member.path);
                linked.files.entry(hash).and_modify(|stand| *stand = Stand::file(offset));
            }
            continue;
        }
        let mut entry = listing.entry(listed)?;
        let stand = match entry.member.kind {
            MemberKind::HardLink => {
                linked.files.get_mut(&linked.keys.hash_one(key(&entry.member.link)))
            }
            // A symbolic link leads wherever it says.
            _ => None,
        };
        match stand {
            None | Some(&mut Stand::UNKNOWN) => {}
            Some(stand) if stand.is_link() => {
                entry.member.link = listing.at(stand.offset())?.member.path;
            }
            Some(stand) => {
                let file = listing.at(stand.offset())?;
                *stand = Stand::link(offset);
                entry = file.named(entry.member.path);
            }
        }
        counting(progress, size, || extraction.member(&entry, &mut listing.reader))?;
        if offset == last {
            break;
        }
    }
    Ok(())
}
