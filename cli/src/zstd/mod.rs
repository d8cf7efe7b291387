//! The command line of `zstd`, for who has it in the fingers or in scripts: flags without a
//! subcommand, or a link to this program whose name says what it does.
//!
//! | name | meaning |
//! |---|---|
//! | `ringzstd` | `ringpack -z` |
//! | `unringzstd` | `ringpack -d` |
//! | `ringzstdcat` | `ringpack -dcf` |
//!
//! Each file becomes the arguments of a subcommand, which does the work. The exit code is zstd's: 0
//! or 1, and 128 and more by signals.

mod asking;
mod files;
mod flags;
mod joined;
mod list;
mod mirror;
mod numbers;
mod translate;
mod tuning;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::commands::{Paths, are_apart};
use crate::exit::{FAILURE, Failure};
use crate::message;
use crate::signals::Signals;

use flags::{Flags, Mode, Output};

/// Asked for by name or by flags.
#[derive(Debug)]
pub(crate) struct Invocation {
    flags: Flags,
    args: Vec<OsString>,
}

const HELP: &str = "\
zstd's flags, for packing, unpacking, testing and listing; ringpack --help has the subcommands.

Usage: ringpack FLAGS [FILE]...  (a FLAG first), or links to it:
       ringzstd [FLAGS] [FILE]...     packs, as ringpack -z
       unringzstd [FLAGS] [FILE]...   unpacks, as ringpack -d
       ringzstdcat [FLAGS] [FILE]...  unpacks to standard output, as ringpack -dcf

Without FILE, or where it is -, standard input is read, and standard output written.
FILE is packed to FILE.zst and FILE.zst unpacked to FILE; either stays.

  -z, --compress      pack [default]         -d, --decompress   unpack
  -t, --test          check every frame      -l, --list         frames, sizes, ratio (-lv: more)
  -1 ... -19          level [default: 3]     --ultra            allow -20, -21, -22
  -o FILE             write to FILE          -c, --stdout       write to standard output
  --output-dir-flat DIR    write into DIR    --output-dir-mirror DIR  the same, with directories
  -k, --keep          keep FILE [default]    --rm               remove FILE afterwards
  -f, --force         replace; also terminals, links, block devices
  -T N, --threads=N   threads; 0 is one per core [default]
  -r                  what is in directories too; --filelist=LIST: names, one a line
  --exclude-compressed     pass over FILEs that are compressed already, by their names
  --stream-size=N     standard input has N bytes, or it is an error
  -q, -v              say less, say more     -h, -V             this, and the version
  --long[=N], -M SIZE, --memory=SIZE         window that a frame may have when unpacking
  --[no-]pass-through      copy what is no Zstandard file [default: with -c and -f]

ZSTD_CLEVEL and ZSTD_NBTHREADS are the defaults of level and threads. Files are published whole and
durable or not at all. Flags that have no effect here say so, unless -q is given: --fast, --adapt,
--rsyncable, --zstd=..., --no-check and others. Dictionaries, benchmarks, training, --patch-from and
other formats aren't offered. The exit code is 0, or 1 where anything failed.
";

/// Whether the program was called as zstd is: by a link's name, or with a flag where a subcommand
/// would stand.
pub(crate) fn invoked(args: impl Iterator<Item = OsString>) -> Option<Invocation> {
    let mut args = args;
    let program = args.next()?;
    let name = Path::new(&program).file_name()?.as_bytes().to_owned();
    let args: Vec<OsString> = args.collect();
    let mut flags = Flags::new(Mode::Compress);
    match name.as_slice() {
        b"ringzstd" => {}
        b"unringzstd" => flags.mode = Mode::Decompress,
        b"ringzstdcat" => {
            flags.mode = Mode::Decompress;
            (flags.output, flags.force) = (Some(Output::Stdout), true);
            flags.pass_through = Some(true);
        }
        _ => {
            let first = args.first()?.as_bytes();
            let is_ours = [&b"-h"[..], b"--help", b"-V", b"--version"].contains(&first);
            if !first.starts_with(b"-") || is_ours {
                return None;
            }
        }
    }
    Some(Invocation { flags, args })
}

impl Invocation {
    /// Does what was asked.
    pub(crate) fn run(self, signals: &Signals) -> ExitCode {
        let Self { mut flags, args } = self;
        if let Err(what) = flags.read(args.into_iter()) {
            message::error(&format!("{what}; -h lists the flags"));
            return ExitCode::from(FAILURE);
        }
        flags.read_environment(|name| std::env::var_os(name));
        for note in flags.notes.iter().filter(|_| flags.quiet == 0) {
            message::warning(note);
        }
        let code = run(&mut flags, signals).unwrap_or_else(|failure| as_zstd(&failure, signals));
        ExitCode::from(code)
    }
}

fn run(flags: &mut Flags, signals: &Signals) -> Result<u8, Failure> {
    match flags.mode {
        Mode::Help => return crate::commands::print(HELP).map(|_| 0),
        Mode::Version => {
            let version = concat!("ringpack ", env!("CARGO_PKG_VERSION"), "\n");
            return crate::commands::print(version).map(|_| 0);
        }
        Mode::Compress => translate::check_long(flags)?,
        Mode::Decompress | Mode::Test => drop(translate::window_bytes(flags)?),
        Mode::List => {}
    }
    let mut code = 0;
    let files = files::chosen(flags, &mut code)?;
    if files.is_empty() {
        return Ok(code);
    }
    let is_joined = match flags.mode {
        Mode::Compress => flags.output.is_some(),
        Mode::Decompress => flags.output_file().is_some(),
        _ => false,
    };
    let is_joined = is_joined && files.len() > 1;
    if !is_joined && matches!(flags.mode, Mode::Compress | Mode::Decompress) {
        prepare(&files, flags)?;
    }
    if flags.mode != Mode::Compress {
        translate::needs(&files, flags).enter();
    }
    if flags.mode == Mode::List {
        return list::list(&files, flags.verbose > 0, signals, code);
    }
    if is_joined {
        return joined::join(&files, flags, signals).map(|failed| code.max(failed));
    }
    for lot in translate::lots(&files, flags) {
        if let Err(failure) = translate::lot(lot, &files, flags, signals) {
            code = code.max(as_zstd(&failure, signals));
            if signals.cancel().is_cancelled() {
                break;
            }
        }
    }
    Ok(code)
}

/// Refuses outputs of which one would be lost, and makes the directories that they go into.
fn prepare(files: &[PathBuf], flags: &Flags) -> Result<(), Failure> {
    let output = |file: &PathBuf| match translate::goes_to_stdout(file, flags) {
        true => None,
        // What has no output is told when it is unpacked.
        false => translate::target(file, flags).ok(),
    };
    let jobs: Vec<Paths> = files.iter().map(|file| (file.clone(), output(file))).collect();
    are_apart(&jobs, flags.force)?;
    if let (Some(root), None) = (&flags.mirror, &flags.output) {
        for file in jobs.iter().filter_map(|(file, output)| output.as_ref().map(|_| file)) {
            mirror::make(file, root)?;
        }
    }
    Ok(())
}

/// Says why; the code is 1, or a signal's.
fn as_zstd(failure: &Failure, signals: &Signals) -> u8 {
    match failure.say(signals) {
        code @ 128.. => code,
        _ => FAILURE,
    }
}
