//! A producer: the program whose standard output is packed, and which has to end well.
//!
//! A pipe's end says nothing of how the program before it ended. Here ringpack starts that program
//! itself, and so can ask: what it wrote is published only if it exits with code 0.
//!
//! ```text
//!            stdout ──► engine ──► end of the stream ──► confirm: waits until the program ended
//!  program   stderr ──► a thread ──► our stderr, and the last lines kept for the message
//!            its end ─► a thread ──► noted; it stays unreaped until the job is over
//! ```
//!
//! The program is the leader of a process group of its own, which gets every signal that comes
//! here. Until the job is over the leader isn't reaped, so the group's number can't come to name
//! another. If it fails, or the job does, the rest of its group is killed: nothing goes on writing
//! for nobody. `SIGKILL` can't be passed on; then its pipe is closed, which ends it at its next
//! write.
//!
//! A group in the background can't read from the terminal: a program that tries is stopped by the
//! system for good, and so it is ended, with a message that says why.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Read, stdin};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use ringpack::pack::{Confirm, Input};
use ringpack::{Error, ErrorKind};

use crate::message;
use crate::signals::Signals;

/// How long a program that was told to end may take before it is told harder.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait for the signal that may have ended the program and is for us too: a system that
/// stops a service signals all of its processes at once.
const SIGNAL_WAIT: Duration = Duration::from_millis(100);
/// How long to wait for the rest of what a program that ended said: others may hold its standard
/// error open.
const STDERR_WAIT: Duration = Duration::from_secs(1);
/// How often to look whether the job was stopped.
const LOOK_AROUND: Duration = Duration::from_millis(50);
/// How much of what it said is kept, in bytes and in lines.
const TAIL_BYTES: usize = 4096;
const TAIL_LINES: usize = 10;

/// The program, before and after it was started. When this is dropped, nothing of it runs on.
#[derive(Debug)]
pub(crate) struct Producer<'a> {
    command: Vec<OsString>,
    signals: &'a Signals,
    state: Arc<State>,
    /// Its group, once it was started.
    group: Mutex<Option<Pid>>,
    /// Whether what it wrote was packed whole.
    was_of_use: AtomicBool,
}

impl<'a> Producer<'a> {
    /// A program that is not started yet; `command` is its name and its arguments.
    pub(crate) fn new(command: Vec<OsString>, signals: &'a Signals) -> Self {
        Self {
            command,
            signals,
            state: Arc::default(),
            group: Mutex::new(None),
            was_of_use: AtomicBool::new(false),
        }
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        self.command[0].to_string_lossy().into_owned()
    }

    /// Who is asked whether its output is whole: waits for its end.
    pub(crate) fn confirm(&self) -> Confirm {
        let state = Arc::clone(&self.state);
        Confirm::new(move |end| {
            let ended = state.wait(None, &|| end.is_stopped(), |inner| inner.ended);
            match ended {
                Some(Ended::Exited(0)) => Ok(()),
                Some(ended) => {
                    state.wait(Some(SIGNAL_WAIT), &|| end.is_stopped(), |_| None::<()>);
                    state.wait(Some(STDERR_WAIT), &|| end.is_stopped(), Inner::said_all);
                    Err(state.refusal(ended).into())
                }
                None => Err("the job was stopped before its producer ended".into()),
            }
        })
    }

    /// Starts it; gives its output as what is to be packed. Once.
    pub(crate) fn start(&self) -> Result<Input, Error> {
        let failed = |error| {
            Error::from_io(ErrorKind::Refused, "cannot start it", error)
                .at(self.name())
                .hint("--from-command runs the program named after --; a shell's line needs sh -c")
        };
        // A signal that comes meanwhile waits until it can be passed on.
        let mut passing_on = self.signals.passing_on();
        if self.signals.received().is_some() {
            return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        }
        let mut child = self.spawn().map_err(failed)?;
        let group = Pid::from_raw(child.id().cast_signed());
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
        *passing_on = Some(Box::new(move |signal| {
            let _ = killpg(group, signal);
        }));
        drop(passing_on);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            unreachable!("both are pipes");
        };
        let (listening, waiting) = (Arc::clone(&self.state), Arc::clone(&self.state));
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("producer-stderr").spawn(move || listening.listen(stderr)).map_err(failed)?;
        thread("producer-end").spawn(move || waiting.watch(group)).map_err(failed)?;
        Ok(Input::Stream(fs::File::from(OwnedFd::from(stdout)), self.name()))
    }

    /// Its output was packed whole: what it may have left running in the background is not ours.
    pub(crate) fn is_done(&self) {
        self.was_of_use.store(true, Ordering::SeqCst);
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).process_group(0);
        // It would only be stopped for reading from it.
        let input = if stdin().is_terminal() { Stdio::null() } else { Stdio::inherit() };
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A child inherits the thread's mask, and all of this program's threads block the signals
        // that it takes. One that comes to the thread that doesn't ends the program, before there
        // is anything to clean up.
        let spawn = || {
            self.signals.inherited().thread_set_mask()?;
            command.spawn()
        };
        let spawned = std::thread::scope(|scope| scope.spawn(spawn).join());
        spawned.unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts it failed")))
    }

    /// Ends what still runs of it.
    fn end(&self, group: Pid) {
        let ended = |within| self.state.wait(Some(within), &|| false, |inner| inner.ended);
        if ended(Duration::ZERO).is_none() {
            let told = self.signals.received().is_some();
            if !told || ended(GRACE).is_none() {
                let _ = killpg(group, Signal::SIGTERM);
                if ended(GRACE).is_none() {
                    let _ = killpg(group, Signal::SIGKILL);
                    ended(GRACE);
                }
            }
        }
        if !self.was_of_use.load(Ordering::SeqCst) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(group) = group else { return };
        self.end(group);
        self.state.wait(Some(STDERR_WAIT), &|| false, Inner::said_all);
        *self.signals.passing_on() = None;
        // From here on the number may come to name another.
        let _ = waitpid(group, Some(WaitPidFlag::WNOHANG));
    }
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Exited(i32),
    Killed(Signal),
    /// It wanted to use the terminal, and was killed.
    WantedTerminal,
    /// The system knows nothing of it.
    Lost,
}

#[derive(Debug, Default)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    ended: Option<Ended>,
    /// The end of what it wrote to its standard error.
    tail: VecDeque<u8>,
    said_all: bool,
}

impl Inner {
    fn said_all(&self) -> Option<()> {
        self.said_all.then_some(())
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `known` gives something, for at most `within`, and not once `stopped`.
    fn wait<T>(
        &self,
        within: Option<Duration>,
        stopped: &dyn Fn() -> bool,
        known: impl Fn(&Inner) -> Option<T>,
    ) -> Option<T> {
        let deadline = within.map(|within| Instant::now() + within);
        let mut inner = self.inner();
        loop {
            let found = known(&inner);
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if found.is_some() || is_over || stopped() {
                return found;
            }
            let waited = self.changed.wait_timeout(inner, LOOK_AROUND);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Passes on what it says, and keeps the last of it.
    fn listen(&self, mut stderr: ChildStderr) {
        let mut bytes = [0; 4096];
        loop {
            match stderr.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => {
                    message::pass_on(&bytes[..read]);
                    let mut inner = self.inner();
                    inner.tail.extend(&bytes[..read]);
                    let surplus = inner.tail.len().saturating_sub(TAIL_BYTES);
                    inner.tail.drain(..surplus);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.inner().said_all = true;
        self.changed.notify_all();
    }

    /// Waits for its end, and notes it. The leader is left to be reaped.
    fn watch(&self, group: Pid) {
        let ended = loop {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
            match waitid(Id::Pid(group), flags) {
                Ok(WaitStatus::Exited(_, code)) => break Ended::Exited(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => break Ended::Killed(signal),
                Ok(WaitStatus::Stopped(_, Signal::SIGTTIN | Signal::SIGTTOU)) => {
                    let _ = killpg(group, Signal::SIGKILL);
                    break Ended::WantedTerminal;
                }
                // Whoever stopped it will let it go on. Taken, or it would be told again.
                Ok(_) => {
                    let _ = waitid(Id::Pid(group), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG);
                }
                Err(Errno::EINTR) => {}
                Err(_) => break Ended::Lost,
            }
        };
        if !matches!(ended, Ended::Exited(0) | Ended::Lost) {
            // What it started might write on, and keep the stream from ending.
            let _ = killpg(group, Signal::SIGKILL);
        }
        self.inner().ended = Some(ended);
        self.changed.notify_all();
    }

    /// Why its output isn't taken for whole.
    fn refusal(&self, ended: Ended) -> String {
        let how = match ended {
            Ended::Exited(code) => format!("ended with exit code {code}"),
            Ended::Killed(signal) => format!("was killed by {signal}"),
            Ended::WantedTerminal => {
                "wanted to use the terminal, which it can't have: give it what \
                                      it asks for in a file or variable (PGPASSFILE, say)"
                    .to_owned()
            }
            Ended::Lost => "ended, and how isn't known".to_owned(),
        };
        let mut text =
            format!("{how}, so its output isn't taken for whole; see why, and run it again");
        let inner = self.inner();
        let tail: Vec<u8> = inner.tail.iter().copied().collect();
        let tail = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = tail.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        if !last.is_empty() {
            text += "; its last lines:";
        }
        for line in last {
            text += "\n  ";
            text.extend(line.chars().filter(|&c| !c.is_control() || c == '\t'));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_how_it_ended_and_what_it_said_last() {
        let state = State::default();
        assert!(!state.refusal(Ended::Killed(Signal::SIGKILL)).contains("last lines"));
        let said: String = (0..20).map(|i| format!("line {i}\u{1b}\r\n")).collect();
        state.inner().tail.extend(said.as_bytes());
        let refusal = state.refusal(Ended::Exited(3));
        let lines: Vec<&str> = refusal.lines().collect();
        assert!(lines[0].starts_with("ended with exit code 3, "), "{refusal}");
        assert_eq!(lines[1..], (10..20).map(|i| format!("  line {i}")).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_waits_for_longer_than_asked() {
        let state = State::default();
        let known = |inner: &Inner| inner.ended;
        assert_eq!(state.wait(Some(Duration::ZERO), &|| false, known), None);
        assert_eq!(state.wait(None, &|| true, known), None);
        state.inner().ended = Some(Ended::Lost);
        assert_eq!(state.wait(None, &|| true, known), Some(Ended::Lost));
    }
}
