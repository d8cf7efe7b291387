//! Fuzzes the decoders of the member index: the frame, its segments, and members.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpack::format::members::{
    Encoded, PREFIX_LEN, SEGMENT_PREFIX_LEN, SegmentPrefix, check_front, decode_members,
};

fuzz_target!(|input: (u64, u32, &[u8])| {
    let (count, members, bytes) = input;
    let _ = check_front(bytes, bytes.len() as u64, count);
    let encoded = Encoded::new(count, bytes).expect("the input is short");
    let front = &encoded.frame[..PREFIX_LEN];
    check_front(front, encoded.frame.len() as u64, count).expect("what was encoded is read");
    let mut rest = bytes;
    while let Ok(prefix) = SegmentPrefix::decode(rest) {
        let mut again = Vec::new();
        prefix.encode(&mut again);
        assert_eq!(again, rest[..SEGMENT_PREFIX_LEN]);
        rest = rest[SEGMENT_PREFIX_LEN..].get(prefix.frame_len..).unwrap_or_default();
    }
    if let Ok(decoded) = decode_members(bytes, members) {
        let mut again = Vec::new();
        decoded.iter().for_each(|member| member.encode(&mut again));
        assert_eq!(again, bytes);
    }
});
