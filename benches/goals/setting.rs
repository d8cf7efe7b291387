//! What all jobs are measured with, and the runs that several of them have in common.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ringpack::limits;
use ringpack::pipeline::Schedule;
use ringpack_benches::place::Place;
use ringpack_benches::run::{Spent, beside, is_here};

use crate::Args;
use crate::outcome::Outcome;

/// Length of a chunk on every side: ringpack's default.
pub(crate) const CHUNK_LEN: usize = 1 << limits::CHUNK_LOG2_DEFAULT;

/// The content.
pub(crate) const IN: &str = "in";

/// The setting.
pub(crate) struct Setting {
    pub(crate) place: Place,
    pub(crate) ringpack: PathBuf,
    pub(crate) size: u64,
    pub(crate) pairs: u32,
    pub(crate) files: u32,
    pub(crate) cores: usize,
    /// Reads, and writes, of an extent's length that the engine has in flight at once.
    pub(crate) depth: usize,
    left_out: Mutex<BTreeSet<String>>,
}

impl Setting {
    pub(crate) fn new(args: &Args) -> io::Result<Self> {
        let ringpack = match &args.ringpack {
            Some(path) => fs::canonicalize(path)?,
            None => beside("ringpack")?,
        };
        let cores = Schedule::threads(None, 1).map_err(io::Error::other)?.workers();
        let depth = cores * limits::buffers_per_side(limits::EXTENT_RAW_BYTES, u64::MAX);
        let place = Place::new(&args.folder, args.warm)?;
        let size = args.size & !0xFFF;
        eprintln!("content: {} MiB", size >> 20);
        place.fill(IN, size, args.file.as_deref())?;
        let Args { pairs, files, .. } = *args;
        let left_out = Mutex::default();
        Ok(Self { place, ringpack, size, pairs, files, cores, depth, left_out })
    }

    /// The numbers of the pairs, each told as it begins.
    pub(crate) fn rounds<'a>(&'a self, job: &'a str) -> impl Iterator<Item = u32> + 'a {
        (1..=self.pairs).inspect(move |pair| eprintln!("{job}: pair {pair} of {}", self.pairs))
    }

    /// Whether a public tool is here; if not, says that what it is needed for is left out.
    pub(crate) fn has(&self, tool: &str) -> bool {
        let here = is_here(tool);
        if !here {
            self.leave_out(&format!("{tool} is not here"));
        }
        here
    }

    /// Says once that something is left out, and why.
    pub(crate) fn leave_out(&self, why: &str) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if left_out.insert(why.to_owned()) {
            eprintln!("left out: {why}");
        }
    }

    pub(crate) fn left_out(&self) -> Vec<String> {
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.iter().cloned().collect()
    }

    /// Runs ringpack, which reads the file `input` and writes `output`.
    pub(crate) fn ringpack(&self, args: &[&str], input: &str, output: &str) -> io::Result<Spent> {
        let mut args = args.to_vec();
        args.extend([input, "-o", output]);
        self.place.run(&[input], &[output], &self.ringpack, &args)
    }

    /// MiB a second, of the content.
    pub(crate) fn rate(&self, spent: Spent) -> f64 {
        self.size as f64 / spent.wall / f64::from(1 << 20)
    }

    /// Runs a public tool by a line for the shell, with the content, and takes the pair that it
    /// makes with `ours`.
    pub(crate) fn against(
        &self,
        outcome: &mut Outcome,
        ours: Spent,
        tool: &str,
        input: &str,
        line: &str,
    ) -> io::Result<()> {
        if self.has(tool) {
            let theirs = self.place.shell(&[input], &["other"], line)?;
            outcome.pair(self.rate(ours), self.rate(theirs));
        }
        Ok(())
    }
}
