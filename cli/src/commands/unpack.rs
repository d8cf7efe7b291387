//! `ringpack unpack`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::escape::shown;
use ringpack::foreign;
use ringpack::ring::file::Status;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{Output, UnpackOptions, UnpackReport, unpack};
use serde::Serialize;

use super::apart::{Paths, are_apart};
use super::extract;
use super::removal::{check_removable, remove_source};
use super::report::{How, how, note, warn, way};
use super::several::Several;
use crate::args::{self, Talk};
use crate::exit::Failure;
use crate::job::{Course, Job, Jobs, STANDARD_OUTPUT, Share};
use crate::message;
use crate::names;
use crate::signals::Signals;
use crate::size::human;
use crate::streams::{self, duplicate, standard_output};

/// What unpacking came to, for programs. Sizes are in bytes.
#[derive(Serialize)]
pub(super) struct Unpacked<'a> {
    #[serde(flatten)]
    pub(super) course: Course,
    pub(super) input: &'a str,
    pub(super) output: &'a str,
    pub(super) content_size: u64,
    pub(super) file_size: u64,
    pub(super) holes: u64,
    /// Members restored of an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<u64>,
    #[serde(flatten)]
    pub(super) how: How<'a>,
}

/// Whether content goes to standard output.
pub(crate) fn is_to_stdout(args: &args::Unpack) -> bool {
    args.inputs.iter().any(|input| goes_to_stdout(input, args))
}

fn goes_to_stdout(input: &Path, args: &args::Unpack) -> bool {
    let from_stdin = names::is_standard_stream(input);
    args.stdout || args.output.as_deref().map_or(from_stdin, names::is_standard_output)
}

/// The file that the content of an input goes to, if it goes to one.
fn written(input: &Path, args: &args::Unpack) -> Option<PathBuf> {
    if args.tree.is_wanted() || goes_to_stdout(input, args) {
        return None;
    }
    args.output.clone().or_else(|| names::unpacked(input))
}

/// What is read, and what is written.
pub(crate) fn paths(args: &args::Unpack) -> Vec<PathBuf> {
    let outputs = args.inputs.iter().filter_map(|input| written(input, args));
    args.inputs.iter().cloned().chain(outputs).collect()
}

pub(crate) fn run(
    args: &args::Unpack,
    signals: &Signals,
    jobs: &Jobs,
) -> Result<ExitCode, Failure> {
    if !args.tree.is_wanted() && args.tree.has_rights() {
        let what = "--same-owner, --same-permissions and --devices are for the files of an \
                    archive: add --extract (-x), or --member";
        return Err(Failure::Usage(what.to_owned()));
    }
    let to_stdout = is_to_stdout(args);
    if args.rm {
        let is_stream = args.output.as_deref().is_some_and(streams::is_in_order);
        check_removable(&args.inputs, to_stdout || is_stream)?;
    }
    let written: Vec<Paths> =
        args.inputs.iter().map(|input| (input.clone(), written(input, args))).collect();
    let several = Several {
        inputs: &args.inputs,
        // Into one directory, any number of archives may go.
        output: args.output.as_deref().filter(|_| !args.tree.is_wanted()),
        are_apart: are_apart(&written, args.force)? && !args.tree.is_wanted() && !to_stdout,
        threads: args.io.threads(),
    };
    several.each(signals, jobs, |input, share| {
        let mut job = jobs.begin(input, share);
        let result = one(input, args, signals.cancel(), &mut job, share);
        job.note_result(&result, signals);
        result
    })
}

fn one(
    input: &Path,
    args: &args::Unpack,
    cancel: &Cancel,
    job: &mut Job,
    share: Share,
) -> Result<(), Failure> {
    if args.tree.is_wanted() {
        return extract::run(input, args, cancel, job);
    }
    let (output, output_name) = if goes_to_stdout(input, args) {
        (Output::Stream(standard_output(args.force)?), STANDARD_OUTPUT.to_owned())
    } else {
        let path = written(input, args).ok_or_else(|| {
            let name = shown(input);
            Failure::Usage(format!(
                "{name}: doesn't end in .zst, so name the output with --output (-o) or use -c"
            ))
        })?;
        let name = path.to_string_lossy().into_owned();
        let stream = match &args.output {
            Some(path) => streams::in_order(path, args.force, cancel)?,
            None => None,
        };
        (stream.map_or(Output::Path(path), Output::Stream), name)
    };
    let source = restore(input, output, &output_name, args, cancel, job, share)?;
    if args.rm {
        remove_source(input, source)?;
    }
    Ok(())
}

/// Restores the content of whatever the input is; says what file was read.
fn restore(
    input: &Path,
    output: Output,
    output_name: &str,
    args: &args::Unpack,
    cancel: &Cancel,
    job: &mut Job,
    share: Share,
) -> Result<Option<Status>, Failure> {
    let name = input.to_string_lossy().into_owned();
    let (from, to) = match super::foreign::seekable(input) {
        Some(path) => {
            super::foreign::check_window(&path, &args.foreign)?;
            let options = UnpackOptions {
                replace: args.force,
                io: args.io.mode_of(share),
                threads: args.io.threads_of(share),
                direct: !args.io.no_direct,
                progress: job.progress(),
            };
            // Where it is no container, it is read once more as what it is.
            let (first, second) = match output {
                Output::Path(path) => (Output::Path(path.clone()), foreign::Output::Path(path)),
                Output::Stream(file) => {
                    (Output::Stream(duplicate(&file)?), foreign::Output::Stream(file))
                }
            };
            match unpack(&OsDisk, &path, first, &options, cancel) {
                Ok(report) => {
                    note_unpacked(&args.talk, job, &name, output_name, &report);
                    return Ok(Some(report.source));
                }
                Err(error) if super::foreign::may_be(&error) => {}
                Err(error) => return Err(error.into()),
            }
            (foreign::Input::Path(path), second)
        }
        None => {
            let to = match output {
                Output::Path(path) => foreign::Output::Path(path),
                Output::Stream(file) => foreign::Output::Stream(file),
            };
            (super::foreign::input(input)?, to)
        }
    };
    let mut options = args.foreign.options(args.io.threads_of(share));
    (options.replace, options.pass_through) = (args.force, args.pass_through);
    let names = (name.as_str(), output_name);
    let report = super::foreign::unpack(from, to, options, &args.talk, names, cancel, job)?;
    Ok(report.source)
}

/// Says what unpacking a container came to.
fn note_unpacked(talk: &Talk, job: &mut Job, name: &str, output: &str, report: &UnpackReport) {
    job.over();
    job.note_size(report.source.len);
    warn(&report.run.warnings, talk);
    if talk.json {
        message::json(&Unpacked {
            course: job.course(),
            input: name,
            output,
            content_size: report.content_size,
            file_size: report.source.len,
            holes: report.holes,
            members: None,
            how: How::new(&report.run, Some(report.direct_input), report.direct_output),
        });
    }
    note(talk, || {
        let summary = format!("{}: {}, {}", shown(name), human(report.content_size), shown(output));
        if !talk.is_verbose() {
            return summary;
        }
        let (from, to) = (way(Some(report.direct_input)), way(report.direct_output));
        let how = how(&format!("input {from}, output {to}"), &report.run);
        let course = job.course().text();
        format!("{summary}\n  {} of holes\n{how}\n{course}", human(report.holes))
    });
}
