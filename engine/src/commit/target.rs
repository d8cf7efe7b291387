//! The target: a name that a file is to take, and the names that stand beside it until then.
//!
//! It is checked before any work is done for it, and its directory is held open: names are resolved
//! in that directory even if it is moved or replaced meanwhile.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::ring::file::{Directory, Disk, FileKind, Replace, Status};

/// What a partial file's name ends with.
pub const PARTIAL_SUFFIX: &str = ".ringpack-partial";
/// What a journal's name ends with.
pub const JOURNAL_SUFFIX: &str = ".ringpack-journal";
/// What the name of a journal ends with that is to take another's place.
pub const NEW_JOURNAL_SUFFIX: &str = ".ringpack-rewrite";

/// Bytes of a shortened name that are of its digest: enough that no two names meet.
const DIGEST_BYTES: usize = 16;

const _: () = {
    // `clean` and `salvage` put one in the place of another.
    assert!(PARTIAL_SUFFIX.len() == JOURNAL_SUFFIX.len());
    assert!(PARTIAL_SUFFIX.len() == NEW_JOURNAL_SUFFIX.len());
};

/// The name that ends with `suffix` beside the target called `name`.
pub(super) fn beside(name: &OsStr, suffix: &str) -> OsString {
    let mut beside = name.to_owned();
    beside.push(suffix);
    beside
}

/// What the names beside the target called `name` begin with, in a directory whose names have no
/// more than `name_bytes_max` bytes: the name, or where that is too long its front and its digest.
///
/// ```text
/// a-long-name-of-a-fil~0123456789abcdef0123456789abcdef.ringpack-partial
/// ```
fn stem(name: &OsStr, name_bytes_max: usize) -> OsString {
    let bytes = name.as_bytes();
    let max = name_bytes_max.saturating_sub(PARTIAL_SUFFIX.len());
    if bytes.len() <= max {
        return name.to_owned();
    }
    let digest = blake3::hash(bytes).to_hex();
    let digest = &digest[..2 * DIGEST_BYTES];
    let front = &bytes[..max.saturating_sub(1 + digest.len())];
    // Not through a character: a file system may take text alone.
    let front = match std::str::from_utf8(front) {
        Err(error) if error.error_len().is_none() => &front[..error.valid_up_to()],
        _ => front,
    };
    let mut stem = OsStr::from_bytes(front).to_owned();
    stem.push("~");
    stem.push(digest);
    stem
}

/// A name that a file is to take.
#[derive(Clone, Debug)]
pub struct Target {
    directory: Arc<dyn Directory>,
    name: OsString,
    /// What the names beside it begin with.
    stem: OsString,
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
        let stem = stem(name, directory.name_bytes_max());
        let target =
            Self { directory, name: name.to_owned(), stem, path: path.to_owned(), replace };
        match target.current()? {
            None => {}
            Some(Status { kind: FileKind::Directory, .. }) => {
                let error = Error::new(ErrorKind::Output, "is a directory").at(path);
                return Err(error.hint("name a file in it"));
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
            Err(refused.hint("name another output"))
        };
        if is_source(self.current()?) {
            return refused("is input and output at once");
        }
        if is_source(self.status(&self.partial_name())?) {
            return refused("would be written under the input's own name first");
        }
        Ok(())
    }

    /// The name that the file has while it is written.
    #[must_use]
    pub fn partial_name(&self) -> OsString {
        self.beside(PARTIAL_SUFFIX)
    }

    /// Whether a partial file stands beside it, whoever's it is.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub fn has_partial(&self) -> Result<bool> {
        Ok(self.status(&self.partial_name())?.is_some())
    }

    /// The name of its journal.
    #[must_use]
    pub fn journal_name(&self) -> OsString {
        self.beside(JOURNAL_SUFFIX)
    }

    /// The name of a journal that is to take the other's place.
    #[must_use]
    pub fn new_journal_name(&self) -> OsString {
        self.beside(NEW_JOURNAL_SUFFIX)
    }

    fn beside(&self, suffix: &str) -> OsString {
        beside(&self.stem, suffix)
    }

    /// Its own name.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Whether it may be replaced.
    #[must_use]
    pub fn replace(&self) -> Replace {
        self.replace
    }

    /// The same, replaced only if `replace` says so.
    ///
    /// # Errors
    /// `TargetExists` where something has the name and it is not to be replaced.
    pub fn with_replace(self, replace: Replace) -> Result<Self> {
        if replace == Replace::Never && self.current()?.is_some() {
            return Err(self.exists());
        }
        Ok(Self { replace, ..self })
    }

    /// What has the name now.
    ///
    /// # Errors
    /// `Output` where the directory can't be searched.
    pub fn current(&self) -> Result<Option<Status>> {
        self.status(&self.name)
    }

    /// What has a name beside it now.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub fn status(&self, name: &OsStr) -> Result<Option<Status>> {
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

    pub(super) fn exists(&self) -> Error {
        Error::new(ErrorKind::TargetExists, "exists already").at(&self.path)
    }

    pub(super) fn failed(&self, what: &'static str, error: io::Error) -> Error {
        Error::from_io(ErrorKind::Output, what, error).at(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::os::OsDisk;

    #[test]
    fn targets_that_cannot_be_are_refused_before_any_work() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Target::new(&OsDisk, path, Replace::Allowed).unwrap_err();
        assert!(refused(dir.path()).to_string().contains("is a directory"));
        assert!(refused(&dir.path().join("none/out")).to_string().contains("directory"));
        assert!(refused(Path::new("/dev/null")).to_string().contains("no regular file"));
        assert!(refused(Path::new("/")).to_string().contains("no name"));
    }

    #[test]
    fn names_beside_a_long_one_fit_and_differ() {
        for max in [255, 143] {
            for len in max - 40..=max {
                let [a, b] =
                    ["a", "b"].map(|end| stem(OsStr::new(&("n".repeat(len - 1) + end)), max));
                assert_ne!(a, b);
                assert!(a.len() + PARTIAL_SUFFIX.len() <= max, "{len} of {max}");
                let is_whole = len + PARTIAL_SUFFIX.len() <= max;
                assert_eq!(a.as_bytes().ends_with(b"na"), is_whole, "{len} of {max}");
            }
            // Two and four bytes a character: nothing is cut in two.
            for character in ["é", "𝄞"] {
                for before in ["", "x", "xx", "xxx"] {
                    let name = before.to_owned() + &character.repeat(max / character.len() - 1);
                    let stem = stem(OsStr::new(&name), max);
                    assert!(stem.to_str().is_some() && stem.len() + PARTIAL_SUFFIX.len() <= max);
                }
            }
        }
        let odd = stem(OsStr::from_bytes(&[0xFF; 255]), 255);
        assert_eq!(odd.len() + PARTIAL_SUFFIX.len(), 255);
    }
}
