//! Fuzzes the reader of tar streams: headers, records, maps, and the bytes of files.
//!
//! A checksum is mended in each block that a bit of `mended` is set for, since a header with a
//! wrong one ends the stream.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../cli/src/tar_stream/mod.rs"]
mod tar_stream;

fuzz_target!(|input: (u64, Vec<u8>)| {
    let (mended, mut bytes) = input;
    for (number, block) in bytes.chunks_exact_mut(512).enumerate().take(64) {
        if mended >> number & 1 == 1 {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    let _ = read_through(&bytes);
});

/// Reads all there is; it holds that bytes lie in their files, in order.
fn read_through(bytes: &[u8]) -> ringpack::Result<()> {
    let mut reader = tar_stream::read::TarReader::at(Cursor::new(bytes), 0)?;
    while let Some(entry) = reader.next()? {
        let (mut end, next) = (0, entry.next());
        assert!(next > entry.member.header_offset);
        reader.bytes(&entry, &mut |offset, bytes| {
            assert!(offset >= end && offset + bytes.len() as u64 <= entry.member.size);
            end = offset + bytes.len() as u64;
            Ok(())
        })?;
        reader.go_to(next)?;
    }
    Ok(())
}
