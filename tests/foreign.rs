//! Files that other programs wrote are unpacked, verified, read by range and described: by zstd,
//! pzstd, zeekstd and pyzstd themselves, and of every shape that a frame may have.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::foreign::{BARE, PLAIN, UNSIZED, frame, seek_table, seekable, skippable};
use support::{
    Random, assert_same, content, fail, has_tool, names, ringpack, run, run_with_input, skip,
    succeed,
};

/// What is to be found in a file.
#[derive(Clone, Copy, Debug)]
struct Expected {
    frames: u64,
    skippable: u64,
    /// Entries of the seek table.
    table: Option<u64>,
}

/// Has everything read the file, as a file and through a pipe.
fn check(bytes: &[u8], original: &[u8], expected: Expected, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("f.zst"), bytes).unwrap();
    // What the file holds is what zstd says.
    let by_zstd = succeed(Command::new("zstd").args(["-dcq", "f.zst"]).current_dir(folder));
    assert_same(&by_zstd, original, &format!("{what}: zstd"));
    let counts: &[&str] = if original.len() > 5_000_000 { &["2"] } else { &["1", "3"] };
    for threads in counts {
        let at = |args: &[&str]| {
            let mut command = ringpack(args);
            command.args(["-T", threads]).current_dir(folder);
            command
        };
        succeed(&mut at(&["unpack", "-f", "f.zst"]));
        assert_same(&fs::read(folder.join("f")).unwrap(), original, &format!("{what}: a file"));
        let piped = succeed(&mut at(&["unpack", "-c", "f.zst"]));
        assert_same(&piped, original, &format!("{what}: to a pipe"));
        let streamed = run_with_input(&mut at(&["unpack", "-"]), bytes);
        assert!(streamed.status.success(), "{what}: {streamed:?}");
        assert_same(&streamed.stdout, original, &format!("{what}: pipe to pipe"));
        let into_file = run_with_input(&mut at(&["unpack", "-f", "-", "-o", "g"]), bytes);
        assert!(into_file.status.success(), "{what}: {into_file:?}");
        assert_same(
            &fs::read(folder.join("g")).unwrap(),
            original,
            &format!("{what}: from a pipe"),
        );
        succeed(&mut at(&["verify", "f.zst"]));
        let verified = run_with_input(&mut at(&["verify", "-"]), bytes);
        assert!(verified.status.success(), "{what}: {verified:?}");
    }
    assert_eq!(names(folder), ["f", "f.zst", "g"], "{what}");
    check_ranges(folder, original, what);
    let info = succeed(ringpack(["info", "--json", "f.zst"]).current_dir(folder));
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    let found = |name: &str| info[name].as_u64();
    assert_eq!(found("frames"), Some(expected.frames), "{what}: {info}");
    assert_eq!(found("skippable_frames"), Some(expected.skippable), "{what}: {info}");
    assert_eq!(found("seek_table_entries"), expected.table, "{what}: {info}");
    if let Some(size) = found("content_size") {
        assert_eq!(size, original.len() as u64, "{what}: {info}");
    }
}

/// Both ends, all of it, some drawn, and what lies outside.
fn check_ranges(folder: &Path, original: &[u8], what: &str) {
    let size = original.len() as u64;
    let mut ranges = vec![(0, size), (0, size.min(1)), (size.saturating_sub(1), size.min(1))];
    let mut random = Random(size);
    for _ in 0..4 {
        let from = random.below(size + 1);
        ranges.push((from, random.below(size - from + 1)));
    }
    for (from, len) in ranges {
        let args = [from, len].map(|number| number.to_string());
        let cat = ["cat", "f.zst", "--offset", &args[0], "--length", &args[1]];
        let found = succeed(ringpack(cat).current_dir(folder));
        let expected = &original[from as usize..(from + len) as usize];
        assert_same(&found, expected, &format!("{what}: {from}+{len}"));
    }
    let past = ["cat", "f.zst", "--offset", &(size + 1).to_string()].map(str::to_owned);
    fail(ringpack(past).current_dir(folder), 2);
}

/// Containers one behind the other, and another program's file between them, are read as zstd reads
/// them. None is damaged, so nothing is said, and `info` lists them.
#[test]
fn containers_in_a_row() {
    let kinds: [(&[&str], usize); 5] = [
        (&["-1"], 300_000),
        (&["--store", "--digest", "blake3"], 70_000),
        (&["--placement", "slots"], 200_000),
        (&[], 0),
        (&["-19"], 65_536),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (mut row, mut contents, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (args, len)) in kinds.into_iter().enumerate() {
        let bytes = content(len, number as u64);
        let pack = &mut ringpack(["pack", "--chunk-size", "64K", "-"]);
        let packed = run_with_input(pack.args(args), &bytes).stdout;
        places.push((row.len() as u64, packed.len() as u64, len as u64));
        row.extend(packed);
        contents.extend(bytes);
        if number == 1 {
            row.extend(frame(b"by another program", PLAIN));
            contents.extend(b"by another program");
        }
    }
    fs::write(folder.path().join("row.zst"), &row).unwrap();
    let at = |args: &[&str]| {
        let mut command = ringpack(args);
        command.current_dir(folder.path());
        command
    };
    // Frames of both kinds, and skippable ones, as zstd counts them.
    let listed = succeed(Command::new("zstd").args(["-l", "row.zst"]).current_dir(folder.path()));
    let listed = String::from_utf8(listed).unwrap();
    let mut columns = listed.lines().last().unwrap().split_whitespace();
    let mut count = || columns.next().unwrap().parse::<u64>().unwrap();
    let (all, skippable) = (count(), count());
    check(&row, &contents, Expected { frames: all - skippable, skippable, table: None }, "a row");
    for args in [&["verify", "row.zst"][..], &["unpack", "-f", "row.zst"]] {
        let output = run(&mut at(args));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("table"), "{args:?}: {stderr}");
    }
    let info: serde_json::Value =
        serde_json::from_slice(&succeed(&mut at(&["info", "--json", "row.zst"]))).unwrap();
    let found = info["containers"].as_array().unwrap();
    let field = |row: &serde_json::Value, name: &str| row[name].as_u64().unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|row| (field(row, "offset"), field(row, "file_size"), field(row, "content_size")))
        .collect();
    assert_eq!(found, places, "{info}");
}

#[test]
fn frames_of_every_shape() {
    let original = content(900_000, 1);
    let pieces: Vec<&[u8]> = original.chunks(300_000).collect();
    let (a, b, c) = (pieces[0], pieces[1], pieces[2]);
    for shape in [PLAIN, UNSIZED, BARE] {
        let expected = Expected { frames: 1, skippable: 0, table: None };
        check(&frame(&original, shape), &original, expected, &format!("one, {shape:?}"));
    }
    let mixed = [
        skippable(0x184D_2A50, b"what comes before"),
        frame(a, UNSIZED),
        skippable(0x184D_2A5F, b""),
        skippable(0x184D_2A58, &[7; 5000]),
        frame(b, PLAIN),
        frame(b"", PLAIN),
        frame(b"", UNSIZED),
        frame(c, BARE),
        skippable(0x184D_2A5E, b"not a seek table"),
    ];
    let expected = Expected { frames: 5, skippable: 4, table: None };
    // A file that ends like that has a table that can't be read: not at its end, it is nobody's.
    let behind = skippable(0x184D_2A51, b"behind");
    let expected = Expected { skippable: expected.skippable + 1, ..expected };
    check(&[mixed.concat(), behind].concat(), &original, expected, "mixed");
    let many: Vec<u8> = original.chunks(7_000).flat_map(|piece| frame(piece, PLAIN)).collect();
    let expected = Expected { frames: 129, skippable: 0, table: None };
    check(&many, &original, expected, "many");
}

#[test]
fn fo3_seek_tables_of_every_shape() {
    let original = content(700_000, 2);
    for shape in [PLAIN, UNSIZED, BARE] {
        for checksums in [false, true] {
            let bytes = seekable(&original, 100_000, shape, checksums);
            let expected = Expected { frames: 7, skippable: 1, table: Some(7) };
            check(&bytes, &original, expected, &format!("{shape:?}, checksums: {checksums}"));
        }
    }
    // Two frames in one entry, and one to be passed over in another, as ringpack's pads are.
    let pieces: Vec<Vec<u8>> =
        original.chunks(100_000).map(|piece| frame(piece, UNSIZED)).collect();
    let pad = skippable(0x184D_2A58, &[2; 100]);
    let len = |range: std::ops::Range<usize>| {
        pieces[range].iter().map(|piece| piece.len() as u32).sum::<u32>()
    };
    let entries = [
        (len(0..2), 200_000, 0),
        (len(2..3) + pad.len() as u32, 100_000, 0),
        (len(3..7), 400_000, 0),
    ];
    let bytes = [pieces[..3].concat(), pad, pieces[3..].concat(), seek_table(&entries, false)];
    let expected = Expected { frames: 7, skippable: 2, table: Some(3) };
    check(&bytes.concat(), &original, expected, "entries of several frames");
}

#[test]
fn what_zeekstd_writes() {
    let original = content(500_000, 3);
    for checksum in [false, true] {
        let mut bytes = Vec::new();
        let options = zeekstd::EncodeOptions::new()
            .checksum_flag(checksum)
            .frame_size_policy(zeekstd::FrameSizePolicy::Uncompressed(64 << 10));
        let mut encoder = options.into_encoder(&mut bytes).unwrap();
        encoder.write_all(&original).unwrap();
        encoder.finish().unwrap();
        let expected = Expected { frames: 8, skippable: 1, table: Some(8) };
        check(&bytes, &original, expected, &format!("zeekstd, checksum: {checksum}"));
    }
}

#[test]
fn what_zstd_and_pzstd_write() {
    let original = content(20_000_000, 4);
    let by_zstd = run_with_input(Command::new("zstd").args(["-cq", "-"]), &original).stdout;
    let one = Expected { frames: 1, skippable: 0, table: None };
    check(&by_zstd, &original, one, "zstd");
    if !has_tool("pzstd") {
        return skip("what_zstd_and_pzstd_write", "pzstd is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::write(&input, &original).unwrap();
    let bytes = succeed(Command::new("pzstd").args(["-cq", "-p", "2"]).arg(&input));
    // A frame of a few bytes stands before each, and says how long it is.
    let many = Expected { frames: 3, skippable: 3, table: None };
    check(&bytes, &original, many, "pzstd");
    // Files may follow each other.
    let twice = [&original[..], &original].concat();
    let both = Expected { frames: 4, skippable: 3, table: None };
    check(&[by_zstd, bytes].concat(), &twice, both, "both");
}

#[test]
fn what_pyzstd_writes() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop-venv/bin/python");
    let folder = tempfile::tempdir().unwrap();
    let (input, packed) = (folder.path().join("in"), folder.path().join("out.zst"));
    let original = content(300_000, 5);
    fs::write(&input, &original).unwrap();
    let script = "import sys, pyzstd\n\
                  with pyzstd.SeekableZstdFile(sys.argv[2], 'w', max_frame_content_size=65536) as f:\n\
                  \x20   f.write(open(sys.argv[1], 'rb').read())";
    let is_there = python.exists()
        && run(Command::new(&python).args(["-c", "import pyzstd"])).status.success();
    if !is_there {
        return skip("what_pyzstd_writes", "pyzstd is not installed: run .ci/setup");
    }
    succeed(Command::new(&python).args(["-c", script]).args([&input, &packed]));
    let expected = Expected { frames: 5, skippable: 1, table: Some(5) };
    check(&fs::read(&packed).unwrap(), &original, expected, "pyzstd");
}

/// Zeros that a foreign frame holds come back as holes, mode and time as they were.
#[test]
fn holes_and_attributes() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = tempfile::tempdir().unwrap();
    let (packed, restored) = (folder.path().join("f.zst"), folder.path().join("f"));
    let mut original = vec![0; 8 << 20];
    original[3_000_000] = 1;
    for shape in [PLAIN, UNSIZED] {
        fs::write(&packed, frame(&original, shape)).unwrap();
        fs::set_permissions(&packed, fs::Permissions::from_mode(0o640)).unwrap();
        succeed(ringpack(["unpack", "-f"]).arg(&packed));
        let (from, to) = (fs::metadata(&packed).unwrap(), fs::metadata(&restored).unwrap());
        assert_eq!((to.mode(), to.mtime()), (from.mode(), from.mtime()), "{shape:?}");
        assert!(to.blocks() * 512 <= 1 << 20, "{shape:?}: {} blocks", to.blocks());
        assert_same(&fs::read(&restored).unwrap(), &original, "sparse");
    }
}

/// A window beyond what zstd grants has to be allowed, and a dictionary isn't had.
#[test]
fn what_is_not_granted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let packing = &mut Command::new("zstd");
    let long = run_with_input(packing.args(["-cq", "--long=28", "-"]), &content(100_000, 6)).stdout;
    fs::write(folder.join("long.zst"), &long).unwrap();
    let refused = fail(ringpack(["unpack", "long.zst"]).current_dir(folder), 5);
    assert!(refused.contains("--long=28"), "{refused}");
    for option in ["--long=28", "--memory=256MiB", "-M256M"] {
        succeed(ringpack(["unpack", "-f", option, "long.zst"]).current_dir(folder));
    }
    let mut needs_dictionary = frame(b"content", PLAIN);
    needs_dictionary[4] |= 1;
    needs_dictionary.insert(5, 77);
    fs::write(folder.join("dictionary.zst"), needs_dictionary).unwrap();
    let refused = fail(ringpack(["verify", "dictionary.zst"]).current_dir(folder), 5);
    assert!(refused.contains("dictionary 77") && refused.contains("frame 0"), "{refused}");
}

/// A frame of any length takes the memory of its window and little more, from a file or a pipe, to
/// a file or a pipe.
#[test]
fn memory_is_bounded_whatever_a_frame_holds() {
    const KIB: usize = 700 << 10;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    let piece = vec![0; 1 << 20];
    for _ in 0..768 {
        encoder.write_all(&piece).unwrap();
    }
    fs::write(folder.join("f.zst"), encoder.finish().unwrap()).unwrap();
    let program = support::binary();
    for job in
        ["unpack f.zst -fo f", "unpack -c f.zst", "cat --offset 760M f.zst", "verify - <f.zst"]
    {
        let script = format!("ulimit -v {KIB}; exec '{}' {job} -T1", program.display());
        let script = script.replace("f.zst -T1", "f.zst");
        let command = &mut Command::new("sh");
        command.args(["-c", &script]).current_dir(folder).stdout(Stdio::null());
        let output = run(command.stderr(Stdio::piped()));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{job}: {stderr}");
    }
    assert_eq!(fs::metadata(folder.join("f")).unwrap().len(), 768 << 20);
}
