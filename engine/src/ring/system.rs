//! What the system says of itself: the kernel, what it forbids, and what this process may have.
//!
//! Most of it is read from `/proc` and `/sys`, which a container may hide or show in part: what
//! isn't told is `None`, and never guessed.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::stat::Mode;

use super::affinity;

/// What decides over io_uring, apart from the kernel's version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gates {
    /// `kernel.io_uring_disabled`: 0 for all, 1 for a group and administrators, 2 for nobody.
    pub disabled: Option<i64>,
    /// `kernel.io_uring_group`, where it names a group.
    pub group: Option<u32>,
    /// Whether this process is in that group.
    pub in_group: bool,
    /// Whether a seccomp filter judges the system calls of this process.
    pub filtered: Option<bool>,
    /// Whether this process has `CAP_SYS_ADMIN`.
    pub admin: bool,
    /// Sign of a container, where there is one.
    pub container: Option<String>,
}

impl Gates {
    /// As they are for this process.
    #[must_use]
    pub fn read() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
        let group = number("/proc/sys/kernel/io_uring_group").and_then(|id| u32::try_from(id).ok());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let groups = status_field(&status, "Groups").unwrap_or_default();
        let mut ids: Vec<u32> =
            groups.split_whitespace().filter_map(|id| id.parse().ok()).collect();
        ids.push(nix::unistd::getegid().as_raw());
        Self {
            disabled: number("/proc/sys/kernel/io_uring_disabled"),
            group,
            in_group: group.is_some_and(|group| ids.contains(&group)),
            filtered: status_field(&status, "Seccomp").map(|mode| mode == "2"),
            admin: has_capability(&status, CAP_SYS_ADMIN),
            container: container(),
        }
    }
}

/// The kernel's release, as `uname -r` prints it.
#[must_use]
pub fn release() -> Option<String> {
    Some(nix::sys::utsname::uname().ok()?.release().to_str()?.to_owned())
}

/// The first two numbers of a release.
#[must_use]
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A limit of this process's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Memory that may be locked, in bytes.
    LockedMemory,
    /// Files that may be open.
    OpenFiles,
    /// Length of a file that may be written, in bytes.
    FileLength,
}

impl Limit {
    /// The limit in force; `None` where there is none.
    #[must_use]
    pub fn in_force(self) -> Option<u64> {
        let resource = match self {
            Self::LockedMemory => Resource::RLIMIT_MEMLOCK,
            Self::OpenFiles => Resource::RLIMIT_NOFILE,
            Self::FileLength => Resource::RLIMIT_FSIZE,
        };
        let (soft, _) = getrlimit(resource).unwrap_or((RLIM_INFINITY, RLIM_INFINITY));
        (soft != RLIM_INFINITY).then_some(soft)
    }
}

/// Whether the limit on locked memory doesn't count for this process (`CAP_IPC_LOCK`).
#[must_use]
pub fn may_lock_all() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    has_capability(&status, CAP_IPC_LOCK)
}

/// Processors' worth of time that the control groups of this process grant it; `None` where they
/// set no bound.
#[must_use]
pub fn cpu_quota() -> Option<f64> {
    Groups::read()?.cpu_quota()
}

/// Bytes of memory that the control groups of this process grant it; `None` where they set no
/// bound.
#[must_use]
pub fn memory_max() -> Option<u64> {
    Groups::read()?.memory_max()
}

/// The control groups of this process, of both generations.
struct Groups {
    /// As `/proc/self/cgroup` names them.
    table: String,
    /// Where their file systems are mounted.
    root: PathBuf,
}

impl Groups {
    fn read() -> Option<Self> {
        let table = fs::read_to_string("/proc/self/cgroup").ok()?;
        Some(Self { table, root: PathBuf::from("/sys/fs/cgroup") })
    }

    fn cpu_quota(&self) -> Option<f64> {
        let unified = |folder: &Path| quota(&text_of(folder, "cpu.max")?);
        let legacy = |folder: &Path| {
            let of = |name: &str| text_of(folder, name);
            quota(&(of("cpu.cfs_quota_us")? + " " + &of("cpu.cfs_period_us")?))
        };
        self.bounds("cpu", &unified, &legacy).into_iter().min_by(f64::total_cmp)
    }

    fn memory_max(&self) -> Option<u64> {
        /// The first generation has no word for the lack of a bound, but this and more.
        const BOUNDLESS: u64 = 1 << 60;
        let number = |folder: &Path, name: &str| text_of(folder, name)?.trim().parse::<u64>().ok();
        let unified = |folder: &Path| number(folder, "memory.max");
        let legacy = |folder: &Path| number(folder, "memory.limit_in_bytes");
        let bounds = self.bounds("memory", &unified, &legacy);
        bounds.into_iter().filter(|bound| *bound < BOUNDLESS).min()
    }

    /// The bounds that a controller sets in the process's own group and in those above it, as they
    /// are read from the folders of either generation.
    fn bounds<T>(
        &self,
        controller: &str,
        unified: &dyn Fn(&Path) -> Option<T>,
        legacy: &dyn Fn(&Path) -> Option<T>,
    ) -> Vec<T> {
        let mut bounds = Vec::new();
        for line in self.table.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
            let (bases, read) = match controllers {
                "" => ([self.root.clone(), self.root.join("unified")], unified),
                _ if controllers.split(',').any(|name| name == controller) => {
                    ([self.root.join(controllers), self.root.join(controller)], legacy)
                }
                _ => continue,
            };
            for base in bases {
                let deepest = base.join(group.trim_start_matches('/'));
                let folders = deepest.ancestors().take_while(|folder| folder.starts_with(&base));
                bounds.extend(folders.filter_map(read));
            }
        }
        bounds
    }
}

fn text_of(folder: &Path, name: &str) -> Option<String> {
    fs::read_to_string(folder.join(name)).ok()
}

/// What a job without a number of threads is given.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Allowance {
    /// Cores that the process may run on.
    pub cores: usize,
    /// As [`cpu_quota`].
    pub quota: Option<f64>,
    /// As [`memory_max`].
    pub memory: Option<u64>,
}

impl Allowance {
    /// As it is for this process.
    #[must_use]
    pub fn read() -> Self {
        let cores = affinity::allowed_cores().len();
        Self { cores, quota: cpu_quota(), memory: memory_max() }
    }

    /// Threads for a job that takes `core_bytes` of memory for each: one per core, but no more than
    /// the quota keeps running, nor than half of the memory holds. The rest is for the page cache
    /// and the program.
    #[must_use]
    pub fn threads(&self, core_bytes: u64) -> usize {
        let quota = self.quota.map_or(usize::MAX, |quota| quota.ceil() as usize);
        let memory = self.memory.map_or(u64::MAX, |memory| memory / 2 / core_bytes.max(1));
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        self.cores.min(quota).min(memory).max(1)
    }
}

/// Processors online, whether or not this process may run on them.
#[must_use]
pub fn cores_online() -> Option<usize> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
    };
    text.trim().split(',').map(count).sum()
}

/// Room on a file system for this user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes.
    pub bytes: u64,
    /// Files that can still be made; `None` where the file system has no such bound.
    pub files: Option<u64>,
}

/// Room on the file system that `folder` is on.
#[must_use]
pub fn space(folder: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    let files = (stat.f_files > 0).then_some(stat.f_favail);
    Some(Space { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), files })
}

/// What is mounted where a folder is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mounted {
    /// Kind of file system: `ext4`, `nfs4` …
    pub kind: String,
    /// What it is on: a device, a server's export …
    pub source: String,
}

/// The file system that `folder` is on.
#[must_use]
pub fn mounted(folder: &Path) -> Option<Mounted> {
    let folder = folder.canonicalize().ok()?;
    mounted_in(&fs::read_to_string("/proc/self/mountinfo").ok()?, &folder)
}

const CAP_IPC_LOCK: u32 = 14; // linux/capability.h
const CAP_SYS_ADMIN: u32 = 21;

fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim())
}

fn has_capability(status: &str, bit: u32) -> bool {
    let effective = status_field(status, "CapEff");
    let effective = effective.and_then(|mask| u64::from_str_radix(mask, 16).ok());
    effective.is_some_and(|mask| mask >> bit & 1 == 1)
}

/// What shows that this is a container: files that their makers leave, or a variable they set.
fn container() -> Option<String> {
    for (path, what) in [
        ("/.dockerenv", "Docker"),
        ("/run/.containerenv", "Podman"),
        ("/run/systemd/container", "a container of systemd's"),
    ] {
        if Path::new(path).exists() {
            return Some(format!("{what} ({path})"));
        }
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("Kubernetes (KUBERNETES_SERVICE_HOST)".to_owned());
    }
    let named = std::env::var("container").ok().filter(|name| !name.is_empty())?;
    Some(format!("{named} (container={named})"))
}

/// Processors' worth from a quota and a period in microseconds; no number, or -1, is no bound.
fn quota(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    match (numbers.next()?, numbers.next()?) {
        (Ok(quota), Ok(period)) if quota > 0.0 && period > 0.0 => Some(quota / period),
        _ => None,
    }
}

/// The last row wins whose mount point is the longest that the folder lies in.
fn mounted_in(mountinfo: &str, folder: &Path) -> Option<Mounted> {
    let row = |line: &str| {
        let (place, file_system) = line.split_once(" - ")?;
        let point = unescaped(place.split(' ').nth(4)?);
        let mut fields = file_system.split(' ');
        let (kind, source) = (fields.next()?.to_owned(), unescaped(fields.next()?));
        let source = String::from_utf8_lossy(&source).into_owned();
        let point = PathBuf::from(std::ffi::OsStr::from_bytes(&point));
        folder.starts_with(&point).then_some((point.components().count(), Mounted { kind, source }))
    };
    let rows = mountinfo.lines().filter_map(row);
    Some(rows.max_by_key(|(depth, _)| *depth)?.1)
}

/// A field of mountinfo: space, tab, newline and backslash stand as three octal digits.
fn unescaped(field: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, after @ ..] = rest {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// The umask of the process, if it can be found out. umask(2) reads it by setting it, which other
/// threads would notice: so without /proc, a thread does it that shares the umask with no other.
pub fn umask() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status_field(&status, "Umask");
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).or_else(|| {
        let read = || {
            unshare(CloneFlags::CLONE_FS).ok()?;
            Some(nix::sys::stat::umask(Mode::empty()).bits())
        };
        std::thread::Builder::new().spawn(read).ok()?.join().ok()?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_begin_with_two_numbers() {
        for (release, expected) in [
            ("6.18.44-custom", Some((6, 18))),
            ("5.4.0", Some((5, 4))),
            ("6.1-rc3", Some((6, 1))),
            ("odd", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn capabilities_are_bits_of_the_effective_set() {
        let status = "Name:\tx\nCapEff:\t0000000000004000\nSeccomp:\t2\n";
        assert!(has_capability(status, CAP_IPC_LOCK) && !has_capability(status, CAP_SYS_ADMIN));
        assert_eq!(status_field(status, "Seccomp"), Some("2"));
        assert_eq!(status_field(status, "Sec"), None);
    }

    #[test]
    fn quotas_of_both_generations() {
        for (text, expected) in [
            ("max 100000\n", None),
            ("150000 100000\n", Some(1.5)),
            ("-1 100000", None),
            ("50000\n 100000", Some(0.5)),
            ("", None),
        ] {
            assert_eq!(quota(text), expected, "{text}");
        }
    }

    #[test]
    fn the_least_bound_of_a_group_and_those_above_it_holds() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let groups = |table: &str| {
            let groups = Groups { table: table.to_owned(), root: root.path().to_owned() };
            (groups.cpu_quota(), groups.memory_max())
        };
        write("a/cpu.max", "150000 100000\n");
        write("a/memory.max", "max\n");
        write("a/b/cpu.max", "max 100000\n");
        write("a/b/memory.max", "1073741824\n");
        assert_eq!(groups("0::/a/b\n"), (Some(1.5), Some(1 << 30)));
        assert_eq!(groups("0::/a\n"), (Some(1.5), None));
        assert_eq!(groups("0::/\n"), (None, None));
        assert_eq!(groups("0::/elsewhere\n"), (None, None));
        // As in a container that sees its own group as the root.
        write("memory.max", "536870912");
        assert_eq!(groups("0::/not/shown\n"), (None, Some(512 << 20)));
        write("cpu,cpuacct/c/cpu.cfs_quota_us", "50000");
        write("cpu,cpuacct/c/cpu.cfs_period_us", "100000");
        write("cpu,cpuacct/c/d/cpu.cfs_quota_us", "-1");
        write("cpu,cpuacct/c/d/cpu.cfs_period_us", "100000");
        write("memory/c/memory.limit_in_bytes", "9223372036854771712");
        write("memory/memory.limit_in_bytes", "268435456");
        let table = "4:memory:/c\n3:cpu,cpuacct:/c/d\n";
        assert_eq!(groups(table), (Some(0.5), Some(256 << 20)));
    }

    #[test]
    fn threads_are_as_many_as_cores_quota_and_memory_allow() {
        let threads = |cores, quota, memory| {
            Allowance { cores, quota, memory }.threads(crate::limits::core_bytes(20))
        };
        assert_eq!(threads(8, None, None), 8);
        assert_eq!(threads(8, Some(0.5), None), 1);
        assert_eq!(threads(8, Some(2.5), None), 3);
        assert_eq!(threads(2, Some(6.0), Some(64 << 30)), 2);
        assert_eq!(threads(8, None, Some(1 << 20)), 1);
        assert_eq!(threads(8, Some(6.0), Some(256 << 20)), 4);
        assert_eq!(threads(0, None, None), 1, "the system doesn't say");
    }

    #[test]
    fn the_innermost_and_latest_mount_is_the_one() {
        let table = "\
            21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
            30 21 0:25 / /a rw - tmpfs none rw\n\
            31 30 0:26 / /a/with\\040space rw - xfs /dev/b\\134c rw\n\
            32 21 0:27 / /a rw - btrfs /dev/c rw\n";
        let kind = |folder: &str| mounted_in(table, Path::new(folder)).unwrap().kind;
        assert_eq!(kind("/"), "ext4");
        assert_eq!(kind("/ab"), "ext4");
        assert_eq!(kind("/a"), "btrfs");
        let inner = mounted_in(table, Path::new("/a/with space/sub")).unwrap();
        assert_eq!((inner.kind.as_str(), inner.source.as_str()), ("xfs", "/dev/b\\c"));
    }

    #[test]
    fn this_system_tells_of_itself() {
        assert!(version(&release().unwrap()).unwrap() >= (3, 0));
        assert!(mounted(Path::new("/")).is_some());
        assert!(cores_online().unwrap() >= 1);
        assert!(Limit::OpenFiles.in_force().is_none_or(|limit| limit > 2));
    }
}
