//! The size/offset table of dense placement: a running sum that any core may carry on.
//!
//! Each extent has two cells, its length and one more than its offset, each written once and 0
//! until then. Who
//! publishes a length looks whether the extent's offset is there, and if so carries the sum on to
//! the next extent, and the one after that, as far as lengths are known.
//!
//! ```text
//! extent   0      1      2      3      4
//! len      9000   5000   0      7000   0        core B publishes len[2] = 4000, then carries on:
//! offset   0      9000   14000  –      –        offset[3] = 18000, offset[4] = 25000, stop
//! ```
//!
//! No core waits for another and none takes a lock. Two cores may carry on the same sum at once:
//! they write the same values. That neither stops short is P1's argument: a publisher stores the
//! length, then loads the offset; a carrier stores the offset, then loads the length; with both
//! sequentially consistent, one of the two sees the other's store.
//!
//! The cells lie in segments of doubling length, each made by whoever first needs it, so the table
//! grows without moving: 16 bytes for each 4 MiB of content.
//!
//! # Invariants
//! - P1: once the lengths of extents `0..i` are published, the offset of extent `i` is set, and no
//!   further step of any core is needed for it.
//! - P2: a cell changes once, from 0 to its value.

use std::sync::OnceLock;

use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::units::ExtentNumber;

/// Extents in the first segment, as a power of two; each further one is twice as long.
const FIRST_LOG2: u32 = if cfg!(ringpack_shuttle) { 1 } else { 10 };
const SEGMENTS: usize = 64 - FIRST_LOG2 as usize;

#[derive(Debug, Default)]
struct Cell {
    len: AtomicU64,
    /// One more than the offset.
    after: AtomicU64,
}

/// The table.
#[derive(Debug)]
pub struct Dense {
    segments: [OnceLock<Box<[Cell]>>; SEGMENTS],
}

impl Dense {
    /// A table whose first extent is `first` and stands at `start`. The extents before it are
    /// written and nobody asks for them.
    #[must_use]
    pub fn new(first: ExtentNumber, start: u64) -> Self {
        let table = Self { segments: [const { OnceLock::new() }; SEGMENTS] };
        table.cell(first.0).after.store(start + 1, SeqCst);
        table
    }

    /// Makes the length of an extent known, once, and carries the sum on. `true` where an offset
    /// was set.
    ///
    /// # Panics
    /// Where the length is 0 or was published before.
    pub fn publish(&self, number: ExtentNumber, len: u64) -> bool {
        assert!(len > 0, "an extent has at least one frame");
        // P2: the first store to the cell.
        let before = self.cell(number.0).len.swap(len, SeqCst);
        assert_eq!(before, 0, "extent {number} is published once");
        let mut carried = false;
        let mut at = number.0;
        loop {
            let cell = self.cell(at);
            let (after, len) = (cell.after.load(SeqCst), cell.len.load(SeqCst));
            if after == 0 || len == 0 {
                // P1: whoever sets the missing one after this sees the other and carries on.
                return carried;
            }
            at += 1;
            self.cell(at).after.store(after + len, SeqCst);
            carried = true;
        }
    }

    /// Where an extent starts, or `None` while an earlier one's length is unknown.
    #[must_use]
    pub fn offset(&self, number: ExtentNumber) -> Option<u64> {
        self.cell(number.0).after.load(SeqCst).checked_sub(1)
    }

    fn cell(&self, number: u64) -> &Cell {
        // Segment s holds the numbers whose sum with 2^FIRST_LOG2 has its highest bit at
        // FIRST_LOG2 + s.
        let shifted = number + (1 << FIRST_LOG2);
        let top = shifted.ilog2();
        let segment = self.segments[(top - FIRST_LOG2) as usize]
            .get_or_init(|| (0..1u64 << top).map(|_| Cell::default()).collect());
        &segment[(shifted - (1 << top)) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len(i: u64) -> u64 {
        4096 * (1 + i * 7 % 13)
    }

    #[test]
    fn p1_any_order_of_publication_gives_the_same_offsets() {
        let orders: [Vec<u64>; 4] = [
            (0..3000).collect(),
            (0..3000).rev().collect(),
            (0..3000).map(|i| i * 1009 % 3000).collect(),
            (0..1500).flat_map(|i| [2 * i + 1, 2 * i]).collect(),
        ];
        for order in orders {
            let table = Dense::new(ExtentNumber(0), 4096);
            let mut published = std::collections::HashSet::new();
            for &number in &order {
                table.publish(ExtentNumber(number), len(number));
                published.insert(number);
            }
            let mut expected = 4096;
            for i in 0..3000 {
                assert_eq!(table.offset(ExtentNumber(i)), Some(expected));
                expected += len(i);
            }
            assert_eq!(table.offset(ExtentNumber(3000)), Some(expected));
            assert_eq!(table.offset(ExtentNumber(3001)), None);
        }
    }

    #[test]
    fn an_offset_waits_for_the_lengths_before_it_alone() {
        let table = Dense::new(ExtentNumber(0), 4096);
        assert!(!table.publish(ExtentNumber(1), 8192));
        assert_eq!(table.offset(ExtentNumber(1)), None);
        assert!(table.publish(ExtentNumber(0), 4096));
        assert_eq!(table.offset(ExtentNumber(1)), Some(8192));
        assert_eq!(table.offset(ExtentNumber(2)), Some(16384));
    }

    #[test]
    fn p1_cores_racing_leave_no_offset_unset() {
        const EXTENTS: u64 = 20_000;
        let table = Dense::new(ExtentNumber(0), 4096);
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, SeqCst);
                        if number >= EXTENTS {
                            return;
                        }
                        table.publish(ExtentNumber(number), len(number));
                    }
                });
            }
        });
        let total: u64 = (0..EXTENTS).map(len).sum();
        assert_eq!(table.offset(ExtentNumber(EXTENTS)), Some(4096 + total));
    }

    #[test]
    fn a_table_goes_on_behind_what_is_written() {
        let table = Dense::new(ExtentNumber(5000), 1 << 30);
        assert_eq!(table.offset(ExtentNumber(4999)), None);
        table.publish(ExtentNumber(5001), 4096);
        table.publish(ExtentNumber(5000), 8192);
        assert_eq!(table.offset(ExtentNumber(5000)), Some(1 << 30));
        assert_eq!(table.offset(ExtentNumber(5001)), Some((1 << 30) + 8192));
        assert_eq!(table.offset(ExtentNumber(5002)), Some((1 << 30) + 12288));
    }

    #[test]
    #[should_panic(expected = "published once")]
    fn p2_a_second_publication_is_a_bug() {
        let table = Dense::new(ExtentNumber(0), 4096);
        table.publish(ExtentNumber(5), 4096);
        table.publish(ExtentNumber(5), 4096);
    }
}

#[cfg(all(test, ringpack_shuttle))]
mod models {
    use super::*;
    use shuttle::sync::Arc;
    use shuttle::thread::spawn;

    fn len(number: u64) -> u64 {
        4096 << number
    }

    /// Publishes these extents, a thread each, while this one looks on; in every order of steps.
    fn publish(numbers: &'static [u64]) {
        let model = move || {
            let table = Arc::new(Dense::new(ExtentNumber(0), 4096));
            let threads: Vec<_> = numbers
                .iter()
                .map(|&number| {
                    let table = Arc::clone(&table);
                    spawn(move || table.publish(ExtentNumber(number), len(number)))
                })
                .collect();
            let seen = table.offset(ExtentNumber(1));
            assert!(seen.is_none_or(|offset| offset == 4096 + len(0)), "{seen:?}");
            for thread in threads {
                thread.join().unwrap();
            }
            let count = numbers.len() as u64;
            let end = 4096 + (0..count).map(len).sum::<u64>();
            assert_eq!(table.offset(ExtentNumber(count)), Some(end));
        };
        crate::sync::each_order(model);
    }

    #[test]
    fn orders_p1_two_publishers_leave_no_offset_unset() {
        publish(&[0, 1]);
        publish(&[1, 0]);
    }

    #[test]
    fn orders_p1_three_publishers_leave_no_offset_unset() {
        publish(&[2, 0, 1]);
    }
}
