//! Trees of files: a directory as a tar stream, and a tar stream as a directory.
//!
//! ```text
//! directory ─► walk ─► write ─► pipe ─► (packed as any stream) ; each member told to its index
//! content   ─► read ─► extract ─► place: below the target, whatever names and links say
//! ```
//!
//! A tar stream is the content of a container, not its format: nothing here knows more of a
//! container than how to read its content.

pub(crate) mod extract;
mod holes;
mod pax;
mod place;
pub(crate) mod read;
pub(crate) mod select;
pub(crate) mod walk;
pub(crate) mod when;
mod write;
mod xattrs;
