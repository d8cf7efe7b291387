//! The reference seekable library, facebook's `contrib/seekable_format`, as a program: reads a
//! container by range and compares it with the original.
//!
//! A package of its own, so that its libzstd and the engine's aren't linked into one program.
//!
//! ```text
//! seekable_reference CONTAINER ORIGINAL
//! ```

use std::process::ExitCode;

use zstd_seekable::Seekable;

/// Ranges are drawn by this: the same at every run.
const SEED: u64 = 20;
const RANGES: usize = 50;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(container), Some(original)) = (args.next(), args.next()) else {
        eprintln!("usage: seekable_reference CONTAINER ORIGINAL");
        return ExitCode::from(2);
    };
    match compare(&container, &original) {
        Ok(()) => ExitCode::SUCCESS,
        Err(difference) => {
            eprintln!("{container}: {difference}");
            ExitCode::FAILURE
        }
    }
}

fn compare(container: &str, original: &str) -> Result<(), String> {
    let original = std::fs::read(original).map_err(|error| error.to_string())?;
    let packed = std::fs::read(container).map_err(|error| error.to_string())?;
    let mut reader = Seekable::init_buf(&packed).map_err(|error| format!("refused: {error}"))?;
    let len: usize =
        (0..reader.get_num_frames()).map(|frame| reader.get_frame_decompressed_size(frame)).sum();
    if len != original.len() {
        return Err(format!("length {len}, expected {}", original.len()));
    }
    let mut state = SEED;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    let mut ranges = vec![(0, len.min(1)), (len.saturating_sub(1), len.min(1)), (0, len)];
    for _ in 0..RANGES {
        let start = below(len);
        let count = below(len - start).min(200_000);
        ranges.push((start, count));
    }
    for (start, count) in ranges.into_iter().filter(|&(_, count)| count > 0) {
        let mut found = vec![0; count];
        let mut filled = 0;
        while filled < count {
            let read = reader.decompress(&mut found[filled..], (start + filled) as u64);
            match read.map_err(|error| format!("range {start}+{count}: {error}"))? {
                0 => return Err(format!("range {start}+{count} ends after {filled}")),
                read => filled += read,
            }
        }
        if found != original[start..start + count] {
            return Err(format!("range {start}+{count} differs"));
        }
    }
    Ok(())
}
