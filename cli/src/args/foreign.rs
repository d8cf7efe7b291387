//! What a decoder may be allowed for files that others wrote.

use crate::size;

/// Options for Zstandard files of other programs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Foreign {
    /// Let another program's frame have a window of 2^N bytes, up to 31 [default: 27]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "27", value_parser = clap::value_parser!(u8).range(10..=31))]
    pub(crate) long: Option<u8>,
    /// The same as a number of bytes
    #[arg(short = 'M', long, value_name = "SIZE", value_parser = size::bytes)]
    #[arg(conflicts_with = "long")]
    pub(crate) memory: Option<u64>,
}
