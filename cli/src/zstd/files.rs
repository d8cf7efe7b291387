//! Which files are meant: those named, listed, or in directories; not links, unless forced.

use std::fs;
use std::io::{IsTerminal, stdin};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use ringpack::escape::shown;

use super::flags::{Flags, Mode};
use crate::exit::{FAILURE, Failure};
use crate::message;
use crate::names;

/// The files, standard input where none is named. What isn't taken is said, and leaves its mark on
/// the code, where zstd does so.
pub(super) fn chosen(flags: &mut Flags, code: &mut u8) -> Result<Vec<PathBuf>, Failure> {
    let mut named = std::mem::take(&mut flags.files);
    for list in &flags.lists {
        let name = shown(list);
        let text = fs::read(list).map_err(|error| Failure::Other(format!("{name}: {error}")))?;
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        named.extend(lines.map(|line| PathBuf::from(std::ffi::OsString::from_vec(line.to_vec()))));
    }
    if named.is_empty() && flags.lists.is_empty() {
        named.push("-".into());
    }
    let mut files = Vec::new();
    let count = named.len();
    for path in named {
        take(path, flags, &mut files, code);
    }
    if files.is_empty() && count > 0 && !flags.recursive {
        *code = FAILURE;
    }
    let reads_stdin = files.iter().any(|path| names::is_standard_stream(path));
    if reads_stdin && stdin().is_terminal() && !flags.force {
        let what = "standard input is a terminal: name a file, or read it with -f";
        return Err(Failure::Usage(what.to_owned()));
    }
    Ok(files)
}

fn take(path: PathBuf, flags: &Flags, files: &mut Vec<PathBuf>, code: &mut u8) {
    if names::is_standard_stream(&path) {
        files.push(path);
        return;
    }
    let name = shown(&path).to_string();
    let found = fs::symlink_metadata(&path).map(|found| found.file_type());
    match found {
        Ok(found) if found.is_symlink() && !flags.force && flags.mode != Mode::List => {
            let leads_to_pipe = fs::metadata(&path).is_ok_and(|found| found.file_type().is_fifo());
            if leads_to_pipe {
                files.push(path);
            } else {
                message::warning(&format!("{name} is a symbolic link, ignored without -f"));
            }
        }
        Ok(_) if path.is_dir() && flags.recursive => descend(&path, files, code),
        Ok(_) if path.is_dir() => {
            message::error(&format!("{name} is a directory, ignored without -r"));
            *code = FAILURE;
        }
        Ok(found) if found.is_block_device() && !flags.force => {
            message::error(&format!("{name} is a block device, ignored without -f"));
            *code = FAILURE;
        }
        // What isn't there is found out when it is opened.
        _ => files.push(path),
    }
}

/// The regular files in a directory and those below it, by name.
fn descend(folder: &Path, files: &mut Vec<PathBuf>, code: &mut u8) {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            message::error(&format!("{}: {error}", shown(folder)));
            *code = FAILURE;
            return;
        }
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => descend(&entry.path(), files, code),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            // A link or a device that nobody named.
            _ => {}
        }
    }
}
