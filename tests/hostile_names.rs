//! Names that hide something: whatever a file, a directory or a member is called, no command writes
//! a control character, turns the direction of a line, or writes a line that the name forged.
//!
//! Each command runs twice in folders that are alike but for the name: once with a plain one, which
//! says how many lines it has to say.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;

use support::memory::share;
use support::{content, ringpack, run, succeed};

const NAMES: [&[u8]; 6] = [
    b"a\nringpack: everything is fine\nb",
    b"\x1b[2J\x1b]0;title\x07\x08\r",
    "invoice\u{202e}tsz.exe\u{2066}\u{61c}".as_bytes(),
    "\x7f\u{85}\u{2028}\u{2029}\u{200f}".as_bytes(),
    b"no \xFF\xFE text\t",
    b"-\x1b[1m\nx",
];

fn joined(name: &OsStr, suffix: &str) -> OsString {
    let mut joined = name.to_owned();
    joined.push(suffix);
    joined
}

/// A folder with all that commands are run on, called `name` and more.
fn scene(name: &OsStr) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |suffix: &str| folder.path().join(joined(name, suffix));
    let plain = content(200_000, 1);
    for suffix in ["", ".new", ".in"] {
        fs::write(at(suffix), &plain).unwrap();
    }
    let tree = at(".d");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join(name), b"a member").unwrap();
    std::os::unix::fs::symlink(name, tree.join("link")).unwrap();
    let pack = |args: &[&str], what: &Path| {
        succeed(ringpack(["pack", "-q"]).args(args).arg("--").arg(what));
    };
    pack(&["--chunk-size", "64K"], &at(""));
    pack(&[], &tree);
    let mut damaged = fs::read(at(".zst")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40].fill(0x55);
    fs::write(at(".bad.zst"), damaged).unwrap();
    fs::write(at(".other.zst"), zstd::encode_all(&plain[..], 1).unwrap()).unwrap();
    fs::write(at(".none.zst"), b"no Zstandard file").unwrap();
    drop(UnixListener::bind(tree.join("socket")));
    for left in [".left.ringpack-partial", ".left.ringpack-journal"] {
        fs::write(at(left), b"left").unwrap();
    }
    folder
}

/// What is run in such a folder: `%` stands for the name.
const COMMANDS: [&str; 66] = [
    "pack -v ./%.new",
    "pack ./%.new",
    "pack -v -f -o ./%.again.zst ./%.new",
    "pack ./%.missing",
    "pack -v --rm ./%.in",
    "pack --expect-size 5 --keep-partial --checkpoint-size 64K -o ./%.kept.zst ./%.new",
    "resume ./%.kept.zst",
    "resume ./%.zst",
    "pack -v -f ./%.d",
    "pack -vv -f ./%.d",
    "pack -v --progress=json -f ./%.new",
    "pack --json -f ./%.new",
    "pack -f --metrics-file=./%.prom ./%.new",
    "pack --from-command -o ./%.out -- ./%",
    "pack --rm -c ./%.new",
    "pack ./%.new ./%.missing ./%.new",
    "unpack -v ./%.zst",
    "unpack -v -f ./%.zst",
    "unpack -v -f ./%.other.zst",
    "unpack -f --json ./%.other.zst",
    "unpack -f ./%.none.zst",
    "unpack -f ./%.bad.zst",
    "unpack ./%.new",
    "unpack ./%.none/%",
    "unpack -o ./%.none/% ./%.zst",
    "unpack -v -x ./%.d.tar.zst -o ./%.x",
    "unpack -v -x ./%.d.tar.zst -o ./%.x",
    "unpack -v -x --json ./%.d.tar.zst -o ./%.x",
    "unpack -v --member ./%.none ./%.d.tar.zst -o ./%.y",
    "unpack -x ./%.zst -o ./%.z",
    "verify -v ./%.zst",
    "verify -vv ./%.zst ./%.bad.zst ./%.other.zst",
    "verify --json ./%.bad.zst",
    "verify ./%.none.zst",
    "verify -v --against ./%.new ./%.zst",
    "verify --against ./%.bad.zst ./%.zst",
    "verify -v --against ./%.d ./%.d.tar.zst",
    "verify --against ./%.missing ./%.zst",
    "verify ./%.missing",
    "verify --repair-map=./%.map ./%.bad.zst",
    "verify --repair-map=./%.map -v ./%.bad.zst",
    "salvage ./%.bad.zst -o ./%.salvaged",
    "salvage ./%.bad.zst -o ./%.salvaged",
    "salvage --json -f ./%.bad.zst -o ./%.salvaged",
    "salvage ./%.none.zst -o ./%.nothing",
    "info ./%.zst",
    "info --json ./%.zst",
    "info ./%.other.zst",
    "info ./%.none.zst",
    "ls ./%.d.tar.zst",
    "ls -l ./%.d.tar.zst",
    "ls --json ./%.d.tar.zst",
    "ls ./%.d.tar.zst ./%.none",
    "ls ./%.zst",
    "cat ./%.d.tar.zst ./%.none",
    "cat ./%.d.tar.zst ./%.d",
    "clean -n .",
    "clean .",
    "clean --json ./%.missing",
    "doctor ./%.d",
    "doctor --json ./%.d",
    "-l ./%.zst ./%.other.zst ./%.none.zst ./%.missing",
    "-lv ./%.other.zst",
    "-t ./%.bad.zst ./%.d",
    "-d ./%.other.zst ./%.new",
    "--what-%",
];

fn args(command: &str, name: &OsStr) -> Vec<OsString> {
    let put_in = |word: &str| {
        let parts: Vec<&[u8]> = word.split('%').map(str::as_bytes).collect();
        OsString::from_vec(parts.join(name.as_bytes()))
    };
    command.split(' ').map(put_in).collect()
}

/// What a command said, in lines.
fn said(output: &Output) -> (Option<i32>, usize, usize) {
    let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
    (output.status.code(), lines(&output.stdout), lines(&output.stderr))
}

fn is_hidden(letter: char) -> bool {
    let of_direction = ['\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}'];
    (letter.is_control() && letter != '\n')
        || of_direction.contains(&letter)
        || ('\u{202a}'..='\u{202e}').contains(&letter)
        || ('\u{2066}'..='\u{2069}').contains(&letter)
}

fn check_text(bytes: &[u8], what: &str) {
    let text = std::str::from_utf8(bytes);
    let text = text.unwrap_or_else(|error| panic!("{what}: {error}: {}", bytes.escape_ascii()));
    assert!(!text.contains(is_hidden), "{what}: {text:?}");
}

#[test]
fn es1_es2_no_name_forges_a_line_or_commands_a_terminal() {
    let plain = OsStr::new("plain");
    let folder = scene(plain);
    let here = |args: Vec<OsString>, folder: &Path| {
        // What is shown must not depend on who looks at it.
        run(ringpack(args).current_dir(folder).env("NO_COLOR", "1").env("RINGPACK_THREADS", "1"))
    };
    let expected: Vec<_> =
        COMMANDS.map(|command| said(&here(args(command, plain), folder.path()))).to_vec();
    let codes: Vec<_> = expected.iter().map(|(code, ..)| code.unwrap()).collect();
    assert!(codes.iter().filter(|&&code| code == 0).count() > 20, "{codes:?}");
    let check = |name: &OsStr| {
        let folder = scene(name);
        for (command, expected) in COMMANDS.into_iter().zip(&expected) {
            let output = here(args(command, name), folder.path());
            let what = format!("{name:?}: {command}");
            check_text(&output.stdout, &what);
            check_text(&output.stderr, &what);
            let shown = String::from_utf8_lossy(&output.stderr);
            // A pattern is a text, or refused.
            let has_pattern =
                command.contains("--member") || command.starts_with("ls ./%.d.tar.zst .");
            let is_pattern = name.to_str().is_some_and(|name| !name.contains('['));
            if !has_pattern || is_pattern {
                assert_eq!(said(&output), *expected, "{what}: {shown}");
            }
        }
        for file in [".prom", ".map", ".salvaged.map"] {
            let path = folder.path().join(joined(name, file));
            check_text(&fs::read(&path).unwrap(), &format!("{path:?}"));
        }
    };
    std::thread::scope(|scope| {
        for name in NAMES {
            scope.spawn(move || check(OsStr::from_bytes(name)));
        }
    });
}

/// People get a spelling of its own for each name, programs the name.
#[test]
fn ls_has_names_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("t");
    fs::create_dir(&tree).unwrap();
    let mut names: Vec<&[u8]> = NAMES.to_vec();
    names.extend([&br"\n"[..], b"\n", br"\x1b", b"\x1b", br"\\", br"\"]);
    for name in &names {
        fs::write(tree.join(OsStr::from_bytes(name)), b"").unwrap();
    }
    succeed(ringpack(["pack", "-q"]).arg(&tree));
    let ls = |args: &[&str]| {
        succeed(ringpack(["ls"]).args(args).arg("t.tar.zst").current_dir(folder.path()))
    };
    let mut expected: Vec<Vec<u8>> = names.iter().map(|name| [b"t/", *name].concat()).collect();
    expected.push(b"t/".to_vec());
    expected.sort();
    let by_nul = |bytes: Vec<u8>| {
        let ended = bytes.strip_suffix(b"\0").expect("each name ends with a NUL");
        let mut names: Vec<_> = ended.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
        names.sort();
        names
    };
    assert_eq!(by_nul(ls(&["-0"])), expected);
    assert_eq!(by_nul(ls(&["--null"])), expected);
    let shown = ls(&[]);
    check_text(&shown, "ls");
    let mut lines: Vec<_> = shown.split(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    lines.dedup();
    // The last newline is followed by nothing.
    assert_eq!(lines.len(), expected.len() + 1, "{}", String::from_utf8_lossy(&shown));
}

/// A command that people copy names the very file, whatever it is called.
#[test]
fn a_command_to_be_copied_means_the_name() {
    share(
        NAMES.len(),
        || (),
        |(), number| {
            let name = OsStr::from_bytes(NAMES[number]);
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("in"), content(9 << 20, 1)).unwrap();
            let digest = "0".repeat(64);
            let refused = ["--expect-blake3", &digest, "--keep-partial", "--checkpoint-size", "1M"];
            let short = ["--chunk-size", "64K"];
            let mut target = OsString::from("./");
            target.push(name);
            let pack = &mut ringpack(["pack", "in", "-o"]);
            let output =
                run(pack.arg(&target).args(refused).args(short).current_dir(folder.path()));
            let said = String::from_utf8(output.stderr).unwrap();
            check_text(said.as_bytes(), "what was said");
            let line = said.lines().last().unwrap().trim();
            let words = line.strip_prefix("ringpack resume ").unwrap_or_else(|| panic!("{said}"));
            let word = words.split(" --expect-blake3").next().unwrap();
            let script = format!("printf %s {word}");
            let meant = succeed(std::process::Command::new("bash").args(["-c", &script]));
            assert_eq!(OsStr::from_bytes(&meant), target, "{said}");
        },
    );
}
