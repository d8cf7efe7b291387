//! The subcommands: arguments as typed become options as meant, and reports become lines.

mod archive;
mod bench;
mod cat;
mod clean;
mod doctor;
mod extract;
mod foreign;
mod generate;
mod info;
mod ls;
mod pack;
mod pack_tree;
mod resume;
mod salvage;
mod several;
mod unpack;
mod verify;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{IsTerminal, Write, stdout};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use ringpack::Digest;
use ringpack::commit::Cadence;
use ringpack::limits;
use ringpack::pack::{Codec, Expected, PackReport};
use ringpack::pipeline::{IoMode, RunReport};
use ringpack::ring::Tier;
use ringpack::ring::file::{Disk, FileKind, Status};
use ringpack::ring::os::OsDisk;
use ringpack::stats::RingCounters;
use serde::Serialize;

use crate::args::{self, Args, Command, Talk};
use crate::exit::Failure;
use crate::job::{Course, Job, Jobs};
use crate::log;
use crate::message::{self, Form};
use crate::metrics;
use crate::producer::Producer;
use crate::signals::Signals;
use crate::size::human;

/// Runs the command.
pub(crate) fn run(args: Args, signals: &Signals) -> Result<ExitCode, Failure> {
    let cancel = signals.cancel();
    message::speak(form(&args.command));
    let talk = talk(&args.command);
    log::start(talk.map_or(0, |talk| talk.verbose))?;
    match &args.command {
        Command::Pack(args) => {
            let run = |jobs: &Jobs| pack::run(args, signals, jobs);
            accompany("pack", &pack::output_path(args), &args.talk, signals, run)
        }
        Command::Resume(args) => {
            let run = |jobs: &Jobs| resume::run(args, signals, jobs);
            accompany("resume", &args.target, &args.talk, signals, run)
        }
        Command::Unpack(args) => {
            let run = |jobs: &Jobs| unpack::run(args, signals, jobs);
            accompany("unpack", &args.inputs[0], &args.talk, signals, run)
        }
        Command::Verify(args) => {
            let run = |jobs: &Jobs| verify::run(args, cancel, jobs);
            accompany("verify", &args.inputs[0], &args.talk, signals, run)
        }
        Command::Salvage(args) => salvage::run(args, cancel),
        Command::Cat(args) => cat::run(args, cancel),
        Command::Ls(args) => ls::run(args, cancel),
        Command::Info(args) => info::run(args, cancel),
        Command::Clean(args) => clean::run(args),
        Command::Bench(args) => bench::run(args, cancel),
        Command::Doctor(args) => doctor::run(args),
        Command::Generate(args) => generate::run(args),
    }
}

/// The options on how much is said, of those commands that have them.
fn talk(command: &Command) -> Option<&Talk> {
    match command {
        Command::Pack(args) => Some(&args.talk),
        Command::Resume(args) => Some(&args.talk),
        Command::Unpack(args) => Some(&args.talk),
        Command::Verify(args) => Some(&args.talk),
        _ => None,
    }
}

/// Who is spoken to, and where.
fn form(command: &Command) -> Form {
    let (json, has_output) = match command {
        Command::Pack(args) => (args.talk.json, pack::is_to_stdout(args)),
        Command::Unpack(args) => (args.talk.json, unpack::is_to_stdout(args)),
        Command::Resume(args) => (args.talk.json, false),
        Command::Verify(args) => (args.talk.json, false),
        Command::Ls(args) => (args.json, true),
        Command::Info(args) => (args.json, false),
        Command::Clean(args) => (args.json, false),
        Command::Salvage(args) => (args.json, false),
        Command::Bench(args) => (args.json, false),
        Command::Doctor(args) => (args.json, false),
        _ => (false, false),
    };
    match (json, has_output) {
        (true, true) => Form::JsonAside,
        (true, false) => Form::Json,
        (false, _) => Form::Lines,
    }
}

/// Runs a command whose jobs are watched, and writes the metrics of them, however they end.
fn accompany(
    command: &'static str,
    path: &Path,
    talk: &Talk,
    signals: &Signals,
    run: impl FnOnce(&Jobs) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    if let Some(file) = &talk.metrics_file {
        metrics::check(file)?;
    }
    let jobs = Jobs::new(command, talk);
    let result = run(&jobs);
    if let Some(file) = &talk.metrics_file {
        let code = result.as_ref().map_or_else(|failure| failure.code(signals), |_| 0);
        if let Err(error) = metrics::write(file, &jobs.end(code, path)) {
            // What was done is done: its code says so. That nothing is heard of it is heard of.
            message::warning(&format!("the metrics are missing: {error}"));
        }
    }
    result
}

impl args::Io {
    fn threads(&self) -> Option<usize> {
        Some(self.threads).filter(|&threads| threads > 0)
    }

    fn mode(&self) -> IoMode {
        match self.mode {
            args::IoMode::Auto => IoMode::Auto,
            args::IoMode::Uring => IoMode::Uring,
            args::IoMode::Pwrite => IoMode::Pwrite,
        }
    }
}

impl args::Encoding {
    fn codec(&self) -> Result<Codec, Failure> {
        let level = self.level.unwrap_or(limits::LEVEL_DEFAULT);
        if self.store {
            Ok(Codec::Store)
        } else if level > limits::LEVEL_COMMON_MAX && !self.ultra {
            Err(Failure::Usage(format!("level {level} takes much memory: allow it with --ultra")))
        } else {
            Ok(Codec::Zstd(level))
        }
    }
}

impl args::Checkpoints {
    /// When they are taken. What was asked for is done whatever it costs.
    fn cadence(&self) -> Option<Cadence> {
        let Self { no_checkpoint, checkpoint_size, checkpoint_seconds, .. } = *self;
        let (bytes, interval) = match (checkpoint_size, checkpoint_seconds) {
            _ if no_checkpoint => return None,
            (None, None) => return Some(Cadence::default()),
            (bytes, seconds) => (bytes, seconds.map(Duration::from_secs)),
        };
        Some(Cadence {
            bytes: bytes.unwrap_or(u64::MAX),
            interval: interval.unwrap_or(Duration::MAX),
            percent_max: 100,
        })
    }

    /// Has signals leave a checkpoint where that is wanted.
    fn tell(&self, signals: &Signals) {
        if self.keep_partial {
            signals.keep_on_interrupt();
        }
    }
}

impl args::Guards {
    /// What must hold of the content, of `producer`'s if it is one's.
    fn expected(&self, producer: Option<&Producer<'_>>, keep: bool) -> Expected {
        Expected {
            size: self.expect_size,
            blake3: self.expect_blake3,
            confirm: producer.map(Producer::confirm).unwrap_or_default(),
            keep,
        }
    }

    /// The command that goes on with a job, for people to copy. `input` is what the arguments name
    /// as it.
    fn resume_command(&self, target: &Path, from_stdin: bool, input: &[OsString]) -> String {
        let mut command = format!("ringpack resume {}", quoted(target));
        if let Some(size) = self.expect_size {
            command += &format!(" --expect-size {size}");
        }
        if let Some(digits) = self.expect_blake3.and_then(|it| Digest::Blake3(it).hex()) {
            command += &format!(" --expect-blake3 {digits}");
        }
        if self.from_command {
            let words: Vec<String> = input.iter().map(|word| quoted_word(word, "")).collect();
            command += &format!(" --from-command -- {}", words.join(" "));
        }
        if from_stdin { format!("PRODUCER | {command}") } else { command }
    }
}

/// A command and its arguments, as clap has them apart.
fn words(command: &Path, args: &[OsString]) -> Vec<OsString> {
    [command.as_os_str()].into_iter().chain(args.iter().map(|arg| &**arg)).map(From::from).collect()
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let is_like_option = path.as_os_str().as_bytes().starts_with(b"-");
    quoted_word(path.as_os_str(), if is_like_option { "./" } else { "" })
}

/// A word as a shell takes it, behind `before`.
fn quoted_word(word: &OsStr, before: &str) -> String {
    let bytes = word.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,=:@%".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(is_plain) => format!("{before}{text}"),
        Ok(text) if !text.chars().any(char::is_control) => {
            format!("{before}'{}'", text.replace('\'', "'\\''"))
        }
        // As bash, zsh and POSIX since 2024 take it.
        _ => {
            let escaped: String = bytes.escape_ascii().map(char::from).collect();
            format!("{before}$'{escaped}'")
        }
    }
}

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
    resumed_bytes: u64,
    content_crc32c: String,
    blake3: Option<String>,
    #[serde(flatten)]
    how: How<'a>,
}

/// How a job was done, for programs.
#[derive(Serialize)]
struct How<'a> {
    threads: usize,
    tier: Option<Tier>,
    direct_input: Option<bool>,
    direct_output: Option<bool>,
    counters: &'a RingCounters,
}

impl<'a> How<'a> {
    fn new(run: &'a RunReport, direct_input: Option<bool>, direct_output: Option<bool>) -> Self {
        let &RunReport { threads, tier, ref counters, .. } = run;
        Self { threads, tier, direct_input, direct_output, counters }
    }

    /// What no ring had a part in.
    fn without_rings(
        threads: usize,
        direct_input: Option<bool>,
        direct_output: Option<bool>,
    ) -> How<'static> {
        static NONE: LazyLock<RingCounters> = LazyLock::new(RingCounters::default);
        How { threads, tier: None, direct_input, direct_output, counters: &NONE }
    }
}

/// Says what packing came to.
fn note_packed(talk: &Talk, job: &mut Job, input: &str, output: &str, report: &PackReport) {
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
            resumed_bytes: report.resumed.map_or(0, |resumed| resumed.adopted_bytes),
            content_crc32c: format!("{:08x}", header.content_crc32c),
            blake3: header.digest.hex(),
            how: How::new(&report.run, report.direct_input, report.direct_output),
        });
    }
    note(talk, || {
        let ratio = 100.0 * header.file_size as f64 / header.content_size.max(1) as f64;
        let (raw, packed) = (human(header.content_size), human(header.file_size));
        let mut text = format!("{input}: {raw} -> {packed} ({ratio:.2}%), {output}");
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

/// Standard output as a file, unless it is a terminal: what these commands write is no text.
pub(crate) fn standard_output(force: bool) -> Result<fs::File, Failure> {
    if stdout().is_terminal() && !force {
        let what = "standard output is a terminal: redirect it, or name a file with --output (-o)";
        return Err(Failure::Usage(what.to_owned()));
    }
    duplicate(stdout().as_fd())
}

/// Writes a report to standard output.
pub(crate) fn print(text: &str) -> Result<ExitCode, Failure> {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            Err(ringpack::Error::from_io(ringpack::ErrorKind::Output, "cannot write", error)
                .at("standard output")
                .into())
        }
    }
}

/// A report as programs read it.
fn json(command: &'static str, report: &impl Serialize) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Summary<'a, T> {
        message_type: &'static str,
        command: &'static str,
        #[serde(flatten)]
        report: &'a T,
    }
    let text = serde_json::to_string(&Summary { message_type: "summary", command, report });
    Ok(text.map_err(|error| Failure::Other(error.to_string()))? + "\n")
}

/// The container's length over the content's.
fn ratio(file_size: u64, content_size: u64) -> Option<f64> {
    (content_size > 0).then(|| file_size as f64 / content_size as f64)
}

pub(crate) fn duplicate(fd: impl AsFd) -> Result<fs::File, Failure> {
    match fd.as_fd().try_clone_to_owned() {
        Ok(fd) => Ok(fs::File::from(fd)),
        Err(error) => Err(Failure::Other(format!("cannot use the standard streams: {error}"))),
    }
}

/// Says what a person should know of a run.
fn warn(run: &RunReport, talk: &Talk) {
    for warning in run.warnings.iter().filter(|_| !talk.quiet) {
        message::warning(warning);
    }
}

/// Says what was done, if anyone wants to know.
fn note(talk: &Talk, text: impl FnOnce() -> String) {
    if !talk.quiet && (talk.is_verbose() || message::is_watched()) {
        message::note(&text());
    }
}

/// How one side of a job was read or written; `None` is a stream.
fn way(direct: Option<bool>) -> &'static str {
    match direct {
        Some(true) => "direct",
        Some(false) => "buffered",
        None => "stream",
    }
}

/// How it was done: the sides, the tier that ran, and the counts.
fn how(sides: &str, run: &RunReport) -> String {
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

/// Refuses `--rm` where nothing durable stands for the source afterwards, or where the source is
/// not a regular file's own name.
fn check_removable(path: &Path, to_stdout: bool) -> Result<(), Failure> {
    if to_stdout {
        let what = "--rm needs an output file: name one with --output (-o), or leave --rm out";
        return Err(Failure::Usage(what.to_owned()));
    }
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        let name = path.display();
        return Err(Failure::Usage(format!(
            "{name}: --rm removes only regular files: leave it out"
        )));
    }
    Ok(())
}

/// Removes a source whose result is durable by now; but only the very file that was read, and only
/// if nobody wrote to it since.
fn remove_source(path: &Path, read: Option<Status>) -> Result<(), Failure> {
    let kept = |why: String| {
        let name = path.display();
        Failure::Other(format!("{name}: the result is complete, but the source is kept: {why}"))
    };
    let name = path.file_name().unwrap_or_default();
    let found = OsDisk
        .directory(path.parent().unwrap_or(Path::new("")))
        .and_then(|directory| Ok((directory.status(name)?, directory)));
    let (found, directory) = found.map_err(|error| kept(error.to_string()))?;
    if read.is_none() || found.map(unchanging) != read.map(unchanging) {
        return Err(kept("it was replaced or written to meanwhile".to_owned()));
    }
    directory.unlink(name).map_err(|error| kept(error.to_string()))
}

/// What stays the same in a file that nobody replaced or wrote to.
fn unchanging(status: Status) -> (FileKind, (u64, u64), u64, SystemTime) {
    (status.kind, status.identity, status.len, status.modified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_as_a_shell_takes_it() {
        let check = |path: &str, expected: &str| assert_eq!(quoted(Path::new(path)), expected);
        check("/a/b-c.zst", "/a/b-c.zst");
        check("a b", "'a b'");
        check("it's", r"'it'\''s'");
        check("-x", "./-x");
        check("-x y", "./'-x y'");
        check("a\nb", r"$'a\nb'");
        check("$(x)", "'$(x)'");
    }
}
