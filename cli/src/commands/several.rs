//! One command for several inputs: each by itself, and the exit code tells of the worst.
//!
//! A large input has all cores to itself. With a small one, most of the time goes to making it
//! durable, which is waiting: many of them run side by side, more than there are cores, so that the
//! file system commits what several wait for at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ringpack::pack::Codec;
use ringpack::pipeline::Schedule;
use ringpack::{Error, ErrorKind, limits};

use crate::exit::Failure;
use crate::job::{Jobs, Share};
use crate::names;
use crate::signals::Signals;

/// Longest input that is small, in bytes.
const SMALL_BYTES: u64 = 1 << 20;
/// Small ones at once for each core to use. Each has a chunk, a frame and a context of the codec in
/// memory, 4 MiB at level 3.
const AT_ONCE_PER_CORE: usize = 4;

/// Several inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Several<'a> {
    pub(crate) inputs: &'a [PathBuf],
    /// Where all of it goes, if a place was named.
    pub(crate) output: Option<&'a Path>,
    /// Whether each may be done at any time: nothing that they write is shared.
    pub(crate) are_apart: bool,
    /// Cores to use, all of them where `None`.
    pub(crate) threads: Option<usize>,
}

impl Several<'_> {
    /// Does `one` for each of the inputs. An error of one is said and the others go on, unless the
    /// program was told to stop; the code is the greatest.
    pub(crate) fn each(
        &self,
        signals: &Signals,
        jobs: &Jobs,
        one: impl Fn(&Path, Share) -> Result<(), Failure> + Sync,
    ) -> Result<ExitCode, Failure> {
        if let [input] = self.inputs {
            return one(input, Share::All).map(|()| ExitCode::SUCCESS);
        }
        if self.output.is_some_and(|output| !names::is_standard_output(output)) {
            let what = "several inputs can't have one output: leave --output (-o) out, and each \
                        has its own";
            return Err(Failure::Usage(what.to_owned()));
        }
        let worst = Mutex::new(0);
        let attempt = |input: &Path, share| {
            if signals.cancel().is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled").into());
            }
            match one(input, share) {
                Ok(()) => Ok(()),
                Err(failure) if failure.is_stopped() => Err(failure),
                Err(failure) => {
                    let code = failure.say(signals);
                    let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
                    *worst = code.max(*worst);
                    Ok(())
                }
            }
        };
        let mut rest = self.inputs;
        while let Some(first) = rest.first() {
            let small = rest.iter().take_while(|input| self.are_apart && is_small(input)).count();
            if small > 1 {
                self.side_by_side(&rest[..small], jobs, &|input| attempt(input, Share::Core))?;
                rest = &rest[small..];
            } else {
                attempt(first, Share::All)?;
                rest = &rest[1..];
            }
        }
        Ok(ExitCode::from(worst.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Does `one` for each, many at once.
    fn side_by_side(
        &self,
        inputs: &[PathBuf],
        jobs: &Jobs,
        one: &(dyn Fn(&Path) -> Result<(), Failure> + Sync),
    ) -> Result<(), Failure> {
        let chunk_log2 = Codec::Zstd(limits::LEVEL_DEFAULT).chunk_log2();
        let core_bytes = limits::core_bytes(chunk_log2);
        let cores = Schedule::threads(self.threads, core_bytes)?.workers();
        let lanes = cores.saturating_mul(AT_ONCE_PER_CORE).min(inputs.len());
        let batch = jobs.batch(inputs.len());
        let next = AtomicUsize::new(0);
        let lane = || {
            while let Some(input) = inputs.get(next.fetch_add(1, Relaxed)) {
                one(input)?;
                batch.one_through();
            }
            Ok(())
        };
        thread::scope(|scope| {
            // This thread is one of them, so that it goes on where no other can be started.
            let others: Vec<_> = (1..lanes)
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, lane).ok())
                .collect();
            let mut result = lane();
            for other in others {
                match other.join() {
                    Ok(found) => result = result.and(found),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            result
        })
    }
}

/// Whether it is one of those that run side by side.
fn is_small(input: &Path) -> bool {
    let found = (!names::is_standard_stream(input)).then(|| fs::metadata(input));
    found.is_some_and(|it| it.is_ok_and(|it| it.is_file() && it.len() <= SMALL_BYTES))
}
