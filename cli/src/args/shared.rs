//! Options that several commands have.

use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};

use crate::size;

/// The codec, as zstd's options say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Encoding {
    /// Compression level, also as -1 to -19, with --ultra to -22 [default: 3]
    #[arg(long, value_name = "N", env = "RINGPACK_LEVEL", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=22))]
    pub(crate) level: Option<i32>,
    /// Allow levels 20 to 22, which take much memory and time where chunks are long
    #[arg(long)]
    pub(crate) ultra: bool,
    /// Don't compress
    #[arg(long, conflicts_with = "level")]
    pub(crate) store: bool,
}

/// When checkpoints are taken.
#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoints {
    /// Take no checkpoints: what is stopped starts anew
    #[arg(long, conflicts_with_all = ["checkpoint_size", "checkpoint_seconds", "keep_partial"])]
    pub(crate) no_checkpoint: bool,
    /// Input from one checkpoint to the next [default: 1G, less often where it costs over 2%]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub(crate) checkpoint_size: Option<u64>,
    /// Time from one checkpoint to the next [default: 10, less often where it costs over 2%]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) checkpoint_seconds: Option<u64>,
    /// Keep the partial file when interrupted (Ctrl-C), or when the content isn't whole or not what
    /// was expected, to resume from
    #[arg(long)]
    pub(crate) keep_partial: bool,
}

/// How I/O is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Io {
    /// Worker threads; 0 is one a core
    #[arg(short = 'T', long, value_name = "N", default_value = "0")]
    #[arg(env = "RINGPACK_THREADS", hide_env_values = true)]
    pub(crate) threads: usize,
    /// How to read and write
    #[arg(long = "io", value_enum, default_value_t = IoMode::Auto)]
    #[arg(env = "RINGPACK_IO", hide_env_values = true)]
    pub(crate) mode: IoMode,
    /// Go through the page cache
    #[arg(long)]
    pub(crate) no_direct: bool,
}

/// How much is said.
#[derive(Debug, clap::Args)]
pub(crate) struct Talk {
    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Say what was done and how; -vv logs each job too, -vvv each checkpoint
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Show progress: a bar on a terminal; with always, lines elsewhere; json is for programs
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ProgressMode::Auto)]
    #[arg(env = "RINGPACK_PROGRESS", hide_env_values = true)]
    pub(crate) progress: ProgressMode,
    /// Report as JSON, an object a line, on standard output (standard error if that has the output)
    #[arg(long)]
    pub(crate) json: bool,
    /// Write metrics there when it ends, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE", env = "RINGPACK_METRICS_FILE", hide_env_values = true)]
    pub(crate) metrics_file: Option<PathBuf>,
}

impl Talk {
    /// Whether it is said what was done and how.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }
}

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar, if standard error is a terminal
    Auto,
    /// A bar there, a line a second elsewhere
    Always,
    /// Nothing
    Never,
    /// An object a second on standard error
    Json,
}

/// How to read and write.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum IoMode {
    /// io_uring where the system grants it
    Auto,
    /// io_uring or an error
    Uring,
    /// pread and pwrite
    Pwrite,
}
