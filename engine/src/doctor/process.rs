//! What this process may have: descriptors, lengths of files, and processors.

use super::Finding;
use crate::ring::affinity;
use crate::ring::system::{self, Limit};

/// Descriptors that a job needs whatever its threads: files, folder, journal, standard streams.
const FILES: u64 = 16;

/// Descriptors that each of its threads needs.
const FILES_A_THREAD: u64 = 2;

pub(super) fn limits() -> Vec<Finding> {
    let allowed = affinity::allowed_cores().len();
    vec![
        open_files(Limit::OpenFiles.in_force(), allowed),
        file_length(Limit::FileLength.in_force()),
        cores(allowed, system::cores_online(), system::cpu_quota()),
    ]
}

fn open_files(limit: Option<u64>, cores: usize) -> Finding {
    const SUBJECT: &str = "open files";
    let needed = FILES + FILES_A_THREAD * cores as u64;
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

fn cores(allowed: usize, online: Option<usize>, quota: Option<f64>) -> Finding {
    const SUBJECT: &str = "cores";
    let allowed = allowed.max(1);
    let mut found = match online {
        Some(online) if online > allowed => format!("{allowed} of {online} may be used"),
        _ => format!("{allowed}"),
    };
    let Some(quota) = quota else {
        return Finding::ok(SUBJECT, found);
    };
    found += &format!(", for {quota:.2} cores' worth of time");
    if quota >= allowed as f64 {
        return Finding::ok(SUBJECT, found);
    }
    let cost = "a thread a core is more than the control group lets run: all of them are stopped \
                for the rest of each period";
    let threads = (quota as usize).max(1);
    let remedy =
        format!("use no more threads than {threads}, or raise CPUQuota= (docker run --cpus)");
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
    fn a_quota_below_the_cores_names_the_threads_to_use() {
        assert_eq!(cores(4, Some(4), None).state, State::Ok);
        assert_eq!(cores(4, Some(4), Some(4.0)).state, State::Ok);
        for (quota, threads) in [(0.5, "than 1,"), (1.5, "than 1,"), (3.0, "than 3,")] {
            let finding = cores(4, Some(8), Some(quota));
            assert_eq!(finding.state, State::Warning);
            assert!(finding.remedy.unwrap().contains(threads), "{quota}");
            assert!(finding.found.starts_with("4 of 8"));
        }
    }
}
