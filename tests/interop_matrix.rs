//! The matrix of docs/INTEROPERABILITY.md: each reader opens a container of each kind.
//!
//! A row is a reader, a column a kind of container; a cell is an equal content, and equal ranges
//! where the reader reads ranges. Contents are small: `tests/interoperability.rs` has the sizes.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{assert_same, content, has_tool, ringpack, run, run_with_input, skip, succeed};

/// What the readers in Python end with where a module is missing.
const MISSING: i32 = 77;

/// The columns: what each is called, how it is packed, and how many bytes it holds.
const KINDS: [(&str, &[&str], usize); 9] = [
    ("dense, level 3", &["-3"], 400_000),
    ("dense, level 1, BLAKE3", &["-1", "--digest", "blake3"], 400_000),
    ("dense, level 19", &["-19"], 150_000),
    ("dense, stored", &["--store"], 400_000),
    ("slots, level 3", &["-3", "--placement", "slots"], 400_000),
    ("slots, stored", &["--store", "--placement", "slots"], 400_000),
    ("streamed", &[], 400_000),
    ("empty", &[], 0),
    ("one byte", &[], 1),
];

/// A container of each kind, and its content beside it.
fn columns(folder: &Path) -> Vec<(&'static str, PathBuf, PathBuf)> {
    let column = |(number, &(what, args, len)): (usize, &(&'static str, &[&str], usize))| {
        let bytes = content(len, number as u64);
        let original = folder.join(format!("{number}"));
        let packed = folder.join(format!("{number}.zst"));
        fs::write(&original, &bytes).unwrap();
        let mut pack = ringpack(["pack", "--chunk-size", "64K"]);
        pack.args(args);
        if what == "streamed" {
            fs::write(&packed, run_with_input(pack.arg("-"), &bytes).stdout).unwrap();
        } else {
            succeed(pack.arg("-o").arg(&packed).arg(&original));
        }
        (what, packed, original)
    };
    KINDS.iter().enumerate().map(column).collect()
}

/// Has a reader write the content of each to its standard output.
fn check(reader: &str, args: &[&str], refuses: &[&str]) {
    if !has_tool(reader) {
        return skip("interop_matrix", &format!("{reader} isn't installed"));
    }
    let folder = tempfile::tempdir().unwrap();
    for (what, packed, original) in columns(folder.path()) {
        let output = run(Command::new(reader).args(args).arg(&packed));
        let is_refused = refuses.contains(&what);
        assert_eq!(output.status.success(), !is_refused, "{reader}: {what}: {output:?}");
        if !is_refused {
            let expected = fs::read(&original).unwrap();
            assert_same(&output.stdout, &expected, &format!("{reader}: {what}"));
        }
    }
}

#[test]
fn zstd() {
    check("zstd", &["-dcq"], &[]);
    let folder = tempfile::tempdir().unwrap();
    for (_, packed, _) in columns(folder.path()) {
        succeed(Command::new("zstd").arg("-tq").arg(&packed));
        succeed(Command::new("zstd").arg("-l").arg(&packed));
    }
}

#[test]
fn pzstd() {
    check("pzstd", &["-dcq"], &[]);
}

#[test]
fn bsdcat_of_libarchive() {
    check("bsdcat", &[], &[]);
}

#[test]
fn seven_zip() {
    check("7zz", &["x", "-so"], &[]);
}

/// Has a program compare each container with its content.
fn check_comparing(what_reads: &str, command: &dyn Fn() -> Command) {
    let folder = tempfile::tempdir().unwrap();
    for (what, packed, original) in columns(folder.path()) {
        let output = run(command().args([&packed, &original]));
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(MISSING) {
            return skip("interop_matrix", &stderr);
        }
        assert!(output.status.success(), "{what_reads}: {what}: {stderr}");
    }
}

/// By whole and by a range in its middle; `tests/interoperability.rs` draws ranges.
#[test]
fn zeekstd() {
    let folder = tempfile::tempdir().unwrap();
    for (what, packed, original) in columns(folder.path()) {
        let expected = fs::read(&original).unwrap();
        let mut reader = zeekstd::Decoder::new(fs::File::open(&packed).unwrap()).unwrap();
        for start in [0, expected.len() / 2] {
            let mut found = Vec::new();
            reader.seek(SeekFrom::Start(start as u64)).unwrap();
            reader.read_to_end(&mut found).unwrap();
            assert_same(&found, &expected[start..], &format!("zeekstd: {what} from {start}"));
        }
    }
}

fn venv(program: &str) -> Option<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = tests.join("../target/interop-venv/bin").join(program);
    if path.exists() {
        return Some(path);
    }
    skip("interop_matrix", &format!("{program} isn't in target/interop-venv: run .ci/setup"));
    None
}

fn check_python(script: &str, reader: &str) {
    let Some(python) = venv("python") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(script);
    check_comparing(reader, &|| {
        let mut command = Command::new(&python);
        command.arg(&script).arg(reader);
        command
    });
}

#[test]
fn pyzstd() {
    check_python("ranges.py", "pyzstd");
}

#[test]
fn indexed_zstd() {
    check_python("ranges.py", "indexed_zstd");
}

#[test]
fn zstandard() {
    check_python("streams.py", "zstandard");
}

#[test]
fn backports_zstd() {
    check_python("streams.py", "backports.zstd");
}

/// The official library, by whole and by range, in a program of its own.
#[test]
fn seekable_reference() {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("seekable_reference");
    if !program.exists() {
        return skip("interop_matrix", "seekable_reference isn't built: run `just build`");
    }
    check_comparing("the reference library", &|| Command::new(&program));
}

/// Archives: a tar in a container is listed and extracted without anyone unpacking it before.
fn archive(folder: &Path, args: &[&str]) -> (PathBuf, Vec<u8>) {
    let member = content(500_000, 7);
    fs::create_dir(folder.join("files")).unwrap();
    fs::write(folder.join("files/large"), &member).unwrap();
    fs::write(folder.join("files/small"), "a few bytes").unwrap();
    succeed(Command::new("tar").args(["-cf", "archive.tar", "files"]).current_dir(folder));
    let pack = &mut ringpack(["pack", "--rm", "--chunk-size", "64K", "archive.tar"]);
    succeed(pack.args(args).current_dir(folder));
    (folder.join("archive.tar.zst"), member)
}

fn check_archive(tool: &str, args: &[&str]) {
    if !has_tool(tool) {
        return skip("interop_matrix", &format!("{tool} isn't installed"));
    }
    for placement in ["dense", "slots"] {
        let folder = tempfile::tempdir().unwrap();
        let (packed, member) = archive(folder.path(), &["--placement", placement]);
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        succeed(Command::new(tool).args(args).arg(&packed).current_dir(&out));
        let what = format!("{tool}: {placement}");
        assert_same(&fs::read(out.join("files/large")).unwrap(), &member, &what);
        assert_same(&fs::read(out.join("files/small")).unwrap(), b"a few bytes", &what);
    }
}

#[test]
fn gnu_tar() {
    check_archive("tar", &["--zstd", "-xf"]);
}

#[test]
fn bsdtar() {
    check_archive("bsdtar", &["-xf"]);
}

/// ratarmount serves the members of an archive from within the container, by FUSE.
#[test]
fn ratarmount() {
    let Some(ratarmount) = venv("ratarmount") else { return };
    if !Path::new("/dev/fuse").exists() || !has_tool("fusermount3") {
        return skip("interop_matrix", "FUSE isn't there: ratarmount mounted nothing");
    }
    for placement in ["dense", "slots"] {
        let folder = tempfile::tempdir().unwrap();
        let (packed, member) = archive(folder.path(), &["--placement", placement]);
        let mount = folder.path().join("mount");
        fs::create_dir(&mount).unwrap();
        // It returns once the files can be read, and serves them in the background.
        let mounting = run(Command::new(&ratarmount).args([&packed, &mount]));
        let stderr = String::from_utf8_lossy(&mounting.stderr);
        if !mounting.status.success() && stderr.contains("fuse") {
            return skip("interop_matrix", &format!("ratarmount can't mount here: {stderr}"));
        }
        let found = fs::read(mount.join("files/large"));
        let unmounted = run(Command::new("fusermount3").arg("-u").arg(&mount));
        let found = found.unwrap_or_else(|error| panic!("{placement}: {error}: {stderr}"));
        assert_same(&found, &member, &format!("ratarmount: {placement}"));
        assert!(unmounted.status.success(), "{unmounted:?}");
    }
}
