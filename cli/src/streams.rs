//! The standard streams as files.

use std::fs;
use std::io::{self, IsTerminal, stdout};
use std::os::fd::AsFd;
use std::path::Path;

use ringpack::{Error, ErrorKind};

use crate::exit::Failure;
use crate::job::STANDARD_OUTPUT;
use crate::names;

/// Standard output as a file, unless it is a terminal: what these commands write is no text.
pub(crate) fn standard_output(force: bool) -> Result<fs::File, Failure> {
    if stdout().is_terminal() && !force {
        let what = "standard output is a terminal: redirect it, or insist with --force (-f)";
        return Err(Failure::Usage(what.to_owned()));
    }
    duplicate(stdout().as_fd())
}

/// Standard output couldn't be written.
pub(crate) fn unwritable(error: io::Error) -> Error {
    Error::from_io(ErrorKind::Output, "cannot write", error).at(STANDARD_OUTPUT)
}

/// A standard stream as a file of its own, which may be closed.
pub(crate) fn duplicate(fd: impl AsFd) -> Result<fs::File, Failure> {
    match fd.as_fd().try_clone_to_owned() {
        Ok(fd) => Ok(fs::File::from(fd)),
        Err(error) => Err(Failure::Other(format!("cannot use the standard streams: {error}"))),
    }
}

/// Refuses standard input, where a container is read at many places.
pub(crate) fn refuse_stdin(input: &Path) -> Result<(), Failure> {
    if names::is_standard_stream(input) {
        let what = "a container is read at many places, which a pipe doesn't allow: save it to a \
                    file first";
        return Err(Failure::Usage(what.to_owned()));
    }
    Ok(())
}
