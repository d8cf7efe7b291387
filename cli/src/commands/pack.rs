//! `ringpack pack`.

use std::io::stdin;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use ringpack::commit::Target;
use ringpack::format::header::PlacementKind;
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::ring::file::Replace;
use ringpack::ring::os::OsDisk;

use super::{check_removable, duplicate, note_packed, remove_source, standard_output, warn, words};
use crate::args;
use crate::exit::Failure;
use crate::job::{Jobs, STANDARD_OUTPUT};
use crate::names;
use crate::producer::Producer;
use crate::signals::Signals;

/// Whether the container goes to standard output.
pub(crate) fn is_to_stdout(args: &args::Pack) -> bool {
    let is_stream = args.guards.from_command || names::is_standard_stream(&args.input);
    args.stdout || args.output.as_deref().map_or(is_stream, names::is_standard_stream)
}

/// What is written: a file, or standard output.
pub(crate) fn output_path(args: &args::Pack) -> PathBuf {
    if is_to_stdout(args) {
        return STANDARD_OUTPUT.into();
    }
    args.output.clone().unwrap_or_else(|| names::packed(&args.input))
}

pub(crate) fn run(args: &args::Pack, signals: &Signals, jobs: &Jobs) -> Result<ExitCode, Failure> {
    args.checkpoints.tell(signals);
    let command = args.guards.from_command.then(|| words(&args.input, &args.args));
    let producer = command.map(|command| Producer::new(command, signals));
    let from_stdin = producer.is_none() && names::is_standard_stream(&args.input);
    if from_stdin && args.rm {
        return Err(Failure::Usage("standard input can't be removed: leave --rm out".to_owned()));
    }
    let to_stdout = is_to_stdout(args);
    if to_stdout && args.resume {
        let what = "--resume needs an output file: there is nothing to go on with in a pipe";
        return Err(Failure::Usage(what.to_owned()));
    }
    if args.rm {
        check_removable(&args.input, to_stdout)?;
    }
    let path = output_path(args);
    let output = if to_stdout {
        Output::Stream(standard_output(args.force)?)
    } else {
        Output::Path(path.clone())
    };
    let mut job = jobs.begin(&path);
    let options = PackOptions {
        codec: args.encoding.codec(),
        chunk_log2: args.chunk_size,
        placement: match args.placement {
            args::Placement::Dense => PlacementKind::Dense,
            args::Placement::Slots => PlacementKind::Slots,
        },
        blake3: matches!(args.digest, args::Digest::Blake3) || args.guards.expect_blake3.is_some(),
        replace: args.force,
        checkpoints: args.checkpoints.cadence(),
        resume: args.resume,
        expected: args.guards.expected(producer.as_ref(), args.checkpoints.keep_partial),
        observer: job.observer(),
        progress: job.progress(),
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        ..PackOptions::default()
    };
    let input = match &producer {
        Some(producer) => {
            if !to_stdout {
                // Not started for nothing.
                let replace = if args.force { Replace::Allowed } else { Replace::Never };
                Target::new(&OsDisk, &path, replace)?;
            }
            producer.start()?
        }
        None if from_stdin => {
            Input::Stream(duplicate(stdin().as_fd())?, "standard input".to_owned())
        }
        None => Input::Path(args.input.clone()),
    };
    let packed = pack(&OsDisk, input, output, &options, signals.cancel());
    job.over();
    let report = packed.map_err(|error| {
        let words = words(&args.input, &args.args);
        Failure::Resumable(error, args.guards.resume_command(&path, from_stdin, &words))
    })?;
    if let Some(producer) = producer {
        producer.is_done();
    }
    warn(&report.run, &args.talk);
    let (input, output) = (args.input.display().to_string(), path.display().to_string());
    note_packed(&args.talk, &mut job, &input, &output, &report);
    if args.rm {
        remove_source(&args.input, report.source)?;
    }
    Ok(ExitCode::SUCCESS)
}
