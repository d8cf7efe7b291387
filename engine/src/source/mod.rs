//! The source: what is read.
//!
//! A regular file or a block device can be read at any place by any core, and its length is known
//! ([`Positional`]); a pipe can only be read in order, by one thread, until it ends ([`stream`]).
//!
//! Whatever reads a file keeps it as an [`OpenFile`], which tells at the end whether it changed.

pub mod stream;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::ring::file::{Disk, File, FileKind, Status};

/// What an input turned out to be.
#[derive(Debug)]
pub enum Source {
    /// Readable at any place.
    Positional(Positional),
    /// Readable in order only.
    Stream,
}

impl Source {
    /// Opens `path`, past the page cache where that is served and `direct` asks for it.
    ///
    /// # Errors
    /// `Input` where it can't be opened or is a directory.
    pub fn open(disk: &dyn Disk, path: &Path, direct: bool) -> Result<Self> {
        let failed =
            |error| Error::from_io(ErrorKind::Input, "cannot open the input", error).at(path);
        match disk.kind(path).map_err(failed)? {
            FileKind::Directory => {
                return Err(Error::new(ErrorKind::Input, "is a directory")
                    .at(path)
                    .hint("pack it with tar and give its output: tar -c DIR | ringpack pack -"));
            }
            FileKind::Stream => return Ok(Self::Stream),
            FileKind::Regular | FileKind::BlockDevice => {}
        }
        let file = disk.open(path, direct).map_err(failed)?;
        if !file.states_length() {
            return Ok(Self::Stream);
        }
        let opened = OpenFile::settled(file).map_err(|error| error.at(path))?;
        let OpenFile { file, status } = &opened;
        // Files of /proc state no length, and have content all the same.
        if status.len == 0 && file.read_at(&mut [0], 0).is_ok_and(|read| read > 0) {
            return Ok(Self::Stream);
        }
        let sparse = status.kind == FileKind::Regular && status.allocated < status.len;
        Ok(Self::Positional(Positional { opened, sparse, path: path.to_owned() }))
    }
}

/// An open file, and what it was when it was opened.
#[derive(Clone, Debug)]
pub struct OpenFile {
    file: Arc<dyn File>,
    status: Status,
}

impl OpenFile {
    /// `file`, in such a way that a later write to it shows.
    ///
    /// # Errors
    /// `InputChanged` where somebody writes to it all the time, `Input` where it can't be looked
    /// at.
    pub fn settled(file: Arc<dyn File>) -> Result<Self> {
        let status = file.settled().map_err(|error| match error.kind() {
            std::io::ErrorKind::ResourceBusy => changed("is being written to"),
            _ => Error::from_io(ErrorKind::Input, "cannot look at the input", error),
        })?;
        Ok(Self { file, status })
    }

    /// `file` as it is now. A write in the same tick of the clock may not show later.
    ///
    /// # Errors
    /// As `fstat`.
    pub fn as_it_is(file: Arc<dyn File>) -> std::io::Result<Self> {
        let status = file.status()?;
        Ok(Self { file, status })
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// What it was when it was opened.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Checks that the file is still what it was when it was opened.
    ///
    /// # Errors
    /// `InputChanged`, saying how.
    pub fn check_unchanged(&self) -> Result<()> {
        let now = self.file.status().map_err(|error| {
            Error::from_io(ErrorKind::Input, "cannot look at the input again", error)
        })?;
        self.status.change_to(&now).map_or(Ok(()), |what| Err(changed(what)))
    }
}

/// A regular file or block device that is read at any place.
#[derive(Clone, Debug)]
pub struct Positional {
    opened: OpenFile,
    sparse: bool,
    path: PathBuf,
}

impl Positional {
    /// The open file.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.opened.file
    }

    /// What it was when it was opened.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.opened.status
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The runs within `range` that hold data, in order; what lies between them is holes and reads
    /// as zeros.
    ///
    /// # Errors
    /// `Input` where the file system refuses to tell.
    pub fn data_runs(&self, range: Range<u64>) -> Result<Vec<Range<u64>>> {
        if !self.sparse {
            return Ok(if range.is_empty() { Vec::new() } else { vec![range] });
        }
        let mut runs = Vec::new();
        let mut from = range.start;
        while from < range.end {
            let next = self.opened.file.next_data(from).map_err(|error| {
                Error::from_io(ErrorKind::Input, "cannot look for holes", error)
                    .at(&self.path)
                    .offset(from)
            })?;
            let Some((start, end)) = next.filter(|&(start, _)| start < range.end) else {
                break;
            };
            runs.push(start..end.min(range.end));
            from = end;
        }
        Ok(runs)
    }

    /// Checks that the file is still what it was when it was opened.
    ///
    /// # Errors
    /// `InputChanged`, saying how.
    pub fn check_unchanged(&self) -> Result<()> {
        self.opened.check_unchanged().map_err(|error| error.at(&self.path))
    }
}

fn changed(what: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InputChanged, what)
        .hint("stop what writes to it, or take a snapshot and pack that")
}
