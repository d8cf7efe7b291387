//! Programs that run beside the test: signalled, waited for, and never left behind.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{binary, run};

/// Longest time that anything waited for may take: only a test that fails comes near it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a line as a shell does, where `ringpack` is on the path.
///
/// # Panics
/// Where there is no shell, or the program isn't built.
#[must_use]
pub fn typed(line: &str, folder: &Path) -> Output {
    let program = binary();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let mut command = Command::new("sh");
    run(command.args(["-c", line]).env("PATH", path).current_dir(folder).stdin(Stdio::null()))
}

/// Waits until `condition` holds, giving the processor away meanwhile.
///
/// # Panics
/// Where it doesn't come to hold.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// A program that runs, killed when it goes out of scope.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    /// Starts it, its standard error kept for [`Self::end`].
    ///
    /// # Panics
    /// Where it can't be started.
    pub fn start(command: &mut Command) -> Self {
        Self::with(command.stderr(Stdio::piped()))
    }

    /// Starts it, its standard streams as they are set.
    ///
    /// # Panics
    /// Where it can't be started.
    pub fn with(command: &mut Command) -> Self {
        let child = command.spawn();
        Self(Some(child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))))
    }

    /// The process.
    ///
    /// # Panics
    /// Never before [`Self::end`].
    pub fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it wasn't waited for yet")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it can't be sent.
    pub fn signal(&mut self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child().id()).expect("a pid"));
        kill(pid, signal).expect("a child can be signalled");
    }

    /// Waits for its end; its standard input stays open until then if nobody took it.
    ///
    /// # Panics
    /// Where it doesn't end.
    #[must_use]
    pub fn end(mut self) -> Output {
        let stdin = self.child().stdin.take();
        until("the program ended", || {
            self.child().try_wait().expect("a child can be waited for").is_some()
        });
        drop(stdin);
        let mut stderr = Vec::new();
        if let Some(mut pipe) = self.child().stderr.take() {
            pipe.read_to_end(&mut stderr).expect("its standard error");
        }
        let status = self.child().wait().expect("a child can be waited for");
        self.0 = None;
        Output { status, stdout: Vec::new(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
