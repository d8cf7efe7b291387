//! `ringpack pack`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::PoisonError;

use ringpack::commit::Target;
use ringpack::escape::shown;
use ringpack::format::header::PlacementKind;
use ringpack::pack::{Input, Output, PackOptions, pack};
use ringpack::ring::file::Replace;
use ringpack::ring::os::OsDisk;

use super::apart::{Paths, are_apart};
use super::compare_tree::Run;
use super::pack_tree::{self, Tree, Warnings};
use super::removal::{check_removable, remove_source};
use super::report::{note_packed, warn};
use super::several::Several;
use crate::args;
use crate::exit::Failure;
use crate::job::{Job, Jobs, STANDARD_OUTPUT, Share};
use crate::names;
use crate::producer::Producer;
use crate::signals::Signals;
use crate::streams::{self, STANDARD_INPUT, standard_input, standard_output};

/// Whether a container goes to standard output.
pub(crate) fn is_to_stdout(args: &args::Pack) -> bool {
    let is_stream = args.guards.from_command
        || args.inputs.iter().any(|input| names::is_standard_stream(input));
    goes_to_stdout(args, is_stream)
}

fn goes_to_stdout(args: &args::Pack, is_stream: bool) -> bool {
    args.stdout || args.output.as_deref().map_or(is_stream, names::is_standard_output)
}

/// What is written, a file or standard output, and what is read.
pub(crate) fn paths(args: &args::Pack) -> Vec<PathBuf> {
    let inputs = if args.guards.from_command { &args.inputs[..1] } else { &args.inputs[..] };
    let outputs = inputs.iter().map(|input| written(args, input));
    let outputs = outputs.map(|output| output.unwrap_or_else(|| STANDARD_OUTPUT.into()));
    let inputs = inputs.iter().filter(|_| !args.guards.from_command).cloned();
    outputs.chain(inputs).collect()
}

/// The file that an input becomes, unless the container goes to standard output.
fn written(args: &args::Pack, input: &Path) -> Option<PathBuf> {
    if goes_to_stdout(args, args.guards.from_command || names::is_standard_stream(input)) {
        return None;
    }
    // What can't be found out is told when it is packed.
    let beside = || Origin::of(input).map_or_else(|_| names::packed(input), |from| from.output());
    Some(args.output.clone().unwrap_or_else(beside))
}

pub(crate) fn run(args: &args::Pack, signals: &Signals, jobs: &Jobs) -> Result<ExitCode, Failure> {
    args.checkpoints.tell(signals);
    if args.guards.from_command {
        let command = args.inputs.iter().map(|word| word.as_os_str().to_owned()).collect();
        let name = args.inputs[0].to_string_lossy().into_owned();
        let from = Origin::Command(command);
        let one = One { from, name, args, signals, share: Share::All };
        return one.pack(jobs).map(|()| ExitCode::SUCCESS);
    }
    let to_stdout = goes_to_stdout(args, false);
    if to_stdout && args.inputs.len() > 1 {
        let what = "several containers in a row are not one: pack each by itself";
        return Err(Failure::Usage(what.to_owned()));
    }
    if args.rm {
        // Before anything is done.
        let is_stream = args.output.as_deref().is_some_and(streams::is_in_order);
        check_removable(&args.inputs, to_stdout || is_stream)?;
    }
    let written: Vec<Paths> =
        args.inputs.iter().map(|input| (input.clone(), written(args, input))).collect();
    let several = Several {
        inputs: &args.inputs,
        output: args.output.as_deref(),
        are_apart: are_apart(&written, args.force)?,
        threads: args.io.threads(),
    };
    several.each(signals, jobs, |input, share| {
        let from = Origin::of(input)?;
        One { from, name: input.to_string_lossy().into_owned(), args, signals, share }.pack(jobs)
    })
}

/// Where content comes from.
enum Origin<'a> {
    /// A file, a device or a FIFO.
    Path(&'a Path),
    /// A directory.
    Tree(Tree),
    /// Whatever runs before us in the pipe.
    Stdin,
    /// A program that is started for it, with its arguments.
    Command(Vec<OsString>),
}

impl<'a> Origin<'a> {
    /// What an input is, but for a command.
    fn of(input: &'a Path) -> Result<Self, Failure> {
        if names::is_standard_stream(input) {
            return Ok(Self::Stdin);
        }
        Ok(Tree::of(input)?.map_or(Self::Path(input), Self::Tree))
    }

    fn is_stream(&self) -> bool {
        matches!(self, Self::Stdin | Self::Command(_))
    }

    /// Where the container goes unless that is said.
    fn output(&self) -> PathBuf {
        match self {
            Self::Path(path) => names::packed(path),
            Self::Tree(tree) => tree.output(),
            Self::Stdin | Self::Command(_) => PathBuf::from(STANDARD_OUTPUT),
        }
    }
}

impl Origin<'_> {
    /// Refuses to write beside a device where that would be into `/dev`: it is kept in memory.
    fn check_place(&self, target: &Path) -> Result<(), Failure> {
        let Self::Path(input) = self else { return Ok(()) };
        let is_device = fs::metadata(input).is_ok_and(|found| {
            found.file_type().is_block_device() || found.file_type().is_char_device()
        });
        let folder = target.parent().and_then(|folder| fs::canonicalize(folder).ok());
        if is_device && folder.is_some_and(|folder| folder.starts_with("/dev")) {
            let (input, target) = (shown(*input), shown(target));
            let what = "holds devices and is kept in memory: name the output with --output (-o)";
            return Err(Failure::Usage(format!(
                "{input}: {target} would be in /dev, which {what}"
            )));
        }
        Ok(())
    }
}

/// One container to be.
struct One<'a> {
    from: Origin<'a>,
    /// What it is made from, in messages.
    name: String,
    args: &'a args::Pack,
    signals: &'a Signals,
    share: Share,
}

impl One<'_> {
    fn pack(&self, jobs: &Jobs) -> Result<(), Failure> {
        let to_stdout = goes_to_stdout(self.args, self.from.is_stream());
        let named = self.args.output.as_deref().filter(|_| !to_stdout);
        let is_pipe = to_stdout || named.is_some_and(streams::is_in_order);
        if self.args.check {
            self.refuse_unchecked(is_pipe)?;
        }
        if self.args.resume && is_pipe {
            let what = "--resume needs an output file: there is nothing to go on with in a pipe";
            return Err(Failure::Usage(what.to_owned()));
        }
        let (output, target) = match (to_stdout, named) {
            (true, _) => {
                let output = standard_output(self.args.force)?;
                (Output::Stream(output), PathBuf::from(STANDARD_OUTPUT))
            }
            (false, None) => {
                let target = self.from.output();
                self.from.check_place(&target)?;
                (Output::Path(target.clone()), target)
            }
            (false, Some(target)) => {
                let stream = streams::in_order(target, self.args.force, self.signals.cancel())?;
                let output = stream.map_or_else(|| Output::Path(target.to_owned()), Output::Stream);
                (output, target.to_owned())
            }
        };
        if let (Origin::Tree(tree), Output::Path(target)) = (&self.from, &output) {
            tree.check_output(target)?;
        }
        let mut job = jobs.begin(&target, self.share);
        let result = self.pack_into(output, &target, &mut job);
        job.note_result(&result, self.signals);
        result
    }

    /// Refuses `--check` of what can't be read a second time, before a command is started.
    fn refuse_unchecked(&self, is_pipe: bool) -> Result<(), Failure> {
        let what = match &self.from {
            _ if is_pipe => "--check needs an output file: what went to a pipe can't be read back",
            Origin::Stdin => {
                "--check reads the input a second time, and standard input can't be: name a file"
            }
            Origin::Command(_) => {
                "--check reads the input a second time, and a command may write something else \
                 then: leave --check out"
            }
            Origin::Path(_) | Origin::Tree(_) => return Ok(()),
        };
        Err(Failure::Usage(what.to_owned()))
    }

    fn pack_into(&self, output: Output, target: &Path, job: &mut Job) -> Result<(), Failure> {
        let &One { args, signals, .. } = self;
        let from_stdin = matches!(self.from, Origin::Stdin);
        let producer = match &self.from {
            Origin::Command(command) => Some(Producer::new(command.clone(), signals)),
            _ => None,
        };
        let options = PackOptions {
            codec: args.encoding.codec()?,
            chunk_log2: args.chunk_size,
            placement: match args.placement {
                args::Placement::Dense => PlacementKind::Dense,
                args::Placement::Slots => PlacementKind::Slots,
            },
            blake3: matches!(args.digest, args::Digest::Blake3)
                || args.guards.expect_blake3.is_some(),
            replace: args.force,
            checkpoints: args.checkpoints.cadence(),
            resume: args.resume,
            expected: args.guards.expected(producer.as_ref(), args.checkpoints.keep_partial),
            check_content: args.check,
            observer: job.observer(),
            progress: job.progress(),
            io: args.io.mode_of(self.share),
            threads: args.io.threads_of(self.share),
            direct: !args.io.no_direct,
            ..PackOptions::default()
        };
        let (input, warnings) = match (&self.from, &producer) {
            (Origin::Path(path), _) => (Input::Path((*path).to_owned()), Warnings::default()),
            (Origin::Tree(tree), _) => {
                let check = args.check.then(|| Run {
                    threads: args.io.threads_of(self.share),
                    quiet: args.talk.quiet,
                    cancel: signals.cancel().clone(),
                    progress: job.progress(),
                });
                tree.input(&args.tree, check)?
            }
            (Origin::Command(_), Some(producer)) => {
                if let Output::Path(target) = &output {
                    // Not started for nothing.
                    let replace = if args.force { Replace::Allowed } else { Replace::Never };
                    Target::new(&OsDisk, target, replace)?;
                }
                (producer.start()?, Warnings::default())
            }
            _ => {
                let stream = standard_input()?;
                (Input::Stream(stream, STANDARD_INPUT.to_owned()), Warnings::default())
            }
        };
        let packed = pack(&OsDisk, input, output, &options, signals.cancel());
        job.over();
        let report = packed.map_err(|error| {
            let again = match &self.from {
                Origin::Tree(_) => pack_tree::resume_command(),
                Origin::Command(words) => args.guards.resume_command(target, false, words),
                _ => args.guards.resume_command(target, from_stdin, &[]),
            };
            Failure::Resumable(error, again)
        })?;
        if let Some(producer) = producer {
            producer.is_done();
        }
        warn(&warnings.lock().unwrap_or_else(PoisonError::into_inner), &args.talk);
        warn(&report.run.warnings, &args.talk);
        note_packed(&args.talk, job, &self.name, &target.to_string_lossy(), &report);
        if let (Origin::Path(path), true) = (&self.from, args.rm) {
            remove_source(path, report.source)?;
        }
        Ok(())
    }
}
