//! Fuzzes salvaging, and the map of what is damaged, of any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use support::foreign_oracle;

fuzz_target!(|bytes: &[u8]| {
    foreign_oracle::check_salvage(bytes);
});
