//! Recording: a base is mounted through the recording disk, and a program runs on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session};

use crate::base::{self, Base};
use crate::disk::{CTL, DISK, Medium, RecordingDisk};
use crate::log::Log;
use crate::loopback::LoopDevice;
use crate::tape::Tape;
use crate::tool;

pub use crate::tape::Fault;

/// How to record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Decides how long each completion is put off.
    pub seed: u64,
    /// The longest time that a completion is put off; 0 makes a disk without overlap.
    pub delay_max: Duration,
    /// The operation that fails, counted from the mark [`START`](crate::claims::START).
    pub fault: Option<Fault>,
}

impl Options {
    /// Completions of up to 2 ms, and no fault.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, delay_max: Duration::from_millis(2), fault: None }
    }
}

/// Mounts `base` through the recording disk, and runs `run` with the mount point and the file that
/// takes marks. It gives the log, and what `run` gave.
///
/// `run` starts programs and waits for them; it touches neither path itself, since the disk behind
/// them is served by this very process.
///
/// # Panics
/// Where the disk can't be mounted or, no fault being asked for, unmounted.
pub fn record<T>(
    base: &Base<'_>,
    options: &Options,
    run: impl FnOnce(&Path, &Path) -> T,
) -> (Log, T) {
    let (_, image) = base.clone_image("live");
    let tape = Tape::new(options.fault);
    let medium = Arc::new(Medium::new(image, base.len, tape));
    let disk = RecordingDisk::new(Arc::clone(&medium), options.seed, options.delay_max);
    let server = Server::start(disk, base.lab.folder("disk"));
    let device = LoopDevice::attach(&server.folder.join(DISK), true).expect("a loop device");
    assert!(device.is_direct(), "the loop device isn't in direct mode: writes wouldn't overlap");
    let node = device.node().to_owned();
    let mount_point = base.lab.folder("recorded");
    let mounted = base::mount(base.flavour, &device, &mount_point).expect("the base mounts");
    // The mount holds the device from now on; a device of this process would wait for its server.
    drop(device);
    let outcome = run(&mount_point, &server.folder.join(CTL));
    // A file system that met an error may be beyond unmounting; it is then let go lazily.
    let unmounted = mounted.unmount();
    assert!(unmounted.is_ok() || options.fault.is_some(), "{unmounted:?}");
    base::forget(base.flavour, &node);
    drop(server);
    let tape = std::mem::take(&mut *medium.tape());
    (Log::new(tape, &base.file), outcome)
}

/// The mounted folder in user space.
#[derive(Debug)]
struct Server {
    session: Option<BackgroundSession>,
    folder: PathBuf,
}

impl Server {
    fn start(disk: RecordingDisk, folder: PathBuf) -> Self {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("ringpack-lab".to_owned())];
        let session = Session::new(disk, &folder, &config).expect("FUSE mounts");
        let session = session.spawn().expect("a thread can be started");
        Self { session: Some(session), folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        match tool::unmount(&self.folder) {
            // Its threads end with the mount, and with them the delays.
            Ok(()) => drop(session.join()),
            Err(why) => eprintln!("unmounted lazily: {why}"),
        }
    }
}
