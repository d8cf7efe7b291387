//! Lines on standard error. A closed standard error is no reason to fail.

use std::io::{IsTerminal, Write, stderr};

/// An error, always said.
pub(crate) fn error(text: &str) {
    let _ = writeln!(stderr(), "ringpack: {text}");
}

/// Something a person should know although it worked.
pub(crate) fn warning(text: &str) {
    let _ = writeln!(stderr(), "ringpack: warning: {text}");
}

/// What was done.
pub(crate) fn note(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// What another program says, as it is.
pub(crate) fn pass_on(bytes: &[u8]) {
    let _ = stderr().write_all(bytes);
}

/// Whether a person is watching.
pub(crate) fn is_watched() -> bool {
    stderr().is_terminal()
}
