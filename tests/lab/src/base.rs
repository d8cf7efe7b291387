//! A file system at rest: what stood on the disk, durable, before the program under test ran.

use std::fs::File;
use std::path::{Path, PathBuf};

use support::skip;

use crate::flavour::Flavour;
use crate::lab::{Lab, Mounted};
use crate::loopback::LoopDevice;
use crate::tool;

/// The image of a file system that is not mounted. It is never changed, only cloned.
#[derive(Debug)]
pub struct Base<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) flavour: Flavour,
    pub(crate) file: File,
    /// Length in bytes.
    pub(crate) len: u64,
}

impl<'a> Base<'a> {
    /// Makes a file system with room for `content` bytes, and lets `prepare` put files there. Where
    /// the machine can't, it says that this part of the test is skipped, and there is none.
    ///
    /// # Panics
    /// Where the image can't be written, or what was prepared can't be unmounted.
    #[must_use]
    pub fn new(
        lab: &'a Lab,
        flavour: Flavour,
        content: u64,
        prepare: impl FnOnce(&Path),
    ) -> Option<Self> {
        let len = flavour.image_len(content);
        let (path, file) = lab.image("base");
        file.set_len(len).expect("a sparse image");
        match mounted(lab, flavour, &path) {
            Ok(mounted) => {
                prepare(mounted.path());
                mounted.unmount().expect("what was prepared can be unmounted");
                Some(Self { lab, flavour, file, len })
            }
            Err(why) => {
                skip(lab.test(), &format!("{}: {why}", flavour.name()));
                None
            }
        }
    }

    /// What file system it is.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// A clone of the image: its path, and open for reading and writing.
    pub(crate) fn clone_image(&self, name: &str) -> (PathBuf, File) {
        let (path, file) = self.lab.image(name);
        rustix::fs::ioctl_ficlone(&file, &self.file).expect("the store clones files");
        (path, file)
    }
}

fn mounted(lab: &Lab, flavour: Flavour, image: &Path) -> Result<Mounted, String> {
    let (mkfs, args) = flavour.mkfs();
    if tool::find(mkfs).is_none() {
        return Err(format!("{mkfs} is not installed"));
    }
    let device = LoopDevice::attach(image, false)?;
    tool::run(mkfs, args.iter().map(AsRef::as_ref).chain([device.node().as_os_str()]))?;
    mount(flavour, &device, &lab.folder("prepare"))
}

/// Mounts a device by the `mount` program.
pub(crate) fn mount(
    flavour: Flavour,
    device: &LoopDevice,
    folder: &Path,
) -> Result<Mounted, String> {
    let mut args = vec!["-t", flavour.kind(), "-o", flavour.options().unwrap_or("defaults")];
    args.push(device.node().to_str().expect("a device's name is text"));
    Mounted::new(folder, args.into_iter().map(AsRef::as_ref))
}

/// Lets the kernel forget which device a btrfs was last seen on: it would refuse an older state of
/// the same file system elsewhere.
pub(crate) fn forget(flavour: Flavour, device: &Path) {
    if flavour == Flavour::Btrfs {
        // It complains of a device that it doesn't remember, which is as well.
        let args = ["device", "scan", "--forget"].map(AsRef::as_ref);
        let _ = tool::run("btrfs", args.into_iter().chain([device.as_os_str()]));
    }
}
