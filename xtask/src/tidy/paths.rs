//! The paths that a Rust file names: the leaves of its `use` trees and those written in place.
//!
//! `use std::{fs, io::{self, Read}}` names `std::fs`, `std::io` and `std::io::Read`; a check that
//! looks for the text `std::fs` would not see the first. Every path is given whole, each with the
//! line it stands on, so that a check is a comparison of prefixes.

use super::source::{Source, is_word};

/// A path as its segments, and the name under which a `use` makes it known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedPath {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
    pub(super) alias: Option<String>,
    pub(super) test: bool,
}

impl NamedPath {
    /// Whether the path begins with these segments.
    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        let mut segments = self.segments.iter();
        prefix.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
    }
}

/// The paths of more than one segment, and the crates that a `use` names by one.
pub(super) fn paths(source: &Source) -> Vec<NamedPath> {
    let tokens = tokens(source);
    let mut walk = Walk { tokens: &tokens, at: 0, found: Vec::new() };
    while walk.at < tokens.len() {
        walk.step();
    }
    walk.found
}

#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
    test: bool,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Words, `::`, and single other characters.
fn tokens(source: &Source) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in source.numbered() {
        let mut rest = line.code.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { line: number, text: rest[..len].to_owned(), test: line.test });
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

struct Walk<'t> {
    tokens: &'t [Token],
    at: usize,
    found: Vec<NamedPath>,
}

impl Walk<'_> {
    fn step(&mut self) {
        let token = &self.tokens[self.at];
        // `impl Trait + use<'a>` is no import.
        if token.text == "use" && !self.is_next("<") {
            self.at += 1;
            self.tree(&[]);
        } else if token.is_name() {
            self.path_in_place();
        } else {
            self.at += 1;
        }
    }

    fn path_in_place(&mut self) {
        let first = self.tokens[self.at].clone();
        let segments = self.segments();
        if segments.len() > 1 {
            self.keep(&first, segments, None);
        }
    }

    /// Reads `a::b::c`, up to what follows it; a trailing `::` is passed over too.
    fn segments(&mut self) -> Vec<String> {
        let mut segments = Vec::new();
        while let Some(token) = self.tokens.get(self.at).filter(|token| token.is_name()) {
            segments.push(token.text.clone());
            self.at += 1;
            if !self.is_here("::") {
                break;
            }
            self.at += 1;
        }
        segments
    }

    /// Reads one tree of a `use`: a path, then a group, a glob, a new name, or nothing.
    fn tree(&mut self, prefix: &[String]) {
        if self.is_here("::") {
            self.at += 1;
        }
        let Some(first) = self.tokens.get(self.at).cloned() else {
            return;
        };
        let mut path = prefix.to_vec();
        path.extend(self.segments());
        if self.is_here("{") {
            self.at += 1;
            while self.at < self.tokens.len() && !self.is_here("}") {
                let before = self.at;
                self.tree(&path);
                if self.is_here(",") || self.at == before {
                    self.at += 1;
                }
            }
            self.at += 1;
            return;
        }
        if self.is_here("*") {
            self.at += 1;
            path.push("*".to_owned());
        }
        // `a::{self}` names `a`.
        let only_self = path.len() == prefix.len() + 1 && path.last().is_some_and(|p| p == "self");
        if only_self && !prefix.is_empty() {
            path.pop();
        }
        let alias = if self.is_here("as") {
            let alias = self.tokens.get(self.at + 1).map(|token| token.text.clone());
            self.at += 2;
            alias
        } else {
            None
        };
        self.keep(&first, path, alias);
    }

    fn keep(&mut self, first: &Token, segments: Vec<String>, alias: Option<String>) {
        self.found.push(NamedPath { line: first.line, segments, alias, test: first.test });
    }

    fn is_here(&self, text: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.text == text)
    }

    fn is_next(&self, text: &str) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|token| token.text == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let source = Source::parse("a.rs", text);
        paths(&source).iter().map(|p| format!("{}:{}", p.line, p.segments.join("::"))).collect()
    }

    #[test]
    fn use_trees_and_paths_in_place_are_given_whole() {
        let table: &[(&str, &[&str])] = &[
            ("use std::fs;", &["1:std::fs"]),
            ("use io_uring;", &["1:io_uring"]),
            ("use ::libc::c_int as int;", &["1:libc::c_int"]),
            (
                "pub(crate) use std::{\n    fs,\n    io::{self, Read as R, Write},\n};\nf(a::b());",
                &["2:std::fs", "3:std::io", "3:std::io::Read", "3:std::io::Write", "5:a::b"],
            ),
            ("use {a::b, c::*};", &["1:a::b", "1:c::*"]),
            ("let x = <crate::y::Z as W>::v();", &["1:crate::y::Z"]),
            ("fn f() -> impl T + use<'a> { $crate::m::n() }", &["1:crate::m::n"]),
            ("x.y(z) // a::b", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(&shown(text), expected, "{text}");
        }
    }

    #[test]
    fn prefixes_are_compared_by_segment() {
        let source = Source::parse("a.rs", "use std::fs_like::File;");
        let path = &paths(&source)[0];
        assert!(path.starts_with("std"));
        assert!(!path.starts_with("std::fs"));
    }
}
