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

use ringpack::Cancel;
use ringpack::pipeline::{IoMode, RunReport};

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
fn how(threads: usize, sides: &str, run: &RunReport) -> String {
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
    let counters = run.counters;
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

/// Removes a source whose result is durable by now.
fn remove_source(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|error| {
        Failure::Other(format!(
            "{}: the result is complete, but the source can't be removed: {error}",
            path.display()
        ))
    })
}
