//! What is damaged, told in both directions: which content, and which bytes of the container.
//!
//! A map of the container is for fetching its damaged ranges from a replica, and nothing else. A
//! byte is intact in it only if something proves it: a header's or an index's checksum, an entry
//! that names the frame, or the one value that a pad can have. What only its own checksum speaks
//! for is unsure, and all the rest is lost.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::place::Plan;
use super::survey::Survey;
use super::window::Window;
use super::{Damaged, finish};
use crate::cancel::Cancel;
use crate::checksum::{Whole, crc32c};
use crate::commit::{Partial, Target};
use crate::damage::{Condition, Damage, Map};
use crate::error::{Error, ErrorKind, Result};
use crate::escape::shown;
use crate::format::frame::{is_pad, store_len};
use crate::format::header::{Digest, Header, PlacementKind};
use crate::format::layout::{Geometry, Tail};
use crate::format::{SKIPPABLE_MAGIC, members, seek_table};
use crate::limits::{ALIGN, CHUNK_LOG2_MAX, HEADER_LEN};
use crate::ring::file::{Disk, Replace};
use crate::ring::whole::write_all;
use crate::trace;

/// Longest pad that is read: what is left of the longest slot.
const PAD_LEN_MAX: u64 = store_len(1 << CHUNK_LOG2_MAX) as u64 + 2 * ALIGN as u64;

/// A map of a container.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RepairMap {
    /// Length that the container should have, as far as it is known.
    pub file_len: u64,
    /// The container's map.
    pub map: Map,
    /// What is damaged, by its place in the container.
    pub damages: Vec<Damage>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Surveys the container at `input`, however damaged, and publishes the map of its damages as
/// `output`.
///
/// # Errors
/// `NotAContainer` where nothing of a container is found, and as salvaging.
pub fn repair_map(
    disk: &dyn Disk,
    input: &Path,
    output: &Path,
    replace: bool,
    cancel: &Cancel,
) -> Result<RepairMap> {
    trace::job("verify", input, || {
        let replace = if replace { Replace::Allowed } else { Replace::Never };
        let target = Target::new(disk, output, replace)?;
        let damaged = Damaged::open(disk, input)?;
        target.refuse_source(&damaged.status)?;
        let mut window = Window::new(&damaged.file, damaged.status.len, cancel);
        let (survey, plan, warnings) = damaged.look(disk, &mut window)?;
        // Of frames alone nothing says where they belong: all would be fetched, and might as well.
        if survey.headers.is_empty() && survey.groups.is_empty() {
            let what =
                "has neither header nor index of a container, which a repair map is drawn by";
            let hint = "replace the whole file, or restore what is intact by ringpack salvage";
            return Err(Error::new(ErrorKind::NotAContainer, what).at(input).hint(hint));
        }
        let known = known(&mut window, &survey, &plan).map_err(|error| error.at(input))?;
        let header = plan.header.as_ref().filter(|header| header.file_size > 0);
        let file_len = header.map_or(survey.file_len, |header| header.file_size);
        let map = Map::new(file_len, known);
        let damages = container_damages(&survey, &plan, &map);
        let mut notes = vec![
            format!("of the container {}", shown(input)),
            format!("its length is {:#x}", survey.file_len),
        ];
        if header.is_some() {
            notes.push(format!("its header states the length {file_len:#x}"));
        }
        let text = map.text(&notes, &damages);
        let failed = |error| Error::from_io(ErrorKind::Output, "cannot write", error).at(output);
        let partial = Partial::create(target, false)?;
        write_all(partial.file().as_ref(), text.as_bytes(), 0).map_err(failed)?;
        finish(&partial, &damaged.status).map_err(|error| error.at(output))?;
        partial.publish()?;
        Ok(RepairMap { file_len, map, damages, warnings })
    })
}

/// The ranges of the container that something speaks for.
fn known(
    window: &mut Window<'_>,
    survey: &Survey,
    plan: &Plan,
) -> Result<Vec<(Range<u64>, Condition)>> {
    let mut known = Vec::new();
    let mut members = None;
    let tail = plan.header.as_ref().and_then(tail);
    for (offset, _) in &survey.headers {
        // Others belong to containers that are part of the content.
        let is_own = tail
            .is_some_and(|tail| *offset == tail.header_offset || Some(*offset) == tail.copy_offset);
        let condition = if is_own { Condition::Intact } else { Condition::Unsure };
        known.push((*offset..offset + HEADER_LEN as u64, condition));
    }
    let stated = without_content(survey);
    for (group, corroborated) in survey.groups.iter().zip(&plan.corroborated) {
        if let Some(place) = group.place.clone().filter(|_| group.intact) {
            // Intact or not, it may have been moved.
            let is_stated = match &tail {
                Some(tail) => {
                    place.start >= tail.index_offset
                        && place.end <= tail.index_offset + tail.index_len
                }
                None => stated.contains(&(place.start, place.end - place.start)),
            };
            let is_there = *corroborated && is_stated;
            let condition = if is_there { Condition::Intact } else { Condition::Unsure };
            known.push((place, condition));
        }
    }
    for (found, in_place) in survey.frames.iter().zip(&plan.in_place) {
        if !found.intact {
            continue;
        }
        let condition = if in_place.is_some() { Condition::Intact } else { Condition::Unsure };
        let end = found.offset + u64::from(found.len);
        known.push((found.offset..end, condition));
        if let Some(pad_end) = pad(window, end)? {
            // A pad states its own length, which may be what is damaged: the layout decides.
            let is_right = plan.header.as_ref().is_some_and(|header| {
                let slot_len = Geometry::of(header).slot_len();
                let slot_end = |sequence: u64| (sequence + 1).checked_mul(slot_len);
                header.placement == PlacementKind::Slots
                    && in_place.and_then(slot_end) == Some(pad_end)
            });
            let condition = if is_right { condition } else { Condition::Unsure };
            known.push((end..pad_end, condition));
        }
    }
    if let (Some(tail), Some(header)) = (tail, &plan.header)
        && is_member_index(window, &tail, header)?
    {
        let end = tail.members_offset + tail.members_len;
        members = Some(tail.members_offset);
        known.push((tail.members_offset..end, Condition::Intact));
    }
    known.extend(table(survey, plan, members));
    Ok(known)
}

/// Offsets and lengths of what the seek table says has no content.
fn without_content(survey: &Survey) -> HashSet<(u64, u64)> {
    let mut places = HashSet::new();
    let mut offset = 0;
    for entry in survey.table.iter().flat_map(|(_, table)| table) {
        let len = u64::from(entry.compressed);
        if entry.decompressed == 0 {
            places.insert((offset, len));
        }
        offset += len;
    }
    places
}

/// Whether the member index is where the header says, and what its checksum says.
fn is_member_index(window: &mut Window<'_>, tail: &Tail, header: &Header) -> Result<bool> {
    const STEP: u64 = 1 << 20;
    let (start, end) = (tail.members_offset, tail.members_offset + tail.members_len);
    if tail.members_len < (members::PREFIX_LEN + members::SUFFIX_LEN) as u64 {
        return Ok(false);
    }
    let front = window.get(start, members::PREFIX_LEN)?;
    if members::check_front(front, tail.members_len, header.member_count).is_err() {
        return Ok(false);
    }
    // The checksum is of all but the frame's own prefix, and of itself.
    let (mut at, last) = (start + 8, end - members::SUFFIX_LEN as u64);
    let mut sum = Whole::default();
    while at < last {
        let step = (last - at).min(STEP) as usize;
        let bytes = window.get(at, step)?;
        if bytes.len() < step {
            return Ok(false);
        }
        sum.append(crc32c(bytes), step);
        at += step as u64;
    }
    Ok(window.get(last, members::SUFFIX_LEN)? == sum.value().to_le_bytes())
}

/// Where the pad at `offset` ends, if one stands there and is as written.
fn pad(window: &mut Window<'_>, offset: u64) -> Result<Option<u64>> {
    let Some(prefix) = window.peek::<8>(offset)? else { return Ok(None) };
    let [a, b, c, d, len @ ..] = prefix;
    let len = 8 + u64::from(u32::from_le_bytes(len));
    if u32::from_le_bytes([a, b, c, d]) != SKIPPABLE_MAGIC || len > PAD_LEN_MAX {
        return Ok(None);
    }
    let bytes = window.get(offset, len as usize)?;
    let is_whole = bytes.len() as u64 == len && is_pad(bytes);
    Ok(is_whole.then_some(offset + len))
}

/// The seek table, entry by entry: what frames, or an index, bear out of it. `members` is where an
/// intact member index starts.
fn table(survey: &Survey, plan: &Plan, members: Option<u64>) -> Vec<(Range<u64>, Condition)> {
    let Some((start, table)) = &survey.table else { return Vec::new() };
    let total: u64 = table.iter().map(|entry| u64::from(entry.compressed)).sum();
    if total != *start {
        return Vec::new();
    }
    let mut known = Vec::new();
    let mut at = start + 8;
    known.push((*start..at, Condition::Intact));
    let mut offset = 0;
    for (number, entry) in table.iter().enumerate() {
        let end = at + seek_table::ENTRY_LEN as u64;
        let frame = survey.frames.binary_search_by_key(&offset, |found| found.offset).ok();
        let found = frame.map(|frame| (&survey.frames[frame], plan.in_place[frame]));
        let is_borne_out = match found {
            Some((found, Some(sequence))) => {
                let stated = (entry.decompressed, entry.checksum);
                sequence == number as u64 && stated == (found.raw_len, found.xxh64_low)
            }
            // Of no content, at the place of something that is intact itself.
            _ => {
                let own = seek_table::Entry::without_content(entry.compressed);
                let starts = |place: u64| place == offset;
                *entry == own
                    && (survey.headers.iter().any(|(place, _)| starts(*place))
                        || survey.groups.iter().any(|group| {
                            group.intact && group.place.as_ref().is_some_and(|it| starts(it.start))
                        })
                        || members.is_some_and(starts))
            }
        };
        let condition = if is_borne_out { Condition::Intact } else { Condition::Unsure };
        known.push((at..end, condition));
        at = end;
        offset += u64::from(entry.compressed);
    }
    known.push((at..survey.file_len, Condition::Intact));
    known
}

/// Where the frames of lost chunks should be, by number: as an index or the table says.
fn lost_places(survey: &Survey, plan: &Plan, is_lost: &dyn Fn(u64) -> bool) -> Places {
    let mut places = BTreeMap::new();
    let Some(chunk_len) = plan.chunk_len else { return places };
    let is_lost = |sequence: u64| sequence.checked_mul(chunk_len).is_some_and(is_lost);
    for hint in survey.hints.iter().filter(|hint| plan.corroborated[hint.group as usize]) {
        let start = hint.entry.offset;
        let end = start.checked_add(hint.entry.frame_len.into());
        if let Some(end) = end.filter(|_| is_lost(hint.sequence)) {
            places.entry(hint.sequence).or_insert(start..end);
        }
    }
    if let Some((table_offset, table)) = &survey.table {
        let total: u64 = table.iter().map(|entry| u64::from(entry.compressed)).sum();
        let mut offset = 0;
        for (sequence, entry) in (0u64..).zip(table) {
            let end = offset + u64::from(entry.compressed);
            // The other entries, of what is ours, have no content.
            if total == *table_offset && entry.decompressed > 0 && is_lost(sequence) {
                places.entry(sequence).or_insert(offset..end);
            }
            offset = end;
        }
    }
    places
}

type Places = BTreeMap<u64, Range<u64>>;

/// What is lost or unsure of the content: chunk by chunk where it is known where their frames
/// should be, else by runs.
pub(super) fn content_damages(survey: &Survey, plan: &Plan, map: &Map) -> Vec<Damage> {
    let lost_at = |start: u64| {
        let after = map.stretches.partition_point(|stretch| stretch.start <= start);
        let stretch = after.checked_sub(1).map(|at| &map.stretches[at]);
        stretch.is_some_and(|it| it.condition == Condition::Lost && start < it.end)
    };
    let places = lost_places(survey, plan, &lost_at);
    let mut damages = Vec::new();
    for stretch in &map.stretches {
        let content = stretch.start..stretch.end;
        match stretch.condition {
            Condition::Intact => {}
            Condition::Unsure => damages.push(Damage {
                chunks: chunks_of(&content, plan.chunk_len),
                content: Some(content),
                container: None,
                condition: Condition::Unsure,
                why: "placed by the order of its frames alone".into(),
            }),
            Condition::Lost => lost(survey, plan, content, &places, &mut damages),
        }
    }
    damages
}

fn lost(
    survey: &Survey,
    plan: &Plan,
    content: Range<u64>,
    places: &Places,
    damages: &mut Vec<Damage>,
) {
    let mut push = |content: Range<u64>, container: Option<Range<u64>>| {
        if content.is_empty() {
            return;
        }
        let why = match &container {
            Some(place) if place.end > survey.file_len => "the file ends before its frame does",
            Some(_) => "its frame is damaged",
            None => "no frame of it was found",
        };
        damages.push(Damage {
            chunks: chunks_of(&content, plan.chunk_len),
            content: Some(content),
            container,
            condition: Condition::Lost,
            why: why.into(),
        });
    };
    let Some(chunk_len) = plan.chunk_len else { return push(content, None) };
    let mut at = content.start;
    for (&sequence, place) in places.range(at / chunk_len..content.end.div_ceil(chunk_len)) {
        let start = sequence * chunk_len;
        if start < at {
            continue;
        }
        push(at..start, None);
        at = content.end.min(start + chunk_len);
        push(start..at, Some(place.clone()));
    }
    push(at..content.end, None);
}

fn chunks_of(content: &Range<u64>, chunk_len: Option<u64>) -> Option<Range<u64>> {
    let chunk_len = chunk_len?;
    Some(content.start / chunk_len..content.end.div_ceil(chunk_len))
}

/// What is damaged of a container: each range that isn't intact, with the chunks whose frames lie
/// in it.
fn container_damages(survey: &Survey, plan: &Plan, map: &Map) -> Vec<Damage> {
    let parts = plan.header.as_ref().map(parts).unwrap_or_default();
    let in_place = |sequence: u64| {
        let start = plan.chunk_len.and_then(|len| sequence.checked_mul(len));
        start.is_none_or(|start| {
            let piece = plan.pieces.get(&start);
            piece.is_some_and(|piece| plan.in_place[piece.frame] == Some(sequence))
        })
    };
    let chunk_len = plan.chunk_len.unwrap_or(1);
    let places = lost_places(survey, plan, &|start| !in_place(start / chunk_len));
    let mut damages: Vec<Damage> = Vec::new();
    for (&sequence, place) in &places {
        let start = sequence * chunk_len;
        let end = plan.content_len.min(start.saturating_add(chunk_len));
        let content = (start < end).then_some(start..end);
        let ends = place.end > survey.file_len;
        let why = if ends { "the file ends before its frame does" } else { "its frame is damaged" };
        damages.push(Damage {
            chunks: Some(sequence..sequence + 1),
            content,
            container: Some(place.clone()),
            condition: Condition::Lost,
            why: why.into(),
        });
    }
    for stretch in map.stretches.iter().filter(|it| it.condition != Condition::Intact) {
        let touched = |range: &Range<u64>| range.start < stretch.end && stretch.start < range.end;
        let names = parts.iter().filter(|(_, range)| touched(range)).map(|(name, _)| *name);
        let names: Vec<&str> = names.collect();
        let what = match names.is_empty() {
            true => "data, or what follows it".to_owned(),
            false => names.join(", "),
        };
        let why = match stretch.condition {
            Condition::Lost => format!("nothing intact is there: {what}"),
            _ => format!("intact by itself, but nothing else says that it belongs there: {what}"),
        };
        damages.push(Damage {
            chunks: None,
            content: None,
            container: Some(stretch.start..stretch.end),
            condition: stretch.condition,
            why: why.into(),
        });
    }
    damages.sort_by_key(|damage| damage.container.as_ref().map_or(0, |range| range.start));
    damages
}

/// What follows the data, where the header has the sizes.
fn tail(header: &Header) -> Option<Tail> {
    let chaining = header.digest != Digest::None;
    let (content_size, chunk_count) = (header.content_size, header.chunk_count);
    let tail = Tail::new(header.data_end, content_size, chunk_count, chaining, header.members_len);
    tail.filter(|_| header.chunk_count > 0)
}

/// The parts of a container by its header, where that has the sizes.
fn parts(header: &Header) -> Vec<(&'static str, Range<u64>)> {
    let mut parts = Vec::new();
    if let Some(tail) = tail(header) {
        let index_end = tail.index_offset + tail.index_len;
        parts.push(("data", 0..header.data_end));
        parts.push(("copy of the header", header.data_end..tail.index_offset));
        parts.push(("index", tail.index_offset..index_end));
        parts.push(("member index", tail.members_offset..tail.header_offset));
        parts.push(("header", tail.header_offset..tail.table_offset));
        parts.push(("seek table", tail.table_offset..tail.file_size));
    }
    parts.retain(|(_, range)| !range.is_empty());
    parts
}
