//! Fuzzes the restoring of archives: nothing outside of the target changes, whatever they hold.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../mended.rs"]
mod mended;
#[allow(dead_code)]
#[path = "../../cli/src/tar_stream/mod.rs"]
mod tar_stream;
#[allow(dead_code)]
#[path = "../../cli/src/tree/mod.rs"]
mod tree;

fuzz_target!(|input: (u64, Vec<u8>)| {
    tree::harmless::check(&mended::mended(input));
});
