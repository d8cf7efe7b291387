//! Where a sparse file has data, on the grid of tar.

use std::fs::File;

use ringpack::format::members::TAR_BLOCK;
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, Result};

use crate::tar_stream::Piece;

/// Most pieces that are held of a file. Where it has more, its smallest holes are packed as zeros.
const PIECES_MAX: usize = 1 << 20;

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
        fewer(&mut pieces, PIECES_MAX);
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

/// Joins pieces over the smallest holes between them until no more than half of `most` are left, if
/// there are `most`.
fn fewer(pieces: &mut Vec<Piece>, most: usize) {
    let mut hole = TAR_BLOCK;
    while pieces.len() >= most || hole > TAR_BLOCK && pieces.len() > most / 2 {
        hole *= 2;
        pieces.dedup_by(|(start, len), (last, last_len)| {
            let is_joined = *start - (*last + *last_len) <= hole;
            if is_joined {
                *last_len = *start + *len - *last;
            }
            is_joined
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_are_too_many_pieces_the_smallest_holes_go() {
        let few: Vec<Piece> = (0..7).map(|at| (at * 4096, 512)).collect();
        let mut pieces = few.clone();
        fewer(&mut pieces, 8);
        assert_eq!(pieces, few);
        // Holes of 1,024 bytes, of 4,096 and a big one.
        let mut pieces = vec![
            (0, 512),
            (1536, 512),
            (6144, 512),
            (7680, 512),
            (1 << 30, 512),
            ((1 << 30) + 1536, 512),
        ];
        fewer(&mut pieces, 6);
        assert_eq!(pieces, [(0, 2048), (6144, 2048), (1 << 30, 2048)]);
        fewer(&mut pieces, 3);
        assert_eq!(pieces, [(0, (1 << 30) + 2048)]);
    }
}
