//! Trees of files: a directory as a tar stream, and a tar stream as a directory.
//!
//! ```text
//! directory ─► walk ─► tar_stream::write ─► pipe ─► (packed as any stream) ; each member told to
//!                                                   its index
//! content   ─► tar_stream::read ─┬► extract ─► place: below the target, whatever names say
//!                                └► compare: with the files of a directory
//! ```
//!
//! A tar stream is the content of a container, not its format: nothing here knows more of a
//! container than how to read its content. The tar format is that of
//! [`tar_stream`](crate::tar_stream).

mod acl;
pub(crate) mod compare;
pub(crate) mod extract;
mod holes;
mod place;
pub(crate) mod select;
pub(crate) mod walk;
pub(crate) mod when;
mod xattrs;
