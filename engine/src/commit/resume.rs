//! What an interrupted run left, found and held against what is to be gone on with.
//!
//! The partial file is locked first, so that no write of its dead writer can still be in flight;
//! only then its journal is read. The two belong together if the journal names the partial file:
//! when it was created, or else its inode. A file that was put there since has another time of
//! creation. What the file system doesn't tell, the frames do, each of which is read back (J7).
//!
//! # Invariants
//! - J5: nothing is read before the lock is held.
//! - J6: a journal is believed only beside the partial file that it names, and if source and
//!   options are the same now.

use crate::error::{Error, ErrorKind, Result};
use crate::format::recipe::Recipe;
use crate::format::record::{Open, SourceIdentity, SourceKind};
use crate::journal::{Checkpoint, Replay};
use crate::planted::{self, Bug};

use super::publication::Partial;
use super::target::Target;

/// What was found beside a target.
#[derive(Debug)]
pub enum Found {
    /// Nothing, or nothing that a checkpoint covers.
    Nothing,
    /// A journal, and a partial file of another run's, which the journal says nothing about. A
    /// power cut may bring a journal back that had been removed.
    Foreign(Error),
    /// Something to go on with.
    Interrupted(Box<Interrupted>),
}

/// A partial file with a checkpoint, locked.
#[derive(Debug)]
pub struct Interrupted {
    partial: Partial,
    replay: Replay,
}

impl Interrupted {
    /// What an interrupted run left of `target`.
    ///
    /// # Errors
    /// `Locked` where that run lives; `NotResumable` where the journal is another user's; `Damaged`
    /// or `Unsupported` where it makes no sense; `Output` where something else is in the way.
    pub fn find(target: Target, direct: bool) -> Result<Found> {
        // J5: adopting locks.
        let Some(partial) = Partial::adopt(target, direct)? else {
            return Ok(Found::Nothing);
        };
        let Some(journal) = partial.journal()? else {
            return Ok(Found::Nothing);
        };
        let path = partial.target().path().with_file_name(partial.target().journal_name());
        let replay = Replay::read(journal).map_err(|error| match error.kind() {
            ErrorKind::Damaged | ErrorKind::Unsupported => {
                let hint = "remove it and its partial file with ringpack clean, and pack anew";
                error.at(&path).hint(hint)
            }
            _ => error.at(&path),
        })?;
        let Some(replay) = replay.filter(|replay| replay.covered().extents > 0) else {
            return Ok(Found::Nothing);
        };
        // J6
        let identity = partial.recorded_identity()?;
        let interrupted = Self { partial, replay };
        if interrupted.open().partial.may_be(identity) || planted::is(Bug::StaleJournalTrusted) {
            return Ok(Found::Interrupted(Box::new(interrupted)));
        }
        let what = "the journal belongs to another run than the partial file";
        let refused = interrupted.refused(what.to_owned());
        let hint = "remove both with ringpack clean, and pack anew";
        Ok(Found::Foreign(refused.hint(hint)))
    }

    /// What its last checkpoint covers.
    #[must_use]
    pub fn covered(&self) -> Checkpoint {
        self.replay.covered()
    }

    /// What the run was.
    #[must_use]
    pub fn open(&self) -> &Open {
        self.replay.open()
    }

    /// Refuses other options than those the run had.
    ///
    /// # Errors
    /// `NotResumable`, naming each that differs.
    pub fn check_recipe(&self, now: &Recipe) -> Result<()> {
        let differences = self.open().recipe.differences(now);
        if differences.is_empty() {
            return Ok(());
        }
        let what = format!("was begun with other options: {}", differences.join(", "));
        Err(self.refused(what).hint("give the same options, or pack it anew"))
    }

    /// Refuses another source than the run had, as far as it can be told.
    ///
    /// A device number may change when the machine starts again, so it isn't compared, and neither
    /// is the inode of a block device's node. What can't be told apart this way is compared chunk
    /// by chunk (see [`Self::compares_content`]).
    ///
    /// # Errors
    /// `NotResumable`, saying what differs.
    pub fn check_source(&self, now: &SourceIdentity) -> Result<()> {
        if planted::is(Bug::SourceUnchecked) {
            return Ok(());
        }
        let then = &self.open().source;
        let is_file = then.kind == SourceKind::Regular;
        let what = if then.kind != now.kind {
            "was begun from another kind of input"
        } else if then.size != now.size {
            "was begun from an input of another length"
        } else if is_file && then.inode != now.inode {
            "was begun from another input file"
        } else {
            return Ok(());
        };
        Err(self.refused(what.to_owned()).hint("pack the input anew"))
    }

    /// Whether the source has to be read and compared where it was packed already: a stream must be
    /// read anyway, and a device tells nothing about its content. A file whose times differ may
    /// have been touched only, or written to and had its time of modification set back.
    #[must_use]
    pub fn compares_content(&self, now: &SourceIdentity) -> bool {
        let then = &self.open().source;
        let same_times = (then.mtime_ns, then.ctime_ns) == (now.mtime_ns, now.ctime_ns);
        then.kind != SourceKind::Regular || !(same_times || planted::is(Bug::SourceUnchecked))
    }

    /// The partial file, locked, and what its journal says.
    #[must_use]
    pub fn into_parts(self) -> (Partial, Replay) {
        (self.partial, self.replay)
    }

    fn refused(&self, what: String) -> Error {
        Error::new(ErrorKind::NotResumable, what).at(self.partial.target().path())
    }
}
