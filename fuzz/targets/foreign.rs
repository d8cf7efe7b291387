//! Fuzzes other programs' files as bytes: listed, measured, cut, decoded, read by range and from a
//! pipe, in memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use support::foreign_oracle;

fuzz_target!(|bytes: &[u8]| {
    foreign_oracle::check(bytes, bytes.len() as u64);
});
