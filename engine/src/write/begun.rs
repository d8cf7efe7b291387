//! A partial file to be written chunk by chunk: begun anew, or gone on with.

use std::path::Path;
use std::sync::Arc;

use super::options::{ReopenOptions, WriteOptions};
use crate::commit::{self, Checkpointer, Interrupted, Partial, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::PlacementKind;
use crate::format::recipe::Recipe;
use crate::format::record::{Open, RunId, SourceIdentity, SourceKind};
use crate::known::{Known, ReadBack};
use crate::pipeline::{Schedule, Shared};
use crate::placement::sequence_set::SequenceSet;
use crate::read::is_complete;
use crate::ring::file::{Disk, Replace};
use crate::spool::Spool;

/// A partial file, and what is known of it.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) partial: Partial,
    pub(super) recipe: Recipe,
    pub(super) known: Known,
    pub(super) checkpointer: Checkpointer,
    pub(super) warnings: Vec<String>,
}

/// What there is to go on with.
#[derive(Debug)]
pub(super) enum Found {
    /// A partial file that was taken over, and the options that it is written by.
    Begun(Box<Begun>, WriteOptions),
    /// Nothing, for this reason: nobody loses anything if it is begun anew.
    Nothing(Error),
}

impl Begun {
    /// Starts a partial file for the target at `path`.
    pub(super) fn create(disk: &dyn Disk, path: &Path, options: &WriteOptions) -> Result<Self> {
        let recipe = options.recipe()?;
        let target = Target::new(disk, path, replace(options))?;
        let run = disk.run_id();
        let partial = Partial::create(target, options.direct)?;
        let file = partial.file();
        if let Some(size) = options.expected_size
            && options.placement == PlacementKind::Slots
        {
            let chunks = recipe.geometry.chunk_count(size);
            let len = chunks.saturating_mul(recipe.geometry.slot_len());
            let allocated = file.allocate(0, len.min(i64::MAX as u64 / 2));
            // Where it isn't supported, each write allocates for itself.
            if let Err(error) = allocated
                && matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
            {
                let what = format!("there is no room for {size} bytes");
                return Err(Error::from_io(ErrorKind::Output, what, error).at(path));
            }
        }
        let known = Known::nothing(recipe.geometry, spool(&partial, options));
        let open = journal_open(&partial, run, recipe, options)?;
        let checkpointer = Checkpointer::new(&partial, open, options.cadence());
        let warnings = partial.took_over().map(str::to_owned).into_iter().collect();
        Ok(Self { partial, recipe, known, checkpointer, warnings })
    }

    /// Goes on with the partial file of the target at `path`; with `expected`, only if it was begun
    /// by this recipe.
    pub(super) fn reopen(
        disk: &dyn Disk,
        path: &Path,
        options: &ReopenOptions,
        expected: Option<&Recipe>,
        schedule: &Schedule,
        shared: &Arc<Shared>,
    ) -> Result<Found> {
        // Whether the target may be replaced is in the journal.
        let target = Target::new(disk, path, Replace::Allowed)?;
        let has_partial = || target.has_partial().map_err(|error| error.at(path));
        let interrupted = match Interrupted::find(target.clone(), options.direct)? {
            commit::Found::Interrupted(interrupted) => *interrupted,
            commit::Found::Foreign(refused) => return Ok(Found::Nothing(refused)),
            commit::Found::Nothing if !has_partial()? && is_complete(disk, path) => {
                let what = "is complete: there is nothing to reopen";
                return Ok(Found::Nothing(Error::new(ErrorKind::Complete, what).at(path)));
            }
            commit::Found::Nothing => {
                let what = "there is no checkpoint to go on from";
                return Ok(Found::Nothing(nothing(what, path)));
            }
        };
        let Open { run, recipe, replace, source, .. } = *interrupted.open();
        if source.kind != SourceKind::Chunks {
            let what = "was begun by packing an input, not chunk by chunk";
            let refused = Error::new(ErrorKind::NotResumable, what).at(path);
            return Err(refused.hint("go on with ringpack resume"));
        }
        let options = options.write_options(&recipe, replace);
        interrupted.check_recipe(&options.recipe()?)?;
        if let Some(expected) = expected {
            interrupted.check_recipe(expected)?;
        }
        let claimed = interrupted.covered();
        let begun = Self::take_over(disk, interrupted, recipe, run, &options, schedule, shared);
        match begun {
            Ok(begun) => Ok(Found::Begun(Box::new(begun), options)),
            Err(error) if error.kind() == ErrorKind::NotResumable => Err(error.at(path)),
            // What was there before is there still.
            Err(error) => Err(error.at(path).resumable(claimed.bytes)),
        }
    }

    fn take_over(
        disk: &dyn Disk,
        interrupted: Interrupted,
        recipe: Recipe,
        run: RunId,
        options: &WriteOptions,
        schedule: &Schedule,
        shared: &Arc<Shared>,
    ) -> Result<Self> {
        let scattered = interrupted.open().is_scattered();
        let (partial, replay) = interrupted.into_parts();
        refuse_strangers(&partial)?;
        let partial = partial.with_replace(replace(options))?;
        partial.take_back()?;
        let claimed = replay.covered();
        let known = Known::covering(recipe.geometry, claimed, spool(&partial, options));
        let mut named = SequenceSet::default();
        replay.each_extent(|extent| {
            named.insert(extent.number);
            known.put(extent.number, &extent.chunks)
        })?;
        let known = if scattered { known.scattered(named) } else { known };
        let io = options.io;
        let (file, blake3) = (partial.file(), recipe.blake3);
        let read_back = ReadBack { disk, io, schedule, shared, file, scattered, blake3 };
        let (mut known, warnings) = read_back.adopt(known)?;
        // An only chunk's digest is another than that of a first one: it has to be given again.
        if recipe.blake3 && known.adopted().iter_from(0).eq([0]) {
            known = known.without(&SequenceSet::of_first(1))?;
        }
        let covered = known.covered();
        let open = journal_open(&partial, run, recipe, options)?;
        let mut adopted = known.adopted().iter_from(0);
        let mut next = |_| known.extent(adopted.next().expect("as many as are covered"));
        let failed =
            |what: &'static str| move |error| Error::from_io(ErrorKind::Output, what, error);
        // What was allocated ahead may be just the room that the new journal needs.
        file.set_len(claimed.data_end).map_err(failed("cannot set the file's length"))?;
        let journal = partial.replace_journal(open.clone(), &covered, &mut next)?;
        drop(adopted);
        // Nothing that the writer before left behind or between shows through holes of this one.
        file.set_len(covered.data_end).map_err(failed("cannot set the file's length"))?;
        punch_gaps(&known, &partial).map_err(failed("cannot free what wasn't covered"))?;
        let checkpointer =
            Checkpointer::new(&partial, open, options.cadence()).behind(journal, covered);
        Ok(Self { partial, recipe, known, checkpointer, warnings })
    }
}

/// Frees the slots between those that were adopted. A file system that can't keeps what was there
/// in the pads of shorter frames.
fn punch_gaps(known: &Known, partial: &Partial) -> std::io::Result<()> {
    let slot_len = known.geometry().slot_len();
    let mut next = 0;
    for number in known.adopted().iter_from(0) {
        if number > next {
            let (start, len) = (next * slot_len, (number - next) * slot_len);
            match partial.file().punch_hole(start, len) {
                Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return Ok(()),
                punched => punched?,
            }
        }
        next = number + 1;
    }
    Ok(())
}

fn replace(options: &WriteOptions) -> Replace {
    if options.replace { Replace::Allowed } else { Replace::Never }
}

fn spool(partial: &Partial, options: &WriteOptions) -> Spool {
    let directory = Arc::clone(partial.target().directory());
    Spool::new(directory, options.blake3, options.spool_memory)
}

fn journal_open(
    partial: &Partial,
    run: RunId,
    recipe: Recipe,
    options: &WriteOptions,
) -> Result<Open> {
    let source = SourceIdentity { kind: SourceKind::Chunks, ..SourceIdentity::default() };
    let partial = partial.recorded_identity()?;
    Ok(Open { run, partial, recipe, replace: options.replace, source, name: Vec::new() })
}

/// Refuses a partial file of another user's: he could read what is written to it.
fn refuse_strangers(partial: &Partial) -> Result<()> {
    let status = partial.file().status().map_err(|error| {
        Error::from_io(ErrorKind::Output, "cannot look at the partial file", error)
    })?;
    if partial.target().directory().is_own(&status) {
        return Ok(());
    }
    let what = "the partial file belongs to another user";
    let refused = Error::new(ErrorKind::NotResumable, what);
    Err(refused.hint("reopen it as that user, or write it anew"))
}

fn nothing(what: &'static str, path: &Path) -> Error {
    Error::new(ErrorKind::NotResumable, what).at(path).hint("write it anew")
}
