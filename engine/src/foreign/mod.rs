//! Zstandard files that others wrote: with a seek table or without, of one frame or of many.
//!
//! There is no index to start from, so the file is read in order and cut where its frames end.
//! A frame that states its content size and isn't long goes to a thread of its own; any other is
//! decoded piece by piece, with memory for its window. So a pipe is read in the same way as a file.
//!
//! ```text
//!  bytes in order ──► cut at frames ──┬─► size known, small: a thread each ─┬─► by position: file
//!                                     └─► else: streamed, on this thread  ──┴─► in turn: pipe
//! ```
//!
//! What is written to a file is published like everything else, whole and durable or not at all;
//! what is written to a pipe was checked frame by frame where a frame has a checksum.
//!
//! # Invariants
//! - FO1: any bytes give an answer; no length that a frame or a table states is allocated for
//!   beyond [`FRAME_BYTES_MAX`], nor believed before decoding bore it out.

mod cut;
mod decode;
mod feed;
mod list;
mod measure;
mod order;
mod own;
mod range;
mod sink;
mod sums;
mod table;
mod withhold;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use list::{Listing, list};
pub use own::Contained;
pub use range::read_range;

use crate::cancel::Cancel;
use crate::commit::{Partial, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{Schedule, Shared};
use crate::progress::Progress;
use crate::ring::file::{Attributes, Disk, FileKind, Replace, Status};
use crate::ring::stream::PipeEnd;
use crate::source::OpenFile;
use crate::trace;
use crate::verify::Comparison;
use crate::verify::against::Against;

use cut::Cutter;
use feed::{Feed, Origin};
use sink::Sink;

/// Longest content of a frame that is decoded at once, in bytes, and about the longest such frame.
pub const FRAME_BYTES_MAX: u64 = 64 << 20;

/// Window that a frame may need without being allowed more: what `zstd -d` grants.
pub const WINDOW_BYTES_DEFAULT: u64 = 1 << crate::limits::WINDOW_LOG_MAX;

/// Damages that are reported one by one; more are counted.
const DAMAGES_MAX: usize = 1000;

/// What is read.
#[derive(Debug)]
pub enum Input {
    /// The file, device or FIFO at this path.
    Path(PathBuf),
    /// An open stream, and what messages call it.
    Stream(fs::File, String),
}

/// Where the content goes.
#[derive(Debug)]
pub enum Output {
    /// Under this name, published when it is complete and durable.
    Path(PathBuf),
    /// Into an open pipe, in order.
    Stream(fs::File),
}

/// Options of reading foreign files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignOptions {
    /// Whether an existing target is replaced.
    pub replace: bool,
    /// Threads that decode; as many as cores, CPU quota and memory allow where `None`.
    pub threads: Option<usize>,
    /// Most bytes that a frame which is streamed may have for its window.
    pub window_bytes_max: u64,
    /// Whether what is no Zstandard file is copied as it is.
    pub pass_through: bool,
    /// What verifying compares the content with: a file or a block device.
    pub against: Option<PathBuf>,
    /// Where the job counts how far it is: content and frames' bytes, and no stages.
    pub progress: Progress,
}

impl Default for ForeignOptions {
    fn default() -> Self {
        Self {
            replace: false,
            threads: None,
            window_bytes_max: WINDOW_BYTES_DEFAULT,
            pass_through: false,
            against: None,
            progress: Progress::default(),
        }
    }
}

/// What reading a foreign file came to.
#[derive(Debug, Default)]
pub struct ForeignReport {
    /// What the file was when it was opened; nothing of a pipe.
    pub source: Option<Status>,
    /// Bytes read.
    pub file_size: u64,
    /// Bytes of content.
    pub content_size: u64,
    /// Zstandard frames.
    pub frames: u64,
    /// Frames that were passed over, a seek table among them.
    pub skippable: u64,
    /// Zstandard frames that have no checksum.
    pub unchecked: u64,
    /// Frames that were too long, or of unknown size, for a thread of their own.
    pub streamed: u64,
    /// Entries of the seek table, where there is one that fits.
    pub seek_table: Option<u64>,
    /// Bytes of the output that are holes.
    pub holes: u64,
    /// Threads that decoded.
    pub threads: usize,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// The damages that verifying found, in order; past a thousand, those found first.
    pub damages: Vec<Error>,
    /// Number of all damages.
    pub damage_count: u64,
    /// What the comparison with a source found, where one was asked for. Pieces of content are
    /// counted as chunks.
    pub comparison: Option<Comparison>,
}

/// Restores the content of a Zstandard file that anyone wrote; a container too, if it comes through
/// a pipe.
///
/// # Errors
/// `NotAContainer` where it is no Zstandard file, `Unsupported` where it needs a dictionary or too
/// large a window, `Damaged` naming frame and offset, and those of reading and writing. After an
/// error nothing stands under the output's name that wasn't there before.
pub fn unpack(
    disk: &dyn Disk,
    input: Input,
    output: Output,
    options: &ForeignOptions,
    cancel: &Cancel,
) -> Result<ForeignReport> {
    let name = input.name();
    trace::job("unpack", &name, || {
        let shared = Shared::watched(cancel, &options.progress);
        let opened = Opened::open(disk, input, &shared).map_err(|error| error.at(&name))?;
        match output {
            Output::Path(path) => {
                into_file(disk, &opened, &path, options, &shared).map_err(|error| {
                    match error.kind() {
                        ErrorKind::Output | ErrorKind::NoSpace => error.at(&path),
                        _ => error,
                    }
                })
            }
            Output::Stream(file) => {
                let pipe = sink::pipe(file, shared.stop())?;
                run(disk, &opened, &Sink::Pipe(&pipe), options, &shared, false)
            }
        }
        .inspect(|_| shared.progress().done())
        .map_err(|error| error.at(&name))
    })
}

/// Decodes every frame, and holds the seek table against them. Damage is in the report.
///
/// # Errors
/// As [`unpack`] where it is no Zstandard file or can't be read.
pub fn verify(
    disk: &dyn Disk,
    input: Input,
    options: &ForeignOptions,
    cancel: &Cancel,
) -> Result<ForeignReport> {
    let name = input.name();
    trace::job("verify", &name, || {
        let shared = Shared::watched(cancel, &options.progress);
        let opened = Opened::open(disk, input, &shared).map_err(|error| error.at(&name))?;
        let against = options.against.as_deref().map(|path| Against::open(disk, path));
        let against = against.transpose()?;
        let sink = against.as_ref().map_or(Sink::Nowhere, Sink::Compared);
        let run = run(disk, &opened, &sink, options, &shared, true);
        let mut report = run.map_err(|error| error.at(&name))?;
        let end = |against: &Against| against.end(report.content_size, Some(&name));
        report.comparison = against.as_ref().map(end).transpose()?;
        report.damages = std::mem::take(&mut report.damages)
            .into_iter()
            .map(|damage| damage.at(&name))
            .collect();
        shared.progress().done();
        Ok(report)
    })
}

impl Input {
    fn name(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Stream(_, name) => name.into(),
        }
    }
}

/// An open input.
enum Opened {
    File(OpenFile),
    Pipe(PipeEnd),
}

impl Opened {
    fn open(disk: &dyn Disk, input: Input, shared: &Shared) -> Result<Self> {
        let failed = |error| Error::from_io(ErrorKind::Input, "cannot open", error);
        let path = match input {
            Input::Stream(file, _) => {
                return PipeEnd::new(file, shared.stop()).map(Self::Pipe).map_err(failed);
            }
            Input::Path(path) => path,
        };
        match disk.kind(&path).map_err(failed)? {
            FileKind::Directory => Err(Error::new(ErrorKind::Input, "is a directory")),
            FileKind::Stream => PipeEnd::open(&path, shared.stop()).map(Self::Pipe).map_err(failed),
            FileKind::Regular | FileKind::BlockDevice => {
                let file = disk.open(&path, false).map_err(failed)?;
                OpenFile::as_it_is(file).map(Self::File).map_err(failed)
            }
        }
    }

    fn origin(&self) -> Origin<'_> {
        match self {
            Self::File(opened) => Origin::File(Arc::clone(opened.file()), opened.status().len),
            Self::Pipe(pipe) => Origin::Pipe(pipe),
        }
    }

    fn status(&self) -> Option<&Status> {
        match self {
            Self::File(opened) => Some(opened.status()),
            Self::Pipe(_) => None,
        }
    }
}

fn into_file(
    disk: &dyn Disk,
    opened: &Opened,
    path: &Path,
    options: &ForeignOptions,
    shared: &Arc<Shared>,
) -> Result<ForeignReport> {
    let replace = if options.replace { Replace::Allowed } else { Replace::Never };
    let target = Target::new(disk, path, replace)?;
    if let Some(source) = opened.status() {
        target.refuse_source(source)?;
    }
    let partial = Partial::create(target, false)?;
    let file = Arc::clone(partial.file());
    let sink = Sink::File(&file);
    let mut report = run(disk, opened, &sink, options, shared, false)?;
    file.set_len(report.content_size).map_err(|error| {
        Error::from_io(ErrorKind::Output, "cannot set the file's length", error)
    })?;
    let attributes = match opened.status() {
        Some(source) => Attributes {
            mode: source.mode,
            owner: Some((source.uid, source.gid)),
            modified: Some(source.modified),
        },
        None => Attributes { mode: disk.creation_mode(), owner: None, modified: None },
    };
    partial.make_durable(&attributes)?;
    if let Opened::File(source) = opened {
        source.check_unchanged()?;
    }
    shared.check()?;
    if let Some(what) = partial.took_over() {
        report.warnings.push(what.to_owned());
    }
    partial.publish()?;
    Ok(report)
}

/// Reads all of it, frame by frame. With `keep_going`, damage is collected.
fn run(
    disk: &dyn Disk,
    opened: &Opened,
    sink: &Sink<'_>,
    options: &ForeignOptions,
    shared: &Arc<Shared>,
    keep_going: bool,
) -> Result<ForeignReport> {
    // What is decoded at once, and as much again for the frames that wait.
    let threads = Schedule::threads(options.threads, FRAME_BYTES_MAX)?.workers();
    let feed = Feed::new(opened.origin());
    shared.progress().begin(None, 0);
    let job = work::Job::new(sink, options.window_bytes_max, threads, Arc::clone(shared));
    let mut report = job.run(keep_going, |crew| {
        Cutter::new(disk, feed, options, shared, crew, keep_going)?.run()
    })?;
    report.source = opened.status().copied();
    shared.progress().finish(report.content_size);
    Ok(report)
}
