//! A toy engine that proves the laboratory: a writer that does it right, and its planted mistakes.
//!
//! It replaces a file: writes a partial file from several threads, syncs it half way and at the
//! end, renames it over the target and syncs the directory, and claims `half` and `committed`. The
//! bin `toy-writer` does the work, and [`check`] holds what it finds against the claims.

use std::fs;
use std::io;
use std::path::Path;

use crate::claims::Claims;

/// The file that is replaced.
pub const TARGET: &str = "target";
/// What replaces it, until it has the name.
pub const PARTIAL: &str = "target.partial";
/// Length of the new file in bytes.
pub const LEN: usize = 2 << 20;
/// The claim that the first half of the partial file is durable.
pub const HALF: &str = "half";
/// The claim that the target is replaced, durably.
pub const COMMITTED: &str = "committed";

/// How the toy writer works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Right.
    Right,
    /// Right, through the page cache.
    RightBuffered,
    /// Renames without having synced the file, through the page cache.
    NoSyncBeforeRename,
    /// Claims to have committed without having synced the directory.
    NoSyncOfDirectory,
    /// Syncs while writes are in flight, waits for them afterwards, and claims them as durable.
    SyncOverWrites,
    /// Claims the half before syncing it.
    ClaimBeforeSync,
}

impl Manner {
    /// All of them, the right ones first.
    pub const ALL: [Self; 6] = [
        Self::Right,
        Self::RightBuffered,
        Self::NoSyncBeforeRename,
        Self::NoSyncOfDirectory,
        Self::SyncOverWrites,
        Self::ClaimBeforeSync,
    ];

    /// Its name, as the bin takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::RightBuffered => "right-buffered",
            Self::NoSyncBeforeRename => "no-sync-before-rename",
            Self::NoSyncOfDirectory => "no-sync-of-directory",
            Self::SyncOverWrites => "sync-over-writes",
            Self::ClaimBeforeSync => "claim-before-sync",
        }
    }

    /// Whether it is one of the right ones.
    #[must_use]
    pub fn is_right(self) -> bool {
        matches!(self, Self::Right | Self::RightBuffered)
    }
}

/// The content of the old file.
#[must_use]
pub fn old() -> Vec<u8> {
    support::content(300_000, 1)
}

/// The content of the new file.
#[must_use]
pub fn new() -> Vec<u8> {
    support::content(LEN, 2)
}

/// Says which promise is broken, if one is, in a folder found after a power cut.
///
/// # Errors
/// What is wrong.
pub fn check(folder: &Path, claims: &Claims<'_>, old: &[u8], new: &[u8]) -> Result<(), String> {
    let target = read(&folder.join(TARGET))?.ok_or("the target is gone")?;
    if target == new {
        return Ok(());
    }
    if claims.has(COMMITTED) {
        return Err("committed, and the target isn't the new file".to_owned());
    }
    if target != old {
        return Err(format!("the target is neither file: {} bytes", target.len()));
    }
    if claims.has(HALF) {
        let partial = read(&folder.join(PARTIAL))?.ok_or("the half is gone")?;
        if !partial.starts_with(&new[..LEN / 2]) {
            return Err("the half claimed isn't there".to_owned());
        }
    }
    Ok(())
}

/// A file's content, or none where there is no file.
///
/// # Errors
/// Why it can't be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
