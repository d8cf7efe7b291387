//! `ringpack clean`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringpack::commit::clean::{Fate, Leftover, clean};
use ringpack::escape::shown;
use ringpack::ring::os::OsDisk;
use ringpack::{Error, ErrorKind};
use serde::Serialize;

use super::report::{json, print};
use crate::args;
use crate::exit::{FAILURE, Failure};
use crate::message;
use crate::remedy::remedied;
use crate::size::human;
use crate::streams;
use crate::tree::strays::{self, Kinds, sweep};

/// What was cleaned, for programs. Sizes are in bytes.
#[derive(Serialize)]
struct Cleaned {
    dry_run: bool,
    leftovers: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    path: String,
    fate: &'static str,
    allocated: u64,
    resumable_bytes: Option<u64>,
    why: Option<String>,
}

pub(crate) fn run(args: &args::Clean) -> Result<ExitCode, Failure> {
    let mut failed = false;
    let mut leftovers = Vec::new();
    let mut directories: Vec<PathBuf> = args.directories.iter().rev().cloned().collect();
    while let Some(directory) = directories.pop() {
        match clean(&OsDisk, &directory, !args.dry_run) {
            Ok(found) => leftovers.extend(found.into_iter().map(|left| told(&directory, left))),
            // The others are cleaned all the same.
            Err(error) => {
                message::failure(&remedied(&error), FAILURE);
                failed = true;
                continue;
            }
        }
        match below(&directory, args) {
            Ok((strays, mut below)) => {
                leftovers.extend(strays);
                // The first by name comes next.
                below.sort_by(|one, other| other.cmp(one));
                directories.extend(below);
            }
            Err(error) => {
                let error = Error::from_io(ErrorKind::Output, "cannot list the directory", error);
                message::failure(&remedied(&error.at(&directory)), FAILURE);
                failed = true;
            }
        }
        if !args.json {
            leftovers.drain(..).for_each(|left| failed |= !say(&left));
        }
    }
    failed |= leftovers.iter().any(|left| left.why.is_some());
    if args.json {
        print(&json("clean", &Cleaned { dry_run: args.dry_run, leftovers })?)?;
    }
    Ok(if failed { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}

/// What restores left that is no file, and the directories to look in next.
fn below(directory: &Path, args: &args::Clean) -> io::Result<(Vec<Told>, Vec<PathBuf>)> {
    let path = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let strays = sweep(File::open(path)?, Kinds::Directories, !args.dry_run)?;
    let told = strays.iter().map(|(name, fate)| {
        let (fate, why) = match fate {
            strays::Fate::Removed => ("removed", None),
            strays::Fate::Stale => ("stale", None),
            strays::Fate::InUse => ("in_use", None),
            strays::Fate::Failed(why) => ("failed", Some(why.clone())),
        };
        let path = directory.join(name).to_string_lossy().into_owned();
        Told { path, fate, allocated: 0, resumable_bytes: None, why }
    });
    let told = told.collect();
    let mut found = Vec::new();
    if args.recursive {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let is_stray = strays.iter().any(|(name, _)| *name == entry.file_name());
            if entry.file_type()?.is_dir() && !is_stray {
                found.push(directory.join(entry.file_name()));
            }
        }
    }
    Ok((told, found))
}

fn told(directory: &Path, left: Leftover) -> Told {
    let (fate, why) = match left.fate {
        Fate::Removed => ("removed", None),
        Fate::Stale => ("stale", None),
        Fate::InUse => ("in_use", None),
        Fate::Failed(why) => ("failed", Some(why)),
    };
    let path = directory.join(&left.name).to_string_lossy().into_owned();
    let Leftover { allocated, resumable_bytes, .. } = left;
    Told { path, fate, allocated, resumable_bytes, why }
}

/// Says it to people; whether it went well.
fn say(left: &Told) -> bool {
    if let Some(why) = &left.why {
        message::error(&format!("{}: cannot be removed: {why}", shown(&left.path)));
        return false;
    }
    let what = match left.fate {
        "removed" => "removed",
        "stale" => "would remove",
        _ => "in use, kept",
    };
    let size = human(left.allocated);
    let resumable = match left.resumable_bytes {
        Some(bytes) => format!(", {} of its input packed", human(bytes)),
        None => String::new(),
    };
    let line = format!("{what}: {} ({size}{resumable})\n", shown(&left.path));
    // The others are cleaned all the same, and the code tells that this wasn't reported.
    streams::tell(&line);
    true
}
