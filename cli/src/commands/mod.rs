//! The subcommands: arguments as typed become options as meant, and reports become lines.

mod cat;
mod info;
mod pack;
mod unpack;
mod verify;

use std::fs;
use std::io::{IsTerminal, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use ringpack::Cancel;
use ringpack::pipeline::{IoMode, RunReport};
use ringpack::ring::file::{Disk, FileKind, Status};
use ringpack::ring::os::OsDisk;

use crate::args::{self, Args, Command, Talk};
use crate::exit::Failure;
use crate::message;

/// Runs the command.
pub(crate) fn run(args: Args, cancel: &Cancel) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Pack(args) => pack::run(&args, cancel),
        Command::Unpack(args) => unpack::run(&args, cancel),
        Command::Verify(args) => verify::run(&args, cancel),
        Command::Cat(args) => cat::run(&args, cancel),
        Command::Info(args) => info::run(&args),
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

/// Standard output as a file, unless it is a terminal: what these commands write is no text.
fn standard_output(force: bool) -> Result<fs::File, Failure> {
    if stdout().is_terminal() && !force {
        let what = "standard output is a terminal: redirect it, or name a file with --output (-o)";
        return Err(Failure::Usage(what.to_owned()));
    }
    duplicate(stdout().as_fd())
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
