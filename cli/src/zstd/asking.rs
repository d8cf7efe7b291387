//! Asking before something is replaced. As with zstd, the answer comes from standard input, which
//! need be no terminal: `yes | ringzstd FILE`. Without an answer it is no.

use std::io::{BufRead, Write, stderr, stdin};
use std::path::{Path, PathBuf};

use super::flags::Flags;
use crate::exit::Failure;
use crate::inherited::{Stream, is_closed};
use crate::message;
use crate::names;

/// Whether somebody can be asked: not where little is to be said, nor where standard input is read.
pub(super) fn can_ask(files: &[PathBuf], flags: &Flags) -> bool {
    flags.quiet == 0
        && !is_closed(Stream::Input)
        && !files.iter().any(|file| names::is_standard_stream(file))
}

/// Whether something is there that is replaced only if that is asked for.
pub(super) fn is_in_the_way(target: &Path) -> bool {
    target.is_file()
}

/// Asks whether to go on.
pub(super) fn ask(question: &str) -> Result<(), Failure> {
    let _ = write!(stderr(), "{question} (y/n)? ");
    let mut answer = String::new();
    let _ = stdin().lock().read_line(&mut answer);
    if answer.starts_with(['y', 'Y']) {
        return Ok(());
    }
    message::note("not overwritten");
    Err(Failure::Said)
}
