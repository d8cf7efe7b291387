//! The table that every container suite goes over: sizes around a chunk's and an extent's, both
//! placements, both codecs, several chunk lengths.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{content, ringpack, succeed};

/// Sizes that no file system, chunk or extent ends on.
const ODD: usize = 12_347;
/// What an extent holds, as docs/FORMAT.md has it.
const EXTENT: usize = 4 << 20;

/// One way to pack.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `dense` or `slots`.
    pub placement: &'static str,
    /// `--store`, or a level as zstd spells it.
    pub codec: &'static str,
    /// As `--chunk-size` takes it.
    pub chunk: &'static str,
}

impl Case {
    /// The options that say so.
    #[must_use]
    pub fn args(&self) -> [&'static str; 5] {
        [self.codec, "--placement", self.placement, "--chunk-size", self.chunk]
    }

    /// Length of a chunk in bytes.
    ///
    /// # Panics
    /// Where the case names none.
    #[must_use]
    pub fn chunk_len(&self) -> usize {
        match self.chunk {
            "64K" => 64 << 10,
            "1M" => 1 << 20,
            "64M" => 64 << 20,
            other => panic!("{other} is no chunk length of the table"),
        }
    }

    /// How many chunks a content of `size` bytes has.
    #[must_use]
    pub fn chunk_count(&self, size: u64) -> u64 {
        size.div_ceil(self.chunk_len() as u64).max(1)
    }

    /// Every size that a container of this chunk length must pass, short of those over 4 GiB.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        let chunk = self.chunk_len();
        let extent = EXTENT.max(chunk);
        let mut sizes = vec![0, 1, ODD, chunk - 1, chunk, chunk + 1];
        sizes.extend([extent, extent + 1]);
        if chunk < EXTENT {
            sizes.push(2 * extent + 3 * chunk + ODD);
        }
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Contents of every size, and some that compress as nothing and as everything does; each with
    /// what messages call it.
    #[must_use]
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let chunk = self.chunk_len();
        let mut contents = Vec::new();
        for size in self.sizes() {
            contents.push((format!("{self:?} of {size}"), content(size, size as u64)));
        }
        if chunk <= 1 << 20 {
            contents.push((format!("{self:?} of noise"), noise(2 * chunk + ODD, 1)));
            contents.push((format!("{self:?} of zeros"), vec![0; 2 * chunk + ODD]));
        }
        contents
    }

    /// Packs `input` into `output`, which may exist.
    #[must_use]
    pub fn packing(&self, input: &Path, output: &Path) -> Command {
        let mut command = ringpack(["pack", "-f", "-o"]);
        command.arg(output).arg(input).args(self.args());
        command
    }

    /// Writes `bytes` and a container of them into `folder`; gives the paths of both.
    ///
    /// # Panics
    /// Where either fails.
    #[must_use]
    pub fn packed(&self, folder: &Path, bytes: &[u8]) -> (PathBuf, PathBuf) {
        let (input, output) = (folder.join("content"), folder.join("content.zst"));
        std::fs::write(&input, bytes).expect("the folder can be written");
        succeed(&mut self.packing(&input, &output));
        (input, output)
    }
}

/// Bytes that don't compress.
#[must_use]
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = super::Random(seed);
    let mut bytes: Vec<u8> =
        (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// A file of over 4 GiB that takes next to no room: islands of noise in a hole, at the start, over
/// a chunk's end, over 4 GiB, and at the end.
#[derive(Debug)]
pub struct Giant {
    /// Where it is.
    pub path: PathBuf,
    /// Offset and content of each island; all else is zeros.
    pub islands: Vec<(u64, Vec<u8>)>,
}

impl Giant {
    /// Its length: past what 32 bits count.
    pub const LEN: u64 = (4 << 30) + ODD as u64;

    /// Makes it.
    ///
    /// # Panics
    /// Where the folder can't hold it.
    #[must_use]
    pub fn create(path: PathBuf) -> Self {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::create(&path).expect("the folder can be written");
        file.set_len(Self::LEN).expect("the file system has holes");
        let starts = [0, (100 << 20) - 700, (4 << 30) - 5000, Self::LEN - 300];
        let lens = [300, 70_000, 9000, 300];
        let islands: Vec<(u64, Vec<u8>)> = (0..)
            .zip(starts.into_iter().zip(lens))
            .map(|(seed, (start, len))| (start, noise(len, seed)))
            .collect();
        for (start, bytes) in &islands {
            file.write_all_at(bytes, *start).expect("an island is written");
        }
        Self { path, islands }
    }

    /// Compares `found`, piece by piece in order, with what the file holds.
    ///
    /// # Panics
    /// Where it differs.
    pub fn compare(&self, mut found: impl std::io::Read, what: &str) {
        const PIECE: usize = 1 << 20;
        let zeros = vec![0; PIECE];
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        loop {
            let mut filled = 0;
            while filled < PIECE {
                match found.read(&mut piece[filled..]).expect("the content can be read") {
                    0 => break,
                    got => filled += got,
                }
            }
            let found = &piece[..filled];
            let end = at + filled as u64;
            let touched =
                |(start, bytes): &&(u64, Vec<u8>)| *start < end && at < start + bytes.len() as u64;
            if self.islands.iter().any(|island| touched(&island)) {
                let expected = self.range(at, filled);
                super::assert_same(found, &expected, &format!("{what} at {at}"));
            } else {
                assert!(found == &zeros[..filled], "{what}: no zeros at {at}");
            }
            at = end;
            if filled < PIECE {
                break;
            }
        }
        assert_eq!(at, Self::LEN, "{what}: length");
    }

    /// What a range of it holds.
    #[must_use]
    pub fn range(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for (start, island) in &self.islands {
            for (at, byte) in (*start..).zip(island) {
                if let Some(slot) = at.checked_sub(offset).and_then(|at| bytes.get_mut(at as usize))
                {
                    *slot = *byte;
                }
            }
        }
        bytes
    }
}
