//! The spool: what is known of each chunk, kept until the index is written, in bounded memory.
//!
//! A record of fixed length a chunk, put at the chunk's own place in any order and read back in
//! sequence. The first ones stay in memory; past the budget they all move to a nameless file beside
//! the output, which costs one small write an extent into the page cache.
//!
//! # Invariants
//! - O1: what `record(i)` gives is what was put for chunk `i`, in memory or spilled.
//! - O2: memory held is at most the budget and one read window.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::record::ChunkRecord;
use crate::ring::file::{Directory, File};
use crate::ring::whole::{read_full, write_all};

/// Bytes read back at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// The spool.
#[derive(Debug)]
pub struct Spool {
    /// Where it spills to; nowhere if all of it is to stay in memory.
    directory: Option<Arc<dyn Directory>>,
    stride: usize,
    memory_max: usize,
    memory: Vec<u8>,
    spilled: Option<Arc<dyn File>>,
    window: Window,
}

#[derive(Debug, Default)]
struct Window {
    first: u64,
    bytes: Vec<u8>,
}

impl Spool {
    /// A spool that holds `memory_max` bytes before it spills to `directory`; chaining values are
    /// kept only where `chaining` says that they are made.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>, chaining: bool, memory_max: usize) -> Self {
        Self { directory: Some(directory), memory_max, ..Self::in_memory(chaining) }
    }

    /// A spool that never spills.
    #[must_use]
    pub fn in_memory(chaining: bool) -> Self {
        let stride =
            ChunkRecord::LEN - if chaining { 0 } else { crate::format::index::CHAINING_LEN };
        Self {
            directory: None,
            stride,
            memory_max: usize::MAX,
            memory: Vec::new(),
            spilled: None,
            window: Window::default(),
        }
    }

    /// Keeps the records of the chunks from `first` on.
    ///
    /// # Errors
    /// Where the file spilled to can't be made or written.
    pub fn put(&mut self, first: u64, records: &[ChunkRecord]) -> Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * self.stride);
        for record in records {
            // The chaining value stands last, so leaving it out is a shorter record.
            bytes.extend(&record.encode()[..self.stride]);
        }
        let start = first * self.stride as u64;
        // O2: past the budget everything moves out at once.
        if self.spilled.is_none() && start + bytes.len() as u64 > self.memory_max as u64 {
            self.spill()?;
        }
        match &self.spilled {
            Some(file) => {
                // O1: what was read ahead may be older than what is put now.
                let window = self.window.first..self.window.first + per_window(self.stride);
                if first < window.end && window.start < first + records.len() as u64 {
                    self.window.bytes.clear();
                }
                write_all(file.as_ref(), &bytes, start).map_err(unwritable)
            }
            None => {
                let (start, end) = (start as usize, start as usize + bytes.len());
                if self.memory.len() < end {
                    self.memory.resize(end, 0);
                }
                self.memory[start..end].copy_from_slice(&bytes);
                Ok(())
            }
        }
    }

    /// Whether the records outgrew memory.
    #[must_use]
    pub fn is_spilled(&self) -> bool {
        self.spilled.is_some()
    }

    /// The record of a chunk that was put. Reading in sequence is fast.
    ///
    /// # Errors
    /// Where the file spilled to can't be read back.
    pub fn record(&mut self, sequence: u64) -> Result<ChunkRecord> {
        // O1: one place for a record, wherever the records are.
        let bytes = match &self.spilled {
            None => {
                let start = sequence as usize * self.stride;
                self.memory.get(start..start + self.stride)
            }
            Some(file) => {
                let per_window = per_window(self.stride);
                let first = sequence - sequence % per_window;
                if self.window.bytes.is_empty() || self.window.first != first {
                    self.window.bytes.resize(per_window as usize * self.stride, 0);
                    let start = first * self.stride as u64;
                    let filled = read_full(file.as_ref(), &mut self.window.bytes, start);
                    let filled = filled.map_err(|error| {
                        let what = "cannot read the scratch file";
                        Error::from_io(ErrorKind::Output, what, error)
                    })?;
                    self.window.bytes.truncate(filled);
                    self.window.first = first;
                }
                let start = (sequence - first) as usize * self.stride;
                self.window.bytes.get(start..start + self.stride)
            }
        };
        let bytes = bytes.ok_or_else(|| lost("the spooled records end early"))?;
        let mut whole = [0; ChunkRecord::LEN];
        whole[..bytes.len()].copy_from_slice(bytes);
        ChunkRecord::decode(&whole).map_err(|_| lost("a spooled record can't be read"))
    }

    fn spill(&mut self) -> Result<()> {
        let Some(directory) = &self.directory else {
            return Err(Error::new(ErrorKind::Output, "there is nowhere to make a scratch file"));
        };
        let file = directory.scratch().map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot make a scratch file", error)
        })?;
        write_all(file.as_ref(), &self.memory, 0).map_err(unwritable)?;
        self.memory = Vec::new();
        self.spilled = Some(file);
        Ok(())
    }
}

/// Records that fit into the window.
fn per_window(stride: usize) -> u64 {
    (WINDOW_BYTES / stride) as u64
}

fn unwritable(error: std::io::Error) -> Error {
    Error::from_io(ErrorKind::Output, "cannot write the scratch file", error)
}

fn lost(what: &'static str) -> Error {
    Error::new(ErrorKind::Output, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::index::Entry;
    use crate::ring::file::Disk;
    use crate::ring::os::OsDisk;

    fn record(i: u64, chaining: bool) -> ChunkRecord {
        ChunkRecord {
            entry: Entry {
                offset: i * 4096,
                frame_len: i as u32,
                raw_len: 1,
                frame_crc32c: 2,
                raw_crc32c: !(i as u32),
            },
            xxh64_low: 3,
            chaining: [if chaining { i as u8 } else { 0 }; 32],
        }
    }

    #[test]
    fn o1_o2_records_come_back_whether_spilled_or_not() {
        const COUNT: u64 = 50_000; // more than one read window
        for (chaining, memory_max) in
            [(false, usize::MAX), (true, usize::MAX), (false, 1000), (true, 1 << 20), (true, 0)]
        {
            let directory = OsDisk.directory(&std::env::temp_dir()).unwrap();
            let mut spool = Spool::new(directory, chaining, memory_max);
            // Out of order, four at a time.
            for i in 0..COUNT / 4 {
                let first = i * 7919 % (COUNT / 4) * 4;
                let records: Vec<_> = (first..first + 4).map(|i| record(i, chaining)).collect();
                spool.put(first, &records).unwrap();
                assert!(spool.memory.len() <= memory_max);
            }
            assert_eq!(spool.is_spilled(), memory_max != usize::MAX);
            for i in 0..COUNT {
                assert_eq!(spool.record(i).unwrap(), record(i, chaining));
            }
            assert!(spool.record(COUNT * 2).is_err());
        }
    }
}
