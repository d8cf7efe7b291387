//! Going on from the checkpoint of a run that was interrupted.
//!
//! ```text
//! lock ─► read the journal ─► same options, same source? ─► read back what is covered
//!      ─► a journal of what is adopted, in place of the old ─► write the rest, as if it had begun
//! ```
//!
//! The rest is written by the same code as ever, from the first extent that isn't adopted on, so
//! the container comes out with the bytes that the uninterrupted run would have written.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::into_file::Begun;
use super::{
    Codec, Expected, Input, Job, Observer, Opened, PackOptions, PackReport, Resumed, named,
    open_input,
};
use crate::cancel::Cancel;
use crate::commit::{Cadence, Checkpointer, Found, Interrupted, Partial, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::format::layout::Geometry;
use crate::format::recipe::Recipe;
use crate::format::record::{Open, SourceKind};
use crate::journal::Checkpoint;
use crate::known::{Known, ReadBack};
use crate::limits;
use crate::pipeline::{IoMode, Schedule, Shared};
use crate::progress::Progress;
use crate::read::is_complete;
use crate::ring::file::{Disk, Replace};
use crate::trace;

/// What going on may decide anew. Everything that decides a byte is as the interrupted run had it.
///
/// ```no_run
/// use ringpack::pack::{ResumeOptions, recorded_input, resume};
/// use ringpack::{Cancel, OsDisk};
///
/// # fn main() -> ringpack::Result<()> {
/// let (target, options) = ("data.zst".as_ref(), ResumeOptions::default());
/// let report = resume(&OsDisk, target, &mut recorded_input, &options, &Cancel::new())?;
/// # let _ = report;
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ResumeOptions {
    /// Whether a target that exists by now is replaced; it is anyway if the interrupted run was to.
    pub replace: bool,
    /// When checkpoints are taken; `None`: no more of them.
    pub checkpoints: Option<Cadence>,
    /// What must hold of the content, or nothing is published.
    pub expected: Expected,
    /// As [`PackOptions::check_content`].
    pub check_content: bool,
    /// Who is told of checkpoints.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub observer: Observer,
    /// Where to tell how far it is.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub progress: Progress,
    /// Which backend to use.
    pub io: IoMode,
    /// Worker threads; as many as cores, CPU quota and memory allow where `None`.
    pub threads: Option<usize>,
    /// Whether to go past the page cache where the file systems serve that.
    pub direct: bool,
    /// Chunk records held in memory before they are spooled to a file, in bytes.
    pub spool_memory: usize,
}

impl Default for ResumeOptions {
    fn default() -> Self {
        let PackOptions {
            replace,
            checkpoints,
            expected,
            check_content,
            observer,
            progress,
            io,
            threads,
            direct,
            spool_memory,
            ..
        } = PackOptions::default();
        Self {
            replace,
            checkpoints,
            expected,
            check_content,
            observer,
            progress,
            io,
            threads,
            direct,
            spool_memory,
        }
    }
}

/// Goes on with the container at `target`, whose packing was interrupted after a checkpoint.
/// `input` says what to read, given what the journal says: [`recorded_input`] for a source that can
/// be opened again; a stream has to be sent again from its start.
///
/// # Errors
/// As [`super::pack`]; `NotResumable` where there is no checkpoint, or source or options changed;
/// `Complete` where the container is finished already.
/// What the checkpoint covers stays, except where the input changed while it was read.
pub fn resume(
    disk: &dyn Disk,
    target: &Path,
    input: &mut dyn FnMut(&Open) -> Result<Input>,
    options: &ResumeOptions,
    cancel: &Cancel,
) -> Result<PackReport> {
    trace::job("resume", target, || {
        let schedule = |core_bytes| Schedule::threads(options.threads, core_bytes);
        resume_by(disk, target, input, options, cancel, &schedule)
    })
}

/// As [`resume`], on workers run as `schedule` says.
///
/// # Errors
/// As [`resume`].
#[doc(hidden)]
pub fn resume_scheduled(
    disk: &dyn Disk,
    target: &Path,
    input: &mut dyn FnMut(&Open) -> Result<Input>,
    options: &ResumeOptions,
    cancel: &Cancel,
    schedule: &Schedule,
) -> Result<PackReport> {
    resume_by(disk, target, input, options, cancel, &|_| Ok(schedule.clone()))
}

/// As [`resume`], on workers run as `schedule` says once it knows how much memory each takes.
fn resume_by(
    disk: &dyn Disk,
    target: &Path,
    input: &mut dyn FnMut(&Open) -> Result<Input>,
    options: &ResumeOptions,
    cancel: &Cancel,
    schedule: &dyn Fn(u64) -> Result<Schedule>,
) -> Result<PackReport> {
    // Whether the target may be replaced is in the journal.
    let found = Target::new(disk, target, Replace::Allowed)?;
    let nothing = || {
        let what = "there is no checkpoint to go on from";
        Error::new(ErrorKind::NotResumable, what).at(target).hint("pack it anew")
    };
    let interrupted = match Interrupted::find(found.clone(), options.direct)? {
        Found::Interrupted(interrupted) => *interrupted,
        Found::Foreign(refused) => return Err(refused),
        // A partial file without a checkpoint was to replace what has the name.
        Found::Nothing if !found.has_partial()? && is_complete(disk, target) => {
            let what = "is complete: there is nothing to resume";
            return Err(Error::new(ErrorKind::Complete, what).at(target));
        }
        Found::Nothing => return Err(nothing()),
    };
    let open = interrupted.open();
    if open.source.kind == SourceKind::Chunks {
        let what = "is being written by a program, chunk by chunk";
        return Err(Error::new(ErrorKind::NotResumable, what)
            .at(target)
            .hint("have that program reopen it, or remove what it left with ringpack clean"));
    }
    let pack_options = pack_options(open, options);
    pack_options.check().map_err(|error| error.at(target))?;
    let schedule = schedule(limits::core_bytes(pack_options.chunk_log2()))?;
    let shared = Shared::watched(cancel, &pack_options.progress);
    let input = input(open)?;
    let (stream_path, name) = (super::stream_path(&input), input.name());
    let source = open_input(disk, input, &pack_options, &shared)?;
    super::check::refuse_streams(&pack_options, &source, true).map_err(|error| error.at(&name))?;
    let options = &pack_options;
    let mut job = Job::new(disk, source, stream_path, options, &schedule, shared);
    job.go_on(interrupted).map_err(|error| named(error, &name, Some(target)))
}

/// The input that the journal names.
///
/// # Errors
/// `NotResumable` where it was a stream without a name, which must be sent again.
pub fn recorded_input(open: &Open) -> Result<Input> {
    if open.name.is_empty() {
        let what = match open.source.kind {
            SourceKind::Stream => "was packed from a stream, which must be sent again",
            _ => "was packed from an input whose path is too long to be kept",
        };
        return Err(Error::new(ErrorKind::NotResumable, what));
    }
    Ok(Input::Path(PathBuf::from(OsStr::from_bytes(&open.name))))
}

/// The error of an input that isn't the one that the interrupted run had.
pub(super) fn another_input(what: impl Into<Cow<'static, str>>) -> Error {
    let error = Error::new(ErrorKind::NotResumable, what);
    error.hint("give the same input again, or pack this one anew")
}

/// The options of the interrupted run.
fn pack_options(open: &Open, options: &ResumeOptions) -> PackOptions {
    let ResumeOptions {
        replace,
        checkpoints,
        expected,
        check_content,
        observer,
        progress,
        io,
        threads,
        direct,
        spool_memory,
    } = options.clone();
    let recipe = open.recipe;
    PackOptions {
        codec: Codec::of(recipe.codec, recipe.level),
        chunk_log2: Some(recipe.geometry.chunk_log2),
        placement: recipe.geometry.placement,
        extent_chunks: Some(recipe.geometry.extent_chunks),
        blake3: recipe.blake3,
        replace: replace || open.replace,
        checkpoints,
        resume: true,
        expected,
        check_content,
        observer,
        progress,
        io,
        threads,
        direct,
        spool_memory,
    }
}

impl Job<'_> {
    /// Goes on with what an interrupted run left.
    pub(super) fn go_on(&mut self, interrupted: Interrupted) -> Result<PackReport> {
        let recipe = self.recipe()?;
        let source = self.source_identity();
        interrupted.check_recipe(&recipe)?;
        interrupted.check_source(&source)?;
        self.resumes = true;
        // An only chunk's digest is another than that of a first one: it is made from the content.
        let is_only = recipe.blake3 && recipe.geometry.chunk_count(source.size) == 1;
        self.compares = interrupted.compares_content(&source) || is_only;
        let claimed = interrupted.covered();
        let begun = self.take_over(interrupted, recipe).map_err(|error| match error.kind() {
            ErrorKind::NotResumable => error,
            // What was there before is there still.
            _ => self.suspended(error).resumable(claimed.bytes),
        })?;
        let adopted_bytes = begun.known.covered().bytes;
        let resumed = Resumed { covered_bytes: claimed.bytes, adopted_bytes };
        let report = self.write(begun)?;
        Ok(PackReport { resumed: Some(resumed), ..report })
    }

    /// Reads back what an interrupted run left, and puts a journal of what is adopted in place of
    /// its own.
    fn take_over(&self, interrupted: Interrupted, recipe: Recipe) -> Result<Begun> {
        let run = interrupted.open().run;
        let (partial, replay) = interrupted.into_parts();
        if let Opened::Positional(source) = &self.source {
            partial.target().refuse_source(source.status())?;
        }
        self.check_owner(&partial)?;
        let partial = partial.with_replace(self.replace())?;
        partial.take_back()?;
        let claimed = replay.covered();
        let known = Known::covering(recipe.geometry, claimed, self.spool(&partial));
        let extent_chunks = u64::from(recipe.geometry.extent_chunks);
        replay.each_extent(|extent| known.put(extent.number * extent_chunks, &extent.chunks))?;
        let file = partial.file();
        let failed =
            |what: &'static str| move |error| Error::from_io(ErrorKind::Output, what, error);
        let blake3 = recipe.blake3;
        let read_back = ReadBack {
            blake3,
            disk: self.disk,
            io: self.options.io,
            schedule: self.schedule,
            shared: &self.shared,
            file,
            scattered: false,
        };
        let (known, warnings) = read_back.adopt(known)?;
        let adopted = known.covered();
        self.check_length(&recipe.geometry, &adopted)?;
        let open = self.journal_open(&partial, run, recipe)?;
        // What was allocated ahead may be just the room that the new journal needs.
        file.set_len(claimed.data_end).map_err(failed("cannot set the file's length"))?;
        let journal =
            partial.replace_journal(open.clone(), &adopted, &mut |number| known.extent(number))?;
        // Nothing that the run before wrote behind it shows through holes of this one.
        file.set_len(adopted.data_end).map_err(failed("cannot set the file's length"))?;
        let cadence = self.options.checkpoints.unwrap_or(Cadence::never());
        let checkpointer =
            Some(Checkpointer::new(&partial, open, cadence).behind(journal, adopted));
        Ok(Begun { partial, recipe, known, checkpointer, warnings })
    }

    /// Refuses a partial file of somebody's who owns neither the process nor the input: he could
    /// read what is written to it.
    fn check_owner(&self, partial: &Partial) -> Result<()> {
        let status = partial.file().status().map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot look at the partial file", error)
        })?;
        let is_sources = self.is_regular().is_some_and(|source| source.status().uid == status.uid);
        if is_sources || partial.target().directory().is_own(&status) {
            return Ok(());
        }
        let what = "the partial file belongs to another user";
        Err(Error::new(ErrorKind::NotResumable, what)
            .hint("resume it as that user, or pack it anew"))
    }

    /// Refuses a journal that covers what the input can't have.
    fn check_length(&self, geometry: &Geometry, found: &Checkpoint) -> Result<()> {
        let Opened::Positional(source) = &self.source else {
            return Ok(());
        };
        let size = source.status().len;
        let whole = found.chunks.saturating_mul(geometry.chunk_len());
        if found.bytes > size || (found.bytes != whole && found.bytes != size) {
            let what = "its journal covers other bytes than the input has";
            return Err(Error::new(ErrorKind::NotResumable, what).hint("pack it anew"));
        }
        Ok(())
    }
}
