//! A command's jobs as the program accompanies them: watched while they run, and their outcome kept
//! for the metrics file.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ringpack::pack::Observer;
use ringpack::{Progress, Seen};
use serde::Serialize;

use crate::args::Talk;
use crate::exit::Failure;
use crate::message;
use crate::progress::{Batch, Display, Watched};
use crate::signals::Signals;
use crate::size::human;

/// What standard output is called in messages.
pub(crate) const STANDARD_OUTPUT: &str = "standard output";

/// The jobs of one command, one after the other.
#[derive(Debug)]
pub(crate) struct Jobs<'a> {
    command: &'static str,
    talk: &'a Talk,
    outcomes: Mutex<Vec<Outcome>>,
}

/// How much of the machine a job has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    /// All that the options grant.
    All,
    /// One core: others run beside it.
    Core,
}

/// What a job came to, for monitoring.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) command: &'static str,
    pub(crate) path: String,
    pub(crate) started: SystemTime,
    pub(crate) took: Duration,
    /// The code that the program would end with if this were its only job.
    pub(crate) code: Option<u8>,
    pub(crate) seen: Seen,
    /// Length of the container, once it is known.
    pub(crate) file_size: Option<u64>,
    pub(crate) checkpoints: u64,
    pub(crate) damages: Option<u64>,
}

impl<'a> Jobs<'a> {
    pub(crate) fn new(command: &'static str, talk: &'a Talk) -> Self {
        Self { command, talk, outcomes: Mutex::default() }
    }

    /// Begins one on what stands at `path`, or will.
    pub(crate) fn begin(&self, path: &Path, share: Share) -> Job<'_> {
        let (command, path) = (self.command, path.to_string_lossy().into_owned());
        let (progress, started) = (Progress::new(), Instant::now());
        let watched = Arc::new(Watched { command, path, progress, started });
        let display = (share == Share::All).then(|| Display::start(&watched, self.talk));
        Job {
            jobs: self,
            display,
            watched,
            started: SystemTime::now(),
            took: None,
            checkpoints: Arc::default(),
            file_size: None,
            damages: None,
            code: None,
        }
    }

    /// Begins to show how many of that many jobs are through, which run side by side.
    pub(crate) fn batch(&self, count: usize) -> Batch {
        Batch::start(self.command, count, self.talk)
    }

    /// The outcomes of all, where the program ends with `code` and `path` is what it was about.
    pub(crate) fn end(self, code: u8, path: &Path) -> Vec<Outcome> {
        let mut outcomes = self.outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        if outcomes.is_empty() {
            // Nothing was begun: the options contradict each other, say.
            outcomes.push(Outcome {
                command: self.command,
                path: absolute(path),
                started: SystemTime::now(),
                took: Duration::ZERO,
                code: None,
                seen: Seen::default(),
                file_size: None,
                checkpoints: 0,
                damages: None,
            });
        }
        for outcome in &mut outcomes {
            outcome.code.get_or_insert(code);
        }
        outcomes
    }
}

/// A job that runs; its outcome is kept when it is dropped.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    jobs: &'a Jobs<'a>,
    watched: Arc<Watched>,
    display: Option<Display>,
    started: SystemTime,
    took: Option<Duration>,
    checkpoints: Arc<AtomicU64>,
    file_size: Option<u64>,
    damages: Option<u64>,
    code: Option<u8>,
}

impl Job<'_> {
    /// What the engine is to count in.
    pub(crate) fn progress(&self) -> Progress {
        self.watched.progress.clone()
    }

    /// What the engine is to tell of checkpoints.
    pub(crate) fn observer(&self) -> Observer {
        let (count, verbose) = (Arc::clone(&self.checkpoints), self.jobs.talk.is_verbose());
        Observer::new(move |checkpoint| {
            count.fetch_add(1, Relaxed);
            message::checkpoint(checkpoint);
            if verbose {
                message::note(&format!("checkpoint: {} durable", human(checkpoint.bytes)));
            }
        })
    }

    /// The engine's part is over: nothing is shown any more.
    pub(crate) fn over(&mut self) {
        self.took = Some(self.watched.started.elapsed());
        self.display = None;
    }

    /// Takes note of the container's length.
    pub(crate) fn note_size(&mut self, file_size: u64) {
        self.file_size = Some(file_size);
    }

    /// Takes note of what verifying found.
    pub(crate) fn note_damages(&mut self, count: u64) {
        self.damages = Some(count);
    }

    /// Takes note of how this job ended by what came of it.
    pub(crate) fn note_result<T>(&mut self, result: &Result<T, Failure>, signals: &Signals) {
        self.code = Some(result.as_ref().map_or_else(|failure| failure.code(signals), |_| 0));
    }

    /// Takes note of how this job ended, where others follow it.
    pub(crate) fn note_code(&mut self, code: u8) {
        self.code = Some(code);
    }

    /// The part of a summary that is the same for every command.
    pub(crate) fn course(&self) -> Course {
        let seen = self.watched.progress.look();
        self.course_of(seen.content_bytes - seen.resumed_bytes.min(seen.content_bytes))
    }

    /// The same of a job that counted nothing, and had so many bytes of content.
    pub(crate) fn course_of(&self, bytes: u64) -> Course {
        let seen = self.watched.progress.look();
        let seconds = self.took.unwrap_or_else(|| self.watched.started.elapsed()).as_secs_f64();
        Course {
            message_type: "summary",
            command: self.jobs.command,
            seconds,
            bytes_per_second: if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 },
            bottleneck: seen.bottleneck().map(|stage| self.watched.stage(stage)),
            read_seconds: seen.read.as_secs_f64(),
            work_seconds: seen.work.as_secs_f64(),
            write_seconds: seen.write.as_secs_f64(),
            checkpoints: self.checkpoints.load(Relaxed),
        }
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        self.display = None;
        let Watched { command, path, progress, started } = &*self.watched;
        let mut outcomes = self.jobs.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.push(Outcome {
            command,
            path: absolute(Path::new(path)),
            started: self.started,
            took: self.took.unwrap_or_else(|| started.elapsed()),
            code: self.code,
            seen: progress.look(),
            file_size: self.file_size,
            checkpoints: self.checkpoints.load(Relaxed),
            damages: self.damages,
        });
    }
}

/// The path as monitoring is to have it, which knows nothing of the directory that a job ran in.
fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).ok().filter(|_| path != Path::new(STANDARD_OUTPUT));
    absolute.as_deref().unwrap_or(path).to_string_lossy().into_owned()
}

/// How a job went: what every summary begins with.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Course {
    message_type: &'static str,
    command: &'static str,
    seconds: f64,
    bytes_per_second: f64,
    bottleneck: Option<&'static str>,
    read_seconds: f64,
    work_seconds: f64,
    write_seconds: f64,
    checkpoints: u64,
}

impl Course {
    /// The same for people: how fast, and where the workers' time went.
    pub(crate) fn text(&self) -> String {
        let rate = human(self.bytes_per_second as u64);
        let all = self.read_seconds + self.work_seconds + self.write_seconds;
        let Some(bottleneck) = self.bottleneck.filter(|_| all > 0.0) else {
            return format!("  {:.2} s", self.seconds);
        };
        let part = |seconds: f64| 100.0 * seconds / all;
        format!(
            "  {:.2} s, {rate}/s, bottleneck {bottleneck} (read {:.0}%, work {:.0}%, write {:.0}%)",
            self.seconds,
            part(self.read_seconds),
            part(self.work_seconds),
            part(self.write_seconds),
        )
    }
}
