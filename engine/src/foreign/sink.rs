//! Where the content of foreign frames goes: into the partial file by position, in order into a
//! pipe, or nowhere.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::is_zero;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::HOLE_BYTES_MIN;
use crate::ring::file::File;
use crate::ring::stream::PipeEnd;
use crate::ring::whole::write_all;
use crate::verify::against::Against;

/// Where content goes.
#[derive(Debug)]
pub(super) enum Sink<'a> {
    /// Into a new file. Runs of zeros are left out: it is new, so they are holes.
    File(&'a Arc<dyn File>),
    /// In order.
    Pipe(&'a PipeEnd),
    /// Nowhere: it is compared with what a source has at its position.
    Compared(&'a Against),
    /// Nowhere: it was only to be decoded.
    Nowhere,
}

/// What a sink was given.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Bytes that were left out as holes.
    pub(super) holes: AtomicU64,
}

impl Sink<'_> {
    /// Gives it content that stands at `offset`; a pipe, what comes next.
    pub(super) fn give(&self, content: &[u8], offset: u64, given: &Given) -> Result<()> {
        match self {
            Self::File(file) => {
                let holes = write_sparse(&***file, content, offset)?;
                given.holes.fetch_add(holes, Ordering::Relaxed);
                Ok(())
            }
            Self::Pipe(pipe) => write(pipe, content),
            Self::Compared(source) => source.compare(content, offset, None, &mut Vec::new()),
            Self::Nowhere => Ok(()),
        }
    }
}

fn write(pipe: &PipeEnd, content: &[u8]) -> Result<()> {
    match pipe.write_full(content) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(ErrorKind::Cancelled, "the job was cancelled")),
        Err(error) => {
            Err(Error::from_io(ErrorKind::Output, "cannot write", error).at("standard output"))
        }
    }
}

/// The end of a pipe, to be given content.
pub(super) fn pipe(output: fs::File, stop: &crate::cancel::Cancel) -> Result<PipeEnd> {
    PipeEnd::for_writing(output, stop).map_err(|error| {
        Error::from_io(ErrorKind::Output, "cannot write", error).at("standard output")
    })
}

/// Writes all but runs of zeros between two places of the grid of [`HOLE_BYTES_MIN`]; says how many
/// bytes those are.
fn write_sparse(file: &dyn File, content: &[u8], offset: u64) -> Result<u64> {
    let grid = HOLE_BYTES_MIN as u64;
    let (mut rest, mut at, mut holes) = (content, offset, 0);
    // Bytes at the front of `rest` that are to be written.
    let mut data = 0;
    while data < rest.len() {
        let to_grid = grid - (at + data as u64) % grid;
        let len = (rest.len() - data).min(to_grid as usize);
        if !is_zero(&rest[data..data + len]) {
            data += len;
            continue;
        }
        write_at(file, &rest[..data], at)?;
        at += (data + len) as u64;
        rest = &rest[data + len..];
        (data, holes) = (0, holes + len as u64);
    }
    write_at(file, rest, at)?;
    Ok(holes)
}

pub(super) fn write_at(file: &dyn File, bytes: &[u8], offset: u64) -> Result<()> {
    write_all(file, bytes, offset)
        .map_err(|error| Error::from_io(ErrorKind::Output, "cannot write", error))
}
