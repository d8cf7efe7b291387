//! The folder that is measured in.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{SIZE_MIN, content};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of made-up content that are made once and written again and again.
const PIECE: usize = 64 << 20;

/// Bytes copied at a time.
const COPIED: usize = 1 << 20;

/// A folder of this run's own, removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = folder.join(format!(".ringpack-bench-{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            Error::from_io(ErrorKind::Output, "cannot make a folder to measure in", error)
                .at(folder)
                .hint("name a folder that can be written with --dir")
        })?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn raw(&self) -> PathBuf {
        self.path.join("raw")
    }

    pub(super) fn container(&self) -> PathBuf {
        self.path.join("container")
    }

    pub(super) fn restored(&self) -> PathBuf {
        self.path.join("restored")
    }

    /// Writes `size` bytes of content, or as many as `input` has, and says how many those are.
    pub(super) fn fill(&self, input: Option<&Path>, size: u64, cancel: &Cancel) -> Result<u64> {
        let no_output = |error| {
            Error::from_io(ErrorKind::Output, "cannot write content to measure with", error)
                .at(self.raw())
        };
        let mut raw = fs::File::create_new(self.raw()).map_err(no_output)?;
        let mut left = size;
        match input {
            Some(path) => {
                let no_input =
                    |error| Error::from_io(ErrorKind::Input, "cannot read", error).at(path);
                let mut from = fs::File::open(path).map_err(no_input)?;
                let mut bytes = vec![0; COPIED];
                while left > 0 && !cancel.is_cancelled() {
                    let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let read = from.read(&mut bytes[..most]).map_err(no_input)?;
                    if read == 0 {
                        break;
                    }
                    raw.write_all(&bytes[..read]).map_err(no_output)?;
                    left -= read as u64;
                }
                if size - left < SIZE_MIN && !cancel.is_cancelled() {
                    let what = format!("has fewer than {SIZE_MIN} bytes to measure with");
                    return Err(Error::new(ErrorKind::Input, what).at(path));
                }
            }
            None => {
                let piece = content(PIECE.min(usize::try_from(size).unwrap_or(PIECE)));
                while left > 0 && !cancel.is_cancelled() {
                    let len = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    raw.write_all(&piece[..len]).map_err(no_output)?;
                    left -= len as u64;
                }
            }
        }
        raw.sync_all().map_err(no_output)?;
        Ok(size - left)
    }

    /// The first `len` bytes of the content.
    pub(super) fn sample(&self, len: u64) -> Result<Vec<u8>> {
        let mut sample = Vec::with_capacity(len as usize);
        let front = fs::File::open(self.raw()).map(|raw| raw.take(len));
        front.and_then(|mut front| front.read_to_end(&mut sample)).map_err(|error| {
            Error::from_io(ErrorKind::Input, "cannot read", error).at(self.raw())
        })?;
        Ok(sample)
    }

    /// Removes what a round made.
    pub(super) fn clear(&self) -> Result<()> {
        for made in [self.container(), self.restored()] {
            match fs::remove_file(&made) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let what = "cannot remove what was measured with";
                    return Err(Error::from_io(ErrorKind::Output, what, error).at(made));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_gone_whatever_happened_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path()).unwrap();
        let size = scratch.fill(None, SIZE_MIN + 5, &Cancel::new()).unwrap();
        assert_eq!(size, SIZE_MIN + 5);
        assert_eq!(scratch.sample(100).unwrap(), content(100));
        let again = Scratch::new(folder.path());
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Output);
        drop(scratch);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_input_gives_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        fs::write(&input, content(SIZE_MIN as usize + 1)).unwrap();
        let scratch = Scratch::new(folder.path()).unwrap();
        assert_eq!(scratch.fill(Some(&input), u64::MAX, &Cancel::new()).unwrap(), SIZE_MIN + 1);
        assert_eq!(fs::read(scratch.raw()).unwrap(), fs::read(&input).unwrap());
    }
}
