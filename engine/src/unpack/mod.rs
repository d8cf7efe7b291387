//! Unpacking: a container back into the content, into a file or in order into a pipe.
//!
//! The mirror of packing, on the same workers: an extent is read, each of its chunks verified and
//! decoded, and written where it belongs. Runs of zeros are not written: they are left, or made,
//! holes. The file is published like a container is, whole or not at all.

mod task;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::commit::{Ahead, Gate, Partial, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::ordered::OrderedWriter;
use crate::pipeline::{Channel, Crew, IoMode, RunReport, Schedule, Shared};
use crate::placement::sequence_set::SequenceSet;
use crate::progress::Progress;
use crate::read::{Container, OnDisk};
use crate::ring::Files;
use crate::ring::file::{Attributes, Disk, File, Replace, Status};
use crate::ring::stream::PipeEnd;
use crate::trace;
use crate::units::align_up;

use task::{Restored, UnpackTask, Work};

/// Where the content goes.
///
/// ```
/// use ringpack::unpack::Output;
///
/// let restored = Output::Path("data".into());
/// # let _ = restored;
/// ```
#[derive(Debug)]
pub enum Output {
    /// Under this name, published when it is complete and durable.
    Path(PathBuf),
    /// Into an open pipe, in order.
    Stream(fs::File),
}

/// Options of unpacking.
///
/// ```
/// use ringpack::unpack::UnpackOptions;
///
/// let options = UnpackOptions { replace: true, ..UnpackOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct UnpackOptions {
    /// Whether an existing target is replaced.
    pub replace: bool,
    /// Which backend to use.
    pub io: IoMode,
    /// Worker threads; as many as cores, CPU quota and memory allow where `None`.
    pub threads: Option<usize>,
    /// Whether to go past the page cache where the file systems serve that.
    pub direct: bool,
    /// Where to tell how far it is.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub progress: Progress,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        let progress = Progress::default();
        Self { replace: false, io: IoMode::Auto, threads: None, direct: true, progress }
    }
}

/// What unpacking came to.
///
/// ```
/// use ringpack::unpack::{Output, UnpackOptions, unpack};
/// use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
/// use ringpack::{Cancel, OsDisk};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (container, restored) = (dir.path().join("data.zst"), dir.path().join("data"));
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # std::fs::write(&container, writer.finalize()?).unwrap();
/// let (to, options) = (Output::Path(restored.clone()), UnpackOptions::default());
/// let report = unpack(&OsDisk, &container, to, &options, &Cancel::new())?;
/// assert_eq!(report.content_size, 17);
/// assert_eq!(std::fs::read(restored).unwrap(), b"something to keep");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct UnpackReport {
    /// What the container's file was when it was unpacked.
    pub source: Status,
    /// Length of the content in bytes.
    pub content_size: u64,
    /// Bytes of it that are holes.
    pub holes: u64,
    /// Whether the container was read past the page cache.
    pub direct_input: bool,
    /// Whether the output was written past the page cache; `None` for a pipe.
    pub direct_output: Option<bool>,
    /// Counts and tier.
    pub run: RunReport,
}

/// Restores the content of the container at `input`.
///
/// # Errors
/// Every kind. After an error nothing stands under the output's name that wasn't there before; a
/// pipe was given only chunks that were verified, in order.
pub fn unpack(
    disk: &dyn Disk,
    input: &Path,
    output: Output,
    options: &UnpackOptions,
    cancel: &Cancel,
) -> Result<UnpackReport> {
    trace::job("unpack", input, || {
        let schedule = |core_bytes| Schedule::threads(options.threads, core_bytes);
        unpack_by(disk, input, output, options, cancel, &schedule)
    })
}

/// As [`unpack`], on workers run as `schedule` says.
///
/// # Errors
/// As [`unpack`].
#[doc(hidden)]
pub fn unpack_scheduled(
    disk: &dyn Disk,
    input: &Path,
    output: Output,
    options: &UnpackOptions,
    cancel: &Cancel,
    schedule: &Schedule,
) -> Result<UnpackReport> {
    unpack_by(disk, input, output, options, cancel, &|_| Ok(schedule.clone()))
}

/// As [`unpack`], on workers run as `schedule` says once it knows how much memory each takes.
fn unpack_by(
    disk: &dyn Disk,
    input: &Path,
    output: Output,
    options: &UnpackOptions,
    cancel: &Cancel,
    schedule: &dyn Fn(u64) -> Result<Schedule>,
) -> Result<UnpackReport> {
    let opened = OnDisk::open(disk, input, options.direct)?;
    opened.container.check_sums()?;
    let schedule = schedule(limits::core_bytes(opened.container.geometry().chunk_log2))?;
    let shared = Shared::watched(cancel, &options.progress);
    let job = Job { disk, opened, options, schedule, shared };
    match output {
        Output::Path(path) => job.into_file(&path).map_err(|error| match error.kind() {
            ErrorKind::Output | ErrorKind::NoSpace => error.at(&path),
            _ => error,
        }),
        Output::Stream(file) => job.into_stream(file),
    }
}

struct Job<'a> {
    disk: &'a dyn Disk,
    opened: OnDisk,
    options: &'a UnpackOptions,
    schedule: Schedule,
    shared: Arc<Shared>,
}

impl Job<'_> {
    fn into_file(self, path: &Path) -> Result<UnpackReport> {
        let replace = if self.options.replace { Replace::Allowed } else { Replace::Never };
        let target = Target::new(self.disk, path, replace)?;
        let source = self.opened.status;
        target.refuse_source(&source)?;
        let partial = Partial::create(target, self.options.direct)?;
        let file = Arc::clone(partial.file());
        let content_size = self.opened.container.header().content_size;
        let gate = Gate::open();
        let whole = align_up(content_size);
        let mut ahead = Ahead::new(&file, &gate, 0..whole, data_parts(&self.opened.container));
        let mut frontier = 0;
        let mut holes = Holes::default();
        let files = vec![Arc::clone(&self.opened.file), Arc::clone(&file)];
        let (hole_bytes, mut run) = self.run(files, Some(&gate), &mut |restored| {
            for hole in &restored.holes {
                holes.add(hole.clone());
            }
            holes.punch(&file, HOLES_MAX)?;
            frontier = restored.end.max(frontier);
            if ahead.reach(frontier) {
                self.shared.event().advance();
            }
            Ok(())
        })?;
        // Each step is reached only when the one before it went well.
        holes.punch(&file, 0)?;
        file.set_len(content_size).map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot set the file's length", error)
        })?;
        let attributes = Attributes {
            mode: source.mode,
            owner: Some((source.uid, source.gid)),
            modified: Some(source.modified),
        };
        partial.make_durable(&attributes)?;
        self.shared.check()?;
        let direct_output = Some(file.is_direct());
        if let Some(what) = partial.took_over() {
            run.warn(what.to_owned());
        }
        partial.publish()?;
        Ok(self.report(direct_output, hole_bytes, run))
    }

    fn into_stream(self, output: fs::File) -> Result<UnpackReport> {
        let pipe = PipeEnd::for_writing(output, self.shared.stop()).map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot write", error).at("standard output")
        })?;
        let event = Arc::clone(self.shared.event());
        let mut writer = OrderedWriter::new(&pipe, &event);
        let files = vec![Arc::clone(&self.opened.file)];
        let (_, run) = self.run(files, None, &mut |restored| {
            writer.take(restored.handed_over.expect("a streamed extent brings its bytes"))
        })?;
        Ok(self.report(None, 0, run))
    }

    fn run(
        &self,
        files: Files,
        gate: Option<&Gate>,
        note: &mut dyn FnMut(Restored) -> Result<()>,
    ) -> Result<(u64, RunReport)> {
        let geometry = self.opened.container.geometry();
        let header = self.opened.container.header();
        let extents = self.opened.container.extent_count();
        // No more and no longer buffers than the container has use for.
        let depth = limits::buffers_per_side(geometry.extent_raw_len(), extents);
        let input_len = geometry.extent_len_max().min(align_up(header.data_end)) as usize;
        let output_len = geometry.extent_raw_len().min(header.content_size) as usize;
        let schedule = self.schedule.at_most(extents);
        let work = Work::new(&self.opened.container, gate, Arc::clone(&self.shared));
        let crew = Crew {
            disk: self.disk,
            io: self.options.io,
            schedule: &schedule,
            files,
            inputs: (depth, input_len),
            outputs: (depth, output_len),
            shared: Arc::clone(&self.shared),
        };
        let (channel, receiver) = Channel::new(schedule.workers());
        let mut extents = SequenceSet::default();
        let mut hole_bytes = 0;
        let progress = self.shared.progress();
        progress.begin(Some(header.content_size), 0);
        let report = crew.run(
            || UnpackTask::new(&work, channel.sender()),
            &receiver,
            &mut |restored: Restored| {
                assert!(extents.insert(restored.number), "an extent completes once");
                hole_bytes += restored.holes.iter().map(|hole| hole.end - hole.start).sum::<u64>();
                note(restored)
            },
        )?;
        assert!(
            extents.complete(self.opened.container.extent_count()),
            "every extent was restored"
        );
        progress.finish(header.content_size);
        Ok((hole_bytes, report))
    }

    fn report(&self, direct_output: Option<bool>, holes: u64, run: RunReport) -> UnpackReport {
        self.shared.progress().done();
        UnpackReport {
            source: self.opened.status,
            content_size: self.opened.container.header().content_size,
            holes,
            direct_input: self.opened.file.is_direct(),
            direct_output,
            run,
        }
    }
}

/// Hole ranges kept before they are punched.
const HOLES_MAX: usize = 1 << 16;

/// Ranges of the output that were not written and are to be holes; neighbours are joined.
#[derive(Debug, Default)]
struct Holes {
    by_start: BTreeMap<u64, u64>,
}

impl Holes {
    fn add(&mut self, hole: std::ops::Range<u64>) {
        let (mut start, mut end) = (hole.start, hole.end);
        if let Some(after) = self.by_start.remove(&end) {
            end = after;
        }
        if let Some((&before, &before_end)) = self.by_start.range(..start).next_back()
            && before_end == start
        {
            self.by_start.remove(&before);
            start = before;
        }
        self.by_start.insert(start, end);
    }

    /// Punches all, once there are more than `most`. They were never written, so they read as zeros
    /// whether or not the file system can punch; it only frees what was allocated ahead.
    fn punch(&mut self, file: &Arc<dyn File>, most: usize) -> Result<()> {
        if self.by_start.len() <= most {
            return Ok(());
        }
        for (start, end) in std::mem::take(&mut self.by_start) {
            match file.punch_hole(start, end - start) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return Ok(()),
                Err(error) => {
                    let what = "cannot make a hole";
                    return Err(Error::from_io(ErrorKind::Output, what, error).offset(start));
                }
            }
        }
        Ok(())
    }
}

/// The parts of a range of the content that are to be allocated: not the chunks whose checksum says
/// that they are zeros, because a sparse image must fit where it fitted before.
fn data_parts(container: &Container) -> impl FnMut(Range<u64>) -> Vec<Range<u64>> + '_ {
    let header = container.header();
    let chunk_len = header.chunk_len();
    let zeros_crc32c = crate::checksum::crc32c_of_zeros(chunk_len as usize);
    move |range| {
        let mut parts: Vec<Range<u64>> = Vec::new();
        for chunk in range.start / chunk_len..range.end.div_ceil(chunk_len).min(header.chunk_count)
        {
            if container.index().entries[chunk as usize].raw_crc32c == zeros_crc32c {
                continue;
            }
            let start = range.start.max(chunk * chunk_len);
            let end = range.end.min((chunk + 1) * chunk_len);
            match parts.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => parts.push(start..end),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_join_their_neighbours_in_any_order() {
        for order in [[0u64, 1, 2, 3], [3, 1, 0, 2], [0, 2, 1, 3], [2, 3, 0, 1]] {
            let mut holes = Holes::default();
            for i in order {
                holes.add(i * 10..(i + 1) * 10);
            }
            holes.add(100..110);
            let joined: Vec<_> = holes.by_start.into_iter().collect();
            assert_eq!(joined, [(0, 40), (100, 110)]);
        }
    }
}
