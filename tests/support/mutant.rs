//! Mutants: intact containers changed by parts and by bytes, and their checksums mended.
//!
//! The choices are a seed's or a fuzzer's; the same choices make the same mutant.

use ringpack::checksum::crc32c;
use ringpack::format::header::{CodecKind, Digest, PlacementKind};
use ringpack::format::index;
use ringpack::limits::HEADER_LEN;
use ringpack::pack::Codec;

use crate::cases::noise;
use crate::forge::{Parts, Shape};
use crate::{Random, content};

const CHUNK: usize = 65_536;
/// Longest mutant that is written down; longer ones are cut there.
const LEN_MAX: u64 = 1 << 20;

/// What decides.
#[derive(Debug)]
pub struct Choices {
    made: std::vec::IntoIter<u64>,
    random: Random,
}

impl Choices {
    /// Those of a seed.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        Self { made: Vec::new().into_iter(), random: Random(seed) }
    }

    /// These, and then those of seed 0.
    #[must_use]
    pub fn made(choices: Vec<u64>) -> Self {
        Self { made: choices.into_iter(), random: Random(0) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.made.next().unwrap_or_else(|| self.random.next())
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The intact containers that mutants are made of: every shape, with few bytes of content, with a
/// chunk and a piece, with none, and one with two extents.
#[must_use]
pub fn ancestors() -> Vec<Parts> {
    let mut ancestors = Vec::new();
    for shape in Shape::all() {
        let lens: &[usize] = match shape.placement {
            PlacementKind::Dense => &[0, 300, CHUNK, CHUNK + 700, 2 * CHUNK + 5000],
            PlacementKind::Slots => &[0, 300, CHUNK + 700],
        };
        for &len in lens {
            let codec = if len == 300 { Codec::Store } else { Codec::Zstd(3) };
            ancestors.push(Parts::of(&shape.pack(&content(len, len as u64), codec)));
        }
        // Two extents cost as much to look at as a hundred of the others: one of them.
        if shape == (Shape { placement: PlacementKind::Dense, blake3: true }) {
            let mut zeros = vec![0; 65 * CHUNK + 9];
            zeros[..2000].copy_from_slice(&noise(2000, 1));
            ancestors.push(Parts::of(&shape.pack(&zeros, Codec::Zstd(1))));
        }
    }
    ancestors
}

/// A number that arithmetic goes wrong on, or that is near what stands there.
pub(crate) fn number(random: &mut Choices, near: u64) -> u64 {
    match random.below(8) {
        0 => near.wrapping_add(1),
        1 => near.wrapping_sub(1),
        2 => near.wrapping_add(4096),
        3 => near.wrapping_sub(4096),
        4 => near ^ 1 << random.below(64),
        5 => 1 << random.below(64),
        6 => u64::MAX << random.below(64),
        _ => random.next() >> random.below(64),
    }
}

pub(crate) fn flip(random: &mut Choices, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
    }
}

/// One change to the parts; the number of frames, entries and chaining values stays the same.
fn change(random: &mut Choices, parts: &mut Parts, others: &[Parts]) {
    let chunk = random.below(parts.frames.len() as u64) as usize;
    let other = &others[random.below(others.len() as u64) as usize];
    let foreign = random.below(other.frames.len() as u64) as usize;
    let header = &mut parts.header;
    match random.below(19) {
        0 => flip(random, &mut parts.frames[chunk]),
        // The frame's header, its first block's, its end: where the structure is.
        1 => {
            let len = parts.frames[chunk].len().min(14);
            flip(random, &mut parts.frames[chunk][..len]);
        }
        2 => {
            let at = random.below(parts.frames[chunk].len() as u64 + 1) as usize;
            parts.frames[chunk].truncate(at);
        }
        3 => parts.frames[chunk].extend(noise(random.below(40) as usize, random.next())),
        4 => {
            let second = random.below(parts.frames.len() as u64) as usize;
            parts.frames.swap(chunk, second);
            if random.below(2) == 0 {
                parts.index.entries.swap(chunk, second);
            }
        }
        5 => {
            parts.frames[chunk] = other.frames[foreign].clone();
            if random.below(2) == 0 {
                parts.index.entries[chunk] = other.index.entries[foreign];
            }
        }
        // Another content, in order.
        6 => {
            let len = parts.index.entries[chunk].raw_len.min(1 << 17) as usize;
            parts.set_chunk(chunk, &content(len, random.next()));
        }
        7 => {
            let frame = parts.frames[chunk].clone();
            parts.frames.insert(chunk, frame);
            parts.index.entries.insert(chunk, parts.index.entries[chunk]);
            if let Some(&value) = parts.index.chaining.get(chunk) {
                parts.index.chaining.insert(chunk, value);
            }
        }
        8 if parts.frames.len() > 1 => {
            parts.frames.remove(chunk);
            parts.index.entries.remove(chunk);
            if chunk < parts.index.chaining.len() {
                parts.index.chaining.remove(chunk);
            }
        }
        9 => {
            let entry = &mut parts.index.entries[chunk];
            match random.below(5) {
                0 => entry.offset = number(random, entry.offset),
                1 => entry.frame_len = number(random, entry.frame_len.into()) as u32,
                2 => entry.raw_len = number(random, entry.raw_len.into()) as u32,
                3 => entry.raw_crc32c ^= 1 << random.below(32),
                _ => entry.frame_crc32c ^= 1 << random.below(32),
            }
        }
        10 | 11 => {
            let fields = [
                &mut header.content_size,
                &mut header.chunk_count,
                &mut header.data_end,
                &mut header.index_offset,
                &mut header.index_len,
                &mut header.table_offset,
                &mut header.file_size,
                &mut header.slot_len,
            ];
            let chosen = random.below(8) as usize;
            let field = fields.into_iter().nth(chosen).expect("one of eight");
            *field = number(random, *field);
        }
        12 => match random.below(6) {
            0 => header.chunk_log2 = 16 + random.below(11) as u8,
            1 => header.extent_chunks = random.next() as u16,
            2 => header.level = random.next() as i32,
            3 => {
                header.codec =
                    if random.below(2) == 0 { CodecKind::Store } else { CodecKind::Zstd };
            }
            4 => {
                let slots = random.below(2) == 0;
                header.placement = if slots { PlacementKind::Slots } else { PlacementKind::Dense };
                header.extent_chunks = if slots { 1 } else { 64 };
                header.slot_len = if slots { 69_632 } else { 0 };
            }
            _ => header.content_crc32c ^= 1 << random.below(32),
        },
        13 => {
            header.members_len = number(random, header.members_len);
            header.member_count = number(random, header.member_count);
        }
        14 => {
            let values = if random.below(2) == 0 { parts.frames.len() } else { 0 };
            parts.index.chaining.resize(values, [7; 32]);
            header.digest = if values > 0 { Digest::Blake3([1; 32]) } else { Digest::None };
        }
        15 => {
            if let Some(value) = parts.index.chaining.get_mut(chunk) {
                flip(random, value);
            }
        }
        16 => {
            let at = random.below(parts.table.len() as u64) as usize;
            let entry = &mut parts.table[at];
            match random.below(3) {
                0 => entry.compressed = number(random, entry.compressed.into()) as u32,
                1 => entry.decompressed = number(random, entry.decompressed.into()) as u32,
                _ => entry.checksum ^= 1 << random.below(32),
            }
        }
        17 => {
            let at = random.below(parts.table.len() as u64) as usize;
            if random.below(2) == 0 {
                parts.table.remove(at);
            } else {
                parts.table.insert(at, parts.table[at]);
            }
        }
        // A frame of another length of content, honestly told.
        _ => {
            let len = random.below(3 * CHUNK as u64 / 2) as usize;
            parts.set_chunk(chunk, &vec![random.next() as u8; len]);
        }
    }
}

/// One change to the bytes.
fn change_bytes(random: &mut Choices, bytes: &mut Vec<u8>) {
    let page =
        |random: &mut Choices, len: usize| random.below(len as u64 / 4096 + 1) as usize * 4096;
    match random.below(6) {
        0 => flip(random, bytes),
        1 => {
            let at = random.below(bytes.len() as u64 + 1) as usize;
            bytes.truncate(at);
        }
        2 => bytes.extend(noise(random.below(5000) as usize, random.next())),
        3 => {
            let at = page(random, bytes.len());
            let end = bytes.len().min(at + 4096);
            bytes[at.min(end)..end].fill(0);
        }
        4 => {
            let (from, to) = (page(random, bytes.len()), page(random, bytes.len()));
            if from + 4096 <= bytes.len() && to + 4096 <= bytes.len() {
                bytes.copy_within(from..from + 4096, to);
            }
        }
        _ => {
            let end = bytes.len().saturating_sub(random.below(1000) as usize);
            let start = end.saturating_sub(HEADER_LEN);
            flip(random, &mut bytes[start..end]);
        }
    }
}

/// Mends the checksums of header and index, wherever the header says that they are.
fn mend(bytes: &mut [u8], parts: &Parts) {
    let mut mend = |start: u64, len: u64, body: usize| {
        let range = usize::try_from(start).ok().zip(usize::try_from(len).ok());
        let Some(part) = range
            .and_then(|(start, len)| bytes.get_mut(start..start.checked_add(len)?))
            .filter(|part| part.len() >= body + 4)
        else {
            return;
        };
        let end = part.len() - 4;
        let crc = crc32c(&part[body..end]);
        part[end..].copy_from_slice(&crc.to_le_bytes());
    };
    let chaining = !parts.index.chaining.is_empty();
    let index_len = index::total_len(parts.index.entries.len() as u64, chaining).unwrap_or(0);
    mend(parts.header_offset(), HEADER_LEN as u64, 0);
    mend(parts.header.index_offset, index_len, 8);
}

/// The mutant of these choices.
#[must_use]
pub fn of(random: &mut Choices, ancestors: &[Parts]) -> Vec<u8> {
    let mut parts = ancestors[random.below(ancestors.len() as u64) as usize].clone();
    for _ in 0..random.below(4) {
        change(random, &mut parts, ancestors);
    }
    let frames_are_short =
        parts.frames.iter().map(|frame| frame.len() as u64).sum::<u64>() < LEN_MAX;
    if random.below(3) > 0 && frames_are_short {
        // Lengths and offsets as they should be, then perhaps one more lie.
        parts.lay_out();
        if random.below(4) == 0 {
            change(random, &mut parts, ancestors);
        }
    }
    if random.below(4) > 0 {
        parts.seal();
    }
    parts.file_len = parts.file_len.min(LEN_MAX);
    let mut bytes = parts.bytes();
    for _ in 0..random.below(8).saturating_sub(5) {
        change_bytes(random, &mut bytes);
        if random.below(2) == 0 {
            mend(&mut bytes, &parts);
        }
    }
    bytes
}
