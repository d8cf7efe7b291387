//! Verifying: reading every byte of a container and comparing it with what it is said to be.
//!
//! The checksums of the frames make this a scrub that decodes nothing; `decode` decodes every chunk
//! as well. Damage doesn't end it, nor does a sector that can't be read: every damaged chunk is
//! found and named. What is decoded can be compared with the source it was packed from
//! ([`against`](VerifyOptions::against)).
//!
//! # Invariants
//! - X1: every byte of the file is compared with a checksum, with another structure, or with the
//!   one value it can have.

pub(crate) mod against;
mod check;
pub mod reader;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

pub use against::Comparison;
pub use reader::Findings;

use against::Against;
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
use crate::units::align_up;
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
    /// The file or block device to compare the content with, byte by byte; every chunk is decoded
    /// then.
    pub against: Option<PathBuf>,
    /// Which backend to use.
    pub io: IoMode,
    /// Worker threads; as many as cores, CPU quota and memory allow where `None`.
    pub threads: Option<usize>,
    /// Whether to read past the page cache where the file system serves that.
    pub direct: bool,
    /// Where to tell how far it is.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub progress: Progress,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            decode: false,
            against: None,
            io: IoMode::Auto,
            threads: None,
            direct: true,
            progress: Progress::default(),
        }
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
    /// What the comparison with a source found, where one was asked for.
    pub comparison: Option<Comparison>,
    /// Whether the container was read past the page cache.
    pub direct: bool,
    /// Counts and tier.
    pub run: RunReport,
}

/// Verifies the container at `input`. Damage to frames is in the report.
///
/// # Errors
/// As [`Container::open`] where header, index or seek table are damaged, and `Input` where the file
/// can't be read. `Input` and `InputChanged` of what it is compared with.
pub fn verify(
    disk: &dyn Disk,
    input: &Path,
    options: &VerifyOptions,
    cancel: &Cancel,
) -> Result<VerifyReport> {
    trace::job("verify", input, || {
        let schedule = |core_bytes| Schedule::threads(options.threads, core_bytes);
        verify_by(disk, input, options, cancel, &schedule)
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
    verify_by(disk, input, options, cancel, &|_| Ok(schedule.clone()))
}

/// As [`verify`], with the workers run as `schedule` says once it knows how much memory each takes.
fn verify_by(
    disk: &dyn Disk,
    input: &Path,
    options: &VerifyOptions,
    cancel: &Cancel,
    schedule: &dyn Fn(u64) -> Result<Schedule>,
) -> Result<VerifyReport> {
    let opened = OnDisk::open(disk, input, options.direct)?;
    let schedule = schedule(limits::core_bytes(opened.container.geometry().chunk_log2))?;
    let against = options.against.as_deref().map(|path| Against::open(disk, path)).transpose()?;
    let shared = Shared::watched(cancel, &options.progress);
    let size = opened.container.header().content_size;
    options.progress.begin(Some(size), 0);
    let job = Verifying { disk, io: options.io, schedule: &schedule, shared: &shared };
    let report = job.run(&opened, options.decode, against.as_ref())?;
    options.progress.done();
    Ok(report)
}

/// What verifying an open container takes.
pub(crate) struct Verifying<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) io: IoMode,
    pub(crate) schedule: &'a Schedule,
    pub(crate) shared: &'a Arc<Shared>,
}

impl Verifying<'_> {
    /// Verifies it; `against` is what its content is compared with.
    ///
    /// # Errors
    /// As [`verify`].
    pub(crate) fn run(
        &self,
        opened: &OnDisk,
        decode: bool,
        against: Option<&Against>,
    ) -> Result<VerifyReport> {
        let OnDisk { container, file, .. } = opened;
        container.check_sums()?;
        let work = Work { container, against, next: AtomicU64::new(0) };
        let decode = decode || against.is_some();
        let geometry = container.geometry();
        let header = container.header();
        let extents = container.extent_count();
        // No more and no longer buffers than the container has use for.
        let depth = limits::buffers_per_side(geometry.extent_raw_len(), extents);
        let input_len = geometry.extent_len_max().min(align_up(header.data_end)) as usize;
        let chunk_len = geometry.chunk_len().min(header.content_size) as usize;
        let schedule = self.schedule.at_most(extents);
        let crew = Crew {
            disk: self.disk,
            io: self.io,
            schedule: &schedule,
            files: vec![Arc::clone(file)],
            inputs: (depth, input_len),
            // Decoded chunks are looked at one at a time and written nowhere.
            outputs: (1, if decode { chunk_len } else { limits::ALIGN }),
            shared: Arc::clone(self.shared),
        };
        let (channel, receiver) = Channel::new(schedule.workers());
        let mut damages = Damages::default();
        let run = crew.run(
            || VerifyTask {
                work: &work,
                shared: self.shared,
                check: Check::new(container, decode),
                piece: Vec::new(),
                found: channel.sender(),
            },
            &receiver,
            &mut |damage| {
                damages.note(damage);
                Ok(())
            },
        )?;
        self.shared.progress().finish(header.content_size);
        // X1: header, index and table were compared when the container was opened, the extents by
        // the workers; this is what is left.
        damages.of(container.check_rest())?;
        let end = |against: &Against| against.end(header.content_size, container.path());
        Ok(VerifyReport {
            content_size: header.content_size,
            file_size: header.file_size,
            chunk_count: header.chunk_count,
            damage_count: damages.count,
            damages: damages.sorted(),
            comparison: against.map(end).transpose()?,
            direct: file.is_direct(),
            run,
        })
    }
}

struct Work<'a> {
    container: &'a Container,
    against: Option<&'a Against>,
    next: AtomicU64,
}

struct VerifyTask<'a> {
    work: &'a Work<'a>,
    shared: &'a Shared,
    check: Check<'a>,
    /// Memory for what is compared.
    piece: Vec<u8>,
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

    /// Compares a chunk, which `chunk` begins with, with the source, if there is one.
    fn compare(&mut self, sequence: u64, chunk: &[u8]) -> Result<()> {
        let Some(against) = self.work.against else { return Ok(()) };
        let container = self.work.container;
        let content = &chunk[..container.index().entries[sequence as usize].raw_len as usize];
        let offset = sequence * container.header().chunk_len();
        against.compare(content, offset, Some(sequence), &mut self.piece)
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
        // To the start of the next extent: the rest of a slot is compared as well.
        let len = container.span_end(chunks.end - 1) - start;
        if let Some(against) = self.work.against {
            let chunk_len = container.header().chunk_len();
            against.expect(chunks.start * chunk_len, (chunks.end - chunks.start) * chunk_len);
        }
        Ok(Claim::Unit(number, Input::Read(FileSlot(0), vec![Span::to_grid(start, len)])))
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
                result => {
                    result?;
                    self.compare(sequence, output)?;
                }
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
