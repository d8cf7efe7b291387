//! The layout: where each part of a container stands, worked out from the lengths alone.
//!
//! Writer and reader share it. The writer asks where the tail's parts go; the reader recomputes
//! every offset from the frame lengths and refuses a container that states another. Overlaps,
//! gaps, aliases, offsets into the header or past the end need no check of their own: there is
//! only one layout that a given list of lengths can have.
//!
//! ```text
//! dense   HEADER | f0 f1 f2 f3 PAD | f4 f5 f6 f7 PAD | … | INDEX | MEMBERS | TAIL PAD | SEEK TABLE
//! slots   HEADER | f0 PAD…         | f1 PAD…         | … | INDEX | MEMBERS | TAIL PAD | SEEK TABLE
//! ```
//!
//! # Invariants
//! - L1: extents start and end on the grid, and so does the file.
//! - L2: the seek table's compressed lengths sum exactly to `table_offset`.
//! - L3: an index that passes [`check_index`] names frames that lie inside `4096..data_end`, in
//!   order, without overlap, and no longer than a `store` frame of their chunk.

use super::frame::{pad_len, pad_prefix, store_len};
use super::header::{Digest, Header, PlacementKind, State};
use super::index::{self, Entry, Index};
use super::{Decoded, FormatError, members, seek_table};
use crate::limits::{
    ALIGN, CHUNK_LOG2_MAX, CHUNK_LOG2_MIN, CONTENT_BYTES_MAX, EXTENT_RAW_BYTES, HEADER_LEN,
    SEEK_TABLE_ENTRIES_MAX,
};
use crate::units::{align_up, checked_align_up};

/// How content is cut and where its pieces go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Chunk length as a power of two.
    pub chunk_log2: u8,
    /// Chunks an extent holds.
    pub extent_chunks: u16,
    /// Where frames stand.
    pub placement: PlacementKind,
}

impl Geometry {
    /// The geometry of a new container.
    #[must_use]
    pub fn new(chunk_log2: u8, placement: PlacementKind) -> Self {
        let extent_chunks = match placement {
            PlacementKind::Dense => (EXTENT_RAW_BYTES >> chunk_log2).max(1) as u16,
            PlacementKind::Slots => 1,
        };
        Self { chunk_log2, extent_chunks, placement }
    }

    /// The same with extents of `extent_chunks` chunks.
    #[must_use]
    pub fn with_extent_chunks(self, extent_chunks: u16) -> Self {
        Self { extent_chunks, ..self }
    }

    /// Whether a writer of this build writes containers of it.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let chunks = match self.placement {
            PlacementKind::Dense => {
                1..=Self::new(self.chunk_log2.min(63), self.placement).extent_chunks
            }
            PlacementKind::Slots => 1..=1,
        };
        (CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX).contains(&self.chunk_log2)
            && chunks.contains(&self.extent_chunks)
    }

    /// The geometry that a header states.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        Self {
            chunk_log2: header.chunk_log2,
            extent_chunks: header.extent_chunks,
            placement: header.placement,
        }
    }

    /// Length of a full chunk in bytes.
    #[must_use]
    pub fn chunk_len(&self) -> u64 {
        1 << self.chunk_log2
    }

    /// Length of a full extent's content in bytes.
    #[must_use]
    pub fn extent_raw_len(&self) -> u64 {
        self.chunk_len() * u64::from(self.extent_chunks)
    }

    /// Number of chunks of `content_size` bytes; at least one.
    #[must_use]
    pub fn chunk_count(&self, content_size: u64) -> u64 {
        content_size.div_ceil(self.chunk_len()).max(1)
    }

    /// Number of extents of `chunk_count` chunks.
    #[must_use]
    pub fn extent_count(&self, chunk_count: u64) -> u64 {
        chunk_count.div_ceil(u64::from(self.extent_chunks))
    }

    /// Length of a slot in bytes, 0 for `dense`. The largest frame, a `store` frame, leaves room
    /// for a pad in it, whatever the chunk length (asserted in the tests).
    #[must_use]
    pub fn slot_len(&self) -> u64 {
        match self.placement {
            PlacementKind::Dense => 0,
            PlacementKind::Slots => align_up(store_len(1 << self.chunk_log2) as u64),
        }
    }

    /// Bytes of an extent of `len` bytes that are written, given that its frames end after
    /// `frames_len` of them: of a slot's pad only the first block is, the rest is a hole.
    #[must_use]
    pub fn written_len(&self, frames_len: u64, len: u64) -> u64 {
        match self.placement {
            PlacementKind::Dense => len,
            PlacementKind::Slots => {
                let prefix = pad_prefix(len.saturating_sub(frames_len));
                let prefix_len = prefix.map_or(0, |prefix| prefix.as_ref().len() as u64);
                align_up(frames_len + prefix_len).min(len)
            }
        }
    }

    /// Most bytes an extent can take in the container, pad included.
    #[must_use]
    pub fn extent_len_max(&self) -> u64 {
        let frames = store_len(1 << self.chunk_log2) as u64 * u64::from(self.extent_chunks);
        align_up(frames + 8) + ALIGN as u64
    }
}

/// Where the parts after the data stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    /// Start of the index: the end of the data.
    pub index_offset: u64,
    /// Length of all index frames.
    pub index_len: u64,
    /// Start of the member index.
    pub members_offset: u64,
    /// Length of the member index, 0 where there is none.
    pub members_len: u64,
    /// Whether a trailing header follows the index.
    pub trailing_header: bool,
    /// Start of the tail pad.
    pub pad_offset: u64,
    /// Length of the tail pad, which may be 0.
    pub pad_len: u64,
    /// Start of the seek table; the end of the file where there is none.
    pub table_offset: u64,
    /// Entries of the seek table, or `None` where the container has too many chunks for one.
    pub table_entries: Option<u64>,
    /// Length of the file.
    pub file_size: u64,
}

impl Tail {
    /// The tail of a container whose data ends at `data_end`, or `None` where a number passes
    /// `u64::MAX`.
    #[must_use]
    pub fn new(data_end: u64, chunk_count: u64, chaining: bool, streamed: bool) -> Option<Self> {
        Self::with_members(data_end, chunk_count, chaining, streamed, 0)
    }

    /// The same with a member index of `members_len` bytes, or with none where that is 0.
    #[must_use]
    pub fn with_members(
        data_end: u64,
        chunk_count: u64,
        chaining: bool,
        streamed: bool,
        members_len: u64,
    ) -> Option<Self> {
        let index_len = index::total_len(chunk_count, chaining)?;
        let index_frames = index::frame_count(chunk_count, chaining);
        let trailing = if streamed { HEADER_LEN as u64 } else { 0 };
        let members_offset = data_end.checked_add(index_len)?;
        let pad_offset = members_offset.checked_add(members_len)?.checked_add(trailing)?;
        // Header, chunks, index frames, member index, trailing header; the tail pad's own entry is
        // decided below.
        let others = 1 + u64::from(members_len > 0) + u64::from(streamed);
        let entries = others + chunk_count + index_frames;
        let (pad_len, table_entries) = if entries + 1 > SEEK_TABLE_ENTRIES_MAX {
            (pad_len(pad_offset), None)
        } else {
            let end = pad_offset.checked_add(seek_table::table_len(entries))?;
            if end.is_multiple_of(ALIGN as u64) {
                (0, Some(entries))
            } else {
                // L1: the pad brings table and entry of its own along, and the file ends on ALIGN.
                let end = pad_offset.checked_add(seek_table::table_len(entries + 1))?;
                let pad = match pad_len(end) {
                    0 => ALIGN as u64,
                    pad => pad,
                };
                (pad, Some(entries + 1))
            }
        };
        let table_offset = pad_offset.checked_add(pad_len)?;
        let table_len = table_entries.map_or(0, seek_table::table_len);
        Some(Self {
            index_offset: data_end,
            index_len,
            members_offset,
            members_len,
            trailing_header: streamed,
            pad_offset,
            pad_len,
            table_offset,
            table_entries,
            file_size: table_offset.checked_add(table_len)?,
        })
    }
}

/// Shortest member index.
const MEMBERS_LEN_MIN: u64 = (members::PREFIX_LEN + members::SUFFIX_LEN) as u64;

/// Checks that the sizes a header states fit one another and a file of `file_size` bytes.
///
/// # Errors
/// `Damaged`, naming what doesn't fit.
pub fn check_header(header: &Header, file_size: u64) -> Decoded<Tail> {
    let damaged = |what: &'static str| Err(FormatError::damaged(what));
    if header.state == State::Open {
        return damaged("the container is unfinished: its writer was interrupted");
    }
    if header.file_size != file_size {
        return Err(FormatError::damaged(format!(
            "the file has {file_size} bytes where its header states {}",
            header.file_size
        )));
    }
    let geometry = Geometry::of(header);
    // Buffers are as long as an extent, so no header may make them longer than a writer's.
    if geometry.extent_raw_len() > EXTENT_RAW_BYTES.max(geometry.chunk_len()) {
        return damaged("the header states too long an extent");
    }
    if header.content_size > CONTENT_BYTES_MAX {
        return damaged("the header states more content than a file can hold");
    }
    if header.chunk_count != geometry.chunk_count(header.content_size) {
        return damaged("the header's content size and number of chunks don't agree");
    }
    if header.slot_len != geometry.slot_len() {
        return damaged("the header states a wrong slot length");
    }
    if !header.data_end.is_multiple_of(ALIGN as u64) || header.data_end <= HEADER_LEN as u64 {
        return damaged("the header's end of the data lies off the grid");
    }
    let chaining = header.digest != Digest::None;
    let streamed = header.state == State::Streamed;
    let members_len = header.members_len;
    if members_len > members::FRAME_LEN_MAX || (members_len > 0 && members_len < MEMBERS_LEN_MIN) {
        return damaged("the header states an impossible length of the member index");
    }
    let (data_end, chunk_count) = (header.data_end, header.chunk_count);
    let tail = Tail::with_members(data_end, chunk_count, chaining, streamed, members_len);
    let Some(tail) = tail else {
        return damaged("the header's sizes overflow");
    };
    let table_offset = tail.table_entries.map_or(0, |_| tail.table_offset);
    let stated = (header.index_offset, header.index_len, header.table_offset, header.file_size);
    if stated != (tail.index_offset, tail.index_len, table_offset, tail.file_size) {
        return damaged("the header's offsets don't follow from its sizes");
    }
    Ok(tail)
}

/// Walks the places of a container's frames in order.
#[derive(Clone, Debug)]
pub struct Places {
    geometry: Geometry,
    next: u64,
    sequence: u64,
}

impl Places {
    /// Starts behind the header.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, next: HEADER_LEN as u64, sequence: 0 }
    }

    /// Where the next frame starts, given that it is `frame_len` bytes long and whether it is the
    /// last of all; `None` past `u64::MAX`.
    pub fn place(&mut self, frame_len: u32, last: bool) -> Option<u64> {
        let start = self.next;
        let end = start.checked_add(frame_len.into())?;
        self.sequence += 1;
        self.next = match self.geometry.placement {
            PlacementKind::Dense => {
                let closes =
                    last || self.sequence.is_multiple_of(self.geometry.extent_chunks.into());
                // L1: an extent's last frame is followed by a pad up to the grid.
                if closes { checked_align_up(end.checked_add(pad_len(end))?)? } else { end }
            }
            PlacementKind::Slots => start.checked_add(self.geometry.slot_len())?,
        };
        Some(start)
    }

    /// Where the data ends, once the last frame was placed.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.next
    }
}

/// The check of an index against its header, entry by entry: so that a reader holds no entry that
/// the ones before it don't lead up to (L3).
#[derive(Clone, Debug)]
pub struct IndexCheck {
    geometry: Geometry,
    places: Places,
    left: u64,
    sequence: u64,
    chunk_count: u64,
    data_end: u64,
}

impl IndexCheck {
    /// The check before the first entry.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let geometry = Geometry::of(header);
        Self {
            geometry,
            places: Places::new(geometry),
            left: header.content_size,
            sequence: 0,
            chunk_count: header.chunk_count,
            data_end: header.data_end,
        }
    }

    /// Checks the next entry.
    ///
    /// # Errors
    /// `Damaged`, with the entry's chunk, where it doesn't fit.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), (u64, FormatError)> {
        let sequence = self.sequence;
        let fail = |what: &'static str| Err((sequence, FormatError::damaged(what)));
        let raw_len = self.left.min(self.geometry.chunk_len());
        if u64::from(entry.raw_len) != raw_len {
            return fail("the index states a wrong chunk length");
        }
        self.left -= raw_len;
        // L3: no frame is longer than the store frame of its chunk.
        if entry.frame_len < 13 || entry.frame_len as usize > store_len(raw_len as usize) {
            return fail("the index states an impossible frame length");
        }
        let last = sequence + 1 == self.chunk_count;
        if self.places.place(entry.frame_len, last) != Some(entry.offset) {
            return fail("the index states another offset than its lengths give");
        }
        self.sequence += 1;
        Ok(())
    }

    /// Checks that the entries were all.
    ///
    /// # Errors
    /// `Damaged` where they don't cover the content and the data exactly.
    pub fn end(&self) -> Result<(), (u64, FormatError)> {
        let fail = |what: &'static str| Err((self.sequence, FormatError::damaged(what)));
        if self.sequence != self.chunk_count || self.left != 0 {
            return fail("the index doesn't cover the content");
        }
        if self.places.end() != self.data_end {
            return fail("the index ends elsewhere than the data");
        }
        Ok(())
    }
}

/// Checks an index against its header: geometry, order, lengths (L3).
///
/// # Errors
/// `Damaged`, with the chunk that doesn't fit.
pub fn check_index(header: &Header, index: &Index) -> Result<(), (u64, FormatError)> {
    let mut check = IndexCheck::new(header);
    index.entries.iter().try_for_each(|entry| check.entry(entry))?;
    check.end()
}

/// Bytes from the start of a chunk's frame to the start of the next thing: the frame and its pad.
#[must_use]
pub fn entry_span(entry: &Entry, next: Option<&Entry>, data_end: u64) -> u64 {
    next.map_or(data_end, |next| next.offset).saturating_sub(entry.offset)
}

/// Checks a seek table against header, index and layout (L2). The checksums of the chunks are not
/// known here: they are the frames' last four bytes, to be compared by whoever reads the frames.
///
/// # Errors
/// `Damaged`, naming the entry.
pub fn check_table(
    header: &Header,
    tail: &Tail,
    index: &Index,
    table: &[seek_table::Entry],
) -> Decoded<()> {
    let chaining = !index.chaining.is_empty();
    let chunks = index.entries.iter().enumerate().map(|(i, entry)| {
        let span = entry_span(entry, index.entries.get(i + 1), header.data_end);
        (span, entry.raw_len, None)
    });
    let own = |len: u64| (len, 0, Some(super::frame::XXH_EMPTY));
    let expected = std::iter::once(own(HEADER_LEN as u64))
        .chain(chunks)
        .chain(index::frame_lens(header.chunk_count, chaining).map(own))
        .chain((tail.members_len > 0).then(|| own(tail.members_len)))
        .chain(tail.trailing_header.then(|| own(HEADER_LEN as u64)))
        .chain((tail.pad_len > 0).then(|| own(tail.pad_len)));
    let mut found = table.iter();
    for (number, (compressed, decompressed, checksum)) in expected.enumerate() {
        let fits = found.next().is_some_and(|entry| {
            u64::from(entry.compressed) == compressed
                && entry.decompressed == decompressed
                && checksum.is_none_or(|checksum| entry.checksum == checksum)
        });
        if !fits {
            return Err(FormatError::damaged(format!(
                "entry {number} of the seek table doesn't agree with the index"
            )));
        }
    }
    if found.next().is_some() {
        return Err(FormatError::damaged("the seek table has entries past the index's"));
    }
    Ok(())
}

/// Chunk length for `content_size` bytes, as a power of two: `wished`, raised until the seek table
/// can hold every chunk, or `None` where even the largest chunk leaves too many.
#[must_use]
pub fn fitting_chunk_log2(wished: u8, content_size: u64) -> Option<u8> {
    // Beside the chunks: header, member index, trailing header, tail pad, up to 8 index frames.
    const OTHERS: u64 = 16;
    (wished..=crate::limits::CHUNK_LOG2_MAX)
        .find(|&log2| content_size.div_ceil(1 << log2) + OTHERS <= SEEK_TABLE_ENTRIES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header;

    fn container(placement: PlacementKind, lens: &[u32], last_raw: u32) -> (Header, Index) {
        let geometry = Geometry::new(16, placement);
        let mut places = Places::new(geometry);
        let mut index = Index::default();
        for (i, &frame_len) in lens.iter().enumerate() {
            let last = i + 1 == lens.len();
            let offset = places.place(frame_len, last).unwrap();
            let raw_len = if last { last_raw } else { 65536 };
            index.entries.push(Entry {
                offset,
                frame_len,
                raw_len,
                frame_crc32c: 0,
                raw_crc32c: 0,
            });
        }
        let tail = Tail::new(places.end(), lens.len() as u64, false, false).unwrap();
        let header = Header {
            chunk_log2: 16,
            placement,
            extent_chunks: geometry.extent_chunks,
            content_size: (lens.len() as u64 - 1) * 65536 + u64::from(last_raw),
            chunk_count: lens.len() as u64,
            data_end: places.end(),
            index_offset: tail.index_offset,
            index_len: tail.index_len,
            table_offset: tail.table_offset,
            file_size: tail.file_size,
            slot_len: geometry.slot_len(),
            digest: Digest::None,
            ..header::tests::sample()
        };
        (header, index)
    }

    #[test]
    fn l1_a_pad_always_fits_its_slot() {
        for log2 in CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX {
            let geometry = Geometry::new(log2, PlacementKind::Slots);
            let largest = store_len(1 << log2) as u64;
            assert!(geometry.slot_len() - largest >= 8, "2^{log2}");
            assert!(geometry.slot_len().is_multiple_of(ALIGN as u64));
        }
    }

    #[test]
    fn l1_every_tail_ends_on_the_grid() {
        for chunks in 1..3000 {
            for (chaining, streamed) in [(false, false), (true, true)] {
                let tail = Tail::new(8192, chunks, chaining, streamed).unwrap();
                assert!(tail.file_size.is_multiple_of(ALIGN as u64), "{chunks}");
                assert!(tail.pad_len == 0 || tail.pad_len >= 8, "{chunks}");
            }
        }
    }

    #[test]
    fn l2_the_table_sums_to_its_offset() {
        for lens in [&[13][..], &[100; 65], &[5000, 4096 - 4, 13, 60_000]] {
            for placement in [PlacementKind::Dense, PlacementKind::Slots] {
                let (header, index) = container(placement, lens, 65536);
                let tail = check_header(&header, header.file_size).unwrap();
                let sum: u64 = index
                    .entries
                    .iter()
                    .enumerate()
                    .map(|(i, e)| entry_span(e, index.entries.get(i + 1), header.data_end))
                    .sum();
                let others = HEADER_LEN as u64 + tail.index_len + tail.pad_len;
                assert_eq!(sum + others, tail.table_offset);
            }
        }
    }

    #[test]
    fn l3_an_index_is_refused_wherever_it_is_touched() {
        for placement in [PlacementKind::Dense, PlacementKind::Slots] {
            let (header, index) = container(placement, &[100, 200, 20], 7);
            assert_eq!(check_index(&header, &index), Ok(()));
            for chunk in 0..3 {
                for field in 0..3 {
                    let mut forged = index.clone();
                    let entry = &mut forged.entries[chunk];
                    match field {
                        0 => entry.offset += 1,
                        1 => entry.frame_len += 70_000,
                        _ => entry.raw_len -= 1,
                    }
                    assert!(check_index(&header, &forged).is_err(), "{chunk} {field}");
                }
            }
            let mut short = index.clone();
            short.entries.pop();
            assert!(check_index(&header, &short).is_err());
            let mut swapped = index.clone();
            swapped.entries.swap(0, 1);
            assert!(check_index(&header, &swapped).is_err());
        }
    }

    #[test]
    fn headers_whose_sizes_disagree_are_refused() {
        let (header, _) = container(PlacementKind::Dense, &[100, 200, 20], 7);
        assert!(check_header(&header, header.file_size).is_ok());
        assert!(check_header(&header, header.file_size + 1).is_err());
        let spoil: [fn(&mut Header); 10] = [
            |h| h.state = State::Open,
            |h| h.extent_chunks = 65,
            |h| h.content_size += 65536,
            |h| h.chunk_count = u64::MAX,
            |h| h.data_end += 4096,
            |h| h.data_end = 0,
            |h| h.index_offset -= 4096,
            |h| h.index_len += 1,
            |h| h.table_offset = u64::MAX,
            |h| h.slot_len = 4096,
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut forged = header.clone();
            spoil(&mut forged);
            assert!(check_header(&forged, header.file_size).is_err(), "{number}");
        }
        let mut vast = header.clone();
        vast.content_size = u64::MAX;
        vast.chunk_count = Geometry::of(&vast).chunk_count(u64::MAX);
        vast.data_end = !4095;
        assert!(check_header(&vast, vast.file_size).is_err());
    }

    #[test]
    fn a_known_larger_input_raises_the_chunk() {
        let tib = 1u64 << 40;
        assert_eq!(fitting_chunk_log2(20, 100 * tib), Some(20));
        assert_eq!(fitting_chunk_log2(20, 128 * tib), Some(21));
        assert_eq!(fitting_chunk_log2(16, tib), Some(16));
        assert_eq!(fitting_chunk_log2(16, 4 * tib), Some(16));
        assert_eq!(fitting_chunk_log2(16, 8 * tib), Some(17));
        assert_eq!(fitting_chunk_log2(20, u64::MAX), None);
    }

    #[test]
    fn too_many_chunks_for_a_table_have_none() {
        let tail = Tail::new(4096, SEEK_TABLE_ENTRIES_MAX, false, true).unwrap();
        assert_eq!(tail.table_entries, None);
        assert!(tail.file_size.is_multiple_of(ALIGN as u64));
        assert_eq!(Tail::new(!4095, 1, false, false), None);
        assert_eq!(Tail::new(4096, u64::MAX, true, false), None);
    }
}
