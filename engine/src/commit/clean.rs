//! Clearing away what runs that ended early left in a directory.
//!
//! A partial file whose lock is free has no writer any more; one whose lock is held is somebody's
//! work and stays. Only regular files of this user's are looked at, by the names that
//! [`super::target`] gives them.
//!
//! # Invariants
//! - B6: nothing is removed whose lock is not held while it is.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use super::target::{JOURNAL_SUFFIX, NEW_JOURNAL_SUFFIX, PARTIAL_SUFFIX};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Replay;
use crate::ring::file::{Directory, Disk, FileKind, Status};

/// Something that a run left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leftover {
    /// Its name in the directory.
    pub name: OsString,
    /// Bytes allocated for it.
    pub allocated: u64,
    /// Bytes of content that its last checkpoint covers, for a partial file that can be gone on
    /// with.
    pub resumable_bytes: Option<u64>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a leftover.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It was removed.
    Removed,
    /// It would be removed.
    Stale,
    /// It is being written.
    InUse,
    /// It can't be looked at or removed, for this reason.
    Failed(String),
}

/// What runs left in `directory`, in the order of their names; what is stale is removed if `remove`
/// asks for it.
///
/// # Errors
/// `Output` where the directory can't be read or synced.
pub fn clean(disk: &dyn Disk, directory: &Path, remove: bool) -> Result<Vec<Leftover>> {
    let failed = |what: &'static str| {
        move |error| Error::from_io(ErrorKind::Output, what, error).at(directory)
    };
    let opened = disk.directory(directory).map_err(failed("cannot open the directory"))?;
    let mut names = opened.list().map_err(failed("cannot list the directory"))?;
    names.sort();
    let mut found = Vec::new();
    // Partial files first: what is left after them has none.
    for name in &names {
        if let Some(target) = stem(name, PARTIAL_SUFFIX) {
            let cleaned = clean_partial(&opened, name, &target, remove, &mut found);
            note_failure(name, cleaned, &mut found);
        }
    }
    for name in &names {
        let journal = [NEW_JOURNAL_SUFFIX, JOURNAL_SUFFIX];
        if let Some(target) = journal.iter().find_map(|suffix| stem(name, suffix)) {
            let cleaned = clean_orphan(&opened, name, &target, remove, &mut found);
            note_failure(name, cleaned, &mut found);
        }
    }
    if found.iter().any(|leftover| leftover.fate == Fate::Removed) {
        opened.sync().map_err(failed("cannot make the removal durable"))?;
    }
    Ok(found)
}

/// One that can't be removed is no reason to leave the others.
fn note_failure(name: &OsStr, cleaned: std::io::Result<()>, found: &mut Vec<Leftover>) {
    if let Err(error) = cleaned {
        let (name, fate) = (name.to_owned(), Fate::Failed(error.to_string()));
        found.push(Leftover { name, allocated: 0, resumable_bytes: None, fate });
    }
}

fn stem(name: &OsStr, suffix: &str) -> Option<OsString> {
    let stem = name.as_bytes().strip_suffix(suffix.as_bytes())?;
    Some(OsString::from_vec(stem.to_vec())).filter(|stem| !stem.is_empty())
}

fn with_suffix(target: &OsStr, suffix: &str) -> OsString {
    let mut name = target.to_owned();
    name.push(suffix);
    name
}

/// The file with this name, if it is a regular one of this user's.
fn own(directory: &Arc<dyn Directory>, name: &OsStr) -> std::io::Result<Option<Status>> {
    let status = directory.status(name)?;
    Ok(status.filter(|it| it.kind == FileKind::Regular && directory.is_ours(it)))
}

fn clean_partial(
    directory: &Arc<dyn Directory>,
    name: &OsStr,
    target: &OsStr,
    remove: bool,
    found: &mut Vec<Leftover>,
) -> std::io::Result<()> {
    let Some(status) = own(directory, name)? else {
        return Ok(());
    };
    let file = directory.open_existing(name, false)?;
    let held = file.try_lock()?;
    let is_same = directory.status(name)?.is_some_and(|now| now.identity == status.identity);
    let journals = [JOURNAL_SUFFIX, NEW_JOURNAL_SUFFIX].map(|suffix| with_suffix(target, suffix));
    let mut leftover = Leftover {
        name: name.to_owned(),
        allocated: status.allocated,
        resumable_bytes: None,
        fate: Fate::InUse,
    };
    if held && is_same {
        leftover.resumable_bytes = covered(directory, &journals[0]);
        leftover.fate = Fate::Stale;
        if remove {
            // B6: the lock is held until the names are gone.
            for journal in &journals {
                if own(directory, journal)?.is_some() {
                    directory.unlink(journal)?;
                }
            }
            directory.unlink(name)?;
            leftover.fate = Fate::Removed;
        }
    }
    found.push(leftover);
    Ok(())
}

/// A journal whose partial file was published or lost.
fn clean_orphan(
    directory: &Arc<dyn Directory>,
    name: &OsStr,
    target: &OsStr,
    remove: bool,
    found: &mut Vec<Leftover>,
) -> std::io::Result<()> {
    let partial = with_suffix(target, PARTIAL_SUFFIX);
    let Some(status) = own(directory, name)? else {
        return Ok(());
    };
    if directory.status(&partial)?.is_some() {
        return Ok(());
    }
    if remove {
        // Its run may have published, and died before the target's name was durable.
        directory.sync()?;
        // B6: who holds the partial file's name and lock is the only one who may have a journal.
        let lock = match directory.create_new(&partial, false) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            created => created?,
        };
        // A writer that came meanwhile may have taken the new file for stale.
        let identity = lock.status()?.identity;
        let is_held = lock.try_lock()?
            && directory.status(&partial)?.is_some_and(|now| now.identity == identity);
        if !is_held {
            return Ok(());
        }
        let removed = directory.unlink(name);
        directory.unlink(&partial)?;
        removed?;
    }
    let fate = if remove { Fate::Removed } else { Fate::Stale };
    let name = name.to_owned();
    found.push(Leftover { name, allocated: status.allocated, resumable_bytes: None, fate });
    Ok(())
}

/// Content that the journal's last checkpoint covers; `None` where there is none to be read.
fn covered(directory: &Arc<dyn Directory>, journal: &OsStr) -> Option<u64> {
    own(directory, journal).ok()??;
    let file = directory.open_existing(journal, false).ok()?;
    let covered = Replay::read(file).ok()??.covered();
    Some(covered.bytes).filter(|_| covered.extents > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::{Partial, Target};
    use crate::ring::file::Replace;
    use crate::ring::sim::{SimDisk, SimOptions};

    fn fates(disk: &SimDisk, remove: bool) -> Vec<(OsString, Fate)> {
        let found = clean(disk, Path::new("/"), remove).unwrap();
        found.into_iter().map(|leftover| (leftover.name, leftover.fate)).collect()
    }

    #[test]
    fn b6_what_is_stale_goes_and_what_is_in_use_stays() {
        let disk = SimDisk::new(1, SimOptions::default());
        for name in [
            "/a.ringpack-partial",
            "/a.ringpack-journal",
            "/b.ringpack-journal",
            "/c.ringpack-rewrite",
            "/.ringpack-partial",
            "/live.ringpack-journal",
            "/data",
        ] {
            disk.write_file(name, b"x");
        }
        let target = Target::new(&disk, Path::new("/live2"), Replace::Never).unwrap();
        let live = Partial::create(target, false).unwrap();
        disk.write_file("/live2.ringpack-journal", b"its own");
        let name = |name: &str| OsString::from(name);
        let expected = |fate: Fate| {
            vec![
                (name("a.ringpack-partial"), fate.clone()),
                (name("live2.ringpack-partial"), Fate::InUse),
                (name("b.ringpack-journal"), fate.clone()),
                (name("c.ringpack-rewrite"), fate.clone()),
                (name("live.ringpack-journal"), fate),
            ]
        };
        // Journals beside a partial file go with it, unless only a list was asked for.
        let before = disk.names("/");
        assert_eq!(fates(&disk, false), expected(Fate::Stale));
        assert_eq!(disk.names("/"), before);
        assert_eq!(fates(&disk, true), expected(Fate::Removed));
        let left =
            [".ringpack-partial", "data", "live2.ringpack-journal", "live2.ringpack-partial"];
        assert_eq!(disk.names("/"), left);
        let crashed = disk.crash(3);
        assert!(!crashed.names("/").contains(&name("a.ringpack-partial")), "durably");
        drop(live);
        assert_eq!(fates(&disk, true), [(name("live2.ringpack-journal"), Fate::Removed)]);
        assert_eq!(fates(&disk, true), []);
    }
}
