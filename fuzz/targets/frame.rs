//! Fuzzes the decoding of frames: a frame gives exactly what it states, as libzstd's own streaming
//! decoder does, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpack::codec::Decoder;
use ringpack::format::frame::{FrameHeader, content_checksum, is_pad, xxh64_low};

fuzz_target!(|bytes: &[u8]| {
    let _ = is_pad(bytes);
    let Ok(header) = FrameHeader::decode(bytes) else { return };
    // What the index bounds a chunk by, less: so that more is tried in a second.
    let Some(len) = usize::try_from(header.content_size).ok().filter(|&len| len <= 1 << 20) else {
        return;
    };
    let mut decoder = Decoder::new().unwrap();
    let mut out = vec![0; len];
    if decoder.decode(bytes, &mut out).is_ok() {
        assert_eq!(content_checksum(bytes), Some(xxh64_low(&out)));
        assert_eq!(zstd::stream::decode_all(bytes).unwrap(), out);
    }
    assert!(decoder.decode(bytes, &mut vec![0; len + 1]).is_err());
});
