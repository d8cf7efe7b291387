//! Fuzzes the decoder of headers, as they stand and with their checksum mended.
//!
//! What is decoded is encoded and decoded again to the same: a header is what its fields say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpack::checksum::crc32c;
use ringpack::format::header::Header;
use ringpack::format::layout;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut mended = bytes.to_vec();
    mended.resize(256, 0);
    mended[..16].copy_from_slice(b"\x5C\x2A\x4D\x18\xF8\0\0\0RINGPACK");
    let crc = crc32c(&mended[..252]);
    mended[252..].copy_from_slice(&crc.to_le_bytes());
    check(&mended);
});

fn check(bytes: &[u8]) {
    let Ok(header) = Header::decode(bytes) else { return };
    assert_eq!(Header::decode(&header.encode()).as_ref(), Ok(&header));
    if let Ok(tail) = layout::check_header(&header, header.file_size) {
        assert!(header.data_end <= tail.table_offset && tail.table_offset <= tail.file_size);
    }
}
