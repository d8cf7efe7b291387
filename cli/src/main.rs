//! `ringpack`: packs big data into one compressed, checksummed, seekable container.
//!
//! The engine does the work and never prints; this program talks to people. It knows arguments,
//! names of files, messages and exit codes, and nothing of the format.

mod args;
mod commands;
mod exit;
mod message;
mod names;
mod signals;
mod size;
mod tree;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = match args::Args::try_parse_from(args::with_level_flags(std::env::args_os())) {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output with code 0, mistakes to standard error with
            // 2.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let signals = match signals::Signals::watch() {
        Ok(signals) => signals,
        Err(error) => {
            message::error(&format!("cannot watch for signals: {error}"));
            return ExitCode::from(exit::FAILURE);
        }
    };
    match commands::run(args, &signals) {
        Ok(code) => code,
        Err(failure) => failure.report(&signals),
    }
}
