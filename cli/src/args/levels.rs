//! zstd's level flags: `-1` to `-22`, which clap can't tell from options.

use std::ffi::OsString;

/// Options of `pack` and `bench` whose value is an argument of its own.
const WITH_VALUE: [&str; 18] = [
    "-o",
    "--output",
    "--level",
    "--chunk-size",
    "--placement",
    "--digest",
    "--expect-size",
    "--expect-blake3",
    "-T",
    "--threads",
    "--io",
    "--checkpoint-size",
    "--checkpoint-seconds",
    "--dir",
    "--size",
    "--rounds",
    "--progress",
    "--metrics-file",
];

/// The arguments with zstd's level flags, -1 to -22, spelled out as `--level`, which `pack`
/// and `bench` have. A number in the place of an option's value, or after `--`, is left alone.
pub(crate) fn with_level_flags(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut spelled: Vec<OsString> = Vec::new();
    let mut options_ended = false;
    for arg in args {
        let has_level =
            spelled.get(1).is_some_and(|command| command == "pack" || command == "bench");
        let is_value =
            spelled.last().is_some_and(|last| WITH_VALUE.iter().any(|with| last == with));
        options_ended |= arg == "--";
        match arg.to_str().and_then(level) {
            Some(level) if has_level && !is_value && !options_ended => {
                spelled.push(format!("--level={level}").into());
            }
            _ => spelled.push(arg),
        }
    }
    spelled
}

/// The digits of `-1`, `-19` …
fn level(arg: &str) -> Option<&str> {
    let digits = arg.strip_prefix('-')?;
    let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(digits)
}
