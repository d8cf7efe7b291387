//! The regression gate: is this tree slower than that revision?
//!
//! A machine that others use too has no absolute figures, so the baseline is built here and run in
//! turn with the tree, pair by pair, and only the ratio within a pair counts. A job is slower where
//! the median of the ratios is over the bound, and so many of the pairs agree that chance would
//! make them once in a hundred times. Both are asked of wall time, and of processor time with a
//! closer bound, since it is the steadier of the two.
//!
//! Instructions are counted first, where valgrind is here: noise can't touch them, and one run a
//! job says it. That alone is what a machine is asked for that is too busy to be timed on.

mod instructions;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Pairs of runs of each job.
const PAIRS: usize = 15;
/// So many pairs slower out of [`PAIRS`] come by chance in 0.4% of cases, were both equally fast
/// (binomial, 13 or more of 15).
const AGREEING: usize = 13;
/// Slower by more than this, in wall time, is too slow.
const WALL_MAX: f64 = 1.08;
/// The same of processor time.
const CPU_MAX: f64 = 1.05;
/// MiB of content to be timed on, and to count instructions on.
const MEBIBYTES: (&str, &str) = ("256", "16");

/// A job: its name, and its arguments, where `IN`, `ZST` and `OUT` stand for files.
const JOBS: [(&str, &[&str]); 5] = [
    ("pack -1", &["pack", "-q", "-f", "-1", "IN", "-o", "ZST"]),
    ("pack -3", &["pack", "-q", "-f", "-3", "IN", "-o", "ZST"]),
    ("pack --store", &["pack", "-q", "-f", "--store", "IN", "-o", "OUT"]),
    ("verify", &["verify", "-q", "ZST"]),
    ("unpack", &["unpack", "-q", "-f", "ZST", "-o", "OUT"]),
];

type Result<T> = std::result::Result<T, String>;

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Counts alone.
    Counts,
    /// Counts, and time.
    Time,
}

/// Compares the working tree with `revision`.
pub(crate) fn run(root: &Path, revision: &str, by: By) -> Result<ExitCode> {
    let folder = folder(root)?;
    let tree = folder.join("baseline");
    let git =
        |args: &[&str]| -> Result<()> { succeed(Command::new("git").args(args).current_dir(root)) };
    let path = tree.to_str().ok_or("the path of the checkout is not text")?;
    if tree.exists() {
        git(&["worktree", "remove", "--force", path])?;
    }
    git(&["worktree", "add", "--quiet", "--detach", path, revision])?;
    let baseline = build(&tree, &folder.join("of-baseline"), "")?;
    let ours = build(root, &root.join("target"), "")?;
    let slower = compare(root, &folder, &baseline, &ours, by);
    git(&["worktree", "remove", "--force", path])?;
    Ok(verdict(&slower?))
}

/// Compares the working tree with itself, slowed down. Succeeds where that is found out; and where
/// the tree isn't found slower than itself.
pub(crate) fn run_planted(root: &Path, by: By) -> Result<ExitCode> {
    let folder = folder(root)?;
    let ours = build(root, &root.join("target"), "")?;
    let slow = build(root, &folder.join("slowed-down"), "--cfg ringpack_planted_slow")?;
    println!("the tree against itself:");
    let same = compare(root, &folder, &ours, &ours, by)?;
    println!("the tree, slowed down, against itself:");
    let found = compare(root, &folder, &ours, &slow, by)?;
    if !same.is_empty() {
        return Err(format!("the tree was found slower than itself at {}", same.join(", ")));
    }
    if !found.contains(&"pack -1") {
        return Err("the slow-down of packing was not found".to_owned());
    }
    println!("gate: the planted slow-down was found, and no other");
    Ok(ExitCode::SUCCESS)
}

fn verdict(slower: &[&str]) -> ExitCode {
    if slower.is_empty() {
        println!("gate: nothing is slower");
        return ExitCode::SUCCESS;
    }
    println!("gate: slower: {}", slower.join(", "));
    ExitCode::FAILURE
}

fn folder(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/gate");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn succeed(command: &mut Command) -> Result<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// Builds the program, and says where it is.
fn build(tree: &Path, target: &Path, flags: &str) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--quiet", "-p", "ringpack-cli", "--target-dir"]);
    cargo.arg(target).current_dir(tree);
    if !flags.is_empty() {
        cargo.env("RUSTFLAGS", flags);
    }
    succeed(&mut cargo)?;
    Ok(target.join("release/ringpack"))
}

/// The jobs that `ours` is slower at, or has more to do for.
fn compare(
    root: &Path,
    folder: &Path,
    baseline: &Path,
    ours: &Path,
    by: By,
) -> Result<Vec<&'static str>> {
    let mut slower = count(root, folder, baseline, ours, by)?;
    if by == By::Time {
        slower.extend(time(root, folder, baseline, ours)?);
    }
    slower.sort_unstable();
    slower.dedup();
    Ok(slower)
}

/// The jobs that `ours` executes more instructions for.
fn count(
    root: &Path,
    folder: &Path,
    baseline: &Path,
    ours: &Path,
    by: By,
) -> Result<Vec<&'static str>> {
    match (instructions::can_be_counted(), by) {
        (true, _) => {}
        (false, By::Counts) => {
            return Err("instructions can't be counted: install valgrind".to_owned());
        }
        (false, By::Time) => {
            println!("  valgrind is not installed: no instructions are counted");
            return Ok(Vec::new());
        }
    }
    let files = Files::make(root, folder.join("counted"), MEBIBYTES.1)?;
    let mut slower = Vec::new();
    for (name, args) in JOBS {
        let (ratio, is_over) = instructions::compare(&files, baseline, ours, args)?;
        println!("  {name:<14} instructions {ratio:.4}");
        if is_over {
            slower.push(name);
        }
    }
    Ok(slower)
}

/// The jobs that `ours` takes longer for.
fn time(root: &Path, folder: &Path, baseline: &Path, ours: &Path) -> Result<Vec<&'static str>> {
    let files = Files::make(root, folder.join("files"), MEBIBYTES.0)?;
    let mut slower = Vec::new();
    for (name, args) in JOBS {
        // What each needs is there, and neither is the first to touch it.
        files.time(baseline, args)?;
        files.time(ours, args)?;
        let mut ratios = (Vec::new(), Vec::new());
        for pair in 0..PAIRS {
            // Each goes first as often as the other.
            let (theirs, mine) = if pair % 2 == 0 {
                let theirs = files.time(baseline, args)?;
                (theirs, files.time(ours, args)?)
            } else {
                let mine = files.time(ours, args)?;
                (files.time(baseline, args)?, mine)
            };
            ratios.0.push(mine.wall / theirs.wall);
            ratios.1.push(mine.cpu / theirs.cpu);
        }
        let (wall, cpu) = (Ratio::of(ratios.0), Ratio::of(ratios.1));
        println!("  {name:<14} wall {wall}   processor {cpu}");
        if wall.is_over(WALL_MAX) || cpu.is_over(CPU_MAX) {
            slower.push(name);
        }
    }
    Ok(slower)
}

struct Files {
    folder: PathBuf,
}

/// Seconds.
struct Time {
    wall: f64,
    cpu: f64,
}

impl Files {
    /// A folder with so many MiB of content.
    fn make(root: &Path, folder: PathBuf, mebibytes: &str) -> Result<Self> {
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let input = folder.join("in");
        if !input.exists() {
            let mut make = Command::new("cargo");
            make.args(["run", "--release", "--quiet", "-p", "ringpack-benches", "--bin"]);
            make.arg("bench-content").arg("--").arg(&input).arg(mebibytes);
            succeed(make.current_dir(root))?;
        }
        Ok(Self { folder })
    }

    /// Gives a command its arguments, the files in their places.
    fn give(&self, command: &mut Command, args: &[&str]) {
        for arg in args {
            match *arg {
                "IN" => command.arg(self.folder.join("in")),
                "ZST" => command.arg(self.folder.join("zst")),
                "OUT" => command.arg(self.folder.join("out")),
                arg => command.arg(arg),
            };
        }
    }

    fn time(&self, program: &Path, args: &[&str]) -> Result<Time> {
        let mut command = Command::new(program);
        self.give(&mut command, args);
        let (cpu, wall) = (cpu_of_children()?, Instant::now());
        succeed(command.stdin(Stdio::null()))?;
        let wall = wall.elapsed().as_secs_f64();
        // A tick at least, so that a ratio is a number.
        let cpu = (cpu_of_children()? - cpu).max(1) as f64 / 100.0;
        Ok(Time { wall, cpu })
    }
}

/// User and system time of the children that were waited for, in ticks of 10 ms: fields 16 and 17
/// of proc_pid_stat(5). Linux counts 100 of them a second for user space on every architecture
/// that this runs on.
fn cpu_of_children() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    // The name, in brackets, may have blanks; field 3 follows it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let fields: Vec<u64> =
        fields.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
    match fields.get(12..14) {
        Some(times) => Ok(times.iter().sum()),
        None => Err("/proc/self/stat is not as it is documented".to_owned()),
    }
}

/// Ratios of pairs, in ascending order.
struct Ratio(Vec<f64>);

impl Ratio {
    fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        Self(ratios)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// Whether it is more than `bound`, and no chance.
    fn is_over(&self, bound: f64) -> bool {
        let slower = self.0.iter().filter(|ratio| **ratio > 1.0).count();
        self.median() > bound && slower >= AGREEING
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = (self.0[0], self.0[self.0.len() - 1]);
        write!(f, "{:.3} ({first:.3} to {last:.3})", self.median())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slower_is_by_the_bound_and_in_nearly_every_pair() {
        let ratio = |slow: usize, by: f64| {
            Ratio::of((0..PAIRS).map(|pair| if pair < slow { by } else { 0.99 }).collect())
        };
        assert!(ratio(15, 1.2).is_over(1.08));
        assert!(ratio(13, 1.2).is_over(1.08));
        assert!(!ratio(12, 1.2).is_over(1.08));
        assert!(!ratio(15, 1.07).is_over(1.08));
    }

    #[test]
    fn children_take_processor_time() {
        let before = cpu_of_children().unwrap();
        let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        succeed(Command::new("sh").args(["-c", spin])).unwrap();
        assert!(cpu_of_children().unwrap() > before);
    }
}
