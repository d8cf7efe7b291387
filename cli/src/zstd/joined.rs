//! Several files into one output. Packed, they become one container of what they hold, one after
//! the other, as unpacking zstd's several frames gives it. Unpacked, what they hold stands in the
//! same order.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ringpack::Cancel;
use ringpack::foreign::{self, ForeignOptions};
use ringpack::pack::{Codec, Input, Output, PackOptions, pack};
use ringpack::ring::os::OsDisk;
use ringpack::ring::stream::PipeEnd;

use ringpack::escape::shown;

use super::asking::{ask, can_ask, is_in_the_way};
use super::flags::{Flags, Mode};
use super::translate::{level, threads, window_bytes};
use crate::commands::refuse_as_input;
use crate::exit::{FAILURE, Failure};
use crate::names;
use crate::signals::Signals;
use crate::streams::{self, InOrder, standard_input, standard_output};

/// What the files together are called in messages.
const FILES: &str = "the files";

/// Packs or unpacks them; the code tells whether one couldn't be opened.
pub(super) fn join(files: &[PathBuf], flags: &Flags, signals: &Signals) -> Result<u8, Failure> {
    let cancel = signals.cancel();
    let mut replace = flags.force;
    let output = match flags.output_file() {
        Some(path) if !names::is_standard_output(path) => {
            refuse_as_input(path, files)?;
            replace = may_write(path, files, flags)?;
            match streams::in_order(path, flags.force, cancel)? {
                Some(file) => Output::Stream(file),
                None => Output::Path(path.to_owned()),
            }
        }
        _ => Output::Stream(standard_output(flags.force || flags.to_stdout())?),
    };
    let (mut code, mut opened) = (0, Vec::new());
    for path in files {
        match open(path, cancel) {
            Ok(file) => opened.push(file),
            // Nothing is made of the others alone: a stream that is meant has no name to be wrong.
            Err(failure) if names::is_standard_stream(path) => return Err(failure),
            Err(failure) => code = code.max(failure.say(signals)).min(FAILURE),
        }
    }
    let broken = |error| Failure::Other(format!("cannot make a pipe: {error}"));
    let (from, mut to) = io::pipe().map_err(broken)?;
    let stop = cancel.clone();
    let reading = std::thread::spawn(move || {
        let copied = opened.iter_mut().try_for_each(|file| io::copy(file, &mut to).map(drop));
        if copied.as_ref().is_err_and(|error| !is_broken(error)) {
            // Before the pipe is closed, which would be taken for the end of it all.
            stop.cancel();
        }
        copied
    });
    let from = fs::File::from(OwnedFd::from(from));
    let done = match flags.mode {
        Mode::Decompress => unpacked(from, output, replace, flags, cancel),
        _ => packed(from, output, replace, flags, cancel),
    };
    // The pipe's other end is closed by now, so it doesn't wait.
    let read = reading.join();
    match (done, read) {
        // The pipe broke because the job failed, and that says why.
        (Err(error), Ok(Err(read))) if is_broken(&read) => Err(error),
        (Ok(()), Ok(Ok(()))) => Ok(code),
        (Err(error), _) if !cancel.is_cancelled() || signals.received().is_some() => Err(error),
        (_, Ok(Err(error))) => Err(Failure::Other(format!("cannot read the files: {error}"))),
        _ => Err(Failure::Other("the files could not be read".to_owned())),
    }
}

/// Whether one file may take the place of what is there, and of several names: both are asked for
/// with -f, or of whoever can be asked.
fn may_write(output: &Path, files: &[PathBuf], flags: &Flags) -> Result<bool, Failure> {
    if flags.force {
        return Ok(true);
    }
    if !can_ask(files, flags) {
        let what = "several files would become one, without their names: say -f if that is meant";
        return Err(Failure::Usage(what.to_owned()));
    }
    ask("several files become one, without their names; go on")?;
    let is_there = is_in_the_way(output);
    if is_there {
        ask(&format!("{} already exists; overwrite", shown(output)))?;
    }
    Ok(is_there)
}

fn open(path: &Path, cancel: &Cancel) -> Result<Box<dyn Read + Send>, Failure> {
    let failed = |error| Failure::Other(format!("{}: cannot open: {error}", shown(path)));
    if names::is_standard_stream(path) {
        let stream = PipeEnd::new(standard_input()?, cancel).map_err(failed)?;
        return Ok(Box::new(InOrder(stream)));
    }
    Ok(Box::new(fs::File::open(path).map_err(failed)?))
}

fn packed(
    from: fs::File,
    output: Output,
    replace: bool,
    flags: &Flags,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let options = PackOptions {
        codec: Codec::Zstd(level(flags)),
        replace,
        checkpoints: None,
        threads: Some(threads(flags) as usize).filter(|&count| count > 0),
        ..PackOptions::default()
    };
    let input = Input::Stream(from, FILES.to_owned());
    pack(&OsDisk, input, output, &options, cancel)?;
    Ok(())
}

/// Frames of several files are those of one file, too.
fn unpacked(
    from: fs::File,
    output: Output,
    replace: bool,
    flags: &Flags,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let mut options = ForeignOptions {
        replace,
        threads: Some(threads(flags) as usize).filter(|&count| count > 0),
        ..ForeignOptions::default()
    };
    if let Some(bytes) = window_bytes(flags)? {
        options.window_bytes_max = bytes;
    }
    let output = match output {
        Output::Path(path) => foreign::Output::Path(path),
        Output::Stream(file) => foreign::Output::Stream(file),
    };
    let input = foreign::Input::Stream(from, FILES.to_owned());
    foreign::unpack(&OsDisk, input, output, &options, cancel)?;
    Ok(())
}

fn is_broken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
