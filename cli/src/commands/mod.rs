//! The subcommands: arguments as typed become options as meant, and reports become lines.

mod archive;
mod bench;
mod cat;
mod clean;
mod extract;
mod info;
mod ls;
mod pack;
mod pack_tree;
mod resume;
mod unpack;
mod verify;

use std::fs;
use std::io::{IsTerminal, Write, stdout};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use ringpack::commit::Cadence;
use ringpack::limits;
use ringpack::pack::{Codec, Observer, PackReport};
use ringpack::pipeline::{IoMode, RunReport};
use ringpack::ring::file::{Disk, FileKind, Status};
use ringpack::ring::os::OsDisk;
use serde::Serialize;

use crate::args::{self, Args, Command, Talk};
use crate::exit::Failure;
use crate::message;
use crate::signals::Signals;
use crate::size::human;

/// Runs the command.
pub(crate) fn run(args: Args, signals: &Signals) -> Result<ExitCode, Failure> {
    let cancel = signals.cancel();
    match args.command {
        Command::Pack(args) => pack::run(&args, signals),
        Command::Resume(args) => resume::run(&args, signals),
        Command::Unpack(args) => unpack::run(&args, cancel),
        Command::Verify(args) => verify::run(&args, cancel),
        Command::Cat(args) => cat::run(&args, cancel),
        Command::Ls(args) => ls::run(&args, cancel),
        Command::Info(args) => info::run(&args),
        Command::Clean(args) => clean::run(&args),
        Command::Bench(args) => bench::run(&args, cancel),
    }
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
    fn codec(&self) -> Codec {
        if self.store {
            Codec::Store
        } else {
            Codec::Zstd(self.level.unwrap_or(limits::LEVEL_DEFAULT))
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

    fn observer(&self, talk: &Talk) -> Observer {
        if !talk.verbose {
            return Observer::default();
        }
        Observer::new(|checkpoint| {
            message::note(&format!("checkpoint: {} durable", human(checkpoint.bytes)));
        })
    }

    /// Has signals leave a checkpoint where that is wanted.
    fn tell(&self, signals: &Signals) {
        if self.keep_partial {
            signals.keep_on_interrupt();
        }
    }
}

/// The command that goes on with a job, for people to copy.
fn resume_command(target: &Path, from_stdin: bool) -> String {
    let target = quoted(target);
    let command = format!("ringpack resume {target}");
    if from_stdin { format!("PRODUCER | {command}") } else { command }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let before = if bytes.starts_with(b"-") { "./" } else { "" };
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

/// Says what packing came to.
fn note_packed(talk: &Talk, input: &str, output: &str, report: &PackReport) {
    note(talk, || {
        let header = &report.header;
        let ratio = 100.0 * header.file_size as f64 / header.content_size.max(1) as f64;
        let (raw, packed) = (human(header.content_size), human(header.file_size));
        let mut text = format!("{input}: {raw} -> {packed} ({ratio:.2}%), {output}");
        if let Some(resumed) = report.resumed {
            text += &format!("\n  {} of it from before", human(resumed.adopted_bytes));
        }
        if !talk.verbose {
            return text;
        }
        let sides =
            format!("input {}, output {}", way(report.direct_input), way(report.direct_output));
        let how = how(&sides, &report.run);
        format!("{text}\n  {} of holes not read\n{how}", human(report.holes))
    });
}

/// Standard output as a file, unless it is a terminal: what these commands write is no text.
fn standard_output(force: bool) -> Result<fs::File, Failure> {
    if stdout().is_terminal() && !force {
        let what = "standard output is a terminal: redirect it, or name a file with --output (-o)";
        return Err(Failure::Usage(what.to_owned()));
    }
    duplicate(stdout().as_fd())
}

/// Writes a report to standard output.
fn print(text: &str) -> Result<ExitCode, Failure> {
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
fn json(report: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(report);
    Ok(text.map_err(|error| Failure::Other(error.to_string()))? + "\n")
}

fn duplicate(fd: impl AsFd) -> Result<fs::File, Failure> {
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
    if !talk.quiet && (talk.verbose || message::is_watched()) {
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
        let what = "--rm needs an output file: what a pipe was given isn't known to be kept";
        return Err(Failure::Usage(what.to_owned()));
    }
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        let name = path.display();
        return Err(Failure::Usage(format!("{name}: --rm removes only regular files")));
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
