//! Where a sparse file has data, on the grid of tar.

use std::fs::File;

use ringpack::format::members::TAR_BLOCK;
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, Result};

/// A piece of a file: where it begins, and its length.
pub(super) type Piece = (u64, u64);

/// The pieces of a file of `size` bytes that hold data, in order, each beginning on the grid and,
/// but for one that ends the file, ending on it; last a piece of nothing where the file ends in a
/// hole. `None` where it has no holes.
pub(super) fn data_pieces(file: &File, size: u64) -> Result<Option<Vec<Piece>>> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut from = 0;
    while from < size {
        let start = match seek(file, SeekFrom::Data(from)) {
            Ok(start) => start.min(size),
            Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        let start = start - start % TAR_BLOCK;
        let end_on_grid = end.next_multiple_of(TAR_BLOCK).min(size);
        match pieces.last_mut() {
            Some((last, len)) if *last + *len >= start => *len = end_on_grid - *last,
            _ => pieces.push((start, end_on_grid - start)),
        }
        if end <= from {
            break;
        }
        from = end;
    }
    if pieces == [(0, size)] {
        return Ok(None);
    }
    if pieces.last().is_none_or(|(start, len)| start + len < size) {
        pieces.push((size, 0));
    }
    Ok(Some(pieces))
}
