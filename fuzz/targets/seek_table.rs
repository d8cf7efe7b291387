//! Fuzzes the decoder of the seek table: what it reads is what it would write.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpack::format::seek_table;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let count = (bytes.len() / seek_table::ENTRY_LEN) as u64;
    let mut mended = seek_table::encode_prefix(count).to_vec();
    mended.extend(&bytes[..count as usize * seek_table::ENTRY_LEN]);
    mended.extend(seek_table::encode_footer(count));
    assert!(check(&mended), "{count} entries are a table");
});

fn check(bytes: &[u8]) -> bool {
    let Ok(table) = seek_table::decode(bytes) else { return false };
    let count = table.len() as u64;
    let mut back = seek_table::encode_prefix(count).to_vec();
    table.iter().for_each(|entry| back.extend(entry.encode()));
    back.extend(seek_table::encode_footer(count));
    assert_eq!(back, bytes);
    true
}
