//! docs/FORMAT.md held against the program: its example byte by byte, and a reader that was written
//! from the page alone.
//!
//! `format/reader.py` has no line of ringpack's. Whoever wrote it had the page and nothing else, so
//! what it can't read, the page doesn't say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{assert_same, content, has_tool, ringpack, run, run_with_input, skip, succeed};

/// The bytes of the page's example, which stand between the offset and the explanation.
fn example() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/FORMAT.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once("## A container byte by byte").expect("there is an example");
    let block = section.split("```").nth(1).expect("it is a block");
    let mut bytes: Vec<u8> = Vec::new();
    for line in block.lines().skip(1) {
        let mut words = line.split_whitespace();
        let offset: usize = words.next().unwrap().parse().unwrap();
        assert_eq!(offset, bytes.len(), "{line}");
        if let Some((_, rest)) = line.split_once("00 × ") {
            let count = rest.split_whitespace().next().unwrap().parse().unwrap();
            bytes.resize(offset + count, 0);
            continue;
        }
        let is_byte =
            |word: &&str| word.len() == 2 && word.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.extend(words.take_while(is_byte).map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    bytes
}

#[test]
fn the_example_is_what_is_packed() {
    let packed = run_with_input(&mut ringpack(["pack", "--store", "-"]), b"abc");
    assert!(packed.status.success(), "{packed:?}");
    let mut expected = example();
    // The version of libzstd, and the checksum that covers it, are the build's.
    let (version, sum) = (112..116, 328..332);
    expected[version.clone()].copy_from_slice(&packed.stdout[version]);
    let crc = ringpack::checksum::crc32c(&expected[76..328]);
    expected[sum].copy_from_slice(&crc.to_le_bytes());
    assert_same(&packed.stdout, &expected, "the page's example");
}

/// Where the reader is.
fn reader() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format/reader.py")
}

/// The reader's answer to some arguments.
fn ask(args: &[&str], folder: &Path) -> std::process::Output {
    run(Command::new("python3").arg("-B").arg(reader()).args(args).current_dir(folder))
}

/// Every kind of container, as it is packed, and how much content.
const KINDS: [(&str, usize); 12] = [
    ("-3", 0),
    ("-3", 1),
    ("-3", 300),
    ("--store", 65_536),
    ("-3 --chunk-size 64K", 400_000),
    ("--store --chunk-size 64K", 400_000),
    ("-1 --chunk-size 64K --digest blake3", 400_000),
    ("-19 --chunk-size 256K", 300_000),
    ("-3 --chunk-size 64K --placement slots", 200_000),
    ("--store --chunk-size 64K --placement slots --digest blake3", 200_000),
    // Several extents, each filled, and one more that is short.
    ("--store --chunk-size 2M --digest blake3", 5_000_000),
    ("-1 --chunk-size 64K", 9_000_000),
];

#[test]
fn a_reader_made_from_the_page_alone_reads_every_kind() {
    let test = "a_reader_made_from_the_page_alone_reads_every_kind";
    if !has_tool("python3") {
        return skip(test, "python3 is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    for (number, (args, len)) in KINDS.into_iter().enumerate() {
        let bytes = content(len, number as u64);
        fs::write(folder.path().join("in"), &bytes).unwrap();
        let mut pack = ringpack(["pack", "-f", "-o", "in.zst", "in"]);
        succeed(pack.args(args.split(' ')).current_dir(folder.path()));
        let checked = ask(&["check", "in.zst"], folder.path());
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success(), "{args}: {checked:?}");
        assert_eq!(said.trim(), format!("ok {len}"), "{args}");
        assert_same(&ask(&["cat", "in.zst"], folder.path()).stdout, &bytes, args);
        let (start, end) = (len / 3, len / 2);
        let range = ["range", "in.zst", &start.to_string(), &(end - start).to_string()];
        assert_same(&ask(&range, folder.path()).stdout, &bytes[start..end], args);
    }
}

#[test]
fn it_refuses_what_is_damaged_and_reads_files_in_a_row() {
    let test = "it_refuses_what_is_damaged_and_reads_files_in_a_row";
    if !has_tool("python3") {
        return skip(test, "python3 is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(150_000, 3);
    fs::write(folder.path().join("in"), &bytes).unwrap();
    let mut pack = ringpack(["pack", "-3", "--chunk-size", "64K", "--digest", "blake3", "in"]);
    succeed(pack.current_dir(folder.path()));
    let packed = fs::read(folder.path().join("in.zst")).unwrap();
    for at in (0..packed.len()).step_by(packed.len() / 40) {
        let mut flipped = packed.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(folder.path().join("bad.zst"), flipped).unwrap();
        let checked = ask(&["check", "bad.zst"], folder.path());
        assert!(!checked.status.success(), "byte {at}");
    }
    let plain = zstd::bulk::compress(&bytes[..5000], 3).unwrap();
    let row = [&packed[..], &plain, &packed].concat();
    fs::write(folder.path().join("row.zst"), row).unwrap();
    let expected = [&bytes[..], &bytes[..5000], &bytes].concat();
    assert_same(&ask(&["cat", "row.zst"], folder.path()).stdout, &expected, "in a row");
    let ours = succeed(ringpack(["unpack", "-c", "row.zst"]).current_dir(folder.path()));
    assert_same(&ours, &expected, "in a row, by ringpack");
}

/// The reader writes too: what it makes of the page is, byte for byte, what is packed.
#[test]
fn a_writer_made_from_the_page_alone_writes_the_same_bytes() {
    let test = "a_writer_made_from_the_page_alone_writes_the_same_bytes";
    if !has_tool("python3") {
        return skip(test, "python3 is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    for len in [0, 1, 255, 256, 65_535, 65_536, 65_537, 64 << 16, (64 << 16) + 1, 5 << 20] {
        fs::write(folder.path().join("in"), content(len, len as u64)).unwrap();
        let wrote = ask(&["write", "in", "theirs.zst"], folder.path());
        assert!(wrote.status.success(), "{len}: {wrote:?}");
        let mut pack = ringpack(["pack", "-f", "--store", "--chunk-size", "64K", "in"]);
        succeed(pack.current_dir(folder.path()));
        let ours = fs::read(folder.path().join("in.zst")).unwrap();
        let theirs = fs::read(folder.path().join("theirs.zst")).unwrap();
        assert_same(&theirs, &ours, &format!("{len} bytes"));
    }
}
