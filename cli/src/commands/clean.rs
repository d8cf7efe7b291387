//! `ringpack clean`.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use ringpack::commit::clean::{Fate, clean};
use ringpack::ring::os::OsDisk;

use crate::args;
use crate::exit::{FAILURE, Failure};
use crate::message;
use crate::remedy::remedied;
use crate::size::human;

pub(crate) fn run(args: &args::Clean) -> Result<ExitCode, Failure> {
    let mut failed = false;
    for directory in &args.directories {
        match clean(&OsDisk, directory, !args.dry_run) {
            Ok(found) => {
                for leftover in found {
                    let name = directory.join(&leftover.name);
                    let what = match leftover.fate {
                        Fate::Removed => "removed",
                        Fate::Stale => "would remove",
                        Fate::InUse => "in use, kept",
                        Fate::Failed(why) => {
                            message::error(&format!(
                                "{}: cannot be removed: {why}",
                                name.display()
                            ));
                            failed = true;
                            continue;
                        }
                    };
                    let size = human(leftover.allocated);
                    let resumable = match leftover.resumable_bytes {
                        Some(bytes) => format!(", {} of its input packed", human(bytes)),
                        None => String::new(),
                    };
                    let line = format!("{what}: {} ({size}{resumable})\n", name.display());
                    // What was done stays done, though nobody reads of it.
                    let _ = stdout().write_all(line.as_bytes());
                }
            }
            // The others are cleaned all the same.
            Err(error) => {
                message::error(&remedied(&error).to_string());
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}
