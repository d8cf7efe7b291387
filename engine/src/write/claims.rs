//! Which chunks were given so far, and where the content ends: a bit a chunk, without a lock.
//!
//! The bits lie in leaves of 32,768, made by whoever first needs one, below two levels of pointers.
//!
//! # Invariants
//! - X2: of all calls that give one sequence number, at most one succeeds.
//! - X3: at most one chunk that was given is short, and none that was given stands behind it.

use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::CHUNKS_GIVEN_MAX as CHUNKS_MAX;
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};

// A model makes them anew for each order of steps, on short stacks.
const LEAF_LOG2: u32 = if cfg!(ringpack_shuttle) { 6 } else { 15 };
const MIDDLE_LOG2: u32 = if cfg!(ringpack_shuttle) { 2 } else { 8 };
const ROOT_LOG2: u32 = if cfg!(ringpack_shuttle) { 2 } else { 9 };

const HELD_LOG2: u32 = LEAF_LOG2 + MIDDLE_LOG2 + ROOT_LOG2;
const _: () = assert!(CHUNKS_MAX == 1 << HELD_LOG2 || cfg!(ringpack_shuttle));

/// Where the content ends, in one word.
#[derive(Clone, Copy)]
struct End {
    /// One more than the highest sequence number given.
    len: u64,
    /// Whether the chunk of that number is short, and so the content's last.
    is_short: bool,
}

impl End {
    fn of(word: u64) -> Self {
        Self { len: word >> 1, is_short: word & 1 == 1 }
    }

    fn word(self) -> u64 {
        self.len << 1 | u64::from(self.is_short)
    }
}

type Leaf = [AtomicU64; 1 << (LEAF_LOG2 - 6)];
type Middle = [OnceLock<Box<Leaf>>; 1 << MIDDLE_LOG2];

/// The chunks that were given.
#[derive(Debug)]
pub(super) struct Claims {
    root: Box<[OnceLock<Box<Middle>>]>,
    chunk_len: u64,
    count: AtomicU64,
    /// An [`End`].
    end: AtomicU64,
    /// Length of the short chunk, if there is one.
    short_len: AtomicU64,
    /// No chunk below this one is missing; there may be none above either.
    floor: AtomicU64,
}

impl Claims {
    /// Nothing given yet, of chunks of `chunk_len` bytes.
    pub(super) fn new(chunk_len: u64) -> Self {
        Self {
            root: (0..1 << ROOT_LOG2).map(|_| OnceLock::new()).collect(),
            chunk_len,
            count: AtomicU64::new(0),
            end: AtomicU64::new(0),
            short_len: AtomicU64::new(0),
            floor: AtomicU64::new(0),
        }
    }

    /// Takes note that chunk `sequence` of `len` bytes is given.
    ///
    /// # Errors
    /// `Sequence` where it was given before or can't have that number or length; it then doesn't
    /// count as given.
    pub(super) fn give(&self, sequence: u64, len: u64) -> Result<()> {
        self.check(sequence, len)?;
        let (word, bit) = self.word(sequence);
        // X2: one of them turns the bit.
        if word.fetch_or(bit, SeqCst) & bit != 0 {
            return Err(refused("was given before").sequence(sequence));
        }
        let ends = self.end_with(sequence, len);
        if ends.is_err() {
            word.fetch_and(!bit, SeqCst);
        } else {
            self.count.fetch_add(1, SeqCst);
        }
        ends
    }

    fn check(&self, sequence: u64, len: u64) -> Result<()> {
        let refuse = |what: String| Err(refused(what).sequence(sequence));
        if sequence >= CHUNKS_MAX {
            return Err(refused(format!("is one of more than {CHUNKS_MAX} chunks"))
                .sequence(sequence)
                .hint("make the chunks longer"));
        }
        if len > self.chunk_len {
            return refuse(format!("has {len} bytes, of {} at most", self.chunk_len));
        }
        if len == 0 && sequence > 0 {
            return refuse("is empty, which only an empty content's only chunk is".to_owned());
        }
        Ok(())
    }

    /// X3: where the content ends and whether a short chunk ends it are one word, changed at once.
    /// A chunk that is refused leaves no trace in it.
    fn end_with(&self, sequence: u64, len: u64) -> Result<()> {
        let is_short = len < self.chunk_len;
        let admit = |word| {
            let end = End::of(word);
            match (is_short, end.is_short) {
                (true, false) if end.len <= sequence + 1 => {
                    Some(End { len: sequence + 1, is_short })
                }
                (false, false) => Some(End { len: end.len.max(sequence + 1), ..end }),
                (false, true) if sequence + 1 < end.len => Some(end),
                _ => None,
            }
            .map(End::word)
        };
        match self.end.fetch_update(SeqCst, SeqCst, admit) {
            Ok(_) if is_short => self.short_len.store(len, SeqCst),
            Ok(_) => {}
            Err(word) => {
                let other = End::of(word).len - 1;
                if !is_short {
                    return Err(behind(sequence, other));
                }
                let whole = self.chunk_len;
                let what = format!(
                    "has {len} bytes: only the last chunk may have fewer than {whole}, and chunk \
                     {other} was given as well"
                );
                return Err(refused(what).sequence(sequence));
            }
        }
        Ok(())
    }

    /// Whether chunk `sequence` was given.
    pub(super) fn is_given(&self, sequence: u64) -> bool {
        if sequence >= CHUNKS_MAX {
            return false;
        }
        let (root, middle, leaf) = indices(sequence);
        let leaf_of = self.root[root].get().and_then(|middles| middles[middle].get());
        leaf_of.is_some_and(|words| words[leaf].load(SeqCst) & (1 << (sequence % 64)) != 0)
    }

    /// How many were given.
    pub(super) fn count(&self) -> u64 {
        self.count.load(SeqCst)
    }

    /// One more than the highest number given.
    pub(super) fn end(&self) -> u64 {
        End::of(self.end.load(SeqCst)).len
    }

    /// Length of the content that ends with the highest number given, in bytes.
    pub(super) fn content_size(&self) -> u64 {
        let end = End::of(self.end.load(SeqCst));
        if !end.is_short {
            return end.len * self.chunk_len;
        }
        (end.len - 1) * self.chunk_len + self.short_len.load(SeqCst)
    }

    /// The lowest number that was not given.
    pub(super) fn first_missing(&self) -> u64 {
        let floor = self.floor.load(SeqCst);
        let mut missing = floor;
        while self.is_given(missing) {
            missing += 1;
        }
        self.floor.fetch_max(missing, SeqCst);
        missing
    }

    /// Whether every chunk before the highest given was given.
    ///
    /// # Errors
    /// `Sequence`, naming the first that wasn't.
    pub(super) fn check_complete(&self) -> Result<()> {
        let (count, end) = (self.count(), self.end());
        if count == end {
            return Ok(());
        }
        let first = self.first_missing();
        Err(refused(format!("{} of {end} chunks are missing, the first is {first}", end - count)))
    }

    fn word(&self, sequence: u64) -> (&AtomicU64, u64) {
        let (root, middle, leaf) = indices(sequence);
        let middles =
            self.root[root].get_or_init(|| Box::new([const { OnceLock::new() }; 1 << MIDDLE_LOG2]));
        let words =
            middles[middle].get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        (&words[leaf], 1 << (sequence % 64))
    }
}

fn indices(sequence: u64) -> (usize, usize, usize) {
    let leaf = sequence % (1 << LEAF_LOG2) / 64;
    let middle = (sequence >> LEAF_LOG2) % (1 << MIDDLE_LOG2);
    let root = sequence >> (LEAF_LOG2 + MIDDLE_LOG2);
    (root as usize, middle as usize, leaf as usize)
}

fn refused(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Sequence, what)
}

fn behind(sequence: u64, short: u64) -> Error {
    refused(format!("stands behind chunk {short}, which is short and so the last"))
        .sequence(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 1 << 16;

    fn kinds<T: std::fmt::Debug>(results: &[Result<T>]) -> Vec<Option<ErrorKind>> {
        results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect()
    }

    #[test]
    fn x2_a_number_is_given_once_whoever_comes_first() {
        let claims = Claims::new(LEN);
        let given = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for sequence in (0..20_000).map(|i| i * 7919 % 20_000) {
                        if claims.give(sequence, LEN).is_ok() {
                            given.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!((given.load(SeqCst), claims.count(), claims.end()), (20_000, 20_000, 20_000));
        assert_eq!(claims.first_missing(), 20_000);
        assert_eq!(claims.content_size(), 20_000 * LEN);
    }

    #[test]
    fn x3_only_the_last_is_short() {
        let short = |sequence| (sequence, LEN - 1);
        let full = |sequence| (sequence, LEN);
        let cases: [(&[(u64, u64)], usize); 6] = [
            (&[full(3), short(4), full(1)], 3),
            (&[full(5), short(4)], 1),
            (&[short(4), full(5)], 1),
            (&[short(4), short(5)], 1),
            (&[short(5), short(4)], 1),
            (&[short(4), (4, LEN - 1)], 1),
        ];
        for (chunks, accepted) in cases {
            let claims = Claims::new(LEN);
            let results: Vec<_> =
                chunks.iter().map(|&(sequence, len)| claims.give(sequence, len)).collect();
            let expected: Vec<_> = (0..chunks.len())
                .map(|at| (at >= accepted).then_some(ErrorKind::Sequence))
                .collect();
            assert_eq!(kinds(&results), expected, "{chunks:?}");
            assert_eq!(claims.count(), accepted as u64, "what was refused doesn't count");
        }
    }

    #[test]
    fn x3_a_refused_chunk_can_be_given_rightly() {
        let claims = Claims::new(LEN);
        claims.give(5, LEN).unwrap();
        assert!(claims.give(4, 10).is_err());
        assert!(!claims.is_given(4));
        claims.give(4, LEN).unwrap();
        claims.give(6, 10).unwrap();
        assert_eq!(claims.content_size(), 6 * LEN + 10);
        assert_eq!(claims.first_missing(), 0);
    }

    #[test]
    fn numbers_and_lengths_that_no_chunk_has_are_refused() {
        let claims = Claims::new(LEN);
        for (sequence, len) in [(CHUNKS_MAX, 1), (u64::MAX, LEN), (0, LEN + 1), (1, 0)] {
            let refused = claims.give(sequence, len).unwrap_err();
            assert_eq!((refused.kind(), refused.chunk()), (ErrorKind::Sequence, Some(sequence)));
            assert!(!claims.is_given(sequence));
        }
        claims.give(CHUNKS_MAX - 1, LEN).unwrap();
        assert!(claims.is_given(CHUNKS_MAX - 1) && !claims.is_given(0));
        assert_eq!((claims.count(), claims.first_missing()), (1, 0));
    }
}

#[cfg(all(test, ringpack_shuttle))]
mod models {
    use super::*;
    use shuttle::sync::Arc;
    use shuttle::thread::spawn;

    const LEN: u64 = 1 << 16;

    /// Gives two chunks at once; which of them were taken.
    fn give(first: (u64, u64), second: (u64, u64), check: fn(bool, bool, &Claims)) {
        let model = move || {
            let claims = Arc::new(Claims::new(LEN));
            let other = Arc::clone(&claims);
            let giving = spawn(move || other.give(second.0, second.1).is_ok());
            let first = claims.give(first.0, first.1).is_ok();
            let second = giving.join().unwrap();
            check(first, second, &claims);
        };
        crate::sync::each_order(model);
    }

    #[test]
    fn orders_x2_one_of_two_gives_a_number() {
        give((0, LEN), (0, LEN), |first, second, claims| {
            assert!(first != second && claims.is_given(0) && claims.count() == 1);
        });
    }

    #[test]
    fn orders_x3_a_short_chunk_and_one_behind_it_are_never_both_taken() {
        give((0, 5), (1, LEN), |first, second, claims| {
            assert!(first != second);
            assert_eq!((first, second), (claims.is_given(0), claims.is_given(1)));
            // What was refused left no trace in where the content ends.
            assert_eq!(claims.end(), if first { 1 } else { 2 });
            assert_eq!(claims.content_size(), if first { 5 } else { 2 * LEN });
        });
        give((0, 5), (1, 5), |first, second, _| assert!(first != second));
    }
}
