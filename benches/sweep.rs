//! `bench-sweep FOLDER OUT`: the ways of writing over chunk length, threads, depth, and ways of
//! opening the file, measured in FOLDER in turn; a table and a plot of each in OUT.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use ringpack::bench::Figure;
use ringpack_benches::content;
use ringpack_benches::designs::{Design, Setup, write};
use ringpack_benches::plot::{Line, Plot, Scale};

/// Bytes a run writes, before they are encoded.
const BYTES: usize = 256 << 20;
/// Runs of each, in turn.
const ROUNDS: usize = 5;

/// What is varied: its name, and what each place of it is.
struct Sweep {
    name: &'static str,
    across: &'static str,
    places: Vec<(String, Setup)>,
}

fn sweeps() -> Vec<Sweep> {
    let of = |name, across, places| Sweep { name, across, places };
    let base =
        |chunk_len: usize| Setup { chunk_len, chunks: BYTES / chunk_len, ..Setup::default() };
    let plain = base(1 << 20);
    let chunk = |log2: usize| {
        let len = 1usize << log2;
        let name =
            if log2 < 20 { format!("{} KiB", len >> 10) } else { format!("{} MiB", len >> 20) };
        // As many bytes in flight, whatever their number of chunks.
        (name, Setup { depth: ((8 << 20) / len).clamp(2, 64), ..base(len) })
    };
    let opened = |direct, allocated| {
        let name = format!(
            "{}, {}",
            if direct { "direct" } else { "buffered" },
            if allocated { "allocated" } else { "growing" }
        );
        (name, Setup { direct, allocated, ..plain })
    };
    vec![
        of("chunk", "length of a chunk", [16, 18, 20, 22, 24].map(chunk).to_vec()),
        of(
            "threads",
            "threads that encode",
            [1, 2, 4, 8].map(|threads| (threads.to_string(), Setup { threads, ..plain })).to_vec(),
        ),
        of(
            "depth",
            "writes in flight a thread",
            [1, 2, 4, 8, 16].map(|depth| (depth.to_string(), Setup { depth, ..plain })).to_vec(),
        ),
        of(
            "opened",
            "how the file is written",
            vec![
                opened(true, true),
                opened(true, false),
                opened(false, true),
                opened(false, false),
            ],
        ),
        of(
            "codec",
            "codec",
            vec![
                ("store".to_owned(), plain),
                ("zstd -1".to_owned(), Setup { level: Some(1), ..plain }),
                ("zstd -3".to_owned(), Setup { level: Some(3), ..plain }),
            ],
        ),
    ]
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out] = args.as_slice() else {
        eprintln!("usage: bench-sweep FOLDER OUT");
        return ExitCode::from(2);
    };
    match sweeps().iter().try_for_each(|sweep| run(sweep, Path::new(folder), Path::new(out))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-sweep: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(sweep: &Sweep, folder: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let content = content(64 << 20);
    // By place, then by design.
    let figure = |setup: &Setup, design: Design| Figure {
        name: design.name(),
        bytes: (setup.chunk_len * setup.chunks) as u64,
        wall: Vec::new(),
        cpu: Vec::new(),
    };
    let of_place = |(_, setup): &(String, Setup)| Design::ALL.map(|design| figure(setup, design));
    let mut figures: Vec<_> = sweep.places.iter().map(of_place).collect();
    for round in 0..ROUNDS {
        for (at, (name, setup)) in sweep.places.iter().enumerate() {
            eprintln!("{}: round {} of {ROUNDS}, {name}", sweep.name, round + 1);
            for (number, design) in Design::ALL.into_iter().enumerate() {
                let (time, _) = write(design, *setup, &content, folder)?;
                figures[at][number].wall.push(time.as_secs_f64());
            }
        }
    }
    let mut table = String::from("design");
    for (name, _) in &sweep.places {
        write!(table, "\t{name}")?;
    }
    table.push('\n');
    let mut lines = Vec::new();
    for (number, design) in Design::ALL.into_iter().enumerate() {
        let mebibytes = |place: &[Figure; 6]| place[number].rate() / f64::from(1 << 20);
        let values: Vec<f64> = figures.iter().map(mebibytes).collect();
        table.push_str(design.name());
        for value in &values {
            write!(table, "\t{value:.0}")?;
        }
        table.push('\n');
        lines.push(Line { name: design.name().to_owned(), values });
    }
    fs::create_dir_all(out)?;
    fs::write(out.join(format!("writers-{}.tsv", sweep.name)), &table)?;
    println!("{}\n{table}", sweep.name);
    Plot {
        title: format!("Ways of writing: {}", sweep.across),
        across: sweep.across.to_owned(),
        up: "MiB/s of content, final fsync included".to_owned(),
        scale: Scale::Linear,
        places: sweep.places.iter().map(|(name, _)| name.clone()).collect(),
        lines,
    }
    .draw(&out.join(format!("writers-{}.svg", sweep.name)))
}
