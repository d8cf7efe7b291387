//! `bench-growth FOLDER OUT`: how cost grows with the content, and with the number of chunks: time,
//! memory, length of the index, the time from the last byte to a durable container, and going on
//! after being killed half way.
//!
//! The content comes out of a pipe, made as it is read, so that the disk holds the container alone;
//! it compresses to about a twentieth, so that the disk needn't be large either. Each job runs in a
//! process of its own, for its peak of memory.

mod job;
mod stream;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use nix::sys::statvfs::statvfs;
use ringpack_benches::place::Place;
use ringpack_benches::run::run;

use job::{Kind, Told};
use table::{Row, draw, print};

/// Measures how cost grows with the content, and with the number of chunks.
#[derive(Debug, Parser)]
#[command(name = "bench-growth", max_term_width = 100)]
struct Args {
    /// Folder on the disk to measure; it needs room for an eighth of the largest content
    folder: PathBuf,
    /// Folder for tables and plots
    out: PathBuf,
    /// Lengths of content in chunks of 1 MiB, in MiB
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1024,4096,16384,65536")]
    mebibytes: Vec<u64>,
    /// Numbers of chunks of 64 KiB
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1,10,100,1000,10000,100000,1000000"
    )]
    chunks: Vec<u64>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((flag, rest)) if flag == job::FLAG => job::run(rest),
        _ => measure(&Args::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-growth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> io::Result<()> {
    fs::create_dir_all(&args.out)?;
    let place = Place::new(&args.folder, false)?;
    let wished = |bytes: &[u64]| bytes.windows(2).all(|pair| pair[0] < pair[1]);
    if !wished(&args.mebibytes) || !wished(&args.chunks) {
        return Err(io::Error::other("lengths and numbers are given in ascending order"));
    }
    let mut sizes = Vec::new();
    for &mebibytes in &args.mebibytes {
        sizes.extend(row(&place, mebibytes << 20, 20)?);
    }
    print(&sizes, &args.out.join("growth-size.md"))?;
    draw(&sizes, "length of the content, MiB", &args.out, "growth-size", |row| row.bytes >> 20)?;
    let mut chunks = Vec::new();
    for &count in &args.chunks {
        chunks.extend(row(&place, count << 16, 16)?);
    }
    print(&chunks, &args.out.join("growth-chunks.md"))?;
    draw(&chunks, "chunks of 64 KiB", &args.out, "growth-chunks", |row| row.bytes >> 16)
}

/// What content of that length takes; `None` where there is no room for it.
fn row(place: &Place, bytes: u64, chunk_log2: u8) -> io::Result<Option<Row>> {
    let space = statvfs(&place.path(""))?;
    let free = space.blocks_available() * space.fragment_size();
    if free < bytes / 8 + (256 << 20) {
        eprintln!("left out: {} MiB of content: {} MiB are free", bytes >> 20, free >> 20);
        return Ok(None);
    }
    eprintln!("{} MiB in chunks of {} KiB: pack", bytes >> 20, (1u32 << chunk_log2) >> 10);
    let job = |kind: Kind| -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([job::FLAG, kind.name(), &bytes.to_string(), &chunk_log2.to_string()]);
        command.arg(place.path(""));
        Ok(command)
    };
    place.settle(&[], &[job::OUT])?;
    let spent = run(&mut job(Kind::Pack)?)?;
    let packed = told(place)?;
    let mut row = Row { bytes, chunk_log2, pack: spent, packed, resume: None };
    place.settle(&[], &[job::OUT])?;
    if bytes >= job::HALVED_MIN {
        eprintln!("{} MiB: killed half way, and gone on with", bytes >> 20);
        let killed = job(Kind::Half)?.stdin(Stdio::null()).status()?;
        if killed.success() || killed.code().is_some() {
            return Err(io::Error::other(format!("the job wasn't killed: {killed}")));
        }
        place.settle(&[], &[])?;
        let spent = run(&mut job(Kind::Resume)?)?;
        row.resume = Some((spent, told(place)?));
    }
    place.remove(&[job::OUT])?;
    Ok(Some(row))
}

fn told(place: &Place) -> io::Result<Told> {
    let path: &Path = &place.path(job::TOLD);
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
