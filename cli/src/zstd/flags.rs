//! zstd's grammar: flags that may be run together, numbers among them, and files in between.
//!
//! It is its own, so no parser of options has it: `-19` is a level, `-dcf` are three flags, `-T0k`
//! are two, and the last of what excludes each other wins.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use ringpack::escape::shown;

use crate::size;

/// What is done with each file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Compress,
    Decompress,
    Test,
    List,
    Help,
    Version,
}

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flags {
    pub(super) mode: Mode,
    pub(super) level: Option<i32>,
    pub(super) ultra: bool,
    pub(super) stdout: bool,
    pub(super) output: Option<PathBuf>,
    pub(super) output_folder: Option<PathBuf>,
    pub(super) force: bool,
    pub(super) remove: bool,
    pub(super) recursive: bool,
    pub(super) quiet: u8,
    pub(super) verbose: u8,
    pub(super) threads: Option<u64>,
    pub(super) long: Option<u64>,
    pub(super) memory: Option<u64>,
    pub(super) pass_through: Option<bool>,
    pub(super) lists: Vec<PathBuf>,
    pub(super) files: Vec<PathBuf>,
    /// What was asked for and has no meaning here.
    pub(super) notes: Vec<&'static str>,
}

/// What is accepted and changes nothing that can be seen in the result.
const WITHOUT_MEANING: [&str; 24] = [
    "--progress",
    "--no-progress",
    "--asyncio",
    "--no-asyncio",
    "--sparse",
    "--no-sparse",
    "--check",
    "--content-size",
    "--no-dictID",
    "--size-hint",
    "--stream-size",
    "--auto-threads",
    "--compress-literals",
    "--no-compress-literals",
    "--row-match-finder",
    "--no-row-match-finder",
    "--target-compressed-block-size",
    "--adapt",
    "--rsyncable",
    "--mmap-dict",
    "--no-mmap-dict",
    "--block-size",
    "--jobsize",
    "--zstd",
];

impl Flags {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            level: None,
            ultra: false,
            stdout: false,
            output: None,
            output_folder: None,
            force: false,
            remove: false,
            recursive: false,
            quiet: 0,
            verbose: 0,
            threads: None,
            long: None,
            memory: None,
            pass_through: None,
            lists: Vec::new(),
            files: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Reads the arguments.
    pub(super) fn read(&mut self, args: impl Iterator<Item = OsString>) -> Result<(), String> {
        let mut args = args;
        let mut options_ended = false;
        while let Some(arg) = args.next() {
            let bytes = arg.as_bytes();
            if options_ended || bytes == b"-" || !bytes.starts_with(b"-") {
                self.files.push(arg.into());
            } else if bytes == b"--" {
                options_ended = true;
            } else if bytes.starts_with(b"--") {
                self.long_flag(&arg, &mut args)?;
            } else {
                self.cluster(&bytes[1..], &mut args)?;
            }
        }
        Ok(())
    }

    fn long_flag(
        &mut self,
        arg: &OsStr,
        args: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), String> {
        let equals = arg.as_bytes().iter().position(|&byte| byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&arg.as_bytes()[..at], Some(OsStr::from_bytes(&arg.as_bytes()[at + 1..]))),
            None => (arg.as_bytes(), None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let mut needed = || {
            let next = value.map(OsStr::to_owned).or_else(|| args.next());
            next.ok_or_else(|| format!("{} needs a value", shown(&name)))
        };
        match name.as_str() {
            "--compress" => self.mode = Mode::Compress,
            "--decompress" | "--uncompress" => self.mode = Mode::Decompress,
            "--test" => self.mode = Mode::Test,
            "--list" => self.mode = Mode::List,
            "--help" => self.mode = Mode::Help,
            "--version" => self.mode = Mode::Version,
            "--stdout" => self.choose_stdout(),
            "--force" => self.force = true,
            "--keep" => self.remove = false,
            "--rm" => self.remove = true,
            "--quiet" => self.quiet += 1,
            "--verbose" => self.verbose += 1,
            "--ultra" => self.ultra = true,
            "--single-thread" => self.threads = Some(1),
            "--pass-through" => self.pass_through = Some(true),
            "--no-pass-through" => self.pass_through = Some(false),
            "--threads" => self.threads = Some(number(&needed()?)?),
            "--memory" | "--memlimit" | "--memlimit-decompress" | "--maxdict" => {
                self.memory = Some(number(&needed()?)?);
            }
            "--filelist" => {
                let list = needed()?;
                self.lists.push(list.into());
            }
            "--output-dir-flat" => self.output_folder = Some(needed()?.into()),
            "--long" => self.long = Some(value.map_or(Ok(27), number)?),
            "--fast" => {
                self.level = Some(1);
                self.note("--fast is level 1 here: there are no faster ones");
            }
            "--no-check" => self.note("--no-check: checksums are always kept, and always checked"),
            "--no-content-size" => self.note("--no-content-size: frames always state it"),
            "--format" if value == Some(OsStr::new("zstd")) => {}
            name if WITHOUT_MEANING.contains(&name) => {}
            _ => return Err(format!("{} isn't offered here", shown(arg))),
        }
        Ok(())
    }

    fn cluster(
        &mut self,
        flags: &[u8],
        args: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), String> {
        let mut rest = flags;
        while let Some((&flag, behind)) = rest.split_first() {
            rest = behind;
            match flag {
                b'0'..=b'9' => {
                    let digits = flags.len() - rest.len() - 1;
                    let (level, behind) = leading_number(&flags[digits..])?;
                    self.level = Some(i32::try_from(level).map_err(|_| "no such level")?);
                    rest = behind;
                }
                b'z' => self.mode = Mode::Compress,
                b'd' => self.mode = Mode::Decompress,
                b't' => self.mode = Mode::Test,
                b'l' => self.mode = Mode::List,
                b'h' | b'H' => self.mode = Mode::Help,
                b'V' => self.mode = Mode::Version,
                b'c' => self.choose_stdout(),
                b'f' => self.force = true,
                b'k' => self.remove = false,
                b'q' => self.quiet += 1,
                b'v' => self.verbose += 1,
                b'r' => self.recursive = true,
                b'C' => {}
                b'T' => (self.threads, rest) = some(leading_number(rest)?),
                b'M' => (self.memory, rest) = some(leading_number(rest)?),
                b'B' => rest = leading_number(rest)?.1,
                b'o' => {
                    let name = match std::mem::take(&mut rest) {
                        [] => args.next().ok_or("-o needs a name")?,
                        name => OsString::from_vec(name.to_vec()),
                    };
                    (self.output, self.stdout) = (Some(name.into()), false);
                }
                b'D' => return Err("-D: dictionaries aren't offered here".to_owned()),
                other => {
                    let other = char::from(other).escape_default();
                    return Err(format!("-{other} isn't offered here"));
                }
            }
        }
        Ok(())
    }

    fn choose_stdout(&mut self) {
        (self.stdout, self.output) = (true, None);
    }

    fn note(&mut self, what: &'static str) {
        self.notes.push(what);
    }
}

fn some<T>((number, rest): (u64, T)) -> (Option<u64>, T) {
    (Some(number), rest)
}

/// The number that `bytes` start with, with a suffix such as `MiB` where it has one.
fn leading_number(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let suffixes: [&[u8]; 3] = [b"iB", b"B", b""];
    let has_unit = bytes.get(digits).is_some_and(|unit| b"KMG".contains(unit));
    let mut end = digits;
    if has_unit {
        end += 1;
        let behind = &bytes[end..];
        end += suffixes.iter().find(|suffix| behind.starts_with(suffix)).map_or(0, |s| s.len());
    }
    let text = String::from_utf8_lossy(&bytes[..end]);
    let number = size::bytes(&text).map_err(|why| format!("{} {why}", shown(&*text)))?;
    Ok((number, &bytes[end..]))
}

fn number(text: &OsStr) -> Result<u64, String> {
    match leading_number(text.as_bytes())? {
        (number, []) => Ok(number),
        _ => Err(format!("{} is no number", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &str) -> Result<Flags, String> {
        let mut flags = Flags::new(Mode::Compress);
        flags.read(args.split(' ').map(OsString::from))?;
        Ok(flags)
    }

    #[test]
    fn flags_run_together() {
        let flags = read("-19T0kfq a -dcv --ultra b -- -x").unwrap();
        assert_eq!((flags.level, flags.threads), (Some(19), Some(0)));
        assert_eq!(flags.mode, Mode::Decompress);
        assert!(flags.stdout && flags.force && !flags.remove && flags.ultra);
        assert_eq!((flags.quiet, flags.verbose), (1, 1));
        assert_eq!(flags.files, ["a", "b", "-x"].map(PathBuf::from));
        assert_eq!(read("-7T2f a").unwrap(), read("-7 -T2 -f a").unwrap());
    }

    #[test]
    fn the_last_one_wins() {
        assert_eq!(read("-d -z -t a").unwrap().mode, Mode::Test);
        assert!(!read("--rm -k a").unwrap().remove && read("-k --rm a").unwrap().remove);
        let flags = read("-c -o out a").unwrap();
        assert_eq!((flags.stdout, flags.output), (false, Some("out".into())));
        assert!(read("-o out -c a").unwrap().stdout);
        assert_eq!(read("-oout a").unwrap().output, Some("out".into()));
    }

    #[test]
    fn numbers() {
        assert_eq!(read("-M256MB a").unwrap().memory, Some(256 << 20));
        assert_eq!(read("--memory=1GiB a").unwrap().memory, Some(1 << 30));
        assert_eq!(read("--threads=3 a").unwrap().threads, Some(3));
        assert_eq!(read("--threads 3 a").unwrap().threads, Some(3));
        assert_eq!(read("--long a").unwrap().long, Some(27));
        assert_eq!(read("--long=30 -B1M a").unwrap().long, Some(30));
        for wrong in ["-T a", "--threads=x a", "-999999999999999999999 a", "-o", "--memory"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        for refused in [
            "-D dict a",
            "--train a",
            "-b3 a",
            "--patch-from=a b",
            "--format=gzip a",
            "--frob a",
            "-x",
        ] {
            assert!(read(refused).is_err(), "{refused}");
        }
        assert_eq!(read("--no-check --fast=5 a").unwrap().notes.len(), 2);
    }
}
