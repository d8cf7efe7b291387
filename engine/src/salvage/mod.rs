//! Salvaging: what is intact of a damaged container, or of a partial file, and a map of the rest.
//!
//! Where unpacking needs header, index and table to be intact and to agree, this needs none of
//! them. It looks for frames at every byte, believes each by its own checksum, and believes its
//! place by whatever is left that names it (`place.rs`). The content is restored with holes where
//! chunks are lost, and published with its map, never without.
//!
//! Plain Zstandard files of several frames are salvaged as well, where their frames have checksums,
//! state their content's length and have no more than the largest chunk.
//!
//! ```text
//! survey ─► frames, headers, index parts, table ─► plan ─► content with holes ─► map, then content
//! journal of a partial file ─────────┘
//! ```

mod place;
mod repair;
mod restore;
mod survey;
mod window;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use repair::{RepairMap, repair_map};

use place::{Plan, plan};
use survey::{Group, Hint, Survey};
use window::Window;

use crate::cancel::Cancel;
use crate::commit::publication::lock_left;
use crate::commit::target::{JOURNAL_SUFFIX, PARTIAL_SUFFIX};
use crate::commit::{Partial, Target};
use crate::damage::{Condition, Damage, Map};
use crate::error::{Error, ErrorKind, Result};
use crate::escape::shown;
use crate::journal::Replay;
use crate::planted::{self, Bug};
use crate::read::open_anywhere;
use crate::ring::file::{Attributes, Disk, File, Replace, Status};
use crate::ring::whole::write_all;
use crate::trace;

/// What a map's name ends with, after the name of the content that it is about.
pub const MAP_SUFFIX: &str = ".map";

/// A frame that is intact and whose place in the content isn't known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Unplaced {
    /// Where it stands in the damaged file.
    pub offset: u64,
    /// Its length there: these bytes are a Zstandard file of their own.
    pub len: u64,
    /// Length of its content.
    pub content_len: u64,
}

/// What was salvaged.
///
/// ```
/// use ringpack::salvage::salvage;
/// use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
/// use ringpack::{Cancel, OsDisk};
///
/// # fn main() -> ringpack::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (damaged, restored) = (dir.path().join("data.zst"), dir.path().join("data"));
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # let mut bytes = writer.finalize()?;
/// let end = bytes.len();
/// bytes[end - 100] ^= 1; // its header is no more
/// # std::fs::write(&damaged, bytes).unwrap();
/// let report = salvage(&OsDisk, &damaged, &restored, false, &Cancel::new())?;
/// assert!(report.is_complete());
/// assert_eq!(std::fs::read(restored).unwrap(), b"something to keep");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SalvageReport {
    /// Length of the content, as far as it is known.
    pub content_len: u64,
    /// Whether the content is known to end there.
    pub is_len_known: bool,
    /// Bytes of the content that are intact, restored to a place that isn't sure, and lost.
    pub intact: u64,
    /// See [`Self::intact`].
    pub unsure: u64,
    /// See [`Self::intact`].
    pub lost: u64,
    /// The content's map.
    pub map: Map,
    /// What is lost or unsure, in order.
    pub damages: Vec<Damage>,
    /// Intact frames that were left out.
    pub unplaced: Vec<Unplaced>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Where the map was published.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::escape::lossily"))]
    pub map_path: PathBuf,
}

impl SalvageReport {
    /// Whether all of the content is there, in places that are sure, and no intact frame was left
    /// out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let has_all = self.unplaced.is_empty() || planted::is(Bug::LeftOutUncounted);
        self.is_len_known && self.map.is_intact() && has_all
    }
}

/// Salvages what is intact in `input` into `output`, and publishes its map beside it.
///
/// # Errors
/// `NotAContainer` where no intact frame is found: then nothing is published. `Locked` where a
/// partial file is still being written. `TargetExists` where content or map exist and `replace`
/// isn't set. Others as unpacking.
pub fn salvage(
    disk: &dyn Disk,
    input: &Path,
    output: &Path,
    replace: bool,
    cancel: &Cancel,
) -> Result<SalvageReport> {
    trace::job("salvage", input, || {
        let replace = if replace { Replace::Allowed } else { Replace::Never };
        let damaged = Damaged::open(disk, input)?;
        let mut map_path = output.as_os_str().to_owned();
        map_path.push(MAP_SUFFIX);
        let map_path = PathBuf::from(map_path);
        let target = Target::new(disk, output, replace)?;
        let map_target = Target::new(disk, &map_path, replace)?;
        for target in [&target, &map_target] {
            target.refuse_source(&damaged.status)?;
        }
        let mut window = Window::new(&damaged.file, damaged.status.len, cancel);
        let (survey, plan, warnings) = damaged.look(disk, &mut window)?;
        if plan.pieces.is_empty() && plan.unplaced.is_empty() {
            let what = "no intact frame was found in it";
            let error = Error::new(ErrorKind::NotAContainer, what).at(input);
            return Err(match survey.unverifiable {
                0 => error.hint("there is nothing to be restored"),
                _ => error.hint("its frames have no checksums or lengths: zstd -d may read them"),
            });
        }
        if plan.pieces.is_empty() {
            let what = format!("{} intact frames, of unknown places", plan.unplaced.len());
            let hint = "each is a Zstandard file of its own: see verify --repair-map";
            return Err(Error::new(ErrorKind::Damaged, what).at(input).hint(hint));
        }
        let mut report = report(&survey, &plan, warnings, map_path);
        let partial = Partial::create(target, false)?;
        restore::restore(&mut window, &survey, &plan, partial.file()).map_err(
            |error| match error.kind() {
                ErrorKind::Output | ErrorKind::NoSpace => error.at(output),
                _ => error.at(input),
            },
        )?;
        report.warnings.extend(partial.took_over().map(str::to_owned));
        // A map without its content harms nobody; content without its map would.
        let text = report.text(input);
        write_map(map_target, &text, &damaged.status)?;
        finish(&partial, &damaged.status).map_err(|error| error.at(output))?;
        partial.publish()?;
        Ok(report)
    })
}

impl SalvageReport {
    /// The map as text: see [`crate::damage`].
    fn text(&self, input: &Path) -> String {
        let known = if self.is_len_known { "known" } else { "not known: at least this" };
        let mut notes = vec![
            format!("of the content salvaged from {}", shown(input)),
            format!("content length {:#x}, {known}", self.content_len),
        ];
        notes.extend(self.unplaced.iter().map(|Unplaced { offset, len, content_len }| {
            format!("unplaced: container {offset:#x} {len:#x}, intact, content of {content_len:#x}")
        }));
        self.map.text(&notes, &self.damages)
    }
}

/// A damaged file, open.
struct Damaged<'a> {
    path: &'a Path,
    file: Arc<dyn File>,
    status: Status,
}

impl<'a> Damaged<'a> {
    fn open(disk: &dyn Disk, path: &'a Path) -> Result<Self> {
        let (file, status) = open_anywhere(disk, path, false)?;
        Ok(Self { path, file, status })
    }

    /// The journal's name beside it, if it is a partial file by its own.
    fn journal_path(&self) -> Option<PathBuf> {
        let name = self.path.file_name()?.as_bytes();
        let mut journal = name.strip_suffix(PARTIAL_SUFFIX.as_bytes())?.to_vec();
        journal.extend(JOURNAL_SUFFIX.as_bytes());
        Some(self.path.with_file_name(OsStr::from_bytes(&journal)))
    }

    /// Surveys the file, with the journal beside it where it is a partial one, and places what was
    /// found.
    fn look(
        &self,
        disk: &dyn Disk,
        window: &mut Window<'_>,
    ) -> Result<(Survey, Plan, Vec<String>)> {
        let mut warnings = Vec::new();
        let journal = self.journal_path();
        if journal.is_some() {
            let failed = |error| Error::from_io(ErrorKind::Input, "cannot lock it", error);
            let parent = self.path.parent().unwrap_or(Path::new(""));
            let locked = disk
                .directory(parent)
                .and_then(|directory| lock_left(directory.as_ref(), self.file.as_ref()))
                .map_err(|error| failed(error).at(self.path))?;
            if !locked {
                let error = Error::new(ErrorKind::Locked, "another process is writing it");
                return Err(error.at(self.path).hint("wait for it, or stop it and resume"));
            }
        }
        let mut survey = survey::survey(window).map_err(|error| error.at(self.path))?;
        if let Some(journal) = journal
            && let Err(error) = read_journal(disk, &journal, &mut survey)
        {
            warnings.push(format!("its journal is of no help: {error}"));
        }
        survey.leave_out_member_index();
        let plan = plan(&survey);
        if survey.gave_up {
            let what = "so much in it looks like frames and is none that not all was looked at";
            warnings.push(what.to_owned());
        }
        if window.unreadable() > 0 {
            let bytes = window.unreadable();
            warnings.push(format!("the device can't read {bytes} bytes of it"));
        }
        if survey.unverifiable > 0 {
            warnings.push(format!(
                "{} frames have no checksum, no length or too great a one, and were left out",
                survey.unverifiable
            ));
        }
        let end = plan.header.as_ref().map_or(0, |header| header.file_size);
        if let Some(more) = survey.file_len.checked_sub(end).filter(|&more| end > 0 && more > 0) {
            warnings.push(format!(
                "its header says that it ends at byte {end}: the {more} bytes behind it were left \
                 out; copy them to a file of their own and salvage that too"
            ));
        }
        Ok((survey, plan, warnings))
    }
}

/// Adds what the journal says to what was found, where there is one.
fn read_journal(disk: &dyn Disk, path: &Path, survey: &mut Survey) -> Result<()> {
    let file = match disk.open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Error::from_io(ErrorKind::Input, "cannot open", error).at(path));
        }
    };
    let Some(replay) = Replay::read(file)? else { return Ok(()) };
    let group = survey.groups.len() as u32;
    let is_scattered = replay.open().is_scattered();
    let extent_chunks = u64::from(replay.open().recipe.geometry.extent_chunks);
    let chunks = if is_scattered { 0..0 } else { 0..replay.covered().chunks };
    survey.groups.push(Group { place: None, intact: true, chunks });
    replay.each_extent(|extent| {
        let first = extent.number.saturating_mul(extent_chunks);
        for (sequence, chunk) in (first..).zip(&extent.chunks) {
            survey.hints.extend(Hint::new(sequence, chunk.entry, group));
        }
        Ok(())
    })
}

fn report(survey: &Survey, plan: &Plan, warnings: Vec<String>, map_path: PathBuf) -> SalvageReport {
    let range = |start: u64, frame: usize| start..start + u64::from(survey.frames[frame].raw_len);
    let known = plan.pieces.iter().map(|(&start, piece)| {
        let condition = if piece.vouched { Condition::Intact } else { Condition::Unsure };
        (range(start, piece.frame), condition)
    });
    let map = Map::new(plan.content_len, known.collect());
    let unplaced = plan.unplaced.iter().map(|&frame| {
        let found = &survey.frames[frame];
        let (len, content_len) = (found.len.into(), found.raw_len.into());
        Unplaced { offset: found.offset, len, content_len }
    });
    SalvageReport {
        content_len: plan.content_len,
        is_len_known: plan.is_len_known,
        intact: map.bytes(Condition::Intact),
        unsure: map.bytes(Condition::Unsure),
        lost: map.bytes(Condition::Lost),
        damages: repair::content_damages(survey, plan, &map),
        unplaced: unplaced.collect(),
        map,
        warnings,
        map_path,
    }
}

/// Publishes a map; it may be read by whoever may read what it is about.
fn write_map(target: Target, text: &str, source: &Status) -> Result<()> {
    let path = target.path().to_owned();
    let partial = Partial::create(target, false)?;
    write_all(partial.file().as_ref(), text.as_bytes(), 0)
        .map_err(|error| Error::from_io(ErrorKind::Output, "cannot write", error).at(&path))?;
    finish(&partial, source).map_err(|error| error.at(&path))?;
    partial.publish()
}

/// Makes a partial file durable, with the attributes of what it was made of.
fn finish(partial: &Partial, source: &Status) -> Result<()> {
    let owner = Some((source.uid, source.gid));
    partial.make_durable(&Attributes { mode: source.mode, owner, modified: None })
}
