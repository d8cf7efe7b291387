//! A tar header as it is read: its names, its numbers and its checksum.
//!
//! ```text
//! name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | kind 1 | link 100
//! | magic 6 | version 2 | user 32 | group 32 | major 8 | minor 8 | (from 345) by the format:
//!     ustar: prefix 155      old GNU: … | (386) 4 pieces of 24 | extended 1 | real size 12
//! ```

use std::ops::Range;

use ringpack::format::members::TAR_BLOCK;

use super::number::number;

/// Bytes of a header, and of each block of the stream.
pub(super) type Block = [u8; TAR_BLOCK as usize];

/// A field, by where it lies.
type Field = Range<usize>;

pub(super) const MODE: Field = 100..108;
pub(super) const UID: Field = 108..116;
pub(super) const GID: Field = 116..124;
pub(super) const SIZE: Field = 124..136;
pub(super) const MTIME: Field = 136..148;
pub(super) const MAJOR: Field = 329..337;
pub(super) const MINOR: Field = 337..345;
/// Length of a sparse file as it is restored, in GNU's own format.
pub(super) const REAL_SIZE: Field = 483..495;
const NAME: Field = 0..100;
const CHECKSUM: Field = 148..156;
const KIND: usize = 156;
const LINK: Field = 157..257;
const MAGIC: Field = 257..263;
const PREFIX: Field = 345..500;

/// A header whose checksum is right.
#[derive(Debug)]
pub(super) struct Header(Block);

impl Header {
    /// The header; `None` where its checksum is another.
    pub(super) fn new(block: Block) -> Option<Self> {
        let stated = number(&block[CHECKSUM])?;
        // The checksum's own bytes count as spaces. Some tars summed up signed bytes.
        let others = || block[..CHECKSUM.start].iter().chain(&block[CHECKSUM.end..]);
        let spaces = CHECKSUM.len() as i128 * i128::from(b' ');
        let unsigned = spaces + others().map(|&byte| i128::from(byte)).sum::<i128>();
        let signed = spaces + others().map(|&byte| i128::from(byte.cast_signed())).sum::<i128>();
        (stated == unsigned || stated == signed).then_some(Self(block))
    }

    /// The byte that says what the member is.
    pub(super) fn kind(&self) -> u8 {
        self.0[KIND]
    }

    pub(super) fn block(&self) -> &Block {
        &self.0
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[NAME]);
        let prefix = text(&self.0[PREFIX]);
        // GNU's own format has other things there.
        if &self.0[MAGIC] != b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, name].join(&b'/')
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[LINK]).to_vec()
    }

    /// The number in a field; `None` where there is none, or none of this type.
    pub(super) fn number<T: TryFrom<i128>>(&self, field: Field) -> Option<T> {
        T::try_from(number(&self.0[field])?).ok()
    }
}

/// A field's bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}
