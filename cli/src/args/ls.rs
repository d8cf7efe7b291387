//! The arguments of `ringpack ls`.

use std::path::PathBuf;

/// `ringpack ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Container of an archive
    pub(crate) input: PathBuf,
    /// List only members that match, and what is in directories that do; * matches / too
    #[arg(value_name = "GLOB")]
    pub(crate) patterns: Vec<String>,
    /// Say permissions, owner, size and time as well
    #[arg(short, long)]
    pub(crate) long: bool,
    /// A line of JSON for each member
    #[arg(long, conflicts_with = "long")]
    pub(crate) json: bool,
    /// End each name with a NUL instead of a newline, and escape nothing in it: for xargs -0
    #[arg(short = '0', long, conflicts_with_all = ["long", "json"])]
    pub(crate) null: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
