//! Programs that know nothing of ringpack read its containers: stock `zstd` and `pzstd` whole,
//! three independent seekable readers by range.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::cases::{Case, Giant};
use support::{Random, assert_same, has_tool, ringpack, run, run_with_input, skip, succeed};

/// What the readers of `tests/interop/ranges.py` end with where a module is missing.
const MISSING: i32 = 77;

/// Packs each content of the case, into a file and through a pipe, and has everyone restore it.
fn check(placement: &'static str, codec: &'static str, chunk: &'static str) {
    let case = Case { placement, codec, chunk };
    let folder = tempfile::tempdir().unwrap();
    for (what, content) in case.contents() {
        let (_, packed) = case.packed(folder.path(), &content);
        let frames = case.chunk_count(content.len() as u64);
        check_stock(&packed, &content, frames, &what);
        check_zeekstd(&packed, content.len() as u64, case.chunk_len() as u64, &what, &|at, len| {
            content[at as usize..][..len].to_vec()
        });
        let streamed = run_with_input(ringpack(["pack", "-"]).args(case.args()), &content);
        fs::write(&packed, streamed.stdout).unwrap();
        let what = format!("{what}, streamed");
        check_stock(&packed, &content, frames, &what);
    }
}

#[test]
fn store_dense() {
    check("dense", "--store", "64K");
    check("dense", "--store", "1M");
}

#[test]
fn store_slots() {
    check("slots", "--store", "64K");
    check("slots", "--store", "1M");
}

#[test]
fn level_1_dense() {
    check("dense", "-1", "64K");
    check("dense", "-1", "1M");
}

#[test]
fn level_1_slots() {
    check("slots", "-1", "64K");
    check("slots", "-1", "1M");
}

#[test]
fn level_3_both() {
    check("dense", "-3", "1M");
    check("slots", "-3", "64K");
}

#[test]
fn a_digest_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    for placement in ["dense", "slots"] {
        let case = Case { placement, codec: "-1", chunk: "64K" };
        let content = support::content(300_000, 8);
        let (input, packed) = case.packed(folder.path(), &content);
        succeed(case.packing(&input, &packed).args(["--digest", "blake3"]));
        check_stock(&packed, &content, case.chunk_count(300_000), placement);
    }
}

#[test]
fn python_readers_store() {
    for placement in ["dense", "slots"] {
        check_python(Case { placement, codec: "--store", chunk: "64K" });
        check_python(Case { placement, codec: "--store", chunk: "1M" });
    }
}

#[test]
fn python_readers_level_1() {
    for placement in ["dense", "slots"] {
        check_python(Case { placement, codec: "-1", chunk: "64K" });
        check_python(Case { placement, codec: "-1", chunk: "1M" });
    }
}

#[test]
fn over_4_gib_dense() {
    check_giant("dense", &["--store", "-1"]);
}

#[test]
fn over_4_gib_slots() {
    check_giant("slots", &["--store", "-1"]);
}

fn check_giant(placement: &'static str, codecs: &[&'static str]) {
    let folder = tempfile::tempdir().unwrap();
    let giant = Giant::create(folder.path().join("giant"));
    let packed = folder.path().join("packed.zst");
    for &codec in codecs {
        let case = Case { placement, codec, chunk: "1M" };
        let what = format!("{case:?} over 4 GiB");
        succeed(&mut case.packing(&giant.path, &packed));
        succeed(Command::new("zstd").arg("-tq").arg(&packed));
        check_totals(&packed, Giant::LEN, case.chunk_count(Giant::LEN), &what);
        // What `zstd -t` decoded was only compared with the frames' checksums; this is with ours.
        let mut child = Command::new("zstd")
            .args(["-dcq", "--"])
            .arg(&packed)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        giant.compare(child.stdout.take().unwrap(), &what);
        assert!(child.wait().unwrap().success(), "{what}");
        check_zeekstd(&packed, Giant::LEN, 1 << 20, &what, &|at, len| giant.range(at, len));
    }
}

/// Stock zstd tests the container, restores it and tells its totals; so does pzstd restore it.
fn check_stock(packed: &Path, content: &[u8], frames: u64, what: &str) {
    succeed(Command::new("zstd").arg("-tq").arg(packed));
    let restored = succeed(Command::new("zstd").args(["-dcq", "--"]).arg(packed));
    assert_same(&restored, content, &format!("{what}: zstd -d"));
    check_totals(packed, content.len() as u64, frames, what);
    if has_tool("pzstd") {
        let restored = succeed(Command::new("pzstd").args(["-dcq", "--"]).arg(packed));
        assert_same(&restored, content, &format!("{what}: pzstd -d"));
    }
}

#[test]
fn pzstd_is_there() {
    if !has_tool("pzstd") {
        skip("interoperability", "pzstd is not installed: it restored no container");
    }
}

/// The totals that `zstd -l` shows: a Zstandard frame a chunk, exact sizes, and a checksum.
fn check_totals(packed: &Path, size: u64, frames: u64, what: &str) {
    let listed = succeed(Command::new("zstd").arg("-lv").arg("--").arg(packed));
    let listed = String::from_utf8(listed).unwrap();
    let field = |name: &str| {
        let line = listed.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{what}: no {name} in {listed}")).trim()
    };
    let exact = |name: &str| field(name).rsplit_once('(').map(|(_, bytes)| bytes.to_owned());
    assert_eq!(field("# Zstandard Frames:"), frames.to_string(), "{what}: {listed}");
    assert_eq!(exact("Decompressed Size:"), Some(format!("{size} B)")), "{what}: {listed}");
    let file_size = fs::metadata(packed).unwrap().len();
    assert_eq!(exact("Compressed Size:"), Some(format!("{file_size} B)")), "{what}: {listed}");
    assert!(field("Check:").starts_with("XXH64"), "{what}: {listed}");
    let skipped: u64 = field("# Skippable Frames:").parse().unwrap();
    // The short listing counts all frames, then those of them to skip.
    let short = succeed(Command::new("zstd").arg("-l").arg("--").arg(packed));
    let short = String::from_utf8(short).unwrap();
    let row: Vec<&str> = short.lines().nth(1).expect("a row").split_whitespace().collect();
    let expected = [(frames + skipped).to_string(), skipped.to_string()];
    assert_eq!(row[..2], expected, "{what}: {short}");
}

/// The zeekstd crate, which goes by the standard seek table alone, reads ranges.
fn check_zeekstd(
    packed: &Path,
    size: u64,
    chunk: u64,
    what: &str,
    expected: &dyn Fn(u64, usize) -> Vec<u8>,
) {
    let mut reader = zeekstd::Decoder::new(fs::File::open(packed).unwrap()).unwrap();
    assert_eq!(reader.seek_table().size_decomp(), size, "{what}: zeekstd's size");
    let file_size = fs::metadata(packed).unwrap().len();
    let table = file_size - reader.seek_table().size_comp();
    let entries = u64::from(reader.seek_table().num_frames());
    assert_eq!(table, 8 + 12 * entries + 9, "{what}: the table's entries sum to its place");
    for (at, len) in ranges(size, chunk) {
        let mut found = vec![0; len];
        reader.seek(SeekFrom::Start(at)).unwrap();
        let read = reader.read_exact(&mut found);
        read.unwrap_or_else(|error| panic!("{what}: zeekstd at {at}+{len}: {error}"));
        assert_same(&found, &expected(at, len), &format!("{what}: zeekstd at {at}+{len}"));
    }
}

/// Both ends, both sides of the first and the last boundary, both sides of 4 GiB, and some drawn.
fn ranges(size: u64, chunk: u64) -> Vec<(u64, usize)> {
    let mut ranges = Vec::new();
    for near in [0, chunk, size / chunk * chunk, 4 << 30, size] {
        for start in [near.saturating_sub(1), near, near.saturating_sub(400)] {
            let len = size.saturating_sub(start).min(500);
            ranges.extend((len > 0).then_some((start, len as usize)));
        }
    }
    let mut random = Random(size ^ chunk);
    for _ in 0..size.min(8) {
        let start = random.below(size);
        let len = 1 + random.below((size - start).min(2 * chunk));
        ranges.push((start, len as usize));
    }
    ranges
}

/// The readers from PyPI, one by the seek table and one by a scan, read ranges.
fn check_python(case: Case) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = tests.join("../target/interop-venv/bin/python");
    if !python.exists() {
        skip("python_readers", "target/interop-venv is missing: run .ci/setup");
        return;
    }
    let script: PathBuf = tests.join("interop/ranges.py");
    let folder = tempfile::tempdir().unwrap();
    for (what, content) in case.contents() {
        let (input, packed) = case.packed(folder.path(), &content);
        for reader in ["pyzstd", "indexed_zstd"] {
            let reading = &mut Command::new(&python);
            let output = run(reading.arg(&script).arg(reader).args([&packed, &input]));
            let stderr = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => {}
                Some(MISSING) => return skip("python_readers", &stderr),
                code => panic!("{what}: {reader} ended with {code:?}: {stderr}"),
            }
        }
    }
}
