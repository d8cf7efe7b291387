//! `cargo run -p xtask -- planted`: shows that the tests find the bugs they are there to find.
//!
//! Everything is built once with the feature `planted-bugs`. Each test named below is first run
//! with nothing planted, and must pass; then each bug is planted, and the tests named for it must
//! fail. A bug that the engine knows and this table doesn't is an error, and so is the reverse.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

mod table;

use table::{CAUGHT, Test};

/// Where the bugs are listed.
const BUGS: &str = "engine/src/planted.rs";

pub(crate) fn run(root: &Path) -> Result<ExitCode, String> {
    let known = bugs(root)?;
    let listed: BTreeSet<String> = CAUGHT.iter().map(|(bug, _)| (*bug).to_owned()).collect();
    if known != listed {
        let differ: Vec<_> = known.symmetric_difference(&listed).cloned().collect();
        return Err(format!("listed in one of the engine and the table only: {differ:?}"));
    }
    let tests: BTreeSet<Test> =
        CAUGHT.iter().flat_map(|(_, tests)| tests.iter().copied()).collect();
    let executables = build(root, &tests)?;
    let sound: Vec<Run> = tests.into_iter().map(|test| (test, None)).collect();
    for ((test, _), verdict) in sound.iter().zip(verdicts(&executables, &sound)?) {
        if let Verdict::Fails(said) = verdict {
            return Err(format!("{} fails with nothing planted:\n{said}", test.name));
        }
    }
    let planted: Vec<Run> = CAUGHT
        .iter()
        .flat_map(|(bug, tests)| tests.iter().map(move |test| (*test, Some(*bug))))
        .collect();
    let mut missed = 0;
    println!("{:22} {:14} {:6} test", "bug", "layer", "");
    for ((test, bug), verdict) in planted.iter().zip(verdicts(&executables, &planted)?) {
        let caught = matches!(verdict, Verdict::Fails(_));
        missed += usize::from(!caught);
        let verdict = if caught { "caught" } else { "MISSED" };
        println!("{:22} {:14} {verdict} {}", bug.unwrap_or_default(), test.layer, test.name);
    }
    println!("{} bugs planted, {missed} missed", CAUGHT.len());
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The bugs that the engine knows.
fn bugs(root: &Path) -> Result<BTreeSet<String>, String> {
    let path = root.join(BUGS);
    let source =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let body = source.split("pub enum Bug {").nth(1).and_then(|rest| rest.split('}').next());
    let lines = body.ok_or("the engine's list of bugs can't be found")?.lines().map(str::trim);
    let names =
        lines.filter(|line| !line.starts_with("//")).filter_map(|line| line.strip_suffix(','));
    Ok(names.map(str::to_owned).collect())
}

fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    // As the suite is built, so that nothing is compiled again that doesn't know of the bugs.
    command.current_dir(root).args(args).args(["--quiet", "--workspace"]);
    for package in ["ringpack", "ringpack-cli", "ringpack-tests", "ringpack-lab"] {
        command.args(["--features", &format!("{package}/planted-bugs")]);
    }
    command.env_remove("RINGPACK_PLANTED").stdin(Stdio::null());
    command
}

/// A test executable.
struct Executable {
    path: String,
    /// Where its tests expect to be started.
    folder: PathBuf,
}

/// The executables, each under the name of its target.
type Executables = BTreeMap<String, Executable>;

/// Builds the program and the tests, and of these none that isn't needed.
fn build(root: &Path, tests: &BTreeSet<Test>) -> Result<Executables, String> {
    let mut program = cargo(root, &["build", "--bin", "ringpack"]);
    let status = program.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err("the planted build fails".to_owned());
    }
    let mut command =
        cargo(root, &["test", "--no-run", "--message-format", "json-render-diagnostics", "--lib"]);
    let targets: BTreeSet<&str> = tests.iter().filter_map(|test| test.target).collect();
    for target in targets {
        command.args(["--test", target]);
    }
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the planted build fails: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().filter_map(executable).collect())
}

/// The executable that a line of cargo's JSON tells of, under the name of its target.
fn executable(line: &str) -> Option<(String, Executable)> {
    let value = |key: &str| {
        let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let path = value("executable")?;
    let name = Path::new(&path).file_name()?.to_str()?.rsplit_once('-')?.0.to_owned();
    let folder = Path::new(&value("manifest_path")?).parent()?.to_owned();
    Some((name, Executable { path, folder }))
}

/// What came of a test.
enum Verdict {
    Passes,
    /// What it said.
    Fails(String),
}

/// A test, and the bug that is planted for it.
type Run = (Test, Option<&'static str>);

/// Runs them, as many at once as there are cores; the verdicts in their order.
fn verdicts(executables: &Executables, runs: &[Run]) -> Result<Vec<Verdict>, String> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let lane = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some((test, bug)) = runs.get(number) else { return };
        let verdict = verdict(executables, test, *bug);
        found.lock().unwrap_or_else(PoisonError::into_inner).push((number, verdict));
    };
    let lanes = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| (0..lanes).for_each(|_| drop(scope.spawn(lane))));
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, verdict)| verdict).collect()
}

/// Runs the test; that it is there, and ran, is seen to.
fn verdict(executables: &Executables, test: &Test, bug: Option<&str>) -> Result<Verdict, String> {
    let target = test.target.unwrap_or("ringpack");
    let executable = executables.get(target).ok_or(format!("{target} isn't built"))?;
    let mut command = Command::new(&executable.path);
    command.current_dir(&executable.folder).args(["--exact", test.name]).stdin(Stdio::null());
    // On file systems, as many as find what is planted.
    command.env_remove("RINGPACK_PLANTED").env("RINGPACK_STATES", "900");
    if let Some(bug) = bug {
        command.env("RINGPACK_PLANTED", bug);
    }
    let output = command.output().map_err(|error| format!("cannot run {target}: {error}"))?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.contains("test result: ok. 1 passed") {
        return Ok(Verdict::Passes);
    }
    // A test that takes its process down with it has failed too.
    let failed = said.contains("test result: FAILED") || said.contains("running 1 test");
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    if failed && !output.status.success() {
        return Ok(Verdict::Fails(said));
    }
    Err(format!("{} can't be run: {said}", test.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_known_by_its_target() {
        let line = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/r/tests/lab/Cargo.toml","#,
            r#""target":{"name":"power_cut"},"#,
            r#""executable":"/r/target/debug/deps/power_cut-0a1b","fresh":true}"#
        );
        let (name, found) = executable(line).unwrap();
        assert_eq!((name.as_str(), found.folder), ("power_cut", "/r/tests/lab".into()));
        assert_eq!(found.path, "/r/target/debug/deps/power_cut-0a1b");
        let none = r#"{"manifest_path":"/r/Cargo.toml","executable":null}"#;
        assert!(executable(none).is_none());
    }
}
