//! `bench-content FILE MEBIBYTES`: writes content to measure with, the same each time.

use std::io::Write;
use std::process::ExitCode;

use ringpack_benches::content;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, mebibytes] = args.as_slice() else {
        eprintln!("usage: bench-content FILE MEBIBYTES (- is standard output)");
        return ExitCode::from(2);
    };
    match mebibytes.parse().map_err(|_| "no number of MiB".to_owned()).and_then(|mebibytes| {
        make(file, mebibytes).map_err(|error: std::io::Error| format!("{file}: {error}"))
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-content: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The same 64 MiB again and again: no window of the codec reaches from one to the next.
fn make(file: &str, mebibytes: usize) -> std::io::Result<()> {
    let mut out: Box<dyn Write> = match file {
        "-" => Box::new(std::io::stdout().lock()),
        file => Box::new(std::fs::File::create(file)?),
    };
    let piece = content(mebibytes.min(64) << 20);
    let mut left = mebibytes << 20;
    while left > 0 {
        let len = left.min(piece.len());
        out.write_all(&piece[..len])?;
        left -= len;
    }
    out.flush()
}
