//! `ringpack pack`.

use std::io::stdin;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use ringpack::format::header::PlacementKind;
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::ring::os::OsDisk;

use super::several::each;
use super::{
    check_removable, duplicate, note_packed, remove_source, resume_command, standard_output, warn,
};
use crate::args;
use crate::exit::Failure;
use crate::names;
use crate::signals::Signals;

pub(crate) fn run(args: &args::Pack, signals: &Signals) -> Result<ExitCode, Failure> {
    args.checkpoints.tell(signals);
    let to_stdout = args.stdout || args.output.as_deref().is_some_and(names::is_standard_stream);
    if to_stdout && args.inputs.len() > 1 {
        let what = "several containers in a row are not one: pack each by itself";
        return Err(Failure::Usage(what.to_owned()));
    }
    each(&args.inputs, args.output.as_deref(), signals, |input| one(input, args, signals))
}

fn one(input: &Path, args: &args::Pack, signals: &Signals) -> Result<(), Failure> {
    let path = input;
    let from_stdin = names::is_standard_stream(path);
    if from_stdin && args.rm {
        return Err(Failure::Usage("standard input can't be removed: leave --rm out".to_owned()));
    }
    let input = if from_stdin {
        Input::Stream(duplicate(stdin().as_fd())?, "standard input".to_owned())
    } else {
        Input::Path(path.to_owned())
    };
    let to_stdout =
        args.stdout || args.output.as_deref().map_or(from_stdin, names::is_standard_stream);
    if to_stdout && args.resume {
        let what = "--resume needs an output file: there is nothing to go on with in a pipe";
        return Err(Failure::Usage(what.to_owned()));
    }
    if args.rm {
        check_removable(path, to_stdout)?;
    }
    let target = args.output.clone().unwrap_or_else(|| names::packed(path));
    let (output, output_name) = if to_stdout {
        (Output::Stream(standard_output(args.force)?), "standard output".to_owned())
    } else {
        (Output::Path(target.clone()), target.display().to_string())
    };
    let options = PackOptions {
        codec: args.encoding.codec()?,
        chunk_log2: args.chunk_size,
        placement: match args.placement {
            args::Placement::Dense => PlacementKind::Dense,
            args::Placement::Slots => PlacementKind::Slots,
        },
        blake3: matches!(args.digest, args::Digest::Blake3),
        replace: args.force,
        checkpoints: args.checkpoints.cadence(),
        resume: args.resume,
        observer: args.checkpoints.observer(&args.talk),
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        ..PackOptions::default()
    };
    let report = pack(&OsDisk, input, output, &options, signals.cancel())
        .map_err(|error| Failure::Resumable(error, resume_command(&target, from_stdin)))?;
    warn(&report.run, &args.talk);
    note_packed(&args.talk, &path.display().to_string(), &output_name, &report);
    if args.rm {
        remove_source(path, report.source)?;
    }
    Ok(())
}
