//! A read of 4 KiB from a container that is opened for it: the index is not in memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use ringpack::ContainerReader;
use ringpack_benches::memory::Held;

use crate::outcome::{Bound, Outcome, Unit};
use crate::setting::{CHUNK_LEN, IN, Setting};

/// Reads a pair.
const READS: u64 = 32;
/// Bytes of each.
const LEN: u64 = 4096;

/// Against decoding one frame that is in memory; and against zeekstd, which reads the same file by
/// its seek table. Both with the file in the page cache, and for zeekstd with it on the device too.
pub(crate) fn range(setting: &Setting) -> io::Result<Vec<Outcome>> {
    let of = |job: &str, against, bound| Outcome::new(job, against, bound, Unit::Millis);
    let (cached, device) = ("4 KiB, cold index", "4 KiB, cold index and page cache");
    let mut frame = of(cached, "decoding one frame", Bound::AtMost(1.2));
    let mut zeekstd = of(cached, "zeekstd", Bound::AtMost(1.0));
    let mut uncached = of(device, "zeekstd", Bound::AtMost(1.0));
    setting.ringpack(&["pack", "-q"], IN, "out.zst")?;
    let path = setting.place.path("out.zst");
    let held = Held::read(&setting.place.path(IN), CHUNK_LEN)?;
    let frames = held.frames(ringpack::limits::LEVEL_DEFAULT)?;
    for round in setting.rounds("4 KiB") {
        let starts = starts(setting, round);
        let numbers: Vec<usize> = starts.iter().map(|at| *at as usize / CHUNK_LEN).collect();
        io::copy(&mut File::open(&path)?, &mut io::sink())?;
        let ours = each(&starts, || Ok(()), |start| by_ringpack(&path, start))?;
        let theirs = each(&starts, || Ok(()), |start| by_zeekstd(&path, start))?;
        frame.pair(ours * 1e3, frames.decompress_each(&numbers)? * 1e3);
        zeekstd.pair(ours * 1e3, theirs * 1e3);
        let evict = || setting.place.settle(&["out.zst"], &[]);
        let ours = each(&starts, evict, |start| by_ringpack(&path, start))?;
        let theirs = each(&starts, evict, |start| by_zeekstd(&path, start))?;
        uncached.pair(ours * 1e3, theirs * 1e3);
    }
    setting.place.remove(&["out.zst"])?;
    Ok(vec![frame, zeekstd, uncached])
}

/// Where a round reads: a walk by the golden ratio, another in each.
pub(crate) fn starts(setting: &Setting, round: u32) -> Vec<u64> {
    let step = |read: u64| (u64::from(round) * READS + read).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..READS).map(|read| step(read) % (setting.size - LEN)).collect()
}

/// Mean seconds that `read` takes for each of `starts`.
pub(crate) fn each(
    starts: &[u64],
    prepare: impl Fn() -> io::Result<()>,
    read: impl Fn(u64) -> io::Result<Vec<u8>>,
) -> io::Result<f64> {
    let mut seconds = 0.0;
    for &start in starts {
        prepare()?;
        let begun = Instant::now();
        let bytes = read(start)?;
        seconds += begun.elapsed().as_secs_f64();
        if bytes.len() as u64 != LEN {
            return Err(io::Error::other(format!("{} bytes were read at {start}", bytes.len())));
        }
    }
    Ok(seconds / starts.len() as f64)
}

pub(crate) fn by_ringpack(path: &Path, start: u64) -> io::Result<Vec<u8>> {
    read(&ContainerReader::open(path).map_err(io::Error::other)?, start)
}

pub(crate) fn read(reader: &ContainerReader, start: u64) -> io::Result<Vec<u8>> {
    reader.read_range(start..start + LEN).map_err(io::Error::other)
}

fn by_zeekstd(path: &Path, start: u64) -> io::Result<Vec<u8>> {
    let mut reader = zeekstd::Decoder::new(File::open(path)?).map_err(io::Error::other)?;
    reader.set_offset(start).map_err(io::Error::other)?;
    reader.set_offset_limit(start + LEN).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(LEN as usize);
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}
