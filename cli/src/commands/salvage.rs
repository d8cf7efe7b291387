//! `ringpack salvage`.

use std::process::ExitCode;

use ringpack::Cancel;
use ringpack::escape::shown;
use ringpack::ring::os::OsDisk;
use ringpack::salvage::{SalvageReport, salvage};

use super::foreign::counted;
use super::report::{json, print};
use crate::args;
use crate::exit::{Failure, SALVAGED_IN_PART};
use crate::message;
use crate::names;
use crate::size::human;

/// Damages that are said one by one; the map has all.
const SAID_MAX: usize = 20;

pub(crate) fn run(args: &args::Salvage, cancel: &Cancel) -> Result<ExitCode, Failure> {
    if [&args.input, &args.output].into_iter().any(|path| names::is_standard_stream(path)) {
        let what = "salvaging reads and writes at many places, which a pipe doesn't allow: name \
                    files";
        return Err(Failure::Usage(what.to_owned()));
    }
    let report = salvage(&OsDisk, &args.input, &args.output, args.force, cancel)?;
    if !args.quiet {
        for warning in &report.warnings {
            message::warning(warning);
        }
        message::note(&summary(args, &report));
    }
    if args.json {
        print(&json("salvage", &report)?)?;
    }
    let is_complete = report.is_complete();
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::from(SALVAGED_IN_PART) })
}

fn summary(args: &args::Salvage, report: &SalvageReport) -> String {
    let known = if report.is_len_known { "" } else { " or more" };
    let mut text = format!(
        "{}: {} of {}{known} intact, {} lost, {}",
        shown(&args.input),
        human(report.intact),
        human(report.content_len),
        human(report.lost),
        shown(&args.output),
    );
    if report.unsure > 0 {
        text += &format!(
            "\n  {} restored besides, placed by the order of the frames alone",
            human(report.unsure)
        );
    }
    if !report.unplaced.is_empty() {
        let bytes = report.unplaced.iter().map(|frame| frame.content_len).sum();
        text += &format!(
            "\n  {} with {} left out: where it belongs isn't known",
            counted(report.unplaced.len() as u64, "intact frame"),
            human(bytes)
        );
    }
    for damage in report.damages.iter().take(SAID_MAX) {
        text += &format!("\n  {damage}");
    }
    let more = report.damages.len().saturating_sub(SAID_MAX);
    if more > 0 {
        text += &format!("\n  and {more} more");
    }
    text + &format!("\n  the map: {}", shown(&report.map_path))
}
