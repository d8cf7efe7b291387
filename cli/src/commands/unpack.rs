//! `ringpack unpack`.

use std::path::Path;
use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::foreign;
use ringpack::ring::file::Status;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{Output, UnpackOptions, unpack};
use serde::Serialize;

use super::extract;
use super::removal::{check_removable, remove_source};
use super::report::{How, how, note, warn, way};
use super::several::{Several, are_apart};
use crate::args;
use crate::exit::Failure;
use crate::job::{Course, Job, Jobs, Share};
use crate::message;
use crate::names;
use crate::signals::Signals;
use crate::size::human;
use crate::streams::standard_output;

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
    args.stdout || args.output.as_deref().map_or(from_stdin, names::is_standard_stream)
}

pub(crate) fn run(
    args: &args::Unpack,
    signals: &Signals,
    jobs: &Jobs,
) -> Result<ExitCode, Failure> {
    let several = Several {
        inputs: &args.inputs,
        // Into one directory, any number of archives may go.
        output: args.output.as_deref().filter(|_| !args.tree.is_wanted()),
        are_apart: !args.tree.is_wanted()
            && !is_to_stdout(args)
            && are_apart(&args.inputs, |input| names::unpacked(input).unwrap_or_default()),
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
    if !args.tree.is_wanted() && args.tree.has_rights() {
        let what = "--same-owner, --same-permissions and --devices are for the files of an \
                    archive: add --extract (-x), or --member";
        return Err(Failure::Usage(what.to_owned()));
    }
    if names::is_standard_stream(input) && args.rm {
        return Err(Failure::Usage("standard input can't be removed: leave --rm out".to_owned()));
    }
    if args.tree.is_wanted() {
        return extract::run(input, args, cancel, job);
    }
    let to_stdout = goes_to_stdout(input, args);
    if args.rm {
        check_removable(input, to_stdout)?;
    }
    let (output, output_name) = if to_stdout {
        (Output::Stream(standard_output(args.force)?), "standard output".to_owned())
    } else {
        let path = args.output.clone().or_else(|| names::unpacked(input));
        let path = path.ok_or_else(|| {
            let name = input.display();
            Failure::Usage(format!(
                "{name}: doesn't end in .zst, so name the output with --output (-o) or use -c"
            ))
        })?;
        let name = path.display().to_string();
        (Output::Path(path), name)
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
    let name = input.display().to_string();
    let mut output = Some(output);
    let at_many_places = super::foreign::seekable(input);
    if let Some(path) = &at_many_places {
        let options = UnpackOptions {
            replace: args.force,
            io: args.io.mode_of(share),
            threads: args.io.threads_of(share),
            direct: !args.io.no_direct,
            progress: job.progress(),
        };
        let again = match output.as_ref().expect("it wasn't used yet") {
            Output::Path(path) => Output::Path(path.clone()),
            Output::Stream(file) => Output::Stream(crate::streams::duplicate(file)?),
        };
        let first = output.replace(again).expect("it wasn't used yet");
        match unpack(&OsDisk, path, first, &options, cancel) {
            Ok(report) => {
                job.over();
                job.note_size(report.source.len);
                warn(&report.run, &args.talk);
                if args.talk.json {
                    message::json(&Unpacked {
                        course: job.course(),
                        input: &name,
                        output: output_name,
                        content_size: report.content_size,
                        file_size: report.source.len,
                        holes: report.holes,
                        members: None,
                        how: How::new(&report.run, Some(report.direct_input), report.direct_output),
                    });
                }
                note(&args.talk, || {
                    let content = human(report.content_size);
                    let summary = format!("{name}: {content}, {output_name}");
                    if !args.talk.is_verbose() {
                        return summary;
                    }
                    let (input, output) =
                        (way(Some(report.direct_input)), way(report.direct_output));
                    let how = how(&format!("input {input}, output {output}"), &report.run);
                    let course = job.course().text();
                    format!("{summary}\n  {} of holes\n{how}\n{course}", human(report.holes))
                });
                return Ok(Some(report.source));
            }
            Err(error) if super::foreign::may_be(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let input = match at_many_places {
        Some(path) => foreign::Input::Path(path),
        None => super::foreign::input(input)?,
    };
    let output = match output.expect("put back above") {
        Output::Path(path) => foreign::Output::Path(path),
        Output::Stream(file) => foreign::Output::Stream(file),
    };
    let mut options = args.foreign.options(args.io.threads_of(share));
    (options.replace, options.pass_through) = (args.force, args.pass_through);
    let names = (name.as_str(), output_name);
    let report = super::foreign::unpack(input, output, options, &args.talk, names, cancel, job)?;
    Ok(report.source)
}
