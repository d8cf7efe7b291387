//! What the benchmarks share: content, and the ways of writing that are compared.

pub mod designs;
pub mod plot;

pub use ringpack::bench::content;
