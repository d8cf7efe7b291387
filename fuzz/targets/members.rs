//! Fuzzes the decoders of the member index: the frame, its segments, and members.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpack::format::members::{Encoded, Segment, decode_frame, decode_members};

fuzz_target!(|input: (u64, u32, &[u8])| {
    let (count, members, bytes) = input;
    let _ = decode_frame(bytes, count);
    let mended = Encoded::new(count, bytes).expect("the input is short");
    let mut rest = decode_frame(&mended.frame, count).expect("what was encoded is read");
    assert_eq!(rest, bytes);
    while let Ok(Some(_)) = Segment::next(&mut rest) {}
    if let Ok(decoded) = decode_members(bytes, members) {
        let mut again = Vec::new();
        decoded.iter().for_each(|member| member.encode(&mut again));
        assert_eq!(again, bytes);
    }
});
