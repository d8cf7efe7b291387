//! `ringpack unpack`.

use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{Output, UnpackOptions, unpack};

use serde::Serialize;

use super::{How, check_removable, how, note, remove_source, standard_output, warn, way};
use crate::args;
use crate::exit::Failure;
use crate::job::{Course, Jobs};
use crate::message;
use crate::names;
use crate::size::human;

/// What unpacking came to, for programs. Sizes are in bytes.
#[derive(Serialize)]
struct Unpacked<'a> {
    #[serde(flatten)]
    course: Course,
    input: &'a str,
    output: &'a str,
    content_size: u64,
    file_size: u64,
    holes: u64,
    #[serde(flatten)]
    how: How<'a>,
}

/// Whether the content goes to standard output.
pub(crate) fn is_to_stdout(args: &args::Unpack) -> bool {
    args.stdout || args.output.as_deref().is_some_and(names::is_standard_stream)
}

pub(crate) fn run(args: &args::Unpack, cancel: &Cancel, jobs: &Jobs) -> Result<ExitCode, Failure> {
    if names::is_standard_stream(&args.input) {
        let what = "a container is read at many places, which a pipe doesn't allow: save it to a \
                    file first, or decompress it with zstd -d";
        return Err(Failure::Usage(what.to_owned()));
    }
    let to_stdout = is_to_stdout(args);
    if args.rm {
        check_removable(&args.input, to_stdout)?;
    }
    let (output, output_name) = if to_stdout {
        (Output::Stream(standard_output(args.force)?), "standard output".to_owned())
    } else {
        let path = args.output.clone().or_else(|| names::unpacked(&args.input));
        let path = path.ok_or_else(|| {
            let name = args.input.display();
            Failure::Usage(format!(
                "{name}: doesn't end in .zst, so name the output with --output (-o) or use -c"
            ))
        })?;
        let name = path.display().to_string();
        (Output::Path(path), name)
    };
    let mut job = jobs.begin(&args.input);
    let options = UnpackOptions {
        replace: args.force,
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        progress: job.progress(),
    };
    let unpacked = unpack(&OsDisk, &args.input, output, &options, cancel);
    job.over();
    let report = unpacked?;
    job.note_size(report.source.len);
    warn(&report.run, &args.talk);
    if args.talk.json {
        message::json(&Unpacked {
            course: job.course(),
            input: &args.input.display().to_string(),
            output: &output_name,
            content_size: report.content_size,
            file_size: report.source.len,
            holes: report.holes,
            how: How::new(&report.run, Some(report.direct_input), report.direct_output),
        });
    }
    note(&args.talk, || {
        let summary =
            format!("{}: {}, {output_name}", args.input.display(), human(report.content_size));
        if !args.talk.is_verbose() {
            return summary;
        }
        let (input, output) = (way(Some(report.direct_input)), way(report.direct_output));
        let how = how(&format!("input {input}, output {output}"), &report.run);
        let course = job.course().text();
        format!("{summary}\n  {} of holes\n{how}\n{course}", human(report.holes))
    });
    if args.rm {
        remove_source(&args.input, Some(report.source))?;
    }
    Ok(ExitCode::SUCCESS)
}
