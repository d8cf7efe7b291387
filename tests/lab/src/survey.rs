//! A survey: many cuts of one log, each mounted and checked, and what came of it.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::base::Base;
use crate::claims::Claims;
use crate::cut::Cut;
use crate::log::Log;
use crate::rig::Rig;

/// Findings that a report quotes; more are only counted.
const QUOTED_MAX: usize = 8;

/// What a survey found.
#[derive(Clone, Debug)]
pub struct Findings {
    what: String,
    /// Cuts shown: different images, or the same image with different claims.
    pub states: usize,
    /// Different images among them.
    pub images: usize,
    /// Cuts after which a promise was broken, and which.
    pub broken: Vec<String>,
    /// Cuts after which the file system itself could not be mounted.
    pub unmountable: Vec<String>,
    /// Time taken for all of them.
    pub elapsed: Duration,
}

/// Shows up to `count` cuts of `log`, drawn by `seed`, to `check`, which says what is wrong.
///
/// # Panics
/// As [`Rig::show`].
pub fn survey(
    base: &Base<'_>,
    log: &Log,
    seed: u64,
    count: usize,
    check: impl Fn(&Path, &Claims<'_>) -> Result<(), String> + Sync,
) -> Findings {
    let began = Instant::now();
    let cuts = log.cuts(seed, count);
    // Each rig goes forward through a stretch of the log.
    let stretch = cuts.len().div_ceil(base.flavour().rigs()).max(1);
    let found = thread::scope(|scope| {
        let show = |mut rig, cuts| show_all(&mut rig, log, cuts, &check);
        let rigs: Vec<_> = cuts.chunks(stretch).map(|cuts| (Rig::new(base, log), cuts)).collect();
        let rigs: Vec<_> =
            rigs.into_iter().map(|(rig, cuts)| scope.spawn(move || show(rig, cuts))).collect();
        let found = rigs.into_iter().map(|rig| match rig.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        found.collect::<Vec<_>>()
    });
    let mut findings = Findings {
        what: base.flavour().name().to_owned(),
        states: cuts.len(),
        images: log.distinct_images(&cuts),
        broken: Vec::new(),
        unmountable: Vec::new(),
        elapsed: began.elapsed(),
    };
    for (broken, unmountable) in found {
        findings.broken.extend(broken);
        findings.unmountable.extend(unmountable);
    }
    findings
}

/// What is broken, and what is unmountable, after these cuts.
fn show_all(
    rig: &mut Rig<'_>,
    log: &Log,
    cuts: &[Cut],
    check: &(impl Fn(&Path, &Claims<'_>) -> Result<(), String> + Sync),
) -> (Vec<String>, Vec<String>) {
    let (mut broken, mut unmountable) = (Vec::new(), Vec::new());
    for cut in cuts {
        match rig.show(cut, check) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                let claims = log.claims_before(cut.point);
                broken.push(format!("{why}; cut {cut}, claimed {:?}", claims.0));
            }
            Err(why) => unmountable.push(format!("{why}; cut {cut}")),
        }
    }
    (broken, unmountable)
}

impl Findings {
    /// Requires that nothing was broken and everything could be mounted.
    ///
    /// # Panics
    /// Where that isn't so, quoting the first findings.
    pub fn require_none(&self) {
        assert!(self.broken.is_empty() && self.unmountable.is_empty(), "{self}");
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.elapsed.as_secs_f64() * 1000.0 / self.states.max(1) as f64;
        write!(
            f,
            "{}: {} states, {} images, {} broken, {} unmountable, {each:.1} ms a state",
            self.what,
            self.states,
            self.images,
            self.broken.len(),
            self.unmountable.len(),
        )?;
        // Rare as they are, those that can't be mounted come first.
        let quoted = self.unmountable.iter().chain(&self.broken).take(QUOTED_MAX);
        quoted.into_iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}
