//! `ringpack doctor`.

use std::fmt::Write as _;
use std::process::ExitCode;

use ringpack::doctor::{Examination, Finding, State, examine};
use ringpack::escape::shown;

use super::report::{json, print};
use crate::args;
use crate::exit::{self, Failure};
use crate::sandbox;

pub(crate) fn run(args: &args::Doctor) -> Result<ExitCode, Failure> {
    let mut examination = examine(&args.directory)?;
    examination.add(confinement());
    print(&if args.json { json("doctor", &examination)? } else { table(&examination) })?;
    let fails_with = examination.findings.iter().find_map(|finding| finding.fails_with);
    Ok(ExitCode::from(fails_with.map_or(0, exit::code)))
}

/// Whether commands that read what others wrote are confined.
fn confinement() -> Finding {
    const SUBJECT: &str = "confinement";
    match sandbox::kernel() {
        Some(by) if !sandbox::is_off() => Finding::ok(SUBJECT, by),
        found => {
            let found = found.map_or("no Landlock", |_| "turned off by RINGPACK_SANDBOX");
            let cost = "a defect in reading a hostile file could reach whatever this user may";
            let remedy = "use Linux 5.13 or later with landlock in its lsm= list, and leave \
                          RINGPACK_SANDBOX unset";
            Finding::warning(SUBJECT, found, cost, remedy)
        }
    }
}

/// The examination for people: a row a finding, and below it what it costs and the remedy.
fn table(examination: &Examination) -> String {
    let mut text = String::new();
    for finding in &examination.findings {
        let state = match finding.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Fail => "FAIL",
        };
        let _ = writeln!(text, "{state:<8} {:<17} {}", finding.subject, shown(&finding.found));
        for (name, what) in [("costs", &finding.cost), ("remedy", &finding.remedy)] {
            if let Some(what) = what {
                let _ = writeln!(text, "{:26} {name}: {}", "", shown(&**what));
            }
        }
    }
    let count = |state| examination.findings.iter().filter(|it| it.state == state).count();
    let folder = shown(&examination.folder);
    let verdict = match (count(State::Fail), count(State::Warning)) {
        (0, 0) => "everything is as it should be".to_owned(),
        (0, 1) => "containers can be written; 1 thing could be better".to_owned(),
        (0, warnings) => format!("containers can be written; {warnings} things could be better"),
        _ => "no container can be written".to_owned(),
    };
    let _ = writeln!(text, "\n{folder}: {verdict}");
    text
}
