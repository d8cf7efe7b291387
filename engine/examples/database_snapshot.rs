//! A snapshot of a database of pages, taken while it goes on changing: `database_snapshot PATH`.
//!
//! The database is in memory. A snapshot freezes its pages by number of version: whoever changes a
//! page first puts the frozen one aside (copy on write), so what is written is the database as it
//! was at one moment, however long that takes. Checkpoints make durable what is written so far; the
//! example lets go of its writer midway, as a server does that is restarted, goes on with what the
//! checkpoint covers, and compares the end with the frozen moment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

use ringpack::write::{ContainerWriter, WriteOptions};
use ringpack::{Codec, ContainerReader};

const PAGE_LEN: usize = 8192;
const PAGES: u64 = 8192;
/// A chunk of 64 KiB holds so many pages.
const PAGES_A_CHUNK: u64 = (1 << 16) / PAGE_LEN as u64;

/// The database: its pages, and what a snapshot needs of those that changed since.
struct Database(Mutex<State>);

struct State {
    pages: Vec<u64>,
    /// Pages as they were when the snapshot was taken, of those that changed since.
    aside: Option<HashMap<usize, u64>>,
}

impl Database {
    fn change(&self, page: usize, value: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut state.pages[page], value);
        if let Some(aside) = &mut state.aside {
            aside.entry(page).or_insert(before);
        }
    }

    /// Freezes this moment; what it gives is for the comparison at the end alone.
    fn freeze(&self) -> Vec<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.aside = Some(HashMap::new());
        state.pages.clone()
    }

    /// The bytes of a chunk's pages as they were when the snapshot was taken.
    fn frozen(&self, chunk: u64) -> Vec<u8> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = chunk * PAGES_A_CHUNK..(chunk + 1) * PAGES_A_CHUNK;
        let value = |page: u64| {
            let aside = state.aside.as_ref().and_then(|aside| aside.get(&(page as usize)));
            aside.copied().unwrap_or(state.pages[page as usize])
        };
        pages.flat_map(|page| bytes(page, value(page))).collect()
    }
}

/// What a page with this value holds.
fn bytes(page: u64, value: u64) -> Vec<u8> {
    let words = (0..PAGE_LEN as u64 / 8).map(|at| value.wrapping_mul(at | 1) ^ page);
    words.flat_map(u64::to_le_bytes).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [path] = &env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("usage: database_snapshot PATH".into());
    };
    let pages = (0..PAGES).collect();
    let database = Database(Mutex::new(State { pages, aside: None }));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Transactions that never pause.
            let mut state = 1_u64;
            while !stop.load(SeqCst) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                database.change((state >> 33) as usize % PAGES as usize, state);
            }
        });
        let written = snapshot(&database, path);
        stop.store(true, SeqCst);
        written
    })
}

fn snapshot(database: &Database, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let moment = database.freeze();
    let chunks = PAGES / PAGES_A_CHUNK;
    let options = WriteOptions {
        codec: Codec::Zstd(1),
        chunk_log2: 16,
        replace: true,
        expected_size: Some(PAGES * PAGE_LEN as u64),
        checkpoints: None,
        ..WriteOptions::default()
    };
    let writer = ContainerWriter::create(path, &options)?;
    for chunk in 0..chunks / 2 {
        writer.write_chunk(chunk, &database.frozen(chunk))?;
        if chunk % 200 == 199 {
            println!("{} chunks are durable", writer.checkpoint()?.chunks);
        }
    }
    println!("restarting with {} chunks durable", writer.suspend()?.chunks);
    let writer = ContainerWriter::reopen(path)?;
    for chunk in writer.missing(0..chunks).collect::<Vec<_>>() {
        writer.write_chunk(chunk, &database.frozen(chunk))?;
    }
    writer.finalize(None)?;
    let reader = ContainerReader::open(path)?;
    for (page, &value) in (0..).zip(&moment) {
        let start = page * PAGE_LEN as u64;
        if reader.read_range(start..start + PAGE_LEN as u64)? != bytes(page, value) {
            return Err(format!("page {page} is of another moment").into());
        }
    }
    println!("{PAGES} pages are those of one moment");
    Ok(())
}
