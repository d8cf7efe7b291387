//! The arguments of `ringpack doctor`.

use std::path::PathBuf;

pub(crate) const EXAMPLES: &str = "\
Examples:
  ringpack doctor /srv/backup               before the first container is written there
  ringpack doctor --json | jq '.findings[] | select(.state != \"ok\")'

Ends with 0 where containers can be written, though perhaps slower than they could; otherwise with
the code that pack would end with.";

/// `ringpack doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Directory that containers are to be written to; what is made there is removed
    #[arg(default_value = ".")]
    pub(crate) directory: PathBuf,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}
