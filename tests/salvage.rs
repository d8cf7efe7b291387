//! Salvaging: damage of every kind, drawn by seeds, in containers of every shape. What is called
//! intact is the original's, whatever was done; what is untouched is restored wherever anything is
//! left that says where it belongs.

use std::fs;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use ringpack::ErrorKind;
use ringpack::damage::{Condition, Map};
use ringpack::format::header::PlacementKind;
use ringpack::limits::HEADER_LEN as HEADER;
use ringpack::pack::Codec;
use ringpack::salvage::SalvageReport;
use support::cases::noise;
use support::forge::{Parts, Shape};
use support::memory::{MemoryDisk, share};
use support::{
    Random, assert_same, content, fail, has_tool, ringpack, run, run_with_input, skip, succeed,
};

const CHUNK: usize = 65_536;
const PAGE: usize = 4096;

/// A container, what it holds, and where its parts are.
struct Original {
    content: Vec<u8>,
    bytes: Vec<u8>,
    parts: Parts,
}

impl Original {
    fn new(shape: Shape, codec: Codec, len: usize) -> Self {
        let content = content(len, len as u64);
        let bytes = shape.pack(&content, codec);
        let parts = Parts::of(&bytes);
        Self { content, bytes, parts }
    }

    /// An archive, which has a member index.
    fn archive() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (tree, path) = (dir.path().join("tree"), dir.path().join("tree.tar.zst"));
        fs::create_dir(&tree).unwrap();
        for number in 0..40 {
            let bytes = self::content(9_000, number);
            fs::write(tree.join(format!("file {number}")), bytes).unwrap();
        }
        succeed(ringpack(["pack", "--chunk-size", "64K", "-q"]).arg(&tree).arg("-o").arg(&path));
        let bytes = fs::read(&path).unwrap();
        let content = succeed(ringpack(["unpack", "-c"]).arg(&path));
        Self { content, parts: Parts::of(&bytes), bytes }
    }

    fn member_index(&self) -> Range<u64> {
        let header = &self.parts.header;
        let start = header.index_offset + header.index_len;
        start..start + header.members_len
    }

    /// Each chunk's range of the content, and its frame's of the container.
    fn chunks(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.parts.index.entries.iter().enumerate().map(|(number, entry)| {
            let (start, offset) = (number * CHUNK, entry.offset as usize);
            (start..start + entry.raw_len as usize, offset..offset + entry.frame_len as usize)
        })
    }

    fn index(&self) -> Range<usize> {
        let header = &self.parts.header;
        header.index_offset as usize..(header.index_offset + header.index_len) as usize
    }

    fn header(&self) -> Range<usize> {
        let end = self.parts.header.table_offset as usize;
        end - HEADER..end
    }

    /// Header and seek table.
    fn ending(&self) -> Vec<u8> {
        self.bytes[self.header().start..].to_vec()
    }
}

fn originals() -> Vec<Original> {
    let mut originals = Vec::new();
    for shape in Shape::all() {
        let lens: &[usize] = match shape.placement {
            // An extent of 64 chunks and a piece of the next.
            PlacementKind::Dense if !shape.blake3 => &[300, 5 * CHUNK + 99, 66 * CHUNK + 7],
            PlacementKind::Dense => &[7 * CHUNK],
            PlacementKind::Slots => &[0, 4 * CHUNK + 99],
        };
        for &len in lens {
            let codec = if len % 2 == 0 { Codec::Store } else { Codec::Zstd(3) };
            originals.push(Original::new(shape, codec, len));
        }
    }
    originals.push(Original::archive());
    originals
}

/// What holds whatever was done: `brings` is whether frames were brought to where they don't
/// belong, which their order alone can't tell.
fn check(original: &Original, damaged: &[u8], brings: bool, what: &str) -> Option<SalvageReport> {
    let disk = MemoryDisk::new(damaged.to_vec());
    check_repair_map(original, damaged, &disk, what);
    let (report, restored, text) = match disk.salvage() {
        Ok(salvaged) => salvaged,
        Err(error) => {
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::NotAContainer | ErrorKind::Damaged),
                "{what}: {error}"
            );
            return None;
        }
    };
    assert_eq!(restored.len() as u64, report.content_len, "{what}");
    let whole = original.content.len();
    if !brings {
        assert!(restored.len() <= whole, "{what}: {} of {whole} bytes", restored.len());
    }
    if report.is_len_known && !brings {
        assert_eq!(restored.len(), whole, "{what}");
    }
    for stretch in &report.map.stretches {
        let range = stretch.start as usize..stretch.end as usize;
        let found = &restored[range.clone()];
        let is_same = original.content.get(range.clone()) == Some(found);
        match stretch.condition {
            Condition::Intact => assert!(is_same, "{what}: {range:?} isn't intact"),
            Condition::Unsure => assert!(is_same || brings, "{what}: {range:?} is wrong"),
            Condition::Lost => {
                assert!(found.iter().all(|&byte| byte == 0), "{what}: {range:?} is no hole");
            }
        }
    }
    assert_eq!(read_map(&text), rows(&report.map), "{what}: {text}");
    let lost: u64 = report.damages.iter().map(|it| it.content.clone()).map(len_of).sum();
    assert_eq!(lost, report.lost + report.unsure, "{what}: each loss is told once: {text}");
    Some(report)
}

fn len_of(range: Option<Range<u64>>) -> u64 {
    range.map_or(0, |range| range.end - range.start)
}

/// Every byte that the repair map calls intact is the original's; fetching the others repairs it.
fn check_repair_map(original: &Original, damaged: &[u8], disk: &MemoryDisk, what: &str) {
    let Ok(repair) = disk.repair_map() else { return };
    let mut repaired = damaged.to_vec();
    repaired.resize(repair.file_len as usize, 0xEE);
    for stretch in &repair.map.stretches {
        let range = stretch.start as usize..stretch.end as usize;
        let right = original.bytes.get(range.clone());
        if stretch.condition == Condition::Intact {
            let found = damaged.get(range.clone());
            assert!(found.is_some() && found == right, "{what}: container {range:?} isn't intact");
        } else if let Some(right) = right {
            repaired[range].copy_from_slice(right);
        }
    }
    if repair.file_len as usize == original.bytes.len() {
        assert!(repaired == original.bytes, "{what}: what is fetched repairs it");
    }
    if damaged != original.bytes {
        let is_shorter = repair.file_len as usize != original.bytes.len();
        assert!(!repair.map.is_intact() || is_shorter, "{what}: nothing is said to be damaged");
    }
}

/// Start, length and status of each row of a mapfile.
type Rows = Vec<(u64, u64, char)>;

fn read_map(text: &str) -> Rows {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next().map(str::trim_start), Some("0x00000000     ?               1"));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut number = || {
                let digits = words.next().and_then(|word| word.strip_prefix("0x"));
                u64::from_str_radix(digits.expect("a number"), 16).expect("hexadecimal")
            };
            let (start, len) = (number(), number());
            (start, len, words.next().expect("a status").chars().next().expect("a character"))
        })
        .collect()
}

fn rows(map: &Map) -> Rows {
    let row = |it: &ringpack::damage::Stretch| (it.start, it.end - it.start, it.condition.status());
    map.stretches.iter().map(row).collect()
}

/// Does one kind of damage; gives whether frames, or parts of them, came to stand elsewhere.
fn damage(bytes: &mut Vec<u8>, original: &Original, random: &mut Random) -> bool {
    if bytes.is_empty() {
        return false;
    }
    let len = bytes.len() as u64;
    let at = random.below(len) as usize;
    let magnitude = random.below(18);
    let size = 1 + random.below(1 << magnitude) as usize;
    let end = bytes.len().min(at + size);
    let pages = bytes.len() / PAGE;
    let page = |random: &mut Random| random.below(pages.max(1) as u64) as usize * PAGE;
    let zero = |bytes: &mut Vec<u8>, range: Range<usize>| {
        let end = range.end.min(bytes.len());
        bytes[range.start.min(end)..end].fill(0);
    };
    let header = &original.parts.header;
    match random.below(12) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at..end].fill(0),
        2 => bytes[at..end].copy_from_slice(&noise(end - at, random.next())),
        3 => bytes.truncate(at),
        4 => zero(bytes, original.header()),
        5 => zero(bytes, original.index()),
        6 => zero(bytes, header.table_offset as usize..header.file_size as usize),
        7 => zero(bytes, header.data_end as usize..header.file_size as usize),
        8 if pages > 0 => {
            let (from, to) = (page(random), page(random));
            let moved: Vec<u8> = bytes[from..from + PAGE].to_vec();
            let other = bytes[to..to + PAGE].to_vec();
            bytes[to..to + PAGE].copy_from_slice(&moved);
            bytes[from..from + PAGE].copy_from_slice(&other);
            return true;
        }
        9 => {
            bytes.drain(at..end);
            return true;
        }
        10 => {
            bytes.splice(at..at, noise(size, random.next()));
            return true;
        }
        _ => {
            let start = random.below(len) as usize;
            let copied = bytes[start..bytes.len().min(start + size)].to_vec();
            let room = bytes.len().min(at + copied.len()) - at;
            bytes[at..at + room].copy_from_slice(&copied[..room]);
            return true;
        }
    }
    false
}

#[test]
fn q2_q4_what_is_called_intact_is_whatever_was_done() {
    let originals = originals();
    share(
        1500,
        || (),
        |(), seed| {
            let mut random = Random(seed as u64);
            let original = &originals[seed % originals.len()];
            let mut bytes = original.bytes.clone();
            let mut brings = false;
            for _ in 0..1 + random.below(4) {
                brings |= damage(&mut bytes, original, &mut random);
            }
            check(original, &bytes, brings, &format!("seed {seed}"));
        },
    );
}

/// Where anything but the frames is left, every frame that wasn't touched is restored.
#[test]
fn what_is_untouched_is_restored_while_anything_says_where_it_belongs() {
    let kinds = ["nothing", "header", "index", "table", "header and table", "all but the frames"];
    for (number, original) in originals().iter().enumerate() {
        let file_len = original.bytes.len();
        for (kind, gone) in kinds.iter().enumerate() {
            let mut bytes = original.bytes.clone();
            let (header, index) = (original.header(), original.index());
            let lost = match kind {
                0 => 0..0,
                1 => header,
                2 => index,
                3 => header.end..file_len,
                4 => header.start..file_len,
                _ => index.start..file_len,
            };
            bytes[lost].fill(0);
            // In the middle of the data, over a chunk or two.
            let mut random = Random((number * 10 + kind) as u64);
            let data_end = original.parts.header.data_end;
            let at = random.below(data_end.max(1)) as usize;
            let hit = at..(at + 1 + random.below(70_000) as usize).min(data_end as usize);
            bytes[hit.clone()].fill(0xA5);
            let what = format!("original {number}, {gone} gone, {hit:?} overwritten");
            let report = check(original, &bytes, false, &what);
            // The frames alone are left: where each belongs is known by their order.
            let by_order = kind == 5;
            for (content, frame) in original.chunks() {
                let touched = frame.start < hit.end && hit.start < frame.end;
                if touched || content.is_empty() {
                    continue;
                }
                let report = report.as_ref().unwrap_or_else(|| panic!("{what}: nothing"));
                let stretch = report.map.stretches.iter().find(|it| it.end > content.start as u64);
                let found = stretch.map_or(Condition::Lost, |stretch| stretch.condition);
                match found {
                    Condition::Intact => assert!(!by_order, "{what}: nothing vouches"),
                    Condition::Unsure => assert!(by_order, "{what}: {content:?} is unsure"),
                    // The sizes are gone with the end.
                    Condition::Lost => {
                        let is_behind = by_order && frame.start > hit.start;
                        assert!(is_behind, "{what}: {content:?} is lost");
                    }
                }
            }
        }
    }
}

/// The header is found behind any number of headers of containers within the content.
#[test]
fn a_header_behind_many_others() {
    let shape = Shape { placement: PlacementKind::Dense, blake3: false };
    let inner = shape.pack(b"one of many", Codec::Zstd(3));
    let whole = inner.repeat(3 * CHUNK / inner.len() + 1);
    let bytes = shape.pack(&whole, Codec::Store);
    let parts = Parts::of(&bytes);
    let original = Original { content: whole, bytes, parts };
    let mut bytes = original.bytes.clone();
    bytes[CHUNK / 2] ^= 1;
    let report = check(&original, &bytes, false, "a flipped bit").unwrap();
    assert!(report.is_len_known);
    let sound = &report.map.stretches[1..];
    assert!(sound.iter().all(|stretch| stretch.condition == Condition::Intact), "{sound:?}");
    let disk = MemoryDisk::new(bytes);
    let map = disk.repair_map().unwrap();
    let header = original.header().start as u64;
    let stretch = map.map.stretches.iter().find(|stretch| stretch.end > header).unwrap();
    assert_eq!(stretch.condition, Condition::Intact, "the header");
}

/// A frame of a container that is part of the content is no frame of this one.
#[test]
fn q5_containers_within_the_content_are_not_mistaken_for_it() {
    let shape = Shape { placement: PlacementKind::Dense, blake3: false };
    let inner = shape.pack(&content(3 * CHUNK, 5), Codec::Zstd(3));
    let mut whole = noise(2 * CHUNK, 1);
    whole.splice(CHUNK + 5000..CHUNK + 5000, inner.iter().copied());
    whole.resize(6 * CHUNK, 7);
    let bytes = shape.pack(&whole, Codec::Store);
    let parts = Parts::of(&bytes);
    let original = Original { content: whole, bytes, parts };
    let data_end = original.parts.header.data_end as usize;
    let (header, index) = (original.header(), original.index());
    for gone in [vec![], vec![index.clone()], vec![header.clone()], vec![header, index]] {
        for cut in [original.bytes.len(), data_end] {
            let mut bytes = original.bytes.clone();
            for range in &gone {
                bytes[range.clone()].fill(0);
            }
            // The header of the frame before it, and of the one that it is in.
            for chunk in [0, 1] {
                let at = original.parts.index.entries[chunk].offset as usize;
                bytes[at..at + 8].fill(0);
            }
            bytes.truncate(cut);
            check(&original, &bytes, true, &format!("{gone:?} gone, cut at {cut}"));
        }
    }
}

/// The work is linear in the file's length, whatever stands in it; debug builds are slow, so this
/// is about not hanging.
#[test]
fn q3_hostile_files_end() {
    let frame = |descriptor: u8, size: u32, blocks: &[u8]| {
        [&[0x28, 0xB5, 0x2F, 0xFD, descriptor][..], &size.to_le_bytes(), blocks].concat()
    };
    let len = 1 << 18;
    let rle = [0x02 | 1 << 3, 0, 0x10, 0xAA].repeat(40);
    let index = |count: u64| {
        let prefix = ringpack::format::index::encode_prefix(0, count.min(1 << 20), false);
        [&prefix[..], &[0xFF; 24]].concat()
    };
    let patterns = [
        ("magics", vec![0x28, 0xB5, 0x2F, 0xFD]),
        ("headers", frame(0xA4, 1 << 26, &[])),
        ("empty blocks", frame(0xA4, 1 << 26, &[0; 3])),
        ("blocks that lead on", frame(0xA4, 1 << 26, &[9 << 3, 0, 0])),
        ("runs that fail", frame(0xA4, 40 << 17, &rle)),
        ("indexes", index(u64::MAX)),
        ("indexes of few", index(3)),
    ];
    let ending = originals()[0].ending();
    for (what, pattern) in patterns {
        let mut bytes: Vec<u8> = pattern.iter().copied().cycle().take(len).collect();
        for is_ended in [false, true] {
            if is_ended {
                bytes[len - ending.len()..].copy_from_slice(&ending);
            }
            let salvaged = MemoryDisk::new(bytes.clone()).salvage();
            assert!(salvaged.is_err(), "{what}, ended by a header: {is_ended}");
        }
    }
}

/// A folder with a container `c.zst` of `len` bytes of content `in`, by the program.
fn folder(len: usize, args: &[&str]) -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(len, 3);
    fs::write(folder.path().join("in"), &bytes).unwrap();
    let pack = &mut ringpack(["pack", "in", "-o", "c.zst", "--chunk-size", "64K"]);
    succeed(pack.args(args).current_dir(folder.path()));
    (folder, bytes)
}

fn overwrite(path: &Path, range: Range<usize>) {
    let mut bytes = fs::read(path).unwrap();
    bytes[range].fill(0x5A);
    fs::write(path, bytes).unwrap();
}

#[test]
fn codes_names_and_words() {
    let (folder, original) = folder(300_000, &[]);
    let folder = folder.path();
    let salvage = |args: &[&str]| {
        let output = run(ringpack(["salvage"]).args(args).current_dir(folder));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    // Nothing is missing.
    assert_eq!(salvage(&["c.zst", "-o", "out"]).0, Some(0));
    assert_same(&fs::read(folder.join("out")).unwrap(), &original, "intact");
    let map = fs::read_to_string(folder.join("out.map")).unwrap();
    assert_eq!(read_map(&map), [(0, 300_000, '+')]);
    // Content or map exist.
    for name in ["out", "out.map"] {
        let (code, _, stderr) = salvage(&["c.zst", "-o", "out"]);
        assert_eq!(code, Some(7), "{stderr}");
        fs::remove_file(folder.join(name)).unwrap();
    }
    overwrite(&folder.join("c.zst"), 5000..6000);
    let (code, _, stderr) = salvage(&["c.zst", "-o", "out"]);
    assert_eq!(code, Some(16), "{stderr}");
    for word in ["intact", "lost", "chunk 0", "its frame is damaged", "out.map"] {
        assert!(stderr.contains(word), "{word} isn't in: {stderr}");
    }
    let (code, stdout, stderr) = salvage(&["c.zst", "-o", "out", "-f", "-q", "--json"]);
    assert_eq!((code, stderr.as_str()), (Some(16), ""));
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (report["lost"].as_u64(), report["content_len"].as_u64()),
        (Some(CHUNK as u64), Some(300_000))
    );
    assert_eq!(report["damages"][0]["chunks"]["start"], 0);
    assert_eq!(report["map"]["stretches"][0]["condition"], "lost");
    // What can't be.
    fs::write(folder.join("text"), "no container at all").unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    let before = support::names(folder);
    for (args, expected) in [
        (["missing", "-o", "new"], 3),
        (["text", "-o", "new"], 4),
        (["empty", "-o", "new"], 4),
        (["-", "-o", "new"], 2),
        (["c.zst", "-o", "-"], 2),
        (["c.zst", "-o", "no/such/folder"], 8),
        ([".", "-o", "new"], 3),
    ] {
        let (code, _, stderr) = salvage(&args);
        assert_eq!(code, Some(expected), "{args:?}: {stderr}");
    }
    let (code, _, stderr) = salvage(&["c.zst", "-o", "c.zst", "-f"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(support::names(folder), before);
}

/// What a killed run leaves: the journal vouches for what it covers; without it, the order does.
#[test]
fn a_partial_file_with_and_without_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Two extents and a piece of a third.
    let bytes = content(9 << 20, 4);
    let mut packing = ringpack(["pack", "-", "-o", "c.zst", "--chunk-size", "64K", "-T1"]);
    packing.args(["--checkpoint-size", "4M"]).current_dir(folder);
    let child = packing.stdin(Stdio::piped()).stderr(Stdio::piped()).arg("-v").spawn();
    let mut child = child.unwrap();
    child.stdin.as_mut().unwrap().write_all(&bytes).unwrap();
    // The pipe stays open, so the run waits for more until it is killed behind a checkpoint.
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    while !said.contains("checkpoint: ") {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "it ended: {said}");
        said.push(byte[0].into());
    }
    let partial = "c.zst.ringpack-partial";
    fail(ringpack(["salvage", partial, "-o", "out"]).current_dir(folder), 11);
    child.kill().unwrap();
    child.wait().unwrap();
    for has_journal in [true, false] {
        if !has_journal {
            fs::remove_file(folder.join("c.zst.ringpack-journal")).unwrap();
        }
        let args = ["salvage", "-f", "--json", partial, "-o", "out"];
        let output = run(ringpack(args).current_dir(folder));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(16), "{stderr}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let restored = fs::read(folder.join("out")).unwrap();
        assert!(restored.len() >= 4 << 20, "{}", restored.len());
        assert_same(&restored, &bytes[..restored.len()], "what was packed");
        assert_eq!(report["is_len_known"], false);
        assert_eq!(report["intact"].as_u64().unwrap() > 0, has_journal, "{stderr}");
        assert_eq!(report["lost"], 0, "{stderr}");
    }
}

#[test]
fn a_member_index_is_told_of_by_name_and_an_archive_is_restored_without_it() {
    let original = Original::archive();
    let header = &original.parts.header;
    assert!(header.members_len > 0 && header.member_count == 41, "{header:?}");
    let index = original.member_index();
    let disk = MemoryDisk::new(original.bytes.clone());
    let repair = disk.repair_map().unwrap();
    assert!(repair.map.is_intact(), "{:?}", repair.map);
    let (report, ..) = disk.salvage().unwrap();
    assert!(report.unplaced.is_empty(), "the index's own frame is no content: {report:?}");
    let entry = header.table_offset..original.bytes.len() as u64;
    for at in [index.start, index.start + 20, index.start.midpoint(index.end), index.end - 1] {
        let mut damaged = original.bytes.clone();
        damaged[at as usize] ^= 0x20;
        let report = check(&original, &damaged, false, &format!("flipped at {at}")).unwrap();
        assert!(report.is_complete(), "the content is whole");
        let repair = MemoryDisk::new(damaged).repair_map().unwrap();
        // The index, and what the seek table says of it.
        for bad in repair.map.stretches.iter().filter(|it| it.condition != Condition::Intact) {
            let within = |range: &Range<u64>| range.start <= bad.start && bad.end <= range.end;
            assert!(within(&index) || within(&entry), "{bad:?}");
        }
        let told = repair.damages.iter().any(|it| it.why.contains("member index"));
        assert!(told, "{:?}", repair.damages);
    }
}

/// A pad states its own length: where that is damaged, the map must not believe it.
#[test]
fn q4_a_pad_of_another_length_is_not_intact() {
    for (number, original) in originals().iter().enumerate() {
        let entries = &original.parts.index.entries;
        let ends = entries.iter().map(|it| it.offset as usize + it.frame_len as usize);
        let nexts = entries.iter().skip(1).map(|it| it.offset as usize);
        let data_end = original.parts.header.data_end as usize;
        let gaps = ends.zip(nexts.chain([data_end])).filter(|(end, next)| next - end >= 8);
        for (end, next) in gaps {
            for bit in 0..32 {
                let mut damaged = original.bytes.clone();
                damaged[end + 4 + bit / 8] ^= 1 << (bit % 8);
                let disk = MemoryDisk::new(damaged.clone());
                let what = format!("original {number}, pad {end}..{next}, bit {bit}");
                check_repair_map(original, &damaged, &disk, &what);
            }
        }
    }
}

#[test]
fn plain_zstandard_files_of_several_frames() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bytes = content(500_000, 9);
    let mut file = Vec::new();
    let mut ends = vec![0];
    for part in bytes.chunks(100_000) {
        let mut encoder = zstd::bulk::Compressor::new(1).unwrap();
        encoder.include_checksum(true).unwrap();
        file.extend(encoder.compress(part).unwrap());
        ends.push(file.len());
    }
    let check = |file: &[u8], code: i32, kept: usize, unplaced: usize| {
        fs::write(folder.join("plain.zst"), file).unwrap();
        let args = ["salvage", "-f", "--json", "plain.zst", "-o", "out"];
        let output = run(ringpack(args).current_dir(folder));
        assert_eq!(output.status.code(), Some(code));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let restored = fs::read(folder.join("out")).unwrap();
        assert_same(&restored, &bytes[..restored.len()], "the front");
        assert_eq!(restored.len(), kept);
        assert_eq!(report["unplaced"].as_array().unwrap().len(), unplaced);
        report
    };
    check(&file, 16, 500_000, 0);
    // The header of the third frame: how long it was isn't known any more.
    let mut damaged = file.clone();
    damaged[ends[2]..ends[2] + 6].fill(0);
    let report = check(&damaged, 16, 200_000, 2);
    assert_eq!(report["unplaced"][0]["offset"], ends[3]);
    // Left out, but told: each is a file of its own.
    let frame = &damaged[ends[3]..ends[4]];
    assert_same(&zstd::bulk::decompress(frame, 1 << 20).unwrap(), &bytes[300_000..400_000], "it");
}

/// GNU ddrescue reads both kinds of map, and fetches what they say is missing.
/// Of two containers in one file the second can't be part of the first's content: it is left out,
/// which the code says, and salvaged as is said.
#[test]
fn a_container_behind_another_is_said_to_be_left_out() {
    for stream in [false, true] {
        let (folder, first) = folder(300_000, &[]);
        let folder = folder.path();
        let second = content(150_000, 77);
        let packed = match stream {
            true => run_with_input(&mut ringpack(["pack", "-"]), &second).stdout,
            false => {
                fs::write(folder.join("second"), &second).unwrap();
                succeed(ringpack(["pack", "-q", "second"]).current_dir(folder));
                fs::read(folder.join("second.zst")).unwrap()
            }
        };
        let len = fs::metadata(folder.join("c.zst")).unwrap().len();
        let both = [fs::read(folder.join("c.zst")).unwrap(), packed].concat();
        fs::write(folder.join("both.zst"), &both).unwrap();
        let salvage = |from: &str, to: &str| {
            run(ringpack(["salvage", "-f", from, "-o", to]).current_dir(folder))
        };
        let output = salvage("both.zst", "out");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(16), "{said}");
        assert!(said.contains("left out") && said.contains(&format!("byte {len}")), "{said}");
        assert_same(&fs::read(folder.join("out")).unwrap(), &first, "the first");
        fs::write(folder.join("rest.zst"), &both[len as usize..]).unwrap();
        assert_eq!(salvage("rest.zst", "out").status.code(), Some(0), "stream: {stream}");
        assert_same(&fs::read(folder.join("out")).unwrap(), &second, "the second");
    }
}

#[test]
fn ddrescue_fetches_what_a_map_says() {
    if !has_tool("ddrescue") {
        return skip("ddrescue_fetches_what_a_map_says", "ddrescue (gddrescue) isn't installed");
    }
    let (folder, original) = folder(2_000_000, &[]);
    let folder = folder.path();
    let good = fs::read(folder.join("c.zst")).unwrap();
    fs::copy(folder.join("c.zst"), folder.join("d.zst")).unwrap();
    let header_end = Parts::of(&good).header.table_offset as usize;
    let middle = good.len() / 2;
    for range in [0..100, 9000..9001, middle..middle + 50_000, header_end - 50..header_end] {
        overwrite(&folder.join("d.zst"), range);
    }
    let ddrescue = |source: &str, target: &str, map: &str| {
        succeed(Command::new("ddrescue").args([source, target, map]).current_dir(folder));
    };
    fail(ringpack(["salvage", "d.zst", "-o", "out"]).current_dir(folder), 16);
    ddrescue("in", "out", "out.map");
    assert_same(&fs::read(folder.join("out")).unwrap(), &original, "the content, completed");
    let args = ["verify", "--repair-map", "d.map", "d.zst"];
    fail(ringpack(args).current_dir(folder), 6);
    fail(ringpack(args).current_dir(folder), 7);
    let map = fs::read_to_string(folder.join("d.map")).unwrap();
    let fetched: u64 =
        read_map(&map).iter().filter(|(_, _, it)| *it != '+').map(|(_, len, _)| len).sum();
    assert!(fetched < 300_000, "only what is damaged is fetched, not {fetched}");
    let header = format!("container {:#x} 0x100", header_end - HEADER);
    for word in ["chunk 0, content 0x0 0x10000", &header] {
        assert!(map.contains(word), "{word} isn't in: {map}");
    }
    ddrescue("c.zst", "d.zst", "d.map");
    assert_same(&fs::read(folder.join("d.zst")).unwrap(), &good, "the container, repaired");
    succeed(ringpack(["verify", "--repair-map", "d.map", "-f", "d.zst"]).current_dir(folder));
    let map = fs::read_to_string(folder.join("d.map")).unwrap();
    assert_eq!(read_map(&map), [(0, good.len() as u64, '+')]);
}
