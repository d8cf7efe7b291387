//! Confinement: before a command reads bytes that a stranger may have written, it gives up what it
//! has no use for. A defect in a decoder then reaches the files that the command was given, and no
//! others.
//!
//! Landlock does it, where the kernel has it (Linux 5.13): the process may read its inputs, write
//! in the folders of its outputs, and look at a few files of the kernel's. It may use no network
//! and run no program. Where Landlock is missing, or `RINGPACK_SANDBOX=off` is set, nothing is
//! confined; `ringpack doctor` says which. What can't be granted, as a pipe, needs no grant.
//!
//! The threads that are started afterwards inherit it. The one that waits for signals was started
//! before, which reads nothing; Linux 7.0 confines it too.
//!
//! See docs/decisions/0037.

use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, RestrictSelfAttr, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags, path_beneath_rules,
};

use rustix::fs::{Mode, OFlags};

use crate::args::Talk;
use crate::names;

/// Turns it off.
const VARIABLE: &str = "RINGPACK_SANDBOX";

/// The latest rights that are known here; an older kernel is asked for those that it has.
const KNOWN: ABI = ABI::V7;

/// What is looked at of the system: this process, its control group, the cores, and whose numbers
/// the names in an ACL are.
const OF_THE_SYSTEM: [&str; 10] = [
    "/proc/self",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/meminfo",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
];

/// What a command needs of the file system.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    rules: Vec<(PathBuf, BitFlags<AccessFs>)>,
    extracts: bool,
}

impl Needs {
    /// Reads this input.
    pub(crate) fn reads(&mut self, input: &Path) {
        if !names::is_standard_stream(input) {
            let access = make_bitflags!(AccessFs::{ReadFile | ReadDir | IoctlDev});
            self.rules.push((input.to_owned(), access));
        }
    }

    /// Reads what stands beside this input as well: a journal and its lock.
    pub(crate) fn reads_beside(&mut self, input: &Path) {
        let access = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile});
        self.rules.push((folder(input), access));
    }

    /// Writes this output, by a file beside it that takes its name.
    pub(crate) fn writes(&mut self, output: &Path) {
        if !names::is_standard_stream(output) {
            self.rules.push((folder(output), in_a_folder()));
            // A device or a pipe is written to as it is.
            let access = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate | IoctlDev});
            self.rules.push((output.to_owned(), access));
        }
    }

    /// Keeps what comes through a pipe in a file without a name; where the file system has none, in
    /// one whose name is gone at once.
    pub(crate) fn spools(&mut self) {
        let folders = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        let there = folders.iter().find(|folder| folder.is_dir());
        let folder = there.unwrap_or(&folders[0]).clone();
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let access = match rustix::fs::open(&folder, flags, Mode::RUSR | Mode::WUSR) {
            Ok(_) => make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile}),
            Err(_) => in_a_folder(),
        };
        self.rules.push((folder, access));
    }

    /// Writes metrics.
    pub(crate) fn tells(&mut self, talk: &Talk) {
        if let Some(file) = &talk.metrics_file {
            self.writes(file);
        }
    }

    /// Removes this input.
    pub(crate) fn removes(&mut self, input: &Path) {
        let access = make_bitflags!(AccessFs::{ReadDir | RemoveFile});
        self.rules.push((folder(input), access));
    }

    /// Restores files below this directory, which may have to be made.
    pub(crate) fn extracts(&mut self, target: &Path) {
        self.extracts = true;
        let access = AccessFs::from_all(KNOWN) & !AccessFs::Execute;
        let there = |path: &&Path| path.is_dir() || path.as_os_str().is_empty();
        let nearest = target.ancestors().find(there).unwrap_or(Path::new("."));
        self.rules.push((or_here(nearest), access));
    }

    /// Gives up everything else, once: what is asked for later changes nothing.
    pub(crate) fn enter(self) {
        static ENTERED: AtomicBool = AtomicBool::new(false);
        if ENTERED.swap(true, Ordering::Relaxed) {
            return;
        }
        if is_off() {
            tracing::info!(target: "ringpack", "not confined: {VARIABLE}=off");
            return;
        }
        match self.confine() {
            Ok(status) => {
                let by = found(&status.landlock);
                let as_far = status.ruleset;
                tracing::info!(target: "ringpack", "confined: {as_far:?} by {by}");
            }
            Err(error) => tracing::info!(target: "ringpack", "not confined: {error}"),
        }
    }

    fn confine(self) -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset = Ruleset::default();
        if self.extracts {
            // Without this right, which the first version lacks, no hard link leads from one
            // directory to another.
            ruleset = ruleset
                .set_compatibility(CompatLevel::HardRequirement)
                .handle_access(AccessFs::Refer)?
                .set_compatibility(CompatLevel::BestEffort);
        }
        let mut ruleset = ruleset
            .handle_access(AccessFs::from_all(KNOWN))?
            .handle_access(AccessNet::from_all(KNOWN))?
            .scope(Scope::AbstractUnixSocket)?
            .create()?;
        let kernel = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        grant(&mut ruleset, &OF_THE_SYSTEM, kernel);
        for (path, access) in &self.rules {
            grant(&mut ruleset, &[path], *access);
        }
        // The standard streams are opened again by their names in /proc.
        let (input, output, errors) = (stdin(), stdout(), stderr());
        let read = make_bitflags!(AccessFs::{ReadFile | IoctlDev});
        let write = make_bitflags!(AccessFs::{WriteFile | IoctlDev});
        for (stream, access) in
            [(input.as_fd(), read), (output.as_fd(), write), (errors.as_fd(), write)]
        {
            let _ = (&mut ruleset).add_rule(PathBeneath::new(stream, access));
        }
        ruleset.all_threads(true)?.restrict_self()
    }
}

/// Grants what can be: what isn't there is told when it is opened.
fn grant(ruleset: &mut RulesetCreated, paths: &[impl AsRef<Path>], access: BitFlags<AccessFs>) {
    for rule in path_beneath_rules(paths, access) {
        let _ = rule.and_then(|rule| (&mut *ruleset).add_rule(rule).map(drop));
    }
}

/// What making a file, writing it and giving it its name take.
fn in_a_folder() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile
    })
}

fn folder(path: &Path) -> PathBuf {
    or_here(path.parent().unwrap_or(Path::new("/")))
}

fn or_here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { ".".into() } else { path.to_owned() }
}

/// Whether it was turned off.
pub(crate) fn is_off() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "off")
}

/// What the kernel has: the version of Landlock, or none.
pub(crate) fn kernel() -> Option<String> {
    // A thread of its own is confined, and over.
    let probe = || {
        let ruleset = Ruleset::default().handle_access(AccessFs::Execute)?.create()?;
        ruleset.restrict_self()
    };
    let probed = std::thread::spawn(probe).join().ok()?.ok()?;
    match probed.landlock {
        LandlockStatus::Available { .. } => Some(found(&probed.landlock)),
        _ => None,
    }
}

fn found(status: &LandlockStatus) -> String {
    match status {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            let version = kernel_abi.unwrap_or(*effective_abi as i32);
            format!("Landlock, version {version}")
        }
        LandlockStatus::NotEnabled => "nothing: Landlock isn't enabled".to_owned(),
        LandlockStatus::NotImplemented => "nothing: the kernel has no Landlock".to_owned(),
    }
}
