//! What commands came to: lines for people, objects for programs.

use std::io::Write;
use std::process::ExitCode;
use std::sync::LazyLock;

use ringpack::escape::shown;
use ringpack::pack::PackReport;
use ringpack::pipeline::RunReport;
use ringpack::ring::Tier;
use ringpack::stats::RingCounters;
use serde::Serialize;

use crate::args::Talk;
use crate::exit::Failure;
use crate::job::{Course, Job};
use crate::message;
use crate::size::human;
use crate::streams::{Text, unwritable};

/// What packing came to, for programs. Sizes are in bytes.
#[derive(Serialize)]
struct Packed<'a> {
    #[serde(flatten)]
    course: Course,
    input: &'a str,
    output: &'a str,
    content_size: u64,
    file_size: u64,
    ratio: Option<f64>,
    chunk_size: u64,
    chunk_count: u64,
    holes: u64,
    checked: bool,
    resumed_bytes: u64,
    content_crc32c: String,
    blake3: Option<String>,
    #[serde(flatten)]
    how: How<'a>,
}

/// How a job was done, for programs.
#[derive(Serialize)]
pub(super) struct How<'a> {
    threads: usize,
    tier: Option<Tier>,
    direct_input: Option<bool>,
    direct_output: Option<bool>,
    counters: &'a RingCounters,
}

impl<'a> How<'a> {
    pub(super) fn new(
        run: &'a RunReport,
        direct_input: Option<bool>,
        direct_output: Option<bool>,
    ) -> Self {
        let &RunReport { threads, tier, ref counters, .. } = run;
        Self { threads, tier, direct_input, direct_output, counters }
    }

    /// What no ring had a part in.
    pub(super) fn without_rings(
        threads: usize,
        direct_input: Option<bool>,
        direct_output: Option<bool>,
    ) -> How<'static> {
        static NONE: LazyLock<RingCounters> = LazyLock::new(RingCounters::default);
        How { threads, tier: None, direct_input, direct_output, counters: &NONE }
    }
}

/// Says what packing came to.
pub(super) fn note_packed(
    talk: &Talk,
    job: &mut Job,
    input: &str,
    output: &str,
    report: &PackReport,
) {
    let header = &report.header;
    job.note_size(header.file_size);
    if talk.json {
        message::json(&Packed {
            course: job.course(),
            input,
            output,
            content_size: header.content_size,
            file_size: header.file_size,
            ratio: ratio(header.file_size, header.content_size),
            chunk_size: header.chunk_len(),
            chunk_count: header.chunk_count,
            holes: report.holes,
            checked: report.checked,
            resumed_bytes: report.resumed.map_or(0, |resumed| resumed.adopted_bytes),
            content_crc32c: format!("{:08x}", header.content_crc32c),
            blake3: header.digest.hex(),
            how: How::new(&report.run, report.direct_input, report.direct_output),
        });
    }
    note(talk, || {
        let ratio = percent(header.file_size, header.content_size);
        let (raw, packed) = (human(header.content_size), human(header.file_size));
        let mut text = format!("{}: {raw} -> {packed}{ratio}, {}", shown(input), shown(output));
        if report.checked {
            text += ", compared and the same";
        }
        if let Some(resumed) = report.resumed {
            text += &format!("\n  {} of it from before", human(resumed.adopted_bytes));
        }
        if !talk.is_verbose() {
            return text;
        }
        let sides =
            format!("input {}, output {}", way(report.direct_input), way(report.direct_output));
        let how = how(&sides, &report.run);
        let course = job.course().text();
        format!("{text}\n  {} of holes not read\n{how}\n{course}", human(report.holes))
    });
}

/// Writes a report to standard output.
pub(crate) fn print(text: &str) -> Result<ExitCode, Failure> {
    Text::new()?.write_all(text.as_bytes()).map_err(unwritable)?;
    Ok(ExitCode::SUCCESS)
}

/// A report as programs read it.
pub(super) fn json(command: &'static str, report: &impl Serialize) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Summary<'a, T> {
        message_type: &'static str,
        command: &'static str,
        #[serde(flatten)]
        report: &'a T,
    }
    let text = crate::json::text(&Summary { message_type: "summary", command, report });
    Ok(text.map_err(|error| Failure::Other(error.to_string()))? + "\n")
}

/// The same for people; of nothing there is no part.
fn percent(file_size: u64, content_size: u64) -> String {
    let ratio = ratio(file_size, content_size);
    ratio.map_or_else(String::new, |ratio| format!(" ({:.2}%)", 100.0 * ratio))
}

/// A file's length, and what part of its content that is.
pub(super) fn part(file_size: u64, content_size: Option<u64>) -> String {
    let ratio = content_size.and_then(|content_size| ratio(file_size, content_size));
    let ratio =
        ratio.map_or_else(String::new, |ratio| format!(", {:.2}% of the content", 100.0 * ratio));
    format!("{}{ratio}", sized(file_size))
}

/// A length to be read, and to the byte.
pub(super) fn sized(bytes: u64) -> String {
    format!("{} ({bytes} bytes)", human(bytes))
}

/// The container's length over the content's.
fn ratio(file_size: u64, content_size: u64) -> Option<f64> {
    (content_size > 0).then(|| file_size as f64 / content_size as f64)
}

/// Says what a person should know.
pub(super) fn warn(warnings: &[String], talk: &Talk) {
    warnings.iter().filter(|_| !talk.quiet).for_each(|what| message::warning(what));
}

/// Says what was done, if anyone wants to know.
pub(super) fn note(talk: &Talk, text: impl FnOnce() -> String) {
    if !talk.quiet && (talk.is_verbose() || message::is_watched()) {
        message::note(&text());
    }
}

/// How one side of a job was read or written; `None` is a stream.
pub(super) fn way(direct: Option<bool>) -> &'static str {
    match direct {
        Some(true) => "direct",
        Some(false) => "buffered",
        None => "stream",
    }
}

/// How it was done: the sides, the tier that ran, and the counts.
pub(super) fn how(sides: &str, run: &RunReport) -> String {
    let tier = run.tier.map_or_else(
        || "none".to_owned(),
        |tier| {
            format!(
                "{:?}, {} registered buffers a core{}{}{}",
                tier.kind,
                tier.registered_buffers,
                if tier.registered_files { ", registered files" } else { "" },
                if tier.restricted { ", restricted" } else { "" },
                if tier.deferred { ", deferred completions" } else { "" },
            )
        },
    );
    let (threads, counters) = (run.threads, run.counters);
    format!(
        "  threads {threads}, {sides}, tier {tier}\n  \
         operations {}, batches {} (largest {}), system calls {}, most in flight {}, asked again {}, \
         kernel workers {}",
        counters.submitted,
        counters.batches,
        counters.batch_max,
        counters.enters,
        counters.in_flight_max,
        counters.resubmitted,
        run.io_workers_max,
    )
}
