//! Telling how far a job is: a bar on a terminal, lines, objects for programs, and a line whenever
//! `SIGUSR1` asks for one, as with dd.
//!
//! The engine only counts. A thread of its own looks at the counts and shows them; where nothing is
//! to be shown there is no such thread. The job that runs is kept in one place, so that the thread
//! that waits for signals and whoever writes to standard error find it.

mod bar;
mod batch;
mod pace;
mod ticker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringpack::{Phase, Progress, Seen, Stage};
use serde::Serialize;

use crate::args::{ProgressMode, Talk};
use crate::json;
use crate::message;

use bar::Bar;
use pace::Pace;
use ticker::Ticker;

pub(crate) use batch::Batch;
pub(crate) use pace::line;

/// How often a bar is drawn.
const DRAWN: Duration = Duration::from_millis(100);
/// How often a line is written, or an object.
const TOLD: Duration = Duration::from_secs(1);
/// Jobs that are over by then never have a bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// A job as it is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) command: &'static str,
    pub(crate) path: String,
    pub(crate) progress: Progress,
    pub(crate) started: Instant,
}

/// The job that runs.
static CURRENT: Mutex<Option<Arc<Watched>>> = Mutex::new(None);
/// The bar that stands on the terminal, which whatever else is written there must go around.
static BAR: Mutex<Option<Bar>> = Mutex::new(None);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes something beside the bar.
pub(crate) fn apart<R>(write: impl FnOnce() -> R) -> R {
    match &*locked(&BAR) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Says how far the job is that runs, if one does.
pub(crate) fn tell() {
    let current = locked(&CURRENT).clone();
    let Some(watched) = current else {
        let batch = locked(&batch::CURRENT).clone();
        return batch.iter().for_each(|tally| message::note(&tally.text()));
    };
    let seen = watched.progress.look();
    if message::is_json() {
        return message::json(&watched.message(&seen, &Pace::overall(&seen, &watched)));
    }
    message::line(&watched.line(&seen));
}

/// What shows the progress of one job, until it is dropped.
#[derive(Debug)]
pub(crate) struct Display(Option<Ticker>);

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Bar,
    Lines,
    Json,
}

impl Way {
    /// How often something is shown.
    fn every(self) -> Duration {
        if self == Self::Bar { DRAWN } else { TOLD }
    }
}

impl Display {
    /// Starts showing it, as the options and the terminal allow.
    pub(crate) fn start(watched: &Arc<Watched>, talk: &Talk) -> Self {
        *locked(&CURRENT) = Some(Arc::clone(watched));
        Self(way(talk).map(|way| {
            let (watched, mut pace) = (Arc::clone(watched), Pace::new(watched));
            Ticker::start(way.every(), move |stopped| show(&watched, &mut pace, way, stopped))
        }))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // The thread shows the end first.
        self.0 = None;
        *locked(&CURRENT) = None;
    }
}

fn way(talk: &Talk) -> Option<Way> {
    let lines_or_bar = if message::can_redraw() { Way::Bar } else { Way::Lines };
    match talk.progress {
        ProgressMode::Never => None,
        ProgressMode::Json => Some(Way::Json),
        ProgressMode::Always if message::is_json() => Some(Way::Json),
        ProgressMode::Always => Some(lines_or_bar),
        ProgressMode::Auto if talk.quiet || message::is_json() => None,
        ProgressMode::Auto => Some(Way::Bar).filter(|_| message::can_redraw()),
    }
}

fn show(watched: &Watched, pace: &mut Pace, way: Way, stopped: bool) {
    let seen = watched.progress.look();
    pace.note(&seen);
    match way {
        Way::Json => aside(&watched.message(&seen, pace)),
        _ if stopped => {}
        Way::Lines => message::line(&watched.line(&seen)),
        Way::Bar if watched.started.elapsed() >= PATIENCE => {
            locked(&BAR).get_or_insert_with(Bar::new).draw(&seen, &pace.text(watched, &seen));
        }
        Way::Bar => {}
    }
}

/// An object on standard error, whatever goes to standard output.
fn aside(message: &Told) {
    if let Ok(text) = json::text(message) {
        message::line(&text);
    }
}

/// How far a job is, as programs get it.
#[derive(Serialize)]
struct Told<'a> {
    message_type: &'static str,
    command: &'static str,
    path: &'a str,
    phase: Phase,
    content_size: Option<u64>,
    content_bytes: u64,
    resumed_bytes: u64,
    stored_bytes: u64,
    ratio: Option<f64>,
    seconds: f64,
    bytes_per_second: f64,
    seconds_left: Option<f64>,
    bottleneck: Option<&'static str>,
    read_seconds: f64,
    work_seconds: f64,
    write_seconds: f64,
}

impl Watched {
    fn message(&self, seen: &Seen, pace: &Pace) -> Told<'_> {
        Told {
            message_type: "progress",
            command: self.command,
            path: &self.path,
            phase: seen.phase,
            content_size: seen.content_size,
            content_bytes: seen.content_bytes,
            resumed_bytes: seen.resumed_bytes,
            stored_bytes: seen.stored_bytes,
            ratio: pace::ratio(seen),
            seconds: self.started.elapsed().as_secs_f64(),
            bytes_per_second: pace.rate(),
            seconds_left: pace.left(seen).map(|left| left.as_secs_f64()),
            bottleneck: seen.bottleneck().map(|stage| self.stage(stage)),
            read_seconds: seen.read.as_secs_f64(),
            work_seconds: seen.work.as_secs_f64(),
            write_seconds: seen.write.as_secs_f64(),
        }
    }

    /// How far it is, in a line of its own.
    fn line(&self, seen: &Seen) -> String {
        line(self, seen)
    }

    /// What a stage is called in this command.
    pub(crate) fn stage(&self, stage: Stage) -> &'static str {
        match (stage, self.command) {
            (Stage::Read, _) => "read",
            (Stage::Write, _) => "write",
            (Stage::Work, "unpack") => "decode",
            (Stage::Work, "verify") => "check",
            (Stage::Work, _) => "encode",
        }
    }
}
