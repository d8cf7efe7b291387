//! How the program ends: exit codes, and the one line that says why.

use std::process::ExitCode;

use ringpack::ErrorKind;

use crate::message;
use crate::remedy::remedied;
use crate::signals::Signals;
use crate::size::human;

/// Any failure without a code of its own.
pub(crate) const FAILURE: u8 = 1;
/// Wrong arguments; clap's own code too.
pub(crate) const USAGE: u8 = 2;
/// The container is damaged.
pub(crate) const DAMAGED: u8 = 6;

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
}

impl From<ringpack::Error> for Failure {
    fn from(error: ringpack::Error) -> Self {
        Self::Engine(error)
    }
}

impl Failure {
    /// Says why, and gives the code.
    pub(crate) fn report(&self, signals: &Signals) -> ExitCode {
        let code = match self {
            Self::Engine(error) => return Self::engine(error, signals),
            Self::Resumable(error, command) => {
                let Some(bytes) = error.resumable_bytes() else {
                    return Self::engine(error, signals);
                };
                message::error(&error.to_string());
                let covered = human(bytes);
                message::note(&format!("{covered} of the input are packed and kept; go on with:"));
                message::note(&format!("  {command}"));
                match (error.kind(), signals.received()) {
                    (ErrorKind::Cancelled, Some(signal)) => 128 + signal,
                    _ => code(error.kind()),
                }
            }
            Self::Usage(what) => {
                message::error(what);
                USAGE
            }
            Self::Other(what) => {
                message::error(what);
                FAILURE
            }
        };
        ExitCode::from(code)
    }

    fn engine(error: &ringpack::Error, signals: &Signals) -> ExitCode {
        // Stopped by a signal: the shell's code for it, and its silence.
        if let (ErrorKind::Cancelled, Some(signal)) = (error.kind(), signals.received()) {
            return ExitCode::from(128 + signal);
        }
        if error.kind() != ErrorKind::OutputClosed {
            message::error(&remedied(error).to_string());
        }
        ExitCode::from(code(error.kind()))
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
        ErrorKind::Suspended => SUSPENDED,
        // As a shell reports a death by SIGPIPE.
        ErrorKind::OutputClosed => 141,
        _ => FAILURE,
    }
}
