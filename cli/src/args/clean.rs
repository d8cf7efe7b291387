//! The arguments of `ringpack clean`.

use std::path::PathBuf;

/// `ringpack clean`.
#[derive(Debug, clap::Args)]
pub(crate) struct Clean {
    /// Directories to look in; those below them are left alone without --recursive
    #[arg(required = true)]
    pub(crate) directories: Vec<PathBuf>,
    /// Look in the directories below too, as after a restore that was killed
    #[arg(short = 'r', long)]
    pub(crate) recursive: bool,
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Report as JSON, an object a line
    #[arg(long)]
    pub(crate) json: bool,
}
