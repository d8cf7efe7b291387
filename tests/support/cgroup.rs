//! A control group of its own for a test, gone when it ends.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{binary, skip};

/// A control group.
#[derive(Debug)]
pub struct ControlGroup {
    folder: PathBuf,
    is_unified: bool,
}

impl ControlGroup {
    /// Makes a group that `controller` governs. Where the machine can't, it says that `test` is
    /// skipped, and there is none.
    #[must_use]
    pub fn new(test: &str, controller: &str) -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("ringpack-{}-{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        let root = Path::new("/sys/fs/cgroup");
        let is_unified = root.join("cgroup.controllers").exists();
        let parent = if is_unified { root.to_owned() } else { root.join(controller) };
        let folder = parent.join(name);
        if let Err(error) = fs::create_dir(&folder) {
            skip(test, &format!("no control group can be made: {error}"));
            return None;
        }
        let group = Self { folder, is_unified };
        let enabled = fs::read_to_string(group.folder.join("cgroup.controllers"));
        let enabled = enabled.unwrap_or_default();
        if is_unified && !enabled.split_whitespace().any(|name| name == controller) {
            skip(test, &format!("the controller {controller} is not enabled"));
            return None;
        }
        Some(group)
    }

    /// Sets a bound: of these files, each with its value, the first group is of the second
    /// generation and the other of the first. Says that `test` is skipped where that is refused.
    #[must_use]
    pub fn set(&self, test: &str, unified: &[(&str, &str)], legacy: &[(&str, &str)]) -> bool {
        let bounds = if self.is_unified { unified } else { legacy };
        bounds.iter().all(|(file, value)| {
            let set = fs::write(self.folder.join(file), value);
            set.inspect_err(|error| skip(test, &format!("{file} can't be set: {error}"))).is_ok()
        })
    }

    /// A group within it.
    ///
    /// # Panics
    /// Where none can be made.
    #[must_use]
    pub fn below(&self) -> Self {
        let folder = self.folder.join("below");
        fs::create_dir(&folder).expect("a group within a group");
        Self { folder, is_unified: self.is_unified }
    }

    /// The program under test, which is in this group from its start.
    #[must_use]
    pub fn ringpack<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]);
        command.arg(self.folder.join("cgroup.procs")).arg(binary()).args(args);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // What ended in it may be counted for a moment longer.
        for _ in 0..1000 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
        eprintln!("cannot remove {}", self.folder.display());
    }
}
