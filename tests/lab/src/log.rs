//! What was recorded, made ready for cutting: when each write became durable, and what each page
//! of it says.
//!
//! A flush covers the writes that had completed before it was issued, and no other. A write that
//! was answered with an error never reached the medium.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;

use crate::claims::{Claims, START};
use crate::tape::{Event, PAGE_LEN, Payload, Tape, Write, fingerprint};

/// A recorded run.
#[derive(Debug)]
pub struct Log {
    writes: Vec<Write>,
    pub(crate) events: Vec<Event>,
    /// For each write, the number of events after which it is durable.
    durable_after: Vec<Option<usize>>,
    /// For each write, a fingerprint of every page.
    prints: Vec<Vec<u64>>,
    /// Fingerprints of the base, of every page that is ever written.
    base_prints: HashMap<u64, u64>,
    in_flight_max: usize,
    flushes_over_writes: usize,
}

impl Log {
    pub(crate) fn new(tape: Tape, base: &File) -> Self {
        let Tape { writes, events, in_flight_max, flushes_over_writes, .. } = tape;
        let mut base_prints = HashMap::new();
        for write in &writes {
            for page in pages(write) {
                base_prints.entry(page).or_insert_with(|| {
                    let mut bytes = [0; PAGE_LEN];
                    base.read_exact_at(&mut bytes, page * PAGE_LEN as u64)
                        .expect("the base is in memory");
                    fingerprint(&bytes)
                });
            }
        }
        let zeros = fingerprint(&[0; PAGE_LEN]);
        let prints = |write: &Write| match &write.payload {
            Payload::Bytes(bytes) => bytes.chunks(PAGE_LEN).map(fingerprint).collect(),
            Payload::Zeros(_) => pages(write).map(|_| zeros).collect(),
        };
        Self {
            prints: writes.iter().map(prints).collect(),
            durable_after: durable_after(writes.len(), &events),
            writes,
            events,
            base_prints,
            in_flight_max,
            flushes_over_writes,
        }
    }

    /// Writes issued after the start, without discards.
    #[must_use]
    pub fn write_count(&self) -> u64 {
        let is_write = |event: &&Event| match event {
            Event::Issued(write) => matches!(self.writes[*write].payload, Payload::Bytes(_)),
            _ => false,
        };
        self.after_start().iter().filter(is_write).count() as u64
    }

    /// Flushes issued after the start.
    #[must_use]
    pub fn flush_count(&self) -> u64 {
        let is_flush = |event: &&Event| matches!(event, Event::FlushIssued(_));
        self.after_start().iter().filter(is_flush).count() as u64
    }

    /// Most writes that were in flight at a time.
    #[must_use]
    pub fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    /// Flushes issued after the start while writes were in flight.
    #[must_use]
    pub fn flushes_over_writes(&self) -> usize {
        self.flushes_over_writes
    }

    /// Writes and flushes that were answered with EIO.
    #[must_use]
    pub fn failure_count(&self) -> usize {
        let is_failure = |event: &&Event| match event {
            Event::Completed { is_failed, .. } | Event::FlushCompleted { is_failed, .. } => {
                *is_failed
            }
            Event::Issued(_) | Event::FlushIssued(_) | Event::Mark(_) => false,
        };
        self.events.iter().filter(is_failure).count()
    }

    /// All marks.
    #[must_use]
    pub fn claims(&self) -> Claims<'_> {
        self.claims_before(self.events.len())
    }

    /// The marks among the first `point` events.
    pub(crate) fn claims_before<'a>(&'a self, point: usize) -> Claims<'a> {
        let mark = |event: &'a Event| match event {
            Event::Mark(text) => Some(text.as_str()),
            _ => None,
        };
        Claims(self.events[..point].iter().filter_map(mark).collect())
    }

    /// The number of events up to the start mark and with it.
    ///
    /// # Panics
    /// Where the program made no such mark.
    pub(crate) fn start(&self) -> usize {
        let is_start = |event: &Event| matches!(event, Event::Mark(text) if text == START);
        1 + self.events.iter().position(is_start).expect("the program marks its start")
    }

    fn after_start(&self) -> &[Event] {
        &self.events[self.start()..]
    }

    /// The writes issued among the first `point` events: each one's number, and whether it is
    /// durable by then. Those that failed, or are going to, are left out.
    pub(crate) fn written(&self, point: usize) -> impl Iterator<Item = (usize, bool)> {
        let issued = self.events[..point].iter().filter_map(|event| match event {
            Event::Issued(write) => Some(*write),
            _ => None,
        });
        issued.filter(|write| self.durable_after[*write] != Some(NEVER)).map(move |write| {
            (write, self.durable_after[write].is_some_and(|after| after <= point))
        })
    }

    /// The numbers of the disk's pages that a write covers.
    pub(crate) fn pages(&self, write: usize) -> impl ExactSizeIterator<Item = u64> + use<> {
        pages(&self.writes[write])
    }

    /// The bytes of a page of a write, counted from its first.
    pub(crate) fn page(&self, write: usize, index: usize) -> &[u8] {
        match &self.writes[write].payload {
            Payload::Bytes(bytes) => &bytes[index * PAGE_LEN..][..PAGE_LEN],
            Payload::Zeros(_) => &[0; PAGE_LEN],
        }
    }

    /// What this page of a write changes in the fingerprint of an image, which is the sum of them;
    /// 0 where the base has the same bytes.
    pub(crate) fn difference(&self, page: u64, write: usize, index: usize) -> u64 {
        let print = |of: u64| {
            let mut hasher = DefaultHasher::new();
            (page, of).hash(&mut hasher);
            hasher.finish()
        };
        print(self.prints[write][index]).wrapping_sub(print(self.base_prints[&page]))
    }
}

/// Stands for the moment at which a failed write becomes durable.
const NEVER: usize = usize::MAX;

fn pages(write: &Write) -> impl ExactSizeIterator<Item = u64> + use<> {
    let first = write.offset / PAGE_LEN as u64;
    let count = (write.payload.len() / PAGE_LEN as u64) as usize;
    (0..count).map(move |index| first + index as u64)
}

fn durable_after(writes: usize, events: &[Event]) -> Vec<Option<usize>> {
    let mut durable = vec![None; writes];
    let mut completed = Vec::new();
    // For each flush, how many writes had completed when it was issued.
    let mut covered = Vec::new();
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Completed { write, is_failed: true } => durable[*write] = Some(NEVER),
            Event::Completed { write, is_failed: false } => completed.push(*write),
            Event::FlushIssued(flush) => {
                assert_eq!(*flush, covered.len(), "flushes are numbered as they are issued");
                covered.push(completed.len());
            }
            Event::FlushCompleted { flush, is_failed: false } => {
                for write in &completed[..covered[*flush]] {
                    durable[*write] = durable[*write].or(Some(index + 1));
                }
            }
            Event::FlushCompleted { is_failed: true, .. } | Event::Issued(_) | Event::Mark(_) => {}
        }
    }
    durable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Fault;

    fn written(tape: Tape) -> Vec<(usize, bool)> {
        let base = tempfile::tempfile().unwrap();
        base.set_len(8 * PAGE_LEN as u64).unwrap();
        let log = Log::new(tape, &base);
        log.written(log.events.len()).collect()
    }

    fn issue(tape: &mut Tape, page: u64) -> (usize, bool) {
        tape.issue(page * PAGE_LEN as u64, Payload::Bytes([1; PAGE_LEN].into()))
    }

    #[test]
    fn a_flush_covers_what_completed_before_it_was_issued() {
        let mut tape = Tape::default();
        let (early, _) = issue(&mut tape, 0);
        let (late, _) = issue(&mut tape, 1);
        tape.complete(early, false);
        let (flush, _) = tape.issue_flush();
        tape.complete(late, false);
        tape.complete_flush(flush, false);
        let (unfinished, _) = tape.issue_flush();
        assert_eq!(unfinished, 1);
        assert_eq!(written(tape), [(early, true), (late, false)]);
    }

    #[test]
    fn what_failed_is_nowhere_and_a_failed_flush_covers_nothing() {
        let mut tape = Tape::new(Some(Fault::Write(2)));
        issue(&mut tape, 7);
        tape.mark(START);
        let first = issue(&mut tape, 0);
        let second = issue(&mut tape, 1);
        assert!(!first.1 && second.1, "the count begins at the start");
        for (write, is_failed) in [first, second] {
            tape.complete(write, is_failed);
        }
        let (flush, _) = tape.issue_flush();
        tape.complete_flush(flush, true);
        assert_eq!(written(tape), [(0, false), (first.0, false)]);
    }

    #[test]
    fn the_first_write_of_a_page_fails_and_no_other() {
        let page = |content: u8| Payload::Bytes([content; PAGE_LEN].into());
        let mut tape = Tape::new(Some(Fault::Page(fingerprint(&[7; PAGE_LEN]))));
        assert!(!tape.issue(0, page(7)).1);
        tape.mark(START);
        let failed = [1, 7, 7].map(|content| tape.issue(0, page(content)).1);
        assert_eq!(failed, [false, true, false]);
    }

    #[test]
    fn the_nth_flush_after_the_start_fails_and_no_other() {
        let mut tape = Tape::new(Some(Fault::Flush(2)));
        assert!(!tape.issue_flush().1);
        tape.mark(START);
        let failed = [(); 4].map(|()| tape.issue_flush().1);
        assert_eq!(failed, [false, true, false, false]);
    }
}
