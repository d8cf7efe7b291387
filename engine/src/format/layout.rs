//! The layout: where each part of a container stands, worked out from the lengths alone.
//!
//! Writer and reader share it. The writer asks where the tail's parts go; the reader recomputes
//! every offset from the frame lengths and refuses a container that states another. Overlaps,
//! gaps, aliases, offsets past the end need no check of their own: there is
//! only one layout that a given list of lengths can have.
//!
//! ```text
//! dense   f0 f1 f2 f3 | f4 f5 f6 f7 | … f9 | (HEADER) | INDEX | MEMBERS | HEADER | SEEK TABLE
//! slots   f0 PAD…     | f1 PAD…     | …    | (HEADER) | INDEX | MEMBERS | HEADER | SEEK TABLE
//! ```
//!
//! # Invariants
//! - L1: extents start on the grid, and a full one ends on it.
//! - L2: the seek table's compressed lengths sum exactly to `table_offset`.
//! - L3: an index that passes [`check_index`] names frames that lie inside `0..data_end`, in order,
//!   without overlap or gap, and no longer than a frame of their chunk can be.

use super::fill::filled_len_max;
use super::frame::{pad_prefix, store_len};
use super::header::{Digest, Header, PlacementKind};
use super::index::{self, Entry, Index};
use super::{Decoded, FormatError, members, seek_table};
use crate::limits::{
    ALIGN, CHUNK_LOG2_MAX, CHUNK_LOG2_MIN, CONTENT_BYTES_MAX, EXTENT_RAW_BYTES,
    HEADER_COPY_CONTENT_ABOVE, HEADER_LEN, SEEK_TABLE_ENTRIES_MAX,
};
use crate::units::align_up;

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

    /// Whether the frame of chunk `sequence`, of `raw_len` bytes, ends on the grid: the last of a
    /// full extent (see [`super::fill`]).
    #[must_use]
    pub fn is_filled(&self, sequence: u64, raw_len: u64) -> bool {
        self.placement == PlacementKind::Dense
            && raw_len == self.chunk_len()
            && (sequence + 1).is_multiple_of(self.extent_chunks.into())
    }

    /// Longest frame of chunk `sequence`, of `raw_len` bytes: the store frame, and what fills it.
    #[must_use]
    pub fn frame_len_max(&self, sequence: u64, raw_len: u64) -> u64 {
        let most = if self.is_filled(sequence, raw_len) { filled_len_max } else { store_len };
        most(raw_len as usize) as u64
    }

    /// Bytes of an extent of `len` bytes that aren't a hole, given that its frames end after
    /// `frames_len` of them: of a slot's pad only the first block is none.
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

    /// Most bytes an extent can take in the container, up to the grid.
    #[must_use]
    pub fn extent_len_max(&self) -> u64 {
        let chunk = 1 << self.chunk_log2;
        let others = u64::from(self.extent_chunks) - 1;
        let last = match self.placement {
            PlacementKind::Dense => filled_len_max(chunk) as u64,
            PlacementKind::Slots => self.slot_len(),
        };
        align_up(store_len(chunk) as u64 * others + last)
    }
}

/// Where the parts after the data stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    /// Start of the copy of the header: the end of the data; `None` where there is no copy.
    pub copy_offset: Option<u64>,
    /// Start of the index.
    pub index_offset: u64,
    /// Length of all index frames.
    pub index_len: u64,
    /// Start of the member index.
    pub members_offset: u64,
    /// Length of the member index, 0 where there is none.
    pub members_len: u64,
    /// Start of the header.
    pub header_offset: u64,
    /// Start of the seek table; the end of the container where there is none.
    pub table_offset: u64,
    /// Entries of the seek table, or `None` where the container has too many chunks for one.
    pub table_entries: Option<u64>,
    /// Length of the container.
    pub file_size: u64,
}

impl Tail {
    /// The tail of a container whose data ends at `data_end`, with a member index of `members_len`
    /// bytes, or with none where that is 0; `None` where a number passes `u64::MAX`.
    #[must_use]
    pub fn new(
        data_end: u64,
        content_size: u64,
        chunk_count: u64,
        chaining: bool,
        members_len: u64,
    ) -> Option<Self> {
        let header_len = HEADER_LEN as u64;
        let has_copy = content_size > HEADER_COPY_CONTENT_ABOVE;
        let index_offset = data_end.checked_add(if has_copy { header_len } else { 0 })?;
        let index_len = index::total_len(chunk_count, chaining)?;
        let index_frames = index::frame_count(chunk_count, chaining);
        let members_offset = index_offset.checked_add(index_len)?;
        let header_offset = members_offset.checked_add(members_len)?;
        let table_offset = header_offset.checked_add(header_len)?;
        let own = 1 + u64::from(has_copy) + u64::from(members_len > 0);
        let entries = chunk_count.checked_add(index_frames)?.checked_add(own)?;
        let table_entries = Some(entries).filter(|&entries| entries <= SEEK_TABLE_ENTRIES_MAX);
        let table_len = table_entries.map_or(0, seek_table::table_len);
        Some(Self {
            copy_offset: has_copy.then_some(data_end),
            index_offset,
            index_len,
            members_offset,
            members_len,
            header_offset,
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
    if header.file_size != file_size {
        return Err(FormatError::damaged(format!(
            "the container has {file_size} bytes where its header states {}",
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
    let chaining = header.digest != Digest::None;
    let members_len = header.members_len;
    if members_len > members::FRAME_LEN_MAX || (members_len > 0 && members_len < MEMBERS_LEN_MIN) {
        return damaged("the header states an impossible length of the member index");
    }
    let (content_size, chunk_count) = (header.content_size, header.chunk_count);
    let tail = Tail::new(header.data_end, content_size, chunk_count, chaining, members_len);
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
}

impl Places {
    /// Starts at the first frame.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, next: 0 }
    }

    /// Where the next frame starts, given that it is `frame_len` bytes long; `None` past
    /// `u64::MAX`.
    pub fn place(&mut self, frame_len: u32) -> Option<u64> {
        let start = self.next;
        self.next = match self.geometry.placement {
            PlacementKind::Dense => start.checked_add(frame_len.into())?,
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
        // L3
        let most = self.geometry.frame_len_max(sequence, raw_len);
        if entry.frame_len < 13 || u64::from(entry.frame_len) > most {
            return fail("the index states an impossible frame length");
        }
        if self.places.place(entry.frame_len) != Some(entry.offset) {
            return fail("the index states another offset than its lengths give");
        }
        // L1
        let is_filled = self.geometry.is_filled(sequence, raw_len);
        if is_filled && !self.places.end().is_multiple_of(ALIGN as u64) {
            return fail("the index states a full extent that ends off the grid");
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

/// Bytes from the start of a chunk's frame to the start of the next thing: the frame, and its pad
/// in a slot.
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
    let expected = chunks
        .chain(tail.copy_offset.map(|_| own(HEADER_LEN as u64)))
        .chain(index::frame_lens(header.chunk_count, chaining).map(own))
        .chain((tail.members_len > 0).then(|| own(tail.members_len)))
        .chain([own(HEADER_LEN as u64)]);
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
    // Beside the chunks: header and its copy, member index, up to 8 index frames.
    const OTHERS: u64 = 16;
    (wished..=crate::limits::CHUNK_LOG2_MAX)
        .find(|&log2| content_size.div_ceil(1 << log2) + OTHERS <= SEEK_TABLE_ENTRIES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header;

    /// A container of chunks of 64 KiB whose frames have these lengths; the last one is
    /// `last_raw` bytes long.
    fn container(placement: PlacementKind, lens: &[u32], last_raw: u32) -> (Header, Index) {
        let geometry = Geometry::new(16, placement).with_extent_chunks(match placement {
            PlacementKind::Dense => 4,
            PlacementKind::Slots => 1,
        });
        let mut places = Places::new(geometry);
        let mut index = Index::default();
        for (i, &frame_len) in lens.iter().enumerate() {
            let last = i + 1 == lens.len();
            let raw_len = if last { last_raw } else { 65536 };
            // What is filled ends on the grid.
            let frame_len = match geometry.is_filled(i as u64, raw_len.into()) {
                true => (align_up(places.end() + u64::from(frame_len)) - places.end()) as u32,
                false => frame_len,
            };
            let offset = places.place(frame_len).unwrap();
            index.entries.push(Entry {
                offset,
                frame_len,
                raw_len,
                frame_crc32c: 0,
                raw_crc32c: 0,
            });
        }
        let content_size = (lens.len() as u64 - 1) * 65536 + u64::from(last_raw);
        let tail = Tail::new(places.end(), content_size, lens.len() as u64, false, 0).unwrap();
        let header = Header {
            chunk_log2: 16,
            placement,
            extent_chunks: geometry.extent_chunks,
            content_size,
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
    fn a_copy_of_the_header_stands_before_the_index_of_much_content() {
        let most = HEADER_COPY_CONTENT_ABOVE;
        let tail = |content| Tail::new(8192, content, 1024, false, 0).unwrap();
        assert_eq!((tail(most).copy_offset, tail(most).index_offset), (None, 8192));
        assert_eq!((tail(most + 1).copy_offset, tail(most + 1).index_offset), (Some(8192), 8448));
        assert_eq!(tail(most + 1).table_entries, Some(1024 + 1 + 1 + 1));
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
                let others = HEADER_LEN as u64 + tail.index_len;
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
    fn l1_a_full_extent_ends_on_the_grid() {
        let (header, mut index) = container(PlacementKind::Dense, &[100, 200, 300, 400, 20], 7);
        assert_eq!(check_index(&header, &index), Ok(()));
        assert!(index.entries[4].offset.is_multiple_of(ALIGN as u64));
        index.entries[3].frame_len -= 1;
        index.entries[4].offset -= 1;
        let (chunk, refused) = check_index(&header, &index).unwrap_err();
        assert_eq!(chunk, 3);
        assert!(refused.to_string().contains("off the grid"), "{refused}");
    }

    #[test]
    fn headers_whose_sizes_disagree_are_refused() {
        let (header, _) = container(PlacementKind::Dense, &[100, 200, 20], 7);
        assert!(check_header(&header, header.file_size).is_ok());
        assert!(check_header(&header, header.file_size + 1).is_err());
        let spoil: [fn(&mut Header); 9] = [
            |h| h.extent_chunks = 65,
            |h| h.content_size += 65536,
            |h| h.chunk_count = u64::MAX,
            |h| h.data_end += 4096,
            |h| h.data_end = u64::MAX,
            |h| h.index_offset += 1,
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
        vast.data_end = u64::MAX;
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
        let tail = Tail::new(4096, 0, SEEK_TABLE_ENTRIES_MAX, false, 0).unwrap();
        assert_eq!((tail.table_entries, tail.table_offset), (None, tail.file_size));
        assert_eq!(Tail::new(u64::MAX, 0, 1, false, 0), None);
        assert_eq!(Tail::new(4096, 0, u64::MAX, true, 0), None);
    }
}
