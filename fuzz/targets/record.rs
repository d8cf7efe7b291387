//! Fuzzes the decoder of journal records: any bytes are records and then a torn tail, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpack::checksum::crc32c;
use ringpack::format::record::Record;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // One record of all the bytes, its length and its checksum made to fit.
    let mut mended = (bytes.len() as u32).to_le_bytes().to_vec();
    mended.extend(bytes);
    let crc = crc32c(&mended);
    mended.extend(crc.to_le_bytes());
    check(&mended);
});

fn check(bytes: &[u8]) {
    let (mut rest, mut chain) = (bytes, 0);
    while let Ok(Some((record, len, crc))) = Record::decode(rest, chain) {
        let mut back = Vec::new();
        assert_eq!(record.encode(chain, &mut back), crc);
        assert_eq!(back, rest[..len]);
        (rest, chain) = (&rest[len..], crc);
    }
}
