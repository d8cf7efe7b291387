//! Fuzzes the restoring of archives: nothing outside of the target changes, whatever they hold.
//!
//! A checksum is mended in each block that a bit of `mended` is set for, since a header with a
//! wrong one ends the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../cli/src/tar_stream/mod.rs"]
mod tar_stream;
#[allow(dead_code)]
#[path = "../../cli/src/tree/mod.rs"]
mod tree;

fuzz_target!(|input: (u64, Vec<u8>)| {
    let (mended, mut bytes) = input;
    for (number, block) in bytes.chunks_exact_mut(512).enumerate().take(64) {
        if mended >> number & 1 == 1 {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    tree::harmless::check(&bytes);
});
