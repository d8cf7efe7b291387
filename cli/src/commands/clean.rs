//! `ringpack clean`.

use std::io::{Write as _, stdout};
use std::path::Path;
use std::process::ExitCode;

use ringpack::commit::clean::{Fate, Leftover, clean};
use ringpack::escape::shown;
use ringpack::ring::os::OsDisk;
use serde::Serialize;

use super::report::{json, print};
use crate::args;
use crate::exit::{FAILURE, Failure};
use crate::message;
use crate::remedy::remedied;
use crate::size::human;

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
    for directory in &args.directories {
        match clean(&OsDisk, directory, !args.dry_run) {
            Ok(found) => leftovers.extend(found.into_iter().map(|left| told(directory, left))),
            // The others are cleaned all the same.
            Err(error) => {
                message::failure(&remedied(&error), FAILURE);
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
    // What was done stays done, though nobody reads of it.
    let _ = stdout().write_all(line.as_bytes());
    true
}
