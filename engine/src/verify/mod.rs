//! Verifying: reading every byte of a container and comparing it with what it is said to be.
//!
//! The checksums of the frames make this a scrub that decodes nothing; `decode` decodes every chunk
//! as well. Damage doesn't end it, nor does a sector that can't be read: every damaged chunk is
//! found and named.
//!
//! # Invariants
//! - X1: every byte of the file is compared with a checksum, with another structure, or with the
//!   one value it can have.

mod check;
pub mod reader;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

pub use reader::Findings;

use check::{Check, Damages};

use crate::buffer::Buffer;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::pipeline::{Channel, Crew, IoMode, RunReport, Schedule, Shared};
use crate::progress::Progress;
use crate::read::{Container, OnDisk};
use crate::ring::file::Disk;
use crate::ring::{Failure, FileSlot, OpKind, Span};
use crate::trace;
use crate::worker::{Claim, Input, Placing, Task};

/// Damages that are reported one by one; more are counted.
pub const DAMAGES_MAX: usize = 1000;

/// Options of verifying.
///
/// ```
/// use ringpack::verify::VerifyOptions;
///
/// // Every checksum, and every frame decoded.
/// let options = VerifyOptions { decode: true, ..VerifyOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct VerifyOptions {
    /// Whether to decode every chunk too.
    pub decode: bool,
    /// Which backend to use.
    pub io: IoMode,
    /// Worker threads; as many as the process has cores where `None`.
    pub threads: Option<usize>,
    /// Whether to read past the page cache where the file system serves that.
    pub direct: bool,
    /// Where to tell how far it is.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub progress: Progress,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        let progress = Progress::default();
        Self { decode: false, io: IoMode::Auto, threads: None, direct: true, progress }
    }
}

/// What verifying found.
///
/// ```
/// use ringpack::verify::{VerifyOptions, verify};
/// use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
/// use ringpack::{Cancel, OsDisk};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let container = dir.path().join("data.zst");
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # std::fs::write(&container, writer.finalize()?).unwrap();
/// let report = verify(&OsDisk, &container, &VerifyOptions::default(), &Cancel::new())?;
/// assert!(report.damages.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct VerifyReport {
    /// Length of the content in bytes.
    pub content_size: u64,
    /// Length of the container in bytes.
    pub file_size: u64,
    /// Number of chunks.
    pub chunk_count: u64,
    /// The damages in order of their chunks; past [`DAMAGES_MAX`], those found first.
    pub damages: Vec<Error>,
    /// Number of all damages.
    pub damage_count: u64,
    /// Whether the container was read past the page cache.
    pub direct: bool,
    /// Counts and tier.
    pub run: RunReport,
}

/// Verifies the container at `input`. Damage to frames is in the report.
///
/// # Errors
/// As [`Container::open`] where header, index or seek table are damaged, and `Input` where the file
/// can't be read.
pub fn verify(
    disk: &dyn Disk,
    input: &Path,
    options: &VerifyOptions,
    cancel: &Cancel,
) -> Result<VerifyReport> {
    trace::job("verify", input, || {
        let schedule = Schedule::threads(options.threads)?;
        verify_scheduled(disk, input, options, cancel, &schedule)
    })
}

/// As [`verify`], with the workers run as `schedule` says instead of by `options.threads`.
///
/// # Errors
/// As [`verify`].
pub fn verify_scheduled(
    disk: &dyn Disk,
    input: &Path,
    options: &VerifyOptions,
    cancel: &Cancel,
    schedule: &Schedule,
) -> Result<VerifyReport> {
    let OnDisk { container, file, .. } = OnDisk::open(disk, input, options.direct)?;
    container.check_sums()?;
    let shared = Shared::watched(cancel, &options.progress);
    let work = Work { container: &container, next: AtomicU64::new(0) };
    let geometry = container.geometry();
    let header = container.header();
    let extents = container.extent_count();
    // No more and no longer buffers than the container has use for.
    let depth = limits::buffers_per_side(geometry.extent_raw_len(), extents);
    let input_len = geometry.extent_len_max().min(header.data_end) as usize;
    let chunk_len = geometry.chunk_len().min(header.content_size) as usize;
    let schedule = schedule.at_most(extents);
    let crew = Crew {
        disk,
        io: options.io,
        schedule: &schedule,
        files: vec![Arc::clone(&file)],
        inputs: (depth, input_len),
        // Decoded chunks are looked at one at a time and written nowhere.
        outputs: (1, if options.decode { chunk_len } else { limits::ALIGN }),
        shared: Arc::clone(&shared),
    };
    let (channel, receiver) = Channel::new(schedule.workers());
    let mut damages = Damages::default();
    let progress = &options.progress;
    progress.begin(Some(header.content_size), 0);
    let run = crew.run(
        || {
            let check = Check::new(&container, options.decode);
            VerifyTask { work: &work, shared: &shared, check, found: channel.sender() }
        },
        &receiver,
        &mut |damage| {
            damages.note(damage);
            Ok(())
        },
    )?;
    progress.finish(header.content_size);
    // X1: header, index and table were compared when the container was opened, the extents by the
    // workers; this is what is left.
    damages.of(container.check_rest())?;
    progress.done();
    Ok(VerifyReport {
        content_size: container.header().content_size,
        file_size: container.header().file_size,
        chunk_count: container.header().chunk_count,
        damage_count: damages.count,
        damages: damages.sorted(),
        direct: file.is_direct(),
        run,
    })
}

struct Work<'a> {
    container: &'a Container,
    next: AtomicU64,
}

struct VerifyTask<'a> {
    work: &'a Work<'a>,
    shared: &'a Shared,
    check: Check<'a>,
    found: Sender<Error>,
}

impl VerifyTask<'_> {
    /// Tells that an extent is through.
    fn tell(&self, number: u64) {
        let container = self.work.container;
        let chunks = container.extent_chunks(number);
        let entries = &container.index().entries[chunks.start as usize..chunks.end as usize];
        let content_bytes = entries.iter().map(|entry| u64::from(entry.raw_len)).sum();
        let end = container.span_end(chunks.end - 1);
        self.shared.progress().extent(content_bytes, end - entries[0].offset);
    }

    fn note(&self, damage: Error) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Cancelled, "the job was cancelled");
        self.found.send(damage).map_err(gone)
    }
}

impl Task for VerifyTask<'_> {
    type Unit = u64;

    fn claim(&mut self) -> Result<Claim<u64>> {
        let container = self.work.container;
        let number = self.work.next.fetch_add(1, Ordering::Relaxed);
        if number >= container.extent_count() {
            return Ok(Claim::Exhausted);
        }
        let chunks = container.extent_chunks(number);
        let start = container.index().entries[chunks.start as usize].offset;
        // To the start of the next extent: the pad is compared as well.
        let len = (container.span_end(chunks.end - 1) - start) as usize;
        Ok(Claim::Unit(number, Input::Read(FileSlot(0), vec![Span::exact(start, 0, len)])))
    }

    fn transform(
        &mut self,
        number: &mut u64,
        input: Option<&mut [u8]>,
        output: &mut [u8],
    ) -> Result<()> {
        let input = input.expect("an extent is read");
        let container = self.work.container;
        let chunks = container.extent_chunks(*number);
        let start = container.index().entries[chunks.start as usize].offset;
        for sequence in chunks {
            self.shared.check()?;
            let from = container.index().entries[sequence as usize].offset;
            let bytes =
                &input[(from - start) as usize..(container.span_end(sequence) - start) as usize];
            match self.check.chunk(sequence, bytes, output) {
                Err(damage) if damage.kind() == ErrorKind::Damaged => self.note(damage)?,
                result => result?,
            }
        }
        Ok(())
    }

    fn place(&mut self, _: &mut u64) -> Result<Placing> {
        Ok(Placing::Nothing)
    }

    fn hand_over(&mut self, _: u64, _: Buffer) -> Result<()> {
        unreachable!("verifying hands nothing over")
    }

    fn reclaim(&mut self) -> Option<Buffer> {
        None
    }

    fn complete(&mut self, number: u64) -> Result<()> {
        self.tell(number);
        Ok(())
    }

    fn failed(&mut self, number: u64, _: OpKind, offset: u64, failure: Failure) -> Result<()> {
        let container = self.work.container;
        let chunks = container.extent_chunks(number);
        match failure {
            Failure::Os(error) if error.raw_os_error() == Some(libc::EIO) => {
                self.tell(number);
                // What a scrub is for: a place that the medium doesn't give back.
                for sequence in chunks {
                    self.note(container.damaged(sequence, "the device can't read its extent"))?;
                }
                Ok(())
            }
            Failure::Os(error) => {
                let error = Error::from_io(ErrorKind::Input, "cannot read", error);
                Err(container.named(error.sequence(chunks.start).offset(offset)))
            }
            Failure::EndOfFile => {
                let error = Error::new(ErrorKind::InputChanged, "shrank while it was read");
                Err(container.named(error.sequence(chunks.start).offset(offset)))
            }
        }
    }

    fn check(&self) -> Result<()> {
        self.shared.check()
    }
}
