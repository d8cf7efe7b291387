//! Packing: a file, a device or a stream into a container.
//!
//! ```text
//! open source ─► create partial, header OPEN ─► workers: claim, read, encode, place, write
//!                                                  └─► coordinator: spool records, allocate ahead
//! ─► source unchanged? ─► finalize ─► publish
//! ```
//!
//! Nothing here decides a byte of output by anything but the content and the options: not the
//! number of cores, nor the backend, nor who finished first.

mod into_file;
mod task;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::codec;
use crate::commit::{Finish, Gate};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{CodecKind, Header, PlacementKind, State};
use crate::format::layout::{self, Geometry};
use crate::limits;
use crate::ordered::OrderedWriter;
use crate::pipeline::{Channel, Crew, IoMode, RunReport, Schedule, Shared, drain};
use crate::placement::Placement;
use crate::placement::sequence_set::SequenceSet;
use crate::ring::file::{Disk, FileKind, Status};
use crate::ring::stream::PipeEnd;
use crate::source::stream::Feed;
use crate::source::{Positional, Source};
use crate::spool::Spool;

use task::{Event, PackTask, Supply, Work, Written};

/// What is packed.
#[derive(Debug)]
pub enum Input {
    /// A regular file, block device or FIFO.
    Path(PathBuf),
    /// An open pipe, read to its end; and what messages call it.
    Stream(fs::File, String),
}

/// Where the container goes.
#[derive(Debug)]
pub enum Output {
    /// Under this name, published when it is complete and durable.
    Path(PathBuf),
    /// Into an open pipe, as a `streamed` container.
    Stream(fs::File),
}

/// How chunks become frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// Raw blocks.
    Store,
    /// Zstandard at this level, [`limits::LEVEL_MIN`] to [`limits::LEVEL_MAX`].
    Zstd(i32),
}

/// Options of packing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackOptions {
    /// How chunks become frames.
    pub codec: Codec,
    /// Chunk length as a power of two, [`limits::CHUNK_LOG2_MIN`] to [`limits::CHUNK_LOG2_MAX`]. An
    /// input with too many chunks for a seek table gets larger ones.
    pub chunk_log2: u8,
    /// Where frames stand.
    pub placement: PlacementKind,
    /// Whether to make a BLAKE3 digest of the content.
    pub blake3: bool,
    /// Whether an existing target is replaced.
    pub replace: bool,
    /// Which backend to use.
    pub io: IoMode,
    /// Worker threads; as many as the process has cores where `None`.
    pub threads: Option<usize>,
    /// Whether to go past the page cache where the file systems serve that.
    pub direct: bool,
    /// Chunk records held in memory before they are spooled to a file, in bytes.
    pub spool_memory: usize,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            codec: Codec::Zstd(limits::LEVEL_DEFAULT),
            chunk_log2: limits::CHUNK_LOG2_DEFAULT,
            placement: PlacementKind::Dense,
            blake3: false,
            replace: false,
            io: IoMode::Auto,
            threads: None,
            direct: true,
            spool_memory: limits::SPOOL_MEMORY_BYTES,
        }
    }
}

/// What packing came to.
#[derive(Clone, Debug)]
pub struct PackReport {
    /// The header as written; of a streamed container, the trailing one.
    pub header: Header,
    /// What the input was when it was packed, if it was a regular file.
    pub source: Option<Status>,
    /// Whether the input was read past the page cache; `None` for a stream.
    pub direct_input: Option<bool>,
    /// Whether the output was written past the page cache; `None` for a stream.
    pub direct_output: Option<bool>,
    /// Bytes of holes that were not read.
    pub holes: u64,
    /// Counts and tier.
    pub run: RunReport,
}

/// Packs `input` into `output`.
///
/// # Errors
/// Every kind but `NotAContainer` and `Damaged`. After an error nothing stands under the output's
/// name that wasn't there before, except where the message says otherwise.
pub fn pack(
    disk: &dyn Disk,
    input: Input,
    output: Output,
    options: &PackOptions,
    cancel: &Cancel,
) -> Result<PackReport> {
    let schedule = Schedule::threads(options.threads)?;
    pack_scheduled(disk, input, output, options, cancel, &schedule)
}

/// As [`pack`], on workers run as `schedule` says.
///
/// # Errors
/// As [`pack`].
pub fn pack_scheduled(
    disk: &dyn Disk,
    input: Input,
    output: Output,
    options: &PackOptions,
    cancel: &Cancel,
    schedule: &Schedule,
) -> Result<PackReport> {
    check_options(options)?;
    let shared = Shared::new(cancel);
    let (source, name) = open_input(disk, input, options, &shared)?;
    let named = |error: Error| match error.kind() {
        ErrorKind::Input | ErrorKind::InputChanged => error.at(&name),
        _ => error,
    };
    let job = Job { disk, source, options, schedule, shared };
    match output {
        Output::Path(path) => job.into_file(&path).map_err(|error| match error.kind() {
            ErrorKind::Output | ErrorKind::NoSpace => error.at(&path),
            _ => named(error),
        }),
        Output::Stream(file) => job.into_stream(file).map_err(named),
    }
}

fn check_options(options: &PackOptions) -> Result<()> {
    let invalid = |what: String| Err(Error::new(ErrorKind::InvalidOptions, what));
    let (min, max) = (limits::CHUNK_LOG2_MIN, limits::CHUNK_LOG2_MAX);
    if !(min..=max).contains(&options.chunk_log2) {
        return invalid(format!(
            "a chunk of 2^{} bytes is outside 2^{min} to 2^{max}",
            options.chunk_log2
        ));
    }
    let levels = limits::LEVEL_MIN..=limits::LEVEL_MAX;
    match options.codec {
        Codec::Zstd(level) if !levels.contains(&level) => {
            invalid(format!("level {level} is outside {} to {}", levels.start(), levels.end()))
        }
        Codec::Zstd(_) | Codec::Store => Ok(()),
    }
}

/// An input, opened.
enum Opened {
    Positional(Positional),
    Stream(PipeEnd),
}

fn open_input(
    disk: &dyn Disk,
    input: Input,
    options: &PackOptions,
    shared: &Shared,
) -> Result<(Opened, String)> {
    let failed = |error| Error::from_io(ErrorKind::Input, "cannot open the input", error);
    match input {
        Input::Stream(file, name) => {
            let pipe = PipeEnd::new(file, shared.stop()).map_err(failed)?;
            Ok((Opened::Stream(pipe), name))
        }
        Input::Path(path) => {
            let name = path.display().to_string();
            match Source::open(disk, &path, options.direct)? {
                Source::Positional(source) => Ok((Opened::Positional(source), name)),
                Source::Stream => {
                    let pipe = PipeEnd::open(&path, shared.stop());
                    Ok((Opened::Stream(pipe.map_err(|error| failed(error).at(&path))?), name))
                }
            }
        }
    }
}

/// A job with its input open and its options checked.
struct Job<'a> {
    disk: &'a dyn Disk,
    source: Opened,
    options: &'a PackOptions,
    schedule: &'a Schedule,
    shared: Arc<Shared>,
}

impl Job<'_> {
    fn geometry(&self) -> Result<Geometry> {
        let wished = self.options.chunk_log2;
        let log2 = match &self.source {
            Opened::Positional(source) => layout::fitting_chunk_log2(wished, source.status().len)
                .ok_or_else(|| {
                Error::new(ErrorKind::Input, "is larger than a container can index")
            })?,
            Opened::Stream(_) => wished,
        };
        Ok(Geometry::new(log2, self.options.placement))
    }

    /// The header as far as it is known before a byte was read.
    fn open_header(&self, geometry: &Geometry, state: State) -> Header {
        let (codec, level) = match self.options.codec {
            Codec::Store => (CodecKind::Store, 0),
            Codec::Zstd(level) => (CodecKind::Zstd, level),
        };
        layout::open_header(state, geometry, codec, level, codec::zstd_version())
    }

    fn supply(&self, geometry: &Geometry) -> Supply {
        match &self.source {
            Opened::Positional(source) => Supply::positional(source.clone()),
            Opened::Stream(_) => {
                // Enough for every core to have one in work and one waiting, and one being read.
                let portions = 2 * self.schedule.workers() + 1;
                let len = geometry.extent_raw_len() as usize;
                Supply::Stream(Feed::new(portions, len, Arc::clone(self.shared.event())))
            }
        }
    }

    /// Runs the workers. `note` is given every extent that completed, on the calling thread.
    fn run(
        &self,
        work: &Work,
        files: crate::ring::Files,
        note: &mut dyn FnMut(Event, &mut Progress) -> Result<()>,
    ) -> Result<(Progress, RunReport)> {
        let geometry = work.geometry;
        let size = match &self.source {
            Opened::Positional(source) => source.status().len,
            Opened::Stream(_) => u64::MAX,
        };
        // No more and no longer buffers than the content has use for.
        let raw_len = geometry.extent_raw_len().min(size.max(1));
        let extents = geometry.extent_count(geometry.chunk_count(size));
        let depth = limits::buffers_per_side(raw_len, extents);
        let schedule = self.schedule.at_most(extents);
        // A stream's portions are its input buffers; a worker needs one only to be counted.
        let inputs = match &work.supply {
            Supply::Positional { .. } => (depth, raw_len as usize),
            Supply::Stream(_) => (1, limits::ALIGN),
        };
        let crew = Crew {
            disk: self.disk,
            io: self.options.io,
            schedule: &schedule,
            files,
            inputs,
            outputs: (depth, task::output_len(&geometry, raw_len as usize)),
            shared: Arc::clone(&self.shared),
        };
        let (channel, receiver) = Channel::new(schedule.workers());
        let make_task = || PackTask::new(work, self.options.codec, channel.sender());
        let mut progress = Progress::default();
        let report = std::thread::scope(|scope| {
            let reader = match (&self.source, &work.supply) {
                (Opened::Stream(pipe), Supply::Stream(feed)) => {
                    let read = move || {
                        let _guard = self.shared.guard();
                        let read = feed.read_from(pipe);
                        read.map_err(|error| self.shared.fail(error)).unwrap_or(0)
                    };
                    let thread = std::thread::Builder::new().name("ringpack-reader".to_owned());
                    let what = "cannot start the thread that reads";
                    let reader = thread
                        .spawn_scoped(scope, read)
                        .map_err(|error| Error::from_io(ErrorKind::Input, what, error))?;
                    Some(reader)
                }
                _ => None,
            };
            let report = crew.run(make_task, |tick| {
                drain(&receiver, &self.shared, tick, |event| note(event, &mut progress))
            });
            if let Supply::Stream(feed) = &work.supply {
                feed.stop();
            }
            if let Some(reader) = reader {
                // A panic of the reader's has failed the job already, through its guard.
                progress.content_size = reader.join().unwrap_or(0);
            }
            report
        })?;
        if let Opened::Positional(source) = &self.source {
            source.check_unchanged()?;
            progress.content_size = source.status().len;
        }
        Ok((progress, report))
    }

    fn finish(
        &self,
        header: Header,
        work: &Work,
        progress: Progress,
        mut spool: Spool,
    ) -> Result<Finish> {
        let Progress { content_size, extents, only_digest, .. } = progress;
        let geometry = work.geometry;
        let chunk_count = geometry.chunk_count(content_size);
        let extent_count = geometry.extent_count(chunk_count);
        if let Some(digest) = only_digest.filter(|_| chunk_count == 1) {
            let record = spool.record(0)?;
            spool.put(0, &[crate::format::record::ChunkRecord { chaining: digest, ..record }])?;
        }
        let data_end = work.placement.data_end(extent_count);
        Ok(Finish {
            header,
            spool,
            extents,
            content_size,
            data_end: data_end.expect("every extent is placed"),
            chaining: self.options.blake3,
        })
    }

    fn into_stream(self, file: fs::File) -> Result<PackReport> {
        let failed =
            |error| Error::from_io(ErrorKind::Output, "cannot write", error).at("standard output");
        let pipe = PipeEnd::for_writing(file, self.shared.stop()).map_err(failed)?;
        let temp_dir = std::env::temp_dir();
        let scratch = self.disk.directory(&temp_dir).map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot open the directory for scratch files", error)
                .at(&temp_dir)
                .hint("set TMPDIR to one that exists")
        })?;
        let event = Arc::clone(self.shared.event());
        let mut writer = OrderedWriter::new(&pipe, &event);
        let geometry = self.geometry()?;
        let header = self.open_header(&geometry, State::Streamed);
        writer.write(&header.encode(crate::format::Subtype::Header))?;
        let mut spool = Spool::new(scratch, self.options.blake3, self.options.spool_memory);
        let work = self.work(geometry, true);
        let (progress, run) = self.run(&work, self.input_files(), &mut |event, progress| {
            let Event { written, handed_over } = event;
            spool.put(written.first_chunk, &written.records)?;
            progress.note(&written);
            writer.take(handed_over.expect("a streamed extent brings its bytes"))
        })?;
        let holes = progress.holes;
        let finish = self.finish(header, &work, progress, spool)?;
        let (header, _) = finish.write_tail(&mut StreamSink(&writer))?;
        Ok(self.report(header, None, holes, run))
    }

    fn work(&self, geometry: Geometry, streamed: bool) -> Work {
        Work {
            geometry,
            placement: Placement::new(&geometry),
            supply: self.supply(&geometry),
            chaining: self.options.blake3,
            gate: Gate::open(),
            streamed,
            shared: Arc::clone(&self.shared),
        }
    }

    fn input_files(&self) -> crate::ring::Files {
        match &self.source {
            Opened::Positional(source) => vec![Arc::clone(source.file())],
            Opened::Stream(_) => Vec::new(),
        }
    }

    fn report(
        &self,
        header: Header,
        direct_output: Option<bool>,
        holes: u64,
        run: RunReport,
    ) -> PackReport {
        let direct_input = match &self.source {
            Opened::Positional(source) => Some(source.file().is_direct()),
            Opened::Stream(_) => None,
        };
        let mut run = run;
        if header.table_offset == 0 {
            let what = "too many chunks for a seek table: only ringpack can seek in this container";
            run.warnings.push(what.to_owned());
        }
        let source = self.is_regular().map(|source| *source.status());
        PackReport { header, source, direct_input, direct_output, holes, run }
    }

    fn is_regular(&self) -> Option<&Positional> {
        match &self.source {
            Opened::Positional(source) if source.status().kind == FileKind::Regular => Some(source),
            _ => None,
        }
    }
}

struct StreamSink<'a>(&'a OrderedWriter<'a>);

impl crate::commit::Sink for StreamSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write(bytes)
    }
}

/// What is known of the extents that completed so far.
#[derive(Debug, Default)]
struct Progress {
    content_size: u64,
    extents: SequenceSet,
    /// The digest of the content, in case chunk 0 turns out to be all of it.
    only_digest: Option<[u8; 32]>,
    holes: u64,
    /// The furthest end of a completed extent.
    frontier: u64,
}

impl Progress {
    fn note(&mut self, written: &Written) {
        let is_new = self.extents.insert(written.placed.extent().number.0);
        assert!(is_new, "an extent completes once");
        self.only_digest = self.only_digest.or(written.only_digest);
        self.holes += written.holes;
        self.frontier = self.frontier.max(written.placed.end());
    }
}
