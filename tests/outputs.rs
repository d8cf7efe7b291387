//! Where outputs go: several of one command never into one file, and special files as what they
//! are.
//!
//! Every refusal here is one before anything is done: the folder is the same afterwards, byte for
//! byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use support::mount::LoopDevice;
use support::processes::{Running, until};
use support::{assert_same, binary, content, fail, is_root, ringpack, run, skip, succeed};

/// Everything below a folder: identity, length and content of files.
fn state(folder: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut rest = vec![folder.to_owned()];
    while let Some(path) = rest.pop() {
        let status = fs::symlink_metadata(&path).unwrap();
        let bytes = if status.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if status.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (status.ino(), bytes));
    }
    found
}

/// A folder with two of everything that can become one.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["d", "e", "out", "tree"] {
        fs::create_dir(at(name)).unwrap();
    }
    symlink("out", at("link-to-out")).unwrap();
    let files = ["d/f", "e/f", "d/g", "tree/member", "tree.tar", "one", "two", "d/one"];
    for (seed, name) in files.into_iter().enumerate() {
        fs::write(at(name), content(3_000 + seed, seed as u64)).unwrap();
    }
    for (from, to) in [("one", "x.tzst"), ("two", "x.tar.zst"), ("one", "y.zst"), ("two", "y.zstd")]
    {
        succeed(Command::new("zstd").arg("-q").arg(at(from)).arg("-o").arg(at(to)));
    }
    fs::copy(at("y.zst"), at("y.zst.zst")).unwrap();
    fs::copy(at("y.zst"), at("e/y.zst")).unwrap();
    // An input by other names, one of which is another's output.
    fs::hard_link(at("two"), at("one.zst")).unwrap();
    symlink("../one.zst", at("d/soft")).unwrap();
    folder
}

/// The program as `ringpack`, or as zstd by a link.
fn command(folder: &Path, line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = match words.next().unwrap() {
        "ringpack" => ringpack([""; 0]),
        "ringzstd" => {
            let link = folder.with_extension("ringzstd");
            let _ = symlink(binary(), &link);
            let mut command = Command::new(&link);
            command.stdin(Stdio::null());
            command
        }
        other => panic!("{other} is no program"),
    };
    command.args(words).current_dir(folder);
    command
}

#[test]
fn oc1_two_inputs_with_one_output_are_refused_before_anything_is_done() {
    let folder = folder();
    let before = state(folder.path());
    for line in [
        // Suffixes.
        "ringpack unpack -f --rm x.tzst x.tar.zst",
        "ringpack unpack -f --rm y.zst y.zstd",
        "ringzstd -df --rm x.tzst x.tar.zst",
        "ringzstd -df --rm y.zst y.zstd",
        // A directory beside a file.
        "ringpack pack -f tree tree.tar",
        "ringpack pack -f tree.tar ./tree/",
        // One directory for all.
        "ringzstd -f --rm --output-dir-flat=out d/f e/f",
        "ringzstd -f --rm --output-dir-flat out d/g d/f ./e/../e/f",
        "ringzstd -df --rm --output-dir-flat=out y.zst e/y.zst",
        "ringzstd -f --rm --output-dir-flat=link-to-out d/f ./e/f",
        // The output of one is an input, in either order and by another name.
        "ringpack unpack -f --rm y.zst.zst y.zst",
        "ringpack unpack -f --rm y.zst y.zst.zst",
        "ringzstd -f one one.zst",
        "ringzstd -f one.zst one",
        "ringpack pack -f one two",
        "ringpack pack -f one d/soft",
        "ringzstd -f one d/soft",
        "ringzstd -f d/f one -o d/../d/f",
        "ringzstd -f one two -o one.zst",
        "ringzstd -df y.zst y.zstd -o y.zst",
    ] {
        let output = run(&mut command(folder.path(), line));
        let said = String::from_utf8_lossy(&output.stderr);
        let code = if line.starts_with("ringzstd") { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(state(folder.path()) == before, "{line}: something was done: {said}");
    }
    let said = fail(&mut command(folder.path(), "ringpack pack -f tree tree.tar"), 2);
    for part in ["tree and ", "tree.tar", "tree.tar.zst", "nothing was done"] {
        assert!(said.contains(part), "{said}");
    }
    let _ = fs::remove_file(folder.path().with_extension("ringzstd"));
}

/// What loses nothing is done: without -f the second is refused by itself, and a file that is named
/// twice becomes the same output twice.
#[test]
fn oc1_inputs_whose_outputs_lose_nothing_are_done() {
    for (line, code, gone) in [
        ("ringpack unpack --rm x.tzst x.tar.zst", 7, "x.tzst"),
        ("ringpack pack -f d/f d/../d/f", 0, ""),
        ("ringpack pack -f d/f e/f", 0, ""),
        ("ringzstd -f d/f ./d/f", 0, ""),
        ("ringzstd -f --output-dir-flat=link-to-out d/f d/g", 0, ""),
    ] {
        let folder = folder();
        let output = run(&mut command(folder.path(), line));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        for name in ["x.tzst", "x.tar.zst", "d/f", "e/f"] {
            assert_eq!(folder.path().join(name).exists(), name != gone, "{line}: {name}");
        }
        let _ = fs::remove_file(folder.path().with_extension("ringzstd"));
    }
}

/// The metrics are a file that a command writes, too.
#[test]
fn metrics_take_no_input_or_output() {
    let folder = folder();
    let before = state(folder.path());
    for line in [
        "ringpack pack --metrics-file d/../two one two",
        "ringpack pack --metrics-file ./d/g.zst d/f d/g",
        "ringpack unpack --metrics-file out/../y y.zst.zst y.zstd",
        "ringpack verify --metrics-file ./y.zstd y.zst y.zstd",
    ] {
        let said = fail(&mut command(folder.path(), line), 2);
        assert!(said.contains("the metrics would take the place"), "{line}: {said}");
        assert!(state(folder.path()) == before, "{line}: something was done");
    }
}

/// FIFOs and character devices are written in order, stay what they are, and stand for no source.
#[test]
fn outputs_that_are_written_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plain = content(300_000, 5);
    fs::write(folder.join("in"), &plain).unwrap();
    succeed(ringpack(["pack", "in"]).current_dir(folder));
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&folder.join("fifo"), mode).unwrap();
    symlink("fifo", folder.join("link")).unwrap();
    let script = |text: &str| {
        let mut command = Command::new("bash");
        command.args(["-ec", &format!("set -o pipefail; {text}")]);
        command.env("RINGPACK", binary()).current_dir(folder).stdin(Stdio::null());
        succeed(&mut command)
    };
    script("ln -s \"$RINGPACK\" ringzstd");
    for (write, restore) in [
        ("\"$RINGPACK\" pack in -o", "zstd -dcq"),
        ("\"$RINGPACK\" pack -f in -o", "zstd -dcq"),
        ("\"$RINGPACK\" unpack in.zst -o", "cat"),
        ("./ringzstd in -o", "zstd -dcq"),
        ("./ringzstd --rm -f in -o", "zstd -dcq"),
        ("./ringzstd -d in.zst -o", "cat"),
        ("./ringzstd -df in.zst in.zst -o", "head -c 300000"),
        ("./ringzstd -f in in -o", "zstd -dcq | { head -c 300000; cat >/dev/null; }"),
    ] {
        for output in ["fifo", "link"] {
            let text =
                format!("{write} {output} & {{ {restore}; cat >/dev/null; }} <fifo; wait $!");
            assert_same(&script(&text), &plain, &text);
        }
        let text = format!("{write} /dev/stdout | {{ {restore}; cat >/dev/null; }}");
        assert_same(&script(&text), &plain, &text);
        // The shell doesn't wait for a substituted process, but for its end of the pipe.
        let text = format!("{{ {write} >( {{ {restore}; cat >/dev/null; }} >&3 ); }} 3>&1 | cat");
        assert_same(&script(&text), &plain, &text);
        script(&format!("{write} /dev/null"));
    }
    script("[ -p fifo ] && [ -L link ] && [ -c /dev/null ] && [ -L /dev/stdout ] && [ -f in ]");
    let full = ringpack(["pack", "in", "-o", "/dev/full"]).current_dir(folder).status().unwrap();
    assert_eq!(full.code(), Some(9));
    for args in [["pack", "--rm", "in"], ["pack", "--resume", "in"], ["unpack", "--rm", "in.zst"]] {
        fail(ringpack(args).args(["-o", "fifo"]).current_dir(folder), 2);
    }
}

/// A FIFO without a reader can be given up.
#[test]
fn waiting_for_a_reader_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("in"), b"text").unwrap();
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&folder.join("fifo"), mode).unwrap();
    let mut packing = Running::start(ringpack(["pack", "in", "-o", "fifo"]).current_dir(folder));
    let status = format!("/proc/{}/status", packing.child().id());
    until("the program takes signals", || {
        let status = fs::read_to_string(&status).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(blocked.trim(), 16).unwrap() & (1 << (Signal::SIGINT as i32 - 1)) != 0
    });
    packing.signal(Signal::SIGINT);
    assert_eq!(packing.end().status.code(), Some(130));
}

/// Beside a device there is `/dev`, which is kept in memory.
#[test]
fn a_device_is_not_packed_into_dev() {
    if !is_root() {
        return skip("a_device_is_not_packed_into_dev", "needs root for loop devices");
    }
    let folder = tempfile::tempdir().unwrap();
    let plain = content(1 << 20, 6);
    let image = folder.path().join("image");
    fs::write(&image, &plain).unwrap();
    let Some(device) = LoopDevice::attach("a_device_is_not_packed_into_dev", &image) else {
        return;
    };
    let link = folder.path().join("link");
    symlink(device.path(), &link).unwrap();
    let beside = PathBuf::from(format!("{}.zst", device.path().display()));
    for args in [&["pack"][..], &["pack", "-f"], &["-f"], &["-zf"]] {
        let output = run(ringpack(args).arg(device.path()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("-o"), "{args:?}: {said}");
        assert!(!beside.exists(), "{args:?}");
    }
    // A link to it elsewhere has its output beside it.
    succeed(ringpack(["pack"]).arg(&link));
    succeed(ringpack(["pack"]).arg(device.path()).arg("-o").arg(folder.path().join("named.zst")));
    for name in ["link.zst", "named.zst"] {
        let restored = succeed(Command::new("zstd").arg("-dcq").arg(folder.path().join(name)));
        assert_same(&restored, &plain, name);
    }
    assert!(fs::metadata(device.path()).unwrap().file_type().is_block_device());
}
