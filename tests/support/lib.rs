//! What the integration tests share: the program under test, content to pack, and saying aloud what
//! was skipped.

pub mod archive;
pub mod beside;
pub mod cases;
pub mod cgroup;
pub mod chunks;
pub mod codes;
pub mod crash;
pub mod foreign;
pub mod foreign_mutant;
pub mod foreign_oracle;
pub mod forge;
pub mod fuse;
pub mod liar;
pub mod memory;
pub mod mount;
pub mod mutant;
pub mod oracle;
pub mod processes;
pub mod schema;
pub mod source;
pub mod tree;
pub mod watched;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program under test: built by the same profile as the test, one folder above its executable.
///
/// # Panics
/// Where it isn't built: run the tests by `just test`, which builds it first.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    let profile = test.parent().and_then(Path::parent).expect("deps/ lies in the profile's folder");
    let binary = profile.join("ringpack");
    assert!(binary.exists(), "{} is not built: run `just test`", binary.display());
    binary
}

/// A command of the program under test, with standard input closed.
#[must_use]
pub fn ringpack<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
///
/// # Panics
/// Where it can't be started.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Runs a command that must succeed, and gives its standard output.
///
/// # Panics
/// Where it fails.
pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed with {}: {stderr}", output.status);
    output.stdout
}

/// Runs a command that must end with `code`, and gives its standard error.
///
/// # Panics
/// Where it ends otherwise.
pub fn fail(command: &mut Command, code: i32) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
    stderr
}

/// Runs a command to its end with `input` on its standard input, which it may leave unread.
///
/// # Panics
/// Where it can't be started.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut pipe = child.stdin.take().expect("standard input is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = pipe.write_all(input);
        });
        child.wait_with_output().expect("the child can be waited for")
    })
}

/// Compares without printing megabytes.
///
/// # Panics
/// Where they differ, naming the first place.
pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found == expected {
        return;
    }
    let first = found.iter().zip(expected).position(|(a, b)| a != b);
    panic!(
        "{what}: {} bytes where {} are expected, differing first at {}",
        found.len(),
        expected.len(),
        first.unwrap_or(found.len().min(expected.len()))
    );
}

/// The backends that the system grants, as `--io` takes them. That io_uring is refused is said
/// aloud.
///
/// # Panics
/// Where the probe fails for any other reason than a refusal.
#[must_use]
pub fn backends(test: &str) -> Vec<&'static str> {
    const REFUSED: i32 = 12;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = folder.path().join("probe");
    std::fs::write(&input, b"probe").expect("the folder can be written");
    let probe = run(ringpack(["pack", "--io", "uring"]).arg(&input));
    if probe.status.code() == Some(REFUSED) {
        skip(test, "io_uring is refused here: pwrite alone is tested");
        return vec!["pwrite"];
    }
    assert!(probe.status.success(), "{}", String::from_utf8_lossy(&probe.stderr));
    vec!["uring", "pwrite"]
}

/// Whether a tool is on the PATH.
#[must_use]
pub fn has_tool(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Says that a test is skipped and why, and counts it: a line in the file that `RINGPACK_SKIPPED`
/// names, where it names one.
pub fn skip(test: &str, why: &str) {
    use std::io::Write;
    eprintln!("SKIPPED {test}: {why}");
    if let Some(path) = std::env::var_os("RINGPACK_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{test}: {why}"));
    }
}

/// Whether the process is root: loop devices and mounts can be had.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Content that compresses about as text does, with runs of zeros and of noise in it; the same for
/// the same seed.
#[must_use]
pub fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(len + 4096);
    while bytes.len() < len {
        let run = 1 + random.below(4096) as usize;
        match random.below(8) {
            0 => bytes.resize(bytes.len() + run * 4, 0),
            1 => bytes.extend((0..run).map(|_| random.next() as u8)),
            _ => {
                let word = random.below(50);
                bytes.extend(format!("record {word} at {run}; ").bytes().cycle().take(run));
            }
        }
    }
    bytes.truncate(len);
    bytes
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Puts `items` in another order, any with the same chance.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}

/// The names in a folder, sorted: what a run left behind.
///
/// # Panics
/// Where the folder can't be read.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
