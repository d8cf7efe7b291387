//! `ringpack`: packs big data into one compressed, checksummed, seekable container.
//!
//! The engine does the work and never prints; this program talks to people. It knows arguments,
//! names of files, messages and exit codes, and nothing of the format.

mod args;
mod commands;
mod exit;
mod job;
mod json;
mod log;
mod message;
mod metrics;
mod names;
mod producer;
mod progress;
mod quoting;
mod remedy;
mod sandbox;
mod signals;
mod size;
mod streams;
mod tar_stream;
mod tree;
mod zstd;

use std::process::ExitCode;

fn main() -> ExitCode {
    let as_zstd = zstd::invoked(std::env::args_os());
    let args = as_zstd.is_none().then(|| args::parse(std::env::args_os()));
    let runs_a_program = matches!(&args, Some(Ok(args)) if args.command.runs_a_program());
    if !runs_a_program {
        // Before any other thread is started: they inherit it.
        let _ = nix::sys::prctl::set_no_new_privs();
    }
    let signals = match signals::Signals::watch() {
        Ok(signals) => signals,
        Err(error) => {
            message::error(&format!("cannot watch for signals: {error}"));
            return ExitCode::from(exit::FAILURE);
        }
    };
    if let Some(invocation) = as_zstd {
        return invocation.run(&signals);
    }
    let args = match args.expect("parsed, unless zstd's flags were given") {
        Ok(args) => args,
        Err(error) => {
            let error = args::shown(error);
            // Help and version go to standard output with code 0, mistakes to standard error with
            // 2.
            let code = error.exit_code() as u8;
            if code == exit::USAGE && std::env::args_os().any(|arg| arg == "--json") {
                message::speak(message::Form::Json);
                let text = error.render().to_string();
                message::json(&message::Failed::other("usage", text.trim_end(), Some(code)));
            } else {
                let _ = error.print();
            }
            return ExitCode::from(code);
        }
    };
    match commands::run(args, &signals) {
        Ok(code) => code,
        Err(failure) => failure.report(&signals),
    }
}
