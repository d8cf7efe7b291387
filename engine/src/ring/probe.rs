//! The set-up ladder: which ring flags to ask for, best first.
//!
//! Kernels refuse a flag they don't know with `EINVAL`, without saying which. So the ring is set up
//! with the flags it will run with, and one step is given up at a time, newest feature first. A
//! refusal of io_uring as such (`EPERM` from seccomp or `kernel.io_uring_disabled`, `ENOSYS` from
//! an old kernel) is no step of the ladder: it is for the caller to take another backend.

use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Flags of one step of the ladder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingFlags {
    /// `IORING_SETUP_NO_SQARRAY`, Linux 6.6: one indirection less a submission.
    pub no_sqarray: bool,
    /// `IORING_SETUP_DEFER_TASKRUN`, Linux 6.1: completions run in the worker's own turn.
    pub defer_taskrun: bool,
    /// `IORING_SETUP_SINGLE_ISSUER`, Linux 6.0; `DEFER_TASKRUN` asks for it.
    pub single_issuer: bool,
    /// `IORING_SETUP_SUBMIT_ALL`, Linux 5.18: one refused operation doesn't hold up its batch.
    pub submit_all: bool,
    /// `IORING_SETUP_R_DISABLED`, Linux 5.10: lets restrictions be registered first.
    pub restricted: bool,
}

/// The ladder, best step first. The last works on any kernel that has io_uring.
pub const LADDER: [RingFlags; 6] = {
    let all = RingFlags {
        no_sqarray: true,
        defer_taskrun: true,
        single_issuer: true,
        submit_all: true,
        restricted: true,
    };
    let linux_6_1 = RingFlags { no_sqarray: false, ..all };
    let linux_6_0 = RingFlags { defer_taskrun: false, ..linux_6_1 };
    let linux_5_18 = RingFlags { single_issuer: false, ..linux_6_0 };
    let linux_5_10 = RingFlags { submit_all: false, ..linux_5_18 };
    [
        all,
        linux_6_1,
        linux_6_0,
        linux_5_18,
        linux_5_10,
        RingFlags { restricted: false, ..linux_5_10 },
    ]
};

/// Whether an error at set-up means that io_uring is not to be had at all: not built in, switched
/// off, forbidden by a container, or refused for want of locked memory.
#[must_use]
pub fn is_refusal(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::EPERM | libc::ENOSYS | libc::EACCES | libc::ENOMEM | libc::EINVAL))
}

/// The step of the ladder that is granted here.
///
/// # Errors
/// As `io_uring_setup`: see [`is_refusal`].
pub fn granted() -> io::Result<RingFlags> {
    Ok(super::uring::set_up(1)?.1)
}

/// The operations that a worker needs and this kernel's io_uring lacks. None of them are known to
/// be missing where the kernel can't be asked (before Linux 5.6).
///
/// # Errors
/// As `io_uring_setup`.
pub fn missing_operations() -> io::Result<Vec<&'static str>> {
    let ring = IoUring::new(1)?;
    let mut probe = Probe::new();
    if ring.submitter().register_probe(&mut probe).is_err() {
        return Ok(Vec::new());
    }
    let needed = [
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("READ_FIXED", opcode::ReadFixed::CODE),
        ("WRITE_FIXED", opcode::WriteFixed::CODE),
    ];
    let missing = needed.into_iter().filter(|&(_, code)| !probe.is_supported(code));
    Ok(missing.map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_gives_up_exactly_one_flag() {
        let count = |flags: &RingFlags| {
            [
                flags.no_sqarray,
                flags.defer_taskrun,
                flags.single_issuer,
                flags.submit_all,
                flags.restricted,
            ]
            .iter()
            .filter(|&&set| set)
            .count()
        };
        let counts: Vec<_> = LADDER.iter().map(count).collect();
        assert_eq!(counts, [5, 4, 3, 2, 1, 0]);
    }
}
