//! Packing into a file: the partial file, space allocated ahead, checkpoints, finalize, publish.
//!
//! ```text
//!            ┌─ create ─┐                                   ┌─ publish
//! target ────┤          ├──► extents, checkpoints ──► tail ─┤
//!            └─ adopt ──┘          │                        │
//!                                  └── any failure ─────────┴─ kept, if a checkpoint says what it
//!                                                              holds and it can be gone on with
//! ```
//!
//! # Invariants
//! - M1: after a failed write or sync of the output, no further checkpoint is taken.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{SystemTime, UNIX_EPOCH};

use super::resume::another_input;
use super::task::{Event, Work};
use super::{Job, Opened, PackReport, Progress};
use crate::commit::{Ahead, Checkpointer, Found, Interrupted, Partial, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::PlacementKind;
use crate::format::layout::Geometry;
use crate::format::recipe::Recipe;
use crate::format::record::{Open, RunId, SOURCE_NAME_LEN_MAX, SourceIdentity, SourceKind};
use crate::journal::Checkpoint;
use crate::known::Known;
use crate::limits::ALIGN;
use crate::pipeline::{Coordinator, RunReport};
use crate::ring::file::{Attributes, FileKind, Replace};
use crate::spool::Spool;
use crate::units::align_up;

/// A partial file that was begun, and what is known of it.
pub(super) struct Begun {
    pub(super) partial: Partial,
    pub(super) recipe: Recipe,
    pub(super) known: Known,
    pub(super) checkpointer: Option<Checkpointer>,
    pub(super) warnings: Vec<String>,
}

impl Job<'_> {
    pub(super) fn into_file(mut self, path: &Path) -> Result<PackReport> {
        let target = Target::new(self.disk, path, self.replace())?;
        if let Opened::Positional(source) = &self.source {
            target.refuse_source(source.status())?;
        }
        if self.options.resume
            && let Found::Interrupted(interrupted) =
                Interrupted::find(target.clone(), self.options.direct)?
        {
            return self.go_on(*interrupted);
        }
        let begun = self.begin(target)?;
        self.write(begun)
    }

    pub(super) fn replace(&self) -> Replace {
        if self.options.replace { Replace::Allowed } else { Replace::Never }
    }

    /// Starts a partial file.
    fn begin(&self, target: Target) -> Result<Begun> {
        let recipe = self.recipe()?;
        let run = self.disk.run_id();
        let partial = Partial::create(target, self.options.direct)?;
        let known = Known::nothing(recipe.geometry, self.spool(&partial));
        let open = self.journal_open(&partial, run, recipe)?;
        let cadence = self.options.checkpoints;
        let checkpointer = cadence.map(|cadence| Checkpointer::new(&partial, open, cadence));
        let warnings = partial.took_over().map(str::to_owned).into_iter().collect();
        Ok(Begun { partial, recipe, known, checkpointer, warnings })
    }

    pub(super) fn spool(&self, partial: &Partial) -> Spool {
        let directory = Arc::clone(partial.target().directory());
        Spool::new(directory, self.options.blake3, self.options.spool_memory)
    }

    /// What the journal opens with.
    pub(super) fn journal_open(
        &self,
        partial: &Partial,
        run: RunId,
        recipe: Recipe,
    ) -> Result<Open> {
        let name = match &self.source {
            Opened::Positional(source) => absolute(source.path()),
            Opened::Stream(..) | Opened::Archive(..) => {
                self.stream_path.as_deref().map(absolute).unwrap_or_default()
            }
        };
        let source = self.source_identity();
        let partial = partial.recorded_identity()?;
        Ok(Open { run, partial, recipe, replace: self.options.replace, source, name })
    }

    /// What tells this source from another.
    pub(super) fn source_identity(&self) -> SourceIdentity {
        let Opened::Positional(source) = &self.source else {
            return SourceIdentity::default();
        };
        let status = source.status();
        let kind = match status.kind {
            FileKind::BlockDevice => SourceKind::BlockDevice,
            _ => SourceKind::Regular,
        };
        let (device, inode) = status.identity;
        SourceIdentity {
            kind,
            size: status.len,
            mtime_ns: nanos(status.modified),
            ctime_ns: nanos(status.changed),
            device,
            inode,
        }
    }

    /// Writes what is missing of a partial file, and publishes it.
    pub(super) fn write(&self, begun: Begun) -> Result<PackReport> {
        let Begun { mut partial, recipe, known, mut checkpointer, warnings } = begun;
        let covered = known.covered();
        let work = self.work(known, false);
        let mut progress = Progress::behind(&covered);
        progress.uncompared = if self.compares { covered.extents } else { 0 };
        let written = self.write_extents(&work, &mut partial, &mut checkpointer, &mut progress);
        let (content_size, mut report) = match written {
            Ok(written) => written,
            Err(error) => {
                // M1: the output itself is sound, and so is what is known of the input.
                let sound = !work.output_failed.load(SeqCst) && progress.uncompared == 0;
                return Err(self.interrupted(error, sound, partial, checkpointer));
            }
        };
        let holes = progress.holes;
        let finish = match self.finish(recipe, work, progress, content_size) {
            Ok(finish) => finish,
            // M1: the output itself is sound.
            Err(error) if error.kind() == ErrorKind::Unexpected => {
                return Err(self.interrupted(error, true, partial, checkpointer));
            }
            Err(error) => return Err(self.left(error, partial, covered_by(&checkpointer))),
        };
        let finished = finish
            .into_file(partial.file(), &self.attributes())
            // PC1: not by its final name before it was compared.
            .and_then(|header| self.check_content(&partial, content_size).map(|()| header))
            // The last moment at which the job can still be stopped.
            .and_then(|header| self.shared.check().map(|()| header));
        let header = match finished {
            Ok(header) => header,
            Err(error) => return Err(self.left(error, partial, covered_by(&checkpointer))),
        };
        let direct_output = Some(partial.file().is_direct());
        let skipped = checkpointer.as_ref().and_then(Checkpointer::warning);
        warnings.into_iter().chain(skipped).for_each(|what| report.warn(what));
        if let Err(error) = partial.take_name() {
            return Err(self.left(error, partial, covered_by(&checkpointer)));
        }
        partial.settle()?;
        Ok(self.report(header, direct_output, holes, report))
    }

    fn write_extents(
        &self,
        work: &Work,
        partial: &mut Partial,
        checkpointer: &mut Option<Checkpointer>,
        progress: &mut Progress,
    ) -> Result<(u64, RunReport)> {
        let file = Arc::clone(partial.file());
        let room = work.known.covered().data_end..self.expected_len(&work.geometry);
        let ahead = Ahead::new(&file, &work.gate, room, |range| vec![range]);
        let mut files = self.input_files();
        files.push(Arc::clone(&file));
        let mut coordinator = IntoFile { job: self, work, ahead, partial, checkpointer, progress };
        let (content_size, report) = self.run(work, files, &mut coordinator)?;
        let covered = work.known.covered();
        if content_size < covered.bytes {
            let what = format!(
                "the input ends after {content_size} bytes, and {} of it were packed before the \
                 interruption",
                covered.bytes
            );
            return Err(another_input(what));
        }
        self.shared.check()?;
        Ok((content_size, report))
    }

    /// The workers stopped early: takes a last checkpoint where that makes sense, and leaves the
    /// partial file if it can be gone on with.
    fn interrupted(
        &self,
        error: Error,
        sound: bool,
        mut partial: Partial,
        mut checkpointer: Option<Checkpointer>,
    ) -> Error {
        let kinds = [
            ErrorKind::Cancelled,
            ErrorKind::NoSpace,
            ErrorKind::Input,
            ErrorKind::Refused,
            ErrorKind::Unexpected,
        ];
        if sound
            && kinds.contains(&error.kind())
            && self.can_go_on_after(&error)
            && let Some(checkpointer) = checkpointer.as_mut().filter(|it| it.is_usable())
        {
            let taken = match error.kind() {
                ErrorKind::NoSpace => checkpointer.last_checkpoint(&mut partial),
                _ => {
                    let complete = checkpointer.complete();
                    if complete.extents > 0 {
                        // What was allocated ahead may be just the space that the journal lacks.
                        let _ = partial.file().set_len(complete.data_end);
                    }
                    checkpointer.checkpoint(&mut partial)
                }
            };
            match taken {
                Ok(Some(checkpoint)) => self.options.observer.tell(&checkpoint),
                Ok(None) => {}
                // The one before stands.
                Err(failed) if failed.kind() != error.kind() => {
                    return self.left(failed, partial, Some(checkpointer.covered()));
                }
                Err(_) => {}
            }
        }
        let covered = checkpointer.map(|checkpointer| checkpointer.covered());
        self.left(error, partial, covered)
    }

    /// Whether what was written so far is of use after such an end.
    fn can_go_on_after(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Cancelled => self.resumes || self.shared.stop().is_suspended(),
            ErrorKind::Refused | ErrorKind::Unexpected => {
                self.resumes || self.options.expected.keep
            }
            // What was packed is of no state that the input ever had.
            ErrorKind::InputChanged | ErrorKind::Differs => false,
            _ => true,
        }
    }

    /// Leaves the partial file where a checkpoint says what it holds and it can be gone on with,
    /// and says so; removes it otherwise.
    fn left(&self, error: Error, partial: Partial, covered: Option<Checkpoint>) -> Error {
        let is_complete = error.complete_file().is_some();
        if is_complete || !partial.is_kept() || !self.can_go_on_after(&error) {
            partial.discard();
            return error;
        }
        let error = self.suspended(error);
        match covered.filter(|covered| covered.extents > 0) {
            Some(covered) => error.resumable(covered.bytes),
            None => error,
        }
    }

    /// The error of a job that was asked to stop in such a way that it can be gone on with.
    pub(super) fn suspended(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Cancelled && self.shared.stop().is_suspended() {
            return Error::new(ErrorKind::Suspended, "stopped");
        }
        error
    }

    /// Most bytes that the data can take.
    fn expected_len(&self, geometry: &Geometry) -> u64 {
        match &self.source {
            // What doesn't compress grows by a few bytes a chunk and a block an extent.
            Opened::Positional(source) if geometry.placement == PlacementKind::Slots => {
                let chunks = geometry.chunk_count(source.status().len);
                chunks.saturating_mul(geometry.slot_len())
            }
            Opened::Positional(source) => {
                let len = source.status().len;
                align_up(len + len / 64) + 4 * ALIGN as u64
            }
            Opened::Stream(..) | Opened::Archive(..) => u64::MAX,
        }
    }

    fn attributes(&self) -> Attributes {
        match self.is_regular() {
            Some(source) => {
                let status = source.status();
                Attributes {
                    mode: status.mode,
                    owner: Some((status.uid, status.gid)),
                    modified: Some(status.modified),
                }
            }
            // A device's mode says who may use the device, not who may read a copy of it.
            None => Attributes { mode: self.disk.creation_mode(), owner: None, modified: None },
        }
    }
}

fn covered_by(checkpointer: &Option<Checkpointer>) -> Option<Checkpoint> {
    checkpointer.as_ref().map(Checkpointer::covered)
}

/// What the calling thread does while the workers write extents.
struct IntoFile<'a> {
    job: &'a Job<'a>,
    work: &'a Work,
    ahead: Ahead<'a>,
    partial: &'a mut Partial,
    checkpointer: &'a mut Option<Checkpointer>,
    progress: &'a mut Progress,
}

impl Coordinator<Event> for IntoFile<'_> {
    fn event(&mut self, event: Event) -> Result<()> {
        let written = match event {
            Event::Written(written) => written,
            Event::Compared { only_digest } => {
                self.progress.note_digest(only_digest);
                self.progress.uncompared -= 1;
                return Ok(());
            }
            Event::HandedOver(..) => unreachable!("extents of a file are written"),
        };
        self.work.known.put(written.first_chunk, &written.records)?;
        self.progress.note(&written);
        if self.ahead.reach(self.progress.frontier) {
            self.job.shared.event().advance();
        }
        if let Some(checkpointer) = &mut self.checkpointer {
            let number = written.placed.extent().number.0;
            checkpointer.note(number, written.records, written.placed.end());
        }
        self.tick()
    }

    fn tick(&mut self) -> Result<()> {
        // M1: not once anything failed; nor while it may turn out that the input is another one.
        let goes_on = self.job.shared.check().is_ok() && !self.work.output_failed.load(SeqCst);
        if !goes_on || self.progress.uncompared > 0 {
            return Ok(());
        }
        if let Some(checkpointer) = &mut self.checkpointer
            && let Some(checkpoint) = checkpointer.poll(self.partial)?
        {
            self.job.options.observer.tell(&checkpoint);
        }
        Ok(())
    }
}

/// The bytes of a path that finds the file from any directory; empty where a journal has no room
/// for them.
fn absolute(path: &Path) -> Vec<u8> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let bytes = path.as_os_str().as_bytes().to_vec();
    if bytes.len() > SOURCE_NAME_LEN_MAX { Vec::new() } else { bytes }
}

fn nanos(time: SystemTime) -> i64 {
    let since = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).ok();
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => since(after).unwrap_or(i64::MAX),
        Err(before) => since(before.duration()).map_or(i64::MIN, |nanos| -nanos),
    }
}
