//! The edge for programs on an async runtime: with the cargo feature `tokio`, reading and writing
//! a container in ordinary tokio programs; with `tokio-uring`, on that runtime's own ring.
//!
//! The engine below is blocking. What stands here hands the blocking part to threads that may
//! block, and never waits for it on a thread of the runtime.

#[cfg(feature = "tokio")]
pub mod reader;
#[cfg(feature = "tokio-uring")]
pub mod uring;
#[cfg(feature = "tokio")]
pub mod writer;

use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "tokio")]
pub use reader::AsyncContentReader;
#[cfg(feature = "tokio")]
pub use writer::{AsyncContainerWriter, AsyncStreamWriter};

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let panicked = |_| Error::new(ErrorKind::Internal, "a blocking thread panicked");
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}
