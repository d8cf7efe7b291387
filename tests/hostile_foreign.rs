//! Foreign files cut short, damaged or lying: an answer, an exit code, and never a wrong byte or a
//! file of a frame with a checksum.

use std::fs;
use std::process::Command;

use ringpack::ErrorKind;
use support::codes::DAMAGED;
use support::foreign::{
    BARE, Entry, PLAIN, Shape, UNSIZED, frame, seek_table, seekable, skippable,
};
use support::memory::{MemoryDisk, share};
use support::{assert_same, content, fail, names, ringpack, run, run_with_input, succeed};

/// Three frames of 2000 bytes with the shapes, and a table behind them.
fn sample(shapes: [Shape; 3]) -> (Vec<u8>, Vec<u8>) {
    let original = content(6000, 9);
    let mut bytes = skippable(0x184D_2A50, b"before");
    let mut entries = vec![(bytes.len() as u32, 0, 0)];
    for (piece, shape) in original.chunks(2000).zip(shapes) {
        let frame = frame(piece, shape);
        entries.push((frame.len() as u32, piece.len() as u32, 0));
        bytes.extend(frame);
    }
    bytes.extend(seek_table(&entries, false));
    (original, bytes)
}

/// Whatever byte a file ends at, it is told from the whole; at the end of a frame it is another
/// file, without a table.
#[test]
fn fo2_every_truncation() {
    for shapes in [[PLAIN; 3], [UNSIZED; 3], [PLAIN, UNSIZED, BARE]] {
        let (original, bytes) = sample(shapes);
        let mut ends = vec![14];
        for (piece, shape) in original.chunks(2000).zip(shapes) {
            ends.push(ends.last().unwrap() + frame(piece, shape).len());
        }
        ends.push(bytes.len());
        share(
            bytes.len(),
            || (),
            |(), cut| {
                let disk = MemoryDisk::new(bytes[..cut].to_vec());
                let unpacked = disk.unpack_foreign();
                match ends.iter().position(|&end| end == cut) {
                    Some(whole) => {
                        assert_same(
                            &unpacked.unwrap(),
                            &original[..2000 * whole.min(3)],
                            "a prefix",
                        );
                    }
                    None => {
                        let kind = unpacked.unwrap_err().kind();
                        let too_short = kind == ErrorKind::NotAContainer && cut < 4;
                        assert!(too_short || kind == ErrorKind::Damaged, "cut at {cut}: {kind:?}");
                    }
                }
            },
        );
    }
}

/// A flipped bit is found out, or lies where nothing depends on it; never is another content given
/// out of frames with checksums.
#[test]
fn fo1_fo5_every_flipped_bit() {
    for shape in [PLAIN, UNSIZED] {
        let (original, bytes) = sample([shape; 3]);
        share(
            8 * bytes.len(),
            || (),
            |(), bit| {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let disk = MemoryDisk::new(flipped);
                // What isn't refused is the content, or some of its frames: a magic number may have
                // become that of a frame to be passed over.
                let pieces: Vec<&[u8]> = original.chunks(2000).collect();
                if let Ok(restored) = disk.unpack_foreign() {
                    let found: Vec<&[u8]> = restored.chunks(2000).collect();
                    let mut rest = pieces.iter();
                    let is_part = found.iter().all(|&piece| rest.any(|&other| other == piece));
                    assert!(is_part, "{shape:?}: bit {bit}: another content of {}", restored.len());
                }
                // Who verifies hears of each that leaves a frame out.
                let report = disk.verify_foreign();
                if let Ok(report) = report
                    && report.damages.is_empty()
                {
                    assert_eq!(report.content_size, 6000, "{shape:?}: bit {bit} goes unnoticed");
                }
            },
        );
    }
}

/// What is stated of frames, by themselves or by a table, and isn't so.
#[test]
fn fo1_fo3_claims() {
    let original = content(300_000, 10);
    let sized = frame(&original, PLAIN);
    let with_size = |size: u64| {
        // The descriptor of a size of eight bytes, a window of 8 MiB, the size, the blocks.
        let descriptor = [0x28, 0xB5, 0x2F, 0xFD, 0xC4, 13 << 3];
        let blocks = &sized[4 + 1 + 4..];
        [&descriptor[..], &size.to_le_bytes(), blocks].concat()
    };
    succeed_on(&with_size(300_000), &original);
    for size in [0, 299_999, 300_001, 1 << 20, 64 << 20, 1 << 40, 1 << 50, 1 << 63, u64::MAX - 1] {
        let refused = refuse(&with_size(size));
        assert!(refused.contains("frame 0"), "{size}: {refused}");
    }
    // Blocks that no frame has, and a size that the blocks' own bytes pass.
    let mut reserved = sized.clone();
    reserved[9] |= 6;
    assert!(refuse(&reserved).contains("frame 0"));
    // After frames that are whole.
    let second = [&sized[..], &with_size(1 << 45)].concat();
    let refused = refuse(&second);
    let place = format!("at byte {}: frame 1:", sized.len());
    assert!(refused.contains(&place), "{refused}");
    assert!(refuse(&[&sized[..], b"garbage"].concat()).contains("frame 1"));
    assert!(
        refuse(&[&sized[..], &[0x50, 0x2A, 0x4D, 0x18, 0xFF, 0xFF, 0xFF, 0xFF]].concat())
            .contains("cut short")
    );
}

/// A table that lies: damage to who verifies, unless it only says too little. Unpacking doesn't
/// depend on it where the frames say what it says, and gives no wrong byte where they don't.
#[test]
fn fo3_tables_that_lie() {
    let original = content(300_000, 11);
    let pieces: Vec<&[u8]> = original.chunks(100_000).collect();
    for shape in [PLAIN, UNSIZED, BARE] {
        let frames: Vec<Vec<u8>> = pieces.iter().map(|piece| frame(piece, shape)).collect();
        let [a, b, c] = [0, 1, 2].map(|i| frames[i].len() as u32);
        let lies: [(&str, Vec<Entry>); 7] = [
            ("a size too large", vec![(a, 100_001, 0), (b, 100_000, 0), (c, 100_000, 0)]),
            ("a size too small", vec![(a, 100_000, 0), (b, 99_999, 0), (c, 100_000, 0)]),
            ("sizes swapped", vec![(a, 99_999, 0), (b, 100_001, 0), (c, 100_000, 0)]),
            ("a size of gigabytes", vec![(a, 100_000, 0), (b, u32::MAX, 0), (c, 100_000, 0)]),
            ("a boundary moved", vec![(a + 1, 100_000, 0), (b - 1, 100_000, 0), (c, 100_000, 0)]),
            ("too few entries", vec![(a, 100_000, 0), (b, 100_000, 0)]),
            ("an entry of nothing", vec![(a + b + c, 300_000, 0), (0, 77, 0)]),
        ];
        for (what, entries) in lies {
            let bytes = [frames.concat(), seek_table(&entries, false)].concat();
            let what = format!("{shape:?}: {what}");
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            fs::write(folder.join("f.zst"), &bytes).unwrap();
            let verify = &mut ringpack(["verify", "f.zst"]);
            if entries.iter().map(|entry| entry.0).sum::<u32>() < a + b + c {
                // It speaks of fewer frames than there are, which may have been put before it.
                warned(verify.current_dir(folder), "sum to less than what stands before it");
            } else {
                fail(verify.current_dir(folder), DAMAGED);
            }
            let unpacked = run(ringpack(["unpack", "f.zst"]).current_dir(folder));
            match unpacked.status.code() {
                Some(0) => {
                    assert_same(&fs::read(folder.join("f")).unwrap(), &original, &what);
                    let said = String::from_utf8_lossy(&unpacked.stderr);
                    assert!(said.contains("warning") && said.contains("table"), "{what}: {said}");
                }
                // Only where the table alone says what a frame holds.
                code => {
                    assert_eq!((code, shape.sized), (Some(DAMAGED), false), "{what}");
                    assert_eq!(names(folder), ["f.zst"], "{what}");
                }
            }
            // Without the table, as through a pipe, the frames are what they are.
            let streamed = run_with_input(&mut ringpack(["unpack", "-"]), &bytes);
            assert_same(&streamed.stdout, &original, &what);
            let range = ["cat", "--offset", "150000", "--length", "100", "f.zst"];
            let by_range = run(ringpack(range).current_dir(folder));
            if by_range.status.success() && shape.sized {
                assert_same(&by_range.stdout, &original[150_000..150_100], &what);
            }
        }
        // Checksums of other content.
        let entries = [(a, 100_000, 1), (b, 100_000, 2), (c, 100_000, 3)];
        let bytes = [frames.concat(), seek_table(&entries, true)].concat();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f.zst"), bytes).unwrap();
        fail(ringpack(["verify", "f.zst"]).current_dir(folder.path()), DAMAGED);
    }
}

/// A table that speaks of the last frames alone: all content is there, and zstd says so too. One
/// that speaks of more frames than there are is the only sign of those that are gone.
#[test]
fn fo3_tables_of_fewer_frames_and_of_more() {
    let original = content(300_000, 12);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for shape in [PLAIN, UNSIZED, BARE] {
        let whole = seekable(&original, 100_000, shape, true);
        let frames: Vec<Vec<u8>> = original.chunks(100_000).map(|it| frame(it, shape)).collect();
        let table = &whole[frames.concat().len()..];
        let twice = [&whole[..], &whole].concat();
        let of_none = [frames.concat(), seek_table(&[], true)].concat();
        let of_last = [frame(b"before", shape), whole.clone()].concat();
        for (what, bytes) in [("twice", twice), ("none", of_none), ("the last", of_last)] {
            fs::write(folder.join("f.zst"), &bytes).unwrap();
            let said = "sum to less than what stands before it; it is not used";
            warned(ringpack(["verify", "f.zst"]).current_dir(folder), said);
            warned(ringpack(["unpack", "-f", "f.zst"]).current_dir(folder), said);
            succeed(Command::new("zstd").args(["-tq", "f.zst"]).current_dir(folder));
            let by_zstd = &mut Command::new("zstd");
            let theirs = succeed(by_zstd.args(["-dcq", "f.zst"]).current_dir(folder));
            assert_same(&fs::read(folder.join("f")).unwrap(), &theirs, what);
            // Damage of the content is damage still.
            let mut damaged = bytes;
            damaged[frames[0].len() / 2] ^= 4;
            fs::write(folder.join("f.zst"), &damaged).unwrap();
            let verified = run(ringpack(["verify", "f.zst"]).current_dir(folder));
            assert!(!shape.checked || verified.status.code() == Some(DAMAGED), "{what}");
        }
        let without = [&frames[0], &frames[2], table].concat();
        fs::write(folder.join("f.zst"), without).unwrap();
        let said = fail(ringpack(["verify", "f.zst"]).current_dir(folder), DAMAGED);
        assert!(said.contains("sum to more than what stands before it"), "{said}");
        succeed(Command::new("zstd").args(["-tq", "f.zst"]).current_dir(folder));
    }
}

/// Of a frame that is longer than what memory is kept for, nothing reaches a pipe before its
/// checksum held, wherever it comes from; without a checksum it goes through.
#[test]
fn fo4_nothing_of_a_long_frame_before_its_checksum_held() {
    const LEN: u64 = ringpack::foreign::FRAME_BYTES_MAX + (3 << 20);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for shape in [PLAIN, UNSIZED, BARE] {
        let original = vec![7; LEN as usize];
        let good = [frame(b"before", PLAIN), frame(&original, shape)].concat();
        let expected = [b"before", &original[..]].concat();
        for damaged in [false, true] {
            let mut bytes = good.clone();
            if damaged {
                *bytes.last_mut().unwrap() ^= 1;
            }
            fs::write(folder.join("f.zst"), &bytes).unwrap();
            let by_file = run(ringpack(["unpack", "-c", "f.zst"]).current_dir(folder));
            let spool = &mut ringpack(["unpack", "-"]);
            let by_pipe = run_with_input(spool.env("TMPDIR", folder), &bytes);
            for (output, way) in [(by_file, "a file"), (by_pipe, "a pipe")] {
                let what = format!("{shape:?}, damaged: {damaged}, from {way}");
                if !damaged {
                    assert!(output.status.success(), "{what}");
                    assert_same(&output.stdout, &expected, &what);
                } else if shape.checked {
                    assert_eq!(output.status.code(), Some(DAMAGED), "{what}");
                    assert_same(&output.stdout, b"before", &what);
                }
            }
            assert_eq!(names(folder), ["f.zst"]);
        }
    }
}

/// A container through a pipe that ends between two frames, or in the middle of its tail.
#[test]
fn a_container_that_comes_through_a_pipe_is_whole_or_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let original = content(300_000, 12);
    fs::write(folder.join("in"), &original).unwrap();
    for stream in [false, true] {
        let pack = &mut ringpack(["pack", "--chunk-size", "64K", "-"]);
        let bytes = if stream {
            run_with_input(pack, &original).stdout
        } else {
            succeed(ringpack(["pack", "-f", "--chunk-size", "64K", "in"]).current_dir(folder));
            fs::read(folder.join("in.zst")).unwrap()
        };
        let restored = run_with_input(&mut ringpack(["unpack", "-"]), &bytes);
        assert_same(&restored.stdout, &original, "whole");
        // Two may follow each other.
        let twice = run_with_input(&mut ringpack(["unpack", "-"]), &[&bytes[..], &bytes].concat());
        assert_same(&twice.stdout, &[&original[..], &original].concat(), "twice");
        let extents = bytes.len() / 4096;
        for cut in (1..extents).map(|block| block * 4096) {
            let output = run_with_input(&mut ringpack(["unpack", "-"]), &bytes[..cut]);
            assert_eq!(output.status.code(), Some(DAMAGED), "stream: {stream}, cut at {cut}");
            assert!(original.starts_with(&output.stdout), "cut at {cut}");
        }
    }
}

/// Each damaged frame is named by verifying, and those after it are looked at all the same.
#[test]
fn verifying_goes_on() {
    let original = content(500_000, 13);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for shape in [PLAIN, UNSIZED] {
        let mut bytes = seekable(&original, 100_000, shape, true);
        let lens: Vec<usize> =
            original.chunks(100_000).map(|piece| frame(piece, shape).len()).collect();
        for number in [1, 3] {
            let end: usize = lens[..=number].iter().sum();
            bytes[end - 2] ^= 4;
        }
        fs::write(folder.join("f.zst"), bytes).unwrap();
        let said = fail(ringpack(["verify", "f.zst"]).current_dir(folder), DAMAGED);
        for number in [1, 3] {
            let offset: usize = lens[..number].iter().sum();
            let place = format!("at byte {offset}: frame {number}: ");
            assert!(said.contains(&place), "{shape:?}: {place} isn't in: {said}");
        }
        for whole in ["frame 0", "frame 2", "frame 4"] {
            assert!(!said.contains(whole), "{shape:?}: {said}");
        }
    }
}

fn warned(command: &mut Command, what: &str) {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning: ") && said.contains(what), "{said}");
}

fn succeed_on(bytes: &[u8], original: &[u8]) {
    let restored = MemoryDisk::new(bytes.to_vec()).unpack_foreign().unwrap();
    assert_same(&restored, original, "as it should be");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f.zst"), bytes).unwrap();
    let by_zstd = &mut Command::new("zstd");
    succeed(by_zstd.args(["-tq", "f.zst"]).current_dir(folder.path()));
}

/// What refuses the file, which must leave nothing behind and give nothing out.
fn refuse(bytes: &[u8]) -> String {
    let disk = MemoryDisk::new(bytes.to_vec());
    let error = disk.unpack_foreign().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    let report = disk.verify_foreign().unwrap();
    assert!(report.damage_count > 0, "unnoticed by verifying: {error}");
    error.to_string()
}
