//! `ringpack resume`.

use std::ffi::OsString;
use std::io::{IsTerminal, stdin};
use std::path::Path;
use std::process::ExitCode;

use ringpack::escape::shown;
use ringpack::format::record::{Open, SourceKind};
use ringpack::pack::{Input, ResumeOptions, recorded_input, resume};
use ringpack::ring::os::OsDisk;
use ringpack::{Error, ErrorKind};

use super::report::{note_packed, warn};
use crate::args;
use crate::exit::Failure;
use crate::job::{Jobs, Share};
use crate::message;
use crate::names;
use crate::producer::Producer;
use crate::signals::Signals;
use crate::streams::{self, STANDARD_INPUT};

pub(crate) fn run(
    args: &args::Resume,
    signals: &Signals,
    jobs: &Jobs,
) -> Result<ExitCode, Failure> {
    args.checkpoints.tell(signals);
    let command = args.input.as_deref().map(|input| words(input, &args.args)).unwrap_or_default();
    let producer = args.guards.from_command.then(|| Producer::new(command.clone(), signals));
    let mut job = jobs.begin(&args.target, Share::All);
    let options = ResumeOptions {
        replace: args.force,
        checkpoints: args.checkpoints.cadence(),
        expected: args.guards.expected(producer.as_ref(), args.checkpoints.keep_partial),
        check_content: args.check,
        observer: job.observer(),
        progress: job.progress(),
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        ..ResumeOptions::default()
    };
    // Taken beforehand: what the journal says decides whether it is read.
    let mut standard_input = Some(streams::standard_input());
    let mut name = String::new();
    let mut from_stdin = false;
    let mut input = |open: &Open| {
        let input = match &args.input {
            Some(_) if let Some(producer) = &producer => producer.start()?,
            Some(path) if !names::is_standard_stream(path) => Input::Path(path.clone()),
            None if !is_pipe(open) || stdin().is_terminal() => recorded_input(open)?,
            _ => {
                from_stdin = true;
                let file = standard_input.take().expect("the input is asked for once");
                Input::Stream(file?, STANDARD_INPUT.to_owned())
            }
        };
        if let Input::Path(path) = &input
            && path.is_dir()
        {
            let what = "is a directory, of which an archive was packed";
            let hint = "go on with ringpack pack --resume and the options that it was packed with";
            return Err(Error::new(ErrorKind::NotResumable, what).at(path).hint(hint));
        }
        name = input.name();
        Ok(input)
    };
    let resumed = resume(&OsDisk, &args.target, &mut input, &options, signals.cancel());
    job.over();
    if let Err(error) = &resumed
        && error.kind() == ErrorKind::Complete
    {
        let what = format!("{}: complete, nothing to resume", shown(&args.target));
        match message::is_json() {
            true => message::warning(&what),
            false if args.talk.quiet => {}
            false => message::note(&what),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let report = resumed.map_err(|error| {
        let again = args.guards.resume_command(&args.target, from_stdin, &command);
        Failure::Resumable(error, again)
    })?;
    if let Some(producer) = producer {
        producer.is_done();
    }
    warn(&report.run.warnings, &args.talk);
    note_packed(&args.talk, &mut job, &name, &args.target.to_string_lossy(), &report);
    Ok(ExitCode::SUCCESS)
}

/// Whether the input was a pipe without a name.
fn is_pipe(open: &Open) -> bool {
    open.source.kind == SourceKind::Stream && open.name.is_empty()
}

/// A command and its arguments, as clap has them apart.
fn words(command: &Path, args: &[OsString]) -> Vec<OsString> {
    [command.as_os_str()].into_iter().chain(args.iter().map(|arg| &**arg)).map(From::from).collect()
}
