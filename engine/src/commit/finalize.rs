//! The end of a container: index, member index, header, seek table; once.
//!
//! By now every extent is written and what is known of each chunk is in the spool. A [`Finish`] is
//! consumed by writing the tail, so there is no second time. It only appends: nothing that was
//! written before is written again, except the bytes of the last block that the data ends in. Into
//! a file, the order is
//!
//! ```text
//! (header,) index, members, header, table │ punch slots │ ftruncate │ attributes │ fsync
//! ```
//!
//! and then the partial file is published (see [`super::publication`]). Into a pipe, the same bytes
//! simply follow.
//!
//! # Invariants
//! - Z1: the tail is written only if exactly the extents `0..n` are complete.
//! - Z2: each step is issued after the result of the one before it was seen to be good.
//! - Z3: fsync is called once, after everything else, and never again after it failed.

use std::sync::Arc;

use crate::buffer::AlignedMemory;
use crate::checksum::{Whole, crc32c};
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{Digest, Header, PlacementKind};
use crate::format::index::{self, SUFFIX_LEN};
use crate::format::layout::{Geometry, Tail};
use crate::format::recipe::Recipe;
use crate::format::{members, seek_table};
use crate::limits::{ALIGN, HEADER_LEN};
use crate::placement::sequence_set::SequenceSet;
use crate::planted::{self, Bug};
use crate::ring::file::{Attributes, File};
use crate::ring::whole::read_full;
use crate::spool::Spool;
use crate::units::{align_down, align_up};

/// Bytes of the tail written at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Where the tail goes, piece by piece, in order.
pub trait Sink {
    /// Writes the next piece. All but the last are a multiple of [`ALIGN`].
    ///
    /// # Errors
    /// Where writing fails.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Everything that the end of a container is made from.
#[derive(Debug)]
pub struct Finish {
    /// The options that decided the bytes.
    pub recipe: Recipe,
    /// A record a chunk.
    pub spool: Spool,
    /// The extents that are complete.
    pub extents: SequenceSet,
    /// Length of the content.
    pub content_size: u64,
    /// Where the last extent ends.
    pub data_end: u64,
    /// The member index, where the content is an archive with one.
    pub members: Option<members::Encoded>,
}

impl Finish {
    /// Writes the tail to `sink` and returns the header that belongs to it.
    ///
    /// `before` are bytes that stand before the tail and that the sink is given once more, so that
    /// its pieces begin on the grid.
    ///
    /// # Errors
    /// Those of the sink and of the spool.
    ///
    /// # Panics
    /// Where extents are missing: the engine's own mistake.
    pub fn write_tail(mut self, sink: &mut dyn Sink, before: &[u8]) -> Result<(Header, Spool)> {
        let geometry = self.recipe.geometry;
        let chunk_count = geometry.chunk_count(self.content_size);
        let extent_count = geometry.extent_count(chunk_count);
        // Z1: exactly 0..n-1, each complete.
        assert!(
            self.extents.complete(extent_count) || planted::is(Bug::SequenceUnchecked),
            "extent {} of {extent_count} is missing",
            self.extents.first_missing()
        );
        let members_len = self.members.as_ref().map_or(0, |members| members.frame.len() as u64);
        let (data_end, content_size) = (self.data_end, self.content_size);
        let tail = Tail::new(data_end, content_size, chunk_count, self.recipe.blake3, members_len)
            .expect("offsets of a file that exists fit");
        let (content_crc32c, digest) = self.sums(chunk_count)?;
        let Recipe { codec, level, zstd_version, .. } = self.recipe;
        let header = Header {
            chunk_log2: geometry.chunk_log2,
            codec,
            level,
            zstd_version,
            placement: geometry.placement,
            extent_chunks: geometry.extent_chunks,
            content_size,
            chunk_count,
            data_end,
            index_offset: tail.index_offset,
            index_len: tail.index_len,
            table_offset: tail.table_entries.map_or(0, |_| tail.table_offset),
            file_size: tail.file_size,
            slot_len: geometry.slot_len(),
            content_crc32c,
            digest,
            members_len,
            member_count: self.members.as_ref().map_or(0, |members| members.count),
        };
        // No longer than what is to be written: of a small file that is a page, not a megabyte.
        let len = align_up(before.len() as u64 + tail.file_size.saturating_sub(data_end));
        let piece = usize::try_from(len).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut out = Pieces { sink, memory: AlignedMemory::zeroed(piece), filled: 0 };
        out.put(before)?;
        if tail.copy_offset.is_some() {
            out.put(&header.encode())?;
        }
        self.write_index(chunk_count, &mut out)?;
        if let Some(members) = &self.members {
            out.put(&members.frame)?;
        }
        out.put(&header.encode())?;
        if let Some(entries) = tail.table_entries {
            self.write_table(&header, &tail, entries, &mut out)?;
        }
        out.flush()?;
        Ok((header, self.spool))
    }

    /// The digest of the content, where chaining values were made.
    ///
    /// # Errors
    /// Those of the spool.
    pub fn digest(&mut self) -> Result<Digest> {
        let chunk_count = self.recipe.geometry.chunk_count(self.content_size);
        Ok(self.sums(chunk_count)?.1)
    }

    fn sums(&mut self, chunk_count: u64) -> Result<(u32, Digest)> {
        let mut whole = Whole::default();
        let mut next = |spool: &mut Spool, sequence| {
            let record = spool.record(sequence)?;
            whole.append(record.entry.raw_crc32c, record.entry.raw_len as usize);
            Ok(record.chaining)
        };
        let digest = if self.recipe.blake3 {
            let root = digest::root(chunk_count, &mut |i| next(&mut self.spool, i))?;
            Digest::Blake3(root)
        } else {
            for sequence in 0..chunk_count {
                next(&mut self.spool, sequence)?;
            }
            Digest::None
        };
        Ok((whole.value(), digest))
    }

    fn write_index(&mut self, chunk_count: u64, out: &mut Pieces<'_>) -> Result<()> {
        let chaining = self.recipe.blake3;
        for run in index::runs(chunk_count, chaining) {
            let prefix = index::encode_prefix(run.start, run.end - run.start, chaining);
            let (_, payload) = prefix.split_at(8);
            let mut crc = crc32c(payload);
            out.put(&prefix)?;
            let mut put = |out: &mut Pieces<'_>, bytes: &[u8]| {
                crc = crc32c::crc32c_append(crc, bytes);
                out.put(bytes)
            };
            for sequence in run.clone() {
                put(out, &self.spool.record(sequence)?.entry.encode())?;
            }
            if chaining {
                for sequence in run {
                    put(out, &self.spool.record(sequence)?.chaining)?;
                }
            }
            const { assert!(SUFFIX_LEN == 4) };
            out.put(&crc.to_le_bytes())?;
        }
        Ok(())
    }

    fn write_table(
        &mut self,
        header: &Header,
        tail: &Tail,
        entries: u64,
        out: &mut Pieces<'_>,
    ) -> Result<()> {
        let own = |len: u64| seek_table::Entry::without_content(len as u32).encode();
        out.put(&seek_table::encode_prefix(entries))?;
        let mut record = self.spool.record(0)?;
        for sequence in 0..header.chunk_count {
            let last = sequence + 1 == header.chunk_count;
            let next = if last { None } else { Some(self.spool.record(sequence + 1)?) };
            // The rest of a slot counts into the entry of the frame before it.
            let end = next.map_or(header.data_end, |next| next.entry.offset);
            let entry = seek_table::Entry {
                compressed: (end - record.entry.offset) as u32,
                decompressed: record.entry.raw_len,
                checksum: record.xxh64_low,
            };
            out.put(&entry.encode())?;
            record = next.unwrap_or(record);
        }
        if tail.copy_offset.is_some() {
            out.put(&own(HEADER_LEN as u64))?;
        }
        for len in index::frame_lens(header.chunk_count, self.recipe.blake3) {
            out.put(&own(len))?;
        }
        if tail.members_len > 0 {
            out.put(&own(tail.members_len))?;
        }
        out.put(&own(HEADER_LEN as u64))?;
        out.put(&seek_table::encode_footer(entries))
    }

    /// Writes the tail into `file`, gives it the attributes and makes everything durable. What
    /// remains is to publish.
    ///
    /// # Errors
    /// Where any step fails; the file is then not to be published.
    pub fn into_file(self, file: &Arc<dyn File>, attributes: &Attributes) -> Result<Header> {
        let failed =
            |what: &'static str| move |error| Error::from_io(ErrorKind::Output, what, error);
        if planted::is(Bug::SyncedEarly) {
            sync_once(file).map_err(failed("cannot make the container durable"))?;
        }
        let offset = align_down(self.data_end);
        let before = read_block(file, offset, (self.data_end - offset) as usize)?;
        let mut sink = FileSink { file, offset };
        // Z2: every step below is reached through `?` on the one before it.
        let (header, spool) = self.write_tail(&mut sink, &before)?;
        if header.placement == PlacementKind::Slots {
            punch_slots(file, &header, spool)?;
        }
        file.set_len(header.file_size).map_err(failed("cannot set the file's length"))?;
        // After the last write, which would set the modification time anew.
        file.set_attributes(attributes).map_err(failed("cannot set the file's attributes"))?;
        // Z3: one fsync for everything, not retried.
        if !planted::is(Bug::NoSync) && !planted::is(Bug::SyncedEarly) {
            sync_once(file).map_err(failed("cannot make the container durable"))?;
        }
        Ok(header)
    }
}

/// The first `len` bytes of the block at `offset`, which hold the end of the data.
fn read_block(file: &Arc<dyn File>, offset: u64, len: usize) -> Result<Vec<u8>> {
    let failed = |error| {
        let what = "cannot read back the end of the data";
        Error::from_io(ErrorKind::Output, what, error).offset(offset)
    };
    if len == 0 {
        return Ok(Vec::new());
    }
    let mut block = AlignedMemory::zeroed(ALIGN);
    let read = match read_full(file.as_ref(), &mut block, offset) {
        // Direct I/O that was claimed and is refused.
        Err(error)
            if error.raw_os_error() == Some(libc::EINVAL)
                && file.leave_direct().map_err(failed)? =>
        {
            read_full(file.as_ref(), &mut block, offset)
        }
        read => read,
    };
    if read.map_err(failed)? < len {
        return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(block[..len].to_vec())
}

/// Z3: a failure is final.
fn sync_once(file: &Arc<dyn File>) -> std::io::Result<()> {
    match file.sync_all() {
        Err(_) if planted::is(Bug::ChainTrusted) => Ok(()),
        Err(_) if planted::is(Bug::SyncRetried) => file.sync_all(),
        result => result,
    }
}

/// Turns the unused rest of each slot, which was allocated ahead, into a hole. A file system that
/// can't keeps the space allocated; the bytes read the same.
fn punch_slots(file: &Arc<dyn File>, header: &Header, mut spool: Spool) -> Result<()> {
    let geometry = Geometry::of(header);
    for sequence in 0..header.chunk_count {
        let entry = spool.record(sequence)?.entry;
        let start = entry.offset + geometry.written_len(entry.frame_len.into(), header.slot_len);
        let end = entry.offset + header.slot_len;
        if start < end {
            match file.punch_hole(start, end - start) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Unsupported => break,
                Err(error) => {
                    let what = "cannot free the unused part of a slot";
                    return Err(Error::from_io(ErrorKind::Output, what, error).offset(start));
                }
            }
        }
    }
    Ok(())
}

struct FileSink<'a> {
    file: &'a Arc<dyn File>,
    offset: u64,
}

impl Sink for FileSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        // Up to the grid, which direct I/O asks for; what is too much is cut off afterwards.
        let mut padded;
        let mut bytes = bytes;
        if !bytes.len().is_multiple_of(ALIGN) {
            padded = AlignedMemory::zeroed(align_up(bytes.len() as u64) as usize);
            padded[..bytes.len()].copy_from_slice(bytes);
            bytes = &padded;
        }
        let mut interrupted = 0;
        while !bytes.is_empty() {
            match self.file.write_at(bytes, self.offset) {
                Ok(written) if written > 0 => {
                    // Back to the grid, so that the rest stays legal for direct I/O; a short write
                    // of less than a block then makes no progress and is refused below.
                    let whole = written == bytes.len() || !self.file.is_direct();
                    let kept = if whole { written } else { written & !(ALIGN - 1) };
                    interrupted = if kept > 0 { 0 } else { interrupted + 1 };
                    bytes = &bytes[kept..];
                    self.offset += kept as u64;
                }
                Ok(_) => interrupted += 1,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => interrupted += 1,
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    let left = self.file.leave_direct().unwrap_or(false);
                    if !left {
                        return Err(self.failed(error));
                    }
                }
                Err(error) => return Err(self.failed(error)),
            }
            if interrupted > crate::limits::RETRIES_MAX {
                return Err(self.failed(std::io::ErrorKind::WriteZero.into()));
            }
        }
        Ok(())
    }
}

impl FileSink<'_> {
    fn failed(&self, error: std::io::Error) -> Error {
        Error::from_io(ErrorKind::Output, "cannot write", error).offset(self.offset)
    }
}

/// Collects small writes into pieces on the grid.
struct Pieces<'a> {
    sink: &'a mut dyn Sink,
    memory: AlignedMemory,
    filled: usize,
}

impl Pieces<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let step = bytes.len().min(self.memory.len() - self.filled);
            self.memory[self.filled..self.filled + step].copy_from_slice(&bytes[..step]);
            self.filled += step;
            bytes = &bytes[step..];
            if self.filled == self.memory.len() {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let filled = std::mem::take(&mut self.filled);
        if filled > 0 { self.sink.write(&self.memory[..filled]) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::frame::XXH_EMPTY;
    use crate::format::header::CodecKind;
    use crate::format::index::Entry;
    use crate::format::record::ChunkRecord;
    use crate::ring::file::{Directory, Disk};
    use crate::ring::sim::{Fault, SimDisk, SimOptions};
    use std::ffi::OsStr;
    use std::path::Path;

    const ATTRIBUTES: Attributes = Attributes { mode: 0o640, owner: None, modified: None };

    /// A container of one empty chunk, ready to be finished.
    fn finish(directory: Arc<dyn Directory>, complete: bool) -> Finish {
        let mut spool = Spool::new(directory, false, usize::MAX);
        let entry = Entry { offset: 0, frame_len: 13, raw_len: 0, frame_crc32c: 1, raw_crc32c: 0 };
        let record = ChunkRecord { entry, xxh64_low: XXH_EMPTY, chaining: [0; 32] };
        spool.put(0, &[record]).unwrap();
        let mut extents = SequenceSet::default();
        if complete {
            extents.insert(0);
        }
        let recipe = Recipe {
            codec: CodecKind::Zstd,
            level: 3,
            zstd_version: 10_507,
            geometry: Geometry::new(20, PlacementKind::Dense),
            blake3: false,
        };
        Finish { recipe, spool, extents, content_size: 0, data_end: 13, members: None }
    }

    fn disk(options: SimOptions) -> (SimDisk, Arc<dyn Directory>, Arc<dyn File>) {
        let disk = SimDisk::new(7, options);
        let directory = disk.directory(Path::new("/")).unwrap();
        let file = directory.create_new(OsStr::new("out"), false).unwrap();
        assert_eq!(file.write_at(&[7; 13], 0).unwrap(), 13);
        (disk, directory, file)
    }

    fn steps(disk: &SimDisk) -> Vec<String> {
        let words = |line: String| line.split(' ').take(1).collect::<Vec<_>>().join(" ");
        disk.trace().into_iter().map(words).filter(|step| step != "create").collect()
    }

    const ORDER: [&str; 5] = ["write", "write", "set_len", "set_attributes", "sync_all"];

    #[test]
    fn the_tail_is_appended_and_all_of_it_made_durable_at_once() {
        let (disk, directory, file) = disk(SimOptions::default());
        let header = finish(directory, true).into_file(&file, &ATTRIBUTES).unwrap();
        assert_eq!(steps(&disk), ORDER);
        assert_eq!(file.status().unwrap().len, header.file_size);
        let bytes = disk.read_file("/out").unwrap();
        assert_eq!(bytes[..13], [7; 13], "the data stands");
        let table_offset = header.table_offset as usize;
        assert_eq!(Header::decode(&bytes[table_offset - HEADER_LEN..]), Ok(header));
    }

    #[test]
    #[should_panic(expected = "extent 0 of 1 is missing")]
    fn z1_an_incomplete_set_is_never_finished() {
        let (_disk, directory, file) = disk(SimOptions::default());
        let _ = finish(directory, false).into_file(&file, &ATTRIBUTES);
    }

    #[test]
    fn z2_z3_a_failed_step_is_the_last_one() {
        let fail = |nth, of: fn(Fault) -> SimOptions| of(Fault { nth, errno: libc::EIO });
        let sync: fn(Fault) -> SimOptions =
            |fault| SimOptions { fail_sync: Some(fault), ..SimOptions::default() };
        let write: fn(Fault) -> SimOptions =
            |fault| SimOptions { fail_write: Some(fault), ..SimOptions::default() };
        // The first write is the data's.
        for (options, reached) in [(fail(2, write), 2), (fail(1, sync), 5)] {
            let (disk, directory, file) = disk(options);
            let error = finish(directory, true).into_file(&file, &ATTRIBUTES).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
            assert_eq!(steps(&disk), ORDER[..reached]);
        }
    }
}
