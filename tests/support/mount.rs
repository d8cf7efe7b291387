//! File systems and block devices of their own for a test, gone when it ends, however it ends.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{has_tool, is_root, skip, succeed};

/// A file system to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileSystem {
    /// ext4.
    Ext4,
    /// xfs; 300 MiB at least.
    Xfs,
    /// btrfs; 110 MiB at least.
    Btrfs,
    /// tmpfs.
    Tmpfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Btrfs, Self::Tmpfs];

    /// Its name, as mount knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Tmpfs => "tmpfs",
        }
    }

    /// Whether the engine goes past the page cache there.
    #[must_use]
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Ext4 | Self::Xfs)
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mount {
    folder: PathBuf,
    _images: tempfile::TempDir,
}

impl Mount {
    /// Makes a file system of `mib` MiB in a sparse file and mounts it. Where the machine can't, it
    /// says that `test` is skipped, and there is none.
    ///
    /// # Panics
    /// Where no folder for it can be made.
    #[must_use]
    pub fn new(test: &str, kind: FileSystem, mib: u64) -> Option<Self> {
        Self::made_with(test, kind, mib, &[])
    }

    /// As [`Self::new`], with these options for its `mkfs` too.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn made_with(test: &str, kind: FileSystem, mib: u64, options: &[&str]) -> Option<Self> {
        if !is_root() {
            skip(test, "mounting needs root");
            return None;
        }
        let images = tempfile::tempdir().expect("a temporary folder");
        let folder = images.path().join("mnt");
        std::fs::create_dir(&folder).expect("a folder to mount at");
        if kind == FileSystem::Tmpfs {
            let options = format!("size={mib}M,mode=777");
            run(test, "mount", [OsStr::new("-t"), "tmpfs".as_ref(), "-o".as_ref()], |command| {
                command.arg(options).arg("tmpfs").arg(&folder)
            })?;
        } else {
            let image = images.path().join("image");
            let file = std::fs::File::create(&image).expect("an image");
            file.set_len(mib << 20).expect("a sparse image");
            let quiet = if kind == FileSystem::Ext4 { "-Fq" } else { "-fq" };
            let make = format!("mkfs.{}", kind.name());
            run(test, &make, [OsStr::new(quiet)], |command| command.args(options).arg(&image))?;
            run(test, "mount", [OsStr::new("-o"), "loop".as_ref()], |command| {
                command.arg(&image).arg(&folder)
            })?;
        }
        Some(Self { folder, _images: images })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Mounts it anew with these options, such as `ro`.
    ///
    /// # Panics
    /// Where mount fails.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        succeed(Command::new("mount").arg("-o").arg(options).arg(&self.folder));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !is_mounted(&self.folder) {
            return;
        }
        // What a test that fails left running may hold it for a moment: then lazily.
        let unmount = |lazily: &[&str]| {
            let mut command = Command::new("umount");
            command.args(lazily).arg(&self.folder).output().is_ok_and(|out| out.status.success())
        };
        if !unmount(&[]) && !unmount(&["-l"]) {
            eprintln!("cannot unmount {}", self.folder.display());
        }
    }
}

fn is_mounted(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let folder = folder.to_string_lossy();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(&folder))
}

/// A loop block device on a file.
#[derive(Debug)]
pub struct LoopDevice(PathBuf);

impl LoopDevice {
    /// Attaches `file`. Where the machine can't, it says that `test` is skipped.
    ///
    /// # Panics
    /// Where the device's name is no text.
    #[must_use]
    pub fn attach(test: &str, file: &Path) -> Option<Self> {
        if !is_root() {
            skip(test, "loop devices need root");
            return None;
        }
        let name = run(test, "losetup", [OsStr::new("-f"), "--show".as_ref()], |command| {
            command.arg(file)
        })?;
        Some(Self(String::from_utf8(name).expect("a path").trim().into()))
    }

    /// The device's node.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("-d").arg(&self.0).output();
        if !detached.is_ok_and(|output| output.status.success()) {
            eprintln!("cannot detach {}", self.0.display());
        }
    }
}

fn run<'a>(
    test: &str,
    tool: &str,
    args: impl IntoIterator<Item = &'a OsStr>,
    more: impl FnOnce(&mut Command) -> &mut Command,
) -> Option<Vec<u8>> {
    let folders = ["/sbin", "/usr/sbin"].map(|folder| Path::new(folder).join(tool));
    let found = folders.into_iter().find(|path| path.is_file());
    if found.is_none() && !has_tool(tool) {
        skip(test, &format!("{tool} is not installed"));
        return None;
    }
    let mut command = Command::new(found.unwrap_or_else(|| tool.into()));
    let output = crate::run(more(command.args(args)));
    if !output.status.success() {
        // Root in a container may have no right to this.
        let why = String::from_utf8_lossy(&output.stderr);
        skip(test, &format!("{tool} is refused: {}", why.trim()));
        return None;
    }
    Some(output.stdout)
}
