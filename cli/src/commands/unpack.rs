//! `ringpack unpack`.

use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{Output, UnpackOptions, unpack};

use super::{check_removable, extract, how, note, remove_source, standard_output, warn, way};
use crate::args;
use crate::exit::Failure;
use crate::names;
use crate::size::human;

pub(crate) fn run(args: &args::Unpack, cancel: &Cancel) -> Result<ExitCode, Failure> {
    if names::is_standard_stream(&args.input) {
        let what = "a container is read at many places, which a pipe doesn't allow: save it to a \
                    file first, or decompress it with zstd -d";
        return Err(Failure::Usage(what.to_owned()));
    }
    if args.tree.is_wanted() {
        return extract::run(args, cancel);
    }
    let to_stdout = args.stdout || args.output.as_deref().is_some_and(names::is_standard_stream);
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
    let options = UnpackOptions {
        replace: args.force,
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
    };
    let report = unpack(&OsDisk, &args.input, output, &options, cancel)?;
    warn(&report.run, &args.talk);
    note(&args.talk, || {
        let summary =
            format!("{}: {}, {output_name}", args.input.display(), human(report.content_size));
        if !args.talk.verbose {
            return summary;
        }
        let (input, output) = (way(Some(report.direct_input)), way(report.direct_output));
        let how = how(&format!("input {input}, output {output}"), &report.run);
        format!("{summary}\n  {} of holes\n{how}", human(report.holes))
    });
    if args.rm {
        remove_source(&args.input, Some(report.source))?;
    }
    Ok(ExitCode::SUCCESS)
}
