//! The same input and options give the same bytes: whatever the cores, the backend, the way to the
//! device, the kind of input or the order in which writes complete.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use support::cases::Case;
use support::{assert_same, backends, binary, names, ringpack, run_with_input, succeed};

/// Packs one content every way there is and compares the containers byte by byte.
fn check(placement: &'static str, codec: &'static str, digest: &'static str) {
    let case = Case { placement, codec, chunk: "64K" };
    // Several extents, the last one short, so that completion has an order to get wrong.
    let content = support::content((9 << 20) + 12_345, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (input, output) = (path("in"), path("out"));
    let options = [&case.args()[..], &["--digest", digest]].concat();
    fs::write(&input, &content).unwrap();
    let pack = |more: &[&str]| {
        let packing = &mut ringpack(["pack", "-f", "-o"]);
        succeed(packing.arg(&output).arg(&input).args(&options).args(more));
        fs::read(&output).unwrap()
    };
    let first = pack(&["-T1", "--io", "pwrite", "--no-direct"]);
    for io in backends("determinism") {
        for threads in ["-T1", "-T2", "-T3", "-T8"] {
            for direct in [&[][..], &["--no-direct"]] {
                let more = [&[threads, "--io", io], direct].concat();
                assert_same(&pack(&more), &first, &format!("{case:?} {more:?}"));
            }
        }
        let from_stdin = &mut ringpack(["pack", "-f", "-T3", "--io", io, "-", "-o"]);
        let run = run_with_input(from_stdin.arg(&output).args(&options), &content);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert_same(&fs::read(&output).unwrap(), &first, &format!("{case:?}, stdin, {io}"));
    }
    check_streams(&input, &options, &first);
    assert_eq!(names(folder.path()), ["in", "out"]);
}

#[test]
fn store_dense() {
    check("dense", "--store", "none");
}

#[test]
fn store_slots_with_a_digest() {
    check("slots", "--store", "blake3");
}

#[test]
fn zstd_dense_with_a_digest() {
    check("dense", "-1", "blake3");
}

#[test]
fn zstd_slots() {
    check("slots", "-3", "none");
}

#[test]
fn a_fifo_is_what_a_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let content = support::content((9 << 20) + 12_345, 6);
    let case = Case { placement: "dense", codec: "-1", chunk: "64K" };
    let (input, packed) = case.packed(folder.path(), &content);
    let expected = fs::read(packed).unwrap();
    mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
    for io in backends("a_fifo_is_what_a_file_is") {
        // Both ends wait for the other; a program that drops its end must not hang the suite.
        let mut writer = Command::new("timeout")
            .args(["60", "dd", "bs=100000", "status=none"])
            .arg(format!("if={}", input.display()))
            .arg(format!("of={}", path("fifo").display()))
            .spawn()
            .unwrap();
        let mut packing = Command::new("timeout");
        packing.arg("60").arg(binary()).args(["pack", "-f", "--io", io, "-o"]);
        succeed(packing.arg(path("out")).arg(path("fifo")).args(case.args()));
        assert!(writer.wait().unwrap().success(), "the writer was cut off");
        assert_same(&fs::read(path("out")).unwrap(), &expected, io);
    }
}

/// What goes to standard output is what goes to a file, whoever writes it.
fn check_streams(input: &Path, options: &[&str], file: &[u8]) {
    for io in backends("determinism") {
        for threads in ["-T1", "-T2", "-T8"] {
            let packing = &mut ringpack(["pack", "-c", threads, "--io", io]);
            let stream = succeed(packing.arg(input).args(options));
            assert_same(&stream, file, &format!("streamed, {threads} {io}"));
        }
    }
}

/// Holes are not read; they must come out as the zeros they stand for.
#[test]
fn a_hole_is_what_zeros_are() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    // Whole chunks of zeros, zeros within a chunk, at its start, at its end, over an extent's end.
    let mut content = support::content(12 << 20, 6);
    for range in [0..70_000, 200_000..500_000, (4 << 20) - 4096..(6 << 20) + 8192] {
        content[range].fill(0);
    }
    content.resize(content.len() + (5 << 20) + 77, 0);
    for placement in ["dense", "slots"] {
        for codec in ["--store", "-1"] {
            for digest in ["none", "blake3"] {
                let case = Case { placement, codec, chunk: "64K" };
                let pack = || {
                    succeed(case.packing(&input, &output).args(["--digest", digest]));
                    fs::read(&output).unwrap()
                };
                fs::write(&input, &content).unwrap();
                let full = pack();
                dig_holes(&input);
                assert_same(&pack(), &full, &format!("{case:?} {digest}"));
            }
        }
    }
}

fn dig_holes(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    succeed(Command::new("fallocate").arg("--dig-holes").arg(path));
    let found = fs::metadata(path).unwrap();
    assert!(found.blocks() * 512 < found.len() - (5 << 20), "the file system has no holes");
}

/// Neither the name nor the clock nor the folder is in the file.
#[test]
fn nothing_of_the_run_is_in_the_file() {
    let content = support::content(300_000, 9);
    let mut containers = Vec::new();
    for name in ["a", "another name"] {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join(name);
        fs::write(&input, &content).unwrap();
        let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(name.len() as u64);
        fs::File::open(&input).unwrap().set_modified(past).unwrap();
        succeed(ringpack(["pack"]).arg(&input));
        containers.push(fs::read(folder.path().join(format!("{name}.zst"))).unwrap());
    }
    assert_same(&containers[0], &containers[1], "another name, time and folder");
}
