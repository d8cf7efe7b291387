//! Writing the journal: a batch of records a checkpoint.
//!
//! The file is made at the first checkpoint: a job that ends before that leaves no trace of one.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

use super::{Checkpoint, JournaledExtent};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Open, Record};
use crate::planted::{self, Bug};
use crate::ring::file::{Directory, File, Replace};
use crate::ring::whole::write_all;

/// Bytes of records that are written at a time where many extents are adopted.
const PIECE_BYTES: usize = 1 << 20;

/// A journal that is written to.
#[derive(Debug)]
pub struct Journal {
    directory: Arc<dyn Directory>,
    file: Arc<dyn File>,
    len: u64,
    /// Checksum of the last record.
    chain: u32,
    /// Records not written yet.
    pending: Vec<u8>,
    /// Whether its name, and the partial file's, are known to be durable.
    named: bool,
    failed: bool,
}

impl Journal {
    /// Makes a journal called `name` that opens with `open`. Nothing of it is durable before the
    /// first [`Self::checkpoint`].
    ///
    /// # Errors
    /// `Output` or `NoSpace` where the file can't be made.
    pub fn create(directory: &Arc<dyn Directory>, name: &OsStr, open: Open) -> Result<Self> {
        let created = directory.create_new(name, false);
        let file = created.map_err(|error| failed("cannot create the journal", error))?;
        let mut pending = Vec::new();
        let chain = Record::Open(open).encode(0, &mut pending);
        let directory = Arc::clone(directory);
        Ok(Self { directory, file, len: 0, chain, pending, named: false, failed: false })
    }

    /// Makes a journal of what a run before this one left durable, and gives it `name` in place of
    /// that run's; durable when this returns. `new_name` is used until then.
    ///
    /// # Errors
    /// `Output` or `NoSpace`; the old journal then still has the name.
    pub fn replace(
        directory: &Arc<dyn Directory>,
        (name, new_name): (&OsStr, &OsStr),
        open: Open,
        covered: &Checkpoint,
        extents: &mut dyn FnMut(u64) -> Result<JournaledExtent>,
    ) -> Result<Self> {
        match directory.unlink(new_name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("cannot remove an unfinished journal", error));
            }
            _ => {}
        }
        if planted::is(Bug::JournalInPlace) {
            let old = directory.unlink(name);
            old.map_err(|error| failed("cannot remove the old journal", error))?;
        }
        let mut journal = Self::create(directory, new_name, open)?;
        for number in 0..covered.extents {
            journal.append(extents(number)?);
            if journal.pending.len() >= PIECE_BYTES {
                journal.write()?;
            }
        }
        journal.cover(covered);
        journal.write()?;
        journal.sync()?;
        directory
            .rename(new_name, name, Replace::Allowed)
            .map_err(|error| failed("cannot put the new journal in place", error))?;
        journal.sync_names()?;
        Ok(journal)
    }

    /// Keeps an extent for the next checkpoint. The caller knows that every byte of it was written.
    pub fn append(&mut self, extent: JournaledExtent) {
        let JournaledExtent { number, chunks } = extent;
        let offset = chunks.first().expect("an extent has at least one chunk").entry.offset;
        let record = Record::Extent { number, offset, chunks };
        self.chain = record.encode(self.chain, &mut self.pending);
    }

    /// Appends what was kept and a checkpoint that covers it, durable when this returns. To be
    /// called only after the data was synced (J1).
    ///
    /// # Errors
    /// `Output` or `NoSpace`; the checkpoint before stands. This journal then takes no more, unless
    /// it is still usable: there was no room to write, and it can be called again when there is.
    pub fn checkpoint(&mut self, covered: &Checkpoint) -> Result<()> {
        // J3: an attempt that failed may have left anything behind the last checkpoint.
        assert!(!self.failed, "nothing is appended to a journal that failed");
        self.failed = true;
        self.cover(covered);
        if let Err(error) = self.write() {
            // What was kept is kept, and will be written over this attempt, which it begins with.
            self.failed = error.kind() != ErrorKind::NoSpace;
            return Err(error);
        }
        if !planted::is(Bug::NoJournalSync) {
            self.sync()?;
        }
        // J2: one name may have reached the medium without the other.
        if !self.named && !planted::is(Bug::NoNamesSync) {
            self.sync_names()?;
        }
        self.failed = false;
        Ok(())
    }

    /// Bytes of records that are kept because they weren't written yet.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Whether it can still be appended to.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.failed
    }

    fn cover(&mut self, covered: &Checkpoint) {
        let Checkpoint { extents, bytes, .. } = *covered;
        self.chain = Record::Checkpoint { extents, bytes }.encode(self.chain, &mut self.pending);
    }

    pub(crate) fn write(&mut self) -> Result<()> {
        write_all(self.file.as_ref(), &self.pending, self.len)
            .map_err(|error| failed("cannot write the journal", error))?;
        self.len += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| failed("cannot make the journal durable", error))
    }

    fn sync_names(&mut self) -> Result<()> {
        self.directory
            .sync()
            .map_err(|error| failed("cannot make the journal's name durable", error))?;
        self.named = true;
        Ok(())
    }
}

fn failed(what: &'static str, error: io::Error) -> Error {
    Error::from_io(ErrorKind::Output, what, error)
}
