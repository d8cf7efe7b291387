//! `ringpack verify`.

use std::path::Path;
use std::process::ExitCode;

use ringpack::damage::Condition;
use ringpack::ring::os::OsDisk;
use ringpack::salvage::repair_map;
use ringpack::verify::{VerifyOptions, verify};
use ringpack::{Cancel, ErrorKind};

use super::{how, note, warn, way};
use crate::args;
use crate::exit::{self, Failure};
use crate::message;
use crate::size::human;

/// Checks every container named; the code is that of the worst found.
pub(crate) fn run(args: &args::Verify, cancel: &Cancel) -> Result<ExitCode, Failure> {
    if let Some(map) = &args.repair_map {
        return with_map(map, args, cancel);
    }
    let mut code = 0;
    for input in &args.inputs {
        match check(input, args, cancel) {
            Ok(found) => code = code.max(found),
            Err(Failure::Engine(error)) if args.inputs.len() > 1 && !cancel.is_cancelled() => {
                message::error(&error.to_string());
                code = code.max(exit::code(error.kind()));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(ExitCode::from(code))
}

/// Checks one container, and maps what is damaged of it even where it can't be opened.
fn with_map(map: &Path, args: &args::Verify, cancel: &Cancel) -> Result<ExitCode, Failure> {
    let [input] = args.inputs.as_slice() else {
        let what = "--repair-map is for one container at a time";
        return Err(Failure::Usage(what.to_owned()));
    };
    let found = match check(input, args, cancel) {
        Err(Failure::Engine(error))
            if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotAContainer) =>
        {
            message::error(&error.to_string());
            exit::code(error.kind())
        }
        found => found?,
    };
    let repair = repair_map(&OsDisk, input, map, args.force, cancel)?;
    for warning in repair.warnings.iter().filter(|_| !args.talk.quiet) {
        message::warning(warning);
    }
    note(&args.talk, || {
        let lost = human(repair.map.bytes(Condition::Lost));
        let (unsure, all) = (human(repair.map.bytes(Condition::Unsure)), human(repair.file_len));
        let name = map.display();
        format!("{name}: {lost} of {all} damaged, {unsure} unsure")
    });
    // What verifying can't see, the survey may: a container is whole only if both say so.
    let is_whole = repair.map.is_intact();
    let code = if found == 0 && !is_whole { exit::DAMAGED } else { found };
    Ok(ExitCode::from(code))
}

fn check(input: &Path, args: &args::Verify, cancel: &Cancel) -> Result<u8, Failure> {
    let options = VerifyOptions {
        decode: args.decode,
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
    };
    let report = verify(&OsDisk, input, &options, cancel)?;
    warn(&report.run, &args.talk);
    for damage in &report.damages {
        message::error(&damage.to_string());
    }
    if report.damage_count > 1 {
        let name = input.display();
        let (count, chunks) = (report.damage_count, report.chunk_count);
        message::error(&format!("{name}: {count} damages in {chunks} chunks"));
    }
    if report.damage_count > 0 {
        return Ok(exit::DAMAGED);
    }
    note(&args.talk, || {
        let what = if args.decode { "decoded" } else { "checked" };
        let summary = format!(
            "{}: intact, {} in {} chunks {what}",
            input.display(),
            human(report.file_size),
            report.chunk_count
        );
        if !args.talk.verbose {
            return summary;
        }
        format!("{summary}\n{}", how(&format!("input {}", way(Some(report.direct))), &report.run))
    });
    Ok(0)
}
