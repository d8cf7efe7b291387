//! A container's archive compared with a directory: `verify --against DIR` and `pack DIR --check`.
//!
//! One thread goes through the members and cuts them into batches; the others compare these, each
//! by readers of its own. A long file is compared in parts.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ringpack::members::Member;
use ringpack::pipeline::Schedule;
use ringpack::read::Container;
use ringpack::{Cancel, Error, ErrorKind, Progress, Result, limits};

use super::archive::{each_member, entry, reader};
use crate::tree::compare::{Comparison, Differences, Files, Rules};

/// Bytes of files in a batch, and of a part of a file.
const BATCH_BYTES: u64 = 8 << 20;
/// Most members of a batch.
const BATCH_MEMBERS: usize = 512;

/// A member, and which of its bytes are compared; all else of it is with the first of them.
struct Part(Member, Range<u64>);

/// What a comparison runs by.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Threads that compare; as many as the process has cores where `None`.
    pub(super) threads: Option<usize>,
    /// Whether a missing member index isn't worth a warning.
    pub(super) quiet: bool,
    pub(super) cancel: Cancel,
    pub(super) progress: Progress,
}

/// Compares the archive with the directory.
///
/// # Errors
/// `Input` where the content is no archive or a file can't be read, `InputChanged` where one
/// changed meanwhile, and what keeps the container from being read.
pub(super) fn compare(container: &Container, rules: Rules, run: &Run) -> Result<Differences> {
    let comparison = Comparison::new(rules);
    // Nothing is begun where there is no such directory.
    drop(Files::of(&comparison)?);
    let core_bytes = limits::core_bytes(container.geometry().chunk_log2);
    let threads = Schedule::threads(run.threads, core_bytes)?.workers();
    let failed = AtomicBool::new(false);
    let serve = |batches: Arc<Mutex<Receiver<Vec<Part>>>>| {
        let served = serve(container, &comparison, &batches, &failed, run);
        served.inspect_err(|_| failed.store(true, Relaxed))
    };
    thread::scope(|scope| {
        let (queue, batches) = sync_channel(2 * threads);
        let batches = Arc::new(Mutex::new(batches));
        let mut workers = Vec::new();
        for number in 0..threads {
            let (batches, serve) = (Arc::clone(&batches), &serve);
            let thread = thread::Builder::new().name(format!("ringpack-compare-{number}"));
            let started = thread.spawn_scoped(scope, move || serve(batches));
            match started {
                Ok(worker) => workers.push(worker),
                Err(_) if number > 0 => break,
                Err(error) => {
                    let what = "cannot start a thread";
                    return Err(Error::from_io(ErrorKind::Output, what, error));
                }
            }
        }
        // Once no worker is left, nobody can be sent anything.
        drop(batches);
        let mut batch = Batch::default();
        let sent = each_member(container, run.quiet, &run.cancel, &mut |member| {
            comparison.note(member);
            batch.add(member.clone(), &mut |parts| queue.send(parts).map_err(|_| stopped()))
        });
        let sent = sent.and_then(|()| queue.send(batch.parts).map_err(|_| stopped()));
        drop(queue);
        let mut result = Ok(());
        for worker in workers {
            let served = worker.join().unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Internal, "a thread of the comparison panicked"))
            });
            result = result.and(served);
        }
        result.and(sent)
    })?;
    let differences = comparison.end()?;
    // What isn't of files: headers, and what fills up the archive's last record.
    let through = run.progress.look().content_bytes;
    run.progress.extent(container.header().content_size.saturating_sub(through), 0);
    Ok(differences)
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "the job was cancelled")
}

fn serve(
    container: &Container,
    comparison: &Comparison,
    batches: &Mutex<Receiver<Vec<Part>>>,
    failed: &AtomicBool,
    run: &Run,
) -> Result<()> {
    let mut archive = reader(container, run.progress.clone())?;
    let mut files = Files::of(comparison)?;
    loop {
        let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return Ok(()) };
        for Part(member, range) in batch {
            if run.cancel.is_cancelled() {
                return Err(stopped());
            }
            if failed.load(Relaxed) {
                return Ok(());
            }
            let found = entry(container, &mut archive, &member)?;
            let compared = files.compare(&found, range.clone(), &mut archive);
            compared.map_err(|error| container.named(error))?;
            let stored = (range.end - range.start).min(member.stored);
            run.progress.extent(stored, 0);
        }
    }
}

/// Members that are compared together.
#[derive(Default)]
struct Batch {
    parts: Vec<Part>,
    bytes: u64,
}

impl Batch {
    /// Adds a member; batches that are full go to `sink`.
    fn add(&mut self, member: Member, sink: &mut dyn FnMut(Vec<Part>) -> Result<()>) -> Result<()> {
        let mut from = 0;
        loop {
            let end = member.size.min(from + BATCH_BYTES);
            self.bytes += end - from;
            self.parts.push(Part(member.clone(), from..end));
            if self.bytes >= BATCH_BYTES || self.parts.len() == BATCH_MEMBERS {
                self.bytes = 0;
                sink(std::mem::take(&mut self.parts))?;
            }
            if end == member.size {
                return Ok(());
            }
            from = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use ringpack::members::MemberKind;

    use super::*;

    #[test]
    fn batches_hold_every_byte_once() {
        let (path, link) = (b"a".to_vec(), Vec::new());
        let kind = MemberKind::Regular;
        let (mode, uid, gid, mtime, mtime_ns) = (0, 0, 0, 0, 0);
        let (stored, header_offset, data_offset) = (0, 0, 0);
        let of_size = |size| Member {
            kind,
            path: path.clone(),
            link: link.clone(),
            mode,
            uid,
            gid,
            mtime,
            mtime_ns,
            size,
            stored,
            header_offset,
            data_offset,
        };
        for size in [0, 1, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, 5 * BATCH_BYTES + 7] {
            let (mut batch, mut parts) = (Batch::default(), Vec::new());
            let mut sink = |full: Vec<Part>| {
                parts.extend(full);
                Ok(())
            };
            batch.add(of_size(3), &mut sink).unwrap();
            batch.add(of_size(size), &mut sink).unwrap();
            parts.extend(batch.parts);
            let mut end = 0;
            for Part(_, range) in &parts[1..] {
                assert_eq!(range.start, end);
                assert!(range.end - range.start <= BATCH_BYTES);
                end = range.end;
            }
            assert_eq!(end, size);
        }
    }
}
