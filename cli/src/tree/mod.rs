//! Trees of files: a directory as a tar stream, and a tar stream as a directory.
//!
//! ```text
//! directory ─► walk ─► tar_stream::write ─► pipe ─► (packed as any stream) ; each member told to
//!                                                   its index
//! content   ─► tar_stream::read ─┬► extract ─► descent ─► place: below the target
//!                                └► compare: with the files of a directory
//! ```
//!
//! A tar stream is the content of a container, not its format: nothing here knows more of a
//! container than how to read its content. The tar format is that of
//! [`tar_stream`](crate::tar_stream).

mod acl;
mod attributes;
pub(crate) mod compare;
mod descent;
pub(crate) mod extract;
#[cfg(any(test, fuzzing))]
pub(crate) mod harmless;
mod holes;
pub(crate) mod place;
mod seen;
pub(crate) mod select;
pub(crate) mod strays;
pub(crate) mod walk;
mod warnings;
pub(crate) mod when;
mod xattrs;
