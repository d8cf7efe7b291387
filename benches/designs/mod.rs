//! Ways in which a program's threads can write their chunks into one file, on the same ring and the
//! same data, so that what differs is who may write when.
//!
//! Each thread claims the next chunk, encodes it into a buffer, reserves the next bytes of the file
//! for it (chunks are of unequal lengths once encoded), and gets it written in its design's way.
//! Time runs from the first claim to the end of the final fsync.

mod alone;
mod handed;
mod runtime;

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringpack::codec::{Chunk, Encoder, encode_room};
use ringpack::format::header::CodecKind;
use ringpack::ring::file::{Disk, File};
use ringpack::ring::os::OsDisk;
use ringpack::units::align_up;

/// A way of writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Design {
    /// A mutex around the writer: one thread at a time reserves, writes and waits.
    MutexWriter,
    /// A mutex around the file alone: one thread at a time submits; all wait for themselves.
    MutexFile,
    /// One writer task, fed by a channel.
    OneTask,
    /// A pool of writer tasks, as many as threads, fed by one channel.
    Pool,
    /// Each core writes directly, on a ring of its own: the engine's.
    PerCore,
    /// A tokio-uring runtime on a thread of its own, a task for each chunk.
    TokioUring,
}

impl Design {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::MutexWriter,
        Self::MutexFile,
        Self::OneTask,
        Self::Pool,
        Self::PerCore,
        Self::TokioUring,
    ];

    /// What reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MutexWriter => "mutex around the writer",
            Self::MutexFile => "mutex around the file",
            Self::OneTask => "one writer task",
            Self::Pool => "pool of writer tasks",
            Self::PerCore => "each core by itself",
            Self::TokioUring => "tokio-uring, a task a chunk",
        }
    }
}

/// Under what a design writes.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Chunks are this long, in bytes.
    pub chunk_len: usize,
    /// Number of chunks.
    pub chunks: usize,
    /// Threads that encode.
    pub threads: usize,
    /// Buffers a thread: so many writes of each can be in flight.
    pub depth: usize,
    /// Past the page cache.
    pub direct: bool,
    /// Into space that was allocated ahead.
    pub allocated: bool,
    /// zstd's level; none copies.
    pub level: Option<i32>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            chunk_len: 1 << 20,
            chunks: 256,
            threads: 2,
            depth: 4,
            direct: true,
            allocated: true,
            level: None,
        }
    }
}

/// Where a chunk's frame came to stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The chunk.
    pub sequence: usize,
    /// Where its frame starts in the file.
    pub offset: u64,
    /// Length of the frame.
    pub len: usize,
}

/// What all threads share.
struct Shared<'a> {
    setup: Setup,
    content: &'a [u8],
    file: Arc<dyn File>,
    next: AtomicUsize,
    end: AtomicU64,
    places: Mutex<Vec<Place>>,
}

impl Shared<'_> {
    /// The next chunk that nobody has.
    fn claim(&self) -> Option<usize> {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        (sequence < self.setup.chunks).then_some(sequence)
    }

    /// Bytes of the file for a frame of `len`.
    fn reserve(&self, sequence: usize, len: usize) -> u64 {
        let offset = self.end.fetch_add(align_up(len as u64), Ordering::Relaxed);
        let place = Place { sequence, offset, len };
        self.places.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        offset
    }

    /// Bytes that a buffer needs.
    fn room(&self) -> usize {
        align_up(encode_room(self.setup.chunk_len) as u64) as usize
    }

    /// The chunk's raw bytes.
    fn raw(&self, sequence: usize) -> &[u8] {
        raw(self.content, sequence, self.setup.chunk_len)
    }

    fn encoder(&self) -> Encoder {
        match self.setup.level {
            Some(level) => Encoder::new(CodecKind::Zstd, level),
            None => Encoder::new(CodecKind::Store, 0),
        }
    }

    /// Encodes the chunk, and gives the frame's length.
    fn encode(&self, encoder: &mut Encoder, sequence: usize, room: &mut [u8]) -> io::Result<usize> {
        let frame = encoder
            .encode(Chunk::Bytes(self.raw(sequence)), None, room)
            .map_err(io::Error::other)?;
        // Up to the grid, as direct writes are.
        room[frame.len..align_up(frame.len as u64) as usize].fill(0);
        Ok(frame.len)
    }
}

/// The bytes of a chunk: content that is shorter than all chunks is taken again and again.
#[must_use]
pub fn raw(content: &[u8], sequence: usize, chunk_len: usize) -> &[u8] {
    let chunks = content.len() / chunk_len;
    let start = (sequence % chunks) * chunk_len;
    &content[start..start + chunk_len]
}

/// Writes a new file at `folder`, `written`, in place of any that is there. Gives the time, and
/// where each chunk came to stand.
///
/// # Errors
/// As the system's calls.
///
/// # Panics
/// Where `content` is shorter than a chunk.
pub fn write(
    design: Design,
    setup: Setup,
    content: &[u8],
    folder: &Path,
) -> io::Result<(Duration, Vec<Place>)> {
    let directory = OsDisk.directory(folder)?;
    let name = OsStr::new("written");
    match directory.unlink(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = directory.create_new(name, setup.direct)?;
    let shared = Shared {
        setup,
        content,
        file: Arc::clone(&file),
        next: AtomicUsize::new(0),
        end: AtomicU64::new(0),
        places: Mutex::new(Vec::with_capacity(setup.chunks)),
    };
    if setup.allocated {
        file.allocate(0, (shared.room() * setup.chunks) as u64)?;
    }
    let start = Instant::now();
    match design {
        Design::MutexWriter => alone::write(&shared, alone::Lock::Writer)?,
        Design::MutexFile => alone::write(&shared, alone::Lock::File)?,
        Design::PerCore => alone::write(&shared, alone::Lock::None)?,
        Design::OneTask => handed::write(&shared, 1)?,
        Design::Pool => handed::write(&shared, setup.threads)?,
        Design::TokioUring => runtime::write(&shared)?,
    }
    file.set_len(shared.end.load(Ordering::Relaxed))?;
    file.sync_all()?;
    let places = shared.places.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((start.elapsed(), places))
}

/// Runs `work` on each of so many threads; the first error of any.
fn on_each(threads: usize, work: impl Fn(usize) -> io::Result<()> + Sync) -> io::Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let started: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        started.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpack::codec::Decoder;

    #[test]
    fn every_design_writes_every_chunk_once_where_it_says() {
        let content = crate::content(3 << 20);
        let folder = tempfile::tempdir().unwrap();
        for design in Design::ALL {
            for (direct, allocated) in [(true, true), (false, false)] {
                for level in [None, Some(1)] {
                    let setup = Setup {
                        chunk_len: 1 << 18,
                        chunks: 30,
                        threads: 3,
                        depth: 2,
                        direct,
                        allocated,
                        level,
                    };
                    let (_, mut places) = write(design, setup, &content, folder.path()).unwrap();
                    places.sort_by_key(|place| place.sequence);
                    let found: Vec<_> = places.iter().map(|place| place.sequence).collect();
                    assert_eq!(found, (0..30).collect::<Vec<_>>(), "{design:?}");
                    let bytes = std::fs::read(folder.path().join("written")).unwrap();
                    let mut chunk = vec![0; setup.chunk_len];
                    for Place { sequence, offset, len } in places {
                        let frame = &bytes[offset as usize..offset as usize + len];
                        Decoder::new().unwrap().decode(frame, &mut chunk).unwrap();
                        let expected = raw(&content, sequence, setup.chunk_len);
                        assert!(chunk == expected, "{design:?}: chunk {sequence}");
                    }
                }
            }
        }
    }
}
