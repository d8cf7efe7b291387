//! The tar format: headers, names, numbers, maps of sparse files, extended attributes and ACLs.
//!
//! ```text
//! read ─► header ─► number          what GNU tar reads
//!  ├────► extended ─► pax           records of PAX headers, for one member or for all that follow
//!  └────► sparse                    maps of sparse files
//! write ─► pax
//! ```
//!
//! It knows neither files nor directories, so that it can be fuzzed alone.

mod extended;
mod header;
mod number;
mod pax;
pub(crate) mod read;
mod sparse;
pub(crate) mod write;

pub(crate) use sparse::Piece;

/// An attribute: its name and its value. An ACL has the kernel's name and is text, or the kernel's
/// own bytes, which no text begins like.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// ACLs by their names in the kernel, and by the keywords that GNU tar, star and libarchive write
/// them under, in text.
const ACLS: [(&[u8], &[u8]); 2] = [
    (b"system.posix_acl_access", b"SCHILY.acl.access"),
    (b"system.posix_acl_default", b"SCHILY.acl.default"),
];

/// How an ACL of the kernel begins: with its version.
pub(crate) const ACL_OF_KERNEL: &[u8] = &[2, 0, 0, 0];
