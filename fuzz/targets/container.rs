//! Fuzzes whole containers as bytes: opened, verified, read and unpacked in memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use support::memory::MemoryDisk;
use support::oracle;

fuzz_target!(|bytes: &[u8]| {
    oracle::check(&MemoryDisk::new(bytes.to_vec()), bytes, 0);
});
