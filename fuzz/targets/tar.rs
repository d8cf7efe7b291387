//! Fuzzes the reader of tar streams: headers, records, maps, and the bytes of files.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

#[path = "../mended.rs"]
mod mended;
#[allow(dead_code)]
#[path = "../../cli/src/tar_stream/mod.rs"]
mod tar_stream;

fuzz_target!(|input: (u64, Vec<u8>)| {
    let _ = read_through(&mended::mended(input));
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
