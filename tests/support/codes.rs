//! The program's exit codes, as `ringpack --help` lists them.

/// Any other failure.
pub const FAILURE: i32 = 1;
/// Wrong arguments.
pub const USAGE: i32 = 2;
/// The input can't be read.
pub const INPUT: i32 = 3;
/// No Zstandard file.
pub const FOREIGN: i32 = 4;
/// A newer format, or not granted.
pub const NEWER: i32 = 5;
/// The input is damaged.
pub const DAMAGED: i32 = 6;
/// The output exists already.
pub const EXISTS: i32 = 7;
/// The output can't be written.
pub const OUTPUT: i32 = 8;
/// No space left for the output.
pub const NO_SPACE: i32 = 9;
/// The input changed while it was read.
pub const CHANGED: i32 = 10;
/// Another process writes the same output.
pub const LOCKED: i32 = 11;
/// Nothing to resume, or not with this input.
pub const NOT_RESUMABLE: i32 = 13;
/// The command of `--from-command` failed.
pub const REFUSED: i32 = 14;
/// The content isn't what was expected.
pub const UNEXPECTED: i32 = 15;
/// The content differs from what it was compared with.
pub const DIFFERS: i32 = 17;
/// The reader of the output went away.
pub const CLOSED: i32 = 141;
