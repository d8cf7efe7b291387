//! `ringpack bench`: what it says, and that it leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use support::mount::{FileSystem, Mount};
use support::processes::{Running, until};
use support::{content, ringpack, run, succeed};

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn the_table_names_limits_bottlenecks_and_the_tier() {
    let folder = tempfile::tempdir().unwrap();
    let table = succeed(
        ringpack(["bench", "-1", "--size", "9M", "--rounds", "2", "--dir"]).arg(folder.path()),
    );
    let table = String::from_utf8(table).unwrap();
    for line in [
        "device  write",
        "device  read",
        "device  copy",
        "codec   encode ",
        "codec   encode, all cores",
        "codec   decode ",
        "codec   decode, all cores",
        "engine  pack",
        "engine  unpack",
        "engine  verify",
        "pack     ",
        "unpack   ",
        "verify   ",
        "range    4 KiB in",
    ] {
        assert!(table.lines().any(|it| it.starts_with(line)), "{line}:\n{table}");
    }
    assert!(table.contains("of what ") && table.contains(" allows"), "{table}");
    assert!(table.contains("tier ") && table.contains("zstd -1"), "{table}");
    assert!(is_empty(folder.path()));
}

#[test]
fn json_has_every_round_and_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    let size = (8 << 20) + 4321;
    fs::write(&input, content(size, 3)).unwrap();
    let dir = folder.path().join("dir");
    fs::create_dir(&dir).unwrap();
    // An input that is shorter than asked for is measured as it is.
    let args = ["bench", "--store", "--json", "--rounds", "3", "--size", "1G"];
    let mut command = ringpack(args);
    let json = succeed(command.args(["--chunk-size", "64K", "--dir"]).arg(&dir).arg(&input));
    let report: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(report["content_size"], size);
    assert_eq!(report["chunk_len"], 65536);
    let figures = report["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 11);
    for figure in figures {
        let walls = figure["wall"].as_array().unwrap();
        assert_eq!((walls.len(), figure["cpu"].as_array().unwrap().len()), (3, 3), "{figure}");
        assert!(walls.iter().all(|wall| wall.as_f64().unwrap() > 0.0), "{figure}");
    }
    let seconds = |name: &str| {
        let figure = figures.iter().find(|figure| figure["name"] == name).unwrap();
        let mut walls: Vec<f64> =
            figure["wall"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        walls.sort_by(f64::total_cmp);
        walls[1]
    };
    for job in report["jobs"].as_array().unwrap() {
        let limit = job["limit_seconds"].as_f64().unwrap();
        let reached = limit / seconds(job["name"].as_str().unwrap());
        assert!((reached - job["reached"].as_f64().unwrap()).abs() < 1e-9, "{job}");
    }
    assert!(is_empty(&dir));
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::write(&input, b"too little").unwrap();
    let dir = folder.path().join("dir");
    fs::create_dir(&dir).unwrap();
    let check = |args: &[&str], code: i32, what: &str| {
        let output = run(ringpack(["bench"]).args(args).current_dir(&dir));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(what) && stderr.lines().count() <= 3, "{args:?}: {stderr}");
        assert!(output.stdout.is_empty() && is_empty(&dir), "{args:?}");
    };
    check(&["../input"], 3, "fewer than 8388608 bytes");
    check(&["../nothing"], 3, "nothing");
    check(&["--dir", "../nowhere"], 8, "--dir");
    check(&["--size", "1M"], 2, "fewer than 8388608");
    check(&["--rounds", "0"], 2, "0 is not in 1..");
    check(&["--size", "x"], 2, "--size");
}

#[test]
fn a_full_disk_is_said_and_left_empty() {
    let test = "a_full_disk_is_said_and_left_empty";
    let Some(disk) = Mount::new(test, FileSystem::Ext4, 64) else { return };
    let output = run(ringpack(["bench", "--size", "40M", "--dir"]).arg(disk.path()));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(9), "{stderr}");
    let left = fs::read_dir(disk.path()).unwrap().flatten();
    let left: Vec<_> = left.filter(|entry| entry.file_name() != "lost+found").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn interrupted_it_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = ringpack(["bench", "--size", "64M", "--rounds", "1000", "--dir"]);
    let mut running = Running::start(command.arg(folder.path()).stdout(Stdio::null()));
    until("there is a folder to measure in", || !is_empty(folder.path()));
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().status.code(), Some(130));
    assert!(is_empty(folder.path()));
}
