//! io_uring: whether it is to be had, what forbids it, and what of it is missing.

use std::io;

use super::Finding;
use super::folder::Trial;
use crate::buffer::Pool;
use crate::limits::{self, ALIGN, BUFFERS_PER_SIDE_MIN, EXTENT_RAW_BYTES};
use crate::ring::file::Disk;
use crate::ring::op::{FileSlot, Op, OpKind, Span};
use crate::ring::os::OsDisk;
use crate::ring::probe::{self, RingFlags};
use crate::ring::system::{self, Allowance, Gates, Limit};
use crate::ring::{Backend, BackendConfig, BackendKind, Files, Wait};

/// What going without io_uring costs.
const WITHOUT: &str = "packing goes on by pread and pwrite, one operation at a time on each core: \
                       the same bytes, slower where the device is what is waited for";

/// The kernel's version, and what surrounds it.
pub(super) fn kernel() -> Vec<Finding> {
    let gates = Gates::read();
    let surroundings = match &gates.container {
        Some(sign) => format!("in {sign}"),
        None => "no sign of a container".to_owned(),
    };
    vec![version(system::release().as_deref()), Finding::ok("container", surroundings)]
}

/// What a ring of the engine's own can do here, tried on the trial's file where there is one.
pub(super) fn ring(trial: &Trial<'_>) -> Vec<Finding> {
    let flags = match probe::granted() {
        Ok(flags) => flags,
        Err(error) => return vec![refused(error, &Gates::read(), system::release().as_deref())],
    };
    let count = limits::buffers_per_side(EXTENT_RAW_BYTES, u64::MAX).max(BUFFERS_PER_SIDE_MIN);
    let mut pool = Pool::new(2 * count, EXTENT_RAW_BYTES as usize, 0);
    // One that a job wouldn't give to a ring says nothing of the ring.
    let files: Files = trial.file().filter(|file| file.suits_ring()).into_iter().cloned().collect();
    let has_file = !files.is_empty();
    let mut backend = {
        let mut buffers: Vec<_> = pool.iter().collect();
        buffers.sort_by_key(|buffer| buffer.id());
        match OsDisk.backend(BackendKind::Uring, BackendConfig { files, buffers }) {
            Ok(backend) => backend,
            Err(error) => {
                return vec![refused(error, &Gates::read(), system::release().as_deref())];
            }
        }
    };
    if has_file && let Err(error) = there_and_back(&mut *backend, &mut pool) {
        let remedy = "look for a seccomp filter that lets rings be set up and not used, and see \
                      the findings on the folder";
        let found = format!("a ring is set up, but does not write and read: {error}");
        return vec![Finding::warning("io_uring", found, WITHOUT, remedy)];
    }
    let tier = backend.tier();
    vec![
        Finding::ok("io_uring", "allowed, and used"),
        features(flags, has_file && !tier.registered_files, flags.restricted && !tier.restricted),
        operations(),
        locked_memory(tier.registered_buffers, 2 * count),
    ]
}

/// Writes a buffer by the ring, and reads it back into another.
fn there_and_back(backend: &mut dyn Backend, pool: &mut Pool) -> io::Result<()> {
    let mut run = |kind, fill| {
        let mut buffer = pool.lease().expect("a buffer that nobody has");
        buffer[..ALIGN].fill(fill);
        let spans = vec![Span::exact(0, 0, ALIGN)];
        backend.submit(Op { kind, file: FileSlot(0), spans, buffer, tag: 0 });
        let mut done = Vec::new();
        backend.turn(Wait::ForOne, &mut done)?;
        let completed = done.pop().ok_or(io::ErrorKind::TimedOut)?;
        completed.result.map_err(|(_, failure)| io::Error::other(format!("{failure:?}")))?;
        let first = completed.buffer[0];
        pool.give_back(completed.buffer);
        io::Result::Ok(first)
    };
    run(OpKind::Write, 0xA5)?;
    match run(OpKind::Read, 0)? {
        0xA5 => Ok(()),
        _ => Err(io::Error::other("what is read back isn't what was written")),
    }
}

fn version(release: Option<&str>) -> Finding {
    const SUBJECT: &str = "kernel";
    let Some(release) = release else {
        return Finding::ok(SUBJECT, "its version isn't told");
    };
    let found = format!("Linux {release}");
    let remedy = "a kernel of 6.1 or later";
    match system::version(release) {
        Some(version) if version < (5, 1) => {
            Finding::warning(SUBJECT, found, "it has no io_uring", remedy)
        }
        Some(version) if version < (5, 6) => {
            let cost = "its io_uring lacks the operations that are needed";
            Finding::warning(SUBJECT, found, cost, remedy)
        }
        Some(version) if version < (6, 1) => {
            let cost = "completions interrupt the cores that encode; and whether a file system \
                        serves direct I/O can't be asked, so files go through the page cache";
            Finding::warning(SUBJECT, found, cost, remedy)
        }
        _ => Finding::ok(SUBJECT, found),
    }
}

/// Why io_uring is refused, as far as the system tells.
fn refused(error: io::Error, gates: &Gates, release: Option<&str>) -> Finding {
    let (why, remedy) = reason(error.raw_os_error(), gates, release);
    Finding::warning("io_uring", format!("refused ({error}): {why}"), WITHOUT, remedy)
}

fn reason(errno: Option<i32>, gates: &Gates, release: Option<&str>) -> (String, String) {
    let filter_remedy = match &gates.container {
        Some(sign) => format!(
            "{sign}: give it a seccomp profile that allows io_uring_setup, io_uring_enter and \
             io_uring_register (docker and podman: --security-opt seccomp=PROFILE.json)"
        ),
        None => {
            "allow io_uring_setup, io_uring_enter and io_uring_register in that filter (a unit \
                 of systemd: SystemCallFilter=@system-service has them)"
                .to_owned()
        }
    };
    match errno {
        Some(libc::EPERM) if gates.disabled == Some(2) => (
            "kernel.io_uring_disabled is 2, for nobody".to_owned(),
            "sysctl kernel.io_uring_disabled=0, as root on the host".to_owned(),
        ),
        Some(libc::EPERM) if gates.disabled == Some(1) && !gates.admin && !gates.in_group => {
            let (group, remedy) = match gates.group {
                Some(group) => {
                    (format!("the group {group}"), format!("put this user into group {group}"))
                }
                None => (
                    "no group (kernel.io_uring_group)".to_owned(),
                    "as root on the host, sysctl kernel.io_uring_group=GID with a group of this \
                     user's"
                        .to_owned(),
                ),
            };
            let why = format!("kernel.io_uring_disabled is 1, for administrators and {group}");
            (why, format!("{remedy}, or sysctl kernel.io_uring_disabled=0"))
        }
        Some(libc::EPERM) if gates.filtered == Some(true) => {
            ("a seccomp filter forbids it".to_owned(), filter_remedy)
        }
        Some(libc::ENOSYS) => {
            let has_it = release.and_then(system::version).is_none_or(|found| found >= (5, 1));
            if has_it && gates.filtered == Some(true) {
                ("a seccomp filter hides it".to_owned(), filter_remedy)
            } else if has_it {
                let why = "this kernel was built without it".to_owned();
                (why, "a kernel with CONFIG_IO_URING=y".to_owned())
            } else {
                let why = "this kernel is older than io_uring".to_owned();
                (why, "a kernel of 6.1 or later".to_owned())
            }
        }
        Some(libc::EPERM | libc::EACCES) => (
            "neither kernel.io_uring_disabled nor a seccomp filter of this process says why; a \
             security module may (SELinux, AppArmor)"
                .to_owned(),
            "look for the denial with ausearch -m avc or in dmesg, and allow io_uring there"
                .to_owned(),
        ),
        Some(libc::ENOMEM) => (
            "there is no locked memory left for a ring".to_owned(),
            raise_locked_memory(2 * limits::BUFFER_BYTES_PER_SIDE),
        ),
        Some(libc::EMFILE | libc::ENFILE) => (
            "no descriptor is left for a ring".to_owned(),
            "raise the limit on open files (ulimit -n, LimitNOFILE=)".to_owned(),
        ),
        Some(libc::EINVAL) => (
            "no set-up that this program knows is granted".to_owned(),
            "a kernel of 6.1 or later".to_owned(),
        ),
        _ => (
            "the system doesn't say why".to_owned(),
            "look for what was denied in dmesg".to_owned(),
        ),
    }
}

fn features(flags: RingFlags, files_refused: bool, restrictions_refused: bool) -> Finding {
    const SUBJECT: &str = "ring features";
    let mut lacking = Vec::new();
    for (granted, name) in [
        (flags.defer_taskrun, "deferred completions (Linux 6.1)"),
        (flags.single_issuer, "a single issuer (Linux 6.0)"),
        (flags.submit_all, "whole batches (Linux 5.18)"),
        (flags.restricted && !restrictions_refused, "restrictions (Linux 5.10)"),
        (!files_refused, "registered files"),
    ] {
        if !granted {
            lacking.push(name);
        }
    }
    if lacking.is_empty() {
        let indirection = if flags.no_sqarray { "" } else { ", but for NO_SQARRAY (Linux 6.6)" };
        return Finding::ok(SUBJECT, format!("all that are used{indirection}"));
    }
    let cost = "more processor time an operation; without restrictions, a ring that could be asked \
                for more than reads and writes";
    Finding::warning(SUBJECT, format!("without {}", lacking.join(", ")), cost, "a later kernel")
}

fn operations() -> Finding {
    const SUBJECT: &str = "operations";
    match probe::missing_operations() {
        Ok(missing) if missing.is_empty() => Finding::ok(SUBJECT, "all that are used"),
        Ok(missing) => {
            let found = format!("without {}", missing.join(", "));
            Finding::warning(
                SUBJECT,
                found,
                "jobs fail unless told to do without io_uring",
                "a later kernel",
            )
        }
        Err(error) => {
            let found = format!("can't be asked: {error}");
            Finding::warning(SUBJECT, found, "none known", "try again with less running")
        }
    }
}

/// How many of a core's buffers were registered, and whether those of all cores can be.
fn locked_memory(registered: usize, wanted: usize) -> Finding {
    let cores = super::process::threads(&Allowance::read()) as u64;
    let needed = cores * 2 * limits::BUFFER_BYTES_PER_SIDE;
    let limit = Limit::LockedMemory.in_force().filter(|_| !system::may_lock_all());
    registration(registered, wanted, cores, needed, limit)
}

fn registration(
    registered: usize,
    wanted: usize,
    cores: u64,
    needed: u64,
    limit: Option<u64>,
) -> Finding {
    const SUBJECT: &str = "locked memory";
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let allowed = match limit {
        Some(limit) => format!("{} MiB allowed", limit >> 20),
        None => "no limit".to_owned(),
    };
    let need = format!("{} MiB needed for buffers of {cores} cores", mib(needed));
    if registered == wanted && limit.is_none_or(|limit| limit >= needed) {
        return Finding::ok(SUBJECT, format!("{allowed}, {need}"));
    }
    let found = format!("{allowed}, {need}; of one core's {wanted}, {registered} are registered");
    let cost = "the kernel pins the pages of the others anew for each operation: more processor \
                time to submit it";
    Finding::warning(SUBJECT, found, cost, raise_locked_memory(needed))
}

fn raise_locked_memory(needed: u64) -> String {
    let needed = needed + (8 << 20);
    format!(
        "raise the limit to {} MiB or more: LimitMEMLOCK={}M in a unit of systemd, `* - memlock {}` \
         in /etc/security/limits.conf, docker run --ulimit memlock={needed}",
        needed >> 20,
        needed >> 20,
        needed >> 10,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn gates() -> Gates {
        Gates { disabled: Some(0), filtered: Some(false), ..Gates::default() }
    }

    #[test]
    fn each_refusal_is_told_from_the_others() {
        let docker = Some("Docker (/.dockerenv)".to_owned());
        let new = Some("6.8.0");
        let table = [
            (libc::EPERM, Gates { disabled: Some(2), ..gates() }, new, "is 2", "disabled=0"),
            (
                libc::EPERM,
                Gates { disabled: Some(1), ..gates() },
                new,
                "no group",
                "io_uring_group",
            ),
            (
                libc::EPERM,
                Gates { disabled: Some(1), group: Some(77), ..gates() },
                new,
                "the group 77",
                "into group 77",
            ),
            (
                libc::EPERM,
                Gates { filtered: Some(true), ..gates() },
                new,
                "seccomp filter forbids",
                "SystemCallFilter=",
            ),
            (
                libc::EPERM,
                Gates { filtered: Some(true), container: docker, ..gates() },
                new,
                "seccomp filter forbids",
                "Docker (/.dockerenv): give it a seccomp profile",
            ),
            // In the group that may: then it is the filter.
            (
                libc::EPERM,
                Gates {
                    disabled: Some(1),
                    group: Some(7),
                    in_group: true,
                    filtered: Some(true),
                    ..gates()
                },
                new,
                "seccomp filter forbids",
                "io_uring_setup",
            ),
            (libc::EPERM, gates(), new, "security module", "ausearch"),
            (libc::EACCES, gates(), new, "security module", "ausearch"),
            (libc::ENOSYS, gates(), new, "built without", "CONFIG_IO_URING"),
            (libc::ENOSYS, gates(), Some("4.19.0-26"), "older than io_uring", "6.1 or later"),
            (
                libc::ENOSYS,
                Gates { filtered: Some(true), ..gates() },
                new,
                "seccomp filter hides",
                "io_uring_setup",
            ),
            (libc::ENOMEM, gates(), new, "locked memory", "LimitMEMLOCK="),
            (libc::EMFILE, gates(), new, "descriptor", "LimitNOFILE="),
            (libc::EINVAL, gates(), new, "no set-up", "6.1 or later"),
            (libc::EIO, gates(), new, "doesn't say", "dmesg"),
        ];
        for (errno, gates, release, why, remedy) in table {
            let error = io::Error::from_raw_os_error(errno);
            let finding = refused(error, &gates, release);
            assert_eq!(finding.state, State::Warning);
            assert!(finding.found.contains(why), "{why}: {}", finding.found);
            let found = finding.remedy.unwrap();
            assert!(found.contains(remedy), "{remedy}: {found}");
        }
    }

    #[test]
    fn kernels_are_judged_by_what_they_lack() {
        for (release, state) in [
            (Some("6.18.44"), State::Ok),
            (Some("6.1.0-31-amd64"), State::Ok),
            (Some("5.15.0"), State::Warning),
            (Some("5.4.0"), State::Warning),
            (Some("4.19.0"), State::Warning),
            (None, State::Ok),
        ] {
            assert_eq!(version(release).state, state, "{release:?}");
        }
    }

    #[test]
    fn each_feature_that_is_not_granted_is_named() {
        let best = probe::LADDER[0];
        assert_eq!(features(best, false, false).state, State::Ok);
        assert_eq!(features(probe::LADDER[1], false, false).state, State::Ok);
        for (flags, files, restrictions, named) in [
            (probe::LADDER[2], false, false, "deferred"),
            (probe::LADDER[3], false, false, "single issuer"),
            (probe::LADDER[5], false, false, "restrictions"),
            (best, true, false, "registered files"),
            (best, false, true, "restrictions"),
        ] {
            let finding = features(flags, files, restrictions);
            assert_eq!(finding.state, State::Warning);
            assert!(finding.found.contains(named), "{named}: {}", finding.found);
        }
    }

    #[test]
    fn locked_memory_is_judged_for_all_cores() {
        const MIB: u64 = 1 << 20;
        let state = |registered, limit| registration(registered, 6, 4, 96 * MIB, limit).state;
        assert_eq!(state(6, None), State::Ok);
        assert_eq!(state(6, Some(96 * MIB)), State::Ok);
        assert_eq!(state(6, Some(64 * MIB)), State::Warning);
        assert_eq!(state(3, None), State::Warning);
    }
}
