//! What the program says and does beyond the bytes: names, help, talk, `--rm`, codes of several
//! files, and that it writes nothing binary to a terminal.
//!
//! The help texts are golden files under `golden/`; `RINGPACK_BLESS=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{
    assert_same, binary, content, has_tool, names, ringpack, run, run_with_input, skip, succeed,
};

/// A folder with a file `in`, 300 000 bytes long.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), content(300_000, 1)).unwrap();
    folder
}

/// Runs the program in a folder; gives its code, standard output and standard error.
fn check(folder: &Path, args: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let output = run(ringpack(args).current_dir(folder));
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), output.stdout, stderr)
}

/// Runs the program, which must succeed without a word on standard output.
fn quietly(folder: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = check(folder, args);
    assert_eq!((code, stdout.len()), (Some(0), 0), "{args:?}: {stderr}");
    stderr
}

#[test]
fn help_is_as_written_down() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let bless = std::env::var_os("RINGPACK_BLESS").is_some();
    for command in [
        "", "pack", "resume", "unpack", "verify", "salvage", "cat", "ls", "info", "clean", "bench",
        "doctor",
    ] {
        for (flag, suffix) in [("--help", ""), ("-h", "-short")] {
            let args = [command, flag];
            let args = args.iter().filter(|arg| !arg.is_empty());
            // Clap folds lines at the terminal's width.
            let found = succeed(ringpack(args).env("COLUMNS", "100"));
            let name = if command.is_empty() { "ringpack" } else { command };
            let path = golden.join(format!("help-{name}{suffix}.txt"));
            if bless {
                fs::create_dir_all(&golden).unwrap();
                fs::write(&path, &found).unwrap();
            }
            let expected = fs::read_to_string(&path).unwrap();
            let what = format!("{} (RINGPACK_BLESS=1 writes it anew)", path.display());
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{what}");
        }
    }
}

#[test]
fn help_lists_the_exit_codes() {
    let help = String::from_utf8(succeed(&mut ringpack(["--help"]))).unwrap();
    for code in (0..=13).chain([16, 75, 129, 130, 141, 143]) {
        let code = code.to_string();
        let is_listed = help.split([' ', ',', '\n']).any(|word| word == code);
        assert!(is_listed, "{code} isn't in the help");
    }
}

#[test]
fn the_version_is_the_packages() {
    let version = String::from_utf8(succeed(&mut ringpack(["--version"]))).unwrap();
    assert_eq!(version, format!("ringpack {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn default_names() {
    let folder = folder();
    let folder = folder.path();
    let original = fs::read(folder.join("in")).unwrap();
    quietly(folder, &["pack", "in"]);
    assert_eq!(names(folder), ["in", "in.zst"]);
    fs::rename(folder.join("in.zst"), folder.join("back.zst")).unwrap();
    quietly(folder, &["unpack", "back.zst"]);
    assert_eq!(names(folder), ["back", "back.zst", "in"]);
    assert_same(&fs::read(folder.join("back")).unwrap(), &original, "back");
    // In another folder, the result is beside the source, not where the program was started.
    fs::create_dir(folder.join("sub")).unwrap();
    fs::rename(folder.join("in"), folder.join("sub/in")).unwrap();
    quietly(folder, &["pack", "sub/in"]);
    assert_eq!(names(&folder.join("sub")), ["in", "in.zst"]);
}

#[test]
fn long_names() {
    let folder = folder();
    let content = fs::read(folder.path().join("in")).unwrap();
    // Where its partial file's name still fits, where only the name does, and as long as it may be.
    for len in [234, 235, 238, 239, 251] {
        for name in ["n".repeat(len), "é".repeat(len / 2) + &"n".repeat(len % 2)] {
            fs::write(folder.path().join(&name), &content).unwrap();
            quietly(folder.path(), &["pack", "--rm", &name]);
            assert_eq!(names(folder.path()), ["in", &format!("{name}.zst")]);
            quietly(folder.path(), &["unpack", "--rm", &format!("{name}.zst")]);
            assert_same(&fs::read(folder.path().join(&name)).unwrap(), &content, &name);
            fs::remove_file(folder.path().join(&name)).unwrap();
        }
    }
    let (longest, other) = ("n".repeat(255), "n".repeat(254) + "m");
    quietly(folder.path(), &["pack", "in", "-o", &longest]);
    quietly(folder.path(), &["unpack", &longest, "-o", &other]);
    assert_same(&fs::read(folder.path().join(&other)).unwrap(), &content, "as long as can be");
    // A tree with such a name in it, and of such a name.
    let tree = folder.path().join("t".repeat(255));
    fs::create_dir(&tree).unwrap();
    fs::rename(folder.path().join(&other), tree.join(&longest)).unwrap();
    quietly(folder.path(), &["pack", &"t".repeat(255), "-o", &other]);
    quietly(folder.path(), &["unpack", "-x", &other, "-o", "back"]);
    let back = folder.path().join("back").join("t".repeat(255)).join(&longest);
    assert_same(&fs::read(back).unwrap(), &content, "extracted");
}

#[test]
fn names_that_look_like_options() {
    let folder = folder();
    let folder = folder.path();
    fs::rename(folder.join("in"), folder.join("-5")).unwrap();
    quietly(folder, &["pack", "--", "-5"]);
    assert_eq!(names(folder), ["-5", "-5.zst"]);
}

#[test]
fn a_dash_is_a_standard_stream() {
    let folder = folder();
    let folder = folder.path();
    let original = fs::read(folder.join("in")).unwrap();
    let (code, streamed, stderr) = check(folder, &["pack", "in", "-o", "-"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let (_, by_flag, _) = check(folder, &["pack", "in", "-c"]);
    let by_stdin = run_with_input(&mut ringpack(["pack", "-"]), &original).stdout;
    assert_same(&by_flag, &streamed, "-c");
    assert_same(&by_stdin, &streamed, "pack -");
    fs::write(folder.join("s.zst"), streamed).unwrap();
    let (code, unpacked, _) = check(folder, &["unpack", "s.zst", "-o", "-"]);
    assert_eq!(code, Some(0));
    assert_same(&unpacked, &original, "unpack -o -");
    assert_eq!(names(folder), ["in", "s.zst"], "no file of the name -");
}

#[test]
fn the_source_is_removed_after_success_only() {
    let folder = folder();
    let folder = folder.path();
    let original = fs::read(folder.join("in")).unwrap();
    quietly(folder, &["pack", "--rm", "in"]);
    assert_eq!(names(folder), ["in.zst"]);
    quietly(folder, &["unpack", "--rm", "in.zst"]);
    assert_eq!(names(folder), ["in"]);
    assert_same(&fs::read(folder.join("in")).unwrap(), &original, "there and back");
    // Kept where the target exists, and where the container is damaged.
    fs::write(folder.join("in.zst"), b"in the way").unwrap();
    assert_eq!(check(folder, &["pack", "--rm", "in"]).0, Some(7));
    assert_eq!(names(folder), ["in", "in.zst"]);
    quietly(folder, &["pack", "-f", "in"]);
    let mut damaged = fs::read(folder.join("in.zst")).unwrap();
    damaged[5000] ^= 1;
    fs::write(folder.join("bad.zst"), damaged).unwrap();
    assert_eq!(check(folder, &["unpack", "--rm", "bad.zst"]).0, Some(6));
    assert_eq!(names(folder), ["bad.zst", "in", "in.zst"]);
}

#[test]
fn only_a_regular_files_source_of_a_durable_result_is_removed() {
    let folder = folder();
    let folder = folder.path();
    std::os::unix::fs::symlink("in", folder.join("link")).unwrap();
    nix::unistd::mkfifo(&folder.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let before = names(folder);
    for args in [
        &["pack", "--rm", "in", "-o", "-"][..],
        &["pack", "--rm", "link"],
        &["pack", "--rm", "fifo"],
        &["pack", "--rm", "-", "-o", "out"],
    ] {
        let (code, _, stderr) = check(folder, args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert_eq!(names(folder), before, "{args:?}");
    }
}

#[test]
fn talk() {
    let folder = folder();
    let folder = folder.path();
    // Nobody watches standard error here: silence, unless asked. 300 000 / 1024 is 292.97.
    let table: [(&[&str], &[&str]); 3] = [
        (&["pack", "-f", "in"], &["in:", "292.97 KiB", "in.zst"]),
        (&["unpack", "-f", "in.zst"], &["in.zst:", "292.97 KiB", "in"]),
        (&["verify", "in.zst"], &["in.zst:", "intact", "1 chunk"]),
    ];
    for (args, said) in table {
        for quiet in [&[][..], &["-q"], &["--quiet"]] {
            assert_eq!(quietly(folder, &[args, quiet].concat()), "", "{args:?} {quiet:?}");
        }
        for verbose in ["-v", "--verbose"] {
            let stderr = quietly(folder, &[args, &[verbose]].concat());
            let summary = stderr.lines().next().unwrap_or_default();
            for word in said {
                assert!(summary.contains(word), "{args:?}: {word} isn't in: {summary}");
            }
            for word in ["threads", "tier", "operations"] {
                assert!(stderr.contains(word), "{args:?}: {word} isn't in: {stderr}");
            }
        }
        let (code, ..) = check(folder, &[args, &["-q", "-v"]].concat());
        assert_eq!(code, Some(2), "{args:?}: quiet and verbose at once");
    }
    // Errors are said all the same.
    let (code, _, stderr) = check(folder, &["verify", "-q", "missing"]);
    assert_eq!(code, Some(3));
    assert!(stderr.starts_with("ringpack: missing: "), "{stderr}");
}

#[test]
fn options_as_zstd_spells_them() {
    let folder = folder();
    let folder = folder.path();
    let level = |args: &[&str]| {
        quietly(folder, &[&["pack", "-f", "in"], args].concat());
        let (code, info, _) = check(folder, &["info", "--json", "in.zst"]);
        assert_eq!(code, Some(0));
        let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
        (info["codec"].as_str().unwrap().to_owned(), info["level"].as_i64())
    };
    let table: [(&[&str], &str, Option<i64>); 8] = [
        (&[], "zstd", Some(3)),
        (&["-1"], "zstd", Some(1)),
        (&["-3", "-T1"], "zstd", Some(3)),
        (&["-19", "-T", "2"], "zstd", Some(19)),
        (&["--level", "7", "--threads", "3"], "zstd", Some(7)),
        (&["--level=12", "-T0"], "zstd", Some(12)),
        (&["--store"], "store", None),
        (&["--store", "-T16"], "store", None),
    ];
    for (args, codec, expected) in table {
        assert_eq!(level(args), (codec.to_owned(), expected), "{args:?}");
    }
}

#[test]
fn the_number_of_threads_is_as_asked() {
    let folder = folder();
    let folder = folder.path();
    // Five extents of a chunk each: no more threads run than there are extents.
    let small = ["--chunk-size", "64K", "--placement", "slots"];
    for threads in ["1", "2", "5"] {
        let args = [&["pack", "-f", "-v", "-T", threads, "in"][..], &small].concat();
        let stderr = quietly(folder, &args);
        assert!(stderr.contains(&format!("threads {threads},")), "{stderr}");
    }
}

#[test]
fn backends_are_as_asked() {
    let folder = folder();
    let folder = folder.path();
    for io in support::backends("backends_are_as_asked") {
        let stderr = quietly(folder, &["pack", "-f", "-v", "--io", io, "in"]);
        let tier = format!("tier {io}");
        assert!(stderr.to_lowercase().contains(&tier), "{stderr}");
        let stderr = quietly(folder, &["pack", "-f", "-v", "--io", io, "--no-direct", "in"]);
        assert!(stderr.contains("input buffered, output buffered"), "{stderr}");
    }
}

#[test]
fn several_files_the_worst_code() {
    let folder = folder();
    let folder = folder.path();
    quietly(folder, &["pack", "in", "-o", "good"]);
    let mut bytes = fs::read(folder.join("good")).unwrap();
    bytes[5000] ^= 1;
    fs::write(folder.join("damaged"), &bytes).unwrap();
    let table: [(&[&str], i32); 7] = [
        (&["good"], 0),
        (&["good", "good"], 0),
        (&["good", "damaged"], 6),
        (&["damaged", "good"], 6),
        (&["missing", "good", "damaged"], 6),
        (&["good", "missing"], 3),
        (&["in", "good"], 4),
    ];
    for (files, expected) in table {
        let (code, _, stderr) = check(folder, &[&["verify", "-v"], files].concat());
        assert_eq!(code, Some(expected), "{files:?}: {stderr}");
        for file in files {
            // Each is looked at, whatever became of those before it.
            let is_told = |line: &str| {
                let line = line.strip_prefix("ringpack: ").unwrap_or(line);
                line.starts_with(&format!("{file}:"))
            };
            assert!(stderr.lines().any(is_told), "{files:?}: nothing of {file}: {stderr}");
        }
    }
}

#[test]
fn info_for_people() {
    let folder = folder();
    let folder = folder.path();
    let original = fs::read(folder.join("in")).unwrap();
    quietly(folder, &["pack", "in", "--digest", "blake3", "--chunk-size", "64K"]);
    let (code, stdout, stderr) = check(folder, &["info", "in.zst"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let text = String::from_utf8(stdout).unwrap();
    let digest = blake3::hash(&original).to_hex();
    let words = ["in.zst", "300000", "5 of 64.00 KiB", "level 3", "dense", digest.as_str()];
    for word in words {
        assert!(text.contains(word), "{word} isn't in: {text}");
    }
}

/// What these commands write would garble a terminal.
#[test]
fn a_terminal_is_refused() {
    if !has_tool("script") {
        return skip("a_terminal_is_refused", "script (util-linux) is not installed");
    }
    let folder = folder();
    let folder = folder.path();
    quietly(folder, &["pack", "in"]);
    for args in ["pack -c in", "unpack -c in.zst", "cat in.zst"] {
        let (code, said) = on_a_terminal(folder, args);
        assert_eq!(code, Some(2), "{args}: {said}");
        assert!(said.contains("ringpack: ") && said.contains("terminal"), "{args}: {said}");
        assert_eq!(said.lines().count(), 1, "{args}: {said}");
    }
    // Unless it is asked for.
    let (code, said) = on_a_terminal(folder, "cat --force --length 20 in.zst");
    assert_eq!((code, said.len()), (Some(0), 20), "{said}");
    assert_eq!(names(folder), ["in", "in.zst"]);
}

#[test]
fn a_person_who_watches_is_told() {
    if !has_tool("script") {
        return skip("a_person_who_watches_is_told", "script (util-linux) is not installed");
    }
    let folder = folder();
    let folder = folder.path();
    // A bar may show on a slow machine; it has tests of its own.
    let shown = ["pack --progress=never in", "verify --progress=never in.zst"];
    for (args, said) in [(shown[0], "in: "), (shown[1], "in.zst: intact")] {
        let (code, stderr) = on_a_terminal(folder, args);
        assert_eq!(code, Some(0), "{args}: {stderr}");
        assert!(stderr.starts_with(said) && stderr.lines().count() == 1, "{args}: {stderr}");
    }
    assert_eq!(on_a_terminal(folder, "pack -q -f in"), (Some(0), String::new()));
}

/// Runs the program with a terminal for its standard streams; gives code and what was shown.
fn on_a_terminal(folder: &Path, args: &str) -> (Option<i32>, String) {
    let program: PathBuf = binary();
    let command = format!("'{}' {args}", program.display());
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    (output.status.code(), shown)
}

#[test]
fn many_small_inputs_run_side_by_side_and_one_that_fails_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let here = |args: &[&str]| run(ringpack(args.iter().copied()).current_dir(folder));
    let names: Vec<String> = (0..60).map(|number| format!("in {number}")).collect();
    for (number, name) in names.iter().enumerate() {
        // Among the small ones, one that isn't, and one of nothing.
        let len = if number == 20 { 9 << 20 } else { number * 1_000 };
        fs::write(folder.join(name), content(len, number as u64)).unwrap();
    }
    fs::remove_file(folder.join("in 33")).unwrap();
    let mut args = vec!["pack", "--json"];
    args.extend(names.iter().map(String::as_str));
    let output = here(&args);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told = support::schema::messages(&output.stdout);
    let count = |kind: &str| told.iter().filter(|it| it["message_type"] == kind).count();
    assert_eq!((count("summary"), count("error"), told.len()), (59, 1, 60));
    for (number, name) in names.iter().enumerate().filter(|&(number, _)| number != 33) {
        let alone = format!("{number} alone");
        succeed(ringpack(["pack", name, "-o", &alone]).current_dir(folder));
        let alone = fs::read(folder.join(alone)).unwrap();
        assert_same(&fs::read(folder.join(format!("{name}.zst"))).unwrap(), &alone, name);
    }
    // What was packed once is refused, each by itself; with -f each is replaced.
    fs::write(folder.join("in 33"), b"here again").unwrap();
    assert_eq!(here(&args).status.code(), Some(7));
    assert!(folder.join("in 33.zst").exists(), "the others' failures stopped it");
    args.push("-f");
    assert_eq!(here(&args).status.code(), Some(0));
    let mut back: Vec<String> = names.iter().map(|name| format!("{name}.zst")).collect();
    back.splice(0..0, ["unpack", "-f", "-T", "3"].map(str::to_owned));
    for name in &names {
        fs::rename(folder.join(name), folder.join(format!("{name} kept"))).unwrap();
    }
    let back: Vec<&str> = back.iter().map(String::as_str).collect();
    assert_eq!(here(&back).status.code(), Some(0));
    for name in &names {
        let kept = fs::read(folder.join(format!("{name} kept"))).unwrap();
        assert_same(&fs::read(folder.join(name)).unwrap(), &kept, name);
    }
    // Into a pipe they come one after the other, in the order named.
    let both = here(&["unpack", "-c", "in 5.zst", "in 4.zst"]).stdout;
    assert_same(&both, &[content(5_000, 5), content(4_000, 4)].concat(), "in order");
}

/// Where an input is what another becomes, or comes twice, one follows the other. What is there
/// already is replaced by none of them: see tests/outputs.rs.
#[test]
fn inputs_that_others_become_are_taken_in_their_order() {
    let folder = folder();
    let folder = folder.path();
    for _ in 0..20 {
        let (code, _, stderr) = check(folder, &["pack", "-f", "in", "in.zst", "in"]);
        let made = ["in.zst", "in.zst.zst"].map(|name| folder.join(name));
        assert_eq!(code, Some(0), "{stderr}");
        let inner = succeed(ringpack(["unpack", "-c", "in.zst.zst"]).current_dir(folder));
        assert_same(&inner, &fs::read(&made[0]).unwrap(), "packed again");
        made.iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}
