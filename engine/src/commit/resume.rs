//! What an interrupted run left, found and held against what is to be gone on with.
//!
//! The partial file is locked first, so that no write of its dead writer can still be in flight;
//! only then its journal is read. The two belong together if the partial file's open header bears
//! the run that the journal opens with. A header that is final bears none: it is written when
//! everything is durable, over the open one, so it is its journal's run that wrote it, since
//! a journal of any other was removed, durably, before the file was begun (B5).
//!
//! The final header is written over the open one, and a power cut may leave neither. Then the
//! frames themselves have to show that they are the journal's: see [`Interrupted::lost_header`].
//!
//! # Invariants
//! - J5: nothing is read before the lock is held.
//! - J6: a journal is believed only beside the partial file that its run began, and if source and
//!   options are the same now.

use crate::buffer::AlignedMemory;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Subtype;
use crate::format::header::{Header, State};
use crate::format::recipe::Recipe;
use crate::format::record::{Open, SourceIdentity, SourceKind};
use crate::journal::{Checkpoint, Replay};
use crate::limits::HEADER_LEN;
use crate::planted::{self, Bug};
use crate::ring::file::File;
use crate::ring::whole::read_full;

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
    lost_header: bool,
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
        let mut interrupted = Self { partial, replay, lost_header: false };
        // J6: the header in the partial file is the journal's run's.
        let open = interrupted.open();
        let fits = match read_header(interrupted.partial.file().as_ref())? {
            Front::Short => return Ok(Found::Nothing),
            Front::Lost => {
                interrupted.lost_header = true;
                true
            }
            Front::Intact(header) => match header.state {
                State::Open => *header == open.recipe.open_header(State::Open, open.run),
                // What a final header states of the recipe is compared; it bears no run.
                State::Final => Recipe::of(&header) == open.recipe,
                State::Streamed => false,
            },
        };
        if fits || planted::is(Bug::StaleJournalTrusted) {
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

    /// Whether the partial file's header is unreadable, so that whoever goes on has to find at
    /// least some of the covered frames as they were written.
    #[must_use]
    pub fn lost_header(&self) -> bool {
        self.lost_header
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

/// What stands where a partial file has its header.
enum Front {
    /// Less than a header: the file was not begun.
    Short,
    /// No header, or none that this build knows.
    Lost,
    Intact(Box<Header>),
}

fn read_header(file: &dyn File) -> Result<Front> {
    let mut memory = AlignedMemory::zeroed(HEADER_LEN);
    let read = match read_full(file, &mut memory, 0) {
        // Direct I/O that was claimed and is refused.
        Err(error)
            if error.raw_os_error() == Some(libc::EINVAL)
                && file.leave_direct().unwrap_or(false) =>
        {
            read_full(file, &mut memory, 0)
        }
        read => read,
    };
    let read = read.map_err(|error| {
        Error::from_io(ErrorKind::Output, "cannot read the partial file", error).offset(0)
    })?;
    if read < HEADER_LEN {
        return Ok(Front::Short);
    }
    Ok(match Header::decode(&memory, Subtype::Header) {
        Ok(header) => Front::Intact(Box::new(header)),
        Err(_) => Front::Lost,
    })
}
