//! The partial file, and how it takes the target's name.
//!
//! The partial file is created beside the target, under a name derived from the target's, for its
//! owner alone, and locked. The lock is on the open file description that every ring writes
//! through, so it outlives even a SIGKILL for as long as writes are in flight. A partial file whose
//! lock is free was left by a writer that is gone for good: a new writer removes it, one that goes
//! on adopts it. Its journal, if it has one, is only ever touched by who holds the lock.
//!
//! ```text
//!  create ──► [empty] ──► written ──► first checkpoint ──► publish ──► journal removed
//!                │                          │  ▲
//!              drop: removed         drop: kept │ adopt
//! ```
//!
//! # Invariants
//! - B1: nothing stands under the target's name before `publish`, and an existing target is as it
//!   was until the rename.
//! - B2: a partial file that isn't published is removed, by drop if nothing else, unless a
//!   checkpoint says what it holds, or it is complete: whole and durable, and only its name is
//!   missing.
//! - B3: only a file that this process created or adopted, and locked, is ever published or removed
//!   as its own.
//! - B4: the partial file is readable by its owner alone until it takes over its attributes.
//! - B5: a journal of another run that is seen is gone, durably, before the first byte of a new
//!   partial file is written; the journal of a published file goes only once the new name is
//!   durable. One that a power cut brought back names another partial file.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::escape::shown;
use crate::format::record::{Open, PartialIdentity};
use crate::journal::{Checkpoint, Journal, JournaledExtent};
use crate::planted::{self, Bug};
use crate::ring::file::{Attributes, Directory, File, FileKind, Replace, Status};
use crate::trace;

/// How long to wait for the lock of a partial file that another process left or is writing.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// How often to try it meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A file being written that will take a target's name.
#[derive(Debug)]
pub struct Partial {
    target: Target,
    file: Arc<dyn File>,
    identity: (u64, u64),
    owned: bool,
    published: bool,
    /// Whether it is whole and durable, and only its name is missing.
    complete: bool,
    kept: bool,
    /// Whether this run made a journal, or adopted one.
    has_journal: bool,
    took_over: Option<String>,
}

impl Partial {
    /// Creates and locks the partial file, past the page cache where that is served and `direct`
    /// asks for it. What a dead writer left under the name is removed.
    ///
    /// # Errors
    /// `Locked` where another process is writing the same target, `Output` where the file can't be
    /// created or something else has its name.
    pub fn create(target: Target, direct: bool) -> Result<Self> {
        let name = target.partial_name();
        let mut left = None;
        settle(&target)?;
        // B4: created for its owner alone, whatever the umask.
        let file = match target.directory().create_new(&name, direct) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Locked while it is removed; the lock goes with the last name and descriptor.
                left = open_left(&target, direct)?;
                if left.is_some() {
                    target.directory().unlink(&name).map_err(|error| {
                        target.failed("cannot remove the stale partial file", error)
                    })?;
                }
                target.directory().create_new(&name, direct)
            }
            result => result,
        };
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => locked(&target),
            _ => target.failed("cannot create the partial file beside it", error),
        })?;
        let identity = match file.status() {
            Ok(status) => status.identity,
            Err(error) => {
                // B2: by name alone, which this very call created.
                let _ = target.directory().unlink(&name);
                return Err(target.failed("cannot look at the partial file", error));
            }
        };
        // B2: from here on it is removed by drop.
        let mut partial = Self {
            target,
            file,
            identity,
            owned: true,
            published: false,
            complete: false,
            kept: false,
            has_journal: false,
            took_over: None,
        };
        let held = match planted::is(Bug::LockElsewhere) {
            true => partial
                .target
                .directory()
                .open_existing(&name, false)
                .and_then(|other| other.try_lock()),
            false => partial.file.try_lock(),
        };
        if planted::is(Bug::WorldReadable) {
            let attributes = Attributes { mode: 0o644, owner: None, modified: None };
            let _ = partial.file.set_attributes(&attributes);
        }
        let held =
            held.map_err(|error| partial.target.failed("cannot lock the partial file", error))?;
        // B3: between creating and locking, another writer may have taken the file for stale.
        // Then the name is that one's to remove.
        partial.owned = held && partial.is_own()?;
        if !partial.owned {
            return Err(locked(&partial.target));
        }
        // The writer that held the lock may have published since the target was looked at. From now
        // on no other does, so this job would end in vain.
        if partial.target.replace() == Replace::Never && partial.target.current()?.is_some() {
            return Err(partial.target.exists());
        }
        let had_journal = partial.remove_old_journals(left.is_some())?;
        partial.took_over = left.map(|_| {
            let with = if had_journal { " and its checkpoint" } else { "" };
            format!("removed {}{with}, left by a run that ended early", shown(&name))
        });
        Ok(partial)
    }

    /// Locks the partial file that a dead writer left, to go on with it; `None` where there is
    /// none. It stays, whatever happens, until it is published or [`Self::discard`]ed.
    ///
    /// # Errors
    /// `Locked` where its writer lives, `Output` where it can't be opened or is no partial file of
    /// ringpack's.
    pub fn adopt(target: Target, direct: bool) -> Result<Option<Self>> {
        let Some((file, status)) = open_left(&target, direct)? else {
            return Ok(None);
        };
        if status.links != 1 {
            // Writing to it would change what another name leads to.
            return Err(in_the_way(&target, &target.partial_name()));
        }
        Ok(Some(Self {
            target,
            file,
            identity: status.identity,
            owned: true,
            published: false,
            complete: false,
            kept: true,
            has_journal: true,
            took_over: None,
        }))
    }

    /// Makes it readable by its owner alone again: it may have its final attributes already, and
    /// what comes may not be for everyone.
    ///
    /// # Errors
    /// `Output` where that can't be done.
    pub fn take_back(&self) -> Result<()> {
        // B4
        let alone = Attributes { mode: 0o600, owner: None, modified: None };
        self.file.set_attributes(&alone).map_err(|error| {
            self.target.failed("cannot take the partial file back from its readers", error)
        })
    }

    /// The open file, shared by everything that writes it.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// What its journal says that it is.
    ///
    /// # Errors
    /// `Output` where the file system can't be asked.
    pub fn recorded_identity(&self) -> Result<PartialIdentity> {
        let born = self.file.born().map_err(|error| {
            self.target.failed("cannot tell when the partial file was created", error)
        })?;
        let since = born.map(|born| born.duration_since(SystemTime::UNIX_EPOCH));
        let born_ns = since.map_or(0, |since| since.unwrap_or_default().as_nanos() as i64);
        Ok(PartialIdentity { inode: self.identity.1, born_ns })
    }

    /// The name it is to take.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// As [`Target::with_replace`].
    ///
    /// # Errors
    /// As there; the partial file is then dropped.
    pub fn with_replace(mut self, replace: crate::ring::file::Replace) -> Result<Self> {
        self.target = self.target.clone().with_replace(replace)?;
        Ok(self)
    }

    /// What was removed to make way for it: a message.
    #[must_use]
    pub fn took_over(&self) -> Option<&str> {
        self.took_over.as_deref()
    }

    /// The journal that stands beside it, opened for reading; `None` where there is none.
    ///
    /// # Errors
    /// `Output` where it cannot be opened, `NotResumable` if it is another user's: it says what to
    /// read and what to believe, and even root takes that from nobody else.
    pub fn journal(&self) -> Result<Option<Arc<dyn File>>> {
        let name = self.target.journal_name();
        let directory = self.target.directory();
        let failed = |error| self.target.failed("cannot open its journal", error);
        let file = match directory.open_existing(&name, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                // Something else may have the name.
                self.status_of_own(&name)?;
                return Err(failed(error));
            }
        };
        // The open file is judged: the name may lead elsewhere by now.
        let status = file.status().map_err(failed)?;
        if status.kind != FileKind::Regular || !directory.is_ours(&status) {
            return Err(in_the_way(&self.target, &name));
        }
        if !directory.is_own(&status) {
            let what = "its journal was written by another user";
            return Err(Error::new(ErrorKind::NotResumable, what)
                .at(self.target.path())
                .hint("resume it as that user, or pack it anew"));
        }
        // What a failed sync kept from the medium is not to be believed.
        let dropped = file.drop_cache();
        dropped.map_err(|error| self.target.failed("cannot read its journal", error))?;
        Ok(Some(file))
    }

    /// Makes its journal.
    ///
    /// # Errors
    /// As [`Journal::create`].
    pub fn create_journal(&mut self, open: Open) -> Result<Journal> {
        self.has_journal = true;
        Journal::create(self.target.directory(), &self.target.journal_name(), open)
    }

    /// Gives it a new journal in place of the old one.
    ///
    /// # Errors
    /// As [`Journal::replace`].
    pub fn replace_journal(
        &self,
        open: Open,
        covered: &Checkpoint,
        extents: &mut dyn FnMut(u64) -> Result<JournaledExtent>,
    ) -> Result<Journal> {
        let names = (self.target.journal_name(), self.target.new_journal_name());
        let names = (names.0.as_os_str(), names.1.as_os_str());
        Journal::replace(self.target.directory(), names, open, covered, extents)
    }

    /// From now on a drop leaves it, with its journal, to be gone on with.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Whether a drop would leave it.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Removes it and its journal, unless it is whole and only its name is missing.
    pub fn discard(mut self) {
        self.kept = false;
    }

    /// Makes the file's data durable, then gives it the attributes, then makes these durable: each
    /// step only if the one before it went well.
    ///
    /// # Errors
    /// `Output`, saying which step failed.
    pub fn make_durable(&self, attributes: &Attributes) -> Result<()> {
        let failed =
            |what: &'static str| move |error| Error::from_io(ErrorKind::Output, what, error);
        let file = self.file();
        file.sync_all().map_err(failed("cannot make the data durable"))?;
        file.set_attributes(attributes).map_err(failed("cannot set the file's attributes"))?;
        file.sync_all().map_err(failed("cannot make the attributes durable"))
    }

    /// Gives the file, durable by now, the target's name, and makes the name durable. Once.
    ///
    /// # Errors
    /// As [`Self::take_name`] and [`Self::settle`].
    pub fn publish(mut self) -> Result<()> {
        self.take_name()?;
        self.settle()
    }

    /// Gives the file, durable by now, the target's name. To be followed by [`Self::settle`].
    ///
    /// # Errors
    /// `TargetExists` where something took the name meanwhile; `Output` where renaming fails. The
    /// old target stands, and the finished file stays under the partial name, which the error has
    /// ([`Error::complete_file`]).
    pub fn take_name(&mut self) -> Result<()> {
        // B2: it took long to make, and lacks only a name.
        self.complete = !planted::is(Bug::CompleteDiscarded);
        let path = self.target.path().with_file_name(self.target.partial_name());
        self.rename().map_err(|error| match error.kind() {
            // Not this file: somebody else's stands there.
            ErrorKind::Locked => error,
            _ if self.published => error,
            _ => error.complete(path),
        })
    }

    fn rename(&mut self) -> Result<()> {
        let _span = trace::publish(self.target.path());
        // B3: the name still leads to the file that was written.
        if !self.is_own()? {
            return Err(locked(&self.target));
        }
        let target = &self.target;
        // B1: the one step that touches the target's name.
        let replace = match target.replace() {
            Replace::Never if planted::is(Bug::ReplacedUnasked) => Replace::Allowed,
            replace => replace,
        };
        let renamed = target.directory().rename(&target.partial_name(), target.name(), replace);
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => target.exists(),
            _ => target.failed("cannot give the finished file its name", error),
        })?;
        self.published = true;
        // B3: a name has no handle to rename it by, so what took it is looked at afterwards too.
        if target.current()?.is_none_or(|now| now.identity != self.identity) {
            let what = "something else was put in the partial file's place as it was published";
            let hint = "see who else writes to this directory, remove what is there, pack again";
            return Err(Error::new(ErrorKind::Output, what).at(target.path()).hint(hint));
        }
        Ok(())
    }

    /// Makes the name that was taken durable, and removes the journal.
    ///
    /// # Errors
    /// `Output` where the directory can't be made durable: the new file stands under the name, but
    /// a power cut may still bring the old one back.
    pub fn settle(self) -> Result<()> {
        let target = &self.target;
        if planted::is(Bug::JournalUnlinkedEarly) && self.has_journal {
            let _ = target.directory().unlink(&target.journal_name());
        }
        if planted::is(Bug::NoDirectorySync) {
            return Ok(());
        }
        target.directory().sync().map_err(|error| {
            target
                .failed("the new file is in place, but its name isn't known to be durable", error)
                .hint("check the device, then sync the directory or write the file again")
        })?;
        // B5: not before. If it can't be removed, or a power cut brings it back, the next writer of
        // the same target removes it.
        if self.has_journal {
            let _ = target.directory().unlink(&target.journal_name());
        }
        Ok(())
    }

    fn is_own(&self) -> Result<bool> {
        let found = self.target.status(&self.target.partial_name())?;
        Ok(found.is_some_and(|status| status.identity == self.identity))
    }

    /// B5: whatever journals stand there were another run's. `true` where there were some.
    /// `took_over` is whether a partial file was removed too: no journal to come must be found
    /// beside that one.
    fn remove_old_journals(&self, took_over: bool) -> Result<bool> {
        let mut removed = false;
        if planted::is(Bug::StaleJournalTrusted) {
            return Ok(false);
        }
        for name in [self.target.journal_name(), self.target.new_journal_name()] {
            if self.status_of_own(&name)?.is_some() {
                self.target
                    .directory()
                    .unlink(&name)
                    .map_err(|error| self.target.failed("cannot remove a stale journal", error))?;
                removed = true;
            }
        }
        if removed || took_over {
            let synced = self.target.directory().sync();
            synced.map_err(|error| {
                self.target.failed("cannot make the removal of stale files durable", error)
            })?;
        }
        Ok(removed)
    }

    /// What has the name, if it is a file of this user's.
    fn status_of_own(&self, name: &OsStr) -> Result<Option<Status>> {
        let found = self.target.status(name)?;
        match found {
            Some(status)
                if status.kind != FileKind::Regular
                    || !self.target.directory().is_ours(&status) =>
            {
                Err(in_the_way(&self.target, name))
            }
            found => Ok(found),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // B2, B3: removed only while the name leads to this very file.
        let leaves = self.published || self.complete || self.kept || !self.owned;
        if !leaves && self.is_own().unwrap_or(false) {
            // Names that can't be removed are found stale by the next writer.
            let directory = self.target.directory();
            if self.has_journal {
                let _ = directory.unlink(&self.target.journal_name());
            }
            let _ = directory.unlink(&self.target.partial_name());
        }
    }
}

/// B5: where a journal stands, its run may have published and died before the target's new name was
/// durable. Now it is: else what follows might take the old name, and so the checkpoint, away.
fn settle(target: &Target) -> Result<()> {
    if target.status(&target.journal_name())?.is_some() {
        let synced = target.directory().sync();
        synced.map_err(|error| target.failed("cannot make the directory durable", error))?;
    }
    Ok(())
}

/// Opens and locks the partial file that a dead writer left; `None` where there is none, or it went
/// by itself meanwhile.
fn open_left(target: &Target, direct: bool) -> Result<Option<(Arc<dyn File>, Status)>> {
    let name = target.partial_name();
    let file = match target.directory().open_existing(&name, direct) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // The file system's own failures say nothing about the file.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EROFS | libc::EIO)) => {
            return Err(target.failed("cannot open the partial file beside it", error));
        }
        Err(_) => return Err(in_the_way(target, &name)),
    };
    let failed = |error| target.failed("cannot look at the partial file beside it", error);
    let status = file.status().map_err(failed)?;
    if status.kind != FileKind::Regular {
        return Err(in_the_way(target, &name));
    }
    if !lock_within(target.directory().as_ref(), file.as_ref(), LOCK_WAIT).map_err(failed)? {
        return Err(locked(target));
    }
    if !target.directory().is_ours(&status) {
        return Err(in_the_way(target, &name));
    }
    let found = target.status(&name)?;
    Ok(found.filter(|found| found.identity == status.identity).map(|found| (file, found)))
}

/// Takes the lock of a partial file that a dead writer left, for one who only reads it; `false`
/// where its writer lives.
///
/// # Errors
/// As `flock`.
pub(crate) fn lock_left(directory: &dyn Directory, file: &dyn File) -> io::Result<bool> {
    lock_within(directory, file, LOCK_WAIT)
}

fn in_the_way(target: &Target, name: &OsStr) -> Error {
    Error::new(ErrorKind::Output, format!("{} is in the way", shown(name)))
        .at(target.path())
        .hint("it is no file of ringpack's: rename or remove it")
}

/// Takes the lock, waiting for it to come free. A killed writer's is held until the kernel has
/// taken its rings down, which it does after the process is gone (seen: up to a second; 1.4 s on a
/// slow device, see docs/decisions/0006).
///
/// Pauses are counted, and the clock isn't asked: on a simulated disk they take no time.
fn lock_within(directory: &dyn Directory, file: &dyn File, most: Duration) -> io::Result<bool> {
    for _ in 0..most.as_millis() / LOCK_POLL.as_millis() {
        if file.try_lock()? {
            return Ok(true);
        }
        directory.pause(LOCK_POLL);
    }
    file.try_lock()
}

fn locked(target: &Target) -> Error {
    Error::new(ErrorKind::Locked, "another process is writing it")
        .at(target.path())
        .hint("wait for it, or name another output")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::file::Replace;
    use crate::ring::os::OsDisk;
    use std::ffi::OsString;
    use std::path::Path;

    fn names(directory: &Path) -> Vec<OsString> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn partial(path: &Path, replace: Replace) -> Result<Partial> {
        Partial::create(Target::new(&OsDisk, path, replace)?, false)
    }

    #[test]
    fn b1_b2_b4_nothing_under_the_name_until_published() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let aborted = partial(&path, Replace::Never).unwrap();
        assert_eq!(names(dir.path()), ["out.ringpack-partial"]);
        assert_eq!(aborted.file().status().unwrap().mode, 0o600);
        drop(aborted);
        assert!(names(dir.path()).is_empty());
        let written = partial(&path, Replace::Never).unwrap();
        written.file().write_at(b"new", 0).unwrap();
        written.publish().unwrap();
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn b1_an_existing_target_is_replaced_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let early = partial(&path, Replace::Never).unwrap();
        std::fs::write(&path, b"old").unwrap();
        early.file().write_at(b"early", 0).unwrap();
        // Taken meanwhile: found out by the rename itself. What is finished stays, for its owner.
        let error = early.publish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TargetExists);
        let kept = error.complete_file().unwrap().to_owned();
        assert_eq!(std::fs::read(&kept).unwrap(), b"early");
        assert_eq!(names(dir.path()), ["out", "out.ringpack-partial"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        std::fs::remove_file(kept).unwrap();
        let refused = partial(&path, Replace::Never).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TargetExists);
        let replacing = partial(&path, Replace::Allowed).unwrap();
        replacing.file().write_at(b"new", 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        replacing.publish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn b3_one_writer_at_a_time_and_a_dead_ones_file_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let first = partial(&path, Replace::Never).unwrap();
        assert_eq!(partial(&path, Replace::Never).unwrap_err().kind(), ErrorKind::Locked);
        drop(first);
        // As a killed writer leaves it: the name stays, the lock is free. Its mode may be the final
        // one already.
        let stale = dir.path().join("out.ringpack-partial");
        std::fs::write(&stale, [7; 100]).unwrap();
        let second = partial(&path, Replace::Never).unwrap();
        assert_eq!(second.file().status().unwrap().len, 0);
        drop(second);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn b2_what_is_kept_or_adopted_stays_until_it_is_discarded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let target = || Target::new(&OsDisk, &path, Replace::Never).unwrap();
        assert!(Partial::adopt(target(), false).unwrap().is_none());
        let mut kept = partial(&path, Replace::Never).unwrap();
        kept.keep();
        drop(kept);
        assert_eq!(names(dir.path()), ["out.ringpack-partial"]);
        let adopted = Partial::adopt(target(), false).unwrap().unwrap();
        assert_eq!(Partial::adopt(target(), false).unwrap_err().kind(), ErrorKind::Locked);
        drop(adopted);
        assert_eq!(names(dir.path()), ["out.ringpack-partial"]);
        // Another name leads to it: what is written to it would change that one too.
        let other = dir.path().join("other");
        std::fs::hard_link(dir.path().join("out.ringpack-partial"), &other).unwrap();
        let refused = Partial::adopt(target(), false).unwrap_err();
        assert!(refused.to_string().contains("in the way"), "{refused}");
        std::fs::remove_file(other).unwrap();
        Partial::adopt(target(), false).unwrap().unwrap().discard();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn b5_a_journal_of_another_run_is_gone_durably_before_anything_is_written() {
        use crate::ring::sim::{SimDisk, SimOptions};
        let disk = SimDisk::new(1, SimOptions::default());
        for name in ["/out.ringpack-partial", "/out.ringpack-journal", "/out.ringpack-rewrite"] {
            disk.write_file(name, b"another's");
        }
        let target = Target::new(&disk, Path::new("/out"), Replace::Never).unwrap();
        let partial = Partial::create(target, false).unwrap();
        assert!(partial.took_over().unwrap().contains("and its checkpoint"));
        for seed in 0..50 {
            assert_eq!(disk.crash(seed).names("/"), ["out.ringpack-partial"], "power cut {seed}");
        }
    }

    #[test]
    fn b3_what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let in_the_way = dir.path().join("out.ringpack-partial");
        std::fs::create_dir(&in_the_way).unwrap();
        assert!(partial(&path, Replace::Never).unwrap_err().to_string().contains("in the way"));
        std::fs::remove_dir(&in_the_way).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &in_the_way).unwrap();
        assert!(partial(&path, Replace::Never).unwrap_err().to_string().contains("in the way"));
        std::fs::remove_file(&in_the_way).unwrap();
        // The input itself.
        std::fs::write(&in_the_way, b"packed some day").unwrap();
        let target = Target::new(&OsDisk, &path, Replace::Never).unwrap();
        let source = target.status(OsStr::new("out.ringpack-partial")).unwrap().unwrap();
        assert_eq!(target.refuse_source(&source).unwrap_err().kind(), ErrorKind::InvalidOptions);
        std::fs::remove_file(&in_the_way).unwrap();
        // Replaced while it was written: neither published nor removed.
        let robbed = partial(&path, Replace::Never).unwrap();
        std::fs::remove_file(&in_the_way).unwrap();
        std::fs::write(&in_the_way, b"somebody's").unwrap();
        assert_eq!(robbed.publish().unwrap_err().kind(), ErrorKind::Locked);
        assert_eq!(names(dir.path()), ["out.ringpack-partial"]);
    }
}
