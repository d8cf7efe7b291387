//! Verifying what a program holds open, from whatever source: chunk by chunk, on its own thread.
//!
//! It compares what verifying a file does (X1), without rings and workers, which need a file.

use super::check::{Check, Damages};
use crate::error::{Error, Result};
use crate::read::ContainerReader;

/// What verifying an open container found.
///
/// ```
/// use ringpack::ContainerReader;
/// # use ringpack::write::{ChunkWriter, MemoryWriter, WriteOptions};
///
/// # fn main() -> ringpack::Result<()> {
/// # let writer = MemoryWriter::new(&WriteOptions::default())?;
/// # writer.write_chunk(0, b"something to keep")?;
/// # let bytes = writer.finalize()?;
/// let reader = ContainerReader::from_source(bytes)?;
/// let findings = reader.verify(true)?;
/// assert!(findings.is_intact());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Findings {
    /// The damages in order of their chunks, the first [`DAMAGES_MAX`](super::DAMAGES_MAX).
    pub damages: Vec<Error>,
    /// Number of all damages.
    pub damage_count: u64,
}

impl Findings {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.damage_count == 0
    }
}

impl ContainerReader {
    /// Reads every byte of the container that wasn't compared when it was opened and compares it
    /// with what it is said to be; decodes every chunk too if `decode` says so. Damage to chunks
    /// doesn't end it.
    ///
    /// Header, index and seek table were read on opening and are not read again.
    /// [`verify`](super::verify) does the same by all cores, for a file.
    ///
    /// ```
    /// # use ringpack::pack::{Input, Output, PackOptions, pack};
    /// # use ringpack::{Cancel, ContainerReader, ring::os::OsDisk};
    /// # let dir = tempfile::tempdir()?;
    /// # let (input, output) = (dir.path().join("data"), dir.path().join("data.zst"));
    /// # std::fs::write(&input, vec![0; 100])?;
    /// # let to = Output::Path(output.clone());
    /// # pack(&OsDisk, Input::Path(input), to, &PackOptions::default(), &Cancel::new())?;
    /// let mut bytes = std::fs::read(&output)?;
    /// assert!(ContainerReader::from_source(bytes.clone())?.verify(false)?.is_intact());
    ///
    /// bytes[9] ^= 1; // within the first chunk's frame, with which the container begins
    /// let found = ContainerReader::from_source(bytes)?.verify(false)?;
    /// assert_eq!(found.damages[0].chunk(), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Damaged` where the chunks' checksums don't make the content's, `Input` or `InputChanged`
    /// where the source can't be read. A place that the medium doesn't give back (`EIO`) is damage.
    pub fn verify(&self, decode: bool) -> Result<Findings> {
        let container = self.container();
        container.check_sums()?;
        let header = container.header();
        let chunk_len = header.chunk_len().min(header.content_size) as usize;
        let mut scratch = vec![0; if decode { chunk_len } else { 0 }];
        let mut check = Check::new(container, decode);
        let mut damages = Damages::default();
        let mut bytes = Vec::new();
        for sequence in 0..header.chunk_count {
            match container.read_span(sequence, &mut bytes) {
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    damages.note(container.damaged(sequence, "the device can't read its extent"));
                    continue;
                }
                result => result?,
            }
            damages.of(check.chunk(sequence, &bytes, &mut scratch))?;
        }
        // X1: this is what is left.
        damages.of(container.check_rest())?;
        Ok(Findings { damage_count: damages.count, damages: damages.sorted() })
    }
}
