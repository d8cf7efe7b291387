//! The subcommands, and what runs around each: whom it speaks to, logs, metrics.

mod apart;
mod archive;
mod bench;
mod cat;
mod clean;
mod compare_tree;
mod confined;
mod doctor;
mod extract;
mod foreign;
mod generate;
mod info;
mod ls;
mod options;
mod pack;
mod pack_tree;
mod removal;
mod report;
mod resume;
mod salvage;
mod several;
mod unpack;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use apart::are_one_place;
pub(crate) use apart::{Paths, are_apart, refuse_as_input};
pub(crate) use foreign::is_stream;
pub(crate) use report::print;

use ringpack::escape::shown;

use crate::args::{Args, Command, Talk};
use crate::exit::Failure;
use crate::inherited::Stream;
use crate::job::Jobs;
use crate::log;
use crate::message::{self, Form};
use crate::metrics;
use crate::remedy;
use crate::signals::Signals;
use crate::streams::refuse_closed;

/// Runs the command.
pub(crate) fn run(args: Args, signals: &Signals) -> Result<ExitCode, Failure> {
    let cancel = signals.cancel();
    let form = form(&args.command);
    message::speak(form);
    if form == Form::Json {
        // Before any work is done whose report could reach nobody.
        refuse_closed(Stream::Output)?;
    }
    let talk = talk(&args.command);
    log::start(talk.map_or(0, |talk| talk.verbose))?;
    if let Some(option) = output_option(&args.command) {
        remedy::output_is_named_by(option);
    }
    confined::confine(&args.command);
    match &args.command {
        Command::Pack(args) => {
            let run = |jobs: &Jobs| pack::run(args, signals, jobs);
            accompany("pack", || pack::paths(args), &args.talk, signals, run)
        }
        Command::Resume(args) => {
            let run = |jobs: &Jobs| resume::run(args, signals, jobs);
            accompany("resume", || vec![args.target.clone()], &args.talk, signals, run)
        }
        Command::Unpack(args) => {
            let run = |jobs: &Jobs| unpack::run(args, signals, jobs);
            accompany("unpack", || unpack::paths(args), &args.talk, signals, run)
        }
        Command::Verify(args) => {
            let run = |jobs: &Jobs| verify::run(args, cancel, jobs);
            accompany("verify", || args.inputs.clone(), &args.talk, signals, run)
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

/// The option that names the output, of those commands that have one.
fn output_option(command: &Command) -> Option<&'static str> {
    match command {
        Command::Pack(_) | Command::Unpack(_) | Command::Salvage(_) => Some("--output (-o)"),
        Command::Verify(_) => Some("--repair-map"),
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

/// Runs a command whose jobs are watched, and writes the metrics of them, however they end; `paths`
/// are what they read and write, and the first is what they are about if none was begun.
fn accompany(
    command: &'static str,
    paths: impl FnOnce() -> Vec<PathBuf>,
    talk: &Talk,
    signals: &Signals,
    run: impl FnOnce(&Jobs) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let jobs = Jobs::new(command, talk);
    let Some(file) = &talk.metrics_file else {
        return run(&jobs);
    };
    let paths = paths();
    if paths.iter().any(|path| are_one_place(file, path)) {
        let what = "the metrics would take the place of what they are about";
        return Err(Failure::Usage(format!("{}: {what}: name another file", shown(file))));
    }
    metrics::check(file)?;
    let result = run(&jobs);
    let code = result.as_ref().map_or_else(|failure| failure.code(signals), |_| 0);
    if let Err(error) = metrics::write(file, &jobs.end(code, &paths[0])) {
        // What was done is done: its code says so. That nothing is heard of it is heard of.
        message::warning(&format!("the metrics are missing: {error}"));
    }
    result
}
