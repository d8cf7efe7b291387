//! `ringpack pack`.

use std::io::stdin;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use ringpack::format::header::PlacementKind;
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::ring::os::OsDisk;

use super::{
    check_removable, duplicate, note_packed, remove_source, resume_command, standard_output, warn,
};
use crate::args;
use crate::exit::Failure;
use crate::job::{Jobs, STANDARD_OUTPUT};
use crate::names;
use crate::signals::Signals;

/// Whether the container goes to standard output.
pub(crate) fn is_to_stdout(args: &args::Pack) -> bool {
    let from_stdin = names::is_standard_stream(&args.input);
    args.stdout || args.output.as_deref().map_or(from_stdin, names::is_standard_stream)
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
    let from_stdin = names::is_standard_stream(&args.input);
    if from_stdin && args.rm {
        return Err(Failure::Usage("standard input can't be removed: leave --rm out".to_owned()));
    }
    let input = if from_stdin {
        Input::Stream(duplicate(stdin().as_fd())?, "standard input".to_owned())
    } else {
        Input::Path(args.input.clone())
    };
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
        blake3: matches!(args.digest, args::Digest::Blake3),
        replace: args.force,
        checkpoints: args.checkpoints.cadence(),
        resume: args.resume,
        observer: job.observer(),
        progress: job.progress(),
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        ..PackOptions::default()
    };
    let packed = pack(&OsDisk, input, output, &options, signals.cancel());
    job.over();
    let report =
        packed.map_err(|error| Failure::Resumable(error, resume_command(&path, from_stdin)))?;
    warn(&report.run, &args.talk);
    let (input, output) = (args.input.display().to_string(), path.display().to_string());
    note_packed(&args.talk, &mut job, &input, &output, &report);
    if args.rm {
        remove_source(&args.input, report.source)?;
    }
    Ok(ExitCode::SUCCESS)
}
