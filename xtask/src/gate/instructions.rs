//! Instructions that a job executes, counted by valgrind: the same on a busy machine as on a quiet
//! one, within some hundredths of a per cent.
//!
//! valgrind knows no io_uring and runs one thread at a time, so the jobs run by `pread` and
//! `pwrite` on one thread, on little content. What the ring costs is counted in system calls and
//! operations instead, by `tests/costs.rs`.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Files, Result};

/// More instructions than this, as a ratio, are too many.
const RATIO_MAX: f64 = 1.02;

/// Whether they can be counted here.
pub(super) fn can_be_counted() -> bool {
    let mut asked = Command::new("valgrind");
    asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

/// How many times as many `ours` executes as `baseline`, and whether that is too many.
pub(super) fn compare(
    files: &Files,
    baseline: &Path,
    ours: &Path,
    args: &[&str],
) -> Result<(f64, bool)> {
    let [theirs, mine] = [count(files, baseline, args)?, count(files, ours, args)?];
    let ratio = mine as f64 / theirs.max(1) as f64;
    Ok((ratio, ratio > RATIO_MAX))
}

fn count(files: &Files, program: &Path, args: &[&str]) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    command.arg(program);
    files.give(&mut command, args);
    command.args(["--io", "pwrite", "-T1"]).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("valgrind: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    match counted(&told) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("{command:?}: {}: {told}", output.status)),
    }
}

/// The count in what cachegrind says: `==1== I   refs:      186,205,031`.
fn counted(told: &str) -> Option<u64> {
    let line = told.lines().find(|line| line.contains("refs:"))?;
    let digits: String = line.rsplit(':').next()?.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_off_what_cachegrind_says() {
        let told = "==7== Cachegrind\n==7== \n==7== I   refs:      186,205,031\n";
        assert_eq!(counted(told), Some(186_205_031));
        assert_eq!(counted("==7== Cachegrind\n"), None);
    }
}
