//! Running other programs: the tools of the system, and the program under test.
//!
//! Whatever touches the recorded file system runs as a process of its own: a thread of the process
//! that serves the disk would wait, in the kernel, for itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest time that a program may take: only one that hangs comes near it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long to wait for a mount to be let go: a loop device closes its file soon after it is let go
/// itself, and a child being started holds what its parent has open.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(10);

/// Where a tool of the system is, if it is installed.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(tool))
        .find(|path| path.is_file())
}

/// A command of a tool of the system.
pub(crate) fn command<S: AsRef<OsStr>>(tool: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(find(tool).unwrap_or_else(|| tool.into()));
    command.args(args);
    command
}

/// Runs a tool of the system and gives its standard output, or its complaint.
pub(crate) fn run<S: AsRef<OsStr>>(
    tool: &str,
    args: impl IntoIterator<Item = S>,
) -> Result<String, String> {
    let output = finish(&mut command(tool, args));
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} ended with {}: {}", output.status, complaint.trim()))
}

/// Runs a program to its end, with standard input closed.
///
/// # Panics
/// Where it can't be started, or takes longer than two minutes; it is killed then.
pub fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let process = Pid::from_raw(i32::try_from(child.id()).expect("a process id is small"));
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(output) => {
            let _ = waiter.join();
            output.expect("a child can be waited for")
        }
        Err(_) => {
            let _ = kill(process, Signal::SIGKILL);
            panic!("{command:?} did not end within {PATIENCE:?}");
        }
    }
}

/// Whether something is mounted at `folder`, which nobody has moved.
pub(crate) fn is_mounted(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
    let folder = folder.to_string_lossy();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(&folder))
}

/// Unmounts `folder`. What has it open for a passing moment is waited for; what still has it then
/// is left to go by itself, and the mount is no longer seen.
///
/// # Errors
/// What `umount` said where it was held to the end.
pub(crate) fn unmount(folder: &Path) -> Result<(), String> {
    let deadline = Instant::now() + UNMOUNT_PATIENCE;
    loop {
        let Err(why) = run("umount", [folder]) else { return Ok(()) };
        if Instant::now() > deadline {
            let _ = run("umount", [OsStr::new("-l"), folder.as_ref()]);
            return Err(why);
        }
        thread::yield_now();
    }
}
