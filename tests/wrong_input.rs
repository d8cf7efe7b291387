//! Wrong input gives one clear line, the right exit code, and no file; a damaged container never
//! gives out a wrong byte, and no flipped bit goes unnoticed.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ringpack::checksum::crc32c;
use ringpack::format::header::Header;
use ringpack::format::seek_table;
use ringpack::pipeline::IoMode;
use ringpack::read::Container;
use ringpack::ring::os::OsDisk;
use ringpack::unpack::{Output as Restored, UnpackOptions, unpack};
use ringpack::verify::{VerifyOptions, verify};
use ringpack::{Cancel, ErrorKind};
use support::cases::{Case, noise};
use support::codes::{CLOSED, DAMAGED, EXISTS, FOREIGN, INPUT, NEWER, NO_SPACE, OUTPUT, USAGE};
use support::{
    assert_same, binary, content, is_root, names, ringpack, run, run_with_input, skip, succeed,
};

const HEADER: usize = 256;

/// Runs a command in a folder; it must end with `code`, say one line that names `name`, and leave
/// the folder's names as they were.
fn check(command: &mut Command, folder: &Path, code: i32, name: &str) {
    let before = names(folder);
    let output = run(command.current_dir(folder));
    let stderr = one_line(&output, &format!("{command:?}"));
    assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
    assert!(stderr.contains(name), "{command:?}: {name} isn't named: {stderr}");
    assert_eq!(names(folder), before, "{command:?}: {stderr}");
}

/// Standard error, which must be one line that says who speaks.
fn one_line(output: &Output, what: &str) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = stderr.lines().count();
    assert!(lines == 1 && stderr.starts_with("ringpack: "), "{what}: {lines} lines: {stderr}");
    stderr
}

/// Runs everything that reads containers on one that must be refused with `code`.
fn check_refused(bytes: &[u8], code: i32, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.zst"), bytes).unwrap();
    let commands: [&[&str]; 5] = [
        &["unpack", "bad.zst"],
        &["unpack", "-c", "bad.zst"],
        &["verify", "bad.zst"],
        &["cat", "bad.zst"],
        &["info", "bad.zst"],
    ];
    for args in commands {
        let output = run(ringpack(args).current_dir(folder.path()));
        let stderr = one_line(&output, &format!("{what}: {args:?}"));
        assert_eq!(output.status.code(), Some(code), "{what}: {args:?}: {stderr}");
        assert!(stderr.contains("bad.zst"), "{what}: {args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{what}: {args:?} gave bytes out");
        assert_eq!(names(folder.path()), ["bad.zst"], "{what}: {args:?}");
    }
}

/// A small container of every shape: placement, codec, digest, into a file and streamed.
struct Sample {
    what: String,
    content: Vec<u8>,
    bytes: Vec<u8>,
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Sample {
    fn new(placement: &'static str, codec: &'static str, streamed: bool) -> Self {
        let case = Case { placement, codec, chunk: "64K" };
        let folder = tempfile::tempdir_in(memory()).unwrap();
        let content = content(2 * 65_536 + 5000, 42);
        let (input, path) = case.packed(folder.path(), &content);
        let digest = ["--digest", if codec == "--store" { "none" } else { "blake3" }];
        if streamed {
            let packing = &mut ringpack(["pack", "-c"]);
            fs::write(&path, succeed(packing.arg(input).args(case.args()).args(digest))).unwrap();
        } else {
            succeed(case.packing(&input, &path).args(digest));
        }
        let bytes = fs::read(&path).unwrap();
        Self { what: format!("{case:?}, streamed: {streamed}"), content, bytes, folder, path }
    }

    fn all() -> Vec<Self> {
        let mut samples = Vec::new();
        for placement in ["dense", "slots"] {
            for codec in ["--store", "-3"] {
                samples.extend([false, true].map(|stream| Self::new(placement, codec, stream)));
            }
        }
        samples
    }

    /// Name and place of each part, in order.
    fn sections(&self) -> Vec<(String, Range<usize>)> {
        let container = Container::open(&OsDisk, &self.path, false).unwrap();
        let (header, tail) = (container.header(), container.tail());
        let mut ends = Vec::new();
        for (number, entry) in (0u64..).zip(&container.index().entries) {
            ends.push((format!("frame {number}"), entry.offset + u64::from(entry.frame_len)));
            ends.push((format!("pad {number}"), container.span_end(number)));
        }
        ends.push(("copy of the header".to_owned(), header.index_offset));
        ends.push(("index".to_owned(), header.index_offset + header.index_len));
        ends.push(("header".to_owned(), tail.table_offset));
        ends.push(("seek table".to_owned(), tail.file_size));
        let mut start = 0;
        let mut sections = Vec::new();
        for (name, end) in ends {
            sections.push((name, start..end as usize));
            start = end as usize;
        }
        assert_eq!(start, self.bytes.len(), "the sections cover the file");
        sections.retain(|(_, range)| !range.is_empty());
        sections
    }
}

/// A folder in memory where there is one: nothing here is about the device.
fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

#[test]
fn what_is_no_container() {
    let table: [(&str, &[u8]); 6] = [
        ("text", b"This is no container.\n"),
        ("nothing", b""),
        ("one byte", b"X"),
        ("gzip", &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("noise", &noise(100_000, 1)),
        ("zeros", &[0; 8192]),
    ];
    for (what, bytes) in table {
        check_refused(bytes, FOREIGN, what);
    }
}

#[test]
fn a_container_cut_short() {
    for sample in [Sample::new("dense", "-3", false), Sample::new("slots", "--store", true)] {
        let len = sample.bytes.len();
        let mut cuts = vec![1, 3, 8, len - 1];
        let mut ends = vec![0];
        for (name, section) in sample.sections() {
            cuts.extend([section.start + 1, (section.start + section.end) / 2, section.end]);
            // What ends with a frame is a shorter Zstandard file to every reader, ours too.
            if name.starts_with("frame") || name.starts_with("pad") {
                ends.push(section.end);
            }
        }
        for cut in cuts.into_iter().filter(|cut| *cut < len && !ends.contains(cut)) {
            let what = format!("{}, cut at {cut}", sample.what);
            let code = if cut < 4 { FOREIGN } else { DAMAGED };
            check_refused_late(&sample.content, &sample.bytes[..cut], code, &what);
        }
    }
}

/// As [`check_refused`], of what is read from its start, as any Zstandard file is: what stands
/// before the damage may be given out, where it is written in order.
fn check_refused_late(content: &[u8], bytes: &[u8], code: i32, what: &str) {
    let folder = tempfile::tempdir_in(memory()).unwrap();
    fs::write(folder.path().join("bad.zst"), bytes).unwrap();
    for args in ["unpack", "verify", "info", "cat", "unpack -c"] {
        let output = run(ringpack(args.split(' ')).arg("bad.zst").current_dir(folder.path()));
        let stderr = one_line(&output, &format!("{what}: {args}"));
        assert_eq!(output.status.code(), Some(code), "{what}: {args}: {stderr}");
        assert!(content.starts_with(&output.stdout), "{what}: {args}: wrong bytes");
        assert_eq!(names(folder.path()), ["bad.zst"], "{what}: {args}");
    }
}

/// Cut off where an extent ends, or a slot, a container is a shorter Zstandard file to every other
/// reader. Ours knows its own frames, and that a header has to come; from a file and from a pipe,
/// before and behind files that are whole.
#[test]
fn a_container_cut_off_between_extents() {
    let folder = tempfile::tempdir_in(memory()).unwrap();
    // Three extents of 4 MiB, the last of them not full; a run of zeros in the first.
    let mut bytes = content(9 << 20, 7);
    bytes[1 << 20..6 << 20].fill(0);
    let plain = zstd::bulk::compress(b"another program's", 3).unwrap();
    for (placement, codec, chunk) in [
        ("dense", "-3", "4M"),
        ("dense", "-3", "64K"),
        ("dense", "--store", "1M"),
        ("slots", "-3", "1M"),
        ("slots", "--store", "1M"),
    ] {
        let (input, path) = Case { placement, codec, chunk }.packed(folder.path(), &bytes);
        let (what, whole) = (format!("{placement} {codec} {chunk}"), fs::read(&path).unwrap());
        let container = Container::open(&OsDisk, &path, false).unwrap();
        let entries = &container.index().entries;
        let per_extent = if placement == "slots" { 1 } else { (4 << 20) / entries[0].raw_len };
        let ends = entries.iter().skip(per_extent as usize).step_by(per_extent as usize);
        let mut cuts: Vec<usize> = ends.map(|entry| entry.offset as usize).collect();
        assert!(cuts.len() >= 2, "{what}: {cuts:?}");
        let header = container.header();
        // Between the parts behind the content too.
        cuts.extend(
            [header.data_end, header.index_offset + header.index_len].map(|at| at as usize),
        );
        for cut in cuts {
            let cut_off = &whole[..cut];
            for row in [&[cut_off][..], &[&whole, cut_off], &[&plain, cut_off], &[cut_off, &whole]]
            {
                let bytes = row.concat();
                let what = format!("{what}, cut at {cut}, {} bytes", bytes.len());
                let path = folder.path().join("cut.zst");
                fs::write(&path, &bytes).unwrap();
                let before = names(folder.path());
                let [verify, unpack] = [&["verify", "cut.zst"][..], &["unpack", "-f", "cut.zst"]];
                for args in [verify, unpack, &["cat", "cut.zst"], &["info", "cut.zst"]] {
                    let output = run(ringpack(args).current_dir(folder.path()));
                    let stderr = String::from_utf8_lossy(&output.stderr);
                    assert_eq!(output.status.code(), Some(DAMAGED), "{what}: {args:?}: {stderr}");
                    assert!(stderr.contains("cut short"), "{what}: {args:?}: {stderr}");
                    assert_eq!(names(folder.path()), before, "{what}: {args:?}");
                }
                let output = run_with_input(&mut ringpack(["unpack", "-"]), &bytes);
                assert_eq!(output.status.code(), Some(DAMAGED), "{what}, a pipe: {output:?}");
            }
        }
        fs::remove_file(&input).unwrap();
        fs::remove_file(&path).unwrap();
    }
}

/// Frames that stand in each other's places are intact each. In order, the header alone tells: its
/// checksum of the content comes last.
#[test]
fn chunks_that_changed_places_are_noticed_in_order_too() {
    let folder = tempfile::tempdir_in(memory()).unwrap();
    let case = Case { placement: "dense", codec: "--store", chunk: "64K" };
    let (_, path) = case.packed(folder.path(), &noise(300_000, 4));
    let whole = fs::read(&path).unwrap();
    let container = Container::open(&OsDisk, &path, false).unwrap();
    let entries = &container.index().entries;
    let (a, b) = (entries[0].offset as usize, entries[1].offset as usize);
    let (b, c) = (b, entries[2].offset as usize);
    assert_eq!(b - a, c - b, "two frames of one length");
    let swapped = [&whole[b..c], &whole[a..b], &whole[c..]].concat();
    let plain = zstd::bulk::compress(b"another program's", 3).unwrap();
    for row in [
        &[&swapped[..]][..],
        &[&swapped, &plain],
        &[&plain, &swapped],
        &[&whole, &swapped],
        &[&swapped, &whole],
        &[&plain, &plain, &swapped, &whole],
    ] {
        let (bytes, what) = (row.concat(), format!("a row of {}", row.len()));
        fs::write(folder.path().join("row.zst"), &bytes).unwrap();
        for threads in ["1", "3"] {
            for args in [&["verify", "-"][..], &["unpack", "-"]] {
                let output = run_with_input(ringpack(args).args(["-T", threads]), &bytes);
                assert_eq!(output.status.code(), Some(DAMAGED), "{what}: {args:?}: {output:?}");
            }
            let verify = &mut ringpack(["verify", "row.zst", "-T", threads]);
            assert_eq!(
                run(verify.current_dir(folder.path())).status.code(),
                Some(DAMAGED),
                "{what}"
            );
            let unpack = &mut ringpack(["unpack", "row.zst", "-o", "row", "-T", threads]);
            assert_eq!(
                run(unpack.current_dir(folder.path())).status.code(),
                Some(DAMAGED),
                "{what}"
            );
            assert!(!folder.path().join("row").exists(), "{what}");
        }
    }
}

/// A Zstandard file whose bytes happen to be those that a header begins with.
#[test]
fn another_programs_file_with_the_name_of_a_header_in_it() {
    let folder = tempfile::tempdir_in(memory()).unwrap();
    let magic = *b"\x5C\x2A\x4D\x18\xF8\0\0\0RINGPACK";
    let (_, inner) = Case { placement: "dense", codec: "-3", chunk: "64K" }
        .packed(folder.path(), b"a container in another file");
    let inner = fs::read(inner).unwrap();
    for content in [magic.to_vec(), [&noise(5000, 1)[..], &magic, &noise(90, 2)].concat(), inner] {
        for level in [1, 3, 19] {
            let bytes = zstd::bulk::compress(&content, level).unwrap();
            let path = folder.path().join("f.zst");
            fs::write(&path, &bytes).unwrap();
            succeed(ringpack(["verify"]).arg(&path));
            succeed(ringpack(["info"]).arg(&path));
            assert_same(&succeed(ringpack(["unpack", "-c"]).arg(&path)), &content, "unpacked");
        }
    }
}

#[test]
fn a_container_of_another_length() {
    for streamed in [false, true] {
        let Sample { bytes, what, content, .. } = Sample::new("dense", "-3", streamed);
        for (how, tail) in [("a byte", &[0][..]), ("a block", &[0; 4096])] {
            let longer = [&bytes[..], tail].concat();
            check_refused_late(&content, &longer, DAMAGED, &format!("{what}, and {how}"));
        }
        let missing = [&bytes[..HEADER], &bytes[HEADER + 4096..]].concat();
        check_refused(&missing, DAMAGED, &format!("{what}, without a block"));
    }
}

#[test]
fn a_header_that_is_intact_but_wrong() {
    let Sample { bytes, .. } = Sample::new("dense", "-3", false);
    // Offset in the header, new bytes, and the code: see docs/FORMAT.md for the fields.
    let table: [(&str, usize, &[u8], i32); 11] = [
        ("the next major version", 16, &[3, 0], NEWER),
        ("major version 1", 16, &[1, 0], NEWER),
        ("an unknown codec", 29, &[9], NEWER),
        ("an unknown flag", 20, &[2, 0, 0, 0], NEWER),
        ("the highest unknown flag", 20, &[0, 0, 0, 0x80], NEWER),
        ("an unknown placement", 30, &[5, 0], NEWER),
        ("an unknown digest", 132, &[9, 0, 0, 0], NEWER),
        ("a member index that isn't there", 112, &[1], DAMAGED),
        ("a wrong content size", 48, &[1, 2, 3, 0, 0, 0, 0, 0], DAMAGED),
        ("an extent of terabytes", 40, &[0xFF, 0xFF], DAMAGED),
        ("a vast file size", 96, &[0xFF; 8], DAMAGED),
    ];
    for (what, at, field, code) in table {
        let bytes = with_header_field(&bytes, at, field);
        check_refused(&bytes, code, what);
        // In a pipe it comes last, and is told from damage all the same.
        if code == NEWER {
            let output = run_with_input(&mut ringpack(["verify", "-"]), &bytes);
            assert_eq!(output.status.code(), Some(NEWER), "{what}, in a pipe: {output:?}");
        }
    }
    // What a reader may ignore, and a later minor version, are no reason to refuse.
    for (at, field) in [(18, &[9, 0][..]), (24, &[0xFF; 4]), (42, &[1, 1])] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("good.zst"), with_header_field(&bytes, at, field)).unwrap();
        succeed(ringpack(["verify", "good.zst"]).current_dir(folder.path()));
    }
}

/// The copy of the header is held against the header, and not against what is known of it.
#[test]
fn a_copy_of_a_header_with_fields_of_a_later_version() {
    let folder = tempfile::tempdir_in(memory()).unwrap();
    let path = folder.path().join("zeros.zst");
    let pack = run_with_input(&mut ringpack(["pack", "-1", "-"]), &vec![0; (64 << 20) + 1]);
    let mut bytes = with_header_field(&pack.stdout, 18, &[9, 0]);
    let header_at = header_offset(&bytes);
    let copy_at = Header::decode(&bytes[header_at..]).unwrap().data_end as usize;
    let verified = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        run(ringpack(["verify"]).arg(&path)).status.code()
    };
    assert_eq!(verified(&bytes), Some(DAMAGED), "the copy says something else");
    bytes.copy_within(header_at..header_at + HEADER, copy_at);
    assert_eq!(verified(&bytes), Some(0));
}

/// A hole is long and costs nothing: a header may point its index there and claim any number of
/// chunks. Nothing is allocated by that number (V1).
#[test]
fn an_index_in_a_hole() {
    use ringpack::format::layout::Tail;
    let folder = tempfile::tempdir().unwrap();
    let bytes = Sample::all().swap_remove(0).bytes;
    let data_end = 1u64 << 20;
    let chunks = 1u64 << 36;
    let tail = Tail::new(data_end, chunks << 26, chunks, false, 0).unwrap();
    assert_eq!(tail.table_entries, None, "too many chunks for a seek table");
    let mut header = bytes[header_offset(&bytes)..][..HEADER].to_vec();
    for (at, field) in [
        (28, vec![26]),
        (40, vec![1, 0]),
        (48, (chunks << 26).to_le_bytes().to_vec()),
        (56, chunks.to_le_bytes().to_vec()),
        (64, data_end.to_le_bytes().to_vec()),
        (72, tail.index_offset.to_le_bytes().to_vec()),
        (80, tail.index_len.to_le_bytes().to_vec()),
        (88, vec![0; 8]),
        (96, tail.file_size.to_le_bytes().to_vec()),
    ] {
        header[at..at + field.len()].copy_from_slice(&field);
    }
    mend(&mut header);
    let path = folder.path().join("bad.zst");
    fs::write(&path, "").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&header, tail.header_offset).unwrap();
    check(&mut ringpack(["info", "bad.zst"]), folder.path(), DAMAGED, "bad.zst");
    check(&mut ringpack(["verify", "bad.zst"]), folder.path(), DAMAGED, "bad.zst");
}

/// Where the header of a container stands: before its seek table.
fn header_offset(container: &[u8]) -> usize {
    let table_len = seek_table::decode_footer(container).map(seek_table::table_len).unwrap();
    container.len() - table_len as usize - HEADER
}

/// Makes a header's checksum match.
fn mend(header: &mut [u8]) {
    let crc = crc32c(&header[..HEADER - 4]).to_le_bytes();
    header[HEADER - 4..HEADER].copy_from_slice(&crc);
}

/// The container with a field of its header replaced, and the header's checksum made to match.
fn with_header_field(container: &[u8], at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = container.to_vec();
    let header = &mut bytes[header_offset(container)..][..HEADER];
    header[at..at + field.len()].copy_from_slice(field);
    mend(header);
    bytes
}

#[test]
fn each_section_damaged() {
    for sample in Sample::all() {
        for (name, section) in sample.sections() {
            let what = format!("{}, {name}", sample.what);
            let at = section.start + section.len() / 2;
            let mut bytes = sample.bytes.clone();
            bytes[at] ^= 0x10;
            let folder = tempfile::tempdir_in(memory()).unwrap();
            let folder = folder.path();
            fs::write(folder.join("bad.zst"), &bytes).unwrap();
            check(&mut ringpack(["verify", "bad.zst"]), folder, DAMAGED, "bad.zst");
            if name.contains("pad") {
                // Only verify reads pads: the content is intact, and is given out.
                assert_same(
                    &succeed(ringpack(["unpack", "-c", "bad.zst"]).current_dir(folder)),
                    &sample.content,
                    &what,
                );
                continue;
            }
            check(&mut ringpack(["unpack", "bad.zst"]), folder, DAMAGED, "bad.zst");
            let piped = run(ringpack(["unpack", "-c", "bad.zst"]).current_dir(folder));
            assert_eq!(piped.status.code(), Some(DAMAGED), "{what}");
            assert!(sample.content.starts_with(&piped.stdout), "{what}: wrong bytes given out");
            if !name.starts_with("frame") {
                check(&mut ringpack(["info", "bad.zst"]), folder, DAMAGED, "bad.zst");
                check(&mut ringpack(["cat", "bad.zst"]), folder, DAMAGED, "bad.zst");
            }
        }
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed_dense() {
    check_flips("dense");
}

#[test]
fn no_flipped_bit_goes_unnoticed_slots() {
    check_flips("slots");
}

/// Flips one bit of a byte, byte after byte, and looks whether verifying finds it (X1) and whether
/// reading ever gives a wrong byte out (V2).
///
/// Every byte of what is read first and refused at once; of frames and pads, which take workers to
/// look at, the ends and every so many between them. The strides are odd, so each bit has its turn.
fn check_flips(placement: &'static str) {
    let verifying = VerifyOptions {
        io: IoMode::Pwrite,
        threads: Some(1),
        direct: false,
        ..VerifyOptions::default()
    };
    for (codec, streamed) in [("--store", false), ("-3", false), ("-3", true)] {
        let sample = Sample::new(placement, codec, streamed);
        let file = fs::OpenOptions::new().write(true).open(&sample.path).unwrap();
        let mut flips = 0usize;
        for (name, section) in sample.sections() {
            let stride = match name.split(' ').next() {
                Some("frame") => 97,
                Some("pad" | "tail") if section.len() > HEADER => 97,
                Some("pad" | "tail") => 7,
                _ => 1,
            };
            for at in section.clone() {
                let is_end = at < section.start + 16 || section.end - 16 <= at;
                if !is_end && at % stride != 0 {
                    continue;
                }
                let what = format!("{}: bit {} of byte {at}, in {name}", sample.what, at % 8);
                file.write_all_at(&[sample.bytes[at] ^ (1 << (at % 8))], at as u64).unwrap();
                let found = verify(&OsDisk, &sample.path, &verifying, &Cancel::new());
                assert!(found.is_noticed(), "{what}: verify is content");
                if flips.is_multiple_of(32) {
                    assert_no_wrong_byte(&sample, &what);
                }
                file.write_all_at(&[sample.bytes[at]], at as u64).unwrap();
                flips += 1;
            }
        }
        assert!(flips > HEADER, "{}: {flips} flips", sample.what);
        // The file is as it was: what was found was the flips and nothing else.
        let intact = verify(&OsDisk, &sample.path, &verifying, &Cancel::new()).unwrap();
        assert_eq!(intact.damage_count, 0, "{}", sample.what);
    }
}

/// What verifying may answer to damage.
trait Noticed {
    fn is_noticed(&self) -> bool;
}

impl Noticed for ringpack::Result<ringpack::verify::VerifyReport> {
    fn is_noticed(&self) -> bool {
        const REFUSALS: [ErrorKind; 3] =
            [ErrorKind::Damaged, ErrorKind::NotAContainer, ErrorKind::Unsupported];
        match self {
            Ok(report) => report.damage_count > 0,
            Err(error) => REFUSALS.contains(&error.kind()),
        }
    }
}

/// Unpacks and reads the damaged sample: both may fail, neither may give a wrong byte.
fn assert_no_wrong_byte(sample: &Sample, what: &str) {
    let options = UnpackOptions {
        io: IoMode::Pwrite,
        threads: Some(1),
        direct: false,
        ..UnpackOptions::default()
    };
    let output = sample.folder.path().join("restored");
    let to = Restored::Path(output.clone());
    if unpack(&OsDisk, &sample.path, to, &options, &Cancel::new()).is_ok() {
        assert_same(&fs::read(&output).unwrap(), &sample.content, what);
        fs::remove_file(&output).unwrap();
    }
    assert_eq!(names(sample.folder.path()), ["content", "content.zst"], "{what}");
    let Ok(container) = Container::open(&OsDisk, &sample.path, false) else { return };
    let mut given = Vec::new();
    let size = container.header().content_size;
    let _ = container.read_range(0..size, &mut |bytes| {
        given.extend_from_slice(bytes);
        Ok(())
    });
    assert!(sample.content.starts_with(&given), "{what}: wrong bytes given out");
}

#[test]
fn names_that_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("in"), b"content").unwrap();
    fs::create_dir(folder.join("dir")).unwrap();
    succeed(ringpack(["pack", "in", "-o", "good.zst"]).current_dir(folder));
    symlink("in", folder.join("link")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    let table: [(&[&str], i32, &str); 18] = [
        (&["pack", "missing"], INPUT, "missing"),
        (&["pack", "dangling"], INPUT, "dangling"),
        (&["pack", "in/below"], INPUT, "in/below"),
        (&["unpack", "missing.zst"], INPUT, "missing.zst"),
        (&["unpack", "dir", "-o", "out"], INPUT, "dir"),
        (&["verify", "missing.zst"], INPUT, "missing.zst"),
        (&["verify", "dir"], INPUT, "dir"),
        (&["cat", "missing.zst"], INPUT, "missing.zst"),
        (&["cat", "dir"], INPUT, "dir"),
        (&["info", "missing.zst"], INPUT, "missing.zst"),
        (&["info", "dir"], INPUT, "dir"),
        (&["pack", "in", "-o", "dir"], OUTPUT, "dir"),
        (&["pack", "in", "-f", "-o", "dir"], OUTPUT, "dir"),
        (&["pack", "in", "-o", "none/out"], OUTPUT, "none/out"),
        (&["pack", "in", "-o", "in/out"], OUTPUT, "in/out"),
        (&["unpack", "good.zst", "-o", "dir"], OUTPUT, "dir"),
        (&["unpack", "good.zst", "-o", "none/out"], OUTPUT, "none/out"),
        (&["unpack", "in"], USAGE, "in"),
    ];
    for (args, code, name) in table {
        check(&mut ringpack(args), folder, code, name);
    }
    assert_eq!(fs::read(folder.join("in")).unwrap(), b"content");
}

#[test]
fn targets_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("in"), b"content").unwrap();
    succeed(ringpack(["pack", "in"]).current_dir(folder));
    let container = fs::read(folder.join("in.zst")).unwrap();
    fs::write(folder.join("old"), b"old").unwrap();
    symlink("old", folder.join("link")).unwrap();
    let table: [(&[&str], i32, &str); 9] = [
        (&["pack", "in", "-o", "old"], EXISTS, "old"),
        (&["pack", "in"], EXISTS, "in.zst"),
        (&["unpack", "in.zst"], EXISTS, "in"),
        (&["unpack", "in.zst", "-o", "old"], EXISTS, "old"),
        // What a link leads to is not what has the name.
        (&["pack", "in", "-o", "link"], OUTPUT, "link"),
        (&["pack", "in", "-f", "-o", "link"], OUTPUT, "link"),
        (&["unpack", "in.zst", "-f", "-o", "link"], OUTPUT, "link"),
        // Input and output at once, by the same name and by another.
        (&["pack", "in", "-f", "-o", "in"], USAGE, "in"),
        (&["unpack", "in.zst", "-f", "-o", "./in.zst"], USAGE, "in.zst"),
    ];
    for (args, code, name) in table {
        check(&mut ringpack(args), folder, code, name);
        assert_eq!(fs::read(folder.join("in")).unwrap(), b"content", "{args:?}");
        assert_eq!(fs::read(folder.join("in.zst")).unwrap(), container, "{args:?}");
        assert_eq!(fs::read(folder.join("old")).unwrap(), b"old", "{args:?}");
        assert!(folder.join("link").is_symlink(), "{args:?}");
    }
    succeed(ringpack(["pack", "in", "-f", "-o", "old"]).current_dir(folder));
    assert_eq!(fs::read(folder.join("old")).unwrap(), container);
    succeed(ringpack(["unpack", "in.zst", "-f", "-o", "old"]).current_dir(folder));
    assert_eq!(fs::read(folder.join("old")).unwrap(), b"content");
    assert_eq!(names(folder), ["in", "in.zst", "link", "old"]);
}

/// A failure leaves the target that was to be replaced as it was.
#[test]
fn a_failed_replacement_keeps_the_old_target() {
    let sample = Sample::new("dense", "-3", false);
    let folder = sample.folder.path();
    let mut bytes = sample.bytes.clone();
    bytes[HEADER + 1000] ^= 1;
    fs::write(folder.join("bad.zst"), bytes).unwrap();
    fs::write(folder.join("old"), b"old").unwrap();
    let unpacking = &mut ringpack(["unpack", "-f", "-o", "old", "bad.zst"]);
    check(unpacking, folder, DAMAGED, "bad.zst");
    assert_eq!(fs::read(folder.join("old")).unwrap(), b"old");
}

#[test]
fn no_permission() {
    const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    if !is_root() || !support::has_tool("setpriv") {
        return skip("no_permission", "only root can become nobody, with setpriv");
    }
    let folder = tempfile::tempdir().unwrap();
    // Nobody may look into the folder, and reach the program, wherever that was built.
    let program = folder.path().join("ringpack");
    fs::copy(binary(), &program).unwrap();
    let folder = folder.path();
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(folder, 0o755);
    fs::write(folder.join("open"), b"content").unwrap();
    chmod(&folder.join("open"), 0o644);
    succeed(ringpack(["pack", "open"]).current_dir(folder));
    for name in ["secret", "secret.zst"] {
        fs::copy(folder.join("open.zst"), folder.join(name)).unwrap();
        chmod(&folder.join(name), 0o600);
    }
    let table: [(&[&str], i32, &str); 8] = [
        (&["pack", "secret"], INPUT, "secret"),
        (&["unpack", "secret.zst"], INPUT, "secret.zst"),
        (&["verify", "secret.zst"], INPUT, "secret.zst"),
        (&["cat", "secret.zst"], INPUT, "secret.zst"),
        (&["info", "secret.zst"], INPUT, "secret.zst"),
        (&["pack", "open", "-o", "out"], OUTPUT, "out"),
        (&["unpack", "open.zst", "-o", "out"], OUTPUT, "out"),
        (&["pack", "open", "-f", "-o", "secret"], OUTPUT, "secret"),
    ];
    for (args, code, name) in table {
        let mut nobody = Command::new("setpriv");
        nobody.args(NOBODY).arg(&program).args(args).stdin(Stdio::null());
        check(&mut nobody, folder, code, name);
    }
}

#[test]
fn a_full_device() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("in"), content(3 << 20, 4)).unwrap();
    succeed(ringpack(["pack", "in"]).current_dir(folder));
    let table: [&[&str]; 4] = [
        &["pack", "-c", "in"],
        &["unpack", "-c", "in.zst"],
        &["cat", "in.zst"],
        &["info", "in.zst"],
    ];
    for args in table {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        // `output` would replace a standard output set here: the child is waited for by hand.
        let child =
            ringpack(args).current_dir(folder).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = one_line(&output, &format!("{args:?}"));
        assert_eq!(output.status.code(), Some(NO_SPACE), "{args:?}: {stderr}");
        assert!(stderr.contains("standard output"), "{args:?}: {stderr}");
    }
    assert_eq!(names(folder), ["in", "in.zst"]);
}

/// Whoever reads the output and has enough is no failure to talk about.
#[test]
fn a_reader_that_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("in"), noise(9 << 20, 4)).unwrap();
    succeed(ringpack(["pack", "in"]).current_dir(folder));
    let table: [&[&str]; 3] =
        [&["pack", "-c", "in"], &["unpack", "-c", "in.zst"], &["cat", "in.zst"]];
    for args in table {
        let mut child = ringpack(args)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(CLOSED), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
    assert_eq!(names(folder), ["in", "in.zst"]);
}

/// Arguments that can't be are told by clap, with usage; what it names is the argument.
#[test]
fn wrong_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("in"), b"content").unwrap();
    let table: [(&[&str], &str); 17] = [
        (&[], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["pack"], "INPUT"),
        (&["pack", "in", "--frob"], "--frob"),
        (&["pack", "in", "-0"], "0"),
        (&["pack", "in", "-20"], "20"),
        (&["pack", "in", "-1", "--store"], "--store"),
        (&["pack", "in", "--chunk-size", "32K"], "32K"),
        (&["pack", "in", "--chunk-size", "128M"], "128M"),
        (&["pack", "in", "--chunk-size", "100K"], "100K"),
        (&["pack", "in", "--digest", "md5"], "md5"),
        (&["pack", "in", "--io", "magic"], "magic"),
        (&["pack", "in", "-T", "x"], "x"),
        (&["pack", "in", "-c", "-o", "out"], "--stdout"),
        (&["pack", "in", "-c", "--rm"], "--rm"),
        (&["cat", "in", "--offset", "-1"], "-1"),
        (&["verify"], "INPUTS"),
    ];
    for (args, named) in table {
        let output = run(ringpack(args).current_dir(folder));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(USAGE), "{args:?}: {stderr}");
        assert!(stderr.contains(named), "{args:?}: {named} isn't named: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert_eq!(names(folder), ["in"], "{args:?}");
    }
    // What clap lets through makes no sense either.
    check(&mut ringpack(["pack", "-", "--rm", "-o", "out"]), folder, USAGE, "standard input");
    check(&mut ringpack(["unpack", "-", "--rm", "-o", "out"]), folder, USAGE, "standard input");
    check(&mut ringpack(["unpack", "in", "in", "-o", "out"]), folder, USAGE, "several inputs");
    check(&mut ringpack(["unpack", "-"]), folder, FOREIGN, "standard input");
}

/// A remedy names an option only where the command has it.
#[test]
fn remedies_name_options_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("in"), b"content").unwrap();
    succeed(ringpack(["pack", "in"]).current_dir(folder));
    let long = "x".repeat(256);
    for (args, option) in [
        (&["pack", "in", "-o", "none/out"][..], Some("--output")),
        (&["unpack", "in.zst", "-o", "none/out"], Some("--output")),
        (&["salvage", "in.zst", "-o", "none/out"], Some("--output")),
        (&["verify", "--repair-map", "none/map", "in.zst"], Some("--repair-map")),
        (&["verify", "--repair-map", "in", "in.zst"], Some("--repair-map")),
        (&["clean", "none"], None),
        (&["clean", &long], None),
        (&["doctor", "none"], None),
        (&["resume", "none/out", "in"], None),
    ] {
        let output = run(ringpack(args).current_dir(folder));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("; "), "{args:?}: {said}");
        for other in ["--output", "-o)", "--repair-map"] {
            let is_its_own = option.is_some_and(|own| own == other || other == "-o)");
            let is_its_own = is_its_own && !(option == Some("--repair-map") && other == "-o)");
            assert_eq!(said.contains(other), is_its_own, "{args:?}: {said}");
        }
    }
}
