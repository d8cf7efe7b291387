//! `bench-plot CSV SVG`: draws what `peers.sh` measured: for each command a bar, as long as its
//! speed beside ringpack's at the same job.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use ringpack_benches::plot::{Bar, draw_bars};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [csv, svg] = args.as_slice() else {
        eprintln!("usage: bench-plot CSV SVG");
        return ExitCode::from(2);
    };
    match draw(csv, Path::new(svg)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-plot: {csv}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(csv: &str, svg: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(csv)?;
    let mut bars = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [job, command, .., speed, _] = fields.as_slice() else {
            return Err(format!("not a row: {line}").into());
        };
        bars.push(Bar {
            group: (*job).to_owned(),
            name: (*command).to_owned(),
            value: speed.parse()?,
        });
    }
    draw_bars("Speed beside ringpack's at the same job", &bars, svg)
}
