//! Reads and writes that go on until everything asked for has moved.
//!
//! For small side files through the page cache; extents go through a backend, and the container's
//! tail has the grid to mind.

use std::io;

use super::file::File;
use crate::limits::RETRIES_MAX;

/// Reads at `offset` until `bytes` are full or the file ends; returns how many were read.
///
/// # Errors
/// As `pread`; `EINTR` is tried again, up to [`RETRIES_MAX`] times without progress.
pub fn read_full(file: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    let mut interrupted = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => (filled, interrupted) = (filled + read, 0),
            Err(error) => again(error, &mut interrupted)?,
        }
    }
    Ok(filled)
}

/// Writes all of `bytes` at `offset`.
///
/// # Errors
/// As `pwrite`, and `WriteZero` where nothing moves; `EINTR` as in [`read_full`].
pub fn write_all(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    let mut interrupted = 0;
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                (offset, interrupted) = (offset + written as u64, 0);
            }
            Err(error) => again(error, &mut interrupted)?,
        }
    }
    Ok(())
}

fn again(error: io::Error, interrupted: &mut u32) -> io::Result<()> {
    *interrupted += 1;
    if error.kind() == io::ErrorKind::Interrupted && *interrupted <= RETRIES_MAX {
        return Ok(());
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::file::Disk;
    use crate::ring::sim::{SimDisk, SimOptions};
    use std::ffi::OsStr;
    use std::path::Path;

    #[test]
    fn short_and_interrupted_calls_move_everything_in_the_end() {
        let options =
            SimOptions { short_per_mille: 500, eintr_per_mille: 300, ..SimOptions::default() };
        let disk = SimDisk::new(5, options);
        let file = disk.directory(Path::new("/")).unwrap();
        let file = file.create_new(OsStr::new("f"), false).unwrap();
        let bytes: Vec<u8> = (0..100_000).map(|i| (i / 7) as u8).collect();
        write_all(file.as_ref(), &bytes, 1000).unwrap();
        let mut back = vec![0; 200_000];
        assert_eq!(read_full(file.as_ref(), &mut back, 1000).unwrap(), bytes.len());
        assert!(back[..bytes.len()] == bytes);
        disk.set_options(SimOptions { eintr_per_mille: 1000, ..options });
        assert_eq!(
            write_all(file.as_ref(), &bytes, 0).unwrap_err().kind(),
            io::ErrorKind::Interrupted
        );
    }
}
