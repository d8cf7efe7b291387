//! `ringpack verify`.

use std::path::Path;
use std::process::ExitCode;

use ringpack::damage::Condition;
use ringpack::ring::os::OsDisk;
use ringpack::salvage::repair_map;
use ringpack::verify::{VerifyOptions, verify};
use ringpack::{Cancel, ErrorKind};
use serde::Serialize;

use super::foreign;
use super::report::{How, how, note, warn, way};
use crate::args;
use crate::exit::{self, Failure};
use crate::job::{Course, Job, Jobs, Share};
use crate::message;
use crate::remedy::remedied;
use crate::size::human;
use crate::streams::refuse_stdin;

/// Checks every container named; the code is that of the worst found.
pub(crate) fn run(args: &args::Verify, cancel: &Cancel, jobs: &Jobs) -> Result<ExitCode, Failure> {
    if let Some(map) = &args.repair_map {
        return with_map(map, args, cancel, jobs);
    }
    let mut code = 0;
    for input in &args.inputs {
        let mut job = jobs.begin(input, Share::All);
        match check(input, args, cancel, &mut job) {
            Ok(found) => {
                job.note_code(found);
                code = code.max(found);
            }
            Err(Failure::Engine(error)) if args.inputs.len() > 1 && !cancel.is_cancelled() => {
                let found = exit::code(error.kind());
                message::failure(&remedied(&error), found);
                job.note_code(found);
                code = code.max(found);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(ExitCode::from(code))
}

/// What verifying found, for programs. Sizes are in bytes.
#[derive(Serialize)]
pub(super) struct Verified<'a> {
    #[serde(flatten)]
    pub(super) course: Course,
    pub(super) input: &'a str,
    pub(super) intact: bool,
    pub(super) decoded: bool,
    pub(super) content_size: u64,
    pub(super) file_size: u64,
    /// Frames, of another program's file.
    pub(super) chunk_count: u64,
    pub(super) damage_count: u64,
    #[serde(flatten)]
    pub(super) how: How<'a>,
}

/// Checks one container, and maps what is damaged of it even where it can't be opened.
fn with_map(
    map: &Path,
    args: &args::Verify,
    cancel: &Cancel,
    jobs: &Jobs,
) -> Result<ExitCode, Failure> {
    let [input] = args.inputs.as_slice() else {
        let what = "--repair-map is for one container at a time";
        return Err(Failure::Usage(what.to_owned()));
    };
    refuse_stdin(input)?;
    let mut job = jobs.begin(input, Share::All);
    let found = match check(input, args, cancel, &mut job) {
        Err(Failure::Engine(error))
            if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotAContainer) =>
        {
            let code = exit::code(error.kind());
            message::failure(&remedied(&error), code);
            code
        }
        found => found?,
    };
    let repair = repair_map(&OsDisk, input, map, args.force, cancel)?;
    warn(&repair.warnings, &args.talk);
    note(&args.talk, || {
        let lost = human(repair.map.bytes(Condition::Lost));
        let (unsure, all) = (human(repair.map.bytes(Condition::Unsure)), human(repair.file_len));
        let name = map.display();
        format!("{name}: {lost} of {all} damaged, {unsure} unsure")
    });
    // What verifying can't see, the survey may: a container is whole only if both say so.
    let is_whole = repair.map.is_intact();
    let code = if found == 0 && !is_whole { exit::DAMAGED } else { found };
    job.note_code(code);
    Ok(ExitCode::from(code))
}

fn check(input: &Path, args: &args::Verify, cancel: &Cancel, job: &mut Job) -> Result<u8, Failure> {
    let options = VerifyOptions {
        decode: args.decode,
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        progress: job.progress(),
    };
    let seekable = foreign::seekable(input);
    let report = match &seekable {
        Some(path) => match verify(&OsDisk, path, &options, cancel) {
            Err(error) if foreign::may_be(&error) => None,
            report => Some(report?),
        },
        None => None,
    };
    let Some(report) = report else {
        let options = args.foreign.options(args.io.threads());
        let source = match seekable {
            Some(path) => ringpack::foreign::Input::Path(path),
            None => foreign::input(input)?,
        };
        let intact = foreign::verify(input, source, options, &args.talk, cancel, job)?;
        return Ok(if intact { 0 } else { exit::DAMAGED });
    };
    job.over();
    job.note_size(report.file_size);
    job.note_damages(report.damage_count);
    warn(&report.run.warnings, &args.talk);
    for damage in &report.damages {
        message::failure(damage, exit::DAMAGED);
    }
    if args.talk.json {
        message::json(&Verified {
            course: job.course(),
            input: &input.display().to_string(),
            intact: report.damage_count == 0,
            decoded: args.decode,
            content_size: report.content_size,
            file_size: report.file_size,
            chunk_count: report.chunk_count,
            damage_count: report.damage_count,
            how: How::new(&report.run, Some(report.direct), None),
        });
    } else if report.damage_count > 1 {
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
        if !args.talk.is_verbose() {
            return summary;
        }
        let how = how(&format!("input {}", way(Some(report.direct))), &report.run);
        format!("{summary}\n{how}\n{}", job.course().text())
    });
    Ok(0)
}
