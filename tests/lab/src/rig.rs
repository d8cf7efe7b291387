//! Mounting what a power cut left.
//!
//! One loop device stays attached to one file, whose content is replaced for every cut: cloned from
//! a file that has what is durable by then, and given the volatile pages that survived. So a state
//! costs the pages in which it differs and one mount, and what the mount before wrote is gone.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use support::processes::until;

use crate::base::{self, Base};
use crate::claims::Claims;
use crate::cut::Cut;
use crate::flavour::Flavour;
use crate::log::Log;
use crate::loopback::LoopDevice;
use crate::tape::PAGE_LEN;

/// A device that shows the cuts of one log, one after the other.
#[derive(Debug)]
pub struct Rig<'a> {
    log: &'a Log,
    flavour: Flavour,
    base: &'a File,
    /// The durable part at the moment of the cut shown last.
    durable: File,
    durable_point: usize,
    /// For each page of it, the write that it is from.
    durable_writes: BTreeMap<u64, usize>,
    shown: File,
    device: LoopDevice,
    mount_point: PathBuf,
}

impl<'a> Rig<'a> {
    /// A rig for the cuts of `log`, which was recorded on `base`.
    ///
    /// # Panics
    /// Where there is no loop device to be had.
    #[must_use]
    pub fn new(base: &'a Base<'_>, log: &'a Log) -> Self {
        let (_, durable) = base.clone_image("durable");
        let (path, shown) = base.clone_image("shown");
        let device = LoopDevice::attach(&path, false).expect("a loop device");
        Self {
            log,
            flavour: base.flavour,
            base: &base.file,
            durable,
            durable_point: 0,
            durable_writes: BTreeMap::new(),
            shown,
            device,
            mount_point: base.lab.folder("shown"),
        }
    }

    /// Mounts what `cut` left, and gives the mount point and the claims made by then to `check`.
    /// The check may write there, as a program that recovers does.
    ///
    /// # Errors
    /// Why it can't be mounted, twice.
    ///
    /// # Panics
    /// Where the image can't be made, or `check` leaves a file open.
    pub fn show<T>(
        &mut self,
        cut: &Cut,
        check: impl FnOnce(&Path, &Claims<'_>) -> T,
    ) -> Result<T, String> {
        self.build(cut).expect("images in memory can be written");
        let mount_point = self.mount_point.clone();
        let mounted = match Shown::mount(&self.device, self.flavour, &mount_point) {
            Ok(mounted) => mounted,
            // The kernel's list of btrfs devices belongs to all processes: what another one does to
            // it at this moment may refuse an image that is sound. One that isn't stays refused.
            Err(why) => {
                eprintln!("{why}, tried once more; cut {cut}");
                base::forget(self.flavour, self.device.node());
                self.build(cut).expect("images in memory can be written");
                Shown::mount(&self.device, self.flavour, &mount_point)?
            }
        };
        let result = check(&mount_point, &self.log.claims_before(cut.point));
        mounted.unmount();
        Ok(result)
    }

    fn build(&mut self, cut: &Cut) -> std::io::Result<()> {
        if cut.point < self.durable_point {
            rustix::fs::ioctl_ficlone(&self.durable, self.base)?;
            self.durable_point = 0;
            self.durable_writes.clear();
        }
        if cut.point > self.durable_point {
            let mut last = BTreeMap::new();
            for (write, _) in self.log.written(cut.point).filter(|(_, is_durable)| *is_durable) {
                for (index, page) in self.log.pages(write).enumerate() {
                    last.insert(page, (write, index));
                }
            }
            for (page, (write, index)) in last {
                if self.durable_writes.insert(page, write) != Some(write) {
                    put(&self.durable, page, self.log.page(write, index))?;
                }
            }
            self.durable_point = cut.point;
        }
        // What the last mount left in the cache is not worth writing back.
        self.shown.set_len(0)?;
        rustix::fs::ioctl_ficlone(&self.shown, &self.durable)?;
        // A page whose last survivor is durable has just that in the durable image already: what
        // survives of a page includes all of it that is durable.
        for (page, (write, index, is_durable)) in self.log.image(cut).pages {
            if !is_durable {
                put(&self.shown, page, self.log.page(write, index))?;
            }
        }
        self.device.forget();
        Ok(())
    }
}

impl Drop for Rig<'_> {
    fn drop(&mut self) {
        base::forget(self.flavour, self.device.node());
    }
}

fn put(file: &File, page: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all_at(bytes, page * PAGE_LEN as u64)
}

/// A mounted state, unmounted when dropped.
struct Shown<'a>(&'a Path);

impl<'a> Shown<'a> {
    fn mount(device: &LoopDevice, flavour: Flavour, folder: &'a Path) -> Result<Self, String> {
        let (kind, options) = (Some(flavour.kind()), flavour.options());
        mount(Some(device.node()), folder, kind, MsFlags::MS_NOATIME, options)
            .map_err(|errno| format!("cannot be mounted: {errno}"))?;
        Ok(Self(folder))
    }

    fn unmount(self) {
        // A child that another thread is starting has what the check had open, until it executes
        // its program.
        until("the check has nothing open any more", || match umount2(self.0, MntFlags::empty()) {
            Err(Errno::EBUSY) => false,
            unmounted => unmounted.map(|()| true).expect("what was mounted can be unmounted"),
        });
        std::mem::forget(self);
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}
