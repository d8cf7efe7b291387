//! Many small jobs side by side: none is worth a bar of its own, so what is shown is how many of
//! them are through.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::bar::Bar;
use super::ticker::Ticker;
use super::{BAR, PATIENCE, Way, locked, way};
use crate::args::Talk;
use crate::message;

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
    ticker: Option<Ticker>,
}

impl Batch {
    /// Starts showing it, as the options and the terminal allow.
    pub(crate) fn start(command: &'static str, total: usize, talk: &Talk) -> Self {
        let (through, started) = (AtomicUsize::new(0), Instant::now());
        let tally = Arc::new(Tally { command, total, through, started });
        *locked(&CURRENT) = Some(Arc::clone(&tally));
        // Programs are told of each job at its end.
        let way = way(talk).filter(|&way| way != Way::Json);
        let ticker = way.map(|way| {
            let tally = Arc::clone(&tally);
            Ticker::start(way.every(), move |stopped| show(&tally, way, stopped))
        });
        Self { tally, ticker }
    }

    /// One more is through.
    pub(crate) fn one_through(&self) {
        self.tally.through.fetch_add(1, Relaxed);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.ticker = None;
        *locked(&CURRENT) = None;
    }
}

fn show(tally: &Tally, way: Way, stopped: bool) {
    match way {
        _ if stopped => {}
        Way::Bar if tally.started.elapsed() < PATIENCE => {}
        Way::Bar => {
            let (through, total) = (tally.through.load(Relaxed) as u64, tally.total as u64);
            locked(&BAR).get_or_insert_with(Bar::new).count(through, total, &tally.text());
        }
        _ => message::line(&tally.text()),
    }
}
