//! What this process may have: descriptors, lengths of files, and processors.

use super::Finding;
use crate::codec::Codec;
use crate::limits;
use crate::ring::system::{self, Allowance, Limit};

/// Descriptors that a job needs whatever its threads: files, folder, journal, standard streams.
const FILES: u64 = 16;

/// Descriptors that each of its threads needs.
const FILES_A_THREAD: u64 = 2;

pub(super) fn limits() -> Vec<Finding> {
    let allowance = Allowance::read();
    vec![
        open_files(Limit::OpenFiles.in_force(), threads(&allowance)),
        file_length(Limit::FileLength.in_force()),
        cores(&allowance, system::cores_online()),
    ]
}

/// Threads of a job with the default options.
pub(super) fn threads(allowance: &Allowance) -> usize {
    allowance.threads(limits::core_bytes(Codec::Zstd(limits::LEVEL_DEFAULT).chunk_log2()))
}

fn open_files(limit: Option<u64>, threads: usize) -> Finding {
    const SUBJECT: &str = "open files";
    let needed = FILES + FILES_A_THREAD * threads as u64;
    let found = match limit {
        Some(limit) => format!("{limit} allowed, about {needed} needed"),
        None => format!("no limit, about {needed} needed"),
    };
    if limit.is_none_or(|limit| limit >= needed) {
        return Finding::ok(SUBJECT, found);
    }
    let cost = "jobs of a thread a core may end with `Too many open files`";
    let remedy = "raise the limit (ulimit -n, LimitNOFILE= in a unit of systemd), or use fewer \
                  threads";
    Finding::warning(SUBJECT, found, cost, remedy)
}

fn file_length(limit: Option<u64>) -> Finding {
    const SUBJECT: &str = "length of files";
    match limit {
        None => Finding::ok(SUBJECT, "no limit"),
        Some(limit) => {
            let cost = "a container, or what is unpacked, that outgrows it ends with `File too \
                        large`";
            let remedy = "lift the limit (ulimit -f unlimited, LimitFSIZE= in a unit of systemd)";
            Finding::warning(SUBJECT, format!("{limit} bytes allowed"), cost, remedy)
        }
    }
}

fn cores(allowance: &Allowance, online: Option<usize>) -> Finding {
    const SUBJECT: &str = "cores";
    let (allowed, threads) = (allowance.cores.max(1), threads(allowance));
    let mut found = match online {
        Some(online) if online > allowed => format!("{allowed} of {online} may be used"),
        _ => format!("{allowed}"),
    };
    if let Some(quota) = allowance.quota {
        found += &format!(", for {quota:.2} cores' worth of time");
    }
    if let Some(memory) = allowance.memory {
        found += &format!(", with {} MiB of memory", memory >> 20);
    }
    if threads == allowed {
        return Finding::ok(SUBJECT, found);
    }
    found += &format!("; the default is -T{threads}");
    let cost = "jobs take longer than on all cores";
    let remedy = "raise CPUQuota= and MemoryMax= of the unit (docker run --cpus, --memory)";
    Finding::warning(SUBJECT, found, cost, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn limits_are_judged_by_what_is_needed() {
        assert_eq!(open_files(None, 64).state, State::Ok);
        assert_eq!(open_files(Some(1024), 64).state, State::Ok);
        assert_eq!(open_files(Some(32), 64).state, State::Warning);
        assert_eq!(file_length(None).state, State::Ok);
        assert_eq!(file_length(Some(1 << 20)).state, State::Warning);
    }

    #[test]
    fn a_quota_or_memory_below_the_cores_names_the_threads_that_are_used() {
        let of = |quota, memory| cores(&Allowance { cores: 4, quota, memory }, Some(8));
        assert_eq!(of(None, None).state, State::Ok);
        assert_eq!(of(Some(4.0), Some(1 << 30)).state, State::Ok);
        for (quota, memory, threads) in [
            (Some(0.5), None, "default is -T1"),
            (Some(1.5), None, "default is -T2"),
            (Some(3.0), Some(1 << 30), "default is -T3"),
            (None, Some(256 << 20), "default is -T2"),
        ] {
            let finding = of(quota, memory);
            assert_eq!(finding.state, State::Warning);
            assert!(finding.found.contains(threads), "{}", finding.found);
            assert!(finding.found.starts_with("4 of 8"));
        }
    }
}
