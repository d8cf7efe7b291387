//! What a Zstandard file holds, told without decoding it: by its frames' headers and its blocks'.

use std::path::Path;
use std::sync::Arc;

use super::feed::{Hop, Look};
use super::measure::{Place, Start, cut_short, measure, start};
use super::own::{Contained, Own};
use super::table::Table;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::ring::file::{Disk, File, FileKind};

/// What a Zstandard file holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// Length of the file.
    pub file_size: u64,
    /// Zstandard frames.
    pub frames: u64,
    /// Frames that are passed over, a seek table among them.
    pub skippable: u64,
    /// Bytes of content, where every frame states its own.
    pub content_size: Option<u64>,
    /// Zstandard frames that have a checksum.
    pub checked: u64,
    /// The last of these checksums.
    pub checksum: Option<u32>,
    /// Largest window that a frame needs, in bytes.
    pub window_bytes_max: u64,
    /// Entries of the seek table, and the bytes of content they state, where there is a table whose
    /// entries sum to its own place.
    pub seek_table: Option<(u64, u64)>,
    /// The containers in it, in order.
    pub containers: Vec<Contained>,
}

/// Looks through the file at `path`.
///
/// # Errors
/// `NotAContainer` where it is no Zstandard file, `Damaged` where its frames aren't whole, `Input`
/// where it can't be read.
pub fn list(disk: &dyn Disk, path: &Path, cancel: &Cancel) -> Result<Listing> {
    walk(disk, path, cancel).map_err(|error| error.at(path))
}

/// Opens a file that is read here and there.
pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<(Arc<dyn File>, u64)> {
    let failed = |error| Error::from_io(ErrorKind::Input, "cannot open", error);
    match disk.kind(path).map_err(failed)? {
        FileKind::Regular | FileKind::BlockDevice => {}
        FileKind::Directory => return Err(Error::new(ErrorKind::Input, "is a directory")),
        FileKind::Stream => {
            let hint = "save it to a file first";
            return Err(Error::new(ErrorKind::Input, "can only be read in order").hint(hint));
        }
    }
    let file = disk.open(path, false).map_err(failed)?;
    let len = file.status().map_err(failed)?.len;
    Ok((file, len))
}

fn walk(disk: &dyn Disk, path: &Path, cancel: &Cancel) -> Result<Listing> {
    let (file, file_size) = open(disk, path)?;
    let mut hop = Hop::new(&*file, file_size);
    let mut listing = Listing { file_size, content_size: Some(0), ..Listing::default() };
    let mut place = Place { number: 0, offset: 0 };
    // The sum of what frames state: a container's all do.
    let (mut own, mut content) = (Own::default(), 0u64);
    loop {
        listing.containers.extend(own.at(place, content, listing.frames)?.map(|it| it.container));
        if cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the job was cancelled"));
        }
        let len = match start(&mut hop, place)? {
            Start::End => break,
            Start::Skippable(magic, len) => {
                listing.skippable += 1;
                if len > file_size - place.offset {
                    return Err(cut_short(place));
                }
                own.skippable(&mut hop, place, magic, len, content)?;
                len
            }
            Start::Content(front) => {
                own.content(place)?;
                listing.frames += 1;
                listing.window_bytes_max = listing.window_bytes_max.max(front.window);
                let sum = |sum: u64| sum.checked_add(front.content_size?);
                listing.content_size = listing.content_size.and_then(sum);
                content = content.saturating_add(front.content_size.unwrap_or(0));
                let measured = measure(&mut hop, place, &front, u64::MAX)?;
                let measured = measured.expect("no frame is longer than any");
                own.measured(place, measured);
                let len = measured.len;
                if front.checksum {
                    listing.checked += 1;
                    let bytes = hop.look(place.offset + len - 4, 4)?;
                    listing.checksum = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                }
                len
            }
        };
        place = Place { number: place.number + 1, offset: place.offset + len };
    }
    own.end(place)?;
    if let Some(table) = Table::find(&*file, file_size)? {
        let content_size = table.sum(&file)?.content();
        listing.seek_table = content_size.map(|size| (table.entries, size));
    }
    Ok(listing)
}
