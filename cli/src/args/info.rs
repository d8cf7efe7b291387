//! The arguments of `ringpack info`.

use std::path::PathBuf;

/// `ringpack info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// Container or other Zstandard file to describe
    pub(crate) input: PathBuf,
    /// As JSON, an object on a line, sizes in bytes
    #[arg(long)]
    pub(crate) json: bool,
}
