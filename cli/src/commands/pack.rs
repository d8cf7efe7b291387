//! `ringpack pack`.

use std::io::stdin;
use std::os::fd::AsFd;
use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::format::header::PlacementKind;
use ringpack::limits;
use ringpack::pack::{Codec, Input, Output, PackOptions, pack};
use ringpack::ring::os::OsDisk;

use super::{check_removable, duplicate, how, note, remove_source, standard_output, warn, way};
use crate::args;
use crate::exit::Failure;
use crate::names;
use crate::size::human;

pub(crate) fn run(args: &args::Pack, cancel: &Cancel) -> Result<ExitCode, Failure> {
    let from_stdin = names::is_standard_stream(&args.input);
    if from_stdin && args.rm {
        return Err(Failure::Usage("standard input can't be removed: leave --rm out".to_owned()));
    }
    let input = if from_stdin {
        Input::Stream(duplicate(stdin().as_fd())?, "standard input".to_owned())
    } else {
        Input::Path(args.input.clone())
    };
    let to_stdout =
        args.stdout || args.output.as_deref().map_or(from_stdin, names::is_standard_stream);
    if args.rm {
        check_removable(&args.input, to_stdout)?;
    }
    let path = args.output.clone().unwrap_or_else(|| names::packed(&args.input));
    let (output, output_name) = if to_stdout {
        (Output::Stream(standard_output(args.force)?), "standard output".to_owned())
    } else {
        (Output::Path(path.clone()), path.display().to_string())
    };
    let options = PackOptions {
        codec: if args.store {
            Codec::Store
        } else {
            Codec::Zstd(args.level.unwrap_or(limits::LEVEL_DEFAULT))
        },
        chunk_log2: args.chunk_size,
        placement: match args.placement {
            args::Placement::Dense => PlacementKind::Dense,
            args::Placement::Slots => PlacementKind::Slots,
        },
        blake3: matches!(args.digest, args::Digest::Blake3),
        replace: args.force,
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        ..PackOptions::default()
    };
    let report = pack(&OsDisk, input, output, &options, cancel)?;
    warn(&report.run, &args.talk);
    note(&args.talk, || {
        let header = &report.header;
        let ratio = 100.0 * header.file_size as f64 / header.content_size.max(1) as f64;
        let summary = format!(
            "{}: {} -> {} ({ratio:.2}%), {output_name}",
            args.input.display(),
            human(header.content_size),
            human(header.file_size),
        );
        if !args.talk.verbose {
            return summary;
        }
        let sides =
            format!("input {}, output {}", way(report.direct_input), way(report.direct_output));
        let how = how(&sides, &report.run);
        format!("{summary}\n  {} of holes not read\n{how}", human(report.holes))
    });
    if args.rm {
        remove_source(&args.input, report.source)?;
    }
    Ok(ExitCode::SUCCESS)
}
