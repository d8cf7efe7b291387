//! The edge for programs on an async runtime.

#[cfg(feature = "tokio-uring")]
pub mod uring;
