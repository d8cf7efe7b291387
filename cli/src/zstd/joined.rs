//! Several files packed into one output: one container of what they hold, one after the other, as
//! unpacking zstd's several frames gives it.

use std::fs;
use std::io::{self, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use ringpack::escape::shown;
use ringpack::pack::{Codec, Input, Output, PackOptions, pack as pack_container};
use ringpack::ring::os::OsDisk;

use super::flags::Flags;
use super::translate::level;
use crate::exit::{FAILURE, Failure};
use crate::names;
use crate::signals::Signals;
use crate::streams::{duplicate, standard_output};

/// Packs them; the code tells whether one couldn't be opened.
pub(super) fn pack(files: &[PathBuf], flags: &Flags, signals: &Signals) -> Result<u8, Failure> {
    let output = match &flags.output {
        Some(path) if !names::is_standard_stream(path) => {
            if !flags.force {
                let what = "several files would become one, without their names: say -f if that \
                            is meant";
                return Err(Failure::Usage(what.to_owned()));
            }
            Output::Path(path.clone())
        }
        _ => Output::Stream(standard_output(flags.force || flags.stdout)?),
    };
    let mut code = 0;
    let mut opened = Vec::new();
    for path in files {
        let file = if names::is_standard_stream(path) {
            duplicate(stdin().as_fd())
        } else {
            fs::File::open(path)
                .map_err(|error| Failure::Other(format!("{}: cannot open: {error}", shown(path))))
        };
        match file {
            Ok(file) => opened.push(file),
            Err(failure) => code = code.max(failure.say(signals)).min(FAILURE),
        }
    }
    let broken = |error| Failure::Other(format!("cannot make a pipe: {error}"));
    let (from, mut to) = io::pipe().map_err(broken)?;
    let options = PackOptions {
        codec: Codec::Zstd(level(flags)),
        replace: flags.force,
        checkpoints: None,
        threads: flags.threads.filter(|&count| count > 0).map(|count| count as usize),
        ..PackOptions::default()
    };
    let cancel = signals.cancel();
    let stop = cancel.clone();
    let reading = std::thread::spawn(move || {
        let copied = opened.iter().try_for_each(|mut file| io::copy(&mut file, &mut to).map(drop));
        if copied.as_ref().is_err_and(|error| !is_broken(error)) {
            // Before the pipe is closed, which would be taken for the end of it all.
            stop.cancel();
        }
        copied
    });
    let input = Input::Stream(fs::File::from(OwnedFd::from(from)), "the files".to_owned());
    let packed = pack_container(&OsDisk, input, output, &options, cancel);
    // The pipe's other end is closed by now, so it doesn't wait.
    let read = reading.join();
    match (packed, read) {
        // The pipe broke because packing failed, and that says why.
        (Err(error), Ok(Err(read))) if is_broken(&read) => Err(error.into()),
        (Ok(_), Ok(Ok(()))) => Ok(code),
        (Err(error), _) if !cancel.is_cancelled() || signals.received().is_some() => {
            Err(error.into())
        }
        (_, Ok(Err(error))) => Err(Failure::Other(format!("cannot read the files: {error}"))),
        _ => Err(Failure::Other("the files could not be read".to_owned())),
    }
}

fn is_broken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
