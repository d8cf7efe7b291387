//! Content of any length that nobody has to store: a pipe, and a thread that writes to it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Instant;

use ringpack_benches::content;

/// Bytes that are written again and again, each time numbered anew: memory that counts towards the
/// job's peak.
const PIECE: usize = 1 << 20;
/// Bytes from one number to the next: no chunk equals another.
const NUMBERED: usize = 64 << 10;
/// Of these, bytes of content; the rest repeats a sentence.
const CONTENT: usize = 12 << 10;

/// The pipe's reading end, and the writer, which gives the time at which the last byte went in.
pub(crate) struct Stream {
    pub(crate) reader: File,
    pub(crate) writer: JoinHandle<io::Result<Instant>>,
}

impl Stream {
    /// Begins to write `bytes` bytes.
    pub(crate) fn begin(bytes: u64) -> io::Result<Self> {
        let (reader, mut writer) = io::pipe()?;
        let reader = File::from(OwnedFd::from(reader));
        let mut piece = content(PIECE);
        for part in piece.chunks_mut(NUMBERED) {
            let sentence = b"a row much as the one before it, and the one after; ";
            part[CONTENT..].iter_mut().zip(sentence.iter().cycle()).for_each(|(to, from)| {
                *to = *from;
            });
        }
        let write = move || {
            let mut at = 0u64;
            while at < bytes {
                for (number, part) in piece.chunks_mut(NUMBERED).enumerate() {
                    let number = at / NUMBERED as u64 + number as u64;
                    part[..8].copy_from_slice(&number.to_le_bytes());
                }
                let len = (bytes - at).min(PIECE as u64);
                writer.write_all(&piece[..len as usize])?;
                at += len;
            }
            drop(writer);
            Ok(Instant::now())
        };
        Ok(Self { reader, writer: std::thread::spawn(write) })
    }
}
