//! Zstandard files that others wrote: what the commands do where an input is no container.

use std::fs;
use std::io::Seek;
use std::path::{Path, PathBuf};

use ringpack::escape::shown;
use ringpack::foreign::{
    ForeignOptions, ForeignReport, Input, Listing, Output, WINDOW_BYTES_DEFAULT,
};
use ringpack::format::header::CodecKind;
use ringpack::limits::WINDOW_LOG_WRITTEN_MAX;
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::{Cancel, Error, ErrorKind, foreign};

use super::report::{How, note, part, sized, warn};
use super::unpack::Unpacked;
use super::verify::{Compared, Verified};
use crate::args::{self, Talk};
use crate::exit::{self, Failure};
use crate::job::Job;
use crate::message;
use crate::names;
use crate::size::human;
use crate::streams::{STANDARD_INPUT, standard_input};

impl args::Foreign {
    /// Options of the engine, with so many threads.
    pub(super) fn options(&self, threads: Option<usize>) -> ForeignOptions {
        let long = self.long.map_or(WINDOW_BYTES_DEFAULT, |log| 1 << log);
        let window_bytes_max = self.memory.unwrap_or(long);
        ForeignOptions { threads, window_bytes_max, ..ForeignOptions::default() }
    }
}

/// Refuses a container whose chunks need a larger window than was granted, as any other frame is.
pub(super) fn check_window(path: &Path, args: &args::Foreign) -> Result<(), Failure> {
    let limit = args.options(None).window_bytes_max;
    if limit >= WINDOW_BYTES_DEFAULT {
        // No chunk is longer.
        return Ok(());
    }
    let container = match Container::open(&OsDisk, path, false) {
        // What is wrong with it is told when it is read.
        Err(_) => return Ok(()),
        Ok(container) => container,
    };
    let header = container.header();
    let window = header.chunk_len().min(header.content_size).min(1 << WINDOW_LOG_WRITTEN_MAX);
    if window <= limit || header.codec == CodecKind::Store {
        return Ok(());
    }
    let what = format!("its chunks need a window of {window} bytes, where {limit} are allowed");
    let hint = format!("allow it with --memory={window}");
    Err(Error::new(ErrorKind::Unsupported, what).at(path).hint(hint).into())
}

/// Whether another program may have written what the engine refuses as a container.
pub(super) fn may_be(error: &ringpack::Error) -> bool {
    error.kind() == ErrorKind::NotAContainer
}

/// Where the input can be read at many places: its path, or that of a file that is standard input
/// from its start.
pub(super) fn seekable(input: &Path) -> Option<PathBuf> {
    if !names::is_standard_stream(input) {
        return (!is_stream(input)).then(|| input.to_owned());
    }
    let mut file = standard_input().ok()?;
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    let path = Path::new("/dev/stdin");
    let opens = is_file && file.stream_position().is_ok_and(|at| at == 0) && {
        // Another file may have the name, and this one no longer any.
        fs::File::open(path).is_ok()
    };
    opens.then(|| path.to_owned())
}

/// Whether it is a pipe or the like, which is read in order.
pub(crate) fn is_stream(input: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    names::is_standard_stream(input)
        || fs::metadata(input).is_ok_and(|found| {
            let kind = found.file_type();
            kind.is_fifo() || kind.is_socket() || kind.is_char_device()
        })
}

/// The input as the engine takes it.
pub(super) fn input(path: &Path) -> Result<Input, Failure> {
    if names::is_standard_stream(path) {
        return Ok(Input::Stream(standard_input()?, STANDARD_INPUT.to_owned()));
    }
    Ok(Input::Path(path.to_owned()))
}

/// Restores the content.
pub(super) fn unpack(
    input: Input,
    output: Output,
    mut options: ForeignOptions,
    talk: &Talk,
    names: (&str, &str),
    cancel: &Cancel,
    job: &mut Job,
) -> Result<ForeignReport, Failure> {
    options.progress = job.progress();
    let to_file = matches!(output, Output::Path(_));
    let unpacked = foreign::unpack(&OsDisk, input, output, &options, cancel);
    job.over();
    let report = unpacked?;
    job.note_size(report.file_size);
    warn(&report.warnings, talk);
    let (from, to) = names;
    let direct_input = report.source.map(|_| false);
    if talk.json {
        message::json(&Unpacked {
            course: job.course(),
            input: from,
            output: to,
            content_size: report.content_size,
            file_size: report.file_size,
            holes: report.holes,
            members: None,
            how: How::without_rings(report.threads, direct_input, to_file.then_some(false)),
        });
    }
    note(talk, || {
        let summary = format!("{}: {}, {}", shown(from), human(report.content_size), shown(to));
        if talk.is_verbose() { format!("{summary}\n{}", how(&report)) } else { summary }
    });
    Ok(report)
}

/// Checks every frame, and compares the content if there is something to compare it with; the code
/// that comes of it.
pub(super) fn verify(
    path: &Path,
    input: Input,
    mut options: ForeignOptions,
    talk: &Talk,
    cancel: &Cancel,
    job: &mut Job,
) -> Result<u8, Failure> {
    let against = options.against.clone();
    options.progress = job.progress();
    let verified = foreign::verify(&OsDisk, input, &options, cancel);
    job.over();
    let report = verified?;
    job.note_size(report.file_size);
    job.note_damages(report.damage_count);
    let direct_input = report.source.map(|_| false);
    let name = shown(path);
    for damage in &report.damages {
        message::failure(damage, exit::DAMAGED);
    }
    let code = Compared::tell(report.comparison.as_ref());
    if talk.json {
        message::json(&Verified {
            course: job.course(),
            input: &path.to_string_lossy(),
            intact: report.damage_count == 0,
            decoded: true,
            content_size: report.content_size,
            file_size: report.file_size,
            chunk_count: report.frames,
            damage_count: report.damage_count,
            compared: Compared::with(against.as_deref(), report.comparison.as_ref()),
            how: How::without_rings(report.threads, direct_input, None),
        });
    } else if report.damage_count > 1 {
        let (count, frames) = (report.damage_count, report.frames);
        message::error(&format!("{name}: {count} damages in {frames} frames"));
    }
    let code = if report.damage_count > 0 { code.max(exit::DAMAGED) } else { code };
    if code > 0 {
        return Ok(code);
    }
    warn(&report.warnings, talk);
    note(talk, || {
        let (content, frames) = (human(report.content_size), counted(report.frames, "frame"));
        let unchecked = match report.unchecked {
            0 => String::new(),
            count => format!(", {count} without a checksum"),
        };
        let compared = against.as_deref().map_or_else(String::new, |source| {
            format!(", compared, the same as {}", shown(source))
        });
        let summary = format!("{name}: intact, {content} in {frames}{unchecked}{compared}");
        if talk.is_verbose() { format!("{summary}\n{}", how(&report)) } else { summary }
    });
    Ok(0)
}

fn how(report: &ForeignReport) -> String {
    let table = report.seek_table.map_or_else(
        || "no seek table that was used".to_owned(),
        |entries| format!("a seek table of {}", counted(entries, "entry")),
    );
    format!(
        "  threads {}, frames {} ({} streamed, {} without a checksum), passed over {}, {table}\n  \
         {} of holes, through the page cache and without rings",
        report.threads,
        report.frames,
        report.streamed,
        report.unchecked,
        report.skippable,
        human(report.holes),
    )
}

pub(super) fn counted(count: u64, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {what}s"),
    }
}

/// What is known of another program's file without decoding it. Sizes are in bytes.
#[derive(Debug, serde::Serialize)]
pub(super) struct Summary {
    path: String,
    format: &'static str,
    content_size: Option<u64>,
    file_size: u64,
    frames: u64,
    skippable_frames: u64,
    checked_frames: u64,
    window_size: u64,
    seek_table_entries: Option<u64>,
    containers: Vec<Row>,
}

/// A container in a file that holds more than it.
#[derive(Debug, serde::Serialize)]
struct Row {
    offset: u64,
    file_size: u64,
    content_size: u64,
    chunk_count: u64,
}

impl Summary {
    pub(super) fn new(path: &Path, listing: &Listing) -> Self {
        let of_table = listing.seek_table.map(|(_, content_size)| content_size);
        Self {
            path: path.to_string_lossy().into_owned(),
            format: "zstd",
            content_size: listing.content_size.or(of_table),
            file_size: listing.file_size,
            frames: listing.frames,
            skippable_frames: listing.skippable,
            checked_frames: listing.checked,
            window_size: listing.window_bytes_max,
            seek_table_entries: listing.seek_table.map(|(entries, _)| entries),
            containers: listing.containers.iter().map(Row::from).collect(),
        }
    }

    pub(super) fn human(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<10} {value}");
        };
        line("file", &shown(&self.path).to_string());
        let format = match self.containers.len() as u64 {
            0 => "Zstandard, not written by ringpack".to_owned(),
            count => format!("Zstandard, with {}", counted(count, "container")),
        };
        line("format", &format);
        line("content", &self.content_size.map_or("not stated".to_owned(), sized));
        line("packed", &part(self.file_size, self.content_size));
        let checked = format!("{} with a checksum", self.checked_frames);
        line("frames", &format!("{}, {checked}", counted(self.frames, "content frame")));
        line("skipped", &counted(self.skippable_frames, "skippable frame"));
        line("window", &sized(self.window_size));
        let table = self.seek_table_entries.map(|entries| counted(entries, "entry"));
        line("seek table", table.as_deref().unwrap_or("none"));
        for container in &self.containers {
            let (chunks, packed) =
                (counted(container.chunk_count, "chunk"), human(container.file_size));
            let content = human(container.content_size);
            line(
                "container",
                &format!("at byte {}: {packed}, {content} in {chunks}", container.offset),
            );
        }
        text
    }
}

impl From<&foreign::Contained> for Row {
    fn from(contained: &foreign::Contained) -> Self {
        let &foreign::Contained { offset, file_size, content_size, chunk_count } = contained;
        Self { offset, file_size, content_size, chunk_count }
    }
}
