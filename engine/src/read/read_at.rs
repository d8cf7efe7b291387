//! Where a container's bytes come from: anything that can be read at a position.
//!
//! A file, memory, or whatever a program has: an object in a store, a part of a larger file, a
//! cache in front of either. Nothing that a source says is believed before its checksum fits, and
//! what it does against its contract is an error ([`raw`](super::raw)).

use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::sync::Arc;

use super::PIECE_BYTES;
use crate::buffer::AlignedMemory;
use crate::limits::ALIGN;
use crate::ring::file::File;
use crate::units::{align_down, align_up};

/// Bytes that can be read at any position, by many threads at once.
///
/// ```
/// use std::io;
///
/// use ringpack::read::ReadAt;
///
/// /// A container that stands somewhere within a larger file.
/// struct Part<S> {
///     whole: S,
///     start: u64,
///     len: u64,
/// }
///
/// impl<S: ReadAt> ReadAt for Part<S> {
///     fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
///         let left = self.len.saturating_sub(offset).min(buf.len() as u64);
///         self.whole.read_at(&mut buf[..left as usize], self.start + offset)
///     }
///
///     fn len(&self) -> io::Result<u64> {
///         Ok(self.len)
///     }
/// }
///
/// let part = Part { whole: b"not this".to_vec(), start: 4, len: 4 };
/// let mut buf = [0; 9];
/// assert_eq!(part.read_at(&mut buf, 1)?, 3);
/// assert_eq!(&buf[..3], b"his");
/// # io::Result::Ok(())
/// ```
#[expect(clippy::len_without_is_empty, reason = "nothing that is empty is a container")]
pub trait ReadAt: Send + Sync {
    /// Reads into the front of `buf` what stands at `offset`, in bytes from the start, and returns
    /// how many bytes that were. It may be fewer than there is room for, but 0 only at the end.
    ///
    /// # Errors
    /// Whatever keeps it from reading. [`io::ErrorKind::Interrupted`] is tried again.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Length of the whole in bytes. It is asked for once, when the container is opened.
    ///
    /// # Errors
    /// Where the length can't be told.
    fn len(&self) -> io::Result<u64>;
}

/// A regular file or a block device. Asking for a device's length moves the position of the file,
/// which reading at a position neither heeds nor changes.
impl ReadAt for fs::File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        let metadata = self.metadata()?;
        let kind = metadata.file_type();
        if kind.is_block_device() {
            let mut device = self;
            return device.seek(SeekFrom::End(0));
        }
        if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
            return Err(io::ErrorKind::NotSeekable.into());
        }
        Ok(metadata.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let count = buf.len().min(self.len() - from);
        buf[..count].copy_from_slice(&self[from..from + count]);
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        ReadAt::len(self.as_slice())
    }
}

macro_rules! read_at_through {
    ($($pointer:ty),+) => {
        $(impl<S: ReadAt + ?Sized> ReadAt for $pointer {
            fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
                (**self).read_at(buf, offset)
            }

            fn len(&self) -> io::Result<u64> {
                ReadAt::len(&**self)
            }
        })+
    };
}

read_at_through!(&S, Box<S>, Arc<S>);

/// An open file of a disk, which may be one that is read past the page cache.
#[derive(Debug)]
pub(super) struct DiskFile {
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
}

impl ReadAt for DiskFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.file.is_direct() {
            match self.read_on_grid(buf, offset) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    // The file system says that it serves direct I/O, and doesn't. Another thread
                    // may have been told the same before.
                    self.file.leave_direct()?;
                }
                result => return result,
            }
        }
        self.file.read_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

impl DiskFile {
    /// Reads through block-aligned memory, whole blocks.
    fn read_on_grid(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = align_down(offset);
        let skip = (offset - from) as usize;
        let room = align_up(buf.len() as u64).min(PIECE_BYTES as u64) as usize + ALIGN;
        let mut memory = AlignedMemory::zeroed(room);
        let got = self.file.read_at(&mut memory, from)?;
        let step = got.saturating_sub(skip).min(buf.len());
        buf[..step].copy_from_slice(&memory[skip..skip + step]);
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::file::Disk;
    use crate::ring::sim::{SimDisk, SimOptions};
    use std::path::Path;

    #[test]
    fn a_disk_s_file_is_read_anywhere_whether_it_is_direct_or_only_says_so() {
        const PLAIN: SimOptions = SimOptions::PLAIN;
        let bytes: Vec<u8> = (0..50_000u32).flat_map(|number| number.to_le_bytes()).collect();
        let len = bytes.len();
        for (world, asked, stays) in [
            (PLAIN, false, false),
            (PLAIN, true, false),
            (SimOptions { direct: true, ..PLAIN }, true, true),
            (SimOptions { einval_direct: true, ..PLAIN }, true, false),
        ] {
            let disk = SimDisk::new(1, world);
            disk.write_file("/f", &bytes);
            let file = disk.open(Path::new("/f"), asked).unwrap();
            let source = DiskFile { file: Arc::clone(&file), len: len as u64 };
            for offset in [0, 1, ALIGN - 1, ALIGN, 12_345, len - 1, len] {
                for room in [1, 5, ALIGN, len] {
                    let mut buf = vec![0; room];
                    let got = source.read_at(&mut buf, offset as u64).unwrap();
                    assert_eq!(got, room.min(len - offset), "{world:?}: {room} at {offset}");
                    assert!(buf[..got] == bytes[offset..offset + got], "{room} at {offset}");
                }
            }
            assert_eq!(file.is_direct(), stays, "{world:?}");
        }
    }

    #[test]
    fn memory_is_read_up_to_its_end_and_has_nothing_behind_it() {
        let memory: &[u8] = b"ten bytes.";
        for (offset, room, expected) in
            [(0, 3, "ten"), (4, 100, "bytes."), (9, 1, "."), (10, 1, ""), (u64::MAX, 9, "")]
        {
            let mut buf = vec![0; room];
            let got = memory.read_at(&mut buf, offset).unwrap();
            assert_eq!(&buf[..got], expected.as_bytes(), "{room} at {offset}");
        }
        let lens = [
            ReadAt::len(memory),
            ReadAt::len(&memory.to_vec()),
            ReadAt::len(&Arc::<[u8]>::from(memory)),
            ReadAt::len(&Box::<dyn ReadAt>::from(Box::new(memory))),
        ];
        assert!(lens.into_iter().all(|len| len.unwrap() == 10));
    }
}
