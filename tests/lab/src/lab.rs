//! The place of an experiment: folders, and images in memory on a file system that clones files.
//!
//! Everything is mounted in a mount namespace of the calling thread's own. Other processes never
//! see these mounts, and they go with the last process that does, even if it is killed.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use support::{is_root, skip};

use crate::tool;

/// Length of the file system that holds the images, in bytes. It is sparse, in memory.
const STORE_LEN: u64 = 16 << 30;

/// A folder with memory below it, gone when dropped, together with all that is mounted there.
#[derive(Debug)]
pub struct Lab {
    test: String,
    names: AtomicU32,
    // Unmounted in this order.
    store: Mounted,
    _memory: Mounted,
    folder: tempfile::TempDir,
}

impl Lab {
    /// Sets a laboratory up. Where the machine can't, it says that `test` is skipped, and there is
    /// none.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    #[must_use]
    pub fn new(test: &str) -> Option<Self> {
        let why = match missing() {
            None => match Self::set_up(test) {
                Ok(lab) => return Some(lab),
                Err(why) => why,
            },
            Some(why) => why,
        };
        skip(test, &why);
        None
    }

    fn set_up(test: &str) -> Result<Self, String> {
        let refused = |what: &str, errno| format!("{what} is refused: {errno}");
        unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| refused("a mount namespace", errno))?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .map_err(|errno| refused("a mount namespace of its own", errno))?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let memory = subfolder(folder.path(), "memory");
        let options = ["-t", "tmpfs", "-o", "size=90%,mode=700", "tmpfs"].map(AsRef::as_ref);
        let memory = Mounted::new(&memory, options)?;
        let image = memory.path().join("store");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(STORE_LEN).map_err(|error| error.to_string())?;
        let mkfs = ["-fqK", "-m", "reflink=1"].map(AsRef::as_ref);
        tool::run("mkfs.xfs", mkfs.into_iter().chain([image.as_os_str()]))?;
        let store = subfolder(folder.path(), "store");
        let options = ["-o", "loop,noatime"].map(AsRef::as_ref);
        let store = Mounted::new(&store, options.into_iter().chain([image.as_os_str()]))?;
        Ok(Self { test: test.to_owned(), names: AtomicU32::new(0), store, _memory: memory, folder })
    }

    /// The test that the laboratory was set up for.
    #[must_use]
    pub fn test(&self) -> &str {
        &self.test
    }

    /// A new folder, for mounting at or for what a program reads.
    ///
    /// # Panics
    /// Where it can't be made.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        subfolder(self.folder.path(), &format!("{name}-{}", self.number()))
    }

    /// A new empty file in memory: its path, and open for reading and writing.
    pub(crate) fn image(&self, name: &str) -> (PathBuf, File) {
        let path = self.store.path().join(format!("{name}-{}", self.number()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&path);
        (path, file.expect("an image in memory"))
    }

    fn number(&self) -> u32 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }
}

/// What a laboratory can't do without and the machine has not.
fn missing() -> Option<String> {
    if !is_root() {
        return Some("mounting needs root".to_owned());
    }
    if !Path::new("/dev/fuse").exists() {
        return Some("there is no /dev/fuse".to_owned());
    }
    let tools = ["mount", "umount", "losetup", "mkfs.xfs"];
    let tool = tools.into_iter().find(|tool| tool::find(tool).is_none())?;
    Some(format!("{tool} is not installed"))
}

fn subfolder(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir(&path).expect("a temporary folder can be written");
    path
}

/// A file system that the `mount` program mounted, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Mounts at `folder`, with these arguments before it.
    pub(crate) fn new<'a>(
        folder: &'a Path,
        args: impl IntoIterator<Item = &'a std::ffi::OsStr>,
    ) -> Result<Self, String> {
        tool::run("mount", args.into_iter().chain([folder.as_os_str()]))?;
        Ok(Self(folder.to_owned()))
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Unmounts it now.
    pub(crate) fn unmount(self) -> Result<(), String> {
        tool::unmount(&self.0)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if tool::is_mounted(&self.0)
            && let Err(why) = tool::unmount(&self.0)
        {
            eprintln!("unmounted lazily: {why}");
        }
    }
}
