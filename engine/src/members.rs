//! Making the member index of an archive that is being packed.
//!
//! Whoever writes the archive tells of each member as it goes, and the index is encoded on the way:
//! what is held is a segment of members as they are, and the encoded ones before it. The encoding
//! depends on the members alone, so the same archive has the same index.

use crate::codec::{Chunk, Encoder, encode_room};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::CodecKind;
use crate::format::members::{Encoded, SEGMENT_RAW_LEN_MAX, SegmentPrefix};
use crate::limits::LEVEL_DEFAULT;

pub use crate::format::members::{Member, MemberKind};

/// Collects the members of an archive, in the order in which they stand in it.
///
/// ```
/// use ringpack::members::{MemberKind, MemberList, Member};
///
/// # fn main() -> ringpack::Result<()> {
/// let mut list = MemberList::new();
/// list.push(&Member {
///     kind: MemberKind::Regular,
///     path: b"a.txt".to_vec(),
///     link: Vec::new(),
///     mode: 0o644,
///     uid: 0,
///     gid: 0,
///     mtime: 0,
///     mtime_ns: 0,
///     size: 3,
///     stored: 3,
///     header_offset: 0,
///     data_offset: 512,
/// })?;
/// assert_eq!(list.count(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct MemberList {
    encoder: Encoder,
    /// Members of the segment that is being filled.
    raw: Vec<u8>,
    members: u32,
    segments: Vec<u8>,
    count: u64,
}

impl Default for MemberList {
    fn default() -> Self {
        Self::new()
    }
}

impl MemberList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        let encoder = Encoder::new(CodecKind::Zstd, LEVEL_DEFAULT);
        Self { encoder, raw: Vec::new(), members: 0, segments: Vec::new(), count: 0 }
    }

    /// Number of members told of.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next member.
    ///
    /// # Errors
    /// `Input` where its path or link is longer than 65535 bytes, `Output` where libzstd is out of
    /// memory.
    pub fn push(&mut self, member: &Member) -> Result<()> {
        if member.path.len().max(member.link.len()) > usize::from(u16::MAX) {
            let what = "has a name of more than 65535 bytes";
            return Err(Error::new(ErrorKind::Input, what));
        }
        if self.raw.len() + member.encoded_len() > SEGMENT_RAW_LEN_MAX {
            self.close_segment()?;
        }
        member.encode(&mut self.raw);
        self.members += 1;
        self.count += 1;
        Ok(())
    }

    fn close_segment(&mut self) -> Result<()> {
        let mut frame = vec![0; encode_room(self.raw.len())];
        let made = self.encoder.encode(Chunk::Bytes(&self.raw), None, &mut frame)?;
        let (raw_len, members) = (self.raw.len(), self.members);
        SegmentPrefix { raw_len, frame_len: made.len, members }.encode(&mut self.segments);
        self.segments.extend_from_slice(&frame[..made.len]);
        self.raw.clear();
        self.members = 0;
        Ok(())
    }

    /// The index; `None` for no members, and where it would pass 1 GiB.
    pub(crate) fn encoded(mut self) -> Result<Option<Encoded>> {
        if self.members > 0 {
            self.close_segment()?;
        }
        if self.count == 0 {
            return Ok(None);
        }
        Ok(Encoded::new(self.count, &self.segments))
    }
}
