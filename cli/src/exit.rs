//! How the program ends: exit codes, and the one line that says why.

use std::process::ExitCode;

use ringpack::ErrorKind;

use crate::message::{self, Failed};
use crate::remedy::remedied;
use crate::signals::Signals;
use crate::size::human;

/// Any failure without a code of its own.
pub(crate) const FAILURE: u8 = 1;
/// Wrong arguments; clap's own code too.
pub(crate) const USAGE: u8 = 2;
/// The container is damaged.
pub(crate) const DAMAGED: u8 = 6;
/// What was salvaged isn't all, or isn't sure to be.
pub(crate) const SALVAGED_IN_PART: u8 = 16;
/// The content differs from what it was compared with.
pub(crate) const DIFFERS: u8 = 17;

/// A defect of the program itself: `EX_SOFTWARE` of sysexits.h.
pub(crate) const DEFECT: u8 = 70;

/// Stopped, and can be gone on with: `EX_TEMPFAIL` of sysexits.h.
pub(crate) const SUSPENDED: u8 = 75;

/// Why the program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine says so.
    Engine(ringpack::Error),
    /// The engine says so, of a job that goes on with this command line, if it can be gone on with.
    Resumable(ringpack::Error, String),
    /// The arguments don't make sense together.
    Usage(String),
    /// Something that the program itself does failed.
    Other(String),
    /// What was wrong was said when it was found.
    Said,
}

impl From<ringpack::Error> for Failure {
    fn from(error: ringpack::Error) -> Self {
        Self::Engine(error)
    }
}

impl Failure {
    /// Says why, and ends with the code.
    pub(crate) fn report(&self, signals: &Signals) -> ExitCode {
        ExitCode::from(self.say(signals))
    }

    /// Says why, and gives the code.
    pub(crate) fn say(&self, signals: &Signals) -> u8 {
        let code = self.code(signals);
        match self {
            _ if message::is_json() => self.say_json(code),
            Self::Engine(error) => Self::say_engine(error, signals),
            Self::Resumable(error, command) => match error.resumable_bytes() {
                Some(bytes) => {
                    message::error(&error.to_string());
                    let covered = human(bytes);
                    let how = match error.kind() {
                        ErrorKind::NotResumable => "go on, to the same content as before with:",
                        ErrorKind::TargetExists => {
                            "move that file away, or add --force to replace it, and go on with:"
                        }
                        _ => "go on with:",
                    };
                    let how = format!("{covered} of the input are packed and kept; {how}");
                    message::note(&how);
                    message::note(&format!("  {command}"));
                }
                None => Self::say_engine(error, signals),
            },
            Self::Usage(what) | Self::Other(what) => message::error(what),
            Self::Said => {}
        }
        code
    }

    /// Whether it is that the job was told to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        match self {
            Self::Engine(error) | Self::Resumable(error, _) => {
                matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Suspended)
            }
            _ => false,
        }
    }

    /// The code that the program ends with.
    pub(crate) fn code(&self, signals: &Signals) -> u8 {
        match self {
            Self::Engine(error) | Self::Resumable(error, _) => {
                match (error.kind(), signals.received()) {
                    // Stopped by a signal: the shell's code for it.
                    (ErrorKind::Cancelled, Some(signal)) => 128 + signal,
                    (kind, _) => code(kind),
                }
            }
            Self::Usage(_) => USAGE,
            Self::Other(_) | Self::Said => FAILURE,
        }
    }

    /// Programs are told whatever ended it, a signal or a closed pipe too.
    fn say_json(&self, code: u8) {
        match self {
            Self::Engine(error) => message::failure(&remedied(error), code),
            Self::Resumable(error, command) => {
                let remedied = remedied(error);
                let failed = Failed::engine(&remedied, code);
                message::json(&match error.resumable_bytes() {
                    Some(bytes) => failed.resumable(bytes, command),
                    None => failed,
                });
            }
            Self::Usage(what) => message::json(&Failed::other("usage", what, Some(code))),
            Self::Other(what) => message::json(&Failed::other("other", what, Some(code))),
            Self::Said => {}
        }
    }

    fn say_engine(error: &ringpack::Error, signals: &Signals) {
        let kind = error.kind();
        // Whoever sent the signal, or closed the pipe, knows.
        let is_known = kind == ErrorKind::OutputClosed
            || (kind == ErrorKind::Cancelled && signals.received().is_some());
        if !is_known {
            message::error(&remedied(error).to_string());
        }
    }
}

/// The code of an engine's error; the table is in `ringpack --help` and in the README.
pub(crate) fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidOptions | ErrorKind::OutOfRange => USAGE,
        ErrorKind::Input => 3,
        ErrorKind::NotAContainer => 4,
        ErrorKind::Unsupported => 5,
        ErrorKind::Damaged => DAMAGED,
        ErrorKind::TargetExists => 7,
        ErrorKind::Output => 8,
        ErrorKind::NoSpace => 9,
        ErrorKind::InputChanged => 10,
        ErrorKind::Locked => 11,
        ErrorKind::NoUring => 12,
        ErrorKind::NotResumable => 13,
        ErrorKind::Refused => 14,
        ErrorKind::Unexpected => 15,
        ErrorKind::Differs => DIFFERS,
        ErrorKind::Internal => DEFECT,
        ErrorKind::Suspended => SUSPENDED,
        // As a shell reports a death by SIGPIPE.
        ErrorKind::OutputClosed => 141,
        _ => FAILURE,
    }
}
