//! The member index of an open container, where it has one.
//!
//! It is read whole in its encoded form and compared with its checksum; the members are decoded a
//! segment at a time, and each is checked to lie behind the one before it and within the content,
//! before it is given out (V1). What an index says of a member is a hint where to read: whoever
//! restores one reads its header in the content as well.

use std::path::PathBuf;

use super::Container;
use super::raw::named;
use crate::codec::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::store_len;
use crate::format::members::{Member, Order, Segment, decode_frame, decode_members};
use crate::format::{Decoded, FormatError};

/// A container's member index.
#[derive(Debug)]
pub struct MemberIndex {
    frame: Vec<u8>,
    count: u64,
    content_size: u64,
    offset: u64,
    path: Option<PathBuf>,
}

impl Container {
    /// The member index, if the content is an archive that was packed with one. Takes memory for
    /// its encoded form, which the file's length bounds and so do 1 GiB.
    ///
    /// # Errors
    /// `Damaged` where it doesn't match its checksum, `Input` where it can't be read.
    pub fn members(&self) -> Result<Option<MemberIndex>> {
        let (offset, len) = (self.tail().members_offset, self.tail().members_len);
        if len == 0 {
            return Ok(None);
        }
        let frame = self.raw().read(offset, len)?;
        let count = self.header().member_count;
        let index = MemberIndex {
            frame,
            count,
            content_size: self.header().content_size,
            offset,
            path: self.path().map(Into::into),
        };
        decode_frame(&index.frame, count).map_err(|error| index.damaged(error))?;
        Ok(Some(index))
    }
}

impl MemberIndex {
    /// Number of members.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The members, in the order of the content. After an error there is none.
    ///
    /// # Errors
    /// `Output` where libzstd can't allocate a decoder; each member is `Damaged` where it can't be
    /// as stated.
    pub fn iter(&self) -> Result<Members<'_>> {
        Ok(Members {
            index: self,
            decoder: Decoder::new()?,
            // The checksum was compared on opening.
            rest: decode_frame(&self.frame, self.count).map_err(|error| self.damaged(error))?,
            raw: Vec::new(),
            decoded: Vec::new().into_iter(),
            seen: 0,
            order: Order::new(self.content_size),
            ended: false,
        })
    }

    fn damaged(&self, error: FormatError) -> Error {
        let error = Error::new(ErrorKind::Damaged, error.message).offset(self.offset);
        named(error, self.path.as_deref())
    }
}

/// The members of an index; see [`MemberIndex::iter`].
#[derive(Debug)]
pub struct Members<'a> {
    index: &'a MemberIndex,
    decoder: Decoder,
    rest: &'a [u8],
    raw: Vec<u8>,
    decoded: std::vec::IntoIter<Member>,
    seen: u64,
    order: Order,
    ended: bool,
}

impl Members<'_> {
    fn take(&mut self) -> Result<Option<Member>> {
        let mut next = self.decoded.next();
        if next.is_none() {
            next = self.segment()?.then(|| self.decoded.next()).flatten();
        }
        let damaged = |error| self.index.damaged(error);
        let Some(member) = next else {
            if self.seen != self.index.count {
                let what = "the member index names another number of members than it states";
                return Err(damaged(FormatError::damaged(what)));
            }
            return Ok(None);
        };
        self.order.member(&member).map_err(damaged)?;
        self.seen += 1;
        Ok(Some(member))
    }

    /// Decodes the next segment; `false` where there is none.
    fn segment(&mut self) -> Result<bool> {
        let damaged = |error| self.index.damaged(error);
        let Some(segment) = next_segment(&mut self.rest).map_err(damaged)? else {
            return Ok(false);
        };
        self.raw.resize(segment.raw_len, 0);
        self.decoder.decode(segment.frame, &mut self.raw).map_err(|_| {
            damaged(FormatError::damaged("a segment of the member index can't be decoded"))
        })?;
        let members = decode_members(&self.raw, segment.members).map_err(damaged)?;
        self.decoded = members.into_iter();
        Ok(true)
    }
}

fn next_segment<'a>(rest: &mut &'a [u8]) -> Decoded<Option<Segment<'a>>> {
    let segment = Segment::next(rest)?;
    match segment {
        Some(segment) if segment.frame.len() > store_len(segment.raw_len) => {
            Err(FormatError::damaged("a segment of the member index is impossibly long"))
        }
        segment => Ok(segment),
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member>;

    fn next(&mut self) -> Option<Result<Member>> {
        if self.ended {
            return None;
        }
        let next = self.take();
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
