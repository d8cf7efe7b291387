//! Files, by the subcommand that does the same.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use ringpack::escape::shown;

use super::flags::{Flags, Mode};
use crate::args::Args;
use crate::commands::{self, is_stream};
use crate::exit::Failure;
use crate::message;
use crate::names;
use crate::sandbox::Needs;
use crate::signals::Signals;

/// The files in lots that one command can do: all at once where the options are the same for each,
/// so that small ones are done side by side and the metrics are of all of them.
pub(super) fn lots<'a>(
    files: &'a [PathBuf],
    flags: &Flags,
) -> impl Iterator<Item = &'a [PathBuf]> + use<'a> {
    let is_removable = |file: &PathBuf| file.symlink_metadata().is_ok_and(|found| found.is_file());
    let has_own_name = flags.mode == Mode::Test
        || (flags.output.is_none() && flags.output_folder.is_none() && !flags.stdout);
    let are_alike = has_own_name
        && (flags.force || flags.mode == Mode::Test || !can_ask())
        && !files.iter().any(|file| names::is_standard_stream(file))
        && (!flags.remove || files.iter().all(is_removable));
    files.chunks(if are_alike { files.len().max(1) } else { 1 })
}

/// Packs, unpacks or tests a lot of files.
pub(super) fn lot(files: &[PathBuf], flags: &Flags, signals: &Signals) -> Result<(), Failure> {
    let args = arguments(files, flags)?;
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
    if let Some(metrics) = std::env::var_os("RINGPACK_METRICS_FILE") {
        needs.writes(Path::new(&metrics));
    }
    needs
}

/// The subcommand's arguments.
fn arguments(files: &[PathBuf], flags: &Flags) -> Result<Vec<OsString>, Failure> {
    let command = match flags.mode {
        Mode::Compress => "pack",
        Mode::Decompress => "unpack",
        _ => "verify",
    };
    let mut args: Vec<OsString> = vec!["ringpack".into(), command.into()];
    let mut add = |arg: String| args.push(arg.into());
    add(format!("--threads={}", flags.threads.unwrap_or(0)));
    if flags.quiet > 0 {
        add("--quiet".into());
    } else if flags.verbose > 0 {
        add("--verbose".into());
    }
    match flags.mode {
        Mode::Compress => {
            add(format!("--level={}", level(flags)));
            // Nothing of an interrupted zstd is there to go on with.
            add("--no-checkpoint".into());
            add("--ultra".into());
        }
        Mode::Decompress | Mode::Test => {
            match (flags.long, flags.memory) {
                (_, Some(bytes)) => add(format!("--memory={bytes}")),
                (Some(log), None) => add(format!("--long={log}")),
                (None, None) => {}
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
        output(files, flags, &mut args)?;
    }
    args.push("--".into());
    args.extend(files.iter().map(Into::into));
    Ok(args)
}

/// Says where the output goes, and what may happen to what is there and to the sources. Of several
/// files each has its own name beside it, and nobody is asked ([`lots`]).
fn output(files: &[PathBuf], flags: &Flags, args: &mut Vec<OsString>) -> Result<(), Failure> {
    let (mut force, mut remove) = (flags.force, flags.remove);
    if let [file] = files {
        if goes_to_stdout(file, flags) {
            args.push("--stdout".into());
            // Asked for, it may be a terminal.
            force |= flags.stdout;
            remove = false;
        } else {
            let target = target(file, flags)?;
            force = force || may_replace(file, &target)?;
            args.extend(["--output".into(), target.into()]);
            remove &= !names::is_standard_stream(file);
        }
    }
    let options = [(remove, "--rm"), (force, "--force")];
    args.extend(options.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name.into()));
    Ok(())
}

pub(super) fn goes_to_stdout(file: &Path, flags: &Flags) -> bool {
    let named = flags.output.as_deref();
    flags.stdout
        || named.is_some_and(names::is_standard_stream)
        || (named.is_none() && names::is_standard_stream(file))
}

fn target(file: &Path, flags: &Flags) -> Result<PathBuf, Failure> {
    if let Some(output) = &flags.output {
        return Ok(output.clone());
    }
    let target = match flags.mode {
        Mode::Compress => names::packed(file),
        _ => names::unpacked(file).ok_or_else(|| {
            let what = "has none of the suffixes .zst and .tzst: name the output with -o";
            Failure::Usage(format!("{}: {what}", shown(file)))
        })?,
    };
    Ok(match (&flags.output_folder, target.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => target,
    })
}

/// Whether a person is there to be asked.
fn can_ask() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks a person whether what is there may be replaced; who isn't one is refused later.
fn may_replace(file: &Path, target: &Path) -> Result<bool, Failure> {
    if !can_ask() || names::is_standard_stream(file) || target.symlink_metadata().is_err() {
        return Ok(false);
    }
    let _ = write!(stderr(), "{} already exists; overwrite (y/n)? ", shown(target));
    let mut answer = String::new();
    let _ = stdin().lock().read_line(&mut answer);
    if answer.trim().eq_ignore_ascii_case("y") {
        return Ok(true);
    }
    message::note("not overwritten");
    Err(Failure::Said)
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
