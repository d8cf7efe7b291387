//! Which files are meant: those named, listed, or in directories. Links that are named or found in
//! a directory are left out unless forced; those in a list are taken.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, stdin};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use ringpack::escape::shown;

use super::flags::{Flags, Mode, a_file};
use crate::exit::{FAILURE, Failure};
use crate::message;
use crate::names;

/// Names of files that are compressed already, by what they end with: those that zstd passes over.
const COMPRESSED: [&str; 9] =
    [".zst", ".tzst", ".gz", ".tgz", ".lzma", ".xz", ".txz", ".lz4", ".tlz4"];

/// The files, standard input where none is named. What isn't taken is said, and leaves its mark on
/// the code, where zstd does so.
pub(super) fn chosen(flags: &mut Flags, code: &mut u8) -> Result<Vec<PathBuf>, Failure> {
    let named = std::mem::take(&mut flags.files);
    let count = named.len();
    let mut paths: Vec<PathBuf> =
        named.into_iter().filter(|path| !is_link_left_out(path, flags)).collect();
    if paths.is_empty() && count > 0 {
        *code = FAILURE;
        return Ok(paths);
    }
    for list in &flags.lists {
        paths.extend(listed(list)?);
    }
    if paths.is_empty() {
        if flags.mode == Mode::List {
            return Err(Failure::Usage("-l needs a file: a pipe isn't listed".to_owned()));
        }
        paths.push("-".into());
    }
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() && flags.recursive {
            descend(&path, &mut Vec::new(), flags, &mut files, code);
        } else {
            take(path, flags, &mut files, code);
        }
    }
    if flags.mode == Mode::Compress && flags.exclude_compressed {
        files.retain(|path| !is_compressed(path));
    }
    let reads_stdin = files.iter().any(|path| names::is_standard_stream(path));
    if reads_stdin && flags.mode == Mode::List {
        return Err(Failure::Usage("-l needs files: a pipe isn't listed".to_owned()));
    }
    if reads_stdin && stdin().is_terminal() && !flags.force {
        let what = "standard input is a terminal: name a file, or read it with -f";
        return Err(Failure::Usage(what.to_owned()));
    }
    Ok(files)
}

/// The names in a list, one a line.
fn listed(list: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |why: String| Failure::Other(format!("{}: {why}", shown(list)));
    if !fs::metadata(list).map_err(|error| failed(error.to_string()))?.is_file() {
        return Err(failed("is no regular file, so no list of names".to_owned()));
    }
    let text = fs::read(list).map_err(|error| failed(error.to_string()))?;
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let names: Vec<PathBuf> =
        lines.map(|line| a_file(&OsString::from_vec(line.to_vec()))).collect();
    if names.is_empty() {
        return Err(failed("lists no names".to_owned()));
    }
    Ok(names)
}

fn is_link_left_out(path: &Path, flags: &Flags) -> bool {
    let is_link = !flags.force
        && !names::is_standard_stream(path)
        && path.is_symlink()
        && !fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    if is_link {
        message::warning(&format!("{}: is a symbolic link, ignored without -f", shown(path)));
    }
    is_link
}

/// Takes a file if it is of a kind that is read.
fn take(path: PathBuf, flags: &Flags, files: &mut Vec<PathBuf>, code: &mut u8) {
    let found = fs::metadata(&path).map(|found| found.file_type());
    let ignored = match found {
        _ if names::is_standard_stream(&path) => None,
        Ok(found) if found.is_dir() => Some("is a directory, ignored without -r"),
        Ok(found) if found.is_block_device() && !flags.force => {
            Some("is a block device, ignored without -f")
        }
        Ok(found) if found.is_char_device() || found.is_socket() => {
            Some("is no regular file, ignored")
        }
        // What isn't there is found out when it is opened.
        _ => None,
    };
    match ignored {
        None => files.push(path),
        Some(why) => {
            message::error(&format!("{}: {why}", shown(&path)));
            *code = FAILURE;
        }
    }
}

/// Takes the files in a directory and those below it, by name. `above` are the directories that it
/// is in, so that links don't lead in circles.
fn descend(
    folder: &Path,
    above: &mut Vec<(u64, u64)>,
    flags: &Flags,
    files: &mut Vec<PathBuf>,
    code: &mut u8,
) {
    let identity = fs::metadata(folder).map(|found| (found.dev(), found.ino()));
    let entries = identity.and_then(|identity| {
        let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        Ok((identity, entries))
    });
    let (identity, mut entries) = match entries {
        Ok(entries) => entries,
        Err(error) => {
            message::error(&format!("{}: {error}", shown(folder)));
            *code = FAILURE;
            return;
        }
    };
    if above.contains(&identity) {
        return;
    }
    above.push(identity);
    entries.sort_by_key(fs::DirEntry::file_name);
    for path in entries.iter().map(fs::DirEntry::path) {
        if is_link_left_out(&path, flags) {
            continue;
        }
        if path.is_dir() {
            descend(&path, above, flags, files, code);
        } else {
            take(path, flags, files, code);
        }
    }
    above.pop();
}

fn is_compressed(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    COMPRESSED.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix.as_bytes()))
}
