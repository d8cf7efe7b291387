//! What a program that collects `tracing` is told of, with the cargo feature of that name; without
//! it, every call here is nothing.
//!
//! Spans: `job`, of which the others are part, `checkpoint` and `publish`. Events: a checkpoint
//! that is durable (debug), a warning, and the error that a job fails with. All have the target
//! `ringpack`. Nothing is told of single chunks or operations, so that nobody who listens costs
//! throughput.

use std::path::Path;

#[cfg(feature = "tracing")]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
#[cfg(feature = "tracing")]
use crate::escape::shown;

/// A span that is open until this is dropped.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub(crate) struct Within {
    #[cfg(feature = "tracing")]
    _span: tracing::span::EnteredSpan,
}

/// The span that was the current one when a job began, for its other threads.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl Context {
    /// That of the calling thread.
    #[must_use]
    pub(crate) fn current() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::Span::current(),
        }
    }

    /// Makes it that of the calling thread.
    pub(crate) fn enter(&self) -> Within {
        Within {
            #[cfg(feature = "tracing")]
            _span: self.span.clone().entered(),
        }
    }
}

/// Does `work` within the span of a job of `kind` that makes or reads what stands at `path`, and
/// tells of its error.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn job<T>(
    kind: &'static str,
    path: &Path,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    #[cfg(feature = "tracing")]
    let _span = tracing::info_span!(target: "ringpack", "job", kind, path = %shown(path)).entered();
    work().inspect_err(failure)
}

/// Opens the span of a checkpoint being taken.
pub(crate) fn checkpoint() -> Within {
    Within {
        #[cfg(feature = "tracing")]
        _span: tracing::debug_span!(target: "ringpack", "checkpoint").entered(),
    }
}

/// Opens the span of a file being given the name `path`.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn publish(path: &Path) -> Within {
    Within {
        #[cfg(feature = "tracing")]
        _span: tracing::info_span!(target: "ringpack", "publish", path = %shown(path)).entered(),
    }
}

/// Tells of a checkpoint that is durable: `chunks` of them, `bytes` of content.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn covered(chunks: u64, bytes: u64) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "ringpack", chunks, bytes, "a checkpoint is durable");
}

/// Tells of something that a person should know.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn warning(what: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "ringpack", "{what}");
}

/// Tells of the error that a job ends with, which is none of the engine's where its owner stopped
/// it.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn failure(error: &Error) {
    #[cfg(feature = "tracing")]
    match error.kind() {
        ErrorKind::Cancelled | ErrorKind::Suspended => {
            tracing::info!(target: "ringpack", kind = ?error.kind(), "{error}");
        }
        kind => tracing::error!(target: "ringpack", ?kind, "{error}"),
    }
}
