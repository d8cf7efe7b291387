//! Pages by number, sparse and shared between copies until one side writes.
//!
//! They hang in leaves of 64, and copying the map copies one pointer a leaf: a crash laboratory
//! copies a disk for every step of a job and looks at a few pages of each copy.
//!
//! ```text
//!   Pages (one copy) ──┬─► leaf 0: page 0 .. 63 ◄──┬── Pages (another)
//!                      ├─► leaf 3'                 ├─► leaf 3
//!                      │     page 197' page 198 ◄──┘     page 197
//! ```
//!
//! # Invariants
//! - S15: a write to one copy is never seen through another.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits::ALIGN;

/// The bytes of a page.
pub(super) type Page = [u8; ALIGN];

const LEAF_PAGES: u64 = 64;

type Leaf = [Option<Arc<Page>>; LEAF_PAGES as usize];

/// The pages.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages(BTreeMap<u64, Arc<Leaf>>);

fn place(number: u64) -> (u64, usize) {
    (number / LEAF_PAGES, (number % LEAF_PAGES) as usize)
}

impl Pages {
    pub(super) fn get(&self, number: u64) -> Option<&Page> {
        let (leaf, index) = place(number);
        self.0.get(&leaf)?[index].as_deref()
    }

    fn slot(&mut self, number: u64) -> &mut Option<Arc<Page>> {
        let (leaf, index) = place(number);
        let empty = || Arc::new([const { None }; LEAF_PAGES as usize]);
        // S15: a leaf that others hold is copied before it changes.
        &mut Arc::make_mut(self.0.entry(leaf).or_insert_with(empty))[index]
    }

    pub(super) fn insert(&mut self, number: u64, page: Arc<Page>) {
        *self.slot(number) = Some(page);
    }

    /// The page to write to, zeros if it wasn't there.
    pub(super) fn page_mut(&mut self, number: u64) -> &mut Page {
        // S15: and so is a page.
        Arc::make_mut(self.slot(number).get_or_insert_with(|| Arc::new([0; ALIGN])))
    }

    pub(super) fn remove(&mut self, number: u64) {
        *self.slot(number) = None;
    }

    /// The numbers of the pages at or after `first`, in order.
    pub(super) fn numbers_from(&self, first: u64) -> impl Iterator<Item = u64> {
        let leaves = self.0.range(first / LEAF_PAGES..);
        let numbers = leaves.flat_map(|(leaf, pages)| {
            let start = leaf * LEAF_PAGES;
            (start..).zip(pages.iter()).filter(|(_, page)| page.is_some()).map(|(n, _)| n)
        });
        numbers.skip_while(move |&number| number < first)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    #[test]
    fn s15_copies_go_their_own_ways() {
        let mut random = Random::new(9);
        let mut copies = vec![(Pages::default(), BTreeMap::new())];
        for _ in 0..3000 {
            let index = random.index(copies.len());
            let number = random.below(300);
            match random.below(8) {
                0 if copies.len() < 20 => copies.push(copies[index].clone()),
                1 | 2 => {
                    copies[index].0.remove(number);
                    copies[index].1.remove(&number);
                }
                _ => {
                    let byte = random.next() as u8;
                    copies[index].0.page_mut(number)[5] = byte;
                    copies[index].1.insert(number, byte);
                }
            }
        }
        assert_eq!(copies.len(), 20);
        for (pages, plain) in copies {
            let first = random.below(300);
            assert!(pages.numbers_from(first).eq(plain.range(first..).map(|(&number, _)| number)));
            for number in 0..300 {
                let found = pages.get(number).map(|page| page[5]);
                assert_eq!(found.as_ref(), plain.get(&number));
            }
        }
    }
}
