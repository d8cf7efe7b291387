//! The arguments of `ringpack unpack`.

use std::path::PathBuf;

use super::shared::{Io, Talk};
use super::tree::Extract;

/// `ringpack unpack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unpack {
    /// Container to restore
    pub(crate) input: PathBuf,
    /// File to write [default: INPUT without .zst], or the directory to restore files in
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
    #[command(flatten)]
    pub(crate) tree: Extract,
}
