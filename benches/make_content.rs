//! `bench-content FILE MEBIBYTES`: writes content to measure with, the same each time.

use std::fs::File;
use std::process::ExitCode;

use ringpack_benches::place::write_content;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, mebibytes] = args.as_slice() else {
        eprintln!("usage: bench-content FILE MEBIBYTES (- is standard output)");
        return ExitCode::from(2);
    };
    let Ok(mebibytes) = mebibytes.parse::<u32>() else {
        eprintln!("bench-content: {mebibytes}: no number of MiB");
        return ExitCode::from(2);
    };
    let size = u64::from(mebibytes) << 20;
    let written = match file.as_str() {
        "-" => write_content(&mut std::io::stdout().lock(), size),
        file => File::create(file).and_then(|mut file| write_content(&mut file, size)),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-content: {file}: {error}");
            ExitCode::FAILURE
        }
    }
}
