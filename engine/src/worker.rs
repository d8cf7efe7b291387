//! The per-core loop: one thread, one ring, one turn after the other.
//!
//! What a job does with an extent is its [`Task`]; when it is read, made, placed and written is
//! decided here, the same way for packing, unpacking and verifying. A turn does the little that is
//! due, enters the kernel once, and then works on the one extent that is ready:
//!
//! ```text
//! claim ─► read ahead ─► [ready, in order of claim] ─► transform ─► [placing] ─► write ─► complete
//!   │        input buffer ──────────────────────────────┘ output buffer ──────────┘
//!   └─ made elsewhere ────────────────────────────────────────────────┘
//! ```
//!
//! Extents are transformed in the order in which they were claimed. That, and an output buffer
//! being leased only when its extent's turn comes, is why dense placement can't deadlock: the
//! lowest extent of all that has no length yet is either being transformed, or waits only for
//! writes of extents that are placed.
//!
//! # Invariants
//! - W1: the bytes of an extent stay on the core that claimed it.
//! - W2: a turn that did nothing and has operations in flight waits for one of them; it never
//!   spins.
//! - W3: `complete` is called once for an extent, after every byte of it was written.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::buffer::{Buffer, Pool};
use crate::error::{Error, Result};
use crate::progress::{Laps, Progress, Stage};
use crate::ring::{Backend, Completed, Failure, FileSlot, Op, OpKind, Span, Wait};

/// What a claim gave.
pub enum Claim<U> {
    /// A unit, and how it gets its input.
    Unit(U, Input),
    /// A unit whose output was made elsewhere, in a buffer that [`Task::lend`] took.
    Made(U, Buffer),
    /// Nothing now; the event count advances when there may be.
    Later,
    /// Nothing any more.
    Exhausted,
}

/// How a unit gets its input.
pub enum Input {
    /// By reading these spans into an input buffer.
    Read(FileSlot, Vec<Span>),
    /// It has it, or needs none.
    Held,
}

/// What becomes of a unit's output.
pub enum Placing {
    /// It is written there.
    Write(FileSlot, Vec<Span>),
    /// Its place isn't known yet; the event count advances when it may be.
    Later,
    /// It isn't written: the unit is complete.
    Nothing,
    /// The buffer is handed to [`Task::hand_over`] and comes back through [`Task::reclaim`].
    HandOver,
}

/// What a job does with the extents that one worker claims.
pub trait Task {
    /// An extent on its way.
    type Unit;

    /// Takes output buffers that are free, where units are made by others than this worker.
    fn lend(&mut self, _free: &mut Pool) {}

    /// Claims the next one.
    ///
    /// # Errors
    /// Fatal ones, as for all methods here.
    fn claim(&mut self) -> Result<Claim<Self::Unit>>;

    /// Makes the output from the input. Both are whole buffers; the unit knows how much of them it
    /// uses.
    ///
    /// # Errors
    /// As [`Self::claim`].
    fn transform(
        &mut self,
        unit: &mut Self::Unit,
        input: Option<&mut [u8]>,
        output: &mut [u8],
    ) -> Result<()>;

    /// Says where the output goes.
    ///
    /// # Errors
    /// As [`Self::claim`].
    fn place(&mut self, unit: &mut Self::Unit) -> Result<Placing>;

    /// Takes the output of a unit placed by [`Placing::HandOver`].
    ///
    /// # Errors
    /// As [`Self::claim`].
    fn hand_over(&mut self, unit: Self::Unit, output: Buffer) -> Result<()>;

    /// Gives back a buffer that was handed over, if one came back.
    fn reclaim(&mut self) -> Option<Buffer>;

    /// Takes note that the unit is written.
    ///
    /// # Errors
    /// As [`Self::claim`].
    fn complete(&mut self, unit: Self::Unit) -> Result<()>;

    /// Takes note that an operation of the unit's failed at `offset` of its file. Where that is not
    /// fatal, the unit is over.
    ///
    /// # Errors
    /// The one to end the job with, where it is fatal.
    fn failed(
        &mut self,
        unit: Self::Unit,
        kind: OpKind,
        offset: u64,
        failure: Failure,
    ) -> Result<()>;

    /// Whether the worker is to go on.
    ///
    /// # Errors
    /// Where the job was cancelled, or another worker failed.
    fn check(&self) -> Result<()>;
}

/// What a turn came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Something was done.
    Progress,
    /// Nothing can be done before the event count advances.
    Idle,
    /// Everything is done.
    Done,
}

/// A worker between turns.
pub struct Worker<T: Task> {
    task: T,
    backend: Box<dyn Backend>,
    inputs: Pool,
    outputs: Pool,
    /// Claimed units in order of claim, with their input once it is there.
    claimed: VecDeque<Claimed<T::Unit>>,
    /// Made units, waiting for a place.
    placing: VecDeque<(T::Unit, Buffer)>,
    writing: HashMap<u64, T::Unit>,
    claims_max: usize,
    exhausted: bool,
    next_tag: u64,
    done: Vec<Completed>,
    laps: Laps,
    /// What it waits for, if its last turn did nothing.
    waits_for: Option<Stage>,
    /// Whether operations are in flight, for other threads to see.
    in_flight: Arc<AtomicBool>,
}

struct Claimed<U> {
    tag: u64,
    unit: U,
    state: InputState,
}

enum InputState {
    Reading,
    Ready(Option<Buffer>),
}

impl<T: Task> Worker<T> {
    /// A worker that reads into `inputs` and makes its output in `outputs`, and tells where its
    /// time goes.
    pub fn new(
        task: T,
        backend: Box<dyn Backend>,
        inputs: Pool,
        outputs: Pool,
        progress: &Progress,
    ) -> Self {
        let claims_max = inputs.iter().count().max(1);
        Self {
            task,
            backend,
            inputs,
            outputs,
            claimed: VecDeque::new(),
            placing: VecDeque::new(),
            writing: HashMap::new(),
            claims_max,
            exhausted: false,
            next_tag: 0,
            done: Vec::new(),
            laps: progress.laps(),
            waits_for: None,
            in_flight: Arc::default(),
        }
    }

    /// Tells, from any thread, whether operations are in flight.
    pub fn in_flight(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.in_flight)
    }

    /// The backend, for its counters.
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// Fatal for the job. The worker is then to be dropped, which waits for what is in flight.
    pub fn turn(&mut self) -> Result<Turn> {
        self.task.check()?;
        if let Some(stage) = self.waits_for.take() {
            self.laps.charge(stage);
        }
        let mut progress = false;
        while let Some(buffer) = self.task.reclaim() {
            self.outputs.give_back(buffer);
            progress = true;
        }
        self.task.lend(&mut self.outputs);
        progress |= self.place()?;
        progress |= self.claim()?;
        // W2: wait where there is nothing better to do.
        let workable = self.is_workable();
        let wait = if workable { Wait::No } else { Wait::ForOne };
        if self.backend.in_flight() > 0 {
            let lacking = self.lacking();
            self.in_flight.store(true, Relaxed);
            let turned = self.backend.turn(wait, &mut self.done);
            self.in_flight.store(self.backend.in_flight() > 0, Relaxed);
            self.charge_turn(wait, lacking);
            turned.map_err(|error| {
                Error::from_io(crate::ErrorKind::Output, "the ring failed", error)
            })?;
            progress |= self.route()?;
        }
        if workable || self.is_workable() {
            self.transform()?;
            progress = true;
        }
        let idle = self.claimed.is_empty() && self.placing.is_empty() && self.writing.is_empty();
        Ok(match (self.exhausted && idle, progress) {
            (true, _) => Turn::Done,
            (false, true) => Turn::Progress,
            (false, false) => {
                self.waits_for = Some(self.lacking());
                Turn::Idle
            }
        })
    }

    /// What the worker waits for where there is nothing to transform: something read, or a buffer
    /// or a place for what is written.
    fn lacking(&self) -> Stage {
        match self.claimed.front() {
            Some(Claimed { state: InputState::Reading, .. }) => Stage::Read,
            Some(_) => Stage::Write,
            None if self.placing.is_empty() && self.writing.is_empty() => Stage::Read,
            None => Stage::Write,
        }
    }

    /// Charges the time that a call of the backend took: to what was waited for, or where there was
    /// other work, to what the call did by the way.
    fn charge_turn(&mut self, wait: Wait, lacking: Stage) {
        if wait == Wait::ForOne {
            return self.laps.charge(lacking);
        }
        let count = |kind| self.done.iter().filter(|done| done.kind == kind).count() as u64;
        let (reads, writes) = (count(OpKind::Read), count(OpKind::Write));
        match (reads, writes) {
            (0, 0) => self.laps.charge(lacking),
            (reads, writes) => self.laps.split(reads, writes),
        }
    }

    fn is_workable(&self) -> bool {
        let ready = self.claimed.front();
        ready.is_some_and(|front| matches!(front.state, InputState::Ready(_)))
            && self.outputs.has_free()
    }

    /// Submits the writes of units whose place is known by now. Units made here are in ascending
    /// order, but those made elsewhere are in any: one that has no place yet holds up no other.
    fn place(&mut self) -> Result<bool> {
        let mut progress = false;
        for _ in 0..self.placing.len() {
            let Some((mut unit, buffer)) = self.placing.pop_front() else { break };
            match self.task.place(&mut unit)? {
                Placing::Write(file, spans) if !spans.is_empty() => {
                    let tag = self.submit(OpKind::Write, file, spans, buffer);
                    self.writing.insert(tag, unit);
                }
                Placing::Write(..) | Placing::Nothing => {
                    self.outputs.give_back(buffer);
                    self.task.complete(unit)?;
                }
                Placing::HandOver => self.task.hand_over(unit, buffer)?,
                Placing::Later => {
                    self.placing.push_back((unit, buffer));
                    continue;
                }
            }
            progress = true;
        }
        Ok(progress)
    }

    fn claim(&mut self) -> Result<bool> {
        let (mut progress, mut made) = (false, false);
        while !self.exhausted && self.claimed.len() < self.claims_max && self.inputs.has_free() {
            let (unit, input) = match self.task.claim()? {
                Claim::Unit(unit, input) => (unit, input),
                Claim::Made(unit, buffer) => {
                    self.placing.push_back((unit, buffer));
                    made = true;
                    continue;
                }
                Claim::Later => break,
                Claim::Exhausted => {
                    self.exhausted = true;
                    break;
                }
            };
            let (tag, state) = match input {
                Input::Read(file, spans) if !spans.is_empty() => {
                    let buffer = self.inputs.lease().expect("one is free");
                    (self.submit(OpKind::Read, file, spans, buffer), InputState::Reading)
                }
                // All hole: a buffer to lay it out in, but nothing to read.
                Input::Read(..) => (self.tag(), InputState::Ready(self.inputs.lease())),
                Input::Held => (self.tag(), InputState::Ready(None)),
            };
            self.claimed.push_back(Claimed { tag, unit, state });
            progress = true;
        }
        if made {
            self.place()?;
        }
        Ok(progress || made)
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    fn submit(&mut self, kind: OpKind, file: FileSlot, spans: Vec<Span>, buffer: Buffer) -> u64 {
        let tag = self.tag();
        self.backend.submit(Op { kind, file, spans, buffer, tag });
        tag
    }

    fn route(&mut self) -> Result<bool> {
        let progress = !self.done.is_empty();
        for Completed { tag, kind, buffer, result } in self.done.drain(..) {
            match kind {
                OpKind::Read => {
                    let at = self.claimed.iter().position(|claimed| claimed.tag == tag);
                    let at = at.expect("a read belongs to a claimed unit");
                    if let Err((offset, failure)) = result {
                        self.inputs.give_back(buffer);
                        let unit = self.claimed.remove(at).expect("it was found").unit;
                        self.task.failed(unit, kind, offset, failure)?;
                        continue;
                    }
                    self.claimed[at].state = InputState::Ready(Some(buffer));
                }
                OpKind::Write => {
                    let unit = self.writing.remove(&tag).expect("a write belongs to a unit");
                    self.outputs.give_back(buffer);
                    if let Err((offset, failure)) = result {
                        self.task.failed(unit, kind, offset, failure)?;
                        continue;
                    }
                    // W3: the one place where a write ends well.
                    self.task.complete(unit)?;
                }
            }
        }
        Ok(progress)
    }

    fn transform(&mut self) -> Result<()> {
        let Some(Claimed { mut unit, state: InputState::Ready(mut input), .. }) =
            self.claimed.pop_front()
        else {
            unreachable!("only called on a ready unit")
        };
        let mut output = self.outputs.lease().expect("only called with a free output");
        // W1: input and output are this worker's own.
        let bytes = input.as_mut().map(|buffer| &mut buffer[..]);
        self.task.transform(&mut unit, bytes, &mut output)?;
        self.laps.charge(Stage::Work);
        if let Some(buffer) = input {
            self.inputs.give_back(buffer);
        }
        self.placing.push_back((unit, output));
        self.place()?;
        Ok(())
    }
}
