//! `ringpack bench`.

use std::fmt::Write as _;
use std::io::{Write as _, stderr};
use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::bench::{BenchOptions, BenchReport, Figure, Step, bench};
use ringpack::pack::Codec;
use ringpack::ring::os::OsDisk;

use super::report::{how, json, print};
use crate::args;
use crate::exit::Failure;
use crate::message;
use crate::size::human;

pub(crate) fn run(args: &args::Bench, cancel: &Cancel) -> Result<ExitCode, Failure> {
    let codec = args.encoding.codec()?;
    let options = BenchOptions {
        size: args.size,
        rounds: args.rounds,
        codec,
        chunk_log2: args.chunk_size.unwrap_or_else(|| codec.chunk_log2()),
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
    };
    let mut progress = Progress { shown: message::is_watched() && !args.quiet };
    let input = args.input.as_deref();
    let told = &mut |step| progress.tell(step);
    let result = bench(&OsDisk, &args.dir, input, &options, told, cancel);
    progress.clear();
    let report = result?;
    for warning in report.run.warnings.iter().filter(|_| !args.quiet) {
        message::warning(warning);
    }
    let text = if args.json { json("bench", &report)? } else { table(&options, &report) };
    print(&text)
}

/// A line that is written over, for who watches.
struct Progress {
    shown: bool,
}

impl Progress {
    fn tell(&mut self, step: Step) {
        if self.shown {
            let Step { round, rounds, name } = step;
            let _ = write!(stderr(), "\r\x1b[Kround {round} of {rounds}: {name}");
        }
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// The report for people.
fn table(options: &BenchOptions, report: &BenchReport) -> String {
    let codec = match options.codec {
        Codec::Store => "store".to_owned(),
        Codec::Zstd(level) => format!("zstd -{level}"),
    };
    let ratio = 100.0 * report.file_size as f64 / report.content_size as f64;
    let mut text = format!(
        "{} of content -> {ratio:.1}%, {codec}, chunks of {}, {} threads, median of {} rounds\n\n\
         {:<26} {:>14} {:>14} {:>14} {:>9}\n",
        human(report.content_size),
        human(report.chunk_len),
        report.threads,
        report.rounds,
        "",
        "median",
        "slowest",
        "fastest",
        "CPU s",
    );
    let sides = [
        ("device", &["write", "read", "copy"][..]),
        ("codec", &["encode", "encode, all cores", "decode", "decode, all cores"]),
        ("engine", &["pack", "unpack", "verify"]),
    ];
    for (side, names) in sides {
        for figure in names.iter().filter_map(|name| report.figure(name)) {
            line(&mut text, side, figure);
        }
    }
    text.push('\n');
    for job in &report.jobs {
        let _ =
            write!(text, "{:<8} {:.2} of what {} allows", job.name, job.reached, job.bottleneck);
        if let Some(cpu) = job.cpu_to_codec {
            let _ = write!(text, "; processor time {cpu:.2} of the codec's own");
        }
        text.push('\n');
    }
    let (millis, decodes) = (1000.0 * report.range_seconds, report.range_to_decode);
    let _ = writeln!(
        text,
        "{:<8} 4 KiB in {millis:.2} ms, {decodes:.2} of decoding one chunk",
        "range"
    );
    let sides = if report.direct { "input and output direct" } else { "through the page cache" };
    let _ = writeln!(text, "\npacking, last round:\n{}", how(sides, &report.run));
    text
}

fn line(text: &mut String, side: &str, figure: &Figure) {
    let rate = |rate: f64| format!("{}/s", human(rate as u64));
    let (slowest, fastest) = figure.spread();
    let _ = writeln!(
        text,
        "{:<26} {:>14} {:>14} {:>14} {:>9.2}",
        format!("{side:<7} {}", figure.name),
        rate(figure.rate()),
        rate(slowest),
        rate(fastest),
        figure.cpu_seconds(),
    );
}
