//! The arguments of `ringpack resume`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::guards::Guards;
use super::shared::{Checkpoints, Io, Talk};

/// `ringpack resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    /// Container that was being written
    pub(crate) target: PathBuf,
    /// Where the same input is now; - is standard input [default: where it was; standard input if
    /// that was a pipe; with --from-command: the command]
    pub(crate) input: Option<PathBuf>,
    /// Arguments of the command that --from-command runs
    #[arg(value_name = "ARGUMENT", requires = "from_command")]
    pub(crate) args: Vec<OsString>,
    #[command(flatten)]
    pub(crate) guards: Guards,
    /// Read the container back and compare it with the input, which is read a second time; publish
    /// it only if they are the same
    #[arg(long)]
    pub(crate) check: bool,
    /// Replace an output that exists by now
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) checkpoints: Checkpoints,
    #[command(flatten)]
    pub(crate) io: Io,
    #[command(flatten)]
    pub(crate) talk: Talk,
}
