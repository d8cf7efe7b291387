//! Content that a pipe isn't given before its frame's checksum held.
//!
//! What fits into memory waits there. Of more, a file is simply decoded once again; a pipe comes
//! once, so what it brought waits in a nameless file in the directory for passing use.
//!
//! # Invariants
//! - FO4: of a frame with a checksum, a pipe is given nothing before all of it was decoded and the
//!   checksum held.

use std::sync::Arc;

use super::FRAME_BYTES_MAX;
use super::decode::{Decoded, FrameDecoder};
use super::feed::{Feed, read_at};
use super::measure::Place;
use super::sink::write_at;
use crate::error::{Error, ErrorKind, Result};
use crate::format::zstd::ContentFront;
use crate::ring::file::{Disk, File};

/// Decodes the frame that `feed` has come to, and gives its content to `sink` once it was checked;
/// at once where there is nothing to check it by.
pub(super) fn checked(
    disk: &dyn Disk,
    decoder: &mut FrameDecoder,
    feed: &mut Feed<'_>,
    place: Place,
    front: &ContentFront,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Decoded> {
    if !front.checksum {
        return decoder.streamed(feed, place, front, sink);
    }
    // FO4: nothing reaches the sink before `streamed` has come to the frame's end.
    let comes_again = feed.is_file();
    let mut held = Vec::new();
    let mut spool: Option<Spool> = None;
    let mut passed = false;
    let decoded = decoder.streamed(feed, place, front, &mut |piece| {
        if passed {
            return Ok(());
        }
        if held.len() + piece.len() <= FRAME_BYTES_MAX as usize {
            held.extend(piece);
            return Ok(());
        }
        if comes_again {
            (passed, held) = (true, Vec::new());
            return Ok(());
        }
        if spool.is_none() {
            spool = Some(Spool::new(disk)?);
        }
        let spool = spool.as_mut().expect("made above");
        spool.append(&std::mem::take(&mut held))?;
        held.extend(piece);
        Ok(())
    })?;
    if passed {
        feed.go_to(place.offset);
        let again = decoder.streamed(feed, place, front, sink)?;
        if again != decoded {
            let what = "the file changed while it was read";
            return Err(Error::new(ErrorKind::InputChanged, what).offset(place.offset));
        }
        return Ok(decoded);
    }
    if let Some(spool) = spool {
        spool.give(sink)?;
    }
    for piece in held.chunks(1 << 20) {
        sink(piece)?;
    }
    Ok(decoded)
}

/// A nameless file of content that waits.
struct Spool {
    file: Arc<dyn File>,
    len: u64,
}

impl Spool {
    fn new(disk: &dyn Disk) -> Result<Self> {
        // TMPDIR may name what isn't there.
        let folders = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        let mut failed = None;
        for folder in folders {
            match disk.directory(&folder).and_then(|folder| folder.scratch()) {
                Ok(file) => return Ok(Self { file, len: 0 }),
                Err(error) => {
                    failed.get_or_insert_with(|| hinted(error).at(folder));
                }
            }
        }
        Err(failed.expect("a directory was tried"))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        write_at(&*self.file, bytes, self.len).map_err(|error| {
            let why = "what comes through a pipe waits there until its checksum held; save the \
                       input to a file, or set TMPDIR to where there is room";
            error.at(std::env::temp_dir()).hint(why)
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn give(&self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut piece = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.len {
            let len = (self.len - at).min(piece.len() as u64) as usize;
            read_at(&*self.file, &mut piece[..len], at)?;
            sink(&piece[..len])?;
            at += len as u64;
        }
        Ok(())
    }
}

fn hinted(error: std::io::Error) -> Error {
    let what = "cannot make a nameless file for content that waits for its checksum";
    Error::from_io(ErrorKind::Output, what, error).hint("set TMPDIR to another directory")
}
