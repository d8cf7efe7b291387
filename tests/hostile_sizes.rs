//! Sizes that arithmetic goes wrong on: lengths of content and windows near 2^63 and 2^64, in one
//! frame or summed up over several. zstd is asked first. Every command has to come to the same
//! verdict, and to end with an exit code and a message.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use ringpack::format::header::PlacementKind;
use ringpack::pack::Codec;
use support::codes::{DAMAGED, FOREIGN, INPUT, NEWER, USAGE};
use support::foreign::{PLAIN, frame, stating};
use support::forge::{Parts, Shape};
use support::memory::{MemoryDisk, share};
use support::{content, names, ringpack, run, run_with_input};

/// `salvage` restored a part.
const IN_PART: i32 = 16;

const CONTENT: &[u8] = b"hi";
/// Sizes that are no such content's, but the first.
const SIZES: [u64; 12] = [
    CONTENT.len() as u64,
    0,
    1 << 31,
    1 << 40,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    (1 << 63) + (1 << 62),
    u64::MAX - 2,
    u64::MAX - 1,
    u64::MAX,
];

fn ended(output: &Output, codes: &[i32], what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(code.is_some_and(|code| codes.contains(&code)), "{what}: {}: {said}", output.status);
    assert!(!said.contains("panicked"), "{what}: {said}");
    assert!(code == Some(0) || said.starts_with("ringpack: "), "{what}: {said}");
}

/// What zstd says of the file by this flag, and what it restores.
fn zstd(flag: &str, folder: &Path) -> Option<Vec<u8>> {
    let output = run(Command::new("zstd").args([flag, "f.zst"]).current_dir(folder));
    output.status.success().then_some(output.stdout)
}

/// Every command that reads such a file agrees with zstd.
fn check(bytes: &[u8], what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("f.zst"), bytes).unwrap();
    let (restored, tested) = (zstd("-dcq", folder), zstd("-tq", folder));
    assert_eq!(restored.is_some(), tested.is_some(), "{what}: zstd itself isn't sure");
    let verdict: &[i32] = if tested.is_some() { &[0] } else { &[NEWER, DAMAGED] };
    let as_zstd: &[i32] = if tested.is_some() { &[0] } else { &[1] };
    let command = |args: &[&str]| {
        let mut command = ringpack(args);
        command.current_dir(folder);
        command
    };
    for (args, codes, gives_content) in [
        (&["unpack", "f.zst", "-o", "out"][..], verdict, false),
        (&["verify", "f.zst"], verdict, false),
        (&["unpack", "-c", "f.zst"], verdict, true),
        (&["cat", "f.zst"], verdict, true),
        (&["-tq", "f.zst"], as_zstd, false),
        (&["-dcq", "f.zst"], as_zstd, true),
    ] {
        let output = run(&mut command(args));
        let what = format!("{what}: {args:?}");
        ended(&output, codes, &what);
        if let Some(restored) = restored.as_ref().filter(|_| gives_content) {
            assert_eq!(&output.stdout, restored, "{what}");
        }
    }
    assert_eq!(fs::read(folder.join("out")).ok(), restored, "{what}");
    let _ = fs::remove_file(folder.join("out"));
    for (args, codes) in
        [(&["verify", "-"], verdict), (&["unpack", "-"], verdict), (&["-dcq", "-"], as_zstd)]
    {
        let output = run_with_input(&mut command(args), bytes);
        ended(&output, codes, &format!("{what}: {args:?} through a pipe"));
    }
    for end in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1] {
        for offset in [end.to_string(), 0.to_string()] {
            let args = ["cat", "--offset", &offset, "--length", &end.to_string(), "f.zst"];
            let refused = &[NEWER, DAMAGED, USAGE];
            ended(&run(&mut command(&args)), refused, &format!("{what}: {args:?}"));
        }
    }
    let listed: &[i32] = if zstd("-l", folder).is_some() { &[0] } else { &[1] };
    ended(&run(&mut command(&["-l", "f.zst"])), listed, &format!("{what}: -l"));
    ended(&run(&mut command(&["-lv", "f.zst"])), listed, &format!("{what}: -lv"));
    ended(&run(&mut command(&["info", "f.zst"])), &[0], &format!("{what}: info"));
    ended(&run(&mut command(&["ls", "f.zst"])), &[FOREIGN], &format!("{what}: ls"));
    let salvage = run(&mut command(&["salvage", "-q", "f.zst", "-o", "whole"]));
    ended_in(&salvage, &[0, FOREIGN, IN_PART], &format!("{what}: salvage"));
    let left: Vec<_> =
        names(folder).into_iter().filter(|name| !name.starts_with("whole")).collect();
    assert_eq!(left, ["f.zst"], "{what}");
}

#[test]
fn fo1_content_sizes_that_no_file_can_have() {
    let mut files = Vec::new();
    for size in SIZES {
        for window in [None, Some(13 << 3)] {
            let what = format!("a size of {size:#x}, window {window:?}");
            files.push((stating(size, window, CONTENT), what));
        }
    }
    share(files.len(), || (), |(), number| check(&files[number].0, &files[number].1));
}

#[test]
fn fo1_content_sizes_whose_sum_no_file_can_have() {
    let window = Some(13 << 3);
    let whole = frame(b"before", PLAIN);
    let files: Vec<Vec<u8>> = [
        &[(1 << 63) - 1, 1][..],
        &[(1 << 63) - 1, (1 << 63) - 1, 2],
        &[1 << 63, 1 << 63],
        &[u64::MAX - 1, 1, 1],
        &[u64::MAX - 1, u64::MAX - 1],
        &[u64::MAX, u64::MAX],
        &[1, u64::MAX],
    ]
    .into_iter()
    .map(|sizes| {
        let lies = sizes.iter().flat_map(|&size| stating(size, window, &CONTENT[..1]));
        whole.iter().copied().chain(lies).collect()
    })
    .collect();
    share(files.len(), || (), |(), number| check(&files[number], &format!("sum {number}")));
}

/// A window of every exponent, with the least and the most mantissa: granted and refused as zstd
/// does, streamed from a pipe and read whole.
#[test]
fn fo1_windows_of_every_exponent() {
    let original = content(300_000, 3);
    let whole = frame(&original, PLAIN);
    // Behind magic number, descriptor and four bytes of size, the blocks; the checksum is its own.
    let blocks = &whole[9..];
    let descriptors: Vec<u8> = (0..32).flat_map(|log| [log << 3, log << 3 | 7]).collect();
    share(
        descriptors.len(),
        || (),
        |(), number| {
            let window = descriptors[number];
            // Of unknown size, so that all decoders need the window.
            let front = [0x28, 0xB5, 0x2F, 0xFD, 0x04, window];
            let bytes = [&front[..], blocks].concat();
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("f.zst"), &bytes).unwrap();
            let restored = zstd("-dcq", folder.path());
            let disk = MemoryDisk::new(bytes);
            let what = format!("window {window:#x}");
            assert_eq!(disk.unpack_foreign().ok(), restored, "{what}");
            let verified = disk.verify_foreign();
            assert_eq!(verified.is_ok_and(|it| it.damage_count == 0), restored.is_some(), "{what}");
        },
    );
}

/// As much memory as 64 bits can say may be granted; what isn't needed isn't taken.
#[test]
fn any_memory_may_be_granted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f.zst"), frame(&content(300_000, 4), support::foreign::UNSIZED))
        .unwrap();
    for memory in ["9223372036854775807", "9223372036854775809", "18446744073709551615"] {
        for args in [["verify", "-M", memory, "f.zst"], ["cat", "-M", memory, "f.zst"]] {
            let output = run(ringpack(args).current_dir(folder.path()));
            ended(&output, &[0], &format!("{args:?}"));
        }
    }
}

/// A container's own header, its sizes consistent and its checksum mended, that states more than a
/// file can hold.
#[test]
fn v1_a_container_of_more_than_a_file_can_hold() {
    let shape = Shape { placement: PlacementKind::Dense, blake3: false };
    let intact = shape.pack(&content(300_000, 5), Codec::Zstd(3));
    let sizes = [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 63) + 65_537, u64::MAX];
    share(
        sizes.len(),
        || (),
        |(), number| {
            let (size, mut parts) = (sizes[number], Parts::of(&intact));
            parts.header.content_size = size;
            parts.header.chunk_count = size.div_ceil(65_536);
            parts.seal();
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("f.zst"), parts.bytes()).unwrap();
            for args in [
                &["unpack", "f.zst"][..],
                &["verify", "f.zst"],
                &["cat", "--offset", "9223372036854775807", "f.zst"],
                &["info", "f.zst"],
                &["ls", "f.zst"],
                &["verify", "--repair-map", "map", "f.zst"],
                &["salvage", "f.zst", "-o", "out"],
            ] {
                let output = run(ringpack(args).current_dir(folder.path()));
                // The index may have all that salvaging needs.
                let codes = if args[0] == "salvage" { [0, IN_PART] } else { [DAMAGED, INPUT] };
                ended_in(&output, &codes, &format!("{size:#x}: {args:?}"));
            }
            // What is intact is there, whatever the header says of the rest.
            let salvaged = fs::read(folder.path().join("out")).unwrap();
            assert!(salvaged.starts_with(&content(300_000, 5)), "{size:#x}: {}", salvaged.len());
        },
    );
}

fn ended_in(output: &Output, codes: &[i32], what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{what}: {said}");
    let code = output.status.code();
    assert!(code.is_some_and(|code| codes.contains(&code)), "{what}: {code:?}: {said}");
}
