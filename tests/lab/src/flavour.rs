//! The file systems that the laboratory cuts the power of, and how each is made and mounted.
//!
//! Sizes are about the smallest that each allows. ext4 stands here twice: by default it flushes a
//! file that is renamed over another, and so hides a program that forgot to.

/// A file system, with the options it is mounted with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// ext4 with default options.
    Ext4,
    /// ext4 that does no more than it must: `noauto_da_alloc,data=writeback`.
    Ext4Strict,
    /// xfs.
    Xfs,
    /// btrfs.
    Btrfs,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Ext4Strict, Self::Xfs, Self::Btrfs];

    /// What reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Ext4Strict => "ext4 noauto_da_alloc,data=writeback",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Its name, as mount knows it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Ext4Strict => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The options it is mounted with, for recording and for checking alike.
    #[must_use]
    pub fn options(self) -> Option<&'static str> {
        match self {
            Self::Ext4Strict => Some("noauto_da_alloc,data=writeback"),
            // Several states of one file system may be mounted at a time.
            Self::Xfs => Some("nouuid"),
            Self::Ext4 | Self::Btrfs => None,
        }
    }

    /// How many states of one file system may be shown at a time. Most of a state's time is spent
    /// waiting for the kernel's own threads; btrfs mounts a file system of one identity once only.
    #[must_use]
    pub fn rigs(self) -> usize {
        match self {
            Self::Ext4 | Self::Ext4Strict | Self::Xfs => 3,
            Self::Btrfs => 1,
        }
    }

    /// Length of its image in bytes: room for `content` bytes, and what the file system needs
    /// itself.
    #[must_use]
    pub fn image_len(self, content: u64) -> u64 {
        let mib = |count: u64| count << 20;
        match self {
            Self::Ext4 | Self::Ext4Strict => mib(16) + content.next_multiple_of(mib(1)),
            Self::Xfs => mib(300) + content.next_multiple_of(mib(1)),
            Self::Btrfs => mib(128) + 2 * content.next_multiple_of(mib(1)),
        }
    }

    /// The tool that makes it, and its arguments before the device.
    pub(crate) fn mkfs(self) -> (&'static str, &'static [&'static str]) {
        match self {
            // Nothing is left to be initialised later: a log has the program's writes in it.
            Self::Ext4 | Self::Ext4Strict => (
                "mkfs.ext4",
                &["-Fq", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
            ),
            Self::Xfs => ("mkfs.xfs", &["-fqK"]),
            Self::Btrfs => ("mkfs.btrfs", &["-fqK"]),
        }
    }
}
