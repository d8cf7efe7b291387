//! Loop devices with a sector of 4096 bytes that let go of their file by themselves.
//!
//! A device is told to detach while something still has it open, and so does that on its last
//! close: when the laboratory drops it, when what is mounted on it is unmounted, and when the
//! process is killed.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::tool;

/// A loop device, attached as long as this stands or something is mounted on it.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    node: PathBuf,
    held: File,
}

impl LoopDevice {
    /// Attaches `file`; with `direct`, past the page cache of the file system that it is on.
    pub(crate) fn attach(file: &Path, direct: bool) -> Result<Self, String> {
        let direct = if direct { "--direct-io=on" } else { "--direct-io=off" };
        let args = ["--find", "--show", "--sector-size", "4096", direct].map(OsStr::new);
        let node = tool::run("losetup", args.into_iter().chain([file.as_os_str()]))?;
        let held = OpenOptions::new().read(true).write(true).open(&node);
        let detach = tool::run("losetup", ["--detach", &node]);
        let held = held.map_err(|error| format!("cannot open {node}: {error}"))?;
        detach?;
        Ok(Self { node: node.into(), held })
    }

    /// The device's node.
    pub(crate) fn node(&self) -> &Path {
        &self.node
    }

    /// Whether it goes past the page cache: where it doesn't, it does one thing at a time.
    pub(crate) fn is_direct(&self) -> bool {
        let name = self.node.file_name().unwrap_or_default();
        let path = Path::new("/sys/block").join(name).join("loop/dio");
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
    }

    /// Forgets what the device's own page cache holds, after its file was changed below it.
    pub(crate) fn forget(&self) {
        posix_fadvise(&self.held, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .expect("a device takes advice");
    }
}
