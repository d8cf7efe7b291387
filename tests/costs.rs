//! What an extent costs, counted: operations, system calls, allocations, bytes copied, operations
//! that the kernel gives to a thread. Clocks are for `just gate`; these are the same on a busy
//! machine, so they are held to here.
//!
//! Each count is taken of two runs that differ in length alone, so that what a run costs once is
//! not in the difference.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use ringpack::pack::{Input, Output, PackOptions, PackReport, pack};
use ringpack::pipeline::IoMode;
use ringpack::ring::BackendKind;
use ringpack::units::align_up;
use ringpack::{Cancel, Codec, OsDisk};
use support::cases::noise;
use support::{backends, binary, has_tool, skip, succeed};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// One profile a process, so one test at a time.
static ONE: Mutex<()> = Mutex::new(());

const EXTENT: usize = 4 << 20;
const SHORT: usize = 8;
const LONG: usize = 40;
const EXTENTS: u64 = (LONG - SHORT) as u64;

/// A folder with so many extents of noise in `input`.
fn fill(folder: &Path, extents: usize) {
    fs::write(folder.join("input"), noise(extents * EXTENT, 1)).unwrap();
}

/// Packs what [`fill`] made.
fn pack_filled(folder: &Path, io: IoMode) -> PackReport {
    let options = PackOptions {
        codec: Codec::Store,
        io,
        replace: true,
        threads: Some(2),
        ..PackOptions::default()
    };
    let (from, to) = (Input::Path(folder.join("input")), Output::Path(folder.join("output")));
    pack(&OsDisk, from, to, &options, &Cancel::new()).unwrap()
}

#[test]
fn an_extent_costs_two_operations_in_few_calls() {
    let test = "an_extent_costs_two_operations_in_few_calls";
    if !backends(test).contains(&"uring") {
        return;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let [short, long] = [SHORT, LONG].map(|extents| {
        fill(folder.path(), extents);
        pack_filled(folder.path(), IoMode::Uring)
    });
    assert_eq!(long.run.tier.unwrap().kind, BackendKind::Uring);
    if (long.direct_input, long.direct_output) != (Some(true), Some(true)) {
        skip(test, "the file system of temporary files has no direct I/O");
        return;
    }
    let (header, short, long) = (long.header, short.run.counters, long.run.counters);
    // A read and a write, none of them asked for twice, each answered once.
    assert_eq!(long.submitted - short.submitted, 2 * EXTENTS);
    assert_eq!(long.completed - short.completed, 2 * EXTENTS);
    assert_eq!(long.resubmitted, 0);
    // No byte is read or written twice.
    assert_eq!(long.bytes_read, header.content_size);
    assert_eq!(long.bytes_written, align_up(header.data_end));
    // A turn enters the kernel once, whatever it has to hand over and to wait for: at the worst
    // one for each read and for each write.
    let enters = long.enters - short.enters.min(long.enters);
    assert!(enters <= 2 * EXTENTS + 8, "{enters} calls for {EXTENTS} extents");
    // Several at once, where there are several: all the reads ahead of the start.
    assert!(long.batch_max >= 3, "{long:?}");
    assert!(long.in_flight_max >= 3, "{long:?}");
}

#[test]
fn an_extent_costs_a_few_small_allocations() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let counted = |extents: usize| {
        fill(folder.path(), extents);
        let _profiler = dhat::Profiler::builder().testing().build();
        pack_filled(folder.path(), IoMode::Auto);
        let stats = dhat::HeapStats::get();
        (stats.total_blocks, stats.total_bytes)
    };
    // Whatever is allocated once, once.
    counted(SHORT);
    // The look for kernel workers, ten times a second, allocates too: the fewest of some runs.
    let fewest = |extents: usize| {
        let runs: Vec<_> = (0..4).map(|_| counted(extents)).collect();
        (runs.iter().map(|run| run.0).min().unwrap(), runs.iter().map(|run| run.1).min().unwrap())
    };
    let (short, long) = (fewest(SHORT), fewest(LONG));
    let blocks = long.0.saturating_sub(short.0) as f64 / EXTENTS as f64;
    let bytes = long.1.saturating_sub(short.1) as f64 / EXTENTS as f64;
    // Lists of its chunks, its runs of data, its spans on their two ways, and its records: ten
    // with what tables grow by now and then, and as many again for that look on a slow machine.
    assert!(blocks <= 20.0, "{blocks} allocations an extent");
    // Those lists are of hundreds of bytes, and that look's buffer is of 32 KiB. What is packed
    // goes through no memory but the two buffers, which are made once: a copy would be of a chunk
    // at least.
    assert!(bytes <= 65536.0, "{bytes} bytes allocated an extent");
}

#[test]
fn a_byte_is_copied_once_at_most() {
    let test = "a_byte_is_copied_once_at_most";
    if !has_tool("cc") {
        skip(test, "cc is not installed");
        return;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("copied.c"), include_str!("support/copied.c")).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-O3", "-shared", "-fPIC", "-fno-builtin", "-fno-tree-loop-distribute-patterns"]);
    succeed(cc.arg(path("copied.c")).arg("-o").arg(path("copied.so")));
    let copied = |args: &[&str], from: &str, to: Option<&str>| {
        let mut command = Command::new(binary());
        command.env("LD_PRELOAD", path("copied.so")).env("COPIED_TOLD", path("told"));
        // Confined, a command that reads writes no file that it wasn't asked for.
        command.env("RINGPACK_SANDBOX", "off");
        command.args(args).arg(path(from));
        if let Some(to) = to {
            command.arg("-fo").arg(path(to));
        }
        succeed(&mut command);
        let told = fs::read_to_string(path("told")).unwrap();
        fs::remove_file(path("told")).unwrap();
        told.trim().parse::<u64>().unwrap()
    };
    let [short, long] = [SHORT, LONG].map(|extents| {
        fill(folder.path(), extents);
        [
            copied(&["pack", "-q", "--store"], "input", Some("output")),
            copied(&["verify", "-q"], "output", None),
            copied(&["unpack", "-q"], "output", Some("restored")),
        ]
    });
    let content = EXTENTS * EXTENT as u64;
    let more = [0, 1, 2].map(|job| long[job] - short[job]);
    // Packing: from the chunk into its frame. Verifying reads in place. Unpacking: libzstd, from
    // the frame into the chunk.
    assert!(long[0] >= content, "the copies aren't seen: {long:?}");
    assert!(more[0] <= content, "pack copies {} bytes of {content}", more[0]);
    assert_eq!(more[1], 0, "verify copies");
    assert!(more[2] <= content, "unpack copies {} bytes of {content}", more[2]);
}

#[test]
fn an_extent_costs_two_answers_and_no_thread_of_the_kernel() {
    let test = "an_extent_costs_two_answers_and_no_thread_of_the_kernel";
    if !backends(test).contains(&"uring") {
        return;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let file_system = nix::sys::statfs::statfs(folder.path()).unwrap().filesystem_type();
    if file_system != nix::sys::statfs::EXT4_SUPER_MAGIC {
        skip(test, "temporary files are not on ext4, which allocated space is known of");
        return;
    }
    let events = ["submit_req", "complete", "queue_async_work"];
    let counted = || {
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-o"]).arg(path("told"));
        for event in events {
            command.arg("-e").arg(format!("io_uring:io_uring_{event}"));
        }
        command.arg(binary()).args(["pack", "-q", "-f", "--store", "-T2"]);
        command.arg(path("input")).arg("-o").arg(path("output"));
        if !command.output().is_ok_and(|output| output.status.success()) {
            return None;
        }
        let told = fs::read_to_string(path("told")).unwrap();
        let count = |event| {
            let line = told.lines().find(|line| line.contains(event))?;
            line.split(',').next()?.parse::<u64>().ok()
        };
        Some([count(events[0])?, count(events[1])?, count(events[2])?])
    };
    let mut runs = Vec::new();
    for extents in [SHORT, LONG] {
        fill(folder.path(), extents);
        // What the page cache has to write still, a direct read waits for, in a thread.
        fs::File::open(path("input")).unwrap().sync_all().unwrap();
        let of_length: Option<Vec<_>> = (0..3).map(|_| counted()).collect();
        let Some(of_length) = of_length else {
            skip(test, "perf can't count the kernel's events here");
            return;
        };
        // The kernel may want a thread where memory is short: the fewest of some runs.
        runs.push(of_length.into_iter().min_by_key(|run| run[2]).unwrap());
    }
    let (short, long) = (runs[0], runs[1]);
    assert_eq!(long[0] - short[0], 2 * EXTENTS, "operations handed over: {runs:?}");
    assert_eq!(long[1] - short[1], 2 * EXTENTS, "answers: {runs:?}");
    // None on a quiet machine. It would be every write where space isn't allocated ahead.
    assert!(long[2] < EXTENTS / 4, "operations given to a thread: {runs:?}");
}

#[test]
fn an_extent_costs_a_few_system_calls_of_any_kind() {
    let test = "an_extent_costs_a_few_system_calls_of_any_kind";
    if !has_tool("strace") {
        skip(test, "strace is not installed");
        return;
    }
    if !backends(test).contains(&"uring") {
        return;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let counted = |extents: usize| {
        let (input, output) = (folder.path().join("input"), folder.path().join("output"));
        let told = folder.path().join("told");
        fill(folder.path(), extents);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-c", "-U", "name,calls", "-o"]).arg(&told).arg(binary());
        command.args(["pack", "-q", "-f", "--store", "-T2"]).arg(&input).arg("-o").arg(&output);
        succeed(&mut command);
        let told = fs::read_to_string(&told).unwrap();
        let calls = told.lines().filter_map(|line| {
            let (name, count) = line.trim().split_once(char::is_whitespace)?;
            Some((name.to_owned(), count.trim().parse::<u64>().ok()?))
        });
        calls.filter(|(name, _)| name != "total").collect::<BTreeMap<_, _>>()
    };
    let (short, long) = (counted(SHORT), counted(LONG));
    assert!(long.contains_key("io_uring_enter"), "{long:?}");
    // What the look for kernel workers takes goes by the clock.
    let by_clock = ["read", "openat", "close", "newfstatat", "getdents64"];
    let counted = |call: &String| !by_clock.contains(&call.as_str());
    let sum = |calls: &BTreeMap<String, u64>| -> u64 {
        calls.iter().filter(|(call, _)| counted(call)).map(|(_, count)| count).sum()
    };
    let more = sum(&long).saturating_sub(sum(&short));
    // A read, a write; and threads that wake the coordinator, which may sleep again after each.
    assert!(more <= 10 * EXTENTS, "{more} calls for {EXTENTS} extents: {short:?}, {long:?}");
    // No extent is read or written but through the ring. (`read` looks for kernel workers, ten
    // times a second.)
    for call in ["pread64", "pwrite64", "write", "lseek", "fsync", "fdatasync", "fallocate"] {
        let count = |calls: &BTreeMap<String, u64>| calls.get(call).copied().unwrap_or(0);
        assert!(count(&long) <= count(&short) + 2, "{call}: {short:?}, {long:?}");
    }
}
