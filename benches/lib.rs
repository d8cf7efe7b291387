//! What the benchmarks share.

pub use ringpack::bench::content;
