//! The standard streams as files, and outputs that are written in order: pipes, FIFOs, devices.
//!
//! All that this program reads from standard input and writes to standard output comes through
//! here. The standard library's own handles ignore a closed stream, and lose what a stream that is
//! set not to block has no room for.

use std::fs;
use std::io::{self, IsTerminal, Read, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringpack::escape::shown;
use ringpack::ring::stream::PipeEnd;
use ringpack::{Cancel, Error, ErrorKind};
use rustix::fs::{Mode, OFlags};

use crate::exit::Failure;
use crate::inherited::{Stream, is_closed};
use crate::job::STANDARD_OUTPUT;
use crate::names;

/// What standard input is called in messages.
pub(crate) const STANDARD_INPUT: &str = "standard input";
/// How long to wait for a FIFO's reader before asking again whether it came.
const READER_POLL: Duration = Duration::from_millis(20);

/// Standard input as a file.
pub(crate) fn standard_input() -> Result<fs::File, Error> {
    refuse_closed(Stream::Input)?;
    duplicate(stdin().as_fd())
}

/// Standard output as a file, unless it is a terminal: what these commands write is no text.
pub(crate) fn standard_output(force: bool) -> Result<fs::File, Failure> {
    refuse_closed(Stream::Output)?;
    if stdout().is_terminal() && !force {
        let what = "standard output is a terminal: redirect it, or insist with --force (-f)";
        return Err(Failure::Usage(what.to_owned()));
    }
    Ok(duplicate(stdout().as_fd())?)
}

/// Refuses a stream that was closed before the program started (CS1).
pub(crate) fn refuse_closed(stream: Stream) -> Result<(), Error> {
    if !is_closed(stream) {
        return Ok(());
    }
    let (kind, name, hint) = match stream {
        Stream::Input => {
            let hint = "name a file, or redirect standard input (</dev/null for an empty one)";
            (ErrorKind::Input, STANDARD_INPUT, hint)
        }
        Stream::Output => {
            let hint = "write to a file with --output (-o), or redirect standard output";
            (ErrorKind::Output, STANDARD_OUTPUT, hint)
        }
    };
    Err(Error::new(kind, "is closed").at(name).hint(hint))
}

/// Whether text on standard output may have colours: see no-color.org.
pub(crate) fn is_coloured() -> bool {
    let is_set = |name, value: &str| std::env::var_os(name).is_some_and(|found| found == value);
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stdout().is_terminal() && !no_color && !is_set("TERM", "dumb")
}

/// Standard output for text. It waits for room where the stream is set not to block.
#[derive(Debug)]
pub(crate) struct Text(fs::File);

impl Text {
    /// Opens it.
    pub(crate) fn new() -> Result<Self, Error> {
        refuse_closed(Stream::Output)?;
        Ok(Self(duplicate(stdout().as_fd())?))
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_waiting(&self.0, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all of it. Where the descriptor is set not to block, as by another program that shares
/// it, this waits for room.
pub(crate) fn write_waiting(mut to: impl Write + AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut fds, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Why a message for programs didn't reach standard output, the first time that one didn't.
static LOST: Mutex<Option<Error>> = Mutex::new(None);

/// Writes a message to standard output. That it can't be written is told at the end
/// ([`lost_message`]): the job goes on.
pub(crate) fn tell(text: &str) {
    let told = Text::new().and_then(|mut out| out.write_all(text.as_bytes()).map_err(unwritable));
    if let Err(error) = told {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Why messages for programs are missing, if any is.
pub(crate) fn lost_message() -> Option<Error> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Standard input, or a file that is read in order. It waits where the descriptor is set not to
/// block.
#[derive(Debug)]
pub(crate) struct InOrder(pub(crate) PipeEnd);

impl Read for InOrder {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let cancelled = || io::Error::other("the job was cancelled");
        self.0.read_full(bytes)?.ok_or_else(cancelled)
    }
}

/// The output at `path`, opened, where it is one that is written in order: a FIFO or a character
/// device. `None` where it is anything else, which is written whole or not at all.
pub(crate) fn in_order(
    path: &Path,
    force: bool,
    cancel: &Cancel,
) -> Result<Option<fs::File>, Failure> {
    if !is_in_order(path) {
        return Ok(None);
    }
    let failed = |error| Error::from_io(ErrorKind::Output, "cannot open", error).at(path);
    // Without blocking: a FIFO's reader may never come, and the job may be cancelled meanwhile.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => break fs::File::from(file),
            Err(error) if error.raw_os_error() == Errno::ENXIO as i32 && is_fifo(path) => {
                if cancel.is_cancelled() {
                    return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled").into());
                }
                std::thread::sleep(READER_POLL);
            }
            Err(error) => return Err(failed(error.into()).into()),
        }
    };
    if file.is_terminal() && !force {
        let what = "is a terminal: name another output, or insist with --force (-f)";
        return Err(Failure::Usage(format!("{}: {what}", shown(path))));
    }
    Ok(Some(file))
}

/// Whether what has the name is written in order.
pub(crate) fn is_in_order(path: &Path) -> bool {
    is_fifo(path) || fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device())
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

/// Standard output couldn't be written.
pub(crate) fn unwritable(error: io::Error) -> Error {
    Error::from_io(ErrorKind::Output, "cannot write", error).at(STANDARD_OUTPUT)
}

/// A standard stream as a file of its own, which may be closed.
pub(crate) fn duplicate(fd: impl AsFd) -> Result<fs::File, Error> {
    let failed =
        |error| Error::from_io(ErrorKind::Output, "cannot use the standard streams", error);
    fd.as_fd().try_clone_to_owned().map(fs::File::from).map_err(failed)
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
