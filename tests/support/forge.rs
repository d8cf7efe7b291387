//! A container taken apart, so that an attacker's hand can change any part of it and mend every
//! checksum afterwards.
//!
//! ```text
//! Parts::of(bytes) ─► change frames, entries, header, table ─► lay_out ─► seal ─► bytes
//!                                                              places     sums
//! ```
//!
//! Each step may be left out: without `lay_out` offsets and lengths lie, without `seal` checksums
//! do. `bytes` writes down whatever the parts say, however absurd.

use ringpack::Cancel;
use ringpack::checksum::{self, Whole, crc32c};
use ringpack::codec::{Chunk, Decoder, Encoder, filled_room};
use ringpack::digest;
use ringpack::format::frame::{content_checksum, pad_prefix};
use ringpack::format::header::{Digest, Header, PlacementKind};
use ringpack::format::index::Index;
use ringpack::format::layout::{Geometry, Places, Tail, entry_span};
use ringpack::format::{index, seek_table};
use ringpack::limits::{ALIGN, HEADER_LEN};
use ringpack::pack::{Codec, Input, Output, PackOptions, pack_scheduled};
use ringpack::pipeline::{IoMode, Schedule};
use ringpack::ring::sim::{SimDisk, SimOptions};
use ringpack::units::{FileOffset, Sequence};

use crate::memory::MemoryDisk;

/// Longest container that is written down; only tests that go wrong come near it.
const LEN_MAX: u64 = 128 << 20;

/// A kind of container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Where frames stand.
    pub placement: PlacementKind,
    /// Whether it has a digest.
    pub blake3: bool,
}

impl Shape {
    /// Every kind.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut shapes = Vec::new();
        for placement in [PlacementKind::Dense, PlacementKind::Slots] {
            shapes.extend([false, true].map(|blake3| Self { placement, blake3 }));
        }
        shapes
    }

    /// The options that say so, with chunks of 64 KiB and codec `codec`.
    #[must_use]
    pub fn options(&self, codec: Codec) -> PackOptions {
        let Self { placement, blake3 } = *self;
        let io = IoMode::Sim;
        PackOptions { codec, chunk_log2: Some(16), placement, blake3, io, ..PackOptions::default() }
    }

    /// The container of `content`, as the engine makes it.
    ///
    /// # Panics
    /// Where packing fails.
    #[must_use]
    pub fn pack(&self, content: &[u8], codec: Codec) -> Vec<u8> {
        let disk = SimDisk::new(0, SimOptions::default());
        disk.write_file("/in", content);
        let (options, schedule) = (self.options(codec), Schedule::Inline(1));
        let (from, to) = (Input::Path("/in".into()), Output::Path("/out".into()));
        pack_scheduled(&disk, from, to, &options, &Cancel::new(), &schedule)
            .expect("a plain content is packed");
        disk.read_file("/out").expect("it was packed")
    }
}

/// The parts.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The header.
    pub header: Header,
    /// The frames, in order.
    pub frames: Vec<Vec<u8>>,
    /// What the index says of them.
    pub index: Index,
    /// What the seek table says of them and of the rest.
    pub table: Vec<seek_table::Entry>,
    /// Length of the file.
    pub file_len: u64,
}

impl Parts {
    /// Takes an intact container apart.
    ///
    /// # Panics
    /// Where it isn't intact.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let container = MemoryDisk::new(bytes.to_vec()).open().expect("it is intact");
        let (header, index) = (container.header().clone(), container.index().clone());
        let frame = |entry: &index::Entry| {
            let start = entry.offset as usize;
            bytes[start..start + entry.frame_len as usize].to_vec()
        };
        let table = bytes.get(header.table_offset as usize..).unwrap_or_default();
        Self {
            frames: index.entries.iter().map(frame).collect(),
            table: seek_table::decode(table).expect("it is intact"),
            file_len: bytes.len() as u64,
            header,
            index,
        }
    }

    /// Puts another chunk in the place of chunk `sequence`: its frame, its lengths, its sums. The
    /// layout is to be made anew.
    ///
    /// # Panics
    /// Where encoding fails.
    pub fn set_chunk(&mut self, sequence: usize, raw: &[u8]) {
        let mut out = vec![0; filled_room(raw.len())];
        let frame = Encoder::new(self.header.codec, self.header.level.max(1))
            .encode(Chunk::Bytes(raw), None, &mut out)
            .expect("memory for an encoder");
        out.truncate(frame.len);
        self.set_frame(sequence, out, raw);
    }

    /// Puts `frame` in the place of chunk `sequence` and says that it holds `raw`.
    pub fn set_frame(&mut self, sequence: usize, frame: Vec<u8>, raw: &[u8]) {
        let entry = &mut self.index.entries[sequence];
        entry.raw_len = raw.len() as u32;
        entry.raw_crc32c = crc32c(raw);
        if let Some(value) = self.index.chaining.get_mut(sequence) {
            let start = (sequence as u64) << self.header.chunk_log2;
            let only = self.header.chunk_count == 1;
            // What is longer than a chunk has no value, the front of it has; nor has an empty one
            // that isn't alone.
            let subtree = &raw[..raw.len().min(1 << self.header.chunk_log2)];
            if only || !subtree.is_empty() {
                *value = digest::chaining_value(subtree, start, only);
            }
        }
        self.frames[sequence] = frame;
    }

    /// Gives every part its place, by the lengths of the frames and the number of entries.
    ///
    /// # Panics
    /// Where the lengths overflow.
    pub fn lay_out(&mut self) {
        let geometry = Geometry::of(&self.header);
        let mut places = Places::new(geometry);
        let count = self.index.entries.len() as u64;
        for sequence in 0..count {
            self.fill(&geometry, sequence, places.end());
            let entry = &mut self.index.entries[sequence as usize];
            entry.frame_len = self.frames[sequence as usize].len() as u32;
            entry.offset = places.place(entry.frame_len).expect("short frames");
        }
        let chaining = self.header.digest != Digest::None;
        let header = &mut self.header;
        header.content_size = self.index.entries.iter().map(|entry| u64::from(entry.raw_len)).sum();
        header.chunk_count = count;
        let tail = Tail::new(places.end(), header.content_size, count, chaining, 0);
        let tail = tail.expect("few chunks");
        (header.data_end, header.index_offset) = (places.end(), tail.index_offset);
        (header.index_len, header.table_offset) = (tail.index_len, tail.table_offset);
        (header.file_size, self.file_len) = (tail.file_size, tail.file_size);
        self.make_table();
    }

    /// Makes the frame of a chunk that ends a full extent end on the grid, given where it starts,
    /// if it doesn't yet and holds what it says.
    fn fill(&mut self, geometry: &Geometry, sequence: u64, start: u64) {
        let frame = &mut self.frames[sequence as usize];
        let raw_len = self.index.entries[sequence as usize].raw_len;
        let ends_on_grid = (start + frame.len() as u64).is_multiple_of(ALIGN as u64);
        if ends_on_grid || !geometry.is_filled(sequence, raw_len.into()) {
            return;
        }
        let mut raw = vec![0; raw_len as usize];
        let mut decoder = Decoder::new().expect("memory for a decoder");
        if decoder.decode(frame, &mut raw).is_ok() {
            let mut out = vec![0; filled_room(raw.len())];
            let made = Encoder::new(self.header.codec, self.header.level.max(1))
                .encode(Chunk::Bytes(&raw), Some(start as usize), &mut out)
                .expect("memory for an encoder");
            out.truncate(made.len);
            *frame = out;
        }
    }

    /// Makes the seek table that index and header call for.
    pub fn make_table(&mut self) {
        let entries = &self.index.entries;
        let own = |len: u64| seek_table::Entry::without_content(len as u32);
        let chaining = !self.index.chaining.is_empty();
        let mut table = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let span = entry_span(entry, entries.get(number + 1), self.header.data_end);
            let checksum = content_checksum(&self.frames[number]).unwrap_or(0);
            let (compressed, decompressed) = (span as u32, entry.raw_len);
            table.push(seek_table::Entry { compressed, decompressed, checksum });
        }
        let has_copy = self.header.index_offset > self.header.data_end;
        table.extend(has_copy.then(|| own(HEADER_LEN as u64)));
        table.extend(index::frame_lens(entries.len() as u64, chaining).map(own));
        table.push(own(HEADER_LEN as u64));
        self.table = table;
    }

    /// Makes every checksum and the digest what the parts call for; `bytes` does the same for those
    /// of header and index themselves.
    ///
    /// # Panics
    /// Never.
    pub fn seal(&mut self) {
        let mut whole = Whole::default();
        let entries = self.index.entries.iter_mut().zip(&self.frames);
        for (sequence, (entry, frame)) in (0..).zip(entries) {
            let place = FileOffset(entry.offset);
            entry.frame_crc32c =
                checksum::frame(Sequence(sequence), place, crc32c(frame), frame.len());
            whole.append(entry.raw_crc32c, entry.raw_len as usize);
        }
        self.header.content_crc32c = whole.value();
        let values = &self.index.chaining;
        if !values.is_empty() && self.header.digest != Digest::None {
            let root = digest::root(values.len() as u64, &mut |i| Ok(values[i as usize]));
            self.header.digest = Digest::Blake3(root.expect("the values are there"));
        }
    }

    /// The file, with the parts where they say they are, as far as that lies in it.
    ///
    /// # Panics
    /// Where it would be absurdly long.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        assert!(self.file_len <= LEN_MAX, "{} bytes", self.file_len);
        let mut file = vec![0; self.file_len as usize];
        let mut put = |offset: u64, bytes: &[u8]| {
            let start = offset.min(self.file_len) as usize;
            let end = (start + bytes.len()).min(file.len());
            file[start..end].copy_from_slice(&bytes[..end - start]);
        };
        let pad = |len| pad_prefix(len).map(|prefix| prefix.as_ref().to_vec()).unwrap_or_default();
        let entries = &self.index.entries;
        for (number, (entry, frame)) in entries.iter().zip(&self.frames).enumerate() {
            let span = entry_span(entry, entries.get(number + 1), self.header.data_end);
            let end = entry.offset.saturating_add(frame.len() as u64);
            put(end, &pad(span.saturating_sub(frame.len() as u64)));
            put(entry.offset, frame);
        }
        let header = &self.header;
        if header.index_offset > header.data_end {
            put(header.data_end, &header.encode());
        }
        put(header.index_offset, &self.index.encode());
        put(self.header_offset(), &header.encode());
        let entries = self.table.len() as u64;
        let mut table = seek_table::encode_prefix(entries).to_vec();
        self.table.iter().for_each(|entry| table.extend(entry.encode()));
        table.extend(seek_table::encode_footer(entries));
        put(header.table_offset, &table);
        file
    }

    /// Where the header stands, as it says itself.
    #[must_use]
    pub fn header_offset(&self) -> u64 {
        let header = &self.header;
        let end = if header.table_offset == 0 { header.file_size } else { header.table_offset };
        end.saturating_sub(HEADER_LEN as u64)
    }
}
