//! The arguments as typed: a file a command, and one for what several commands share.

mod bench;
mod cat;
mod clean;
mod info;
mod levels;
mod ls;
mod pack;
mod resume;
mod shared;
mod tree;
mod unpack;
mod verify;

use clap::{Parser, Subcommand};

pub(crate) use bench::Bench;
pub(crate) use cat::Cat;
pub(crate) use clean::Clean;
pub(crate) use info::Info;
pub(crate) use levels::with_level_flags;
pub(crate) use ls::Ls;
pub(crate) use pack::{Digest, Pack, Placement};
pub(crate) use resume::Resume;
pub(crate) use shared::{Checkpoints, Encoding, Io, IoMode, Talk};
pub(crate) use tree::{PackTree, Sort};
pub(crate) use unpack::Unpack;
pub(crate) use verify::Verify;

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
    /// Pack a file, block device, directory or stream into a container
    #[command(after_help = "Examples:
  ringpack pack disk.img                    writes disk.img.zst
  ringpack pack /srv/data                   writes /srv/data.tar.zst, which tar reads too
  pg_dump db | ringpack pack - -o db.zst    packs a stream
  ringpack pack -19 -T4 /dev/vg/snap -o snap.zst")]
    Pack(Pack),
    /// Go on with a container whose packing was stopped, killed or cut off
    #[command(after_help = "Examples:
  ringpack resume disk.img.zst              reads the same input again
  pg_dump db | ringpack resume db.zst       a stream has to be sent again from its start")]
    Resume(Resume),
    /// Restore the content of a container, or the files of an archive in it
    #[command(after_help = "Examples:
  ringpack unpack disk.img.zst              writes disk.img
  ringpack unpack -c db.zst | psql db
  ringpack unpack --extract data.tar.zst -o /restore
  ringpack unpack --member 'data/*.conf' data.tar.zst")]
    Unpack(Unpack),
    /// Check every byte of a container
    Verify(Verify),
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
    Info(Info),
    /// Remove what runs that ended early left in a directory
    Clean(Clean),
    /// Measure the device, the codec and the engine here, and say what holds it back
    #[command(after_help = "Examples:
  ringpack bench                            in the current directory, with made-up content
  ringpack bench -1 --dir /srv/backup /var/lib/db/dump --json")]
    Bench(Bench),
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use clap::CommandFactory;

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
