//! The arguments of `ringpack generate`, which is for packagers and not listed.

use clap_complete::Shell;

/// `ringpack generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// What to write to standard output
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What is generated.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// The names of all manual pages, a line each
    Pages,
    /// A manual page
    Man {
        /// Name of the page, as `pages` has it
        #[arg(default_value = "ringpack")]
        page: String,
    },
    /// Completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}
