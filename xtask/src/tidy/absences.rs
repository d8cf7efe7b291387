//! What must stay absent: names that a place in the tree does not know.
//!
//! An architecture is held up as much by what a module cannot say as by what it does. The codec
//! that knows no offset can be run on any core in any order; the engine that never prints can be
//! put into a program with a terminal of its own.

use super::paths::{NamedPath, paths};
use super::source::{Source, has_word, word_at};
use super::{Offence, Tree};

/// Something that the code of a file may not contain.
enum Absent {
    /// A path, in a `use` or in place, that begins so.
    Path(&'static str),
    /// A word of the code.
    Word(&'static str),
    /// A part of any word, in small letters.
    Part(&'static str),
    /// A call of a macro.
    Macro(&'static str),
    /// A call of a method.
    Method(&'static str),
}

/// A rule: in these modules (but not in those) these names are absent, for this reason.
struct Rule {
    within: &'static [&'static str],
    but_for: &'static [&'static str],
    in_tests_too: bool,
    absent: &'static [Absent],
    reason: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        within: &["engine/src", "cli/src"],
        but_for: &["engine/src/ring/uring", "engine/src/ring/probe"],
        in_tests_too: true,
        absent: &[Absent::Path("io_uring")],
        reason: "only the ring's own backend and its probe know the io_uring crate",
    },
    Rule {
        within: &["engine/src"],
        but_for: &[],
        in_tests_too: true,
        absent: &[
            Absent::Macro("print"),
            Absent::Macro("println"),
            Absent::Macro("eprint"),
            Absent::Macro("eprintln"),
            Absent::Macro("dbg"),
        ],
        reason: "the engine never prints: the program around it talks to people",
    },
    Rule {
        within: &["engine/src", "cli/src"],
        but_for: &[],
        in_tests_too: false,
        absent: &[Absent::Method("display")],
        reason: "people get a name by `escape::shown`, programs by `to_string_lossy`",
    },
    Rule {
        within: &["engine/src/codec"],
        but_for: &[],
        in_tests_too: true,
        absent: &[Absent::Part("offset")],
        reason: "the codec does not know where a frame will stand",
    },
    Rule {
        within: &["engine/src/placement"],
        but_for: &[],
        in_tests_too: true,
        absent: &[
            Absent::Path("std::fs"),
            Absent::Path("std::io"),
            Absent::Path("nix"),
            Absent::Path("libc"),
        ],
        reason: "placement computes where bytes go and does no I/O",
    },
    Rule {
        within: &["engine/src/format"],
        but_for: &[],
        in_tests_too: true,
        absent: &[Absent::Path("std::fs"), Absent::Word("File")],
        reason: "the format turns bytes into types and back, without I/O",
    },
    Rule {
        within: &["engine/src/format", "engine/src/journal/replay"],
        but_for: &[],
        in_tests_too: false,
        absent: &[Absent::Method("unwrap"), Absent::Method("expect")],
        reason: "bytes from a disk may be anything: no length or field is taken for granted",
    },
];

pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in &tree.sources {
        let paths = paths(source);
        for rule in RULES.iter().filter(|rule| rule.concerns(source)) {
            for absent in rule.absent {
                offences.extend(rule.check(source, &paths, absent));
            }
        }
    }
    offences
}

impl Rule {
    fn concerns(&self, source: &Source) -> bool {
        let is_in_any = |modules: &[&str]| modules.iter().any(|module| source.is_in(module));
        is_in_any(self.within) && !is_in_any(self.but_for)
    }

    fn check(&self, source: &Source, paths: &[NamedPath], absent: &Absent) -> Vec<Offence> {
        let found = |name: &str, line: usize| {
            Offence::new(&source.path, line, format!("`{name}` here: {}", self.reason))
        };
        if let Absent::Path(prefix) = absent {
            return paths
                .iter()
                .filter(|path| self.in_tests_too || !path.test)
                .filter(|path| path.starts_with(prefix))
                .map(|path| found(prefix, path.line))
                .collect();
        }
        source
            .numbered()
            .filter(|(_, line)| self.in_tests_too || !line.test)
            .filter(|(_, line)| absent.is_in(&line.code))
            .map(|(number, _)| found(absent.name(), number))
            .collect()
    }
}

impl Absent {
    fn name(&self) -> &'static str {
        match self {
            Self::Path(name)
            | Self::Word(name)
            | Self::Part(name)
            | Self::Macro(name)
            | Self::Method(name) => name,
        }
    }

    /// Whether the line of code contains it. A path is looked up in the file's paths instead.
    fn is_in(&self, code: &str) -> bool {
        match self {
            Self::Path(_) => false,
            Self::Word(word) => has_word(code, word),
            Self::Part(part) => code.to_lowercase().contains(part),
            Self::Macro(name) => {
                word_at(code, name).any(|at| code[at + name.len()..].starts_with('!'))
            }
            Self::Method(name) => word_at(code, name).any(|at| {
                code[..at].ends_with(['.', ':']) && code[at + name.len()..].starts_with('(')
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::shown;

    /// Each row: a path, code with an offence on its first line, and what is named.
    const PLANTED: &[(&str, &str, &str)] = &[
        ("engine/src/worker.rs", "use io_uring::IoUring;", "io_uring"),
        ("engine/src/ring/op.rs", "fn f(x: &io_uring::squeue::Entry) {}", "io_uring"),
        ("cli/src/main.rs", "use io_uring as ring;", "io_uring"),
        ("cli/src/remedy.rs", "format!(\"{}\", path.display());", "display"),
        ("engine/src/pack.rs", "println!();", "println"),
        ("engine/src/pack.rs", "std::eprintln!();", "eprintln"),
        ("engine/src/ring/op.rs", "dbg!(x);", "dbg"),
        ("engine/src/ring/op.rs", "print!();", "print"),
        ("engine/src/codec.rs", "let frame_offset = 1;", "offset"),
        ("engine/src/codec/zstd.rs", "use crate::units::Offset;", "offset"),
        ("engine/src/placement/dense.rs", "use std::{fs, sync};", "std::fs"),
        ("engine/src/placement/mod.rs", "fn f() -> std::io::Result<()> {}", "std::io"),
        ("engine/src/placement.rs", "use nix::fcntl;", "nix"),
        ("engine/src/format/header.rs", "use std::fs;", "std::fs"),
        ("engine/src/format/header.rs", "fn f(file: &File) {}", "File"),
        ("engine/src/format/frame.rs", "let x = bytes.first().unwrap();", "unwrap"),
        ("engine/src/journal/replay.rs", "let x = bytes.first().expect(\"x\");", "expect"),
        ("engine/src/format/frame.rs", "x.map(Option::unwrap(y))", "unwrap"),
    ];

    #[test]
    fn a_name_that_must_be_absent_is_found() {
        for (path, code, name) in PLANTED {
            let shown = shown(check, &[(path, code)]);
            assert_eq!(shown.len(), 1, "{path}: {code}: {shown:?}");
            assert!(shown[0].starts_with(&format!("{path}:1: `{name}` here: ")), "{shown:?}");
        }
    }

    #[test]
    fn the_same_names_are_free_elsewhere() {
        let table = [
            ("engine/src/ring/uring.rs", "use io_uring::IoUring;"),
            ("engine/src/ring/probe.rs", "use io_uring::Probe;"),
            ("benches/src/lib.rs", "use io_uring::IoUring;"),
            ("engine/src/ring/op.rs", "let io_uring_is_there = true;"),
            ("cli/src/main.rs", "println!();"),
            ("engine/src/pack.rs", "// println!()\nlet s = \"println!()\";"),
            ("engine/src/codec.rs", "// The offset is not known here."),
            ("engine/src/placement/dense.rs", "use std::sync::Arc;"),
            ("engine/src/format/header.rs", "fn f(file_size: u64) { x.unwrap_or(1) }"),
            ("engine/src/format/header.rs", "#[cfg(test)]\nmod tests {\n    x.unwrap();\n}"),
            ("engine/src/journal/writer.rs", "x.unwrap();"),
        ];
        for (path, code) in table {
            let shown = shown(check, &[(path, code)]);
            assert!(shown.is_empty(), "{path}: {code}: {shown:?}");
        }
    }
}
