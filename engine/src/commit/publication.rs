//! The partial file, and how it takes the target's name.
//!
//! The partial file is created beside the target, under a name derived from the target's, for its
//! owner alone, and locked. The lock is on the open file description that every ring writes
//! through, so it outlives even a SIGKILL for as long as writes are in flight. A partial file whose
//! lock is free was left by a writer that is gone for good, and is removed.
//!
//! # Invariants
//! - B1: nothing stands under the target's name before `publish`, and an existing target is as it
//!   was until the rename.
//! - B2: a partial file that isn't published is removed, by drop if nothing else.
//! - B3: only a file that this process created and locked is ever published or removed as its own.
//! - B4: the partial file is readable by its owner alone until it takes over its attributes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::ring::file::{Directory, Disk, File, FileKind, Replace, Status};

/// How long to wait for the lock of a partial file that another process left or is writing.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// How often to try it meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// What a partial file's name ends with.
const SUFFIX: &str = ".ringpack-partial";

/// A name that a file is to take.
#[derive(Debug)]
pub struct Target {
    directory: Arc<dyn Directory>,
    name: OsString,
    path: PathBuf,
    replace: Replace,
}

impl Target {
    /// The target at `path`, checked before any work is done for it.
    ///
    /// # Errors
    /// `TargetExists` where something has the name and [`Replace::Never`] is asked; `Output` where
    /// the directory can't be opened or a directory has the name.
    pub fn new(disk: &dyn Disk, path: &Path, replace: Replace) -> Result<Self> {
        let failed = |what: &'static str| {
            move |error| Error::from_io(ErrorKind::Output, what, error).at(path)
        };
        let Some(name) = path.file_name() else {
            return Err(Error::new(ErrorKind::Output, "is no name for a file").at(path));
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let directory = disk.directory(parent).map_err(failed("cannot open the directory"))?;
        let target = Self { directory, name: name.to_owned(), path: path.to_owned(), replace };
        match target.current()? {
            None => {}
            Some(Status { kind: FileKind::Directory, .. }) => {
                return Err(Error::new(ErrorKind::Output, "is a directory").at(path));
            }
            Some(Status { kind: FileKind::Regular, .. }) if replace == Replace::Allowed => {}
            Some(Status { kind: FileKind::Regular, .. }) => return Err(target.exists()),
            Some(_) => {
                return Err(Error::new(
                    ErrorKind::Output,
                    "is no regular file, so it can't be replaced all at once",
                )
                .at(path)
                .hint("write to standard output with -c and redirect it there"));
            }
        }
        Ok(target)
    }

    /// Refuses a target that is the very file it is to be made from, or whose partial file would
    /// be.
    ///
    /// # Errors
    /// `InvalidOptions` where it is, `Output` where the directory can't be searched.
    pub fn refuse_source(&self, source: &Status) -> Result<()> {
        let is_source =
            |found: Option<Status>| found.is_some_and(|found| found.identity == source.identity);
        let refused = |what| {
            let refused = Error::new(ErrorKind::InvalidOptions, what).at(&self.path);
            Err(refused.hint("name another output with --output (-o)"))
        };
        if is_source(self.current()?) {
            return refused("is input and output at once");
        }
        if is_source(self.status(&self.partial_name())?) {
            return refused("would be written under the input's own name first");
        }
        Ok(())
    }

    fn partial_name(&self) -> OsString {
        let mut name = self.name.clone();
        name.push(SUFFIX);
        name
    }

    /// What has the name now.
    ///
    /// # Errors
    /// `Output` where the directory can't be searched.
    pub fn current(&self) -> Result<Option<Status>> {
        self.status(&self.name)
    }

    fn status(&self, name: &OsStr) -> Result<Option<Status>> {
        self.directory.status(name).map_err(|error| self.failed("cannot look at the target", error))
    }

    /// The directory it is in.
    #[must_use]
    pub fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    /// Its path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn exists(&self) -> Error {
        Error::new(ErrorKind::TargetExists, "exists already")
            .at(&self.path)
            .hint("replace it with --force (-f), or name another with --output (-o)")
    }

    fn failed(&self, what: &'static str, error: io::Error) -> Error {
        Error::from_io(ErrorKind::Output, what, error).at(&self.path)
    }
}

/// A file being written that will take a target's name.
#[derive(Debug)]
pub struct Partial {
    target: Target,
    name: OsString,
    file: Arc<dyn File>,
    identity: (u64, u64),
    owned: bool,
    published: bool,
    took_over: bool,
}

impl Partial {
    /// Creates and locks the partial file, past the page cache where that is served and `direct`
    /// asks for it.
    ///
    /// # Errors
    /// `Locked` where another process is writing the same target, `Output` where the file can't be
    /// created or something else has its name.
    pub fn create(target: Target, direct: bool) -> Result<Self> {
        let name = target.partial_name();
        let mut took_over = false;
        // B4: created for its owner alone, whatever the umask.
        let file = match target.directory.create_new(&name, direct) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                took_over = remove_stale(&target, &name)?;
                target.directory.create_new(&name, direct)
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
                let _ = target.directory.unlink(&name);
                return Err(target.failed("cannot look at the partial file", error));
            }
        };
        // B2: from here on it is removed by drop.
        let mut partial =
            Self { target, name, file, identity, owned: true, published: false, took_over };
        let held = partial.file.try_lock();
        let held =
            held.map_err(|error| partial.target.failed("cannot lock the partial file", error))?;
        // B3: between creating and locking, another writer may have taken the file for stale.
        // Then the name is that one's to remove.
        partial.owned = held && partial.is_own()?;
        if !partial.owned {
            return Err(locked(&partial.target));
        }
        Ok(partial)
    }

    /// The open file, shared by everything that writes it.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Whether a partial file that a dead writer left was removed to make way for this one.
    #[must_use]
    pub fn took_over(&self) -> Option<String> {
        let name = self.name.display();
        self.took_over.then(|| format!("removed {name}, left by a run that was killed"))
    }

    /// Gives the file, durable by now, the target's name, and makes the name durable. Once.
    ///
    /// # Errors
    /// `TargetExists` where something took the name meanwhile; `Output` where renaming fails, and
    /// the old target stands; or where the directory can't be made durable: then the new file
    /// stands under the name, but a power cut may still bring the old one back.
    pub fn publish(mut self) -> Result<()> {
        // B3: the name still leads to the file that was written.
        if !self.is_own()? {
            return Err(locked(&self.target));
        }
        // B1: the one step that touches the target's name.
        let renamed =
            self.target.directory.rename(&self.name, &self.target.name, self.target.replace);
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => self.target.exists(),
            _ => self.target.failed("cannot give the finished file its name", error),
        })?;
        self.published = true;
        self.target.directory.sync().map_err(|error| {
            self.target
                .failed("the new file is in place, but its name isn't known to be durable", error)
                .hint("check the device, then sync the directory or write the file again")
        })
    }

    fn is_own(&self) -> Result<bool> {
        let found = self.target.directory.status(&self.name);
        let found =
            found.map_err(|error| self.target.failed("cannot look at the partial file", error))?;
        Ok(found.is_some_and(|status| status.identity == self.identity))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // B2, B3: removed only while the name leads to this very file.
        if !self.published && self.owned && self.is_own().unwrap_or(false) {
            // A name that can't be removed is found stale by the next writer.
            let _ = self.target.directory.unlink(&self.name);
        }
    }
}

/// Removes a partial file that a dead writer left; `false` where it went by itself meanwhile.
fn remove_stale(target: &Target, name: &OsStr) -> Result<bool> {
    let in_the_way = || {
        Error::new(ErrorKind::Output, format!("{} is in the way", name.display()))
            .at(&target.path)
            .hint("it is no partial file of ringpack's: rename or remove it")
    };
    let file = match target.directory.open_existing(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(_) => return Err(in_the_way()),
    };
    let failed = |error| target.failed("cannot look at the partial file beside it", error);
    let status = file.status().map_err(failed)?;
    if status.kind != FileKind::Regular {
        return Err(in_the_way());
    }
    if !lock_within(file.as_ref(), LOCK_WAIT).map_err(failed)? {
        return Err(locked(target));
    }
    if !target.directory.is_ours(&status) {
        return Err(in_the_way());
    }
    let found = target.directory.status(name).map_err(failed)?;
    if found.is_none_or(|found| found.identity != status.identity) {
        return Ok(false);
    }
    target
        .directory
        .unlink(name)
        .map_err(|error| target.failed("cannot remove the stale partial file", error))?;
    Ok(true)
}

/// Takes the lock, waiting for it to come free. A killed writer's is held until the kernel has
/// taken its rings down, which it does after the process is gone (seen: up to a second; 1.4 s on a
/// slow device, see docs/decisions/0006).
fn lock_within(file: &dyn File, most: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        if file.try_lock()? {
            return Ok(true);
        }
        if start.elapsed() >= most {
            return Ok(false);
        }
        std::thread::sleep(LOCK_POLL);
    }
}

fn locked(target: &Target) -> Error {
    Error::new(ErrorKind::Locked, "another process is writing it")
        .at(&target.path)
        .hint("wait for it, or name another output")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::os::OsDisk;

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
        // Taken meanwhile: found out by the rename itself.
        assert_eq!(early.publish().unwrap_err().kind(), ErrorKind::TargetExists);
        assert_eq!(names(dir.path()), ["out"]);
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

    #[test]
    fn targets_that_cannot_be_are_refused_before_any_work() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Target::new(&OsDisk, path, Replace::Allowed).unwrap_err();
        assert!(refused(dir.path()).to_string().contains("is a directory"));
        assert!(refused(&dir.path().join("none/out")).to_string().contains("directory"));
        assert!(refused(Path::new("/dev/null")).to_string().contains("no regular file"));
        assert!(refused(Path::new("/")).to_string().contains("no name"));
    }
}
