//! The threads that decode frames, and what they find.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use super::decode::FrameDecoder;
use super::measure::Place;
use super::order::Order;
use super::sink::{Given, Sink};
use super::sums::{Stated, Sums};
use super::{DAMAGES_MAX, FRAME_BYTES_MAX, ForeignReport};
use crate::checksum::crc32c;
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::xxh64_low;
use crate::pipeline::Shared;

/// A frame that is decoded at once.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) place: Place,
    pub(super) bytes: Vec<u8>,
    /// Bytes of content that are stated of it.
    pub(super) content_size: usize,
    /// Where its content stands in the whole.
    pub(super) content_offset: u64,
    /// Its place in the order of those with content.
    pub(super) turn: u64,
    /// The seek table's checksum of the content, where the frame has none of its own.
    pub(super) checksum: Option<u32>,
}

impl Frame {
    /// Bytes of memory it takes until it is done with.
    fn cost(&self) -> u64 {
        (self.bytes.len() + self.content_size) as u64
    }
}

/// What all threads of the job use.
pub(super) struct Job<'a> {
    sink: &'a Sink<'a>,
    window_bytes_max: u64,
    threads: usize,
    shared: Arc<Shared>,
    order: Arc<Order>,
    given: Given,
    sums: Sums,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    damages: Vec<(u64, Error)>,
    count: u64,
}

/// The job as the thread sees it that cuts the file into frames.
pub(super) struct Crew<'scope, 'env> {
    job: &'env Job<'env>,
    scope: &'scope Scope<'scope, 'env>,
    queue: Option<SyncSender<Frame>>,
    frames: Arc<Mutex<Receiver<Frame>>>,
    started: usize,
    keep_going: bool,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        sink: &'a Sink<'a>,
        window_bytes_max: u64,
        threads: usize,
        shared: Arc<Shared>,
    ) -> Self {
        let (order, given, sums, found) = Default::default();
        Self { sink, window_bytes_max, threads, shared, order, given, sums, found }
    }

    /// Runs `cut`, which hands frames out and reports what it saw, and waits for all of them.
    pub(super) fn run(
        &self,
        keep_going: bool,
        cut: impl FnOnce(&mut Crew<'_, '_>) -> Result<ForeignReport>,
    ) -> Result<ForeignReport> {
        let order = Arc::clone(&self.order);
        let _wake = self.shared.stop().on_cancel(move || order.wake());
        let cut = std::thread::scope(|scope| {
            let (queue, frames) = sync_channel(self.threads);
            let frames = Arc::new(Mutex::new(frames));
            let mut crew =
                Crew { job: self, scope, queue: Some(queue), frames, started: 0, keep_going };
            let cut = cut(&mut crew);
            if let Err(error) = &cut {
                self.shared.fail(error.again());
            }
            cut
        });
        self.shared.first_error()?;
        let mut report = cut?;
        let found = std::mem::take(&mut *self.found());
        let mut damages = found.damages;
        damages.sort_by_key(|(number, _)| *number);
        report.damages = damages.into_iter().map(|(_, error)| error).collect();
        report.damage_count = found.count;
        report.holes = self.given.holes.load(Ordering::Relaxed);
        report.threads = self.threads;
        Ok(report)
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decode(&self, decoder: &mut FrameDecoder, frame: &Frame) -> Result<()> {
        self.shared.check()?;
        let content = decoder.whole(frame.place, &frame.bytes, frame.content_size)?;
        if frame.checksum.is_some_and(|stated| stated != xxh64_low(&content)) {
            let what = "the content doesn't match the seek table's checksum";
            return Err(frame.place.damaged(what));
        }
        let sum = crc32c(&content);
        if let Sink::Pipe(_) = self.sink {
            self.order.wait_for(&self.shared, frame.turn)?;
            self.sink.give(&content, frame.content_offset, &self.given)?;
            self.order.pass_on();
        } else {
            self.sink.give(&content, frame.content_offset, &self.given)?;
        }
        self.sums.add(frame.turn, sum, content.len())
    }

    fn serve(&self, frames: &Mutex<Receiver<Frame>>, keep_going: bool) -> Result<()> {
        let mut decoder = FrameDecoder::new(self.window_bytes_max)?;
        loop {
            let next = frames.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(frame) = next else { return Ok(()) };
            let decoded = self.decode(&mut decoder, &frame);
            self.order.leave(frame.cost());
            if let Err(error) = decoded {
                self.sums.give_up();
                match self.note(frame.place, error, keep_going) {
                    ControlFlow::Continue(()) => {}
                    // The others are taken off the queue all the same, so that nobody waits for
                    // room in it.
                    ControlFlow::Break(error) => self.shared.fail(error),
                }
            }
        }
    }

    fn note(&self, place: Place, error: Error, keep_going: bool) -> ControlFlow<Error> {
        if !keep_going || error.kind() != ErrorKind::Damaged {
            return ControlFlow::Break(error);
        }
        let mut found = self.found();
        found.count += 1;
        if found.damages.len() < DAMAGES_MAX {
            found.damages.push((place.number, error));
        }
        ControlFlow::Continue(())
    }
}

impl<'env> Crew<'_, 'env> {
    /// Hands a frame to a thread, once there is room for it.
    pub(super) fn decode(&mut self, frame: Frame) -> Result<()> {
        let job = self.job;
        // FO1: so much memory a thread, whatever frames state.
        let most = FRAME_BYTES_MAX / 2 * job.threads as u64;
        job.order.admit(&job.shared, frame.cost(), most)?;
        if self.started < job.threads {
            self.start()?;
        }
        let queue = self.queue.as_ref().expect("the queue is open while frames are cut");
        let gone = |_| Error::new(ErrorKind::Cancelled, "the job was cancelled");
        queue.send(frame).map_err(gone)
    }

    /// Starts another thread; where the system has none to give, those that there are will do.
    fn start(&mut self) -> Result<()> {
        let job = self.job;
        let (frames, keep_going) = (Arc::clone(&self.frames), self.keep_going);
        let work = move || {
            // A panic is told as an error, and to nobody's thread but this one.
            let serve = AssertUnwindSafe(|| job.serve(&frames, keep_going));
            let panicked = |_| Err(Error::new(ErrorKind::Internal, "a thread of the job panicked"));
            if let Err(error) = catch_unwind(serve).unwrap_or_else(panicked) {
                job.shared.fail(error);
                // Whoever waits for room in the queue is let go.
                while frames.lock().unwrap_or_else(PoisonError::into_inner).recv().is_ok() {}
            }
        };
        match std::thread::Builder::new().spawn_scoped(self.scope, work) {
            Ok(_) => self.started += 1,
            Err(_) if self.started > 0 => {}
            Err(error) => {
                let what = "cannot start a thread that decodes";
                return Err(Error::from_io(ErrorKind::Output, what, error));
            }
        }
        Ok(())
    }

    /// Takes the checksum of a frame's content that was decoded on this thread.
    pub(super) fn add_sum(&self, turn: u64, crc32c: u32, len: usize) -> Result<()> {
        self.job.sums.add(turn, crc32c, len)
    }

    /// Takes what a container's header states of its content.
    pub(super) fn expect(&self, stated: Stated) -> Result<()> {
        self.job.sums.expect(stated)
    }

    /// Ends comparing content with headers: damage was found.
    pub(super) fn give_up_sums(&self) {
        self.job.sums.give_up();
    }

    /// Waits for a frame's turn, to write its content from this thread.
    pub(super) fn wait_for(&self, turn: u64) -> Result<()> {
        match self.job.sink {
            Sink::Pipe(_) => self.job.order.wait_for(&self.job.shared, turn),
            _ => Ok(()),
        }
    }

    /// Ends that turn.
    pub(super) fn pass_on(&self) {
        if let Sink::Pipe(_) = self.job.sink {
            self.job.order.pass_on();
        }
    }

    pub(super) fn is_pipe(&self) -> bool {
        matches!(self.job.sink, Sink::Pipe(_))
    }

    /// Gives content to where it goes, from this thread.
    pub(super) fn give(&self, content: &[u8], offset: u64) -> Result<()> {
        self.job.sink.give(content, offset, &self.job.given)
    }

    /// Notes a damage where damage is collected.
    ///
    /// # Errors
    /// The same where it isn't.
    pub(super) fn note(&self, place: Place, error: Error) -> Result<()> {
        match self.job.note(place, error, self.keep_going) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }
}
