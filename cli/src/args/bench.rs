//! The arguments of `ringpack bench`.

use std::path::PathBuf;

use super::shared::{Encoding, Io};
use crate::size;

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
    /// Length of a chunk: a power of two from 64K to 64M [default: by level]
    #[arg(long, value_name = "SIZE", value_parser = size::chunk_log2)]
    pub(crate) chunk_size: Option<u8>,
    /// As JSON, an object on a line: seconds and bytes
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) io: Io,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
