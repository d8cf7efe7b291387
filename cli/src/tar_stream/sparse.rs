//! Maps of sparse files, in each form that GNU tar has written.
//!
//! | form | where the map is |
//! |---|---|
//! | old GNU | 4 pieces in the header, 21 in each block behind it |
//! | PAX 0.0 | a pair of records a piece |
//! | PAX 0.1 | one record, numbers with commas between them |
//! | PAX 1.0 | lines in front of the file's bytes |
//!
//! A map may have any number of pieces, so a long one is never held: it is checked when the headers
//! are read, and read again, a part at a time, together with the file's bytes.

use super::header::Block;
use super::number::number;

/// A piece of a file: where it begins, and its length.
pub(crate) type Piece = (u64, u64);

/// Bytes of a piece in old GNU's form: two numbers of 12.
const PIECE_LEN: usize = 24;
/// Where the pieces of a block behind the header end, and what says whether another one follows.
const PIECES_END: usize = 21 * PIECE_LEN;
/// Pieces in the header, and what says whether a block follows.
const FIRST_PIECES: usize = 386;
const FIRST_PIECES_END: usize = FIRST_PIECES + 4 * PIECE_LEN;
/// Most digits of a number: those of 2^64.
const DIGITS_MAX: usize = 20;

const NO_SENSE: &str = "has a sparse file whose map makes no sense";

/// A map that stands in blocks of its own, as far as it has been read.
#[derive(Clone, Debug)]
pub(super) struct MapReader {
    form: Form,
    found: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Form {
    Gnu,
    /// What is left of a line, the first number of a piece, and how many pieces are to come.
    Lines {
        text: Vec<u8>,
        offset: Option<u64>,
        left: Option<u64>,
    },
    Ended,
}

impl MapReader {
    /// A map of old GNU's form, whose first pieces are in the header.
    pub(super) fn gnu(header: &Block) -> Result<Self, &'static str> {
        let mut map = Self { form: Form::Gnu, found: Vec::new() };
        map.take_gnu(&header[FIRST_PIECES..FIRST_PIECES_END], header[FIRST_PIECES_END])?;
        Ok(map)
    }

    /// A map of lines.
    pub(super) fn lines() -> Self {
        let form = Form::Lines { text: Vec::new(), offset: None, left: None };
        Self { form, found: Vec::new() }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.form, Form::Ended)
    }

    /// Reads the map's next block.
    pub(super) fn take(&mut self, block: &Block) -> Result<(), &'static str> {
        match &self.form {
            Form::Gnu => self.take_gnu(&block[..PIECES_END], block[PIECES_END]),
            Form::Lines { .. } => self.take_lines(block),
            Form::Ended => Ok(()),
        }
    }

    /// The pieces read since this was asked last.
    pub(super) fn pieces(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.found)
    }

    fn take_gnu(&mut self, pieces: &[u8], another: u8) -> Result<(), &'static str> {
        let mut full = true;
        for piece in pieces.chunks_exact(PIECE_LEN) {
            let (offset, len) = piece.split_at(PIECE_LEN / 2);
            // The first place that holds nothing ends the map.
            full = len[0] != 0;
            if !full {
                break;
            }
            let number = |field| u64::try_from(number(field)?).ok();
            let piece = number(offset).zip(number(len)).ok_or(NO_SENSE)?;
            self.found.push(piece);
        }
        if !full || another == 0 {
            self.form = Form::Ended;
        }
        Ok(())
    }

    fn take_lines(&mut self, block: &Block) -> Result<(), &'static str> {
        let Form::Lines { text, offset, left } = &mut self.form else { return Ok(()) };
        for &byte in block {
            if byte != b'\n' {
                text.push(byte);
                if text.len() > DIGITS_MAX {
                    return Err(NO_SENSE);
                }
                continue;
            }
            let number = decimal(text).ok_or(NO_SENSE)?;
            text.clear();
            let to_come = match (*left, offset.take()) {
                (None, _) => number,
                (Some(count), None) => {
                    *offset = Some(number);
                    count
                }
                (Some(count), Some(offset)) => {
                    self.found.push((offset, number));
                    count - 1
                }
            };
            *left = Some(to_come);
            if to_come == 0 {
                self.form = Form::Ended;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The pieces of PAX 0.1: numbers with commas between them. Those of no bytes are left out, so that
/// no more are held than there can be.
pub(super) fn listed(value: &[u8]) -> Option<Vec<Piece>> {
    let mut numbers = value.split(|&byte| byte == b',').map(decimal);
    let mut found: Vec<Piece> = Vec::new();
    while let Some(offset) = numbers.next() {
        let piece = (offset?, numbers.next()??);
        let end = found.last().map_or(0, |&(offset, len)| offset.saturating_add(len));
        if piece.0 < end {
            return None;
        }
        found.extend(Some(piece).filter(|&(_, len)| len > 0));
    }
    Some(found)
}

/// A decimal number, of digits alone.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The check that pieces lie in the file, in order, and are no longer than what is stored of it.
#[derive(Debug)]
pub(super) struct MapCheck {
    end: u64,
    size: u64,
    left: u64,
}

impl MapCheck {
    /// The check of a file of `size` bytes, of which `stored` are in the stream.
    pub(super) fn new(size: u64, stored: u64) -> Self {
        Self { end: 0, size, left: stored }
    }

    /// Checks the next pieces, and leaves out those of no bytes.
    pub(super) fn all(&mut self, pieces: &mut Vec<Piece>) -> Result<(), &'static str> {
        for &(offset, len) in &*pieces {
            let end = offset.checked_add(len).filter(|&end| offset >= self.end && end <= self.size);
            self.end = end.ok_or(NO_SENSE)?;
            self.less(len)?;
        }
        pieces.retain(|&(_, len)| len > 0);
        Ok(())
    }

    /// Counts bytes of what is stored.
    pub(super) fn less(&mut self, len: u64) -> Result<(), &'static str> {
        self.left = self.left.checked_sub(len).ok_or(NO_SENSE)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<(Vec<Piece>, bool), &'static str> {
        let mut map = MapReader::lines();
        for part in text.as_bytes().chunks(512) {
            let mut block = [0; 512];
            block[..part.len()].copy_from_slice(part);
            map.take(&block)?;
        }
        Ok((map.pieces(), map.has_ended()))
    }

    #[test]
    fn maps_of_lines() {
        assert_eq!(lines("0\n"), Ok((vec![], true)));
        assert_eq!(lines("2\n0\n5\n1024\n7\n"), Ok((vec![(0, 5), (1024, 7)], true)));
        // Numbers lie across the ends of blocks.
        let pieces: Vec<Piece> = (0..1000).map(|at| (at * 1_000_000_007, 512)).collect();
        let text: String = pieces.iter().map(|(at, len)| format!("{at}\n{len}\n")).collect();
        assert_eq!(lines(&format!("1000\n{text}")), Ok((pieces.clone(), true)));
        assert_ne!(lines(&format!("1001\n{text}")).map(|found| found.1), Ok(true));
        for wrong in
            ["\n", "x\n", "+1\n", "-1\n", "1\n99999999999999999999\n", "123456789012345678901"]
        {
            assert_eq!(lines(wrong), Err(NO_SENSE), "{wrong}");
        }
    }

    #[test]
    fn maps_with_commas() {
        assert_eq!(listed(b"0,5,1024,7"), Some(vec![(0, 5), (1024, 7)]));
        assert_eq!(listed(b"0,0,7,0"), Some(vec![]));
        for wrong in ["", "0", "0,5,7", "0,x", "0,5,", "0,-5", "0,5,4,1"] {
            assert_eq!(listed(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_lies_elsewhere_than_in_the_file_is_found() {
        let check = |size, stored, pieces: &[Piece]| {
            MapCheck::new(size, stored).all(&mut pieces.to_vec()).is_ok()
        };
        assert!(check(2000, 1000, &[(0, 512), (1024, 0), (1512, 488)]));
        assert!(!check(2000, 999, &[(0, 512), (1512, 488)]));
        assert!(!check(1999, 1000, &[(0, 512), (1512, 488)]));
        assert!(!check(2000, 1000, &[(512, 1), (0, 1)]));
        assert!(!check(2000, 1000, &[(0, 5), (4, 1)]));
        assert!(!check(u64::MAX, u64::MAX, &[(u64::MAX, 1)]));
    }
}
