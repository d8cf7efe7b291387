//! Packing under the laboratory: what the engine promises of a power cut, checked.
//!
//! The bin `claiming-pack` packs a file that is on another file system, and marks what it claims.
//! The promises that [`Packing::check`] holds it to:
//!
//! 1. The target is the old file whole, the new one whole, or nothing where there was nothing.
//! 2. Once `committed` was claimed, the new one is there, with its permission bits.
//! 3. A checkpoint that was claimed is not lost: going on adopts at least as many bytes.
//! 4. A checkpoint that is found, claimed or not, names nothing that isn't on the medium: all that
//!    it covers is adopted.
//! 5. What goes on ends with the bytes of a run that was never interrupted. Where there is nothing
//!    to go on from, no checkpoint was claimed, and packing anew gives the same bytes.
//! 6. Then nothing but the target is left; and where the target is the new file already, nothing
//!    but a journal, which `ringpack clean` takes for stale.
//! 7. A partial file is never readable by more than the finished one, a journal by its owner alone,
//!    and no other name is there.
//!
//! What is found is looked at before anything is changed; going on comes last, in the mounted state
//! itself, and only where something is left to go on with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use ringpack::commit::clean::clean;
use ringpack::limits::ALIGN;
use ringpack::pack::{self, PackOptions, ResumeOptions, Resumed, recorded_input, resume};
use ringpack::pipeline::IoMode;
use ringpack::ring::os::OsDisk;
use ringpack::{Cancel, ErrorKind};

use crate::base::Base;
use crate::claims::Claims;
use crate::flavour::Flavour;
use crate::lab::Lab;
use crate::log::Log;
use crate::outcome::complaint;
use crate::record::{Fault, Options, record};
use crate::shape::{Shape, Stop};
use crate::tape::fingerprint;
use crate::tool;
use crate::toy::read;

/// The claim that the target is published, durably.
pub const COMMITTED: &str = "committed";
/// The word of the claim that so many bytes of content are durable.
pub const CHECKPOINT: &str = "checkpoint";
/// The name of the container.
const TARGET: &str = "content.zst";
const PARTIAL: &str = "content.zst.ringpack-partial";
const JOURNALS: [&str; 2] = ["content.zst.ringpack-journal", "content.zst.ringpack-rewrite"];
/// Permission bits of the input, and so of the finished container.
const MODE: u32 = 0o640;
/// What `mkfs.ext4` puts into a new file system.
const NOT_OURS: &str = "lost+found";

/// What is packed, and what it must come to.
#[derive(Debug)]
pub struct Packing {
    program: PathBuf,
    folder: PathBuf,
    input: PathBuf,
    shape: Shape,
    len: u64,
    old: Option<Vec<u8>>,
    new: Vec<u8>,
    recovered: Recovered,
}

/// What it took to recover from the states that were checked.
#[derive(Debug, Default)]
struct Recovered {
    resumed: AtomicUsize,
    anew: AtomicUsize,
}

impl Packing {
    /// Packing `len` bytes in a shape by `program`, which is `claiming-pack`.
    ///
    /// # Panics
    /// Where the program fails even on a sound disk.
    #[must_use]
    pub fn new(lab: &Lab, program: &Path, len: usize, shape: Shape) -> Self {
        let folder = lab.folder("input");
        let input = folder.join("content");
        fs::write(&input, support::content(len, 7)).expect("the input can be written");
        fs::set_permissions(&input, fs::Permissions::from_mode(MODE)).expect("a file of ours");
        let old = shape.replaces.then(|| support::content(300_000, 8));
        let (program, recovered) = (program.to_owned(), Recovered::default());
        let len = len as u64;
        let new = Vec::new();
        let mut packing = Self { program, folder, input, shape, len, old, new, recovered };
        let output = packing.pack(&packing.folder, &packing.folder.join("marks"), None);
        assert!(output.status.success(), "{}", complaint(&output));
        packing.new = fs::read(packing.folder.join(TARGET)).expect("it was packed");
        packing
    }

    /// A file system with what stood there before.
    #[must_use]
    pub fn base<'a>(&self, lab: &'a Lab, flavour: Flavour) -> Option<Base<'a>> {
        Base::new(lab, flavour, self.room(), |folder| self.put_old(folder))
    }

    /// A file system on which a run was stopped, and the bytes of content that its last checkpoint
    /// claimed.
    ///
    /// # Panics
    /// Where the run ended before it was stopped.
    #[must_use]
    pub fn interrupted_base<'a>(
        &self,
        lab: &'a Lab,
        flavour: Flavour,
        stop: Stop,
    ) -> Option<(Base<'a>, u64)> {
        let mut claimed = 0;
        let marks = self.folder.join("marks-of-the-interrupted");
        let base = Base::new(lab, flavour, self.room(), |folder| {
            self.put_old(folder);
            claimed = self.stopped(folder, &marks, stop);
            assert!(claimed < self.len, "it is stopped midway");
        });
        Some((base?, claimed))
    }

    /// Has the program begin and be stopped: what it claims to have by then.
    fn stopped(&self, folder: &Path, marks: &Path, stop: Stop) -> u64 {
        let _ = fs::remove_file(marks);
        let output = self.pack(folder, marks, Some(stop));
        assert!(!output.status.success(), "it was not stopped");
        let text = fs::read_to_string(marks).expect("it made marks");
        let marks = Claims(text.lines().collect());
        assert!(!marks.has(COMMITTED) && folder.join(PARTIAL).exists(), "{}", complaint(&output));
        marks.largest(CHECKPOINT).expect("it is stopped behind a checkpoint")
    }

    fn put_old(&self, folder: &Path) {
        if let Some(old) = &self.old {
            fs::write(folder.join(TARGET), old).expect("a new file system has room");
        }
    }

    /// Bytes of content that a file system must have room for: the old file, and two partial ones
    /// with what is allocated ahead for them.
    fn room(&self) -> u64 {
        let old = self.old.as_ref().map_or(0, Vec::len);
        (old + 2 * self.new.len()) as u64 + 2 * self.len
    }

    /// Records the program at work on `base`.
    #[must_use]
    pub fn record(&self, base: &Base<'_>, options: &Options) -> (Log, Output) {
        record(base, options, |folder, ctl| self.pack(folder, ctl, None))
    }

    /// Records the program as it goes on with what is on `base`, where so many bytes were claimed.
    #[must_use]
    pub fn record_resume(&self, base: &Base<'_>, options: &Options, claimed: u64) -> (Log, Output) {
        record(base, options, |folder, ctl| self.resume(folder, ctl, claimed))
    }

    /// Records the program at work on `base`, and where it fails, how it goes on there at once: in
    /// the same mount, whose page cache may show what the medium has not.
    #[must_use]
    pub fn record_and_retry(
        &self,
        base: &Base<'_>,
        options: &Options,
    ) -> (Log, Output, Option<Output>) {
        let (log, (first, second)) = record(base, options, |folder, ctl| {
            let first = self.pack(folder, ctl, None);
            let second = (!first.status.success()).then(|| self.resume(folder, ctl, 0));
            (first, second)
        });
        (log, first, second)
    }

    /// The write of the finished container's end fails: of its last page, as it is written.
    #[must_use]
    pub fn end_fault(&self) -> Fault {
        let start = (self.new.len() - 1) / ALIGN * ALIGN;
        let mut page = self.new[start..].to_vec();
        page.resize(ALIGN, 0);
        Fault::Page(fingerprint(&page))
    }

    fn pack(&self, folder: &Path, ctl: &Path, stop: Option<Stop>) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("pack").arg(self.shape.name).arg(&self.input).arg(folder.join(TARGET)).arg(ctl);
        tool::finish(command.args(stop.into_iter().flat_map(Stop::args)))
    }

    fn resume(&self, folder: &Path, ctl: &Path, claimed: u64) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("resume").arg(self.shape.name).arg(folder.join(TARGET)).arg(ctl);
        tool::finish(command.arg(claimed.to_string()))
    }

    /// How many of the states checked so far were gone on from, and in how many of them it was
    /// packed anew.
    pub fn recovered(&self) -> (usize, usize) {
        let Recovered { resumed, anew } = &self.recovered;
        (resumed.load(Ordering::Relaxed), anew.load(Ordering::Relaxed))
    }

    /// Holds what is found in `folder` against the promises and the claims, and recovers there.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn check(&self, folder: &Path, claims: &Claims<'_>) -> Result<(), String> {
        let found = look(folder, self)?;
        self.the_target_is_whole(&found)?;
        self.what_is_committed_is_there(&found, claims)?;
        nothing_is_more_readable(&found)?;
        let claimed = claims.largest(CHECKPOINT).unwrap_or(0);
        match found.content {
            Content::New if found.partial_mode.is_some() => {
                Err("the new target is there, and a partial file too".to_owned())
            }
            Content::New if found.journals.is_empty() => Ok(()),
            Content::New => tidy_up(folder).and_then(|()| only_the_target_is_left(folder)),
            _ if found.partial_mode.is_none() && claimed > 0 => {
                Err(format!("{claimed} bytes were claimed, and there is no partial file"))
            }
            _ if found.partial_mode.is_none() && found.journals.is_empty() => Ok(()),
            _ => self.recover(folder, claimed),
        }
    }

    fn the_target_is_whole(&self, found: &Found) -> Result<(), String> {
        match found.content {
            Content::New | Content::Old => Ok(()),
            Content::Nothing if self.old.is_none() => Ok(()),
            Content::Nothing => Err("the old target is gone".to_owned()),
            Content::Neither(len) => Err(format!("the target is neither file: {len} bytes")),
        }
    }

    fn what_is_committed_is_there(&self, found: &Found, claims: &Claims<'_>) -> Result<(), String> {
        match found.content {
            Content::New if found.mode == Some(MODE) => Ok(()),
            Content::New => Err(format!("the new target's mode is {:?}", found.mode)),
            _ if claims.has(COMMITTED) => Err("committed, and the new target isn't there".into()),
            _ => Ok(()),
        }
    }

    /// Goes on, or packs anew where that can't be done, and looks at what came of it.
    fn recover(&self, folder: &Path, claimed: u64) -> Result<(), String> {
        match self.go_on(folder) {
            Ok(Resumed { covered_bytes, adopted_bytes }) => {
                self.recovered.resumed.fetch_add(1, Ordering::Relaxed);
                if adopted_bytes < claimed {
                    return Err(format!("{claimed} bytes were claimed, {adopted_bytes} adopted"));
                }
                if adopted_bytes != covered_bytes {
                    let what = "were covered by a checkpoint, and only";
                    return Err(format!("{covered_bytes} bytes {what} {adopted_bytes} adopted"));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotResumable && claimed == 0 => {
                self.recovered.anew.fetch_add(1, Ordering::Relaxed);
                self.pack_anew(folder).map_err(|error| format!("packing anew: {error}"))?;
            }
            Err(error) => return Err(format!("{claimed} bytes were claimed; going on: {error}")),
        }
        let found = look(folder, self)?;
        if (found.content, found.mode) != (Content::New, Some(MODE)) {
            return Err(format!("recovered, it is other than uninterrupted: {found:?}"));
        }
        only_the_target_is_left(folder)
    }

    // A ring that is torn down would keep the mount busy for a while: plain calls do here.
    fn go_on(&self, folder: &Path) -> Result<Resumed, ringpack::Error> {
        let (io, threads, checkpoints) = (IoMode::Pwrite, Some(1), None);
        let options = ResumeOptions { io, threads, checkpoints, ..self.shape.resume_options() };
        let target = folder.join(TARGET);
        let report = resume(&OsDisk, &target, &mut recorded_input, &options, &Cancel::new())?;
        Ok(report.resumed.expect("what goes on says from where"))
    }

    fn pack_anew(&self, folder: &Path) -> Result<(), ringpack::Error> {
        let (io, threads, checkpoints) = (IoMode::Pwrite, Some(1), None);
        let options = PackOptions { io, threads, checkpoints, ..self.shape.options() };
        let input = pack::Input::Path(self.input.clone());
        let output = pack::Output::Path(folder.join(TARGET));
        pack::pack(&OsDisk, input, output, &options, &Cancel::new()).map(|_| ())
    }
}

fn look(folder: &Path, packing: &Packing) -> Result<Found, String> {
    let (mut journals, mut others) = (Vec::new(), Vec::new());
    for name in names(folder)? {
        if JOURNALS.contains(&name.as_str()) {
            journals.push((mode(&folder.join(&name))?.unwrap_or(0), name));
        } else if ![TARGET, PARTIAL].contains(&name.as_str()) {
            others.push(name);
        }
    }
    let target = folder.join(TARGET);
    let content = match read(&target)? {
        None => Content::Nothing,
        Some(bytes) if bytes == packing.new => Content::New,
        Some(bytes) if Some(&bytes) == packing.old.as_ref() => Content::Old,
        Some(bytes) => Content::Neither(bytes.len()),
    };
    let (mode, partial_mode) = (mode(&target)?, mode(&folder.join(PARTIAL))?);
    Ok(Found { content, mode, partial_mode, journals, others })
}

fn nothing_is_more_readable(found: &Found) -> Result<(), String> {
    if let Some(mode) = found.partial_mode.filter(|mode| mode & !MODE != 0) {
        return Err(format!("the partial file's mode is {mode:o}, the final one {MODE:o}"));
    }
    if let Some((mode, name)) = found.journals.iter().find(|(mode, _)| mode & !0o600 != 0) {
        return Err(format!("the mode of {name} is {mode:o}"));
    }
    if found.others.is_empty() { Ok(()) } else { Err(format!("left: {:?}", found.others)) }
}

fn tidy_up(folder: &Path) -> Result<(), String> {
    clean(&OsDisk, folder, true).map(|_| ()).map_err(|error| format!("cleaning: {error}"))
}

fn only_the_target_is_left(folder: &Path) -> Result<(), String> {
    let names = names(folder)?;
    if names == [TARGET] { Ok(()) } else { Err(format!("left beside the target: {names:?}")) }
}

fn names(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error| format!("the folder: {error}");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name != NOT_OURS {
            names.push(name);
        }
    }
    Ok(names)
}

/// What stands in the folder after a cut.
#[derive(Debug)]
struct Found {
    content: Content,
    /// Permission bits of the target.
    mode: Option<u32>,
    /// Permission bits of the partial file.
    partial_mode: Option<u32>,
    /// Journals: permission bits and name.
    journals: Vec<(u32, String)>,
    /// Names that nobody expects.
    others: Vec<String>,
}

/// What the target is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    Nothing,
    Old,
    New,
    /// Something else, of that many bytes.
    Neither(usize),
}

fn mode(path: &Path) -> Result<Option<u32>, String> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found.permissions().mode() & 0o7777)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
