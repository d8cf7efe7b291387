//! The arguments about directories that `pack` and `unpack` have.

use clap::ValueEnum;

use crate::tree::when;

/// What is packed of a directory, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Directories")]
pub(crate) struct PackTree {
    /// Leave out what matches: a path within the directory, or a name anywhere in it
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Leave directories empty that other file systems are mounted on
    #[arg(long)]
    pub(crate) one_file_system: bool,
    /// In which order a directory's names are taken
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = Sort::Name)]
    pub(crate) sort: Sort,
    /// Keep owners and groups as numbers only
    #[arg(long)]
    pub(crate) numeric_owner: bool,
    /// Time of modification of everything: seconds since 1970, or 2026-11-25T20:45:00Z
    #[arg(long, value_name = "TIME", value_parser = when::seconds, conflicts_with = "clamp_mtime",
          allow_hyphen_values = true)]
    pub(crate) mtime: Option<i64>,
    /// Latest time of modification; later ones become this [default: SOURCE_DATE_EPOCH, if set]
    #[arg(long, value_name = "TIME", value_parser = when::seconds, allow_hyphen_values = true)]
    pub(crate) clamp_mtime: Option<i64>,
}

/// The order of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Sort {
    /// That of their bytes: the same tree gives the same container
    Name,
    /// That of the file system
    None,
}

/// What is restored of an archive, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Archives")]
pub(crate) struct Extract {
    /// Restore the files of the archive that the container holds, below the directory --output
    /// [default: the current one]
    #[arg(short = 'x', long, conflicts_with_all = ["stdout", "rm"])]
    pub(crate) extract: bool,
    /// Restore only members that match, and what is in directories that do; * matches / too
    #[arg(long, value_name = "GLOB", conflicts_with_all = ["stdout", "rm"])]
    pub(crate) member: Vec<String>,
    /// Restore owners, by their numbers
    #[arg(long)]
    pub(crate) same_owner: bool,
    /// Restore permissions whatever the umask, with setuid, setgid and sticky bits, file
    /// capabilities and ACLs
    #[arg(long)]
    pub(crate) same_permissions: bool,
    /// Make device nodes
    #[arg(long)]
    pub(crate) devices: bool,
}

impl Extract {
    /// Whether an archive's files are wanted, rather than the archive.
    pub(crate) fn is_wanted(&self) -> bool {
        self.extract || !self.member.is_empty()
    }

    /// Whether more is to be restored of them than who restores may give away unasked.
    pub(crate) fn has_rights(&self) -> bool {
        self.same_owner || self.same_permissions || self.devices
    }
}
