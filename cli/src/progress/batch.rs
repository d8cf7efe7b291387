//! Many small jobs side by side: none is worth a bar of its own, so what is shown is how many of
//! them are through.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::{BAR, DRAWN, PATIENCE, TOLD, Way, locked, way};
use crate::args::Talk;
use crate::message;

use super::bar::Bar;

/// The jobs that run side by side.
pub(super) static CURRENT: Mutex<Option<Arc<Tally>>> = Mutex::new(None);

/// How many jobs are through.
#[derive(Debug)]
pub(super) struct Tally {
    command: &'static str,
    total: usize,
    through: AtomicUsize,
    started: Instant,
}

impl Tally {
    pub(super) fn text(&self) -> String {
        let Self { command, total, through, started } = self;
        let seconds = started.elapsed().as_secs_f64();
        format!("{command}: {} of {total} files, {seconds:.0} s", through.load(Relaxed))
    }
}

/// What shows how many are through, until it is dropped.
#[derive(Debug)]
pub(crate) struct Batch {
    tally: Arc<Tally>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Batch {
    /// Starts showing it, as the options and the terminal allow.
    pub(crate) fn start(command: &'static str, total: usize, talk: &Talk) -> Self {
        let (through, started) = (AtomicUsize::new(0), Instant::now());
        let tally = Arc::new(Tally { command, total, through, started });
        *locked(&CURRENT) = Some(Arc::clone(&tally));
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        // Programs are told of each job at its end.
        let way = way(talk).filter(|&way| way != Way::Json);
        let thread = way.and_then(|way| {
            let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
            let thread = std::thread::Builder::new().name("ringpack-progress".to_owned());
            // Nobody is worse off for what isn't shown.
            thread.spawn(move || show(&tally, way, &stop)).ok()
        });
        Self { tally, stop, thread }
    }

    /// One more is through.
    pub(crate) fn one_through(&self) {
        self.tally.through.fetch_add(1, Relaxed);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        *locked(&self.stop.0) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        *locked(&CURRENT) = None;
    }
}

fn show(tally: &Tally, way: Way, stop: &(Mutex<bool>, Condvar)) {
    let every = if way == Way::Bar { DRAWN } else { TOLD };
    loop {
        let stopped = locked(&stop.0);
        let waited = stop.1.wait_timeout_while(stopped, every, |stopped| !*stopped);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            if let Some(bar) = locked(&BAR).take() {
                bar.clear();
            }
            return;
        }
        match way {
            Way::Bar if tally.started.elapsed() < PATIENCE => {}
            Way::Bar => {
                let (through, total) = (tally.through.load(Relaxed) as u64, tally.total as u64);
                locked(&BAR).get_or_insert_with(Bar::new).count(through, total, &tally.text());
            }
            _ => message::line(&tally.text()),
        }
    }
}
