//! `ringpack verify`.

use std::path::Path;
use std::process::ExitCode;

use ringpack::damage::Condition;
use ringpack::escape::shown;
use ringpack::foreign::ForeignOptions;
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::salvage::repair_map;
use ringpack::verify::{Comparison, VerifyOptions, verify};
use ringpack::{Cancel, Error, ErrorKind};
use serde::Serialize;

use super::archive::check_index;
use super::compare_tree::{self, Run};
use super::foreign;
use super::report::{How, how, note, warn, way};
use crate::args;
use crate::exit::{self, Failure};
use crate::job::{Course, Job, Jobs, Share};
use crate::message;
use crate::remedy::remedied;
use crate::size::human;
use crate::streams::refuse_stdin;
use crate::tree::compare::{Differences, Rules};
use crate::tree::select::Patterns;

/// Checks every container named; the code is that of the worst found.
pub(crate) fn run(args: &args::Verify, cancel: &Cancel, jobs: &Jobs) -> Result<ExitCode, Failure> {
    if let Some(map) = &args.repair_map {
        return with_map(map, args, cancel, jobs);
    }
    if args.against.is_some() && args.inputs.len() > 1 {
        let what = "--against is for one container at a time";
        return Err(Failure::Usage(what.to_owned()));
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
    pub(super) compared: Compared,
    #[serde(flatten)]
    pub(super) how: How<'a>,
}

/// What comparing with a source found; all of it is null where nothing was compared.
#[derive(Debug, Default, Serialize)]
pub(super) struct Compared {
    against: Option<String>,
    same: Option<bool>,
    differing_chunks: Option<u64>,
    differing_entries: Option<u64>,
}

impl Compared {
    /// What the engine found.
    pub(super) fn with(source: Option<&Path>, found: Option<&Comparison>) -> Self {
        let (Some(source), Some(found)) = (source, found) else { return Self::default() };
        Self {
            against: Some(shown(source).to_string()),
            same: Some(found.first.is_none()),
            differing_chunks: Some(found.chunks),
            differing_entries: None,
        }
    }

    /// What comparing with a directory found.
    fn with_tree(source: &Path, found: &Differences) -> Self {
        Self {
            against: Some(shown(source).to_string()),
            same: Some(found.count == 0),
            differing_chunks: None,
            differing_entries: Some(found.count),
        }
    }

    /// Says the first difference, if there is one; the code that it makes.
    pub(super) fn tell(found: Option<&Comparison>) -> u8 {
        match found.and_then(|found| found.first.as_ref()) {
            Some(first) => {
                message::failure(&remedied(first), exit::DIFFERS);
                exit::DIFFERS
            }
            None => 0,
        }
    }
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
        let name = shown(map);
        format!("{name}: {lost} of {all} damaged, {unsure} unsure")
    });
    // What verifying can't see, the survey may: a container is whole only if both say so.
    let is_whole = repair.map.is_intact();
    let code = if found == 0 && !is_whole { exit::DAMAGED } else { found };
    job.note_code(code);
    Ok(ExitCode::from(code))
}

fn check(input: &Path, args: &args::Verify, cancel: &Cancel, job: &mut Job) -> Result<u8, Failure> {
    let tree = args.against.as_deref().filter(|source| source.is_dir());
    let against = args.against.clone().filter(|_| tree.is_none());
    if tree.is_some() {
        refuse_stdin(input)?;
    } else if args.content_only || args.one_file_system || !args.exclude.is_empty() {
        let what = "--content-only, --exclude and --one-file-system go with --against DIRECTORY";
        return Err(Failure::Usage(what.to_owned()));
    }
    let options = VerifyOptions {
        decode: args.decode,
        against: against.clone(),
        io: args.io.mode(),
        threads: args.io.threads(),
        direct: !args.io.no_direct,
        progress: job.progress(),
    };
    let seekable = foreign::seekable(input);
    if let (Some(path), true) = (&seekable, args.decode) {
        foreign::check_window(path, &args.foreign)?;
    }
    let report = match &seekable {
        Some(path) => match verify(&OsDisk, path, &options, cancel) {
            Err(error) if foreign::may_be(&error) && tree.is_some() => {
                let what =
                    "is no container of ringpack's, which alone are compared with a directory";
                let hint = "compare it with tar: zstd -dc FILE | tar --compare -f - -C DIRECTORY";
                return Err(Error::new(error.kind(), what).at(input).hint(hint).into());
            }
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
        let options = ForeignOptions { against, ..options };
        return foreign::verify(input, source, options, &args.talk, cancel, job);
    };
    // What is damaged has to be restored first.
    let differences = match tree.filter(|_| report.damage_count == 0) {
        Some(tree) => Some(compare_tree(input, tree, args, cancel, job)?),
        None => None,
    };
    if let (Some(path), true, 0) = (&seekable, args.decode, report.damage_count) {
        check_index(path, cancel)?;
    }
    job.over();
    job.note_size(report.file_size);
    job.note_damages(report.damage_count);
    warn(&report.run.warnings, &args.talk);
    for damage in &report.damages {
        message::failure(damage, exit::DAMAGED);
    }
    let comparison = report.comparison.as_ref();
    let mut code = Compared::tell(comparison);
    for difference in differences.iter().flat_map(|found| &found.described) {
        message::failure(difference, exit::DIFFERS);
    }
    if differences.as_ref().is_some_and(|found| found.count > 0) {
        code = exit::DIFFERS;
    }
    if args.talk.json {
        message::json(&Verified {
            course: job.course(),
            input: &input.to_string_lossy(),
            intact: report.damage_count == 0,
            decoded: args.decode || comparison.is_some(),
            content_size: report.content_size,
            file_size: report.file_size,
            chunk_count: report.chunk_count,
            damage_count: report.damage_count,
            compared: match (tree, &differences) {
                (Some(tree), Some(found)) => Compared::with_tree(tree, found),
                _ => Compared::with(against.as_deref(), comparison),
            },
            how: How::new(&report.run, Some(report.direct), None),
        });
    } else {
        let (name, chunks) = (shown(input), report.chunk_count);
        if report.damage_count > 1 {
            let count = report.damage_count;
            message::error(&format!("{name}: {count} damages in {chunks} chunks"));
        }
        if let (Some(source), Some(found)) = (&args.against, comparison.filter(|it| it.chunks > 1))
        {
            let (count, source) = (found.chunks, shown(source));
            message::error(&format!("{name}: {count} of {chunks} chunks differ from {source}"));
        }
        if let (Some(tree), Some(found)) = (tree, differences.filter(|found| found.count > 1)) {
            let (count, tree) = (found.count, shown(tree));
            message::error(&format!("{name}: {count} differences from {tree}"));
        }
    }
    let code = if report.damage_count > 0 { code.max(exit::DAMAGED) } else { code };
    if code > 0 {
        return Ok(code);
    }
    note(&args.talk, || {
        let what = if args.decode { "decoded" } else { "checked" };
        let what = args.against.as_deref().map_or_else(
            || what.to_owned(),
            |source| format!("compared, the same as {}", shown(source)),
        );
        let summary = format!(
            "{}: intact, {} in {} chunks {what}",
            shown(input),
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

/// Compares the archive in a container with a directory.
fn compare_tree(
    input: &Path,
    tree: &Path,
    args: &args::Verify,
    cancel: &Cancel,
    job: &Job,
) -> Result<Differences, Failure> {
    let container = Container::open(&OsDisk, input, false)?;
    let rules = Rules {
        root: tree.to_owned(),
        name: None,
        exclude: Patterns::new(&args.exclude).map_err(Failure::Usage)?,
        one_file_system: args.one_file_system,
        content_only: args.content_only,
        // Other programs leave them out.
        all_xattrs: container.header().members_len > 0,
        mtime: None,
        mtime_max: None,
    };
    let run = Run {
        threads: args.io.threads(),
        quiet: args.talk.quiet,
        cancel: cancel.clone(),
        progress: job.progress(),
    };
    run.progress.check(container.header().content_size);
    let differences = compare_tree::compare(&container, rules, &run);
    let differences = differences.map_err(|error| container.named(error))?;
    run.progress.done();
    Ok(differences)
}
