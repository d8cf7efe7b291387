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

mod files;
mod flags;
mod joined;
mod list;
mod translate;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use crate::exit::{FAILURE, Failure};
use crate::message;
use crate::signals::Signals;

use flags::{Flags, Mode};

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
  --output-dir-flat DIR  write into DIR      -f, --force        replace; also terminals, links
  -k, --keep          keep FILE [default]    --rm               remove FILE afterwards
  -T N, --threads=N   threads; 0 is one a core [default]
  -r                  what is in directories too; --filelist=LIST: names, one a line
  -q, -v              say less, say more     -h, -V             this, and the version
  --long[=N], -M SIZE, --memory=SIZE         window that others' frames may have when unpacking;
                      packing finds repeats within a chunk, whatever --long says

Files are published whole and durable or not at all. --fast is level 1. --[no-]check, --[no-]sparse,
--[no-]progress, --[no-]asyncio, --adapt, --rsyncable and the like are accepted and change nothing:
checksums are always there, zeros become holes. Dictionaries, benchmarks, training, --patch-from and
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
            (flags.stdout, flags.force, flags.pass_through) = (true, true, Some(true));
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
            message::error(&format!("{what}; -h lists what is"));
            return ExitCode::from(FAILURE);
        }
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
        Mode::List if flags.files.is_empty() && flags.lists.is_empty() => {
            return Err(Failure::Usage("-l needs a file: a pipe isn't listed".to_owned()));
        }
        _ => {}
    }
    let mut code = 0;
    let files = files::chosen(flags, &mut code)?;
    if files.is_empty() {
        return Ok(code);
    }
    if flags.mode != Mode::Compress {
        translate::needs(&files, flags).enter();
    }
    if flags.mode == Mode::List {
        return list::list(&files, flags.verbose > 0, signals, code);
    }
    if flags.mode == Mode::Compress && files.len() > 1 && (flags.stdout || flags.output.is_some()) {
        return joined::pack(&files, flags, signals).map(|failed| code.max(failed));
    }
    if files.len() > 1 && flags.output.is_some() {
        let what = "several files can't be unpacked into one: -c writes them one after the other";
        return Err(Failure::Usage(what.to_owned()));
    }
    for lot in translate::lots(&files, flags) {
        if let Err(failure) = translate::lot(lot, flags, signals) {
            code = code.max(as_zstd(&failure, signals));
            if signals.cancel().is_cancelled() {
                break;
            }
        }
    }
    Ok(code)
}

/// Says why; the code is 1, or a signal's.
fn as_zstd(failure: &Failure, signals: &Signals) -> u8 {
    match failure.say(signals) {
        code @ 128.. => code,
        _ => FAILURE,
    }
}
