//! The member index of an open container, where it has one.
//!
//! It is compared with its checksum on opening, piece by piece; its members are then read and
//! decoded a segment at a time, and each is checked to lie behind the one before it and within the
//! content, before it is given out (V1). So an index takes the same memory however long it is. A
//! file that changes between the two passes is found out by the checksum of the second. What an
//! index says of a member is a hint where to read: whoever restores one reads its header in the
//! content as well.

use super::Container;
use super::raw::Raw;
use crate::checksum::{Whole, crc32c};
use crate::codec::Decoder;
use crate::error::Result;
use crate::format::FormatError;
use crate::format::members::{
    Member, Order, PREFIX_LEN, SEGMENT_PREFIX_LEN, SUFFIX_LEN, SegmentPrefix, check_front,
    decode_members,
};

/// Bytes read at once to compare the checksum.
const PIECE_LEN: u64 = 256 << 10;

/// A container's member index.
#[derive(Debug)]
pub struct MemberIndex<'a> {
    container: &'a Container,
    /// Checksum of all before the segments.
    front: Whole,
    /// Checksum of all before itself.
    checksum: u32,
}

impl Container {
    /// The member index, if the content is an archive that was packed with one.
    ///
    /// # Errors
    /// `Damaged` where it doesn't match its checksum, `Input` where it can't be read.
    pub fn members(&self) -> Result<Option<MemberIndex<'_>>> {
        let (offset, len) = (self.tail().members_offset, self.tail().members_len);
        if len == 0 {
            return Ok(None);
        }
        let raw = self.raw();
        let damaged = |error| raw.refused(error, offset);
        let front = raw.read(offset, PREFIX_LEN as u64)?;
        check_front(&front, len, self.header().member_count).map_err(damaged)?;
        let (_, payload) = front.split_at(8);
        let mut sum = Whole::default();
        sum.append(crc32c(payload), payload.len());
        let (mut index, end) =
            (MemberIndex { container: self, front: sum, checksum: 0 }, offset + len);
        let mut at = index.first();
        while at < index.end() {
            let piece = raw.read(at, PIECE_LEN.min(index.end() - at))?;
            sum.append(crc32c(&piece), piece.len());
            at += piece.len() as u64;
        }
        let mut suffix = [0; SUFFIX_LEN];
        raw.read_exact(end - SUFFIX_LEN as u64, &mut suffix)?;
        index.checksum = u32::from_le_bytes(suffix);
        if sum.value() != index.checksum {
            return Err(damaged(mismatch()));
        }
        Ok(Some(index))
    }
}

fn mismatch() -> FormatError {
    FormatError::damaged("the member index doesn't match its checksum")
}

impl MemberIndex<'_> {
    /// Number of members.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.container.header().member_count
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
            at: self.first(),
            sum: self.front,
            frame: Vec::new(),
            raw: Vec::new(),
            decoded: Vec::new().into_iter(),
            seen: 0,
            order: Order::new(self.container.header().content_size),
            ended: false,
        })
    }

    /// Where the first segment begins.
    fn first(&self) -> u64 {
        self.container.tail().members_offset + PREFIX_LEN as u64
    }

    /// Where the last segment ends.
    fn end(&self) -> u64 {
        let tail = self.container.tail();
        tail.members_offset + tail.members_len - SUFFIX_LEN as u64
    }

    fn raw(&self) -> Raw<'_> {
        self.container.raw()
    }
}

/// The members of an index; see [`MemberIndex::iter`].
#[derive(Debug)]
pub struct Members<'a> {
    index: &'a MemberIndex<'a>,
    decoder: Decoder,
    /// Where the next segment begins.
    at: u64,
    /// Checksum of all before it.
    sum: Whole,
    frame: Vec<u8>,
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
        let damaged = |error| self.index.raw().refused(error, self.at);
        let Some(member) = next else {
            if self.sum.value() != self.index.checksum {
                return Err(damaged(mismatch()));
            }
            if self.seen != self.index.count() {
                let what = "the member index names another number of members than it states";
                return Err(damaged(FormatError::damaged(what)));
            }
            return Ok(None);
        };
        self.order.member(&member).map_err(damaged)?;
        self.seen += 1;
        Ok(Some(member))
    }

    /// Reads and decodes the next segment; `false` where there is none.
    fn segment(&mut self) -> Result<bool> {
        let (raw, at) = (self.index.raw(), self.at);
        let damaged = |error| raw.refused(error, at);
        let left = self.index.end() - at;
        if left == 0 {
            return Ok(false);
        }
        let mut prefix = [0; SEGMENT_PREFIX_LEN];
        let prefix_len = prefix.len().min(left as usize);
        raw.read_exact(at, &mut prefix[..prefix_len])?;
        let lens = SegmentPrefix::decode(&prefix[..prefix_len]).map_err(damaged)?;
        let len = (SEGMENT_PREFIX_LEN + lens.frame_len) as u64;
        if len > left {
            return Err(damaged(FormatError::damaged("the member index is cut short")));
        }
        self.frame.resize(lens.frame_len, 0);
        raw.read_exact(at + SEGMENT_PREFIX_LEN as u64, &mut self.frame)?;
        self.sum.append(crc32c(&prefix), prefix.len());
        self.sum.append(crc32c(&self.frame), self.frame.len());
        self.at += len;
        self.raw.resize(lens.raw_len, 0);
        self.decoder.decode(&self.frame, &mut self.raw).map_err(|_| {
            damaged(FormatError::damaged("a segment of the member index can't be decoded"))
        })?;
        let members = decode_members(&self.raw, lens.members).map_err(damaged)?;
        self.decoded = members.into_iter();
        Ok(true)
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
