//! `bench-run TOLD COMMAND [ARG]…`: runs a command, and writes what it took to the file TOLD, as
//! JSON: seconds by the clock, seconds of processor time, peak of memory in bytes. Its exit code is
//! the command's.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use nix::sys::signal::{SigSet, Signal};
use ringpack_benches::run::run_here;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [told, program, args @ ..] = args.as_slice() else {
        eprintln!("usage: bench-run TOLD COMMAND [ARG]...");
        return ExitCode::from(2);
    };
    // Ctrl-C is the command's to answer, which may have something to clean away.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    let done = interrupt
        .thread_block()
        .map_err(std::io::Error::from)
        .and_then(|()| run_here(Command::new(program).args(args)))
        .and_then(|(status, spent)| {
            std::fs::write(told, serde_json::to_vec(&spent)?).map(|()| status)
        });
    match done {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().map_or(1, |code| code.clamp(1, 255) as u8)),
        Err(error) => {
            eprintln!("bench-run: {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}
