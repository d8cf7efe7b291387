//! zstd's flags mean here what they mean to zstd: both are run side by side on the same files, and
//! have to leave the same names, the same content under them and on standard output, and the same
//! exit code.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{assert_same, binary, content, has_tool, names, run_with_input, skip, succeed};

/// A folder with files to work on.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a"), content(50_000, 1)).unwrap();
    fs::write(at("b"), content(20_000, 2)).unwrap();
    fs::write(at("empty"), b"").unwrap();
    fs::write(at("plain"), b"text\n").unwrap();
    fs::write(at("bad.zst"), b"text\n").unwrap();
    fs::write(at("names"), b"a\nb\n").unwrap();
    fs::create_dir(at("dir")).unwrap();
    for (from, to) in [("a", "a2.zst"), ("b", "b2.zst"), ("b", "t.tzst")] {
        succeed(Command::new("zstd").args(["-q", "-o"]).arg(at(to)).arg(at(from)));
    }
    let mut damaged = fs::read(at("a2.zst")).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(at("damaged.zst"), damaged).unwrap();
    fs::copy(at("a"), at("dir/x")).unwrap();
    fs::copy(at("b"), at("dir/y")).unwrap();
    symlink("a", at("link")).unwrap();
    folder
}

/// A link to the program, or zstd itself.
fn tool(links: &Path, name: &str) -> PathBuf {
    let link = links.join(name);
    if !link.exists() {
        let program = if name.starts_with("zstd") { "/usr/bin/zstd".into() } else { binary() };
        symlink(program, &link).unwrap();
    }
    link
}

/// What a run left: its code, what it wrote to standard output, and every file.
#[derive(PartialEq, Eq)]
struct Left {
    code: Option<i32>,
    stdout: Vec<u8>,
    files: Vec<(String, Vec<u8>)>,
}

fn leave(program: &Path, args: &[&str], input: &[u8]) -> (Left, String) {
    let folder = folder();
    let mut command = Command::new(program);
    command.args(args).current_dir(folder.path());
    let output = run_with_input(&mut command, input);
    let mut files = Vec::new();
    for sub in ["", "dir"] {
        let sub = folder.path().join(sub);
        for name in names(&sub).into_iter().filter(|name| sub.join(name).is_file()) {
            files.push((name.clone(), decoded(&fs::read(sub.join(&name)).unwrap())));
        }
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (Left { code: output.status.code(), stdout: decoded(&output.stdout), files }, stderr)
}

/// The content, where it is a Zstandard file; else the bytes.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let decoded = run_with_input(Command::new("zstd").args(["-dcq"]), bytes);
    if decoded.status.success() { decoded.stdout } else { bytes.to_vec() }
}

/// Runs both with the same arguments, as called by these names.
fn check(zstd: &str, ours: &str, args: &[&str], input: &[u8]) {
    let links = tempfile::tempdir().unwrap();
    let (expected, said_by_zstd) = leave(&tool(links.path(), zstd), args, input);
    let (found, said) = leave(&tool(links.path(), ours), args, input);
    let what = format!("{ours} {args:?}: {said}\nwhere zstd says: {said_by_zstd}");
    assert_eq!(found.code, expected.code, "{what}");
    assert_same(&found.stdout, &expected.stdout, &what);
    let listed = |left: &Left| left.files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(listed(&found), listed(&expected), "{what}");
    for ((name, found), (_, expected)) in found.files.iter().zip(&expected.files) {
        assert_same(found, expected, &format!("{name}: {what}"));
    }
}

fn check_all(table: &[&str]) {
    for args in table {
        let args: Vec<&str> = args.split(' ').filter(|arg| !arg.is_empty()).collect();
        check("zstd", "ringzstd", &args, b"");
    }
}

#[test]
fn packing() {
    check_all(&[
        "a",
        "a b",
        "-3 a",
        "-k a",
        "--rm a",
        "--rm a b",
        "-19 a -o out",
        "-o out a",
        "-c a",
        "-c a b",
        "-T0 a",
        "-T2 -5kq a",
        "--ultra -22 a",
        "-25 a",
        "--fast a",
        "--fast=3 a",
        "--long a",
        "--no-check a",
        "--check a",
        "--format=zstd a",
        "--no-progress a",
        "-- a",
        "-9 -- a",
        "-1 a -3 b",
        "empty",
        "a2.zst",
        "-c --rm a",
        "--rm -c a",
        "--rm -k a",
        "-zq a",
        "--threads=2 a",
        "--single-thread a",
        "--sparse a",
        "--output-dir-flat dir a",
    ]);
}

#[test]
fn unpacking() {
    check_all(&[
        "-d a2.zst",
        "-d a2.zst b2.zst",
        "-d --rm a2.zst",
        "-dc a2.zst b2.zst",
        "-dc a2.zst",
        "-d t.tzst",
        "-d a",
        "-d plain",
        "-d bad.zst",
        "-d bad.zst a2.zst",
        "-dc bad.zst",
        "-dcf plain",
        "-dcf bad.zst",
        "-df bad.zst",
        "-d empty",
        "-d damaged.zst",
        "-d -z a",
        "-z -d a2.zst",
        "--decompress a2.zst",
        "--uncompress a2.zst",
        "-d a2.zst -o a",
        "-fd a2.zst -o a",
        "-d a2.zst --output-dir-flat dir",
        "--long=27 -d a2.zst",
        "-M128MB -d a2.zst",
        "--memory=128MB -d a2.zst",
        "-d --no-sparse a2.zst",
        "-d --rm damaged.zst",
        "-d damaged.zst b2.zst",
    ]);
}

#[test]
fn testing() {
    check_all(&[
        "-t a2.zst",
        "-t a2.zst b2.zst",
        "-t bad.zst",
        "-t bad.zst a2.zst",
        "-t a",
        "-t damaged.zst",
        "--test a2.zst",
        "-t missing",
        "-t missing a2.zst",
    ]);
}

#[test]
fn what_is_named_and_what_is_taken() {
    check_all(&[
        "missing",
        "missing a",
        "a missing",
        "link",
        "-f link",
        "link a",
        "dir",
        "-r dir",
        "-rq dir a",
        "-q a a",
        "a b -o out",
        "-f a b -o out",
        "--filelist=names",
        "--filelist names",
        "-l",
        "-l missing",
        "-qq missing",
        "-o",
        "--frob a",
        "-x a",
        "--format=frob a",
    ]);
}

/// What stands under the output's name stays, unless forced; nobody can be asked here.
#[test]
fn what_is_there_is_kept() {
    for (tool_name, force, code) in
        [("zstd", false, 1), ("ringzstd", false, 1), ("zstd", true, 0), ("ringzstd", true, 0)]
    {
        let (folder, links) = (folder(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("a.zst"), b"in the way").unwrap();
        let mut command = Command::new(tool(links.path(), tool_name));
        command.args(["-q", "a"]).args(force.then_some("-f")).current_dir(folder.path());
        let output = run_with_input(&mut command, b"");
        assert_eq!(output.status.code(), Some(code), "{tool_name}, forced: {force}");
        let kept = fs::read(folder.path().join("a.zst")).unwrap() == b"in the way";
        assert_eq!(kept, !force, "{tool_name}");
    }
}

#[test]
fn standard_input_and_output() {
    let plain = content(40_000, 3);
    let packed = run_with_input(Command::new("zstd").args(["-cq"]), &plain).stdout;
    for args in [&[][..], &["-"], &["-c"], &["-19"], &["-", "-o", "out"], &["-o", "out"]] {
        check("zstd", "ringzstd", args, &plain);
    }
    for args in [&["-d"][..], &["-dc"], &["-d", "-"], &["-t"], &["-d", "-o", "out"], &["-dcf"]] {
        check("zstd", "ringzstd", args, &packed);
        check("zstd", "ringzstd", args, b"");
        check("zstd", "ringzstd", args, &packed[..packed.len() - 5]);
    }
    check("zstd", "ringzstd", &["-d"], &plain);
    check("zstd", "ringzstd", &["-dcf"], &plain);
}

#[test]
fn names_of_the_program() {
    for args in [&["a2.zst"][..], &["-c", "a2.zst"], &["plain"], &["bad.zst"]] {
        check("zstdcat", "ringzstdcat", args, b"");
    }
    // The link of that name isn't everywhere, but the meaning is.
    let links = tempfile::tempdir().unwrap();
    for args in [&["a2.zst"][..], &["a2.zst", "b2.zst"], &["plain"], &["-c", "a2.zst"]] {
        let (expected, _) = leave(&tool(links.path(), "zstd"), &[&["-d"], args].concat(), b"");
        let (found, said) = leave(&tool(links.path(), "unringzstd"), args, b"");
        assert!(found == expected, "unringzstd {args:?}: {said}");
        // Without a link, a flag stands where the subcommand would.
        let (found, said) = leave(&binary(), &[&["-d"], args].concat(), b"");
        assert!(found == expected, "ringpack -d {args:?}: {said}");
    }
}

/// `-l` shows the same to the letter, of others' files and of ours.
#[test]
fn listing() {
    let (folder, links) = (folder(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let big = content(3_000_000, 4);
    fs::write(folder.join("big"), &big).unwrap();
    let ours = |args: &[&str]| {
        let mut command = Command::new(tool(links.path(), "ringzstd"));
        command.args(args).current_dir(folder);
        command
    };
    succeed(&mut ours(&["-q", "big"]));
    let streamed = run_with_input(Command::new("zstd").args(["-cq"]), &big).stdout;
    fs::write(folder.join("streamed.zst"), streamed).unwrap();
    let skippable = [0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    fs::write(folder.join("skippable.zst"), skippable).unwrap();
    let no_check = &mut Command::new("zstd");
    succeed(no_check.args(["-q", "--no-check", "b", "-o", "unchecked.zst"]).current_dir(folder));
    for files in [
        &["a2.zst"][..],
        &["big.zst"],
        &["streamed.zst"],
        &["skippable.zst"],
        &["unchecked.zst"],
        &["a2.zst", "big.zst", "b2.zst"],
        &["a2.zst", "unchecked.zst", "streamed.zst", "skippable.zst"],
    ] {
        let args = [&["-l"], files].concat();
        let expected = succeed(Command::new("zstd").args(&args).current_dir(folder));
        let found = succeed(&mut ours(&args));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(text(found), text(expected), "{files:?}");
    }
    let output = run_with_input(&mut ours(&["-l", "plain", "a2.zst"]), b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("a2.zst"));
    let verbose = String::from_utf8(succeed(&mut ours(&["-lv", "a2.zst"]))).unwrap();
    let by_zstd = succeed(Command::new("zstd").args(["-lv", "a2.zst"]).current_dir(folder));
    let by_zstd = String::from_utf8(by_zstd).unwrap();
    for line in by_zstd.lines().filter(|line| line.starts_with("Ratio") || line.contains(" Size")) {
        assert!(verbose.lines().any(|found| found == line), "{line} isn't in: {verbose}");
    }
}

/// Levels 20 to 22 ask no decoder for more than the others do.
#[test]
fn ultra_levels_open_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let original = content(9 << 20, 5);
    fs::write(folder.join("in"), &original).unwrap();
    let refused = support::fail(support::ringpack(["pack", "-22", "in"]).current_dir(folder), 2);
    assert!(refused.contains("--ultra"), "{refused}");
    let args = ["pack", "--ultra", "-22", "--chunk-size", "8M", "in"];
    succeed(support::ringpack(args).current_dir(folder));
    // Half of what it takes by default is enough.
    let by_zstd = &mut Command::new("zstd");
    let restored = succeed(by_zstd.args(["-dcq", "-M64MB", "in.zst"]).current_dir(folder));
    assert_same(&restored, &original, "zstd -d");
}

/// Binary output isn't written to a terminal nor read from one, unless asked for.
#[test]
fn terminals() {
    if !has_tool("script") {
        return skip("terminals", "script (util-linux) is not installed");
    }
    let (folder, links) = (folder(), tempfile::tempdir().unwrap());
    let on_a_terminal = |args: &str| {
        let program = tool(links.path(), "ringzstd");
        let output = Command::new("script")
            .args(["-qec", &format!("'{}' {args}", program.display()), "/dev/null"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for args in ["", "-d", "- <a", "-d - <damaged.zst"] {
        let (code, said) = on_a_terminal(args);
        assert_eq!(code, Some(1), "{args}: {said}");
        assert!(said.contains("terminal"), "{args}: {said}");
    }
    succeed(Command::new("zstd").args(["-q", "plain"]).current_dir(folder.path()));
    let (code, said) = on_a_terminal("-dcq plain.zst");
    assert_eq!((code, said.trim_end()), (Some(0), "text"), "-c writes to a terminal");
}

/// Of several files, one of them damaged, each has its metrics.
#[test]
fn metrics_of_every_file() {
    let folder = folder();
    let folder = folder.path();
    for (flags, files, codes) in [
        ("-q", ["a", "b", "plain"], ["0", "0", "0"]),
        ("-qt", ["a.zst", "damaged.zst", "b.zst"], ["0", "6", "0"]),
        ("-qdf", ["a.zst", "damaged.zst", "b.zst"], ["0", "6", "0"]),
    ] {
        let mut command = support::ringpack([flags]);
        command.args(files).env("RINGPACK_METRICS_FILE", "m.prom").current_dir(folder);
        let output = support::run(&mut command);
        assert_eq!(output.status.success(), !codes.contains(&"6"), "{flags}: {output:?}");
        let text = fs::read_to_string(folder.join("m.prom")).unwrap();
        for (file, code) in files.into_iter().zip(codes) {
            let container = format!("/{}.zst\"", file.trim_end_matches(".zst"));
            let line = text
                .lines()
                .find(|line| line.starts_with("ringpack_exit_code{") && line.contains(&container));
            assert!(line.is_some_and(|line| line.ends_with(&format!(" {code}"))), "{text}");
        }
    }
}

/// Several inputs of a subcommand: each has its own output, and one that fails stops no other.
#[test]
fn several_files_of_the_subcommands() {
    let folder = folder();
    let folder = folder.path();
    let ringpack = |args: &[&str]| {
        let output = support::run(support::ringpack(args).current_dir(folder));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(ringpack(&["pack", "a", "missing", "b"]).0, Some(3));
    for name in ["a", "b"] {
        succeed(support::ringpack(["verify", &format!("{name}.zst")]).current_dir(folder));
    }
    // The greatest code of all.
    let (code, said) = ringpack(&["pack", "missing", "a", "plain"]);
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("missing: ") && said.contains("a.zst: "), "{said}");
    assert!(folder.join("plain.zst").exists());
    fs::remove_file(folder.join("a")).unwrap();
    let (code, said) = ringpack(&["unpack", "-k", "damaged.zst", "a.zst", "bad.zst"]);
    assert_eq!(code, Some(6), "{said}");
    assert_same(&fs::read(folder.join("a")).unwrap(), &content(50_000, 1), "a");
    assert!(!folder.join("damaged").exists() && !folder.join("bad").exists());
    assert_eq!(ringpack(&["pack", "a", "b", "-o", "out"]).0, Some(2));
    assert_eq!(ringpack(&["pack", "-c", "a", "b"]).0, Some(2));
    let both = succeed(support::ringpack(["unpack", "-c", "a.zst", "b.zst"]).current_dir(folder));
    assert_same(&both, &[content(50_000, 1), content(20_000, 2)].concat(), "one after the other");
}
