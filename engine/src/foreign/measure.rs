//! Finding where a frame ends without decoding it: by its blocks' headers.
//!
//! # Invariants
//! - FO2: a frame that was measured lies in the file whole, up to its last byte.

use super::feed::Look;
use crate::error::{Error, ErrorKind, Result};
use crate::format::fill::Ending;
use crate::format::zstd::{self, ContentFront, FRONT_LEN_MAX, Front};
use crate::limits::CONTENT_BYTES_MAX;

/// A place in the file: the number of the frame there, of those to be passed over as well, and its
/// offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) offset: u64,
}

impl Place {
    /// That the frame here is damaged.
    pub(super) fn damaged(self, what: &str) -> Error {
        self.error(ErrorKind::Damaged, what)
    }

    /// An error of the frame here.
    pub(super) fn error(self, kind: ErrorKind, what: &str) -> Error {
        Error::new(kind, format!("frame {}: {what}", self.number)).offset(self.offset)
    }
}

/// A frame as far as its start tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// A Zstandard frame.
    Content(ContentFront),
    /// A frame to be passed over: its magic number, and its length in all.
    Skippable(u32, u64),
    /// Nothing: the file ends here.
    End,
}

/// What starts at `place`, in a file that has to have a frame there or to end.
///
/// # Errors
/// `NotAContainer` where the very first bytes are no frame; `Damaged` where later ones aren't, or
/// the file ends within; `Unsupported` where a dictionary is needed.
pub(super) fn start(look: &mut dyn Look, place: Place) -> Result<Start> {
    let bytes = look.look(place.offset, FRONT_LEN_MAX)?;
    match zstd::front(bytes) {
        Front::Content(front) if front.dictionary != 0 => {
            let what = format!("it was made with the dictionary {}", front.dictionary);
            let error = place.error(ErrorKind::Unsupported, &what);
            Err(error.hint("zstd -d -D DICTIONARY restores it"))
        }
        Front::Content(front) => Ok(Start::Content(front)),
        Front::Skippable(magic, len) => Ok(Start::Skippable(magic, len)),
        Front::Short if bytes.is_empty() && place.offset > 0 => Ok(Start::End),
        Front::Short if bytes.is_empty() => {
            Err(Error::new(ErrorKind::NotAContainer, "is no Zstandard file").hint("it is empty"))
        }
        Front::Short if place.offset == 0 && bytes.len() < 4 => Err(other()),
        Front::Short => Err(place.damaged("the file is cut short within it")),
        Front::Reserved => Err(place.error(ErrorKind::Unsupported, "it has a reserved bit set")),
        Front::Other if place.offset == 0 => Err(other()),
        Front::Other => Err(place.damaged("what stands here is no Zstandard frame")),
    }
}

fn other() -> Error {
    Error::new(ErrorKind::NotAContainer, "is no Zstandard file")
        .hint("name one that ringpack, zstd or another such program wrote")
}

/// A frame as its blocks' headers tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Measured {
    /// Its length.
    pub(super) len: u64,
    /// Whether it ends as only frames of containers do.
    pub(super) is_filled: bool,
}

/// Measures the frame at `place`; `None` where it is longer than `most` (FO2).
///
/// # Errors
/// `Damaged` where a block is none, or the file ends within.
pub(super) fn measure(
    look: &mut dyn Look,
    place: Place,
    front: &ContentFront,
    most: u64,
) -> Result<Option<Measured>> {
    let (mut len, mut ending) = (front.len, Ending::default());
    loop {
        let bytes = look.look(place.offset + len, 3)?;
        let Some(&bytes) = bytes.first_chunk() else { return Err(cut_short(place)) };
        let Some(block) = zstd::block(bytes) else {
            return Err(place.damaged("it has a block that there can't be"));
        };
        len += block.len;
        ending.block(&block);
        if len > most {
            return Ok(None);
        }
        if block.last {
            break;
        }
    }
    len += if front.checksum { 4 } else { 0 };
    match look.look(place.offset + len - 1, 1)? {
        [] => Err(cut_short(place)),
        _ => Ok(Some(Measured { len, is_filled: ending.is_filled(front) })),
    }
}

/// Bytes of content up to the end of the frame at `place`, which holds `size` after `before`.
///
/// # Errors
/// `Damaged` where no file can hold as much.
pub(super) fn with_content(place: Place, before: u64, size: u64) -> Result<u64> {
    let sum = before.checked_add(size).filter(|&sum| sum <= CONTENT_BYTES_MAX);
    sum.ok_or_else(|| place.damaged("with it, more is stated than a file can hold"))
}

/// That the file ends within the frame at `place`.
pub(super) fn cut_short(place: Place) -> Error {
    place.damaged("the file is cut short within it")
}
