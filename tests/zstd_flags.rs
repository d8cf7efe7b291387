//! zstd's flags mean here what they mean to zstd: both are run side by side on the same files, and
//! have to leave the same names, the same content under them and on standard output, the same modes
//! and times, and both succeed or fail.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use support::beside::{self, Layout, Left, Line, Node, difference};
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
struct Ended {
    code: Option<i32>,
    stdout: Vec<u8>,
    files: Vec<(String, Vec<u8>)>,
}

fn leave(program: &Path, args: &[&str], input: &[u8]) -> (Ended, String) {
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
    (Ended { code: output.status.code(), stdout: decoded(&output.stdout), files }, stderr)
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
    let listed = |left: &Ended| left.files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(listed(&found), listed(&expected), "{what}");
    for ((name, found), (_, expected)) in found.files.iter().zip(&expected.files) {
        assert_same(found, expected, &format!("{name}: {what}"));
    }
}

/// Every line of the table, and combinations of what matters most: beside zstd itself.
#[test]
fn every_line_does_what_it_does_with_zstd() {
    let layout = layout();
    let links = tempfile::tempdir().unwrap();
    let (zstd, ours) = (tool(links.path(), "zstd"), tool(links.path(), "ringzstd"));
    let mut lines: Vec<String> = table().map(str::to_owned).collect();
    lines.extend(combinations());
    assert!(lines.len() >= 250, "{} lines", lines.len());
    let reads = |line: &str| !line.split(' ').any(|word| PRINTS.contains(&word));
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let lane = || {
        while let Some(text) = lines.get(next.fetch_add(1, Relaxed)) {
            let differs = text.strip_prefix("! ");
            let line = Line::new(differs.unwrap_or(text));
            let mut found = beside::run(&ours, &line, &layout);
            let mut expected = match differs {
                None => beside::run(&zstd, &line, &layout),
                // Refused, and nothing done.
                Some(_) => {
                    Left { succeeded: false, ..beside::run(Path::new("true"), &line, &layout) }
                }
            };
            assert!(!found.crashed, "{text}: {}", found.said);
            if !reads(text) {
                // What it says of itself differs.
                (found.stdout, expected.stdout) = (Vec::new(), Vec::new());
            }
            if let Some(difference) = difference(&expected, &found) {
                let (said, by_zstd) = (&found.said, &expected.said);
                let failure = format!("{text}: {difference}\n  said: {said}\n  zstd: {by_zstd}");
                failures.lock().unwrap().push(failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(lane);
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

/// Lines at once: most of the time goes to syncing, which is waiting.
const LANES: usize = 8;

/// Flags by which a program tells of itself.
const PRINTS: [&str; 8] = ["-h", "-H", "-hx", "--help", "--version", "-V", "-qV", "-qVx"];

/// The lines of the table that this zstd can be asked for.
fn table() -> impl Iterator<Item = &'static str> {
    let version = zstd_version();
    if version < (1, 5, 4) {
        let (major, minor, patch) = version;
        skip(
            "zstd_flags",
            &format!("zstd is {major}.{minor}.{patch}: --[no-]pass-through is newer"),
        );
    }
    include_str!("zstd_lines.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(move |line| version >= (1, 5, 4) || !line.contains("pass-through"))
}

fn zstd_version() -> (u32, u32, u32) {
    let said = String::from_utf8(succeed(Command::new("zstd").arg("-qV"))).unwrap();
    let mut numbers = said.trim().split('.').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap();
    (next(), next(), next())
}

/// Each two of the flags that decide where the output goes, what is replaced and what is removed,
/// with one file, several, a link and a stream.
fn combinations() -> Vec<String> {
    let flags = ["-q", "-f", "--rm", "-c", "-o out", "-o there"];
    let packing = ["a", "a b", "there", "link", "<b", "missing", "hard -r single"];
    let unpacking = ["a2.zst", "a2.zst b2.zst", "there.zst", "linkz", "<b2.zst", "bad.zst"];
    let mut lines = Vec::new();
    for (mode, inputs) in [("-z", &packing[..]), ("-d", &unpacking[..])] {
        for input in inputs {
            for (number, first) in flags.iter().enumerate() {
                lines.push(format!("{mode} {first} {input}"));
                for second in &flags[number + 1..] {
                    lines.push(format!("{mode} {first} {second} {input}"));
                }
            }
        }
    }
    lines.retain(|line| !differs_on_purpose(line));
    lines
}

/// Combinations that differ, for the reasons that the table gives: zstd removes what was there
/// although it fails, and a link although the file stays.
fn differs_on_purpose(line: &str) -> bool {
    let has = |word: &str| line.split(' ').any(|found| found == word);
    (has("-f") && has("there") && (has("missing") || has("bad.zst")))
        || (has("--rm") && (has("link") || has("linkz")))
}

/// The folder that each line is run in.
fn layout() -> Layout {
    let (a, b, wide) = (content(3_000, 1), content(2_000, 2), content(300_000, 3));
    let packed = |plain: &[u8]| zstd_file(plain, true);
    let mut damaged = packed(&a);
    *damaged.last_mut().unwrap() ^= 1;
    let streamed = zstd_file(&a, false);
    let ours = |plain: &[u8]| {
        let mut command = support::ringpack(["pack", "-c", "-"]);
        let output = run_with_input(&mut command, plain);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let file = |content: &[u8]| Node::File(content.to_vec(), 0o644);
    let of_mode = |content: &[u8], mode| Node::File(content.to_vec(), mode);
    vec![
        ("a", of_mode(&a, 0o640)),
        ("b", of_mode(&b, 0o600)),
        ("hard", Node::HardLink("a")),
        ("empty", file(b"")),
        ("empty.zst", file(b"")),
        ("plain", file(b"text\n")),
        ("bad.zst", file(b"text\n")),
        ("names", file(b"a\nb\n")),
        ("names-links", file(b"link\nb\n")),
        ("names-none", file(b"missing\n")),
        ("names-dirs", file(b"dir\na\n")),
        ("yes", file(b"y\ny\n")),
        ("no", file(b"n\n")),
        ("there", file(b"new")),
        ("there.zst", file(&packed(b"old"))),
        ("a2.zst", of_mode(&packed(&a), 0o604)),
        ("b2.zst", of_mode(&packed(&b), 0o640)),
        ("t.tzst", file(&packed(&b))),
        ("z.zst", file(&packed(&a))),
        ("z.zstd", file(&packed(&b))),
        ("other.ZST", file(&packed(&b))),
        ("damaged.zst", file(&damaged)),
        ("cut.zst", file(&streamed[..streamed.len() - 5])),
        ("twice.zst", file(&[packed(&a), packed(&b)].concat())),
        ("ours.zst", file(&ours(&a))),
        ("packed.zst", file(&ours(&wide))),
        ("wide.zst", file(&zstd_file(&wide, false))),
        ("x.gz", file(b"gz")),
        ("-dash", file(b"dash")),
        ("-dash.zst", file(&packed(b"dash"))),
        ("-", file(b"minus")),
        (".zst", file(&packed(b"dot"))),
        ("dir", Node::Directory(0o750)),
        ("dir/x", file(&a)),
        ("dir/y", of_mode(&b, 0o600)),
        ("dir/packed.zst", file(&packed(&b))),
        ("dir/sub", Node::Directory(0o700)),
        ("dir/sub/z", file(b"zz")),
        ("dir/sub/a", file(b"another")),
        ("dir/link", Node::Symlink("y")),
        ("dir/other", Node::Symlink("sub")),
        ("emptydir", Node::Directory(0o755)),
        ("single", Node::Directory(0o755)),
        ("single/file", file(b"file")),
        ("link", Node::Symlink("a")),
        ("linkz", Node::Symlink("a2.zst")),
        ("dangling", Node::Symlink("nowhere")),
    ]
}

/// A file as zstd packs it, whose length it knows or not.
fn zstd_file(plain: &[u8], sized: bool) -> Vec<u8> {
    let mut command = Command::new("zstd");
    if !sized {
        return run_with_input(command.args(["-cq"]), plain).stdout;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), plain).unwrap();
    succeed(command.args(["-cq", "file"]).current_dir(folder.path()))
}

/// What is accepted and changes nothing says so, unless little is to be said.
#[test]
fn flags_without_effect_say_so() {
    let links = tempfile::tempdir().unwrap();
    let program = tool(links.path(), "ringzstd");
    let layout: Layout = vec![("a", Node::File(b"text".to_vec(), 0o644))];
    for flag in [
        "--adapt",
        "--adapt=min=1,max=5",
        "--rsyncable",
        "--zstd=strat=3",
        "--long",
        "--fast=4",
        "--no-check",
        "--no-content-size",
        "--no-sparse",
        "--no-compress-literals",
        "--row-match-finder",
        "--block-size=1M",
        "-B1M",
        "--target-compressed-block-size=2000",
        "--trace=log",
        "-p",
    ] {
        for (quiet, line) in [(false, format!("{flag} a")), (true, format!("-q {flag} a"))] {
            let left = beside::run(&program, &Line::new(&line), &layout);
            assert!(left.succeeded, "{line}: {}", left.said);
            let speaks = left.said.contains("no effect") || left.said.contains("level 1 is used");
            assert_eq!(speaks, !quiet, "{line}: {}", left.said);
        }
    }
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
