//! What the benchmarks share: content, the ways of writing that are compared, programs that are
//! run and measured, and plots.

pub mod designs;
pub mod memory;
pub mod place;
pub mod plot;
pub mod run;

pub use ringpack::bench::content;
