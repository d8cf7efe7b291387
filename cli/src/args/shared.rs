//! Options that several commands have.

use clap::ValueEnum;

use crate::size;

/// The codec, as zstd's options say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Encoding {
    /// Compression level, also as -1 to -19, with --ultra to -22 [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=22))]
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
    /// Keep the partial file when interrupted (Ctrl-C), to resume from
    #[arg(long)]
    pub(crate) keep_partial: bool,
}

/// How I/O is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Io {
    /// Worker threads; 0 is one a core
    #[arg(short = 'T', long, value_name = "N", default_value = "0")]
    pub(crate) threads: usize,
    /// How to read and write
    #[arg(long = "io", value_enum, default_value_t = IoMode::Auto)]
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
    /// Say what was done and how
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
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
