//! Whole programs, measured: wall time, processor time, and the peak of their memory.
//!
//! Each is started by `bench-run`, a small process of its own: what the kernel counts of that
//! one's children is the program's and its descendants' alone. It has to be small, because a
//! program's peak begins with that of the process that started it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What something took.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Seconds by the clock.
    pub wall: f64,
    /// Seconds of processor time, user and system, of all threads together.
    pub cpu: f64,
    /// Most bytes of memory that one of the processes had at once; 0 where it wasn't asked for.
    pub peak: u64,
}

/// Runs `command`, whose path is absolute or on `PATH`, and says what it took.
///
/// # Errors
/// Where it can't be started, and where it fails.
pub fn run(command: &mut Command) -> io::Result<Spent> {
    let told = tempfile::NamedTempFile::new()?;
    let mut runner = Command::new(beside("bench-run")?);
    runner.arg(told.path()).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        runner.current_dir(folder);
    }
    let status = runner.stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{command:?}: {status}")));
    }
    serde_json::from_slice(&std::fs::read(told.path())?).map_err(io::Error::other)
}

/// Runs `command` in this process's place, as `bench-run` does: it must have had no other child.
///
/// # Errors
/// Where it can't be started.
pub fn run_here(command: &mut Command) -> io::Result<(ExitStatus, Spent)> {
    let start = Instant::now();
    let status = command.status()?;
    let wall = start.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let peak = usage.max_rss().unsigned_abs() << 10;
    Ok((status, Spent { wall, cpu: seconds(&usage), peak }))
}

/// What `work` takes, in processor time that of this thread alone.
///
/// # Errors
/// As `work`.
pub fn on_this_thread<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(Spent, T), E> {
    let (start, used) = (Instant::now(), thread_time());
    let done = work()?;
    let cpu = thread_time().saturating_sub(used).as_secs_f64();
    Ok((Spent { wall: start.elapsed().as_secs_f64(), cpu, peak: 0 }, done))
}

/// The program of that name in the folder of the one that runs.
///
/// # Errors
/// Where it isn't there.
pub fn beside(name: &str) -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    match path.is_file() {
        true => Ok(path),
        false => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "{} is not built: cargo build --release -p ringpack-cli -p ringpack-benches",
                { path.display() }
            ),
        )),
    }
}

/// Whether a program of that name is on `PATH`.
#[must_use]
pub fn is_here(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder: PathBuf| Path::is_file(&folder.join(name)))
}

fn seconds(usage: &Usage) -> f64 {
    let of = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    of(usage.user_time()) + of(usage.system_time())
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
