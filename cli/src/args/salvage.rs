//! The arguments of `ringpack salvage`.

use std::path::PathBuf;

/// `ringpack salvage`.
#[derive(Debug, clap::Args)]
pub(crate) struct Salvage {
    /// Damaged container, partial file or Zstandard file
    pub(crate) input: PathBuf,
    /// File to write what is intact to; its map is written beside it, as FILE.map
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace an existing output, and its map
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Say as JSON what was found
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
