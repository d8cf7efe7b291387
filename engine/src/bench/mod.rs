//! Measuring: what the device and the codec can do here, what the engine makes of it, and which of
//! the two holds it back.
//!
//! Everything is measured in turn, a round after the other, on the same bytes in the same folder,
//! so that ratios hold where absolute figures drift: a shared machine is faster in one minute than
//! in the next. What is compared is the median over the rounds.
//!
//! ```
//! use ringpack::bench::{BenchOptions, bench};
//! use ringpack::{Cancel, OsDisk};
//!
//! # fn main() -> ringpack::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let folder = dir.path();
//! let options = BenchOptions { size: 8 << 20, rounds: 1, ..BenchOptions::default() };
//! let report = bench(&OsDisk, folder, None, &options, &mut |_| {}, &Cancel::new())?;
//! for job in &report.jobs {
//!     println!("{}: {:.2} of what {} allows", job.name, job.reached, job.bottleneck);
//! }
//! # assert!(report.jobs.iter().all(|job| job.reached > 0.0));
//! # Ok(()) }
//! ```

mod codec;
mod content;
mod device;
mod report;
mod scratch;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::pack::{self, Input, PackOptions, pack};
use crate::pipeline::{IoMode, RunReport, Schedule};
use crate::read::ContainerReader;
use crate::ring::cpu;
use crate::ring::file::Disk;
use crate::unpack::{self, UnpackOptions, unpack};
use crate::verify::{VerifyOptions, verify};

use device::Device;
use report::Samples;
use scratch::Scratch;

pub use content::content;
pub use report::{BenchReport, Figure, Job, Limit};

/// Smallest content that is measured: a few extents for each of a few cores.
pub const SIZE_MIN: u64 = 8 << 20;

/// Most bytes that the codec is measured on: they are held in memory.
pub const CODEC_BYTES_MAX: u64 = 256 << 20;

/// Ranges that are read in a round.
const RANGES: u64 = 16;

/// Bytes of such a range.
const RANGE_LEN: u64 = 4096;

/// Options of measuring.
///
/// ```
/// use ringpack::Codec;
/// use ringpack::bench::BenchOptions;
///
/// let options = BenchOptions { codec: Codec::Store, size: 256 << 20, ..BenchOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct BenchOptions {
    /// Bytes of content, at least [`SIZE_MIN`]; of an input that has fewer, all of it. A round
    /// takes about three times as much space.
    pub size: u64,
    /// Times that each figure is taken, at least 1.
    pub rounds: u32,
    /// As of [`PackOptions`].
    pub codec: Codec,
    /// As of [`PackOptions`].
    pub chunk_log2: u8,
    /// As of [`PackOptions`].
    pub io: IoMode,
    /// As of [`PackOptions`].
    pub threads: Option<usize>,
    /// As of [`PackOptions`].
    pub direct: bool,
}

impl Default for BenchOptions {
    fn default() -> Self {
        let codec = Codec::Zstd(limits::LEVEL_DEFAULT);
        Self {
            size: 1 << 30,
            rounds: 5,
            codec,
            chunk_log2: codec.chunk_log2(),
            io: IoMode::Auto,
            threads: None,
            direct: true,
        }
    }
}

/// How far measuring has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The round, from 1 on; 0 while the content is made.
    pub round: u32,
    /// Rounds in all.
    pub rounds: u32,
    /// What is measured now.
    pub name: &'static str,
}

/// Measures in a new folder below `folder`, which is removed at the end, with the first bytes of
/// `input`, or with content made up: text, noise and zeros. `progress` is told of each step before
/// it begins.
///
/// # Errors
/// `InvalidOptions` for a size or a number of rounds out of range; `Input` where the input has
/// fewer than [`SIZE_MIN`] bytes, or can't be read; `Output` where the folder can't be written, and
/// `NoSpace`; as [`pack()`] and the others that are measured.
pub fn bench(
    disk: &dyn Disk,
    folder: &Path,
    input: Option<&Path>,
    options: &BenchOptions,
    progress: &mut dyn FnMut(Step),
    cancel: &Cancel,
) -> Result<BenchReport> {
    options.check()?;
    let mut tell = |round, name| {
        progress(Step { round, rounds: options.rounds, name });
        match cancel.is_cancelled() {
            true => Err(Error::new(ErrorKind::Cancelled, "the job was cancelled")),
            false => Ok(()),
        }
    };
    tell(0, "content")?;
    let scratch = Scratch::new(folder)?;
    let size = scratch.fill(input, options.size, cancel)?;
    let sample = scratch.sample(size.min(CODEC_BYTES_MAX))?;
    let schedule = Schedule::threads(options.threads, limits::core_bytes(options.chunk_log2))?;
    let workers = schedule.workers();
    let mut taken = Samples::default();
    let device = Device { disk, folder: scratch.path(), options, schedule: &schedule, cancel };
    let job = Jobs { disk, scratch: &scratch, options, cancel };
    let mut packs = Vec::new();
    for round in 1..=options.rounds {
        tell(round, "device: write")?;
        taken.note("write", size, device.write(size)?);
        tell(round, "device: read")?;
        taken.note("read", size, device.read(size)?);
        tell(round, "device: copy")?;
        taken.note("copy", size, device.copy(size)?);
        tell(round, "codec: one core")?;
        let (one, frames) = codec::encode(&sample, options, 1)?;
        taken.note("encode", sample.len() as u64, one);
        taken.note("decode", sample.len() as u64, codec::decode(&frames, options, 1)?);
        tell(round, "codec: all cores")?;
        let (all, frames) = codec::encode(&sample, options, workers)?;
        taken.note("encode, all cores", sample.len() as u64, all);
        let all = codec::decode(&frames, options, workers)?;
        taken.note("decode, all cores", sample.len() as u64, all);
        drop(frames);
        tell(round, "engine: pack")?;
        let (spent, report) = timed(|| job.pack())?;
        taken.note("pack", size, spent);
        let packed = report.header.file_size;
        packs.push(report);
        tell(round, "engine: verify")?;
        taken.note("verify", packed, timed(|| job.verify())?.0);
        tell(round, "engine: unpack")?;
        taken.note("unpack", size, timed(|| job.unpack())?.0);
        tell(round, "engine: range read")?;
        taken.note("range", RANGES * RANGE_LEN, timed(|| job.ranges(round, size))?.0);
        scratch.clear()?;
    }
    let io_workers_max = packs.iter().map(|packed| packed.run.io_workers_max).max();
    let last = packs.pop().expect("there was a round");
    let run = RunReport { io_workers_max: io_workers_max.unwrap_or(0), ..last.run };
    Ok(taken.report(report::Setting {
        size,
        packed: last.header.file_size,
        ranges: RANGES,
        chunk_len: 1 << options.chunk_log2,
        threads: workers,
        rounds: options.rounds,
        direct: (last.direct_input, last.direct_output) == (Some(true), Some(true)),
        run,
    }))
}

impl BenchOptions {
    fn check(&self) -> Result<()> {
        let wrong = |what| Err(Error::new(ErrorKind::InvalidOptions, what));
        crate::chunker::check_chunk_log2(self.chunk_log2)?;
        self.codec.check()?;
        if self.size < SIZE_MIN {
            return wrong(format!("{} bytes are fewer than {SIZE_MIN}", self.size));
        }
        if self.rounds == 0 {
            return wrong("no round measures nothing".to_owned());
        }
        Ok(())
    }
}

/// What a job took.
#[derive(Clone, Copy, Debug)]
struct Spent {
    wall: Duration,
    /// Of all threads of the process.
    cpu: Duration,
}

/// Runs `job` and says what it took.
fn timed<T>(job: impl FnOnce() -> Result<T>) -> Result<(Spent, T)> {
    let (wall, cpu) = (Instant::now(), cpu::used());
    let done = job()?;
    Ok((Spent { wall: wall.elapsed(), cpu: cpu::used().saturating_sub(cpu) }, done))
}

/// The engine's own jobs, as a program calls them.
struct Jobs<'a> {
    disk: &'a dyn Disk,
    scratch: &'a Scratch,
    options: &'a BenchOptions,
    cancel: &'a Cancel,
}

impl Jobs<'_> {
    fn pack(&self) -> Result<pack::PackReport> {
        let BenchOptions { codec, chunk_log2, io, threads, direct, .. } = *self.options;
        let options = PackOptions {
            codec,
            chunk_log2: Some(chunk_log2),
            io,
            threads,
            direct,
            ..PackOptions::default()
        };
        let from = Input::Path(self.scratch.raw());
        let to = pack::Output::Path(self.scratch.container());
        pack(self.disk, from, to, &options, self.cancel)
    }

    fn verify(&self) -> Result<()> {
        let BenchOptions { io, threads, direct, .. } = *self.options;
        let options = VerifyOptions { io, threads, direct, ..VerifyOptions::default() };
        let found = verify(self.disk, &self.scratch.container(), &options, self.cancel)?;
        match found.damages.into_iter().next() {
            Some(damage) => Err(damage),
            None => Ok(()),
        }
    }

    fn unpack(&self) -> Result<()> {
        let BenchOptions { io, threads, direct, .. } = *self.options;
        let options = UnpackOptions { io, threads, direct, ..UnpackOptions::default() };
        let to = unpack::Output::Path(self.scratch.restored());
        unpack(self.disk, &self.scratch.container(), to, &options, self.cancel).map(drop)
    }

    /// Reads ranges far apart, opening the container anew for each: the index is cold in memory,
    /// though the page cache may have it.
    fn ranges(&self, round: u32, size: u64) -> Result<()> {
        for range in 0..RANGES {
            // A walk by the golden ratio, another in each round.
            let step = (u64::from(round) * RANGES + range).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let start = step % (size - RANGE_LEN);
            let reader = ContainerReader::open(self.scratch.container())?;
            reader.read_range(start..start + RANGE_LEN)?;
        }
        Ok(())
    }
}
