//! A stream has one reader, which feeds the cores.
//!
//! The reader fills one extent's worth of memory after the other, in order, and leaves each for
//! whichever core asks next; a core gives the memory back once it has encoded it. With all of it
//! filled, the reader stops reading, and the producer on the other side feels it.
//!
//! ```text
//! pipe ──► reader ──► filled (in order) ──► cores
//!             ▲                               │
//!             └────────── empty ◄─────────────┘
//! ```
//!
//! # Invariants
//! - T1: portions are handed out in the order of the stream, each to one core; all but the last are
//!   full; an empty stream has one portion, of length 0.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::buffer::AlignedMemory;
use crate::error::{Error, ErrorKind, Result};
use crate::eventcount::EventCount;
use crate::ring::stream::PipeEnd;
use crate::units::ExtentNumber;

/// One extent's worth of the stream.
#[derive(Debug)]
pub struct Portion {
    /// The extent it is.
    pub number: ExtentNumber,
    /// Its memory, given back with [`Feed::give_back`].
    pub memory: AlignedMemory,
    /// How many bytes of the memory it has.
    pub len: usize,
}

/// What a core that asks for a portion gets.
#[derive(Debug)]
pub enum Next {
    /// A portion.
    Portion(Portion),
    /// None yet: the event count advances when there is.
    Later,
    /// None any more.
    End,
}

/// What reader and cores share.
#[derive(Debug)]
pub struct Feed {
    state: Mutex<State>,
    /// Tells the reader that memory came back or that nobody wants more.
    returned: Condvar,
    event: Arc<EventCount>,
}

#[derive(Debug)]
struct State {
    filled: VecDeque<Portion>,
    empty: Vec<AlignedMemory>,
    ended: bool,
    stopped: bool,
}

impl Feed {
    /// A feed of `portions` pieces of memory of `portion_len` bytes; `event` advances whenever a
    /// core might get one.
    #[must_use]
    pub fn new(portions: usize, portion_len: usize, event: Arc<EventCount>) -> Self {
        let empty = (0..portions).map(|_| AlignedMemory::zeroed(portion_len)).collect();
        let state = State { filled: VecDeque::new(), empty, ended: false, stopped: false };
        Self { state: Mutex::new(state), returned: Condvar::new(), event }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the stream to its end; returns its length. Before a portion is handed out, `check` is
    /// told how much was read so far, and whether that is all.
    ///
    /// # Errors
    /// `Input` where reading fails, `Cancelled` where the job was; those of `check`.
    pub fn read_from(
        &self,
        pipe: &PipeEnd,
        check: impl Fn(u64, bool) -> Result<()>,
    ) -> Result<u64> {
        let mut total = 0;
        for number in 0.. {
            let Some(mut memory) = self.take_empty() else {
                return Err(Error::new(ErrorKind::Cancelled, "stopped reading"));
            };
            let len = pipe
                .read_full(&mut memory)
                .map_err(|error| Error::from_io(ErrorKind::Input, "cannot read", error))?
                .ok_or_else(|| Error::new(ErrorKind::Cancelled, "stopped reading"))?;
            total += len as u64;
            let ended = len < memory.len();
            check(total, ended)?;
            let mut state = self.state();
            // T1: in order; a last portion of nothing only for an empty stream.
            if len > 0 || number == 0 {
                let number = ExtentNumber(number);
                state.filled.push_back(Portion { number, memory, len });
            }
            state.ended = ended;
            drop(state);
            self.event.advance();
            if ended {
                break;
            }
        }
        Ok(total)
    }

    fn take_empty(&self) -> Option<AlignedMemory> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(mut memory) = state.empty.pop() {
                drop(state);
                memory.poison();
                return Some(memory);
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next portion, for the core that asks.
    pub fn next(&self) -> Next {
        let mut state = self.state();
        match state.filled.pop_front() {
            Some(portion) => Next::Portion(portion),
            None if state.ended => Next::End,
            None => Next::Later,
        }
    }

    /// Gives a portion's memory back.
    pub fn give_back(&self, memory: AlignedMemory) {
        self.state().empty.push(memory);
        self.returned.notify_one();
    }

    /// Has the reader stop: the job failed, or is over.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use std::io::Write;
    use std::os::fd::OwnedFd;

    fn feed_of(bytes: Vec<u8>) -> Vec<(u64, Vec<u8>)> {
        let event = Arc::new(EventCount::default());
        let feed = Feed::new(2, 8192, Arc::clone(&event));
        let (read, mut write) = std::io::pipe().unwrap();
        let pipe = PipeEnd::new(OwnedFd::from(read).into(), &Cancel::new()).unwrap();
        std::thread::scope(|scope| {
            let len = bytes.len() as u64;
            scope.spawn(move || write.write_all(&bytes).unwrap());
            let reader = scope.spawn(|| feed.read_from(&pipe, |_, _| Ok(())));
            let mut portions = Vec::new();
            loop {
                let seen = event.seen();
                match feed.next() {
                    Next::Portion(Portion { number, memory, len }) => {
                        portions.push((number.0, memory[..len].to_vec()));
                        feed.give_back(memory);
                    }
                    Next::Later => event.wait(seen),
                    Next::End => break,
                }
            }
            assert_eq!(reader.join().unwrap().unwrap(), len);
            portions
        })
    }

    #[test]
    fn t1_portions_are_the_stream_in_order() {
        for len in [0, 1, 8191, 8192, 8193, 16384, 100_000] {
            let bytes: Vec<u8> = (0..len).map(|i: usize| (i / 100) as u8).collect();
            let portions = feed_of(bytes.clone());
            for (expected, (number, portion)) in (0..).zip(&portions) {
                assert_eq!(*number, expected);
                assert!(portion.len() == 8192 || expected as usize + 1 == portions.len());
            }
            assert_eq!(portions.len(), len.div_ceil(8192).max(1), "{len}");
            let joined: Vec<u8> = portions.into_iter().flat_map(|(_, bytes)| bytes).collect();
            assert!(joined == bytes, "{len}");
        }
    }

    #[test]
    fn what_is_refused_at_its_end_is_not_handed_out() {
        let feed = Feed::new(2, 8192, Arc::new(EventCount::default()));
        let (read, mut write) = std::io::pipe().unwrap();
        let pipe = PipeEnd::new(OwnedFd::from(read).into(), &Cancel::new()).unwrap();
        write.write_all(&[1; 8192 + 100]).unwrap();
        drop(write);
        let refused = feed.read_from(&pipe, |read, ended| match (read, ended) {
            (8192, false) => Ok(()),
            (8292, true) => Err(Error::new(ErrorKind::Refused, "it broke off")),
            other => panic!("{other:?}"),
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Refused);
        assert!(matches!(feed.next(), Next::Portion(Portion { len: 8192, .. })));
        assert!(matches!(feed.next(), Next::Later), "nor is it taken for the end");
    }

    #[test]
    fn a_stopped_feed_lets_its_reader_go() {
        let feed = Feed::new(0, 8192, Arc::new(EventCount::default()));
        let (read, _write) = std::io::pipe().unwrap();
        let pipe = PipeEnd::new(OwnedFd::from(read).into(), &Cancel::new()).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| feed.read_from(&pipe, |_, _| Ok(())));
            feed.stop();
            assert_eq!(reader.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        });
    }
}
