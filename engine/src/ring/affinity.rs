//! Which cores the process may run on, and binding a thread to one of them.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The cores that the calling thread may run on, in ascending order. Empty where the system doesn't
/// say.
#[must_use]
pub fn allowed_cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

/// Binds the calling thread to `core`. Best effort: a container may forbid it, and the job runs
/// without.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    if set.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_is_allowed_its_core_alone() {
        let allowed = allowed_cores();
        let Some(&core) = allowed.last() else { panic!("the kernel names the allowed cores") };
        std::thread::spawn(move || {
            pin(core);
            assert_eq!(allowed_cores(), [core]);
        })
        .join()
        .unwrap();
    }
}
