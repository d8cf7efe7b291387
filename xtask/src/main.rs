//! The workspace's own chores, run as `cargo run -p xtask -- <chore>`.
//!
//! They are Rust programs without dependencies, so that a fresh clone can run them before
//! anything else is built, and a contributor needs no further tool.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod gate;
mod planted;
mod tidy;

use gate::By;

const USAGE: &str = "\
usage: cargo run -p xtask -- tidy | planted | gate REVISION [--counts] | gate-planted [--counts]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => run_tidy(),
        ["planted"] => ended("planted", planted::run(&root())),
        ["gate", revision] => ended("gate", gate::run(&root(), revision, By::Time)),
        ["gate", revision, "--counts"] => ended("gate", gate::run(&root(), revision, By::Counts)),
        ["gate-planted"] => ended("gate", gate::run_planted(&root(), By::Time)),
        ["gate-planted", "--counts"] => ended("gate", gate::run_planted(&root(), By::Counts)),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// The code of a chore, or the error that it ended with, said.
fn ended(chore: &str, code: Result<ExitCode, impl Display>) -> ExitCode {
    code.unwrap_or_else(|error| {
        eprintln!("{chore}: {error}");
        ExitCode::FAILURE
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Lists every offence on standard output, one a line, and fails if there is any.
fn run_tidy() -> ExitCode {
    let tree = match tidy::Tree::read(&root()) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("tidy: {error}");
            return ExitCode::FAILURE;
        }
    };
    let offences = tidy::check(&tree);
    for offence in &offences {
        println!("{offence}");
    }
    eprintln!("tidy: {} sources, {} offences", tree.sources.len(), offences.len());
    if offences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
