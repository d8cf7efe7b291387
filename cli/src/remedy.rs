//! What to do next about an error: by this program's options, which the engine doesn't know, and by
//! what the system gave as the cause.
//!
//! An error that says it itself is left as it is: the deeper layer knows more.

use std::sync::OnceLock;

use nix::errno::Errno;
use ringpack::{Error, ErrorKind};

use crate::quoting::quoted;

/// The option by which the command names its output, if it has one.
static OUTPUT: OnceLock<&'static str> = OnceLock::new();

/// Says which option names the output, for remedies that speak of it.
pub(crate) fn output_is_named_by(option: &'static str) {
    let _ = OUTPUT.set(option);
}

/// The error with what to do next.
pub(crate) fn remedied(error: &Error) -> Error {
    step(error, OUTPUT.get().copied())
}

fn step(error: &Error, output: Option<&str>) -> Error {
    if let (Some(file), Some(target)) = (error.complete_file(), error.path()) {
        let command = format!("mv {} {}", quoted(file), quoted(target));
        let effect = match error.kind() {
            ErrorKind::TargetExists => "puts it in the place of that one",
            _ => "publishes it",
        };
        return error.again().hint(format!("the finished file is kept: {command} {effect}"));
    }
    let cause = error.raw_os_error().map(Errno::from_raw);
    let by_cause = cause.and_then(|cause| by_cause(error.kind(), cause, output));
    match by_cause.or_else(|| by_kind(error.kind(), output)) {
        Some(step) => error.again().hint(step),
        None => error.again(),
    }
}

fn by_cause(kind: ErrorKind, cause: Errno, output: Option<&str>) -> Option<String> {
    let is_input = kind == ErrorKind::Input;
    let or_another = output.map(|by| format!(", or name another output with {by}"));
    let or_another = or_another.as_deref().unwrap_or_default();
    Some(match cause {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP if is_input => "check the name".to_owned(),
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => {
            format!("make the directory first{or_another}")
        }
        Errno::EACCES | Errno::EPERM if is_input => "run as a user who may read it".to_owned(),
        Errno::EACCES | Errno::EPERM => format!("run as a user who may write there{or_another}"),
        Errno::EISDIR | Errno::ENOTEMPTY if !is_input => {
            "move the directory that has this name out of the way".to_owned()
        }
        Errno::EROFS => match output {
            Some(by) => format!("name an output on another file system with {by}"),
            None => "mount the file system for writing".to_owned(),
        },
        Errno::EMFILE | Errno::ENFILE => {
            "raise the limit on open files (ulimit -n), or use fewer threads (-T N)".to_owned()
        }
        Errno::EFBIG => {
            "raise the limit on the length of files (ulimit -f), or write to another file system"
                .to_owned()
        }
        Errno::ENAMETOOLONG => match output {
            Some(by) => format!("give a shorter name with {by}"),
            None => "give a shorter name".to_owned(),
        },
        Errno::ENOMEM => "free some memory, or use fewer threads (-T N)".to_owned(),
        Errno::EIO => "look at dmesg: the device may be failing".to_owned(),
        _ => return None,
    })
}

fn by_kind(kind: ErrorKind, output: Option<&str>) -> Option<String> {
    let step = match kind {
        ErrorKind::TargetExists => {
            let or_another = output.map(|by| format!(", or name another with {by}"));
            return Some(format!("replace it with --force (-f){}", or_another.unwrap_or_default()));
        }
        ErrorKind::InvalidOptions => "see --help for what is possible",
        ErrorKind::Input => "check the name",
        ErrorKind::InputChanged => "stop what writes to it, or pack a snapshot",
        ErrorKind::NotAContainer => "check that it is the file you mean",
        ErrorKind::Unsupported => "use a newer ringpack",
        ErrorKind::Damaged => {
            "ringpack verify tells all that is damaged; restore it from another copy"
        }
        ErrorKind::Output => "ringpack doctor DIR tells what is wrong there",
        ErrorKind::Differs => "if the source changed since it was packed, pack it again",
        ErrorKind::OutOfRange => "ringpack info tells how long the content is",
        ErrorKind::NotResumable => "pack it anew",
        ErrorKind::OutOfMemory => "free some memory, or use fewer threads (-T N) or a lower level",
        ErrorKind::Internal => "report it, with the command line",
        _ => return None,
    };
    Some(step.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn every_kind_of_error_that_people_meet_has_a_next_step() {
        for kind in [
            ErrorKind::TargetExists,
            ErrorKind::InvalidOptions,
            ErrorKind::Input,
            ErrorKind::InputChanged,
            ErrorKind::NotAContainer,
            ErrorKind::Unsupported,
            ErrorKind::Damaged,
            ErrorKind::Output,
            ErrorKind::OutOfRange,
            ErrorKind::NotResumable,
            ErrorKind::Internal,
        ] {
            let said = remedied(&Error::new(kind, "it went wrong")).to_string();
            assert!(said.starts_with("it went wrong; "), "{kind:?}: {said}");
        }
    }

    #[test]
    fn a_finished_file_is_published_by_the_command_that_is_named() {
        for (kind, effect) in [
            (ErrorKind::Output, "publishes it"),
            (ErrorKind::TargetExists, "puts it in the place of that one"),
        ] {
            let failed = Error::new(kind, "failed").at("/a b/out");
            let said = remedied(&failed.complete("/a b/out.ringpack-partial".into())).to_string();
            let command = format!("mv '/a b/out.ringpack-partial' '/a b/out' {effect}");
            assert!(said.ends_with(&command), "{said}");
        }
    }

    #[test]
    fn a_cause_is_more_than_a_kind_and_a_deeper_layer_knows_best() {
        let failed = |kind, cause: Errno| {
            Error::from_io(kind, "failed", io::Error::from_raw_os_error(cause as i32))
        };
        for (kind, cause, step) in [
            (ErrorKind::Input, Errno::ENOENT, "check the name"),
            (ErrorKind::Output, Errno::ENOENT, "make the directory"),
            (ErrorKind::Input, Errno::EACCES, "may read"),
            (ErrorKind::Output, Errno::EACCES, "may write"),
            (ErrorKind::Output, Errno::EFBIG, "ulimit -f"),
            (ErrorKind::Output, Errno::EIO, "dmesg"),
            (ErrorKind::Output, Errno::ENOSPC, "free some space"),
            (ErrorKind::Output, Errno::EXDEV, "ringpack doctor"),
        ] {
            let said = remedied(&failed(kind, cause)).to_string();
            assert!(said.contains(step), "{cause}: {said}");
        }
        let without = |kind, cause| step(&failed(kind, cause), None).to_string();
        for cause in [Errno::ENOENT, Errno::EACCES, Errno::EROFS, Errno::ENAMETOOLONG] {
            let said = without(ErrorKind::Output, cause);
            assert!(said.contains("; ") && !said.contains("with --"), "{said}");
            let by = Some("--repair-map");
            let said = step(&failed(ErrorKind::Output, cause), by).to_string();
            assert!(said.ends_with("with --repair-map"), "{said}");
        }
        let own = failed(ErrorKind::Output, Errno::EIO).hint("as it says itself");
        assert!(remedied(&own).to_string().ends_with("; as it says itself"));
    }
}
