//! `bench-goals FOLDER`: what ringpack is meant to reach, measured in FOLDER, in pairs of runs in
//! turn, beside what it is held against.
//!
//! A pair's ratio says more than two figures do, where a machine is faster in one minute than in
//! the next. Each goal's median ratio is printed with the least and the greatest, as a row of a
//! Markdown table; the final fsync is in both sides' times. Every run finds its input on the device
//! only, unless `--warm` is given, and no output.

mod fio;
mod many;
mod outcome;
mod peak;
mod range;
mod setting;
mod ways;
mod whole;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use outcome::Outcome;
use setting::Setting;

/// Measures what ringpack is meant to reach, in pairs of runs, beside what it is held against.
#[derive(Debug, Parser)]
#[command(name = "bench-goals", max_term_width = 100)]
struct Args {
    /// Folder on the disk to measure; it needs room for about four times the size
    folder: PathBuf,
    /// File whose first bytes are packed [default: content is made up]
    file: Option<PathBuf>,
    /// Length of the content
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = bytes)]
    size: u64,
    /// Pairs of runs a goal
    #[arg(long, value_name = "N", default_value = "5", value_parser = some())]
    pairs: u32,
    /// Only these jobs [default: all but ways]
    #[arg(long, value_name = "JOB", value_delimiter = ',')]
    only: Vec<Only>,
    /// Number of small files
    #[arg(long, value_name = "N", default_value = "10000", value_parser = some())]
    files: u32,
    /// Let runs find their input in the page cache
    #[arg(long)]
    warm: bool,
    /// The ringpack to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    ringpack: Option<PathBuf>,
    /// Write what was measured, pair by pair, as JSON
    #[arg(long)]
    json: bool,
}

/// A job of which there are goals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Only {
    /// pack -1: rate and processor time
    #[value(name = "pack-1")]
    Pack1,
    /// pack -3: rate and processor time
    #[value(name = "pack-3")]
    Pack3,
    /// pack --store
    Store,
    /// unpack
    Unpack,
    /// verify
    Verify,
    /// 4 KiB read of a container just opened
    Range,
    /// Many small files
    Small,
    /// What checkpoints cost
    Checkpoints,
    /// Peak memory at two sizes
    Memory,
    /// Other ways of doing these, against the way it is done
    Ways,
}

type Job = fn(&Setting) -> io::Result<Vec<Outcome>>;

const JOBS: [(Only, Job); 10] = [
    (Only::Pack1, |setting| whole::pack(setting, 1)),
    (Only::Pack3, |setting| whole::pack(setting, 3)),
    (Only::Store, whole::store),
    (Only::Unpack, whole::unpack),
    (Only::Verify, whole::verify),
    (Only::Range, range::range),
    (Only::Small, many::many),
    (Only::Checkpoints, whole::checkpoints),
    (Only::Memory, peak::peak),
    (Only::Ways, ways::ways),
];

/// What is reported as JSON.
#[derive(Serialize)]
struct Report<'a> {
    size: u64,
    pairs: u32,
    cores: usize,
    depth: usize,
    warm: bool,
    outcomes: &'a [Outcome],
    left_out: &'a [String],
}

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-goals: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every job could be measured.
fn measure(args: &Args) -> io::Result<bool> {
    let setting = Setting::new(args)?;
    let (mut outcomes, mut all) = (Vec::new(), true);
    if !args.json {
        println!("| job | against | ours | theirs | ratio (least to greatest) | goal | reached |");
        println!("|---|---|---|---|---|---|---|");
    }
    for (only, job) in JOBS {
        let is_wanted = match args.only.as_slice() {
            [] => only != Only::Ways,
            named => named.contains(&only),
        };
        if !is_wanted {
            continue;
        }
        match job(&setting) {
            Ok(found) => {
                if !args.json {
                    found.iter().for_each(|outcome| println!("{outcome}"));
                }
                outcomes.extend(found);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                setting.leave_out(&format!("{only:?}: {error}"));
                all = false;
            }
        }
    }
    let left_out = setting.left_out();
    if args.json {
        let Args { size, pairs, warm, .. } = *args;
        let Setting { cores, depth, .. } = setting;
        let (outcomes, left_out) = (&outcomes[..], &left_out[..]);
        let report = Report { size, pairs, cores, depth, warm, outcomes, left_out };
        serde_json::to_writer_pretty(io::stdout().lock(), &report)?;
        println!();
    }
    Ok(all)
}

/// A number that isn't 0.
fn some() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// Bytes from `123`, `64K`, `1M`, `2G`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB") {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err("ends in none of K, M, G".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "is no number of bytes".to_owned())?;
    let size = number.checked_mul(1 << shift).ok_or("is too large")?;
    match size {
        0..0x80_0000 => Err("is less than 8M".to_owned()),
        size => Ok(size),
    }
}
