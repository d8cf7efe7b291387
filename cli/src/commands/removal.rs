//! `--rm`: the source goes once its result is durable.

use std::fs;
use std::path::{Path, PathBuf};

use ringpack::escape::shown;
use ringpack::ring::file::{Disk, Status};
use ringpack::ring::os::OsDisk;

use crate::exit::Failure;
use crate::names;

/// Refuses `--rm` where nothing durable stands for a source afterwards, or where one is not a
/// regular file's own name; before anything is done.
pub(super) fn check_removable(inputs: &[PathBuf], to_stdout: bool) -> Result<(), Failure> {
    if inputs.iter().any(|input| names::is_standard_stream(input)) {
        return Err(Failure::Usage("standard input can't be removed: leave --rm out".to_owned()));
    }
    if to_stdout {
        let what = "--rm needs an output file: name one with --output (-o), or leave --rm out";
        return Err(Failure::Usage(what.to_owned()));
    }
    let other = |path: &&PathBuf| fs::symlink_metadata(path).is_ok_and(|found| !found.is_file());
    if let Some(path) = inputs.iter().find(other) {
        let name = shown(path);
        return Err(Failure::Usage(format!(
            "{name}: --rm removes only regular files: leave it out"
        )));
    }
    Ok(())
}

/// Removes a source whose result is durable by now; but only the very file that was read, and only
/// if nobody wrote to it since.
pub(super) fn remove_source(path: &Path, read: Option<Status>) -> Result<(), Failure> {
    let kept = |why: String| {
        let name = shown(path);
        Failure::Other(format!("{name}: the result is complete, but the source is kept: {why}"))
    };
    let name = path.file_name().unwrap_or_default();
    let found = OsDisk
        .directory(path.parent().unwrap_or(Path::new("")))
        .and_then(|directory| Ok((directory.status(name)?, directory)));
    let (found, directory) = found.map_err(|error| kept(error.to_string()))?;
    let same = |read: Status, found: Status| {
        (read.kind, read.identity) == (found.kind, found.identity)
            && read.change_to(&found).is_none()
    };
    if !read.zip(found).is_some_and(|(read, found)| same(read, found)) {
        return Err(kept("it was replaced or changed meanwhile".to_owned()));
    }
    directory.unlink(name).map_err(|error| kept(error.to_string()))
}
