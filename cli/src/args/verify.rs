//! The arguments of `ringpack verify`.

use std::path::PathBuf;

use super::foreign::Foreign;
use super::shared::{Io, Talk};

/// `ringpack verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Containers or other Zstandard files to check; - is standard input
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Decompress every chunk as well
    #[arg(long)]
    pub(crate) decode: bool,
    /// Compare the content, byte by byte, with the file, block device or directory that it was
    /// packed from; of one container
    #[arg(long, value_name = "SOURCE")]
    pub(crate) against: Option<PathBuf>,
    /// With a directory: compare only names, kinds, targets of links and content
    #[arg(long, requires = "against")]
    pub(crate) content_only: bool,
    /// With a directory: pass over what was left out of the archive, as with pack --exclude
    #[arg(long, value_name = "GLOB", requires = "against")]
    pub(crate) exclude: Vec<String>,
    /// With a directory: pass over what other file systems have, as with pack --one-file-system
    #[arg(long, requires = "against")]
    pub(crate) one_file_system: bool,
    /// Write a map of what is damaged, for fetching it from a replica; of one container
    #[arg(long, value_name = "FILE")]
    pub(crate) repair_map: Option<PathBuf>,
    /// Replace an existing repair map
    #[arg(short, long, requires = "repair_map")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) foreign: Foreign,
    #[command(flatten)]
    pub(crate) io: Io,
    #[command(flatten)]
    pub(crate) talk: Talk,
}
