//! A file of metrics, for node_exporter's textfile collector or whoever reads OpenMetrics.
//!
//! ```text
//! # TYPE ringpack_success gauge
//! # HELP ringpack_success Whether the last run ended with exit code 0.
//! ringpack_success{command="pack",path="/srv/backup/db.zst"} 1
//! # EOF
//! ```
//!
//! All are gauges with their unit last in the name, so that the text is the same in the Prometheus
//! format and in OpenMetrics: what differs between the two (counters' suffixes, units, the last
//! line) is either not used or a comment to the other. It is written when a command ends, well or
//! not, and appears whole under its name. Of a run that failed it keeps the time of the last that
//! went well, which is what an alert is made of.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringpack::commit::{Partial, Target};
use ringpack::escape::tamed;
use ringpack::ring::file::{Replace, Status};
use ringpack::ring::os::OsDisk;
use ringpack::ring::whole::write_all;
use ringpack::{Attributes, Disk, Error, ErrorKind};

use crate::job::Outcome;

const LAST_SUCCESS: &str = "ringpack_last_success_timestamp_seconds";

/// Refuses a name under which nothing could be written, before any work is done.
///
/// # Errors
/// As the engine has them for an output.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    Target::new(&OsDisk, path, Replace::Allowed).map(|_| ())
}

/// Writes the outcomes.
///
/// # Errors
/// As the engine has them for an output.
pub(crate) fn write(path: &Path, outcomes: &[Outcome]) -> Result<(), Error> {
    let failed =
        |what: &'static str| move |error| Error::from_io(ErrorKind::Output, what, error).at(path);
    let before = fs::read_to_string(path).unwrap_or_default();
    let text = text(outcomes, &before);
    let target = Target::new(&OsDisk, path, Replace::Allowed)?;
    let mode = target.current()?.map_or_else(|| OsDisk.creation_mode(), |Status { mode, .. }| mode);
    let partial = Partial::create(target, false)?;
    let file = partial.file();
    write_all(&**file, text.as_bytes(), 0).map_err(failed("cannot write"))?;
    file.sync_all().map_err(failed("cannot make the metrics durable"))?;
    let attributes = Attributes { mode, owner: None, modified: None };
    file.set_attributes(&attributes).map_err(failed("cannot set the file's attributes"))?;
    partial.publish()
}

/// A metric: its name, its unit, what it means, and its value where it has one.
type Metric = (&'static str, &'static str, &'static str, fn(&Outcome) -> Option<f64>);

const METRICS: [Metric; 13] = [
    ("ringpack_success", "", "Whether the last run ended with exit code 0.", |outcome| {
        Some(f64::from(u8::from(outcome.code == Some(0))))
    }),
    ("ringpack_exit_code", "", "Exit code of the last run.", |outcome| outcome.code.map(f64::from)),
    (
        "ringpack_start_timestamp_seconds",
        "seconds",
        "When the last run started, since the epoch.",
        |outcome| Some(since_epoch(outcome.started).as_secs_f64()),
    ),
    (
        "ringpack_end_timestamp_seconds",
        "seconds",
        "When the last run ended, since the epoch.",
        |outcome| Some(ended(outcome)),
    ),
    ("ringpack_duration_seconds", "seconds", "How long the last run took.", |outcome| {
        Some(outcome.took.as_secs_f64())
    }),
    ("ringpack_content_bytes", "bytes", "Content that the last run got through.", |outcome| {
        Some(outcome.seen.content_bytes as f64)
    }),
    (
        "ringpack_resumed_bytes",
        "bytes",
        "Content that the last run took over from an earlier one.",
        |outcome| Some(outcome.seen.resumed_bytes as f64),
    ),
    ("ringpack_container_bytes", "bytes", "Length of the container.", |outcome| {
        outcome.file_size.map(|size| size as f64)
    }),
    (
        "ringpack_container_to_content_ratio",
        "ratio",
        "Length of the container over that of its content.",
        |outcome| match (outcome.file_size, outcome.seen.content_size) {
            (Some(size), Some(content)) if content > 0 => Some(size as f64 / content as f64),
            _ => None,
        },
    ),
    (
        "ringpack_read_seconds",
        "seconds",
        "Time that the workers spent reading, all together.",
        |outcome| Some(outcome.seen.read.as_secs_f64()),
    ),
    (
        "ringpack_work_seconds",
        "seconds",
        "Time that the workers spent encoding, decoding or checking, all together.",
        |outcome| Some(outcome.seen.work.as_secs_f64()),
    ),
    (
        "ringpack_write_seconds",
        "seconds",
        "Time that the workers spent writing, all together.",
        |outcome| Some(outcome.seen.write.as_secs_f64()),
    ),
    ("ringpack_checkpoints", "", "Checkpoints that the last run took.", |outcome| {
        Some(outcome.checkpoints as f64)
    }),
];

/// The text, where `before` is what stood in the file.
fn text(outcomes: &[Outcome], before: &str) -> String {
    let mut text = String::new();
    let mut family = |name: &str, unit: &str, help: &str, samples: Vec<(String, String)>| {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(text, "# TYPE {name} gauge");
        if !unit.is_empty() {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {help}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    for (name, unit, help, value) in METRICS {
        let samples = outcomes
            .iter()
            .filter_map(|outcome| Some((labels(outcome), value(outcome)?.to_string())));
        family(name, unit, help, samples.collect());
    }
    let damages =
        outcomes.iter().filter_map(|outcome| Some((labels(outcome), outcome.damages?.to_string())));
    family("ringpack_damages", "", "Damages that verifying found.", damages.collect());
    let help = "When the last run that ended with exit code 0 did, since the epoch.";
    let successes = outcomes.iter().filter_map(|outcome| {
        let labels = labels(outcome);
        let value = match outcome.code {
            Some(0) => ended(outcome).to_string(),
            _ => kept(before, &labels)?,
        };
        Some((labels, value))
    });
    family(LAST_SUCCESS, "seconds", help, successes.collect());
    text + "# EOF\n"
}

/// The time of the last success that stood in the file for the same job.
fn kept(before: &str, labels: &str) -> Option<String> {
    let start = format!("{LAST_SUCCESS}{labels} ");
    let value = before.lines().find_map(|line| line.strip_prefix(&start))?;
    value.parse::<f64>().ok().filter(|value| value.is_finite()).map(|value| value.to_string())
}

fn labels(outcome: &Outcome) -> String {
    // People read it too: what is hidden is written out, and then escaped as the format has it.
    let path = tamed(&outcome.path);
    let path = path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{command=\"{}\",path=\"{path}\"}}", outcome.command)
}

fn ended(outcome: &Outcome) -> f64 {
    (since_epoch(outcome.started) + outcome.took).as_secs_f64()
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ringpack::Seen;

    use super::*;

    fn outcome(path: &str, code: u8) -> Outcome {
        let path = path.to_owned();
        Outcome {
            command: "pack",
            path,
            started: UNIX_EPOCH + Duration::from_secs(1000),
            took: Duration::from_millis(500),
            code: Some(code),
            seen: Seen::default(),
            file_size: None,
            checkpoints: 0,
            damages: None,
        }
    }

    #[test]
    fn the_last_success_outlives_a_failure_of_the_same_job() {
        let good = text(&[outcome("a", 0)], "");
        let line = "ringpack_last_success_timestamp_seconds{command=\"pack\",path=\"a\"} 1000.5";
        assert!(good.lines().any(|found| found == line), "{good}");
        let bad = text(&[outcome("a", 9)], &good);
        assert!(bad.lines().any(|found| found == line), "{bad}");
        assert!(bad.contains("ringpack_exit_code{command=\"pack\",path=\"a\"} 9"), "{bad}");
        assert!(bad.contains("ringpack_success{command=\"pack\",path=\"a\"} 0"), "{bad}");
        let other = text(&[outcome("b", 9)], &good);
        assert!(!other.contains(LAST_SUCCESS), "{other}");
    }

    #[test]
    fn a_label_is_one_line_whatever_the_path() {
        let found = labels(&outcome("a\"b\\c\nd", 0));
        assert_eq!(found, r#"{command="pack",path="a\"b\\c\nd"}"#);
    }
}
