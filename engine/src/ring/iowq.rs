//! How many threads the kernel started to carry out what it couldn't do asynchronously.
//!
//! Direct I/O into allocated space needs none. More than none in direct mode means that operations
//! block in the kernel, one thread each: an alarm.

/// Kernel worker threads (`iou-wrk-…`) of this process at this moment.
#[must_use]
pub fn worker_count() -> usize {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read(thread.path().join("comm")).ok())
        .filter(|name| name.starts_with(b"iou-wrk"))
        .count()
}
