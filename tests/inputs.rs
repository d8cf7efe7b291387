//! What can be packed: files with holes, block devices, pipes fed in any portions, and inputs that
//! change while they are read.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use ringpack::pack::{Codec, Input, Output, PackOptions, PackReport, pack};
use ringpack::pipeline::IoMode;
use ringpack::ring::file::Disk;
use ringpack::ring::os::OsDisk;
use ringpack::{Cancel, ErrorKind};
use support::mount::LoopDevice;
use support::processes::{Running, until};
use support::watched::{Step, WatchedDisk};
use support::{Random, backends, binary, content, has_tool, names, ringpack, run, skip, succeed};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Whether the container at `path` restores to `expected`, by our own hand and by zstd's.
fn check(path: &Path, expected: &[u8], what: &str) {
    let restored = succeed(ringpack(["unpack", "-c"]).arg(path));
    assert!(restored == expected, "{what}: other bytes");
    if has_tool("zstd") {
        let restored = succeed(Command::new("zstd").args(["-dqc"]).arg(path));
        assert!(restored == expected, "{what}: zstd restores other bytes");
    } else {
        skip(what, "zstd is not installed: only our own reader is asked");
    }
    succeed(ringpack(["verify", "--decode", "-q"]).arg(path));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(mask.trim(), 8).unwrap()
}

#[test]
fn a_block_device() {
    let test = "a_block_device";
    let folder = tempfile::tempdir().unwrap();
    // An odd number of MiB; an end that isn't on the grid; less than a block of the grid.
    for len in [41 * MIB, 5 * MIB + 512, 3 * 512] {
        let bytes = content(len, len as u64);
        let file = folder.path().join("file");
        fs::write(&file, &bytes).unwrap();
        let Some(device) = LoopDevice::attach(test, &file) else {
            return;
        };
        for io in backends(test) {
            for direct in [None, Some("--no-direct")] {
                let what = format!("{len} bytes, {io}, {direct:?}");
                let output = folder.path().join("out.zst");
                let mut command = ringpack(["pack", "-1", "-f", "--io", io, "-o"]);
                succeed(command.arg(&output).arg(device.path()).args(direct));
                check(&output, &bytes, &what);
                // Not the device's, which says who may use the device.
                assert_eq!(mode(&output), 0o666 & !umask(), "{what}");
            }
        }
    }
}

/// Writes `bytes` in portions of `lens`, in rotation.
fn feed(mut pipe: impl Write, bytes: &[u8], lens: &[usize]) {
    let mut rest = bytes;
    for &len in lens.iter().cycle() {
        let (portion, after) = rest.split_at(len.min(rest.len()));
        pipe.write_all(portion).unwrap();
        pipe.flush().unwrap();
        rest = after;
        if rest.is_empty() {
            return;
        }
    }
}

/// Lengths of what a pipe is fed, portion by portion, and of all of it.
const PORTIONS: [(&[usize], usize); 5] = [
    (&[1], 70_001),
    (&[1, 4095, 4097, 65_535, 65_537, 3], 9 * MIB + 1),
    (&[MIB], 8 * MIB),
    (&[MIB - 1, 1], 13 * MIB + 77),
    (&[4 * MIB + 1], 12 * MIB),
];

#[test]
fn a_fifo() {
    for (number, (lens, total)) in PORTIONS.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        succeed(Command::new("mkfifo").arg(&fifo));
        let bytes = content(total, number as u64);
        let (to, fed) = (fifo.clone(), bytes.clone());
        // Not waited for where packing fails: it may wait for a reader then.
        let writer = std::thread::spawn(move || feed(open(&to), &fed, lens));
        let packed = Running::start(ringpack(["pack", "-1"]).arg(&fifo)).end();
        let stderr = String::from_utf8_lossy(&packed.stderr);
        assert!(packed.status.success(), "portions of {lens:?}: {stderr}");
        writer.join().unwrap();
        let output = folder.path().join("fifo.zst");
        check(&output, &bytes, &format!("portions of {lens:?}"));
        assert_eq!(mode(&output), 0o666 & !umask());
    }
}

/// A writer that is quick to write once it has a reader loses nothing: the reader that lets it go
/// on is the one that reads.
#[test]
fn a_fifo_whose_writer_is_quick() {
    let test = "a_fifo_whose_writer_is_quick";
    if !has_tool("strace") || !run(Command::new("strace").arg("true")).status.success() {
        return skip(test, "strace is not installed, or is refused");
    }
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    succeed(Command::new("mkfifo").arg(&fifo));
    let bytes = content(40_000, 1);
    let (to, fed) = (fifo.clone(), bytes.clone());
    let writer = std::thread::spawn(move || feed(open(&to), &fed, &[1000]));
    // Whoever opens the FIFO is held up then, so that the writer can write all of it.
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-P"]).arg(&fifo);
    command.args(["-e", "inject=openat:delay_exit=300000"]);
    // It would outlive strace; and it may not listen to a milder signal.
    command.args(["timeout", "-s", "KILL", "20"]).arg(binary()).arg("pack").arg(&fifo);
    command.stdin(Stdio::null());
    let packed = Running::start(&mut command).end();
    let stderr = String::from_utf8_lossy(&packed.stderr);
    assert!(packed.status.success(), "{stderr}");
    check(&folder.path().join("fifo.zst"), &bytes, test);
    writer.join().unwrap();
}

#[test]
fn standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.zst");
    for (number, (lens, total)) in PORTIONS.into_iter().enumerate() {
        let bytes = content(total, number as u64);
        let mut command = ringpack(["pack", "-1", "-", "-f", "-o"]);
        command.arg(&output).stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        feed(running.child().stdin.take().unwrap(), &bytes, lens);
        assert!(running.end().status.success());
        check(&output, &bytes, &format!("portions of {lens:?}"));
    }
    let input = folder.path().join("in");
    for len in [0, 1, 5 * MIB + 3] {
        let bytes = content(len, 5);
        fs::write(&input, &bytes).unwrap();
        let mut command = ringpack(["pack", "-1", "-", "-f", "-o"]);
        succeed(command.arg(&output).stdin(fs::File::open(&input).unwrap()));
        check(&output, &bytes, &format!("< file of {len} bytes"));
    }
    let mut command = ringpack(["pack", "-", "-f", "-o"]);
    succeed(command.arg(&output).stdin(fs::File::open("/dev/null").unwrap()));
    check(&output, &[], "< /dev/null");
    let mut command = ringpack(["pack", "/dev/null", "-f", "-o"]);
    succeed(command.arg(&output));
    check(&output, &[], "/dev/null");
}

/// A file of `len` bytes with `islands` of data in it, each with its offset and length.
fn sparse(path: &Path, len: u64, islands: &[(u64, usize)]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(len).unwrap();
    for (number, &(offset, len)) in islands.iter().enumerate() {
        let mut bytes = content(len, number as u64);
        // So that it is data from its first byte to its last.
        (bytes[0], bytes[len - 1]) = (1, 1);
        file.write_all_at(&bytes, offset).unwrap();
    }
    file.sync_all().unwrap();
}

fn has_holes(test: &str, folder: &Path) -> bool {
    let path = folder.join("probe");
    sparse(&path, 16 << 20, &[(1 << 20, 4096)]);
    let has = fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20;
    fs::remove_file(path).unwrap();
    if !has {
        skip(test, "the file system of the temporary folder makes no holes");
    }
    has
}

fn packed(input: &Path, options: &PackOptions) -> PackReport {
    let output = Output::Path(input.with_extension("zst"));
    let options = PackOptions { codec: Codec::Zstd(1), replace: true, ..options.clone() };
    pack(&OsDisk, Input::Path(input.to_owned()), output, &options, &Cancel::new()).unwrap()
}

/// Bytes of whole chunks that no island touches, by blocks of 4 KiB.
fn untouched(len: u64, chunk: u64, islands: &[(u64, usize)]) -> u64 {
    (0..len.div_ceil(chunk))
        .map(|number| (number * chunk, ((number + 1) * chunk).min(len)))
        .filter(|&(start, end)| {
            islands.iter().all(|&(offset, len)| {
                let blocks = (offset / 4096 * 4096, (offset + len as u64).next_multiple_of(4096));
                blocks.1 <= start || end <= blocks.0
            })
        })
        .map(|(start, end)| end - start)
        .sum()
}

/// Lengths of files, and their islands of data.
const HOLES: [(u64, &[(u64, usize)]); 8] = [
    // All hole, on and off every grid.
    (9 << 20, &[]),
    ((5 << 20) + 4097, &[]),
    (100, &[]),
    // A hole at the start, at the end, at both.
    (9 << 20, &[((9 << 20) - 5000, 5000)]),
    (9 << 20, &[(0, 5000)]),
    ((9 << 20) + 77, &[(4 << 20, 70_000)]),
    // Off the grid, within one chunk, over the edges of chunks and of extents.
    (6 << 20, &[(1, 1), (65_535, 2), (200_001, 3), ((4 << 20) - 1, 2), ((6 << 20) - 1, 1)]),
    ((12 << 20) + 1, &[(70_000, 10), (82_000, 10), ((8 << 20) + 123, 300_000), (12 << 20, 1)]),
];

#[test]
fn holes_are_not_read() {
    let test = "holes_are_not_read";
    let folder = tempfile::tempdir().unwrap();
    if !has_holes(test, folder.path()) {
        return;
    }
    let input = folder.path().join("in");
    let dense = folder.path().join("dense");
    for (len, islands) in HOLES {
        sparse(&input, len, islands);
        let bytes = fs::read(&input).unwrap();
        // The same content without a hole gives the same container.
        fs::write(&dense, &bytes).unwrap();
        for io in backends(test) {
            for (direct, blake3) in [(true, false), (false, false), (true, true)] {
                let what = format!("{len} bytes, {islands:?}, {io}, {direct}, {blake3}");
                let io = if io == "uring" { IoMode::Uring } else { IoMode::Pwrite };
                let options = PackOptions {
                    chunk_log2: Some(16),
                    io,
                    direct,
                    blake3,
                    ..PackOptions::default()
                };
                let report = packed(&input, &options);
                assert_eq!(report.holes, untouched(len, 65_536, islands), "{what}");
                let packed_dense = packed(&dense, &options);
                assert_eq!(packed_dense.holes, 0, "{what}");
                let container = fs::read(input.with_extension("zst")).unwrap();
                let other = fs::read(dense.with_extension("zst")).unwrap();
                assert!(container == other, "{what}: holes make a difference");
            }
        }
        check(&input.with_extension("zst"), &bytes, &format!("{len} bytes, {islands:?}"));
    }
    let mut command = ringpack(["pack", "-v", "-f", "-1", "--chunk-size", "1M"]);
    sparse(&input, 64 << 20, &[(0, 4096)]);
    let said = run(command.arg(&input)).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("63.00 MiB of holes not read"), "{said}");
}

#[test]
fn a_large_image_of_holes() {
    const LEN: u64 = 20 << 30;
    let test = "a_large_image_of_holes";
    let folder = tempfile::tempdir().unwrap();
    if !has_holes(test, folder.path()) {
        return;
    }
    let (input, restored) = (folder.path().join("in"), folder.path().join("restored"));
    let islands = [(0, 100_000), (3 << 30, 5_000_000), ((17 << 30) + 12_345, 77), (LEN - 9, 9)];
    sparse(&input, LEN, &islands);
    succeed(ringpack(["pack", "-1"]).arg(&input));
    let container = input.with_extension("zst");
    let data: u64 = islands.iter().map(|&(_, len)| len as u64).sum();
    // A block for each extent, an index and a table entry for each chunk.
    let most = data + (LEN >> 22) * 4096 + (LEN >> 20) * 64;
    assert!(fs::metadata(&container).unwrap().len() < most);
    succeed(ringpack(["unpack", "-o"]).arg(&restored).arg(&container));
    let found = fs::metadata(&restored).unwrap();
    assert_eq!(found.len(), LEN);
    // Each island and what is around it within the smallest hole that is made.
    let most = data + 4 * 2 * (64 << 10);
    assert!(found.blocks() * 512 <= most, "{} bytes are allocated", found.blocks() * 512);
    let (input, restored) = (fs::File::open(input).unwrap(), fs::File::open(restored).unwrap());
    for (offset, len) in islands {
        let start = offset.saturating_sub(4096);
        let len = (len + 8192).min((LEN - start) as usize);
        let (mut packed, mut unpacked) = (vec![1; len], vec![2; len]);
        input.read_exact_at(&mut packed, start).unwrap();
        restored.read_exact_at(&mut unpacked, start).unwrap();
        assert!(packed == unpacked, "around {offset}");
    }
}

/// How an input changes, given its path and its length.
type Change = fn(&Path, u64);

fn open(path: &Path) -> fs::File {
    fs::OpenOptions::new().write(true).open(path).unwrap()
}

/// Changes to an input, and what is said of them.
const CHANGES: [(&str, Change, &str); 6] = [
    ("halved", |path, len| open(path).set_len(len / 2).unwrap(), "shrank from"),
    ("a byte less", |path, len| open(path).set_len(len - 1).unwrap(), "shrank from"),
    ("emptied", |path, _| open(path).set_len(0).unwrap(), "shrank from"),
    ("a byte more", |path, len| open(path).set_len(len + 1).unwrap(), "grew from"),
    ("appended to", |path, len| open(path).write_all_at(&[7; 9 << 20], len).unwrap(), "grew from"),
    ("rewritten", |path, _| open(path).write_all_at(b"other", 5).unwrap(), "was written to"),
];

/// An input whose time of modification is long past, so that any change of it shows.
fn aged(folder: &Path, len: usize) -> PathBuf {
    let input = folder.join("in");
    fs::write(&input, content(len, 1)).unwrap();
    let past = SystemTime::now() - Duration::from_secs(3600);
    open(&input).set_modified(past).unwrap();
    input
}

#[test]
fn an_input_that_changes_while_it_is_read() {
    const LEN: usize = 17 * MIB + 5;
    let test = "an_input_that_changes_while_it_is_read";
    for io in backends(test) {
        for (name, change, said) in CHANGES {
            // At the first extent, in the middle, and when all is read.
            for (step, nth) in [(Step::Read, 1), (Step::Read, 3), (Step::Write, 5)] {
                for direct in [true, false] {
                    let what = format!("{name} at {step:?} {nth}, {io}, direct {direct}");
                    let folder = tempfile::tempdir().unwrap();
                    let input = aged(folder.path(), LEN);
                    let target = folder.path().join("out");
                    fs::write(&target, "old").unwrap();
                    let (changed, count) = (input.clone(), AtomicUsize::new(0));
                    let disk = WatchedDisk::new(OsDisk, move |taken| {
                        if taken == step && count.fetch_add(1, SeqCst) + 1 == nth {
                            change(&changed, LEN as u64);
                        }
                    });
                    let options = PackOptions {
                        codec: Codec::Store,
                        io: if io == "uring" { IoMode::Uring } else { IoMode::Pwrite },
                        threads: Some(2),
                        direct,
                        replace: true,
                        ..PackOptions::default()
                    };
                    let disk: &dyn Disk = &disk;
                    let (from, to) = (Input::Path(input), Output::Path(target.clone()));
                    let error = pack(disk, from, to, &options, &Cancel::new()).expect_err(&what);
                    assert_eq!(error.kind(), ErrorKind::InputChanged, "{what}: {error}");
                    let text = error.to_string();
                    // A read finds the end too early, and can't know the new length.
                    let early = text.contains("shrank while it was read");
                    let is_said = text.contains(said) || said == "shrank from" && early;
                    assert!(is_said && text.contains("/in: "), "{what}: {text}");
                    assert_eq!(names(folder.path()), ["in", "out"], "{what}");
                    assert_eq!(fs::read(&target).unwrap(), b"old", "{what}");
                }
            }
        }
    }
}

#[test]
fn the_program_says_that_the_input_changed() {
    for (name, change, _) in CHANGES {
        let folder = tempfile::tempdir().unwrap();
        let input = aged(folder.path(), 24 * MIB);
        let mut running = Running::start(ringpack(["pack", "-5", "-T1"]).arg(&input));
        let partial = folder.path().join("in.zst.ringpack-partial");
        // By now the input is open; stopped, the program waits for the change.
        until("the partial file is there", || partial.exists());
        running.signal(Signal::SIGSTOP);
        assert!(partial.exists(), "{name}: stopped in the middle");
        change(&input, 24 << 20);
        running.signal(Signal::SIGCONT);
        let output = running.end();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(10), "{name}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{name}: {stderr}");
        assert!(stderr.contains("/in: ") && stderr.contains("snapshot"), "{name}: {stderr}");
        assert_eq!(names(folder.path()), ["in"], "{name}");
    }
}

/// Peak memory of the largest child so far, in bytes.
fn peak() -> u64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() as u64 * 1024
}

/// Packs `len` bytes from a pipe, made on the way.
fn pack_stream(len: u64, threads: &str, args: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = ringpack(["pack", "-", "-T", threads, "-o"]);
    command.arg(folder.path().join("out")).args(args).stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    let mut pipe = running.child().stdin.take().unwrap();
    // Compresses well, and differs from chunk to chunk.
    let mut piece = vec![0; 256 * KIB];
    let mut random = Random(len);
    for at in 0..len / piece.len() as u64 {
        let word = random.next().to_le_bytes();
        piece[..8].copy_from_slice(&word);
        piece[100_000..100_008].copy_from_slice(&at.to_le_bytes());
        pipe.write_all(&piece).unwrap();
    }
    drop(pipe);
    let output = running.end();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The memory of a job is set by its threads, not by the length of what it packs. This has to be
/// alone in its process, as nextest runs it, for the peak is that of all children.
#[test]
fn memory_stays_flat() {
    const THREADS: u64 = 2;
    let before = peak();
    for args in [&["-1"][..], &["-1", "--io", "pwrite"]] {
        pack_stream(256 << 20, "2", args);
        let short = peak();
        pack_stream(2 << 30, "2", args);
        let long = peak();
        assert!(short > before.min(1 << 20), "something was measured");
        assert!(long - short < 16 << 20, "{args:?}: {short} bytes grew to {long}");
        let most = (64 << 20) + THREADS * (32 << 20);
        assert!(long < most, "{args:?}: {long} bytes are more than {most}");
    }
}

/// A pipe that is closed at once, and one whose writer dies, end as streams end.
#[test]
fn a_pipe_that_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let mut command = ringpack(["pack", "-", "-f", "-o"]);
    let mut running = Running::start(command.arg(&output).stdin(Stdio::piped()));
    drop(running.child().stdin.take());
    assert!(running.end().status.success());
    check(&output, &[], "a pipe without a byte");
}

/// Holds a lease on the file that it is given until somebody else opens that.
const LEASED: &str = r#"
import fcntl, os, signal, sys
file = os.open(sys.argv[1], os.O_RDWR)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
signal.sigwait([signal.SIGIO])
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
"#;

#[test]
fn a_file_whose_lease_another_program_holds_is_waited_for() {
    let test = "a_file_whose_lease_another_program_holds_is_waited_for";
    if !has_tool("python3") {
        return skip(test, "python3 is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let (tree, out) = (folder.path().join("tree"), folder.path().join("out"));
    fs::create_dir(&tree).unwrap();
    let file = tree.join("file");
    fs::write(&file, content(100 * KIB, 1)).unwrap();
    for input in [&file, &tree] {
        let mut holder = Command::new("python3");
        holder.args(["-c", LEASED]).arg(&file).stdout(Stdio::piped());
        let mut holder = Running::with(&mut holder);
        let mut held = [0; 5];
        holder.child().stdout.take().unwrap().read_exact(&mut held).unwrap();
        succeed(ringpack(["pack", "-q"]).arg(input).arg("-o").arg(&out));
        succeed(ringpack(["verify", "--decode"]).arg(&out));
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn files_that_the_kernel_makes_up() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for path in [
        "/proc/sys/kernel/ostype",
        "/proc/cpuinfo",
        "/proc/self/mounts",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/notes",
    ] {
        let Ok(expected) = fs::read(path) else { continue };
        succeed(ringpack(["pack", "-q", path, "-o"]).arg(&out));
        let packed = zstd::decode_all(&*fs::read(&out).unwrap()).unwrap();
        // Others may be mounting at this moment, and processors change their speed.
        let is_steady = !matches!(path, "/proc/self/mounts" | "/proc/cpuinfo");
        assert!(!packed.is_empty() && (!is_steady || packed == expected), "{path}");
        fs::remove_file(&out).unwrap();
    }
}
