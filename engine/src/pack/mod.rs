//! Packing: a file, a device or a stream into a container.
//!
//! ```text
//! open source ─► create the partial file ─► workers: claim, read, encode, place, write
//!                                                  └─► coordinator: spool records, allocate ahead
//! ─► source unchanged? content as expected? ─► finalize ─► [compare with the source] ─► publish
//! ```
//!
//! Nothing here decides a byte of output by anything but the content and the options: not the
//! number of cores, nor the backend, nor who finished first.

mod check;
mod expected;
mod holes;
mod into_file;
mod into_stream;
mod options;
mod resume;
mod task;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cancel::Cancel;
use crate::commit::{Finish, Gate};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::Header;
use crate::format::layout::Geometry;
use crate::format::members::Encoded;
use crate::format::recipe::Recipe;
use crate::format::record::ChunkRecord;
use crate::journal::Checkpoint;
use crate::limits;
use crate::members::MemberList;
use crate::pipeline::{Channel, Coordinator, Crew, RunReport, Schedule, Shared};
use crate::placement::Placement;
use crate::placement::sequence_set::SequenceSet;
use crate::ring::file::{Disk, FileKind, Status};
use crate::ring::os::OsFile;
use crate::ring::stream::PipeEnd;
use crate::source::stream::Feed;
use crate::source::{OpenFile, Positional, Source};
use crate::trace;
use crate::units::ExtentNumber;

use crate::known::Known;
use crate::read::Container;
use task::{Event, PackTask, Supply, Work, Written};

pub use crate::codec::Codec;
pub use crate::commit::Observer;
pub use expected::{Confirm, End, Expected};
pub use options::PackOptions;
pub use resume::{ResumeOptions, recorded_input, resume, resume_scheduled};

/// What is packed.
///
/// ```
/// use std::io::Write;
/// use ringpack::pack::{Input, Output, PackOptions, pack};
/// use ringpack::{Cancel, OsDisk};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let target = dir.path().join("data.zst");
/// // A pipe, as a child's standard output is one.
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"from a program")?;
/// drop(writer);
/// let reader = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
/// let from = Input::Stream(reader, "the program's output".to_owned());
/// let options = PackOptions::default();
/// let report = pack(&OsDisk, from, Output::Path(target), &options, &Cancel::new())?;
/// assert_eq!(report.header.content_size, 14);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub enum Input {
    /// A regular file, block device or FIFO.
    Path(PathBuf),
    /// An open pipe, read to its end; and what messages call it.
    Stream(fs::File, String),
    /// An archive that the program makes while it is packed.
    Archive(Archive),
}

/// An archive that comes through a pipe from another thread of the program.
pub struct Archive {
    /// The pipe, read to its end.
    pub stream: fs::File,
    /// What it is made from: what messages call it, and the journal.
    pub path: PathBuf,
    /// Asked once the stream ended, before anything is finished: the archive's members, or why it
    /// isn't whole, and nothing is published.
    pub ending: Box<dyn FnOnce() -> Result<MemberList> + Send>,
    /// Asked, if [`PackOptions::check_content`] says so, whether the finished container holds what
    /// the archive was made from. An error keeps it from being published.
    #[expect(clippy::type_complexity, reason = "it is named nowhere else")]
    pub compare: Option<Box<dyn FnOnce(&Container) -> Result<()> + Send>>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Input {
    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.to_string_lossy().into_owned(),
            Self::Stream(_, name) => name.clone(),
            Self::Archive(archive) => archive.path.to_string_lossy().into_owned(),
        }
    }
}

/// Where the container goes.
///
/// ```
/// use ringpack::pack::Output;
///
/// let beside = Output::Path("backup/data.zst".into());
/// # let _ = beside;
/// ```
#[derive(Debug)]
pub enum Output {
    /// Under this name, published when it is complete and durable.
    Path(PathBuf),
    /// Into an open pipe: the same bytes.
    Stream(fs::File),
}

/// What packing came to.
///
/// ```
/// use ringpack::pack::{Input, Output, PackOptions, pack};
/// use ringpack::{Cancel, OsDisk};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (input, target) = (dir.path().join("data"), dir.path().join("data.zst"));
/// # std::fs::write(&input, b"something to keep").unwrap();
/// let (from, to, options) = (Input::Path(input), Output::Path(target), PackOptions::default());
/// let report = pack(&OsDisk, from, to, &options, &Cancel::new())?;
/// println!("{} bytes in {}", report.header.content_size, report.header.file_size);
/// for warning in &report.run.warnings {
///     eprintln!("{warning}");
/// }
/// # assert!(report.resumed.is_none());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PackReport {
    /// The header as written.
    pub header: Header,
    /// What the input was when it was packed, if it was a regular file.
    pub source: Option<Status>,
    /// Whether the input was read past the page cache; `None` for a stream.
    pub direct_input: Option<bool>,
    /// Whether the output was written past the page cache; `None` for a stream.
    pub direct_output: Option<bool>,
    /// Bytes of holes that were not read.
    pub holes: u64,
    /// Whether the container was compared with its source before it was published.
    pub checked: bool,
    /// What was gone on from, where an interrupted run was.
    pub resumed: Option<Resumed>,
    /// Counts and tier.
    pub run: RunReport,
}

/// What a job went on from.
///
/// ```
/// use ringpack::pack::Resumed;
///
/// fn again(resumed: Resumed) -> u64 {
///     // Covered by the checkpoint, but not as it was written: packed anew.
///     resumed.covered_bytes - resumed.adopted_bytes
/// }
/// # assert_eq!(again(Resumed { covered_bytes: 9, adopted_bytes: 7 }), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Resumed {
    /// Bytes of content that the interrupted run's last checkpoint covered.
    pub covered_bytes: u64,
    /// Bytes of these that were read back as they were written, and kept.
    pub adopted_bytes: u64,
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
    trace::job("pack", input.name().as_ref(), || {
        let schedule =
            Schedule::threads(options.threads, limits::core_bytes(options.chunk_log2()))?;
        pack_scheduled(disk, input, output, options, cancel, &schedule)
    })
}

/// As [`pack`], on workers run as `schedule` says.
///
/// # Errors
/// As [`pack`].
#[doc(hidden)]
pub fn pack_scheduled(
    disk: &dyn Disk,
    input: Input,
    output: Output,
    options: &PackOptions,
    cancel: &Cancel,
    schedule: &Schedule,
) -> Result<PackReport> {
    options.check()?;
    let shared = Shared::watched(cancel, &options.progress);
    let (stream_path, name) = (stream_path(&input), input.name());
    let source = open_input(disk, input, options, &shared)?;
    let to_file = matches!(output, Output::Path(_));
    check::refuse_streams(options, &source, to_file).map_err(|error| error.at(&name))?;
    let job = Job::new(disk, source, stream_path, options, schedule, shared);
    match output {
        Output::Path(path) => {
            job.into_file(&path).map_err(|error| named(error, &name, Some(&path)))
        }
        Output::Stream(file) => job.into_stream(file).map_err(|error| named(error, &name, None)),
    }
}

/// Names the side of the job that an error is about.
fn named(error: Error, input: &str, output: Option<&Path>) -> Error {
    match (error.kind(), output) {
        // A file within what is packed is named already.
        (ErrorKind::Input | ErrorKind::InputChanged, _) if error.path().is_some() => error,
        (
            ErrorKind::Input | ErrorKind::InputChanged | ErrorKind::Refused | ErrorKind::Unexpected,
            _,
        ) => error.at(input),
        (
            ErrorKind::Output | ErrorKind::NoSpace | ErrorKind::NotResumable | ErrorKind::Suspended,
            Some(output),
        ) => error.at(output),
        _ => error,
    }
}

/// Where an input stands that may turn out to be a stream.
fn stream_path(input: &Input) -> Option<PathBuf> {
    match input {
        // A name of a descriptor leads elsewhere in the next process.
        Input::Path(path)
            if ["/dev/fd", "/dev/std", "/proc"]
                .iter()
                .any(|own| path.as_os_str().as_encoded_bytes().starts_with(own.as_bytes())) =>
        {
            None
        }
        Input::Path(path) | Input::Archive(Archive { path, .. }) => Some(path.clone()),
        Input::Stream(..) => None,
    }
}

/// An input, opened.
enum Opened {
    Positional(Positional),
    /// Standard input may be a regular file, which can change like any other.
    Stream(PipeEnd, Option<OpenFile>),
    Archive(PipeEnd, Ends),
}

/// What an archive is asked when it ended; each is taken when it is asked.
struct Ends {
    ending: Mutex<Option<Ending>>,
    compare: Mutex<Option<Compare>>,
    can_compare: bool,
}

type Ending = Box<dyn FnOnce() -> Result<MemberList> + Send>;
type Compare = Box<dyn FnOnce(&Container) -> Result<()> + Send>;

impl Opened {
    /// The pipe, of what can only be read in order.
    fn pipe(&self) -> Option<&PipeEnd> {
        match self {
            Self::Positional(_) => None,
            Self::Stream(pipe, _) | Self::Archive(pipe, _) => Some(pipe),
        }
    }
}

/// `file`, which is read as a stream, if it is a regular one. A file that states no length, as
/// those of /proc do, says nothing of its changes either.
fn regular(file: &fs::File) -> Result<Option<OpenFile>> {
    let failed = |error| Error::from_io(ErrorKind::Input, "cannot look at the input", error);
    let file = OsFile::adopt(file.try_clone().map_err(failed)?, false).map_err(failed)?;
    let status = file.status().map_err(failed)?;
    if status.kind != FileKind::Regular || status.len == 0 {
        return Ok(None);
    }
    OpenFile::settled(file).map(Some)
}

fn open_input(
    disk: &dyn Disk,
    input: Input,
    options: &PackOptions,
    shared: &Shared,
) -> Result<Opened> {
    let failed = |error| Error::from_io(ErrorKind::Input, "cannot open the input", error);
    match input {
        Input::Stream(file, _) => {
            let regular = regular(&file)?;
            Ok(Opened::Stream(PipeEnd::new(file, shared.stop()).map_err(failed)?, regular))
        }
        Input::Archive(Archive { stream, ending, compare, .. }) => {
            let pipe = PipeEnd::new(stream, shared.stop()).map_err(failed)?;
            let can_compare = compare.is_some();
            let (ending, compare) = (Mutex::new(Some(ending)), Mutex::new(compare));
            Ok(Opened::Archive(pipe, Ends { ending, compare, can_compare }))
        }
        Input::Path(path) => match Source::open(disk, &path, options.direct)? {
            Source::Positional(source) => {
                let size = options.expected.check_size(source.status().len);
                size.map_err(|error| error.at(&path))?;
                Ok(Opened::Positional(source))
            }
            Source::Stream => {
                let pipe = PipeEnd::open(&path, shared.stop());
                Ok(Opened::Stream(pipe.map_err(|error| failed(error).at(&path))?, None))
            }
        },
    }
}

/// A job with its input open and its options checked.
struct Job<'a> {
    disk: &'a dyn Disk,
    source: Opened,
    /// Where the source was opened, unless it was open already.
    stream_path: Option<PathBuf>,
    options: &'a PackOptions,
    schedule: &'a Schedule,
    shared: Arc<Shared>,
    /// Whether what an earlier run wrote is compared with the source, which can't be known to be
    /// the same otherwise.
    compares: bool,
    /// Whether it goes on from an earlier run's checkpoint, which is not this run's to throw away.
    resumes: bool,
    /// The member index of an archive, once it ended.
    members: Mutex<Option<Encoded>>,
}

impl<'a> Job<'a> {
    fn new(
        disk: &'a dyn Disk,
        source: Opened,
        stream_path: Option<PathBuf>,
        options: &'a PackOptions,
        schedule: &'a Schedule,
        shared: Arc<Shared>,
    ) -> Self {
        let (compares, resumes, members) = (false, false, Mutex::new(None));
        Self { disk, source, stream_path, options, schedule, shared, compares, resumes, members }
    }

    fn recipe(&self) -> Result<Recipe> {
        self.options.recipe(match &self.source {
            Opened::Positional(source) => Some(source.status().len),
            Opened::Stream(..) | Opened::Archive(..) => None,
        })
    }

    /// Where extents come from, from extent `first` on where they can be had from there.
    fn supply(&self, geometry: &Geometry, first: u64) -> Supply {
        match &self.source {
            Opened::Positional(source) => Supply::positional(source.clone(), first),
            Opened::Stream(..) | Opened::Archive(..) => {
                // Enough for every core to have one in work and one waiting, and one being read.
                let portions = 2 * self.schedule.workers() + 1;
                let len = geometry.extent_raw_len() as usize;
                Supply::Stream(Feed::new(portions, len, Arc::clone(self.shared.event())))
            }
        }
    }

    /// Runs the workers, whose extents the coordinator is given as they complete; returns the
    /// length of the content.
    fn run(
        &self,
        work: &Work,
        files: crate::ring::Files,
        coordinator: &mut dyn Coordinator<Event>,
    ) -> Result<(u64, RunReport)> {
        let geometry = work.geometry;
        let size = match &self.source {
            Opened::Positional(source) => source.status().len,
            Opened::Stream(..) | Opened::Archive(..) => u64::MAX,
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
        let mut content_size = size;
        let progress = self.shared.progress();
        let covered = if self.compares { 0 } else { work.known.covered().bytes };
        progress.begin(Some(size).filter(|&size| size != u64::MAX), covered);
        let report = std::thread::scope(|scope| {
            let reader = match (self.source.pipe(), &work.supply) {
                (Some(pipe), Supply::Stream(feed)) => {
                    let read = move || {
                        let _guard = self.shared.guard();
                        // CF2, CF3: a refusal comes before the last portion is handed out.
                        let (expected, stop) = (&self.options.expected, self.shared.stop());
                        let read = feed.read_from(pipe, |size, ended| {
                            expected.check_read(size, ended, stop)?;
                            if ended { self.check_end() } else { Ok(()) }
                        });
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
            let report = crew.run(make_task, &receiver, coordinator);
            if let Supply::Stream(feed) = &work.supply {
                feed.stop();
            }
            if let Some(reader) = reader {
                // A panic of the reader's has failed the job already, through its guard.
                content_size = reader.join().unwrap_or(0);
            }
            report
        })?;
        if let Opened::Positional(source) = &self.source {
            source.check_unchanged()?;
            // CF2
            self.options.expected.check_end(content_size, self.shared.stop())?;
        }
        progress.finish(content_size);
        Ok((content_size, report))
    }

    /// Asks an archive that ended for its members, and looks whether a file that was read as a
    /// stream changed meanwhile.
    fn check_end(&self) -> Result<()> {
        let ends = match &self.source {
            Opened::Archive(_, ends) => ends,
            Opened::Stream(_, Some(file)) => return file.check_unchanged(),
            Opened::Stream(..) | Opened::Positional(_) => return Ok(()),
        };
        if let Some(ending) = taken(&ends.ending) {
            let encoded = ending()?.encoded()?;
            *self.members.lock().unwrap_or_else(PoisonError::into_inner) = encoded;
        }
        Ok(())
    }

    /// What the end of the container is made from, where the content is as expected.
    fn finish(
        &self,
        recipe: Recipe,
        work: Work,
        progress: Progress,
        content_size: u64,
    ) -> Result<Finish> {
        let Progress { extents, only_digest, .. } = progress;
        let geometry = work.geometry;
        let chunk_count = geometry.chunk_count(content_size);
        let extent_count = geometry.extent_count(chunk_count);
        let data_end = work.placement.data_end(extent_count);
        let members = taken(&self.members);
        let mut spool = work.known.into_spool();
        if let Some(digest) = only_digest.filter(|_| chunk_count == 1) {
            let record = spool.record(0)?;
            spool.put(0, &[ChunkRecord { chaining: digest, ..record }])?;
        }
        let data_end = data_end.expect("every extent is placed");
        let mut finish = Finish { recipe, spool, extents, content_size, data_end, members };
        if self.options.expected.blake3.is_some() {
            // CF2
            self.options.expected.check_digest(&finish.digest()?)?;
        }
        Ok(finish)
    }

    /// What the workers share, to go on behind what is known.
    fn work(&self, known: Known, streamed: bool) -> Work {
        let geometry = *known.geometry();
        let Checkpoint { extents, data_end, .. } = known.covered();
        let first = if self.compares { 0 } else { extents };
        Work {
            geometry,
            placement: Placement::behind(&geometry, ExtentNumber(extents), data_end),
            supply: self.supply(&geometry, first),
            known,
            chaining: self.options.blake3,
            gate: Gate::open(),
            output_failed: AtomicBool::new(false),
            streamed,
            shared: Arc::clone(&self.shared),
        }
    }

    fn input_files(&self) -> crate::ring::Files {
        match &self.source {
            Opened::Positional(source) => vec![Arc::clone(source.file())],
            Opened::Stream(..) | Opened::Archive(..) => Vec::new(),
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
            Opened::Stream(..) | Opened::Archive(..) => None,
        };
        let mut run = run;
        if header.table_offset == 0 {
            let what = "too many chunks for a seek table: only ringpack can seek in this container";
            run.warn(what.to_owned());
        }
        let source = self.is_regular().map(|source| *source.status());
        self.shared.progress().done();
        let (checked, resumed) = (self.options.check_content, None);
        PackReport { header, source, direct_input, direct_output, holes, checked, resumed, run }
    }

    fn is_regular(&self) -> Option<&Positional> {
        match &self.source {
            Opened::Positional(source) if source.status().kind == FileKind::Regular => Some(source),
            _ => None,
        }
    }
}

fn taken<T>(shared: &Mutex<Option<T>>) -> Option<T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What is known of the extents that completed so far.
#[derive(Debug)]
struct Progress {
    extents: SequenceSet,
    /// The digest of the content, in case chunk 0 turns out to be all of it.
    only_digest: Option<[u8; 32]>,
    holes: u64,
    /// The furthest end of a completed extent.
    frontier: u64,
    /// Extents that an earlier run wrote and that were not compared with the source yet.
    uncompared: u64,
}

impl Progress {
    /// The progress of a job that adopted what `covered` says.
    fn behind(covered: &Checkpoint) -> Self {
        Self {
            extents: SequenceSet::of_first(covered.extents),
            only_digest: None,
            holes: 0,
            frontier: covered.data_end,
            uncompared: 0,
        }
    }

    fn note(&mut self, written: &Written) {
        let is_new = self.extents.insert(written.placed.extent().number.0);
        assert!(is_new, "an extent completes once");
        self.note_digest(written.only_digest);
        self.holes += written.holes;
        self.frontier = self.frontier.max(written.placed.end());
    }

    fn note_digest(&mut self, only_digest: Option<[u8; 32]>) {
        self.only_digest = self.only_digest.or(only_digest);
    }
}
