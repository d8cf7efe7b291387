//! The arguments as typed: a file a command, and one for what several commands share.

mod bench;
mod cat;
mod clean;
mod doctor;
mod foreign;
mod generate;
mod guards;
mod info;
mod levels;
mod ls;
mod pack;
mod resume;
mod salvage;
mod shared;
mod tree;
mod unpack;
mod verify;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command as Clap, CommandFactory, FromArgMatches, Parser, Subcommand};
use ringpack::escape::{self, is_hidden};

pub(crate) use bench::Bench;
pub(crate) use cat::Cat;
pub(crate) use clean::Clean;
pub(crate) use doctor::Doctor;
pub(crate) use foreign::Foreign;
pub(crate) use generate::{Generate, What};
pub(crate) use guards::Guards;
pub(crate) use info::Info;
pub(crate) use levels::with_level_flags;
pub(crate) use ls::Ls;
pub(crate) use pack::{Digest, Pack, Placement};
pub(crate) use resume::Resume;
pub(crate) use salvage::Salvage;
pub(crate) use shared::{Checkpoints, Encoding, Io, IoMode, ProgressMode, Talk};
pub(crate) use tree::{PackTree, Sort};
pub(crate) use unpack::Unpack;
pub(crate) use verify::Verify;

const AS_ZSTD: &str = "\
zstd's flags work in the place of a command: ringpack -d FILE.zst, ringpack -19 -T0 FILE; or by
links named ringzstd, unringzstd and ringzstdcat, of which ringzstd -h says more.";

pub(crate) const EXIT_CODES: &str = "\
Exit codes (with zstd's flags, 0 and 1):
   0  done                             8  the output can't be written
   1  any other failure                9  no space left for the output
   2  wrong arguments                 10  the input changed while it was read
   3  the input can't be read         11  another process writes the same output
   4  no Zstandard file               12  io_uring was required and is refused
   5  a newer format, or not granted  13  nothing to resume, or not with this input
   6  the input is damaged            14  the command of --from-command failed
   7  the output exists already       15  the content isn't what was expected
                                      16  salvaged in part
                                      17  the content differs from its source
                                      70  a defect of ringpack
                                      75  stopped; resume goes on from a checkpoint
                                     129, 130, 143  ended by SIGHUP, SIGINT, SIGTERM
                                     141  the reader of the output went away";

const ENVIRONMENT: &str = "\
Environment:
  RINGPACK_THREADS, RINGPACK_LEVEL, RINGPACK_IO, RINGPACK_PROGRESS, RINGPACK_METRICS_FILE
      stand in for the options of these names; what is typed counts more
  RINGPACK_LOG   what is logged, as debug or ringpack=info
  RINGPACK_SANDBOX   off: reading files of others is not confined by Landlock
  NO_COLOR       no colours, if it is not empty
  SOURCE_DATE_EPOCH  stands in for --clamp-mtime
  TMPDIR         where scratch files stand if the output is a stream";

/// What stands below the help: zstd's flags, the exit codes and the environment.
fn help_after() -> String {
    format!("{AS_ZSTD}\n\n{EXIT_CODES}\n\n{ENVIRONMENT}")
}

/// Packs big data into one compressed, checksummed, seekable container, at the speed of the device.
///
/// A container is a Zstandard file: zstd -d restores it too. It appears under its name whole and
/// durable, or not at all.
#[derive(Debug, Parser)]
#[command(name = "ringpack", version, after_help = help_after(), max_term_width = 100)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Reads the arguments.
///
/// # Errors
/// Those of clap: wrong arguments, and help and version, which are printed instead.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Args, clap::Error> {
    let args = with_level_flags(args);
    let mut command = Args::command();
    // A level in the environment is a default, which `--store` may well contradict.
    if args.iter().any(|arg| arg == "--store") {
        let leave = |arg: clap::Arg| arg.env(None::<&str>);
        for name in ["pack", "bench"] {
            command = command.mut_subcommand(name, |command: Clap| command.mut_arg("level", leave));
        }
    }
    let matches = command.try_get_matches_from_mut(&args);
    Args::from_arg_matches(&matches.map_err(|error| blaming(error, &args, &command))?)
}

/// An error of clap's for people: arguments that hide something are shown as other names are.
pub(crate) fn shown(error: clap::Error) -> clap::Error {
    let text = error.render().to_string();
    let is_plain = |arg: OsString| arg.to_str().is_some_and(|arg| !arg.contains(is_hidden));
    if error.exit_code() == 0 || std::env::args_os().all(is_plain) {
        return error;
    }
    // The same mistake in arguments without anything hidden.
    let args = std::env::args_os().map(|arg| escape::shown(&arg).to_string().into());
    match parse(args) {
        Err(error) => error,
        // It was that they are no text.
        Ok(_) => {
            let what = text.lines().next().unwrap_or_default();
            let what = what.strip_prefix("error: ").unwrap_or(what);
            Args::command().error(ErrorKind::InvalidUtf8, escape::shown(what))
        }
    }
}

/// The error, naming the environment's variable where the value that is wrong came from there.
fn blaming(mut error: clap::Error, args: &[OsString], command: &Clap) -> clap::Error {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue).cloned() else {
        return error;
    };
    let is_typed = args.iter().any(|arg| arg.to_string_lossy().contains(&value));
    let all = command.get_subcommands().flat_map(Clap::get_arguments);
    let variable = all.filter_map(clap::Arg::get_env).find(|variable| {
        std::env::var_os(variable).is_some_and(|found| found.to_string_lossy() == value.as_str())
    });
    if let Some(variable) = variable.filter(|_| !is_typed) {
        let tip = format!("the environment variable {} says so", variable.to_string_lossy());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pack a file, block device, directory or stream into a container
    #[command(after_help = "Examples:
  ringpack pack disk.img                    writes disk.img.zst
  ringpack pack /srv/data                   writes /srv/data.tar.zst, which tar reads too
  ringpack pack -o db.zst --from-command -- pg_dump db
                                            packs what a command writes, if it ends well
  ringpack pack -19 -T4 /dev/vg/snap -o snap.zst
  ringpack pack --check disk.img            compares the container with disk.img, then publishes it

A stream's end says nothing of the program before it: if that fails midway, what it wrote until then
is packed and published. --from-command, --expect-size and --expect-blake3 find that out.")]
    Pack(Pack),
    /// Go on with a container whose packing was stopped, killed or cut off
    #[command(after_help = "Examples:
  ringpack resume disk.img.zst              reads the same input again
  ringpack resume db.zst --from-command -- pg_dump --restrict-key=k db
                                            runs the command again and compares
  tar -c /srv | ringpack resume srv.tar.zst a stream has to be sent again from its start")]
    Resume(Resume),
    /// Restore the content of a container, or the files of an archive in it
    #[command(after_help = "Examples:
  ringpack unpack disk.img.zst              writes disk.img
  ringpack unpack -c db.zst | psql db
  ringpack unpack --extract data.tar.zst -o /restore
  ringpack unpack --member 'data/*.conf' data.tar.zst")]
    Unpack(Unpack),
    /// Check every byte of a container
    #[command(after_help = "Examples:
  ringpack verify disk.img.zst              every byte, by its checksums
  ringpack verify --decode *.zst            decompresses too; the worst code of all
  ringpack verify --against disk.img disk.img.zst
                                            compares it with its source, byte by byte
  ringpack verify --against /srv/data data.tar.zst
                                            the same of a directory
  ringpack verify --repair-map disk.map disk.img.zst || \\
      ddrescue replica.img.zst disk.img.zst disk.map
                                            fetches what is damaged, and nothing else")]
    Verify(Verify),
    /// Restore what is intact of a damaged container or a partial file
    #[command(after_help = "\
What is lost becomes a hole in FILE, and FILE.map says where: a mapfile as GNU ddrescue reads it.
The code is 0 only if nothing is missing, 16 if it was restored in part.

Examples:
  ringpack salvage disk.img.zst -o disk.img
  ringpack salvage db.zst.ringpack-partial -o db.part")]
    Salvage(Salvage),
    /// Write a range of the content, or a file of an archive, to standard output
    #[command(after_help = "Examples:
  ringpack cat --offset 1M --length 4K disk.img.zst | hexdump -C
  ringpack cat data.tar.zst data/etc/hosts")]
    Cat(Cat),
    /// List the members of an archive in a container
    #[command(after_help = "Examples:
  ringpack ls data.tar.zst
  ringpack ls -l data.tar.zst 'data/etc/*'")]
    Ls(Ls),
    /// Say what a container holds
    #[command(after_help = "Example:
  ringpack info --json disk.img.zst | jq .content_size")]
    Info(Info),
    /// Remove what runs that ended early left in a directory
    #[command(after_help = "Examples:
  ringpack clean -n /srv/backup             says what would be removed
  ringpack clean /srv/backup                removes it; what is in use stays")]
    Clean(Clean),
    /// Measure the device, the codec and the engine here, and say what holds it back
    #[command(after_help = "Examples:
  ringpack bench                            in the current directory, with made-up content
  ringpack bench -1 --dir /srv/backup /var/lib/db/dump --json")]
    Bench(Bench),
    /// Say what this system lets ringpack do, what the lack costs, and the remedy
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(Doctor),
    /// Write manual pages and completions, for packagers
    #[command(hide = true)]
    Generate(Generate),
}

impl Command {
    /// Whether another program is run, which may need rights that this one has no use for.
    pub(crate) fn runs_a_program(&self) -> bool {
        match self {
            Self::Pack(args) => args.guards.from_command,
            Self::Resume(args) => args.guards.from_command,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn pack(args: &str) -> Result<Pack, clap::Error> {
        let args = args.split(' ').map(OsString::from);
        let args = std::iter::once("ringpack".into()).chain(args);
        match Args::try_parse_from(with_level_flags(args))?.command {
            Command::Pack(pack) => Ok(pack),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn levels_as_zstd_spells_them() {
        assert_eq!(pack("pack -1 in").unwrap().encoding.level, Some(1));
        assert_eq!(pack("pack in -19").unwrap().encoding.level, Some(19));
        assert_eq!(pack("pack --ultra -22 in").unwrap().encoding.level, Some(22));
        assert_eq!(pack("pack in").unwrap().encoding.level, None);
        assert_eq!(pack("pack - -o out").unwrap().inputs, [PathBuf::from("-")]);
        assert_eq!(pack("pack -- -5").unwrap().inputs, [PathBuf::from("-5")]);
        assert_eq!(pack("pack -o=-5 in").unwrap().output, Some(PathBuf::from("-5")));
        for args in ["cat --offset -1", "pack -o -1", "pack -- -1", "bench --dir -1"] {
            let args: Vec<OsString> =
                ["ringpack"].into_iter().chain(args.split(' ')).map(OsString::from).collect();
            assert_eq!(with_level_flags(args.iter().cloned()), args);
        }
        assert_eq!(
            pack("pack --from-command -- -5 -1 -o").unwrap().inputs,
            ["-5", "-1", "-o"].map(PathBuf::from)
        );
        for wrong in ["pack -0 in", "pack -23 in", "pack -1 --store in", "pack -999 in"] {
            assert_eq!(pack(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn threads_as_zstd_spells_them() {
        assert_eq!(pack("pack -T4 in").unwrap().io.threads, 4);
        assert_eq!(pack("pack -T 8 in").unwrap().io.threads, 8);
        assert_eq!(pack("pack in").unwrap().io.threads, 0);
    }
}
