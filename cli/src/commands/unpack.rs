//! `ringpack unpack`.

use std::path::Path;
use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::foreign;
use ringpack::ring::file::Status;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{Output, UnpackOptions, unpack};

use super::several::each;
use super::{check_removable, how, note, remove_source, standard_output, warn, way};
use crate::args;
use crate::exit::Failure;
use crate::names;
use crate::signals::Signals;
use crate::size::human;

pub(crate) fn run(args: &args::Unpack, signals: &Signals) -> Result<ExitCode, Failure> {
    each(&args.inputs, args.output.as_deref(), signals, |input| one(input, args, signals.cancel()))
}

fn one(input: &Path, args: &args::Unpack, cancel: &Cancel) -> Result<(), Failure> {
    let from_stdin = names::is_standard_stream(input);
    if from_stdin && args.rm {
        return Err(Failure::Usage("standard input can't be removed: leave --rm out".to_owned()));
    }
    let to_stdout =
        args.stdout || args.output.as_deref().map_or(from_stdin, names::is_standard_stream);
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
    let source = restore(input, output, &output_name, args, cancel)?;
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
) -> Result<Option<Status>, Failure> {
    let name = input.display().to_string();
    let mut output = Some(output);
    let at_many_places = super::foreign::seekable(input);
    if let Some(path) = &at_many_places {
        let options = UnpackOptions {
            replace: args.force,
            io: args.io.mode(),
            threads: args.io.threads(),
            direct: !args.io.no_direct,
        };
        let again = match output.as_ref().expect("it wasn't used yet") {
            Output::Path(path) => Output::Path(path.clone()),
            Output::Stream(file) => Output::Stream(super::duplicate(file)?),
        };
        let first = output.replace(again).expect("it wasn't used yet");
        match unpack(&OsDisk, path, first, &options, cancel) {
            Ok(report) => {
                warn(&report.run, &args.talk);
                note(&args.talk, || {
                    let content = human(report.content_size);
                    let summary = format!("{name}: {content}, {output_name}");
                    if !args.talk.verbose {
                        return summary;
                    }
                    let (input, output) =
                        (way(Some(report.direct_input)), way(report.direct_output));
                    let how = how(&format!("input {input}, output {output}"), &report.run);
                    format!("{summary}\n  {} of holes\n{how}", human(report.holes))
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
    let mut options = args.foreign.options(args.io.threads());
    (options.replace, options.pass_through) = (args.force, args.pass_through);
    let names = (name.as_str(), output_name);
    let report = super::foreign::unpack(input, output, &options, &args.talk, names, cancel)?;
    Ok(report.source)
}
