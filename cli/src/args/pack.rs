//! The arguments of `ringpack pack`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::guards::Guards;
use super::shared::{Checkpoints, Encoding, Io, Talk};
use super::tree::PackTree;
use crate::size;

/// `ringpack pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pack {
    /// Files, block devices, FIFOs or directories to pack, each by itself; - is standard input
    /// [with --from-command: the command and its arguments]
    #[arg(id = "input", required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Container to write, of one input [default: INPUT.zst, DIRECTORY.tar.zst; standard output if
    /// INPUT is - or a command]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write to standard output
    #[arg(short = 'c', long, conflicts_with = "output")]
    pub(crate) stdout: bool,
    #[command(flatten)]
    pub(crate) encoding: Encoding,
    /// Length of a chunk, the unit of random access: a power of two from 64K to 64M [default: by
    /// level]
    #[arg(long, value_name = "SIZE", value_parser = size::chunk_log2)]
    pub(crate) chunk_size: Option<u8>,
    /// Where frames stand: back to back, or each in a slot of its own
    #[arg(long, value_enum, default_value_t = Placement::Dense)]
    pub(crate) placement: Placement,
    /// Digest of the whole content to keep in the container; blake3 is what b3sum prints
    #[arg(long, value_enum, default_value_t = Digest::None)]
    pub(crate) digest: Digest,
    #[command(flatten)]
    pub(crate) guards: Guards,
    /// Read the container back and compare it with the input, which is read a second time; publish
    /// it only if they are the same
    #[arg(long)]
    pub(crate) check: bool,
    /// Replace an existing output
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Keep the input, as is done anyway
    #[arg(short, long, overrides_with = "rm")]
    pub(crate) keep: bool,
    /// Remove the input once the container is durable
    #[arg(long, conflicts_with_all = ["stdout", "from_command"])]
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
    #[command(flatten)]
    pub(crate) tree: PackTree,
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
