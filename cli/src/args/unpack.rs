//! The arguments of `ringpack unpack`.

use std::path::PathBuf;

use super::foreign::Foreign;
use super::shared::{Io, Talk};
use super::tree::Extract;

/// `ringpack unpack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unpack {
    /// Containers or other Zstandard files to restore; - is standard input
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// File to write, of one input [default: INPUT without .zst; standard output if INPUT is -], or
    /// the directory to restore files in
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write to standard output
    #[arg(short = 'c', long, conflicts_with = "output")]
    pub(crate) stdout: bool,
    /// Replace an existing output
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Copy an input that is no Zstandard file as it is
    #[arg(long)]
    pub(crate) pass_through: bool,
    /// Keep the input, as is done anyway
    #[arg(short, long, overrides_with = "rm")]
    pub(crate) keep: bool,
    /// Remove the input once the output is durable
    #[arg(long, conflicts_with = "stdout")]
    pub(crate) rm: bool,
    #[command(flatten)]
    pub(crate) foreign: Foreign,
    #[command(flatten)]
    pub(crate) io: Io,
    #[command(flatten)]
    pub(crate) talk: Talk,
    #[command(flatten)]
    pub(crate) tree: Extract,
}
