//! Files, by the subcommand that does the same.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use ringpack::escape::shown;

use super::asking::{ask, can_ask, is_in_the_way};
use super::flags::{Flags, Mode, Progress};
use super::mirror;
use crate::args::Args;
use crate::commands::{self, is_stream};
use crate::exit::Failure;
use crate::message;
use crate::names;
use crate::sandbox::Needs;
use crate::signals::Signals;
use crate::streams;

/// The windows that zstd's decoder can be limited to, in bytes.
const WINDOW_BYTES: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 31;
/// The same as logarithms, for packing.
const WINDOW_LOGS: std::ops::RangeInclusive<u64> = 10..=31;

/// The files in lots that one command can do: all at once where the options are the same for each,
/// so that small ones are done side by side and the metrics are of all of them.
pub(super) fn lots<'a>(
    files: &'a [PathBuf],
    flags: &Flags,
) -> impl Iterator<Item = &'a [PathBuf]> + use<'a> {
    let is_asked = |file: &PathBuf| target(file, flags).is_ok_and(|target| is_in_the_way(&target));
    let are_alike = (flags.mode == Mode::Test || has_own_name(flags))
        && !files.iter().any(|file| names::is_standard_stream(file))
        && (!flags.remove || files.iter().all(|file| is_removable(file)))
        && (flags.force
            || flags.mode == Mode::Test
            || !can_ask(files, flags)
            || !files.iter().any(is_asked));
    files.chunks(if are_alike { files.len().max(1) } else { 1 })
}

/// Whether each file's output stands beside it.
fn has_own_name(flags: &Flags) -> bool {
    flags.output.is_none() && flags.folder.is_none() && flags.mirror.is_none()
}

/// Packs, unpacks or tests a lot of files, of those in `all`.
pub(super) fn lot(
    files: &[PathBuf],
    all: &[PathBuf],
    flags: &Flags,
    signals: &Signals,
) -> Result<(), Failure> {
    let args = arguments(files, all, flags)?;
    let args = Args::try_parse_from(args).map_err(|error| Failure::Usage(error.to_string()))?;
    match commands::run(args, signals)? {
        ExitCode::SUCCESS => Ok(()),
        // What testing found, or what became of one of several, was said already.
        _ => Err(Failure::Said),
    }
}

/// What reading all of the files takes, and writing what becomes of them.
pub(super) fn needs(files: &[PathBuf], flags: &Flags) -> Needs {
    let mut needs = Needs::default();
    let unpacks = flags.mode == Mode::Decompress;
    for file in files {
        needs.reads(file);
        if unpacks && is_stream(file) {
            needs.spools();
        }
        if unpacks && !goes_to_stdout(file, flags) {
            // Where there is no name for it, that is said of the file.
            target(file, flags).iter().for_each(|target| needs.writes(target));
            if flags.remove {
                needs.removes(file);
            }
        }
    }
    if unpacks && files.len() > 1 && flags.output_file().is_some() {
        // They are read through a pipe.
        needs.spools();
    }
    if let Some(metrics) = std::env::var_os("RINGPACK_METRICS_FILE") {
        needs.writes(Path::new(&metrics));
    }
    needs
}

/// The subcommand's arguments.
fn arguments(files: &[PathBuf], all: &[PathBuf], flags: &Flags) -> Result<Vec<OsString>, Failure> {
    let command = match flags.mode {
        Mode::Compress => "pack",
        Mode::Decompress => "unpack",
        _ => "verify",
    };
    let mut args: Vec<OsString> = vec!["ringpack".into(), command.into()];
    let mut add = |arg: String| args.push(arg.into());
    add(format!("--threads={}", threads(flags)));
    if flags.quiet > 0 {
        add("--quiet".into());
    } else if flags.verbose > 0 {
        add("--verbose".into());
    }
    match flags.progress {
        Some(Progress::Always) => add("--progress=always".into()),
        Some(Progress::Never) => add("--progress=never".into()),
        None => {}
    }
    match flags.mode {
        Mode::Compress => {
            add(format!("--level={}", level(flags)));
            // Nothing of an interrupted zstd is there to go on with.
            add("--no-checkpoint".into());
            add("--ultra".into());
            if let (Some(size), [file]) = (flags.stream_size, files)
                && size > 0
                && is_a_stream(file)
            {
                add(format!("--expect-size={size}"));
            }
        }
        Mode::Decompress | Mode::Test => {
            if let Some(bytes) = window_bytes(flags)? {
                add(format!("--memory={bytes}"));
            }
            let to_stdout = files.iter().any(|file| goes_to_stdout(file, flags));
            if flags.mode == Mode::Test {
                add("--decode".into());
            } else if flags.pass_through.unwrap_or(flags.force && to_stdout) {
                add("--pass-through".into());
            }
        }
        _ => {}
    }
    if flags.mode != Mode::Test {
        output(files, all, flags, &mut args)?;
    }
    args.push("--".into());
    args.extend(files.iter().map(Into::into));
    Ok(args)
}

/// Says where the output goes, and what may happen to what is there and to the sources. Of several
/// files each has its own name beside it, and nobody is asked ([`lots`]).
fn output(
    files: &[PathBuf],
    all: &[PathBuf],
    flags: &Flags,
    args: &mut Vec<OsString>,
) -> Result<(), Failure> {
    let (mut force, mut remove) = (flags.force, flags.remove);
    if let [file] = files {
        if goes_to_stdout(file, flags) {
            args.push("--stdout".into());
            // Asked for, it may be a terminal.
            force |= flags.to_stdout();
            remove = false;
        } else {
            let target = target(file, flags)?;
            if !force && is_in_the_way(&target) && can_ask(all, flags) {
                ask(&format!("{} already exists; overwrite", shown(&target)))?;
                force = true;
            }
            if !has_own_name(flags) {
                let mut arg = OsString::from("--output=");
                arg.push(&target);
                args.push(arg);
            }
            remove = remove && !streams::is_in_order(&target) && may_remove(file, flags);
        }
    }
    let options = [(remove, "--rm"), (force, "--force")];
    args.extend(options.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name.into()));
    Ok(())
}

/// Whether a source can be removed; says so of a link, which zstd would remove.
fn may_remove(file: &Path, flags: &Flags) -> bool {
    if file.is_symlink() && flags.quiet == 0 {
        message::warning(&format!("{}: is a symbolic link, which stays", shown(file)));
    }
    is_removable(file)
}

fn is_removable(file: &Path) -> bool {
    // What isn't there is found out when it is opened.
    !names::is_standard_stream(file)
        && file.symlink_metadata().map_or(true, |found| found.is_file())
}

/// Whether the length of an input isn't known before its end.
fn is_a_stream(file: &Path) -> bool {
    names::is_standard_stream(file)
        || fs::metadata(file).is_ok_and(|found| found.file_type().is_fifo())
}

pub(super) fn goes_to_stdout(file: &Path, flags: &Flags) -> bool {
    match flags.output_file() {
        Some(path) => names::is_standard_output(path),
        None => flags.to_stdout() || names::is_standard_stream(file),
    }
}

/// The file that a file's output goes to.
pub(super) fn target(file: &Path, flags: &Flags) -> Result<PathBuf, Failure> {
    if let Some(output) = flags.output_file() {
        return Ok(output.to_owned());
    }
    let target = match flags.mode {
        Mode::Compress => names::packed(file),
        _ => names::unpacked(file).ok_or_else(|| {
            let what = "has none of the suffixes .zst, .zstd and .tzst: name the output with -o";
            Failure::Usage(format!("{}: {what}", shown(file)))
        })?,
    };
    let name = target.file_name().unwrap_or_default();
    Ok(match (&flags.mirror, &flags.folder) {
        (Some(root), _) => mirror::folder(file, root)?.join(name),
        (None, Some(folder)) => folder.join(name),
        (None, None) => target,
    })
}

/// How many threads, 0 for as many as there are cores.
pub(super) fn threads(flags: &Flags) -> u64 {
    flags.threads.unwrap_or(0).min(ringpack::limits::CORES_MAX as u64)
}

/// The largest window that a frame may have to be unpacked, if that was said.
pub(super) fn window_bytes(flags: &Flags) -> Result<Option<u64>, Failure> {
    // As with zstd, the logarithm is one of 32 bits.
    let long = flags.long.filter(|&log| log > 0).map(|log| 1 << (log & 31));
    match flags.memory.filter(|&bytes| bytes > 0).or(long) {
        Some(bytes) if !WINDOW_BYTES.contains(&bytes) => {
            let what = format!("a window of {bytes} bytes is outside 1 KiB to 2 GiB");
            Err(Failure::Usage(what))
        }
        bytes => Ok(bytes),
    }
}

/// Refuses a window that zstd would refuse for packing.
pub(super) fn check_long(flags: &Flags) -> Result<(), Failure> {
    match flags.long {
        Some(log) if log > 0 && !WINDOW_LOGS.contains(&log) => {
            Err(Failure::Usage(format!("--long={log} is outside 10 to 31")))
        }
        Some(_) if flags.quiet == 0 => {
            let what = "--long has no effect on packing: repeats are found within a chunk";
            message::warning(what);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The level, which without `--ultra` is 19 at most, as with zstd.
pub(super) fn level(flags: &Flags) -> i32 {
    use ringpack::limits::{LEVEL_COMMON_MAX, LEVEL_DEFAULT, LEVEL_MAX};
    let wanted = flags.level.filter(|&level| level != 0).unwrap_or(LEVEL_DEFAULT);
    let most = if flags.ultra { LEVEL_MAX } else { LEVEL_COMMON_MAX };
    if wanted > most && flags.quiet == 0 {
        message::warning(&format!("level {wanted} is more than there is: {most} is used"));
    }
    wanted.min(most)
}
