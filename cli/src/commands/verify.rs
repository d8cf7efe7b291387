//! `ringpack verify`.

use std::path::Path;
use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::ring::os::OsDisk;
use ringpack::verify::{VerifyOptions, verify};

use super::{how, note, warn, way};
use crate::args;
use crate::exit::{self, Failure};
use crate::message;
use crate::remedy::remedied;
use crate::size::human;

/// Checks every container named; the code is that of the worst found.
pub(crate) fn run(args: &args::Verify, cancel: &Cancel) -> Result<ExitCode, Failure> {
    let mut code = 0;
    for input in &args.inputs {
        match check(input, args, cancel) {
            Ok(found) => code = code.max(found),
            Err(Failure::Engine(error)) if args.inputs.len() > 1 && !cancel.is_cancelled() => {
                message::error(&remedied(&error).to_string());
                code = code.max(exit::code(error.kind()));
            }
            Err(failure) => return Err(failure),
        }
    }
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
