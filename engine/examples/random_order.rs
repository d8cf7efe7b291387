//! Writes chunks of 1 MiB from 16 threads in random order, goes on where it was killed, and reads
//! all of it back: `random_order PATH CHUNKS`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{env, iter, thread};

use ringpack::ContainerReader;
use ringpack::write::{ContainerWriter, WriteOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().collect();
    let (path, count): (_, u64) = (&args[1], args[2].parse()?);
    let writer = ContainerWriter::reopen_or_create(path, &WriteOptions::default())?;
    println!("{} of {count} chunks are there already", writer.given());
    let next = AtomicU64::new(0);
    let give = || {
        // 7919 steps at a time pass every number once, unless 7919 divides their count.
        let turns = iter::from_fn(|| Some(next.fetch_add(1, Relaxed))).take_while(|&i| i < count);
        let mut missing = turns.map(|i| i * 7919 % count).filter(|&i| !writer.is_given(i));
        missing.try_for_each(|i| writer.write_chunk(i, &chunk(i)))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(give)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it doesn't panic"))
    })?;
    writer.finalize(None)?;
    for found in ContainerReader::open(path)?.chunks() {
        assert!(found.read()? == chunk(found.sequence()), "chunk {}", found.sequence());
    }
    println!("{count} chunks read back as they were given");
    Ok(())
}

/// What chunk `number` holds: noise.
fn chunk(number: u64) -> Vec<u8> {
    let mut state = number + 1;
    let words = iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state ^ (state >> 29)).to_le_bytes()
    });
    words.take(1 << 17).flatten().collect()
}
