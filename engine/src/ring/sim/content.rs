//! The bytes of a simulated file, as sparse pages.
//!
//! Only pages that were written take memory, and copies share them until one side writes: a disk
//! after a power cut costs little more than what differs. A [`Run`] holds its whole pages ready to
//! be shared, since a write is applied to what is seen, to the medium, and to the copies that power
//! cuts leave. A page may be allocated and not written
//! (`fallocate`); it then reads as zeros and counts as a hole, as on a real file system.
//!
//! # Invariants
//! - S2: bytes past the end are zeros wherever a page has them, so that a file that grows shows
//!   zeros and never what was cut off.
//! - S3: a page that was written is allocated, so `allocated` bounds what the file takes.

use std::ops::Range;
use std::sync::Arc;

use super::pages::{Page, Pages};
use super::ranges::Ranges;
use crate::limits::ALIGN;

/// Length of a page: the unit of allocation, of holes and of tearing.
pub(super) const PAGE_BYTES: u64 = ALIGN as u64;

/// The bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    pages: Pages,
    allocated: Ranges,
}

/// The part of a run of bytes that lies in one page.
#[derive(Debug)]
struct Piece {
    page: u64,
    within: usize,
    /// Where it stands in the run.
    at: Range<usize>,
}

/// Cuts the run of `len` bytes at `offset` at the pages' borders.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = offset + at as u64;
        let within = (start % PAGE_BYTES) as usize;
        let end = len.min(at + ALIGN - within);
        let piece = Piece { page: start / PAGE_BYTES, within, at: at..end };
        at = end;
        (!piece.at.is_empty()).then_some(piece)
    })
}

/// The bytes of a piece.
#[derive(Clone, Debug)]
enum Part {
    Whole(Arc<Page>),
    Some(Arc<[u8]>),
}

impl Part {
    fn new(bytes: &[u8]) -> Self {
        match Page::try_from(bytes) {
            Ok(page) => Self::Whole(Arc::new(page)),
            Err(_) => Self::Some(bytes.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(page) => page.as_slice(),
            Self::Some(bytes) => bytes,
        }
    }
}

/// A run of bytes for a place in a file.
#[derive(Clone, Debug)]
pub(super) struct Run {
    offset: u64,
    len: usize,
    parts: Arc<[Part]>,
}

impl Run {
    pub(super) fn new(offset: u64, bytes: &[u8]) -> Self {
        let parts = pieces(offset, bytes.len()).map(|piece| Part::new(&bytes[piece.at]));
        Self { offset, len: bytes.len(), parts: parts.collect() }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    /// Its first `len` bytes.
    pub(super) fn cut(self, len: usize) -> Self {
        if len >= self.len {
            return self;
        }
        let kept = pieces(self.offset, len).zip(self.parts.iter());
        let parts = kept.map(|(piece, part)| match &part.bytes()[..piece.at.len()] {
            whole if whole.len() == part.bytes().len() => part.clone(),
            some => Part::new(some),
        });
        Self { offset: self.offset, len, parts: parts.collect() }
    }

    /// Runs of a page each.
    pub(super) fn pages(&self) -> impl Iterator<Item = Self> {
        pieces(self.offset, self.len).zip(self.parts.iter()).map(|(piece, part)| Self {
            offset: self.offset + piece.at.start as u64,
            len: piece.at.len(),
            parts: Arc::from([part.clone()]),
        })
    }
}

fn pages_of(offset: u64, len: u64) -> (u64, u64) {
    (offset / PAGE_BYTES, (offset + len).div_ceil(PAGE_BYTES))
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Allocated bytes.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated.count() * PAGE_BYTES
    }

    /// Reads up to the end of the file; says how many bytes.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> usize {
        let len = self.len.saturating_sub(offset).min(bytes.len() as u64) as usize;
        for piece in pieces(offset, len) {
            let to = &mut bytes[piece.at];
            match self.pages.get(piece.page) {
                Some(page) => to.copy_from_slice(&page[piece.within..piece.within + to.len()]),
                None => to.fill(0),
            }
        }
        len
    }

    /// Whether the file is these bytes.
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        self.len == bytes.len() as u64
            && pieces(0, bytes.len()).all(|piece| {
                let expected = &bytes[piece.at];
                match self.pages.get(piece.page) {
                    Some(page) => &page[..expected.len()] == expected,
                    None => expected.iter().all(|&byte| byte == 0),
                }
            })
    }

    pub(super) fn write(&mut self, run: &Run) {
        for (piece, part) in pieces(run.offset, run.len).zip(run.parts.iter()) {
            match part {
                Part::Whole(page) => self.pages.insert(piece.page, Arc::clone(page)),
                Part::Some(bytes) => {
                    let page = self.pages.page_mut(piece.page);
                    page[piece.within..piece.within + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        if run.len > 0 {
            // S3: and the length follows what was written.
            let (first, end) = pages_of(run.offset, run.len as u64);
            self.allocated.insert(first, end);
            self.len = self.len.max(run.end());
        }
    }

    /// Takes over the length, and what is allocated, of a file that it is an older state of.
    pub(super) fn grow_like(&mut self, newer: &Self) {
        self.len = self.len.max(newer.len);
        self.allocated = newer.allocated.clone();
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            // S2: what is cut off is gone, from the last page too.
            let cut = self.len - len;
            self.clear(len, cut);
            self.allocated.remove(len.div_ceil(PAGE_BYTES), u64::MAX);
        }
        self.len = len;
    }

    /// Allocates, growing the file.
    pub(super) fn allocate(&mut self, offset: u64, len: u64) {
        let (first, end) = pages_of(offset, len);
        self.allocated.insert(first, end);
        self.len = self.len.max(offset + len);
    }

    /// Turns whole pages into holes and the rest of the range into zeros; the length stays.
    pub(super) fn punch(&mut self, offset: u64, len: u64) {
        self.clear(offset, len);
        self.allocated.remove(offset.div_ceil(PAGE_BYTES), (offset + len) / PAGE_BYTES);
    }

    fn clear(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        let touched = offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        let numbers = self.pages.numbers_from(touched.start);
        let touched: Vec<u64> = numbers.take_while(|number| touched.contains(number)).collect();
        for number in touched {
            let start = number * PAGE_BYTES;
            let from = offset.saturating_sub(start).min(PAGE_BYTES) as usize;
            let to = (end - start).min(PAGE_BYTES) as usize;
            // Past the file's end a page has nothing but zeros (S2).
            let to = if end >= self.len { ALIGN } else { to };
            if from == 0 && to == ALIGN {
                self.pages.remove(number);
            } else {
                self.pages.page_mut(number)[from..to].fill(0);
            }
        }
    }

    /// The next run of written pages at or after `offset`, within the file.
    pub(super) fn next_data(&self, offset: u64) -> Option<(u64, u64)> {
        let mut numbers = self.pages.numbers_from(offset / PAGE_BYTES);
        let first = numbers.next()?;
        let last = numbers.zip(first + 1..).take_while(|(n, next)| n == next).last();
        let end = (last.map_or(first, |(n, _)| n) + 1) * PAGE_BYTES;
        let start = (first * PAGE_BYTES).max(offset);
        (start < self.len).then(|| (start, end.min(self.len)))
    }

    /// How many bytes allocating the range would add.
    pub(super) fn missing(&self, offset: u64, len: u64) -> u64 {
        let (first, end) = pages_of(offset, len);
        self.allocated.missing(first, end) * PAGE_BYTES
    }

    /// How much of a write fits where `free` bytes are left.
    pub(super) fn fitting(&self, offset: u64, len: usize, mut free: u64) -> usize {
        let mut fits = 0;
        for piece in pieces(offset, len) {
            if !self.allocated.contains(piece.page) {
                if free < PAGE_BYTES {
                    break;
                }
                free -= PAGE_BYTES;
            }
            fits = piece.at.end;
        }
        fits
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("it is read whole: it fits")];
        self.read(0, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    /// The same operations on a plain vector.
    #[test]
    fn pages_hold_what_a_vector_would() {
        let mut random = Random::new(3);
        for _ in 0..50 {
            let (mut content, mut plain) = (Content::default(), Vec::new());
            for _ in 0..40 {
                let (offset, len) = (random.index(40_000), random.index(13_000));
                let end = offset + len;
                match random.below(4) {
                    0 => {
                        let byte = random.next() as u8;
                        let run = Run::new(offset as u64, &vec![byte; len + random.index(9000)]);
                        content.write(&run.cut(len));
                        if len > 0 {
                            plain.resize(plain.len().max(end), 0);
                            plain[offset..end].fill(byte);
                        }
                    }
                    1 => {
                        // S2: cut, and grow again later.
                        content.set_len(offset as u64);
                        plain.resize(offset, 0);
                    }
                    2 => {
                        content.punch(offset as u64, len as u64);
                        let (from, to) = (offset.min(plain.len()), end.min(plain.len()));
                        plain[from..to].fill(0);
                    }
                    _ => {
                        content.allocate(offset as u64, len as u64);
                        plain.resize(plain.len().max(end), 0);
                    }
                }
                assert!(content.to_vec() == plain && content.holds(&plain));
                // S3: nothing is written that isn't allocated.
                assert!(content.pages.numbers_from(0).all(|n| content.allocated.contains(n)));
            }
        }
    }

    #[test]
    fn runs_of_data_are_found_and_allocation_is_none() {
        let mut content = Content::default();
        content.allocate(0, 100 * PAGE_BYTES);
        assert_eq!((content.next_data(0), content.allocated()), (None, 100 * PAGE_BYTES));
        content.write(&Run::new(3 * PAGE_BYTES + 5, &[1; 2 * ALIGN]));
        content.set_len(6 * PAGE_BYTES - 7);
        let run = (3 * PAGE_BYTES, 6 * PAGE_BYTES - 7);
        assert_eq!(content.next_data(10), Some(run));
        assert_eq!(content.next_data(run.0 + 9), Some((run.0 + 9, run.1)));
        assert_eq!(content.next_data(run.1), None);
        content.punch(4 * PAGE_BYTES, PAGE_BYTES);
        assert_eq!(content.next_data(0), Some((run.0, 4 * PAGE_BYTES)));
        assert_eq!(content.next_data(4 * PAGE_BYTES), Some((5 * PAGE_BYTES, run.1)));
        assert_eq!(content.allocated(), 5 * PAGE_BYTES);
    }

    #[test]
    fn a_write_fits_as_far_as_pages_are_free_or_allocated() {
        let mut content = Content::default();
        content.allocate(PAGE_BYTES, PAGE_BYTES);
        assert_eq!(content.missing(0, 3 * PAGE_BYTES), 2 * PAGE_BYTES);
        assert_eq!(content.fitting(100, 4 * ALIGN, 0), 0);
        assert_eq!(content.fitting(100, 4 * ALIGN, PAGE_BYTES), 2 * ALIGN - 100);
        assert_eq!(content.fitting(PAGE_BYTES, ALIGN, 0), ALIGN);
    }
}
