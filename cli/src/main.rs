//! `ringpack`: packs big data into one compressed, checksummed, seekable container.
//!
//! The engine does the work and never prints; this program talks to people. It knows arguments,
//! names of files, messages and exit codes, and nothing of the format.

mod args;
mod commands;
mod exit;
mod inherited;
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

use nix::sys::resource::{Resource, getrlimit};

fn main() -> ExitCode {
    let as_zstd = zstd::invoked(std::env::args_os());
    let parse = || args::parse(std::env::args_os());
    let args = as_zstd.is_none().then(|| on_a_large_stack(parse));
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
    on_a_large_stack(move || match (as_zstd, args) {
        (Some(invocation), _) => invocation.run(&signals),
        (None, args) => run(args.expect("parsed, unless zstd's flags were given"), &signals),
    })
}

/// Stack that the program may need, in bytes: most of it is for reading arguments.
const STACK_BYTES: u64 = 1 << 20;

/// Runs it, on a thread of its own where the first one's stack is limited (`ulimit -s`).
fn on_a_large_stack<T: Send + 'static>(program: impl FnOnce() -> T + Send + 'static) -> T {
    let limit = getrlimit(Resource::RLIMIT_STACK).map_or(u64::MAX, |(soft, _)| soft);
    if limit >= STACK_BYTES {
        return program();
    }
    // The standard library gives it 2 MiB, whatever the limit is.
    match std::thread::spawn(program).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn run(args: Result<args::Args, clap::Error>, signals: &signals::Signals) -> ExitCode {
    let args = match args {
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
            } else if code == 0 {
                return print(&error, signals);
            } else {
                let _ = error.print();
            }
            return ExitCode::from(code);
        }
    };
    let code = match commands::run(args, signals) {
        Ok(code) => code,
        Err(failure) => failure.report(signals),
    };
    // A program that reads the messages was told less than what happened.
    let Some(error) = streams::lost_message() else { return code };
    message::line(&format!("ringpack: {error}"));
    if code == ExitCode::SUCCESS { ExitCode::from(exit::code(error.kind())) } else { code }
}

/// Prints what was asked for in the place of a command: help, or the version.
fn print(asked: &clap::Error, signals: &signals::Signals) -> ExitCode {
    let text = asked.render();
    let text = if streams::is_coloured() { text.ansi().to_string() } else { text.to_string() };
    commands::print(&text).unwrap_or_else(|failure| failure.report(signals))
}
