//! Fuzzes the replay of a journal: whatever records stand there, chained as they should be, it ends
//! or is refused, and what it hands out is what it says.

#![no_main]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ringpack::journal::Replay;
use ringpack::ring::file::Disk;
use ringpack::ring::sim::{SimDisk, SimOptions};

fuzz_target!(|bytes: &[u8]| {
    replay(bytes);
    // The same as a row of records, each of up to 255 bytes, with lengths and checksums that fit.
    let (mut mended, mut chain, mut rest) = (Vec::new(), 0, bytes);
    while let Some((&len, after)) = rest.split_first() {
        let (body, after) = after.split_at(after.len().min(len.into()));
        let start = mended.len();
        mended.extend((body.len() as u32).to_le_bytes());
        mended.extend(body);
        chain = crc32c::crc32c_append(chain, &mended[start..]);
        mended.extend(chain.to_le_bytes());
        rest = after;
    }
    replay(&mended);
});

fn replay(bytes: &[u8]) {
    let disk = SimDisk::new(1, SimOptions::default());
    disk.write_file("/journal", bytes);
    let folder = disk.directory(Path::new("/")).unwrap();
    let file = folder.open_existing(OsStr::new("journal"), false).unwrap();
    let Ok(Some(replay)) = Replay::read(file) else {
        return;
    };
    let (mut extents, mut chunks) = (0, 0);
    let mut named = HashSet::new();
    replay
        .each_extent(|extent| {
            assert!(named.insert(extent.number));
            assert!(extent.number == extents || replay.open().is_scattered());
            extents += 1;
            chunks += extent.chunks.len() as u64;
            Ok(())
        })
        .unwrap();
    let covered = replay.covered();
    assert_eq!((covered.extents, covered.chunks), (extents, chunks));
}
