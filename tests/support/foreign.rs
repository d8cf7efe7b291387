//! Zstandard files as other programs write them, put together from frames.

use std::io::Write;

/// Bits of a piece: its content, and what its frame tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whether the frame states its content size.
    pub sized: bool,
    /// Whether it has a checksum.
    pub checked: bool,
}

/// As zstd writes a file.
pub const PLAIN: Shape = Shape { sized: true, checked: true };
/// As zstd writes a pipe.
pub const UNSIZED: Shape = Shape { sized: false, checked: true };
/// As zeekstd and others write by default.
pub const BARE: Shape = Shape { sized: false, checked: false };

/// A frame of `content`.
///
/// # Panics
/// Where libzstd refuses.
#[must_use]
pub fn frame(content: &[u8], shape: Shape) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.include_checksum(shape.checked).expect("a checksum");
    encoder.include_contentsize(shape.sized).expect("a content size");
    if shape.sized {
        encoder.set_pledged_src_size(Some(content.len() as u64)).expect("a content size");
    }
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A frame that every decoder passes over.
#[must_use]
pub fn skippable(magic: u32, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    [&magic.to_le_bytes()[..], &len.to_le_bytes(), payload].concat()
}

/// An entry of a seek table: bytes in the file, bytes of content, checksum.
pub type Entry = (u32, u32, u32);

/// A seek table, with checksums or without.
#[must_use]
pub fn seek_table(entries: &[Entry], checksums: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    for (compressed, decompressed, checksum) in entries {
        payload.extend(compressed.to_le_bytes());
        payload.extend(decompressed.to_le_bytes());
        payload.extend(checksum.to_le_bytes().iter().take(if checksums { 4 } else { 0 }));
    }
    payload.extend((entries.len() as u32).to_le_bytes());
    payload.push(if checksums { 0x80 } else { 0 });
    payload.extend(0x8F92_EAB1u32.to_le_bytes());
    skippable(0x184D_2A5E, &payload)
}

/// A seekable file: a frame for each `len` bytes of `content`, and the table.
#[must_use]
pub fn seekable(content: &[u8], len: usize, shape: Shape, checksums: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for piece in content.chunks(len) {
        let frame = frame(piece, shape);
        let checksum = ringpack::format::frame::xxh64_low(piece);
        entries.push((frame.len() as u32, piece.len() as u32, checksum));
        bytes.extend(frame);
    }
    bytes.extend(seek_table(&entries, checksums));
    bytes
}

/// A frame of one raw block that holds `content` and states `size` in eight bytes, whatever that
/// is; with a window of that descriptor (RFC 8878, 3.1.1.1.2), or else in a single segment.
#[must_use]
pub fn stating(size: u64, window: Option<u8>, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x28, 0xB5, 0x2F, 0xFD, if window.is_some() { 0xC0 } else { 0xE0 }];
    bytes.extend(window);
    bytes.extend(size.to_le_bytes());
    let block = (content.len() as u32) << 3 | 1;
    bytes.extend(&block.to_le_bytes()[..3]);
    bytes.extend(content);
    bytes
}
