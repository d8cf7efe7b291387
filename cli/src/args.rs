//! The arguments as typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::size;

const EXIT_CODES: &str = "\
Exit codes:
   0  done                             8  the output can't be written
   1  any other failure                9  no space left for the output
   2  wrong arguments                 10  the input changed while it was read
   3  the input can't be read         11  another process writes the same output
   4  the input is no container       12  io_uring was required and is refused
   5  a newer format                  13  nothing to resume, or not with this input
   6  the container is damaged        75  stopped; resume goes on from a checkpoint
   7  the output exists already      129, 130, 143  ended by SIGHUP, SIGINT, SIGTERM
                                     141  the reader of the output went away";

/// Packs big data into one compressed, checksummed, seekable container, at the speed of the device.
///
/// A container is a Zstandard file: zstd -d restores it too. It appears under its name whole and
/// durable, or not at all.
#[derive(Debug, Parser)]
#[command(name = "ringpack", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pack a file, block device or stream into a container
    #[command(after_help = "Examples:
  ringpack pack disk.img                    writes disk.img.zst
  pg_dump db | ringpack pack - -o db.zst    packs a stream
  ringpack pack -19 -T4 /dev/vg/snap -o snap.zst")]
    Pack(Pack),
    /// Go on with a container whose packing was stopped, killed or cut off
    #[command(after_help = "Examples:
  ringpack resume disk.img.zst              reads the same input again
  pg_dump db | ringpack resume db.zst       a stream has to be sent again from its start")]
    Resume(Resume),
    /// Restore the content of a container
    #[command(after_help = "Examples:
  ringpack unpack disk.img.zst              writes disk.img
  ringpack unpack -c db.zst | psql db")]
    Unpack(Unpack),
    /// Check every byte of a container
    Verify(Verify),
    /// Write a range of the content to standard output
    #[command(after_help = "Example:
  ringpack cat --offset 1M --length 4K disk.img.zst | hexdump -C")]
    Cat(Cat),
    /// Say what a container holds
    Info(Info),
    /// Remove what runs that ended early left in a directory
    Clean(Clean),
    /// Measure the device, the codec and the engine here, and say what holds it back
    #[command(after_help = "Examples:
  ringpack bench                            in the current directory, with made-up content
  ringpack bench -1 --dir /srv/backup /var/lib/db/dump --json")]
    Bench(Bench),
}

/// `ringpack pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pack {
    /// File, block device or FIFO to pack; - is standard input
    pub(crate) input: PathBuf,
    /// Container to write [default: INPUT.zst; standard output if the input is -]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write to standard output
    #[arg(short = 'c', long, conflicts_with = "output")]
    pub(crate) stdout: bool,
    #[command(flatten)]
    pub(crate) encoding: Encoding,
    /// Length of a chunk, the unit of random access: a power of two from 64K to 64M
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = size::chunk_log2)]
    pub(crate) chunk_size: u8,
    /// Where frames stand: back to back, or each in a slot of its own
    #[arg(long, value_enum, default_value_t = Placement::Dense)]
    pub(crate) placement: Placement,
    /// Digest of the whole content to keep in the container; blake3 is what b3sum prints
    #[arg(long, value_enum, default_value_t = Digest::None)]
    pub(crate) digest: Digest,
    /// Replace an existing output
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the input once the container is durable
    #[arg(long, conflicts_with = "stdout")]
    pub(crate) rm: bool,
    /// Go on from the last checkpoint, if an earlier run left one
    #[arg(long, conflicts_with = "stdout")]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) checkpoints: Checkpoints,
    #[command(flatten)]
    pub(crate) io: Io,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

/// `ringpack resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    /// Container that was being written
    pub(crate) target: PathBuf,
    /// Where the same input is now; - is standard input [default: where it was; standard input if
    /// that was a pipe]
    pub(crate) input: Option<PathBuf>,
    /// Replace an output that exists by now
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) checkpoints: Checkpoints,
    #[command(flatten)]
    pub(crate) io: Io,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

/// `ringpack clean`.
#[derive(Debug, clap::Args)]
pub(crate) struct Clean {
    /// Directories to look in; those below them are left alone
    #[arg(required = true)]
    pub(crate) directories: Vec<PathBuf>,
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// `ringpack bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// File whose first bytes are packed [default: text, noise and zeros made up]
    pub(crate) input: Option<PathBuf>,
    /// Directory on the disk to measure; what is made there is removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Bytes of content; three times as much space is needed
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size::bytes)]
    pub(crate) size: u64,
    /// Times that everything is measured, in turn
    #[arg(long, value_name = "N", default_value = "5")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) encoding: Encoding,
    /// Length of a chunk: a power of two from 64K to 64M
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = size::chunk_log2)]
    pub(crate) chunk_size: u8,
    /// As JSON: seconds and bytes
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) io: Io,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The codec, as zstd's options say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Encoding {
    /// Compression level, also as -1 to -19 [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) level: Option<i32>,
    /// Don't compress
    #[arg(long, conflicts_with = "level")]
    pub(crate) store: bool,
}

/// When checkpoints are taken.
#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoints {
    /// Take no checkpoints: what is stopped starts anew
    #[arg(long, conflicts_with_all = ["checkpoint_size", "checkpoint_seconds", "keep_partial"])]
    pub(crate) no_checkpoint: bool,
    /// Input from one checkpoint to the next [default: 1G, less often where it costs over 2%]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub(crate) checkpoint_size: Option<u64>,
    /// Time from one checkpoint to the next [default: 10, less often where it costs over 2%]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) checkpoint_seconds: Option<u64>,
    /// Keep the partial file when interrupted (Ctrl-C), to resume from
    #[arg(long)]
    pub(crate) keep_partial: bool,
}

/// `ringpack unpack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unpack {
    /// Container to restore
    pub(crate) input: PathBuf,
    /// File to write [default: INPUT without .zst]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write to standard output
    #[arg(short = 'c', long, conflicts_with = "output")]
    pub(crate) stdout: bool,
    /// Replace an existing output
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the container once the output is durable
    #[arg(long, conflicts_with = "stdout")]
    pub(crate) rm: bool,
    #[command(flatten)]
    pub(crate) io: Io,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

/// `ringpack verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Containers to check
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Decompress every chunk as well
    #[arg(long)]
    pub(crate) decode: bool,
    #[command(flatten)]
    pub(crate) io: Io,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

/// `ringpack cat`.
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// Container to read
    pub(crate) input: PathBuf,
    /// Where the range starts in the content
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size::bytes)]
    pub(crate) offset: u64,
    /// How long the range is [default: to the end]
    #[arg(long, value_name = "BYTES", value_parser = size::bytes)]
    pub(crate) length: Option<u64>,
    /// Write to a terminal all the same
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `ringpack info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// Container to describe
    pub(crate) input: PathBuf,
    /// As JSON, sizes in bytes
    #[arg(long)]
    pub(crate) json: bool,
}

/// How I/O is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Io {
    /// Worker threads; 0 is one a core
    #[arg(short = 'T', long, value_name = "N", default_value = "0")]
    pub(crate) threads: usize,
    /// How to read and write
    #[arg(long = "io", value_enum, default_value_t = IoMode::Auto)]
    pub(crate) mode: IoMode,
    /// Go through the page cache
    #[arg(long)]
    pub(crate) no_direct: bool,
}

/// How much is said.
#[derive(Debug, clap::Args)]
pub(crate) struct Talk {
    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Say what was done and how
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// Where frames stand.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Placement {
    /// Back to back
    Dense,
    /// Each chunk in a slot of its own
    Slots,
}

/// Digest of the content.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Digest {
    /// CRC32C only
    None,
    /// BLAKE3 as well
    Blake3,
}

/// How to read and write.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum IoMode {
    /// io_uring where the system grants it
    Auto,
    /// io_uring or an error
    Uring,
    /// pread and pwrite
    Pwrite,
}

/// Options of `pack` and `bench` whose value is an argument of its own.
const WITH_VALUE: [&str; 14] = [
    "-o",
    "--output",
    "--level",
    "--chunk-size",
    "--placement",
    "--digest",
    "-T",
    "--threads",
    "--io",
    "--checkpoint-size",
    "--checkpoint-seconds",
    "--dir",
    "--size",
    "--rounds",
];

/// The arguments with zstd's level flags, -1 to -19, spelled out as `--level`, which `pack`
/// and `bench` have. A number in the place of an option's value, or after `--`, is left alone.
pub(crate) fn with_level_flags(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut spelled: Vec<OsString> = Vec::new();
    let mut options_ended = false;
    for arg in args {
        let has_level =
            spelled.get(1).is_some_and(|command| command == "pack" || command == "bench");
        let is_value =
            spelled.last().is_some_and(|last| WITH_VALUE.iter().any(|with| last == with));
        options_ended |= arg == "--";
        match arg.to_str().and_then(level) {
            Some(level) if has_level && !is_value && !options_ended => {
                spelled.push(format!("--level={level}").into());
            }
            _ => spelled.push(arg),
        }
    }
    spelled
}

/// The digits of `-1`, `-19` …
fn level(arg: &str) -> Option<&str> {
    let digits = arg.strip_prefix('-')?;
    let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

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
        assert_eq!(pack("pack in").unwrap().encoding.level, None);
        assert_eq!(pack("pack - -o out").unwrap().input, PathBuf::from("-"));
        assert_eq!(pack("pack -- -5").unwrap().input, PathBuf::from("-5"));
        assert_eq!(pack("pack -o=-5 in").unwrap().output, Some(PathBuf::from("-5")));
        for args in ["cat --offset -1", "pack -o -1", "pack -- -1", "bench --dir -1"] {
            let args: Vec<OsString> =
                ["ringpack"].into_iter().chain(args.split(' ')).map(OsString::from).collect();
            assert_eq!(with_level_flags(args.iter().cloned()), args);
        }
        for wrong in ["pack -0 in", "pack -20 in", "pack -1 --store in", "pack -999 in"] {
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
