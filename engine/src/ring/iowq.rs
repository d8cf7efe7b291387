//! How many threads the kernel started to carry out what it couldn't do asynchronously.
//!
//! Direct I/O into allocated space needs none. More than none in direct mode means that operations
//! block in the kernel, one thread each: an alarm. Such a thread is called `iou-wrk-N`, N being the
//! thread whose ring it serves. Finding them means reading the name of every thread of the process,
//! so nothing is read while no operation of the job is in flight on a ring.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::unistd::gettid;

/// The inode of the first PID namespace (`PROC_PID_INIT_INO`). The kernel names its workers by the
/// numbers of that namespace.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The threads of one job that drive a ring.
#[derive(Debug, Default)]
pub struct RingThreads {
    rings: Mutex<Vec<RingThread>>,
    /// Threads of the process that are no workers of these rings.
    others: Mutex<HashSet<i32>>,
}

#[derive(Debug)]
struct RingThread {
    id: i32,
    in_flight: Arc<AtomicBool>,
}

impl RingThreads {
    /// Adds the calling thread. `in_flight` says whether its ring has operations in flight.
    pub fn add(&self, in_flight: Arc<AtomicBool>) {
        let thread = RingThread { id: gettid().as_raw(), in_flight };
        self.rings.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    /// Kernel worker threads of these rings at this moment.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        if !rings.iter().any(|ring| ring.in_flight.load(Relaxed)) {
            return 0;
        }
        let Ok(tasks) = fs::read_dir("/proc/self/task") else {
            return 0;
        };
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let is_worker = |id: i32| {
            let serves = |number| !has_numbers() || rings.iter().any(|ring| ring.id == number);
            served_by(id).is_some_and(serves)
        };
        let mut count = 0;
        for id in tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()) {
            // A name is read once, unless it is a worker's.
            if !others.contains(&id) && is_worker(id) {
                count += 1;
            } else {
                others.insert(id);
            }
        }
        count
    }
}

/// Whether the numbers in workers' names are this process's own. In another namespace they say
/// nothing, and every worker counts.
fn has_numbers() -> bool {
    static FIRST: OnceLock<bool> = OnceLock::new();
    let is_first =
        || fs::read_link("/proc/self/ns/pid").is_ok_and(|at| at == Path::new(FIRST_PID_NAMESPACE));
    *FIRST.get_or_init(is_first)
}

/// The thread whose ring a kernel worker serves; `None` for any other thread.
fn served_by(id: i32) -> Option<i32> {
    // TASK_COMM_LEN of linux/sched.h, and a line's end.
    let mut name = [0; 17];
    let mut comm = File::open(format!("/proc/self/task/{id}/comm")).ok()?;
    let len = comm.read(&mut name).ok()?;
    let number = name[..len].strip_prefix(b"iou-wrk-")?;
    str::from_utf8(number).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// Threads called as the kernel's workers are, one for each of `served`, while `look` runs.
    fn with_workers<T>(served: &[i32], look: impl FnOnce() -> T) -> T {
        let (started, all_started) = channel();
        let (ended, end) = channel::<()>();
        let end = Mutex::new(end);
        std::thread::scope(|scope| {
            for thread in served {
                let builder = std::thread::Builder::new().name(format!("iou-wrk-{thread}"));
                let (started, end) = (started.clone(), &end);
                let work = move || {
                    started.send(()).unwrap();
                    let _ = end.lock().unwrap().recv();
                };
                builder.spawn_scoped(scope, work).unwrap();
            }
            served.iter().for_each(|_| all_started.recv().unwrap());
            let seen = look();
            drop(ended);
            seen
        })
    }

    #[test]
    fn workers_of_the_job_s_own_rings_count_while_something_is_in_flight() {
        let own = gettid().as_raw();
        let (first, second) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let busy = RingThreads::default();
        busy.add(Arc::clone(&first));
        let idle = RingThreads::default();
        idle.add(Arc::clone(&second));
        let none = RingThreads::default();
        // No thread has the number 0, so the second worker is nobody's here.
        let seen = with_workers(&[own, 0], || {
            [busy.worker_count(), idle.worker_count(), none.worker_count()]
        });
        assert_eq!(seen, [if has_numbers() { 1 } else { 2 }, 0, 0]);
        first.store(false, Relaxed);
        assert_eq!(with_workers(&[own], || busy.worker_count()), 0);
    }
}
