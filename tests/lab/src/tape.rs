//! What the recording disk notes down while it runs: one order for writes, flushes and marks.
//!
//! The tape also decides which operation fails: the n-th write or flush after the mark that starts
//! the count, or the first write of a page. What comes after is served as ever, as by a disk with
//! one bad moment.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::claims::START;

/// Unit of tearing, in bytes, and the sector of the device: no write is shorter or off this grid.
pub(crate) const PAGE_LEN: usize = 4096;

/// Which operation is answered with EIO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The n-th write, counted from 1; none of its bytes reach the medium.
    Write(u64),
    /// The n-th flush, counted from 1; it makes nothing durable.
    Flush(u64),
    /// The first write that brings a page with this fingerprint, whatever its number is: file
    /// systems write in no fixed order.
    Page(u64),
}

/// What tells pages apart.
pub(crate) fn fingerprint(page: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    page.hash(&mut hasher);
    hasher.finish()
}

/// What a write brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Payload {
    Bytes(Box<[u8]>),
    /// That many zeros: a discard, or a range zeroed.
    Zeros(u64),
}

impl Payload {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }
}

/// A write as issued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Write {
    /// In bytes from the start of the disk.
    pub(crate) offset: u64,
    pub(crate) payload: Payload,
}

/// Something that happened at the disk. Writes and flushes are named by their numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Issued(usize),
    Completed { write: usize, is_failed: bool },
    FlushIssued(usize),
    FlushCompleted { flush: usize, is_failed: bool },
    Mark(String),
}

/// The tape, written to under one lock.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    pub(crate) writes: Vec<Write>,
    pub(crate) events: Vec<Event>,
    flushes: usize,
    in_flight: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) flushes_over_writes: usize,
    fault: Option<Fault>,
    counted: Option<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    writes: u64,
    flushes: u64,
    has_met_page: bool,
}

impl Counted {
    /// Counts a write of `bytes`: whether it is the one to fail.
    fn write(&mut self, fault: Option<Fault>, bytes: &[u8]) -> bool {
        self.writes += 1;
        match fault {
            Some(Fault::Write(number)) => number == self.writes,
            Some(Fault::Page(page)) if !self.has_met_page => {
                self.has_met_page = bytes.chunks(PAGE_LEN).any(|bytes| fingerprint(bytes) == page);
                self.has_met_page
            }
            Some(Fault::Page(_) | Fault::Flush(_)) | None => false,
        }
    }
}

impl Tape {
    /// An empty tape; the count of the fault begins at the mark [`START`].
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self { fault, ..Self::default() }
    }

    /// Notes a write that begins: its number, and whether it will fail.
    pub(crate) fn issue(&mut self, offset: u64, payload: Payload) -> (usize, bool) {
        let number = self.writes.len();
        let is_failed = match (&payload, &mut self.counted) {
            (Payload::Bytes(bytes), Some(counted)) => counted.write(self.fault, bytes),
            (Payload::Zeros(_), _) | (_, None) => false,
        };
        self.writes.push(Write { offset, payload });
        self.events.push(Event::Issued(number));
        self.in_flight += 1;
        self.in_flight_max = self.in_flight_max.max(self.in_flight);
        (number, is_failed)
    }

    /// Notes that a write is about to be answered.
    pub(crate) fn complete(&mut self, write: usize, is_failed: bool) {
        self.in_flight -= 1;
        self.events.push(Event::Completed { write, is_failed });
    }

    /// Notes a flush that begins: its number, and whether it will fail.
    pub(crate) fn issue_flush(&mut self) -> (usize, bool) {
        let number = self.flushes;
        self.flushes += 1;
        self.events.push(Event::FlushIssued(number));
        self.flushes_over_writes += usize::from(self.in_flight > 0 && self.counted.is_some());
        let is_failed = self.counted.as_mut().is_some_and(|counted| {
            counted.flushes += 1;
            self.fault == Some(Fault::Flush(counted.flushes))
        });
        (number, is_failed)
    }

    /// Notes that a flush is about to be answered.
    pub(crate) fn complete_flush(&mut self, flush: usize, is_failed: bool) {
        self.events.push(Event::FlushCompleted { flush, is_failed });
    }

    /// Notes a mark.
    pub(crate) fn mark(&mut self, text: &str) {
        if text == START && self.counted.is_none() {
            self.counted = Some(Counted::default());
        }
        self.events.push(Event::Mark(text.to_owned()));
    }
}
