//! How fast a job goes, how long it will still take, and the words for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringpack::escape::shown;
use ringpack::{Phase, Seen};

use super::Watched;
use crate::size::human;

/// The time over which a rate is taken.
const WINDOW: Duration = Duration::from_secs(5);

/// What was seen of a job lately.
#[derive(Debug)]
pub(super) struct Pace {
    lately: VecDeque<(Instant, Seen)>,
}

impl Pace {
    /// That of a job that begins.
    pub(super) fn new(watched: &Watched) -> Self {
        Self { lately: VecDeque::from([(watched.started, Seen::default())]) }
    }

    /// That over all of a job so far.
    pub(super) fn overall(seen: &Seen, watched: &Watched) -> Self {
        let mut pace = Self::new(watched);
        pace.note(seen);
        pace
    }

    /// Takes note of what is seen now.
    pub(super) fn note(&mut self, seen: &Seen) {
        let now = Instant::now();
        // What is read once more is counted from its start.
        let is_again = |(_, before): &(_, Seen)| before.content_bytes > seen.content_bytes;
        if self.lately.back().is_some_and(is_again) {
            self.lately.clear();
        }
        // What was taken over from an earlier run came at no pace.
        if let Some((_, first)) = self.lately.front_mut() {
            first.content_bytes = first.content_bytes.max(seen.resumed_bytes);
        }
        self.lately.push_back((now, *seen));
        let is_old = |lately: &VecDeque<(Instant, Seen)>| {
            lately.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
        };
        while is_old(&self.lately) {
            self.lately.pop_front();
        }
    }

    /// Bytes of content a second.
    pub(super) fn rate(&self) -> f64 {
        match (self.lately.front(), self.lately.back()) {
            (Some((from, before)), Some((to, now))) if to > from => {
                let bytes = now.since(before).content_bytes as f64;
                bytes / to.duration_since(*from).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// How long the rest will take.
    pub(super) fn left(&self, seen: &Seen) -> Option<Duration> {
        let rest = seen.content_size?.checked_sub(seen.content_bytes)?;
        let seconds = rest as f64 / self.rate();
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|_| matches!(seen.phase, Phase::Working | Phase::Checking))
    }

    /// All of it in words.
    pub(super) fn text(&self, watched: &Watched, seen: &Seen) -> String {
        let done = human(seen.content_bytes);
        let mut text = match seen.content_size {
            Some(size) => format!("{done} of {}", human(size)),
            None => done,
        };
        text += &format!(", {}/s", human(self.rate() as u64));
        if let Some(ratio) = ratio(seen) {
            text += &format!(", ratio {:.1}%", 100.0 * ratio);
        }
        match seen.phase {
            Phase::Opening => text = "opening".to_owned(),
            Phase::Finishing => text += ", making it durable",
            Phase::Checking => text += ", comparing with the source",
            _ => {}
        }
        if let Some(left) = self.left(seen) {
            text += &format!(", {} left", clock(left));
        }
        if let Some(stage) = seen.bottleneck() {
            text += &format!(", bottleneck {}", watched.stage(stage));
        }
        text
    }
}

/// How far a job is, over all of it.
pub(crate) fn line(watched: &Watched, seen: &Seen) -> String {
    let text = Pace::overall(seen, watched).text(watched, seen);
    format!("{}: {text} after {}", shown(&watched.path), clock(watched.started.elapsed()))
}

/// What the container takes of what is through, as a part of it.
pub(super) fn ratio(seen: &Seen) -> Option<f64> {
    let raw = seen.content_bytes - seen.resumed_bytes.min(seen.content_bytes);
    (raw > 0).then(|| seen.stored_bytes as f64 / raw as f64)
}

/// A time as `42s`, `3:07` or `1:02:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use ringpack::Progress;

    use super::*;

    #[test]
    fn times_for_people() {
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (187, "3:07"), (3723, "1:02:03")] {
            assert_eq!(clock(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn what_was_taken_over_came_at_no_pace() {
        let started = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        let (command, path) = ("resume", "out".to_owned());
        let watched = Watched { command, path, progress: Progress::new(), started };
        let mut seen = Seen::default();
        (seen.phase, seen.content_size) = (Phase::Working, Some(3000));
        (seen.resumed_bytes, seen.content_bytes, seen.stored_bytes) = (1000, 2000, 250);
        let pace = Pace::overall(&seen, &watched);
        // A thousand bytes in two seconds or a little more; a thousand are left.
        assert!(pace.rate() > 0.0 && pace.rate() <= 500.0, "{}", pace.rate());
        assert!(pace.left(&seen).unwrap() >= Duration::from_secs(2));
        assert_eq!(ratio(&seen), Some(0.25));
    }
}
