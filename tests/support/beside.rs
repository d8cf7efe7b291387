//! Two programs side by side: each does the same command line in a folder of its own with the same
//! files, and what they leave is compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::run_with_input;

/// What stands in the folder before the program runs.
#[derive(Clone, Debug)]
pub enum Node {
    /// A file with content and mode.
    File(Vec<u8>, u32),
    /// A directory with a mode.
    Directory(u32),
    /// A link to what stands under this name.
    Symlink(&'static str),
    /// Another name of the file under this name.
    HardLink(&'static str),
    /// A FIFO.
    Fifo,
}

/// A folder by paths: parents first.
pub type Layout = Vec<(&'static str, Node)>;

/// The time of every file in a layout, which no file made by a program has.
fn long_ago() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// Makes the layout in an empty folder.
///
/// # Panics
/// Where it can't be made.
pub fn build(folder: &Path, layout: &Layout) {
    use std::os::unix::fs::PermissionsExt;
    for (name, node) in layout {
        let path = folder.join(name);
        let mode = match node {
            Node::File(content, mode) => {
                fs::write(&path, content).expect("a file can be written");
                let file = fs::File::options().write(true).open(&path).expect("it opens");
                file.set_modified(long_ago()).expect("its time can be set");
                Some(*mode)
            }
            Node::Directory(mode) => {
                fs::create_dir(&path).expect("a directory can be made");
                Some(*mode)
            }
            Node::Symlink(to) => {
                symlink(to, &path).expect("a link can be made");
                None
            }
            Node::HardLink(to) => {
                fs::hard_link(folder.join(to), &path).expect("a link can be made");
                None
            }
            Node::Fifo => {
                let mode = nix::sys::stat::Mode::from_bits_truncate(0o644);
                nix::unistd::mkfifo(&path, mode).expect("a FIFO can be made");
                None
            }
        };
        if let Some(mode) = mode {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(&path, mode).expect("its mode can be set");
        }
    }
}

/// A command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Arguments.
    pub args: Vec<String>,
    /// Variables of the environment.
    pub variables: Vec<(String, String)>,
    /// What comes from standard input, by its name in the layout; nothing otherwise.
    pub input: Option<String>,
    /// The umask, in octal digits.
    pub umask: Option<String>,
}

impl Line {
    /// Reads a line as the tables of tests have it: words, of which `NAME=VALUE` at the beginning
    /// is a variable, `@027` the umask and `<FILE` what standard input brings.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut line = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let is_variable = word.starts_with("ZSTD_") && line.args.is_empty();
            match (word.strip_prefix('@'), word.strip_prefix('<'), word.split_once('=')) {
                (Some(umask), _, _) => line.umask = Some(umask.to_owned()),
                (_, Some(input), _) => line.input = Some(input.to_owned()),
                (_, _, Some((name, value))) if is_variable => {
                    line.variables.push((name.to_owned(), value.to_owned()));
                }
                // An argument without a letter can't be written otherwise.
                _ => line.args.push(if word == "''" { String::new() } else { word.to_owned() }),
            }
        }
        line
    }
}

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file: its mode, whether it has the time of its source, its content, unpacked if it was
    /// packed.
    File(u32, bool, Vec<u8>),
    /// A directory, with its mode.
    Directory(u32),
    /// A link, and where it leads.
    Symlink(PathBuf),
    /// Anything else.
    Other,
}

/// What a run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whether it said that all went well.
    pub succeeded: bool,
    /// Whether a signal ended it, which isn't compared: zstd 1.5.4 crashes where it can't open its
    /// output.
    pub crashed: bool,
    /// What it wrote to standard output, unpacked if it was packed.
    pub stdout: Vec<u8>,
    /// Everything in the folder.
    pub files: BTreeMap<PathBuf, Found>,
    /// What it said, which isn't compared.
    pub said: String,
}

/// Runs a program in a folder of its own.
///
/// # Panics
/// Where it can't be run.
#[must_use]
pub fn run(program: &Path, line: &Line, layout: &Layout) -> Left {
    let folder = in_memory().expect("a temporary folder");
    build(folder.path(), layout);
    let mut command = Command::new("sh");
    let umask = line.umask.as_deref().unwrap_or("022");
    command.arg("-c").arg(format!("umask {umask}; exec \"$0\" \"$@\"")).arg(program);
    command.args(&line.args).envs(line.variables.iter().cloned());
    command.current_dir(folder.path()).stdin(Stdio::null());
    let input = line.input.as_deref().map(|name| match content(layout, name) {
        Some(input) => input,
        None => panic!("{name} isn't in the layout"),
    });
    let output = run_with_input(&mut command, input.unwrap_or_default());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut files = BTreeMap::new();
    look(folder.path(), Path::new(""), &mut files);
    let stdout = unpacked(&output.stdout);
    let crashed = output.status.code().is_none();
    Left { succeeded: output.status.success(), crashed, stdout, files, said }
}

/// A folder where syncing takes no time, if there is one.
fn in_memory() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// The content of a file in a layout.
fn content<'a>(layout: &'a Layout, wanted: &str) -> Option<&'a [u8]> {
    layout.iter().find_map(|(name, node)| match node {
        Node::File(content, _) if *name == wanted => Some(content.as_slice()),
        _ => None,
    })
}

fn look(folder: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Found>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        let name = below.join(path.file_name().expect("an entry has a name"));
        let status = fs::symlink_metadata(&path).expect("it is there");
        let (kind, mode) = (status.file_type(), status.mode() & 0o7777);
        let found = if kind.is_dir() {
            look(&path, &name, files);
            Found::Directory(mode)
        } else if kind.is_symlink() {
            Found::Symlink(fs::read_link(&path).expect("a link can be read"))
        } else if kind.is_file() {
            let is_old = status.modified().is_ok_and(|time| time == long_ago());
            let bytes = fs::read(&path).expect("the file can be read");
            Found::File(mode, is_old, unpacked(&bytes))
        } else {
            assert!(kind.is_fifo(), "{}: nothing else is made", path.display());
            Found::Other
        };
        files.insert(name, found);
    }
}

/// The content, where it is a whole Zstandard file; else the bytes.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    const MAGICS: [[u8; 3]; 2] = [[0x28, 0xB5, 0x2F], [0x2A, 0x4D, 0x18]];
    let is_zstd = MAGICS.iter().any(|magic| bytes.windows(3).take(2).any(|it| it == magic));
    is_zstd.then(|| zstd::decode_all(bytes).ok()).flatten().unwrap_or_else(|| bytes.to_vec())
}

/// Where two runs differ, in a few words; nothing where they don't.
#[must_use]
pub fn difference(expected: &Left, found: &Left) -> Option<String> {
    let well = |left: &Left| if left.succeeded { "succeeds" } else { "fails" };
    if expected.succeeded != found.succeeded {
        return Some(format!("{} instead of {}", well(found), well(expected)));
    }
    if expected.stdout != found.stdout {
        let (found, expected) = (found.stdout.len(), expected.stdout.len());
        return Some(format!("standard output differs: {found} bytes, not {expected}"));
    }
    let names = expected.files.keys().chain(found.files.keys());
    names.into_iter().find_map(|name| {
        let (expected, found) = (expected.files.get(name), found.files.get(name));
        let shown = |found: Option<&Found>| match found {
            Some(Found::File(mode, is_old, content)) => {
                format!("a file of {} bytes, mode {mode:o}, old {is_old}", content.len())
            }
            other => format!("{other:?}"),
        };
        (expected != found)
            .then(|| format!("{}: {} instead of {}", name.display(), shown(found), shown(expected)))
    })
}
