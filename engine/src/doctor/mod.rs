//! Examining: what this system and a folder on it let the engine do, what is missing, what that
//! costs, and the remedy.
//!
//! What can be tried is tried, by the calls that a job makes, rather than concluded from a version:
//! a ring is set up with the engine's own buffers and used, a file is written past the page cache,
//! a taken name is renamed onto. Only why something was refused is put together from what the
//! system says of itself.
//!
//! ```
//! use ringpack::doctor::{State, examine};
//!
//! # fn main() -> ringpack::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let folder = dir.path();
//! for finding in examine(folder)?.findings {
//!     if finding.state != State::Ok {
//!         println!("{}: {}", finding.subject, finding.found);
//!     }
//! }
//! # assert!(std::fs::read_dir(folder).unwrap().next().is_none());
//! # Ok(()) }
//! ```
//!
//! # Invariants
//! - DR1: what is made in the folder for trying is gone when the examination ends, however it ends.

mod folder;
mod process;
mod uring;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::ring::file::Disk;
use crate::ring::os::OsDisk;

/// How well something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum State {
    /// As it should be.
    Ok,
    /// Jobs run, but not as fast, as far or as safely as they could.
    Warning,
    /// No container can be written here.
    Fail,
}

/// What was found of one subject.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How well it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What that costs, unless it is well.
    pub cost: Option<Cow<'static, str>>,
    /// What to do about it, unless it is well.
    pub remedy: Option<Cow<'static, str>>,
    /// The kind of error that a job ends with because of it.
    pub fails_with: Option<ErrorKind>,
}

impl Finding {
    /// That something is as it should be.
    #[must_use]
    pub fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        let found = found.into();
        Self { subject, state: State::Ok, found, cost: None, remedy: None, fails_with: None }
    }

    /// That something could be better, with what that costs and the remedy.
    #[must_use]
    pub fn warning(
        subject: &'static str,
        found: impl Into<String>,
        cost: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (cost, remedy) = (Some(cost.into()), Some(remedy.into()));
        Self { state: State::Warning, cost, remedy, ..Self::ok(subject, found) }
    }

    fn fail(
        subject: &'static str,
        kind: ErrorKind,
        found: impl Into<String>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        let cost = "no container can be written here";
        let fails_with = Some(kind);
        Self { state: State::Fail, fails_with, ..Self::warning(subject, found, cost, remedy) }
    }
}

/// What was found of a system and a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Examination {
    /// The folder.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::escape::lossily"))]
    pub folder: PathBuf,
    /// The worst of all findings.
    pub state: State,
    /// What was found, the system first, then the folder.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// Adds what a program found itself.
    pub fn add(&mut self, finding: Finding) {
        self.state = self.state.max(finding.state);
        self.findings.push(finding);
    }
}

/// Examines this system, and the folder that containers are to be written to.
///
/// Two files are made there for trying, of no more than a few MiB, and removed again.
///
/// # Errors
/// `Output` where there is no such folder, or it can't be opened.
pub fn examine(folder: &Path) -> Result<Examination> {
    let directory = OsDisk.directory(folder).map_err(|error| {
        Error::from_io(ErrorKind::Output, "cannot open the directory", error)
            .at(folder)
            .hint("name a directory that exists and that this user may read")
    })?;
    let mut findings = uring::kernel();
    let trial = folder::Trial::new(&*directory);
    findings.extend(uring::ring(&trial));
    findings.extend(process::limits());
    findings.extend(folder::findings(folder, &trial));
    let state = findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
    Ok(Examination { folder: folder.to_owned(), state, findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dr1_nothing_is_left_and_what_is_not_well_has_its_cost_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let examination = examine(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(examination.findings.len() > 10);
        for finding in &examination.findings {
            let is_well = finding.state == State::Ok;
            assert_eq!(finding.cost.is_none(), is_well, "{finding:?}");
            assert_eq!(finding.remedy.is_none(), is_well, "{finding:?}");
            assert!(!finding.found.is_empty(), "{finding:?}");
        }
        let mut subjects: Vec<_> = examination.findings.iter().map(|it| it.subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), examination.findings.len(), "a subject twice");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let error = examine(Path::new("/no/such/folder")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Output);
    }
}
