//! What a job counted, for reports and for regression tests that can't trust a clock.

use std::ops::AddAssign;

/// Counts of one backend, or the sum over several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RingCounters {
    /// System calls that submitted or waited.
    pub enters: u64,
    /// Of these, calls that handed over at least one operation.
    pub batches: u64,
    /// Operations handed over, resubmissions included.
    pub submitted: u64,
    /// Largest number of operations handed over by one call.
    pub batch_max: u64,
    /// Answers taken.
    pub completed: u64,
    /// Operations asked for again: short transfers, `EINTR`, `EAGAIN`.
    pub resubmitted: u64,
    /// Most operations in flight at once.
    pub in_flight_max: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl AddAssign for RingCounters {
    fn add_assign(&mut self, other: Self) {
        self.enters += other.enters;
        self.batches += other.batches;
        self.submitted += other.submitted;
        self.batch_max = self.batch_max.max(other.batch_max);
        self.completed += other.completed;
        self.resubmitted += other.resubmitted;
        self.in_flight_max = self.in_flight_max.max(other.in_flight_max);
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
    }
}
