//! `ringpack pack`.

use std::io::stdin;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::PoisonError;

use ringpack::format::header::PlacementKind;
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::ring::os::OsDisk;

use super::pack_tree::{self, Tree, Warnings};
use super::{
    check_removable, duplicate, note_packed, remove_source, resume_command, standard_output, warn,
};
use crate::args;
use crate::exit::Failure;
use crate::message;
use crate::names;
use crate::signals::Signals;

pub(crate) fn run(args: &args::Pack, signals: &Signals) -> Result<ExitCode, Failure> {
    args.checkpoints.tell(signals);
    let from_stdin = names::is_standard_stream(&args.input);
    if from_stdin && args.rm {
        return Err(Failure::Usage("standard input can't be removed: leave --rm out".to_owned()));
    }
    let tree = if from_stdin { None } else { Tree::of(&args.input)? };
    let to_stdout =
        args.stdout || args.output.as_deref().map_or(from_stdin, names::is_standard_stream);
    if to_stdout && args.resume {
        let what = "--resume needs an output file: there is nothing to go on with in a pipe";
        return Err(Failure::Usage(what.to_owned()));
    }
    if args.rm {
        check_removable(&args.input, to_stdout)?;
    }
    let default = || tree.as_ref().map_or_else(|| names::packed(&args.input), Tree::output);
    let path = args.output.clone().unwrap_or_else(default);
    if let Some(tree) = tree.as_ref().filter(|_| !to_stdout) {
        tree.check_output(&path)?;
    }
    let (output, output_name) = if to_stdout {
        (Output::Stream(standard_output(args.force)?), "standard output".to_owned())
    } else {
        (Output::Path(path.clone()), path.display().to_string())
    };
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
        observer: args.checkpoints.observer(&args.talk),
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        ..PackOptions::default()
    };
    let (input, warnings) = match &tree {
        Some(tree) => tree.input(&args.tree)?,
        None if from_stdin => {
            let stream = duplicate(stdin().as_fd())?;
            (Input::Stream(stream, "standard input".to_owned()), Warnings::default())
        }
        None => (Input::Path(args.input.clone()), Warnings::default()),
    };
    let report = pack(&OsDisk, input, output, &options, signals.cancel()).map_err(|error| {
        let command = match &tree {
            Some(_) => pack_tree::resume_command(),
            None => resume_command(&path, from_stdin),
        };
        Failure::Resumable(error, command)
    })?;
    warn(&report.run, &args.talk);
    let noted = warnings.lock().unwrap_or_else(PoisonError::into_inner);
    noted.iter().filter(|_| !args.talk.quiet).for_each(|what| message::warning(what));
    note_packed(&args.talk, &args.input.display().to_string(), &output_name, &report);
    if args.rm {
        remove_source(&args.input, report.source)?;
    }
    Ok(ExitCode::SUCCESS)
}
