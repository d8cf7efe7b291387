//! What was measured, as tables and plots.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use ringpack_benches::plot::{Line, Plot, Scale};
use ringpack_benches::run::Spent;

use crate::job::Told;

const MIB: f64 = 1_048_576.0;

/// What content of one length took.
pub(crate) struct Row {
    pub(crate) bytes: u64,
    pub(crate) chunk_log2: u8,
    pub(crate) pack: Spent,
    pub(crate) packed: Told,
    /// Going on after being killed half way.
    pub(crate) resume: Option<(Spent, Told)>,
}

/// Prints a Markdown table, and writes it at `path`.
pub(crate) fn print(rows: &[Row], path: &Path) -> io::Result<()> {
    let mut table = String::from(
        "| content, MiB | chunks | pack, s | MiB/s | peak, MiB | container, MiB | index, KiB \
         | end to durable, s | resume, s | adopted | its peak, MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let Row { bytes, chunk_log2, pack, packed, .. } = row;
        let content = *bytes as f64 / MIB;
        let written = write!(
            table,
            "| {content:.2} | {} | {:.2} | {:.0} | {:.1} | {:.2} | {:.0} | {:.3} ",
            bytes >> chunk_log2,
            packed.wall,
            content / packed.wall,
            pack.peak as f64 / MIB,
            packed.file as f64 / MIB,
            packed.index as f64 / 1024.0,
            packed.tail,
        );
        let written = written.and_then(|()| match &row.resume {
            None => writeln!(table, "| | | |"),
            Some((spent, told)) => writeln!(
                table,
                "| {:.2} | {:.2} | {:.1} |",
                told.wall,
                told.adopted as f64 / *bytes as f64,
                spent.peak as f64 / MIB
            ),
        });
        written.map_err(io::Error::other)?;
    }
    println!("{table}");
    fs::write(path, table)
}

/// Draws time over `of` each row, and memory.
pub(crate) fn draw(
    rows: &[Row],
    across: &str,
    out: &Path,
    name: &str,
    of: impl Fn(&Row) -> u64,
) -> io::Result<()> {
    if rows.len() < 2 {
        return Ok(());
    }
    let line = |name: &str, value: &dyn Fn(&Row) -> f64| Line {
        name: name.to_owned(),
        values: rows.iter().map(value).collect(),
    };
    let resumed = |row: &Row, value: &dyn Fn(&(Spent, Told)) -> f64| {
        row.resume.as_ref().map_or(f64::NAN, value)
    };
    let plot = |title: &str, up: &str, scale, lines, file: &str| {
        let places = rows.iter().map(|row| of(row).to_string()).collect();
        let (title, across, up) = (title.to_owned(), across.to_owned(), up.to_owned());
        let plot = Plot { title, across, up, scale, places, lines };
        plot.draw(&out.join(file)).map_err(|error| io::Error::other(error.to_string()))
    };
    let time = vec![
        line("pack", &|row| row.packed.wall),
        line("resume from the middle", &|row| resumed(row, &|(_, told)| told.wall)),
        line("the end of the input to durable", &|row| row.packed.tail),
    ];
    plot("How time grows", "seconds", Scale::Log, time, &format!("{name}-time.svg"))?;
    let memory = vec![
        line("pack", &|row| row.pack.peak as f64 / MIB),
        line("resume", &|row| resumed(row, &|(spent, _)| spent.peak as f64 / MIB)),
        line("index on disk", &|row| row.packed.index as f64 / MIB),
    ];
    plot("How memory grows", "MiB", Scale::Linear, memory, &format!("{name}-memory.svg"))
}
