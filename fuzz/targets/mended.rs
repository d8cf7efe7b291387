//! Fuzzes whole containers by their parts: mutants whose checksums are mended, as `hostile_mutants`
//! makes them, with the choices made by the fuzzer instead of a seed.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use support::forge::Parts;
use support::memory::MemoryDisk;
use support::{mutant, oracle};

static ANCESTORS: LazyLock<Vec<Parts>> = LazyLock::new(mutant::ancestors);

fuzz_target!(|choices: Vec<u64>| {
    let bytes = mutant::of(&mut mutant::Choices::made(choices), &ANCESTORS);
    oracle::check(&MemoryDisk::new(bytes.clone()), &bytes, 0);
});
