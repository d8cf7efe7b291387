//! Output in order: what cores make in any order goes to a pipe in sequence.
//!
//! Cores hand their buffers over; one that is early is held until its turn, and each goes back to
//! its core once written. No more are ever held than the cores have, and the core whose turn it is
//! always has one, so it can't get stuck.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::eventcount::EventCount;
use crate::ring::stream::PipeEnd;

/// A core's output on its way to the pipe.
#[derive(Debug)]
pub struct HandedOver {
    /// Its place in the order.
    pub number: u64,
    /// The bytes, from the buffer's start on.
    pub buffer: Buffer,
    /// How many of them.
    pub len: usize,
    /// Zeros to write after them.
    pub zeros: u64,
    /// Where the buffer goes back to.
    pub back: Sender<Buffer>,
}

/// The writer.
#[derive(Debug)]
pub struct OrderedWriter<'a> {
    pipe: &'a PipeEnd,
    event: &'a EventCount,
    next: u64,
    early: BTreeMap<u64, HandedOver>,
}

impl<'a> OrderedWriter<'a> {
    /// A writer to `pipe` that starts with number 0; `event` advances when a buffer goes back.
    #[must_use]
    pub fn new(pipe: &'a PipeEnd, event: &'a EventCount) -> Self {
        Self { pipe, event, next: 0, early: BTreeMap::new() }
    }

    /// Takes an output, and writes all whose turn has come.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn take(&mut self, output: HandedOver) -> Result<()> {
        self.early.insert(output.number, output);
        while let Some(output) = self.early.remove(&self.next) {
            self.write(&output.buffer[..output.len])?;
            self.write_zeros(output.zeros)?;
            // The core may be gone already, having failed or claimed its last.
            let _ = output.back.send(output.buffer);
            self.event.advance();
            self.next += 1;
        }
        Ok(())
    }

    /// Writes bytes outside the numbered order: before the first or after the last.
    ///
    /// # Errors
    /// `OutputClosed` where the reader went away, `Cancelled` where the job was.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        match self.pipe.write_full(bytes) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(ErrorKind::Cancelled, "the job was cancelled")),
            Err(error) => {
                Err(Error::from_io(ErrorKind::Output, "cannot write", error).at("standard output"))
            }
        }
    }

    fn write_zeros(&self, mut zeros: u64) -> Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while zeros > 0 {
            let step = zeros.min(ZEROS.len() as u64);
            self.write(&ZEROS[..step as usize])?;
            zeros -= step;
        }
        Ok(())
    }
}
