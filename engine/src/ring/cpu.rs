//! Processor time, for those who measure.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// User and system time that all threads of this process have used. Nothing where the system
/// doesn't say.
#[must_use]
pub fn used() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    micros(user) + micros(system)
}

#[cfg(test)]
mod tests {
    #[test]
    fn work_takes_processor_time() {
        let before = super::used();
        let mut sum = 0u64;
        while super::used() - before < std::time::Duration::from_millis(2) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
