//! zstd's grammar: flags that may be run together, numbers among them, and files in between.
//!
//! It is its own, so no parser of options has it: `-19` is a level, `-dcf` are three flags, `-T0k`
//! are two, and the last of what excludes each other wins. A flag with a value has it behind `=` or
//! in the next argument, and the flags behind it in a cluster are read all the same: `-oq OUT`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringpack::escape::shown;

use super::{numbers, tuning};

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

/// Whether a counter of progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    Always,
    Never,
}

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flags {
    pub(super) mode: Mode,
    pub(super) level: Option<i32>,
    pub(super) ultra: bool,
    pub(super) output: Option<Output>,
    pub(super) folder: Option<PathBuf>,
    pub(super) mirror: Option<PathBuf>,
    pub(super) force: bool,
    pub(super) remove: bool,
    pub(super) recursive: bool,
    pub(super) exclude_compressed: bool,
    pub(super) quiet: u8,
    pub(super) verbose: u8,
    pub(super) progress: Option<Progress>,
    pub(super) threads: Option<u64>,
    /// Logarithm of the window that a frame may have.
    pub(super) long: Option<u64>,
    /// Bytes of the same.
    pub(super) memory: Option<u64>,
    /// Length that standard input is to have.
    pub(super) stream_size: Option<u64>,
    pub(super) pass_through: Option<bool>,
    pub(super) lists: Vec<PathBuf>,
    pub(super) files: Vec<PathBuf>,
    /// What was asked for and has no effect here.
    pub(super) notes: Vec<&'static str>,
}

/// Where all of it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Output {
    Stdout,
    File(PathBuf),
}

/// Most that zstd takes for a number of 32 bits.
const U32_MAX: u64 = u32::MAX as u64;

/// Flags that are accepted in silence: they change what zstd does on the way, never its result, or
/// ask for what is done anyway.
const IN_SILENCE: [&str; 10] = [
    "--asyncio",
    "--no-asyncio",
    "--sparse",
    "--check",
    "--content-size",
    "--no-dictID",
    "--mmap-dict",
    "--no-mmap-dict",
    "--compress-literals",
    "--priority=rt",
];

/// Flags without a value that have no effect here, and what is said about each.
const WITHOUT_EFFECT: [(&str, &str); 8] = [
    ("--adapt", "--adapt has no effect: the level stays the same"),
    ("--rsyncable", "--rsyncable has no effect: chunks are cut at fixed offsets"),
    ("--no-check", "--no-check has no effect: checksums are always kept, and always checked"),
    ("--no-content-size", "--no-content-size has no effect: frames always state it"),
    ("--no-sparse", "--no-sparse has no effect: zeros become holes"),
    ("--no-compress-literals", "--no-compress-literals has no effect"),
    ("--row-match-finder", "--row-match-finder has no effect"),
    ("--no-row-match-finder", "--no-row-match-finder has no effect"),
];

/// Flags with a number that have no effect here.
const NUMBERS_WITHOUT_EFFECT: [(&str, &str); 5] = [
    ("--size-hint", ""),
    ("--block-size", "--block-size has no effect: each chunk is a frame of its own"),
    ("--target-compressed-block-size", "--target-compressed-block-size has no effect"),
    ("--maxdict", "--maxdict has no effect: no dictionary is made"),
    ("--dictID", "--dictID has no effect: no dictionary is used"),
];

/// Flags of zstd that would be missed if they did nothing.
const NOT_OFFERED: [&str; 7] = [
    "--train",
    "--train-cover",
    "--train-fastcover",
    "--train-legacy",
    "--patch-from",
    "--format",
    "--show-default-cparams",
];

impl Flags {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            level: None,
            ultra: false,
            output: None,
            folder: None,
            mirror: None,
            force: false,
            remove: false,
            recursive: false,
            exclude_compressed: false,
            quiet: 0,
            verbose: 0,
            progress: None,
            threads: None,
            long: None,
            memory: None,
            stream_size: None,
            pass_through: None,
            lists: Vec::new(),
            files: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether all of it goes to standard output, as asked.
    pub(super) fn to_stdout(&self) -> bool {
        self.output == Some(Output::Stdout)
    }

    /// The file that all of it goes to, if one was named.
    pub(super) fn output_file(&self) -> Option<&Path> {
        match &self.output {
            Some(Output::File(path)) => Some(path),
            _ => None,
        }
    }

    /// Reads the arguments. Whoever asks for help or the version gets it, whatever follows.
    pub(super) fn read(&mut self, args: impl Iterator<Item = OsString>) -> Result<(), String> {
        let mut args = args;
        let mut options_ended = false;
        while let Some(arg) = args.next() {
            let bytes = arg.as_bytes();
            if options_ended {
                self.files.push(a_file(&arg));
            } else if bytes == b"-" || !bytes.starts_with(b"-") {
                self.files.push(arg.into());
            } else if bytes == b"--" {
                options_ended = true;
            } else if bytes.starts_with(b"--") {
                self.long_flag(&arg, &mut args)?;
            } else {
                self.cluster(&bytes[1..], &mut args)?;
            }
            if matches!(self.mode, Mode::Help | Mode::Version) {
                break;
            }
        }
        Ok(())
    }

    /// Takes the defaults that zstd takes from the environment, unless they were typed.
    pub(super) fn read_environment(&mut self, variable: impl Fn(&str) -> Option<OsString>) {
        let number = |text: &OsStr| {
            let digits = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
            numbers::whole(text, U32_MAX).ok().filter(|_| digits)
        };
        if self.level.is_none()
            && let Some(text) = variable("ZSTD_CLEVEL")
        {
            let bytes = text.as_bytes();
            let digits = bytes.strip_prefix(b"-").or_else(|| bytes.strip_prefix(b"+"));
            match number(OsStr::from_bytes(digits.unwrap_or(bytes))) {
                Some(_) if bytes.starts_with(b"-") => self.fast("ZSTD_CLEVEL is below 1"),
                Some(level) => self.level = Some(i32::try_from(level).unwrap_or(i32::MAX)),
                None => self.note("ZSTD_CLEVEL is no level, so it has no effect"),
            }
        }
        if self.threads.is_none()
            && let Some(text) = variable("ZSTD_NBTHREADS")
        {
            match number(&text) {
                Some(count) => self.threads = Some(count),
                None => self.note("ZSTD_NBTHREADS is no number, so it has no effect"),
            }
        }
    }

    fn long_flag(
        &mut self,
        arg: &OsStr,
        args: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), String> {
        let text = arg.as_bytes();
        if let Ok(flag) = std::str::from_utf8(text)
            && self.switch(flag)
        {
            return Ok(());
        }
        let equals = text.iter().position(|&byte| byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&text[..at], Some(OsStr::from_bytes(&text[at + 1..]))),
            None => (text, None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let mut needed = || value.map_or_else(|| next_value(&name, args), |it| Ok(it.to_owned()));
        if let Some((_, what)) = NUMBERS_WITHOUT_EFFECT.iter().find(|(flag, _)| *flag == name) {
            numbers::whole(&needed()?, u64::MAX)?;
            if !what.is_empty() {
                self.note(what);
            }
            return Ok(());
        }
        match (name.as_str(), value) {
            ("--threads", _) => self.threads = Some(numbers::whole(&needed()?, U32_MAX)?),
            ("--memory" | "--memlimit" | "--memlimit-decompress", _) => {
                self.memory = Some(numbers::whole(&needed()?, U32_MAX)?);
            }
            ("--stream-size", _) => {
                self.stream_size = Some(numbers::whole(&needed()?, u64::MAX)?);
            }
            ("--auto-threads", _) => drop(needed()?),
            ("--filelist", _) => {
                let list = needed()?;
                self.lists.push(list.into());
            }
            ("--output-dir-flat", _) => self.folder = Some(a_folder(needed()?)?),
            ("--output-dir-mirror", _) => self.mirror = Some(a_folder(needed()?)?),
            ("--trace", _) => {
                needed()?;
                self.note("--trace has no effect: no trace is written");
            }
            ("--long", None) => self.long = Some(27),
            ("--long", Some(value)) => self.long = Some(numbers::whole(value, U32_MAX)?),
            ("--fast", None) => self.fast("--fast is below level 1"),
            ("--fast", Some(value)) if numbers::whole(value, U32_MAX)? > 0 => {
                self.fast("--fast is below level 1");
            }
            ("--adapt", Some(value)) => {
                tuning::adaptation(value.as_bytes())?;
                self.switch("--adapt");
            }
            ("--zstd", Some(value)) => {
                if let Some(window) = tuning::parameters(value.as_bytes())? {
                    self.long = Some(window);
                }
                self.note("--zstd=... has no effect on packing: the level decides");
            }
            (name, _) if NOT_OFFERED.contains(&name) => {
                return Err(format!("{} isn't offered here", shown(arg)));
            }
            _ => return Err(format!("{} is no flag", shown(arg))),
        }
        Ok(())
    }

    /// Does as a long flag without a value says; whether it is one.
    fn switch(&mut self, flag: &str) -> bool {
        match flag {
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
            "--progress" => self.progress = Some(Progress::Always),
            "--no-progress" => self.progress = Some(Progress::Never),
            "--exclude-compressed" => self.exclude_compressed = true,
            "--format=zstd" => {}
            flag if IN_SILENCE.contains(&flag) => {}
            flag => match WITHOUT_EFFECT.iter().find(|(name, _)| *name == flag) {
                Some((_, what)) => self.note(what),
                None => return false,
            },
        }
        true
    }

    fn cluster(
        &mut self,
        flags: &[u8],
        args: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), String> {
        let mut rest = flags;
        while let Some((&flag, behind)) = rest.split_first() {
            let with_flag = std::mem::replace(&mut rest, behind);
            match flag {
                b'0'..=b'9' => {
                    let level;
                    (level, rest) = numbers::leading(with_flag, U32_MAX)?;
                    self.level = Some(i32::try_from(level).unwrap_or(i32::MAX));
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
                b'C' | b'n' => {}
                b'T' => self.threads = Some(following(&mut rest)?),
                b'M' => self.memory = Some(following(&mut rest)?),
                b'B' => {
                    if following(&mut rest)? > 0 {
                        self.note("-B has no effect: each chunk is a frame of its own");
                    }
                }
                // For its benchmarks and dictionaries, or to wait for a key.
                b'e' | b'i' | b's' | b'p' | b'P' => {
                    following(&mut rest)?;
                    self.note("-e, -i, -p, -P, -s and -S have no effect");
                }
                b'S' => self.note("-e, -i, -p, -P, -s and -S have no effect"),
                b'o' => {
                    let name = match rest.strip_prefix(b"=") {
                        Some(name) => {
                            rest = &[];
                            OsStr::from_bytes(name).to_owned()
                        }
                        None => next_value("-o", args)?,
                    };
                    self.output = Some(Output::File(a_file(&name)));
                }
                b'D' => return Err("-D: dictionaries aren't offered here".to_owned()),
                b'b' => return Err("-b: benchmarks aren't offered here".to_owned()),
                other => {
                    let other = char::from(other).escape_default();
                    return Err(format!("-{other} is no flag"));
                }
            }
            if matches!(self.mode, Mode::Help | Mode::Version) {
                break;
            }
        }
        Ok(())
    }

    /// What goes to standard output stands for no source, so none is removed.
    fn choose_stdout(&mut self) {
        (self.output, self.remove) = (Some(Output::Stdout), false);
    }

    fn fast(&mut self, what: &'static str) {
        self.level = Some(1);
        self.note(what);
        self.note("level 1 is used: there is no faster one");
    }

    fn note(&mut self, what: &'static str) {
        if !self.notes.contains(&what) {
            self.notes.push(what);
        }
    }
}

/// A value in the next argument.
fn next_value(name: &str, args: &mut dyn Iterator<Item = OsString>) -> Result<OsString, String> {
    let next = args.next().ok_or_else(|| format!("{name} needs a value"))?;
    if next.as_bytes().starts_with(b"-") {
        let next = shown(&next);
        return Err(format!("{name} needs a value, and {next} is a flag: write {name}={next}"));
    }
    Ok(next)
}

/// The number that stands directly behind a flag in a cluster, 0 where there is none.
fn following(rest: &mut &[u8]) -> Result<u64, String> {
    let number;
    (number, *rest) = numbers::leading(rest, U32_MAX)?;
    Ok(number)
}

/// A name that is a file's, whatever it looks like: `-` alone would be a standard stream.
pub(super) fn a_file(name: &OsStr) -> PathBuf {
    if name == "-" { PathBuf::from("./-") } else { name.into() }
}

fn a_folder(name: OsString) -> Result<PathBuf, String> {
    if name.is_empty() {
        return Err("a directory needs a name; the current one is .".to_owned());
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &str) -> Result<Flags, String> {
        let mut flags = Flags::new(Mode::Compress);
        flags.read(args.split(' ').map(OsString::from))?;
        Ok(flags)
    }

    fn file(name: &str) -> Option<Output> {
        Some(Output::File(name.into()))
    }

    #[test]
    fn flags_run_together() {
        let flags = read("-19T0kfq a -dv --ultra b -- -x -").unwrap();
        assert_eq!((flags.level, flags.threads), (Some(19), Some(0)));
        assert_eq!(flags.mode, Mode::Decompress);
        assert!(flags.force && !flags.remove && flags.ultra);
        assert_eq!((flags.quiet, flags.verbose), (1, 1));
        assert_eq!(flags.files, ["a", "b", "-x", "./-"].map(PathBuf::from));
        assert_eq!(read("-7T2f a").unwrap(), read("-7 -T2 -f a").unwrap());
        assert_eq!(read("-T -M -Bn a").unwrap().memory, Some(0));
    }

    #[test]
    fn the_last_one_wins() {
        assert_eq!(read("-d -z -t a").unwrap().mode, Mode::Test);
        assert!(!read("--rm -k a").unwrap().remove && read("-k --rm a").unwrap().remove);
        assert_eq!(read("-c -o out a").unwrap().output, file("out"));
        assert!(read("-o out -c a").unwrap().to_stdout());
    }

    #[test]
    fn values_of_flags_in_a_cluster() {
        let flags = read("-oq out a").unwrap();
        assert_eq!((flags.output.clone(), flags.quiet, flags.files.len()), (file("out"), 1, 1));
        let flags = read("-dof out a").unwrap();
        assert_eq!((flags.output.clone(), flags.force), (file("out"), true));
        assert_eq!(read("-o=- a").unwrap().output, file("./-"));
        assert_eq!(read("-o= a").unwrap().output, file(""));
        for wrong in ["-oout a", "a -o", "-o -q", "-o -", "--threads", "--filelist -x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_in_every_place() {
        assert_eq!(read("-M256MB a").unwrap().memory, Some(256 << 20));
        assert_eq!(read("--memory=1MiB a").unwrap().memory, Some(1 << 20));
        assert_eq!(read("--threads=3 a").unwrap().threads, Some(3));
        assert_eq!(read("--threads 3 a").unwrap().threads, Some(3));
        assert_eq!(read("--size-hint 4 a").unwrap().files, [PathBuf::from("a")]);
        assert_eq!(read("--long a").unwrap().long, Some(27));
        assert_eq!(read("--long=30 -B1M a").unwrap().long, Some(30));
        for wrong in ["-T4294967296 a", "--threads=x a", "-99999999999 a", "--size-hint x a"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_flag_or_not_offered_is_refused() {
        for refused in [
            "-D dict a",
            "--train a",
            "-b3 a",
            "--patch-from=a b",
            "--format=gzip a",
            "--frob a",
            "-x",
            "--rm=1 a",
            "--quiet= a",
            "--fast=0 a",
            "--zstd=frob=1 a",
            "--best a",
        ] {
            assert!(read(refused).is_err(), "{refused}");
        }
        assert_eq!(read("--no-check --rsyncable --adapt=min=1 -p a").unwrap().notes.len(), 4);
        // What comes first is done.
        assert_eq!(read("-qV --frob").unwrap().mode, Mode::Version);
        assert!(read("--frob -V").is_err());
    }

    #[test]
    fn defaults_of_the_environment() {
        let read = |args: &str, level: &str, threads: &str| {
            let mut flags = read(args).unwrap();
            flags.read_environment(|name| {
                let value = if name == "ZSTD_CLEVEL" { level } else { threads };
                (!value.is_empty()).then(|| value.into())
            });
            (flags.level, flags.threads, flags.notes.len())
        };
        assert_eq!(read("a", "19", "2"), (Some(19), Some(2), 0));
        assert_eq!(read("-1 -T0 a", "19", "2"), (Some(1), Some(0), 0));
        assert_eq!(read("a", "-5", ""), (Some(1), None, 2));
        assert_eq!(read("a", "frob", "-1"), (None, None, 2));
        assert_eq!(read("a", "", ""), (None, None, 0));
    }
}
