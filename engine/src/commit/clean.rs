//! Clearing away what runs that ended early left in a directory.
//!
//! A partial file whose lock is free has no writer any more; one whose lock is held is somebody's
//! work and stays. Only regular files of this user's are looked at, by the names that
//! [`super::target`] gives them.
//!
//! # Invariants
//! - B6: nothing is removed whose lock is not held while it is.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use super::target::{JOURNAL_SUFFIX, NEW_JOURNAL_SUFFIX, PARTIAL_SUFFIX, beside};
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
    let mut sweep = Sweep { directory: opened, remove, found: Vec::new() };
    // Partial files first: what is left after them has none.
    for name in &names {
        if let Some(target) = stem(name, PARTIAL_SUFFIX) {
            let cleaned = sweep.partial(name, &target);
            sweep.note_failure(name, cleaned);
        }
    }
    for name in &names {
        let journal = [NEW_JOURNAL_SUFFIX, JOURNAL_SUFFIX];
        if let Some(target) = journal.iter().find_map(|suffix| stem(name, suffix)) {
            let cleaned = sweep.orphan(name, &target);
            sweep.note_failure(name, cleaned);
        }
    }
    let Sweep { directory: opened, found, .. } = sweep;
    if found.iter().any(|leftover| leftover.fate == Fate::Removed) {
        opened.sync().map_err(failed("cannot make the removal durable"))?;
    }
    Ok(found)
}

fn stem(name: &OsStr, suffix: &str) -> Option<OsString> {
    let stem = name.as_bytes().strip_suffix(suffix.as_bytes())?;
    Some(OsString::from_vec(stem.to_vec())).filter(|stem| !stem.is_empty())
}

/// One pass through a directory.
struct Sweep {
    directory: Arc<dyn Directory>,
    remove: bool,
    found: Vec<Leftover>,
}

impl Sweep {
    fn note(&mut self, name: &OsStr, allocated: u64, resumable_bytes: Option<u64>, fate: Fate) {
        let name = name.to_owned();
        self.found.push(Leftover { name, allocated, resumable_bytes, fate });
    }

    /// One that can't be removed is no reason to leave the others.
    fn note_failure(&mut self, name: &OsStr, cleaned: io::Result<()>) {
        if let Err(error) = cleaned {
            self.note(name, 0, None, Fate::Failed(error.to_string()));
        }
    }

    /// The file with this name, if it is a regular one of this user's.
    fn own(&self, name: &OsStr) -> io::Result<Option<Status>> {
        let status = self.directory.status(name)?;
        Ok(status.filter(|it| it.kind == FileKind::Regular && self.directory.is_ours(it)))
    }

    /// Whether the name still leads to this file.
    fn leads_to(&self, name: &OsStr, identity: (u64, u64)) -> io::Result<bool> {
        Ok(self.directory.status(name)?.is_some_and(|now| now.identity == identity))
    }

    fn partial(&mut self, name: &OsStr, target: &OsStr) -> io::Result<()> {
        let Some(status) = self.own(name)? else {
            return Ok(());
        };
        let file = self.directory.open_existing(name, false)?;
        let held = file.try_lock()?;
        if !held || !self.leads_to(name, status.identity)? {
            self.note(name, status.allocated, None, Fate::InUse);
            return Ok(());
        }
        let journals = [JOURNAL_SUFFIX, NEW_JOURNAL_SUFFIX].map(|suffix| beside(target, suffix));
        let resumable_bytes = self.covered(&journals[0]);
        if self.remove {
            // B6: the lock is held until the names are gone.
            for journal in &journals {
                if self.own(journal)?.is_some() {
                    self.directory.unlink(journal)?;
                }
            }
            self.directory.unlink(name)?;
        }
        self.note(name, status.allocated, resumable_bytes, self.done());
        Ok(())
    }

    /// A journal whose partial file was published or lost.
    fn orphan(&mut self, name: &OsStr, target: &OsStr) -> io::Result<()> {
        let partial = beside(target, PARTIAL_SUFFIX);
        let Some(status) = self.own(name)? else {
            return Ok(());
        };
        if self.directory.status(&partial)?.is_some() {
            return Ok(());
        }
        if self.remove {
            // Its run may have published, and died before the target's name was durable.
            self.directory.sync()?;
            // B6: who holds the partial file's name and lock is the only one who may have a
            // journal.
            let lock = match self.directory.create_new(&partial, false) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                created => created?,
            };
            // A writer that came meanwhile may have taken the new file for stale.
            let identity = lock.status()?.identity;
            if !lock.try_lock()? || !self.leads_to(&partial, identity)? {
                return Ok(());
            }
            let removed = self.directory.unlink(name);
            self.directory.unlink(&partial)?;
            removed?;
        }
        self.note(name, status.allocated, None, self.done());
        Ok(())
    }

    fn done(&self) -> Fate {
        if self.remove { Fate::Removed } else { Fate::Stale }
    }

    /// Content that the journal's last checkpoint covers; `None` where there is none to be read.
    fn covered(&self, journal: &OsStr) -> Option<u64> {
        self.own(journal).ok()??;
        let file = self.directory.open_existing(journal, false).ok()?;
        let covered = Replay::read(file).ok()??.covered();
        Some(covered.bytes).filter(|_| covered.extents > 0)
    }
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
