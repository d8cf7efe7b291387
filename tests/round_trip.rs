//! Unpacking gives back what was packed: every size, placement, codec and backend, whole and by
//! range, with the attributes of the file.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use support::cases::{Case, Giant};
use support::{
    Random, assert_same, backends, has_tool, is_root, names, ringpack, run, run_with_input, skip,
    succeed,
};

/// Packs each content of the case by each backend and as a stream, and restores it every way.
fn check(case: Case) {
    let backends = backends("round_trip");
    let folder = tempfile::tempdir().unwrap();
    let (input, packed) = (folder.path().join("in"), folder.path().join("packed"));
    for (number, (what, content)) in case.contents().into_iter().enumerate() {
        fs::write(&input, &content).unwrap();
        for io in &backends {
            let what = format!("{what}, {io}");
            succeed(case.packing(&input, &packed).args(["--io", io]));
            assert_restores(&packed, &content, io, &what);
        }
        assert_info(&packed, &content, case, &what);
        let ranges = ranges(content.len() as u64, case.chunk_len() as u64);
        assert_ranges(&packed, &content, &ranges, &what);
        // From a file and from standard input in turn.
        let what = format!("{what}, streamed");
        fs::write(&packed, streamed(case, &input, &content, number % 2 == 0)).unwrap();
        assert_restores(&packed, &content, backends[number / 2 % backends.len()], &what);
        assert_info(&packed, &content, case, &what);
        assert_ranges(&packed, &content, &ranges[..1], &what);
        assert_eq!(names(folder.path()), ["in", "packed"], "{what}");
    }
}

#[test]
fn store_dense() {
    check(Case { placement: "dense", codec: "--store", chunk: "64K" });
    check(Case { placement: "dense", codec: "--store", chunk: "1M" });
}

#[test]
fn store_slots() {
    check(Case { placement: "slots", codec: "--store", chunk: "64K" });
    check(Case { placement: "slots", codec: "--store", chunk: "1M" });
}

#[test]
fn level_1_dense() {
    check(Case { placement: "dense", codec: "-1", chunk: "64K" });
    check(Case { placement: "dense", codec: "-1", chunk: "1M" });
}

#[test]
fn level_1_slots() {
    check(Case { placement: "slots", codec: "-1", chunk: "64K" });
    check(Case { placement: "slots", codec: "-1", chunk: "1M" });
}

#[test]
fn level_3_and_the_default() {
    check(Case { placement: "dense", codec: "-3", chunk: "1M" });
    check(Case { placement: "slots", codec: "-3", chunk: "64K" });
}

#[test]
fn the_largest_chunk() {
    let case = Case { placement: "dense", codec: "-1", chunk: "64M" };
    let folder = tempfile::tempdir().unwrap();
    for size in [(64 << 20) - 1, (64 << 20) + 1] {
        let content = support::content(size, 7);
        let (_, packed) = case.packed(folder.path(), &content);
        assert_restores(&packed, &content, "auto", "64M");
        assert_info(&packed, &content, case, "64M");
    }
}

#[test]
fn the_highest_level() {
    let case = Case { placement: "dense", codec: "-19", chunk: "64K" };
    let folder = tempfile::tempdir().unwrap();
    let content = support::content(300_000, 19);
    let (_, packed) = case.packed(folder.path(), &content);
    assert_restores(&packed, &content, "auto", "level 19");
    assert_info(&packed, &content, case, "level 19");
}

#[test]
fn over_4_gib() {
    let folder = tempfile::tempdir().unwrap();
    let giant = Giant::create(folder.path().join("giant"));
    let source_blocks = fs::metadata(&giant.path).unwrap().blocks();
    let (packed, restored) = (folder.path().join("packed"), folder.path().join("restored"));
    for (placement, codec) in [("dense", "-1"), ("slots", "--store")] {
        let what = format!("{placement} {codec}");
        let case = Case { placement, codec, chunk: "1M" };
        succeed(&mut case.packing(&giant.path, &packed));
        succeed(ringpack(["verify"]).arg(&packed));
        succeed(ringpack(["unpack", "-f", "-o"]).arg(&restored).arg(&packed));
        giant.compare(fs::File::open(&restored).unwrap(), &what);
        let found = fs::metadata(&restored).unwrap().blocks();
        assert!(found <= source_blocks + HOLE_SLACK, "{what}: {found} blocks of {source_blocks}");
        let over = (4u64 << 30) - 2;
        for (offset, len) in [(over, 4), (over, 0), (100 << 20, 300), (Giant::LEN - 1, 1)] {
            let found = cat(&packed, offset, Some(len as u64));
            let expected = giant.range(offset, len);
            assert_same(&found, &expected, &format!("{what}: {len} bytes at {offset}"));
        }
    }
}

/// Blocks of 512 bytes that a restored file may have more than its source: for each of a few
/// islands, the zeros around it that are too short to be worth a hole.
const HOLE_SLACK: u64 = 5 * 2 * (64 << 10) / 512;

#[test]
fn holes_are_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let packed = folder.path().join("packed");
    let island = support::content(200_000, 3);
    let mut content = vec![0; 64 << 20];
    for start in [0, 10 << 20, (33 << 20) + 4096, content.len() - island.len()] {
        content[start..start + island.len()].copy_from_slice(&island);
    }
    // One source with holes, one with the zeros written out: both restore to one with holes.
    fs::write(&input, &content).unwrap();
    let written = fs::metadata(&input).unwrap().blocks();
    succeed(std::process::Command::new("fallocate").arg("--dig-holes").arg(&input));
    let sparse = fs::metadata(&input).unwrap().blocks();
    assert!(sparse < written / 10, "the file system has no holes to restore");
    for refill in [false, true] {
        if refill {
            fs::write(&input, &content).unwrap();
        }
        for codec in ["--store", "-1"] {
            for io in backends("holes_are_restored") {
                let case = Case { placement: "dense", codec, chunk: "1M" };
                succeed(case.packing(&input, &packed).args(["--io", io]));
                let unpacking = ["unpack", "-f", "--io", io, "-o"];
                succeed(ringpack(unpacking).arg(&output).arg(&packed));
                assert_same(&fs::read(&output).unwrap(), &content, codec);
                let found = fs::metadata(&output).unwrap().blocks();
                assert!(found <= sparse + HOLE_SLACK, "{codec} {io}: {found}, not {sparse}");
            }
        }
    }
}

#[test]
fn mode_and_time_are_taken_over() {
    // Set-id and sticky bits are for programs and folders; a copy must not spread them.
    let table = [
        (0o600, 0o600),
        (0o644, 0o644),
        (0o640, 0o640),
        (0o755, 0o755),
        (0o444, 0o444),
        (0o666, 0o666),
        (0o4755, 0o755),
        (0o2750, 0o750),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let modified = SystemTime::UNIX_EPOCH + Duration::new(981_173_106, 123_456_789);
    for (given, taken) in table {
        fs::write(path("in"), b"content").unwrap();
        let file = fs::File::open(path("in")).unwrap();
        file.set_modified(modified).unwrap();
        file.set_permissions(fs::Permissions::from_mode(given)).unwrap();
        succeed(ringpack(["pack", "-f", "-o"]).arg(path("packed")).arg(path("in")));
        succeed(ringpack(["unpack", "-f", "-o"]).arg(path("out")).arg(path("packed")));
        for name in ["packed", "out"] {
            let found = fs::metadata(path(name)).unwrap();
            assert_eq!(found.mode() & 0o7777, taken, "{name} of {given:o}");
            assert_eq!(found.modified().unwrap(), modified, "{name} of {given:o}");
        }
        fs::remove_file(path("in")).unwrap();
    }
}

/// The group bits of a mode are the ACL's mask where there is an ACL, and a copy has no ACL.
#[test]
fn a_group_that_an_acl_keeps_out_stays_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (acl, shown, taken) in [
        ("u::rw,u:65534:r,g::-,o::-", 0o640, 0o600),
        ("u::rw,u:65534:rw,g::r,o::-", 0o660, 0o640),
        ("u::rw,u:65534:rw,g::rw,m::r,o::r", 0o644, 0o644),
    ] {
        fs::write(path("in"), b"content").unwrap();
        let mut setfacl = Command::new("setfacl");
        if !has_tool("setfacl") || !run(setfacl.args(["-m", acl]).arg(path("in"))).status.success()
        {
            return skip(
                "a_group_that_an_acl_keeps_out_stays_out",
                "setfacl is missing or refused",
            );
        }
        assert_eq!(fs::metadata(path("in")).unwrap().mode() & 0o777, shown, "{acl}");
        for (input, args) in [("in", &[][..]), ("in", &["--io", "pwrite"]), ("foreign", &[])] {
            succeed(ringpack(["pack", "-f", "-o"]).arg(path("packed")).arg(path("in")).args(args));
            if input == "foreign" {
                let mut copy = Command::new("zstd");
                succeed(copy.args(["-qf", "-o"]).arg(path("packed")).arg(path("in")));
                succeed(Command::new("setfacl").args(["-m", acl]).arg(path("packed")));
            }
            succeed(ringpack(["unpack", "-f", "-o"]).arg(path("out")).arg(path("packed")));
            let of_packed = if input == "foreign" { shown } else { taken };
            for (name, expected) in [("packed", of_packed), ("out", taken)] {
                let found = fs::metadata(path(name)).unwrap().mode() & 0o777;
                assert_eq!(found, expected, "{name} of {input} with {acl}: {found:o}");
            }
        }
        fs::remove_file(path("in")).unwrap();
    }
}

#[test]
fn the_owner_is_taken_over() {
    if !is_root() {
        skip("the_owner_is_taken_over", "only root may give files away");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("in"), b"content").unwrap();
    std::os::unix::fs::chown(path("in"), Some(1234), Some(1235)).unwrap();
    succeed(ringpack(["pack", "-o"]).arg(path("packed")).arg(path("in")));
    succeed(ringpack(["unpack", "-o"]).arg(path("out")).arg(path("packed")));
    for name in ["packed", "out"] {
        let found = fs::metadata(path(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (1234, 1235), "{name}");
    }
}

#[test]
fn the_digest_is_what_b3sum_prints() {
    for chunk in ["64K", "1M"] {
        let case = Case { placement: "dense", codec: "-1", chunk };
        for (what, content) in case.contents() {
            if !content.is_empty() {
                check_digest(case, &content, &what);
            }
        }
    }
}

#[test]
fn the_digest_of_nothing() {
    check_digest(Case { placement: "dense", codec: "-1", chunk: "64K" }, b"", "nothing");
}

/// Packs with a digest in both placements and as a stream: it is BLAKE3's own each time.
fn check_digest(case: Case, content: &[u8], what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (input, packed) = (folder.path().join("in"), folder.path().join("packed"));
    fs::write(&input, content).unwrap();
    let expected = blake3::hash(content).to_hex().to_string();
    let digest = ["--digest", "blake3"];
    for placement in ["dense", "slots"] {
        let case = Case { placement, ..case };
        succeed(case.packing(&input, &packed).args(digest));
        assert_eq!(info(&packed)["blake3"], expected, "{what}, {placement}");
        succeed(ringpack(["verify", "--decode"]).arg(&packed));
    }
    let streaming = &mut ringpack(["pack", "-"]);
    let streamed = run_with_input(streaming.args(case.args()).args(digest), content);
    fs::write(&packed, done(streamed, what)).unwrap();
    assert_eq!(info(&packed)["blake3"], expected, "{what}, streamed");
    assert_restores(&packed, content, "auto", what);
}

#[test]
fn the_digest_over_4_gib() {
    let folder = tempfile::tempdir().unwrap();
    let giant = Giant::create(folder.path().join("giant"));
    let packed = folder.path().join("packed");
    let case = Case { placement: "dense", codec: "-1", chunk: "1M" };
    succeed(case.packing(&giant.path, &packed).args(["--digest", "blake3"]));
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(&giant.path).unwrap()).unwrap();
    assert_eq!(info(&packed)["blake3"], hasher.finalize().to_hex().to_string());
}

/// What `pack` writes to standard output.
fn streamed(case: Case, input: &Path, content: &[u8], from_file: bool) -> Vec<u8> {
    if from_file {
        return succeed(ringpack(["pack", "-c"]).arg(input).args(case.args()));
    }
    done(run_with_input(ringpack(["pack", "-"]).args(case.args()), content), "pack -")
}

/// Standard output of a run that succeeded.
fn done(output: Output, what: &str) -> Vec<u8> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {stderr}");
    output.stdout
}

#[test]
fn a_stream_into_a_file_is_a_final_container() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed");
    for chunk in ["64K", "1M"] {
        let case = Case { placement: "slots", codec: "-1", chunk };
        for (what, content) in case.contents() {
            let packing = &mut ringpack(["pack", "-f", "-", "-o"]);
            done(run_with_input(packing.arg(&packed).args(case.args()), &content), &what);
            assert_restores(&packed, &content, "auto", &what);
            assert_info(&packed, &content, case, &what);
        }
    }
}

/// Verifies the container at `packed` and unpacks it into a file and to standard output.
fn assert_restores(packed: &Path, content: &[u8], io: &str, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    if io != "pwrite" {
        succeed(ringpack(["verify", "--io", io]).arg(packed));
    }
    succeed(ringpack(["verify", "--decode", "--io", io]).arg(packed));
    succeed(ringpack(["unpack", "--io", io, "-o"]).arg(&output).arg(packed));
    assert_same(&fs::read(&output).unwrap(), content, what);
    let piped = succeed(ringpack(["unpack", "-c", "--io", io]).arg(packed));
    assert_same(&piped, content, &format!("{what}, through a pipe"));
    assert_eq!(names(folder.path()), ["out"], "{what}");
}

/// Compares every field of `info --json` with what is known of the content.
fn assert_info(packed: &Path, content: &[u8], case: Case, what: &str) {
    let found = info(packed);
    let size = content.len() as u64;
    let level = case.codec.strip_prefix('-').and_then(|level| level.parse::<i32>().ok());
    let expected = serde_json::json!({
        "path": packed,
        "content_size": size,
        "file_size": fs::metadata(packed).unwrap().len(),
        "chunk_size": case.chunk_len(),
        "chunk_count": case.chunk_count(size),
        "codec": if level.is_some() { "zstd" } else { "store" },
        "level": level,
        "placement": case.placement,
        "content_crc32c": format!("{:08x}", crc32c(content)),
        "blake3": null,
    });
    for (field, expected) in expected.as_object().unwrap() {
        assert_eq!(&found[field], expected, "{what}: {field}");
    }
}

fn info(packed: &Path) -> serde_json::Value {
    serde_json::from_slice(&succeed(ringpack(["info", "--json"]).arg(packed))).unwrap()
}

fn cat(packed: &Path, offset: u64, length: Option<u64>) -> Vec<u8> {
    let mut args = vec![OsString::from("cat"), packed.into()];
    args.push(format!("--offset={offset}").into());
    args.extend(length.map(|length| format!("--length={length}").into()));
    succeed(&mut ringpack(args))
}

/// Ranges as offset and length: all of it, nothing at the start and at the end, both sides of the
/// chunks' boundaries, the last byte, and some that are drawn.
fn ranges(size: u64, chunk: u64) -> Vec<(u64, Option<u64>)> {
    let mut ranges = vec![(0, None), (0, Some(0)), (size, Some(0)), (size, None)];
    for boundary in [chunk, size / chunk * chunk] {
        if 0 < boundary && boundary < size {
            ranges.extend([(boundary - 1, Some(2)), (boundary, Some(1)), (boundary, None)]);
            ranges.push((boundary - 1, Some(1)));
        }
    }
    let mut random = Random(size);
    for _ in 0..size.min(4) {
        let offset = random.below(size);
        ranges.push((offset, Some(random.below(size - offset) + 1)));
    }
    ranges
}

fn assert_ranges(packed: &Path, content: &[u8], ranges: &[(u64, Option<u64>)], what: &str) {
    for &(offset, length) in ranges {
        let found = cat(packed, offset, length);
        let rest = &content[offset as usize..];
        let expected = &rest[..length.map_or(rest.len(), |length| length as usize)];
        assert_same(&found, expected, &format!("{what}: {length:?} bytes at {offset}"));
    }
    // One byte past the end is an error, and nothing is given out.
    let past = content.len() as u64 + 1;
    let refused = run(ringpack(["cat"]).arg(packed).arg(format!("--length={past}")));
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{what}");
}

/// CRC32C from its definition (RFC 3720, B.4), a table and nothing of the engine's.
fn crc32c(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| {
            (0..8).fold(byte, |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
        })
        .collect();
    !bytes.iter().fold(!0, |crc, byte| table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}
