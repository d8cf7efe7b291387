//! Fuzzes the decoder of the index, as it stands and with prefix and checksum mended.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpack::checksum::crc32c;
use ringpack::format::index::{self, Index};

fuzz_target!(|input: (u64, bool, &[u8])| {
    let (count, chaining, bytes) = input;
    check(bytes, count, chaining);
    // As many chunks as the bytes hold, and the sum made to fit.
    let each = if chaining { index::ENTRY_LEN + index::CHAINING_LEN } else { index::ENTRY_LEN };
    let count = (bytes.len() / each) as u64;
    let mut mended = index::encode_prefix(0, count, chaining).to_vec();
    mended.extend(&bytes[..count as usize * each]);
    let crc = crc32c(&mended[8..]);
    mended.extend(crc.to_le_bytes());
    if count > 0 {
        assert!(check(&mended, count, chaining), "{count} entries are an index");
    }
});

fn check(bytes: &[u8], count: u64, chaining: bool) -> bool {
    let Ok(index) = Index::decode(bytes, count, chaining) else { return false };
    assert_eq!(index.entries.len() as u64, count);
    assert_eq!(index.encode(), bytes);
    true
}
