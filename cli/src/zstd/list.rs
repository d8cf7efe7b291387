//! `-l`: frames, sizes and ratio of each file, in the table that `zstd -l` prints.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ringpack::escape::shown;
use ringpack::foreign::{Listing, list as listing};
use ringpack::ring::os::OsDisk;

use crate::commands::print;
use crate::exit::{FAILURE, Failure};
use crate::signals::Signals;

const HEAD: &str = "Frames  Skips  Compressed  Uncompressed  Ratio  Check  Filename\n";

/// Lists the files; what is no Zstandard file is said, and leaves its mark on the code.
pub(super) fn list(
    files: &[PathBuf],
    verbose: bool,
    signals: &Signals,
    mut code: u8,
) -> Result<u8, Failure> {
    let mut text = if verbose { String::new() } else { HEAD.to_owned() };
    let mut total = Total { content_size: Some(0), checked: true, ..Total::default() };
    for file in files {
        match listing(&OsDisk, file, signals.cancel()) {
            Ok(found) if verbose => full(&mut text, file, &found),
            Ok(found) => {
                row(&mut text, &found, &shown(file).to_string());
                total.add(&found);
            }
            Err(error) if signals.cancel().is_cancelled() => return Err(error.into()),
            Err(error) => {
                Failure::from(error).say(signals);
                code = FAILURE;
            }
        }
    }
    if !verbose && files.len() > 1 {
        let _ = writeln!(text, "{} ", "-".repeat(65));
        let check = if total.checked { "XXH64" } else { "" };
        let counts = [total.frames + total.skippable, total.skippable];
        let name = format!("{} files", total.files);
        line(&mut text, counts, total.file_size, total.content_size, check, &name);
    }
    print(&text).map(|_| code)
}

#[derive(Default)]
struct Total {
    files: u64,
    frames: u64,
    skippable: u64,
    file_size: u64,
    content_size: Option<u64>,
    checked: bool,
}

impl Total {
    fn add(&mut self, found: &Listing) {
        self.files += 1;
        self.frames += found.frames;
        self.skippable += found.skippable;
        self.file_size = self.file_size.saturating_add(found.file_size);
        self.content_size =
            self.content_size.and_then(|size| size.checked_add(found.content_size?));
        self.checked &= found.checked > 0;
    }
}

fn row(text: &mut String, found: &Listing, name: &str) {
    let check = if found.checked > 0 { "XXH64" } else { "None" };
    let counts = [found.frames + found.skippable, found.skippable];
    line(text, counts, found.file_size, found.content_size, check, name);
}

fn line(
    text: &mut String,
    [frames, skippable]: [u64; 2],
    file_size: u64,
    content_size: Option<u64>,
    check: &str,
    name: &str,
) {
    let (packed, unit) = scaled(file_size);
    let _ = write!(text, "{frames:>6}  {skippable:>5}  {packed:>6}{unit:>4}  ");
    match content_size {
        Some(size) => {
            let (content, unit) = scaled(size);
            let ratio = ratio(size, file_size);
            let _ = write!(text, "{content:>8}{unit:>4}  {ratio:>5.3}  ");
        }
        None => text.push_str(&" ".repeat(21)),
    }
    let _ = writeln!(text, "{check:>5}  {name}");
}

fn full(text: &mut String, file: &Path, found: &Listing) {
    let sized = |bytes: u64| {
        let (number, unit) = scaled(bytes);
        format!("{number}{unit} ({bytes} B)")
    };
    let _ = writeln!(text, "{} ", shown(file));
    let _ = writeln!(text, "# Zstandard Frames: {}", found.frames);
    if found.skippable > 0 {
        let _ = writeln!(text, "# Skippable Frames: {}", found.skippable);
    }
    let _ = writeln!(text, "Window Size: {}", sized(found.window_bytes_max));
    let _ = writeln!(text, "Compressed Size: {}", sized(found.file_size));
    if let Some(size) = found.content_size {
        let _ = writeln!(text, "Decompressed Size: {}", sized(size));
        let _ = writeln!(text, "Ratio: {:.4}", ratio(size, found.file_size));
    }
    match found.checksum {
        Some(checksum) if found.frames == 1 => {
            let _ = writeln!(text, "Check: XXH64 {checksum:08x}");
        }
        _ => {
            let _ = writeln!(text, "Check: {}", if found.checked > 0 { "XXH64" } else { "None" });
        }
    }
    text.push('\n');
}

fn ratio(content_size: u64, file_size: u64) -> f64 {
    if file_size == 0 { 0.0 } else { content_size as f64 / file_size as f64 }
}

/// A number of bytes and its unit, with about three digits.
fn scaled(bytes: u64) -> (String, &'static str) {
    const UNITS: [(u32, &str); 6] =
        [(60, " EiB"), (50, " PiB"), (40, " TiB"), (30, " GiB"), (20, " MiB"), (10, " KiB")];
    let unit = UNITS.iter().find(|(log, _)| bytes >= 1 << log);
    let (log, name) = *unit.unwrap_or(&(0, " B"));
    let value = bytes as f64 / (1u64 << log) as f64;
    let digits = match value {
        _ if log == 0 || value >= 100.0 || value as u64 == bytes => 0,
        _ if value >= 10.0 => 1,
        _ if value > 1.0 => 2,
        _ => 3,
    };
    (format!("{value:.digits$}"), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_as_zstd_has_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (12, "12 B"),
            (1023, "1023 B"),
            (1024, "1.000 KiB"),
            (304_295, "297 KiB"),
            (6_888_896, "6.57 MiB"),
            (50 << 30, "50.0 GiB"),
        ] {
            let (number, unit) = scaled(bytes);
            assert_eq!(format!("{number}{unit}"), text);
        }
    }
}
