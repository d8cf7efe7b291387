//! The arguments of `ringpack cat`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::foreign::Foreign;
use crate::size;

/// `ringpack cat`.
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// Container or other Zstandard file to read
    pub(crate) input: PathBuf,
    /// File of the archive in it to write whole
    #[arg(value_name = "MEMBER", conflicts_with_all = ["offset", "length"])]
    pub(crate) member: Option<OsString>,
    /// Where the range starts in the content
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size::bytes)]
    pub(crate) offset: u64,
    /// How long the range is [default: to the end]
    #[arg(long, value_name = "BYTES", value_parser = size::bytes)]
    pub(crate) length: Option<u64>,
    /// Write to a terminal all the same
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) foreign: Foreign,
}
