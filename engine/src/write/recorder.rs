//! The writer's own thread: what is known of the chunks that were written, checkpoints, the end.
//!
//! ```text
//! cores ──► records ──► checkpoints ──► (closed, all written) ──► tail ──► published
//!                            │
//!                            └── any failure, or an abort: removed; kept where a checkpoint
//!                                says what it holds and it wasn't an abort
//! ```

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::Receiver;

use super::begun::Begun;
use super::options::WriteOptions;
use super::shared::{Ending, Inner};
use super::task::{Event, GivenTask, Written};
use super::{Reopened, WriteReport};
use crate::commit::{Ahead, Checkpointer, Finish, Partial};
use crate::encode::single_room;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::PlacementKind;
use crate::format::recipe::Recipe;
use crate::format::record::ChunkRecord;
use crate::journal::Checkpoint;
use crate::known::Known;
use crate::limits;
use crate::pipeline::{Channel, Coordinator, Crew, RunReport, Schedule};
use crate::placement::sequence_set::SequenceSet;
use crate::ring::file::{Attributes, Disk};

/// Everything that the thread runs on.
pub(super) struct Recording {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: WriteOptions,
    pub(super) schedule: Schedule,
    /// Output buffers a core.
    pub(super) buffers: usize,
    pub(super) inner: Arc<Inner>,
    pub(super) begun: Begun,
    pub(super) reopened: Option<Reopened>,
    /// Over which it is told what was written.
    pub(super) channel: (Channel<Event>, Receiver<Event>),
}

impl Recording {
    /// Records until the writer is finalized, suspended or aborted, or something fails.
    pub(super) fn run(self) -> Result<WriteReport> {
        let Self { disk, options, schedule, buffers, inner, begun, reopened, channel } = self;
        let Begun { partial, recipe, known, checkpointer, mut warnings } = begun;
        let file = Arc::clone(partial.file());
        let crew = Crew {
            disk: disk.as_ref(),
            io: options.io,
            schedule: &schedule,
            files: vec![Arc::clone(&file)],
            inputs: (1, limits::ALIGN),
            outputs: (buffers, single_room(inner.recipe.geometry.chunk_len() as usize)),
            shared: Arc::clone(&inner.job),
        };
        // In slots any place may come next: there, room is allocated at the start or not at all.
        let covered = known.covered();
        let most = match inner.recipe.geometry.placement {
            PlacementKind::Slots => covered.data_end,
            PlacementKind::Dense => u64::MAX,
        };
        let mut recorder = Recorder {
            inner: &inner,
            options: &options,
            ahead: Ahead::new(&file, &inner.gate, covered.data_end..most, |range| vec![range]),
            partial,
            checkpointer,
            extents: known.adopted().clone(),
            known,
            frontier: covered.data_end,
            only_digest: None,
        };
        let (channel, receiver) = channel;
        let core = AtomicUsize::new(0);
        let make_task = || GivenTask::new(&inner, core.fetch_add(1, Relaxed), channel.sender());
        let ran = crew.run(make_task, &receiver, &mut recorder);
        let Recorder { mut partial, checkpointer, known, extents, only_digest, .. } = recorder;
        let ran = match ran {
            Ok(ran) => ran,
            Err(error) => {
                let sound = !inner.output_failed.load(SeqCst);
                return Err(interrupted(&inner, &options, error, sound, partial, checkpointer));
            }
        };
        let attributes = match ending(&inner) {
            Some(Ending::Finalize(attributes)) => attributes,
            ending => unreachable!("closed only to be finalized, not {ending:?}"),
        };
        let attributes = attributes.unwrap_or_else(|| Attributes {
            mode: disk.creation_mode(),
            owner: None,
            modified: None,
        });
        let finished = finish(&inner, recipe, known, extents, only_digest)
            .and_then(|finish| finish.into_file(&file, &attributes))
            .and_then(|header| partial.take_name().map(|()| header));
        let header = match finished {
            Ok(header) => header,
            Err(error) => return Err(left(error, partial, checkpointer.covered())),
        };
        partial.settle()?;
        warnings.extend(checkpointer.warning());
        let RunReport { tier, threads, counters, io_workers_max, warnings: more } = ran;
        warnings.extend(more);
        let run = RunReport { tier, threads, counters, io_workers_max, warnings };
        Ok(WriteReport { header, reopened, direct: file.is_direct(), run })
    }
}

fn ending(inner: &Inner) -> Option<Ending> {
    *inner.ending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the end of the container is made from.
fn finish(
    inner: &Inner,
    recipe: Recipe,
    known: Known,
    extents: SequenceSet,
    only_digest: Option<[u8; 32]>,
) -> Result<Finish> {
    let content_size = inner.claims.content_size();
    let chunk_count = inner.recipe.geometry.chunk_count(content_size);
    let data_end = inner.placement.data_end(chunk_count).expect("every chunk is placed");
    let mut spool = known.into_spool();
    if let Some(digest) = only_digest.filter(|_| chunk_count == 1) {
        let record = spool.record(0)?;
        spool.put(0, &[ChunkRecord { chaining: digest, ..record }])?;
    }
    Ok(Finish { recipe, spool, extents, content_size, data_end, members: None })
}

/// The cores stopped early: takes a last checkpoint where the disk is full, and leaves the partial
/// file if it can be gone on with.
fn interrupted(
    inner: &Inner,
    options: &WriteOptions,
    error: Error,
    sound: bool,
    mut partial: Partial,
    mut checkpointer: Checkpointer,
) -> Error {
    if error.kind() == ErrorKind::Cancelled {
        return match ending(inner) {
            Some(Ending::Suspend) => {
                let suspended = Error::new(ErrorKind::Suspended, "stopped");
                left(suspended, partial, checkpointer.covered())
            }
            _ => {
                partial.discard();
                error
            }
        };
    }
    // M1: the output itself is sound.
    if sound && error.kind() == ErrorKind::NoSpace && checkpointer.is_usable() {
        // Where it fails, the one before stands.
        if let Ok(Some(checkpoint)) = checkpointer.last_checkpoint(&mut partial) {
            options.observer.tell(&checkpoint);
        }
    }
    left(error, partial, checkpointer.covered())
}

/// Leaves the partial file where a checkpoint says what it holds, and says so; removes it
/// otherwise.
fn left(error: Error, partial: Partial, covered: Checkpoint) -> Error {
    let error = error.at(partial.target().path());
    if error.complete_file().is_some() || !partial.is_kept() {
        partial.discard();
        return error;
    }
    if covered.extents > 0 { error.resumable(covered.bytes) } else { error }
}

/// What the thread does while the cores write.
struct Recorder<'a> {
    inner: &'a Inner,
    options: &'a WriteOptions,
    ahead: Ahead<'a>,
    partial: Partial,
    checkpointer: Checkpointer,
    known: Known,
    extents: SequenceSet,
    /// The furthest end of a chunk that was written.
    frontier: u64,
    /// The digest of the content, in case chunk 0 turns out to be all of it.
    only_digest: Option<[u8; 32]>,
}

impl Recorder<'_> {
    /// M1: not once anything failed.
    fn goes_on(&self) -> Result<()> {
        self.inner.job.first_error()
    }
}

impl Coordinator<Event> for Recorder<'_> {
    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Written(Written { placed, record, only_digest }) => {
                let number = placed.extent().number.0;
                self.known.put(number, &[record])?;
                let is_new = self.extents.insert(number);
                assert!(is_new, "a chunk completes once");
                self.only_digest = self.only_digest.or(only_digest);
                self.frontier = self.frontier.max(placed.end());
                if self.ahead.reach(self.frontier) {
                    self.inner.job.event().advance();
                }
                self.checkpointer.note(number, vec![record], placed.end());
                self.tick()
            }
            Event::Flushed(flush) => {
                if !flush.answered() {
                    return Ok(());
                }
                let taken = self.goes_on().and_then(|()| {
                    let taken = self.checkpointer.checkpoint(&mut self.partial)?;
                    Ok(taken.unwrap_or_else(|| self.checkpointer.covered()))
                });
                let told = match &taken {
                    Ok(checkpoint) => Ok(*checkpoint),
                    Err(error) => Err(error.again()),
                };
                flush.reply(taken);
                match told {
                    Ok(checkpoint) => self.options.observer.tell(&checkpoint),
                    // The data is sound, and there may be room the next time.
                    Err(error) if self.checkpointer.is_without_room(&error) => {}
                    Err(error) => return Err(error),
                }
                Ok(())
            }
        }
    }

    fn tick(&mut self) -> Result<()> {
        if self.goes_on().is_err() {
            return Ok(());
        }
        if let Some(checkpoint) = self.checkpointer.poll(&mut self.partial)? {
            self.options.observer.tell(&checkpoint);
        }
        Ok(())
    }
}
