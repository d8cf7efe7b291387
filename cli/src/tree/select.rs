//! Which members are meant: patterns as a shell writes them.
//!
//! `*` and `?` match `/` too, as in tar's patterns. A pattern that matches a directory means all
//! that is in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{Glob, GlobSet, GlobSetBuilder};
use ringpack::escape::shown;

/// Patterns, of which any will do.
#[derive(Debug)]
pub(crate) struct Patterns {
    set: GlobSet,
    /// As typed.
    typed: Vec<String>,
}

impl Patterns {
    /// The patterns as typed.
    pub(crate) fn new(typed: &[String]) -> Result<Self, String> {
        let mut builder = GlobSetBuilder::new();
        for pattern in typed {
            let glob = Glob::new(pattern.trim_end_matches('/'))
                .map_err(|error| format!("{}: is no pattern: {}", shown(pattern), error.kind()))?;
            builder.add(glob);
        }
        let set = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { set, typed: typed.to_vec() })
    }

    /// Whether none was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.typed.is_empty()
    }

    /// The numbers of the patterns that mean the member of this path, or a directory that it is in.
    pub(crate) fn meaning(&self, path: &[u8]) -> Vec<usize> {
        let path = path.strip_prefix(b"./").unwrap_or(path);
        let ends = path.iter().enumerate().filter(|&(at, &byte)| byte == b'/' && at > 0);
        let mut found: Vec<usize> = ends
            .map(|(at, _)| &path[..at])
            .chain([path])
            .flat_map(|part| self.set.matches(OsStr::from_bytes(part)))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether a pattern matches this path within a tree, or the last part of it.
    pub(crate) fn exclude(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        self.set.is_match(OsStr::from_bytes(path)) || self.set.is_match(OsStr::from_bytes(name))
    }

    /// A pattern as typed.
    pub(crate) fn typed(&self, number: usize) -> &str {
        &self.typed[number]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.typed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(typed: &[&str]) -> Patterns {
        Patterns::new(&typed.iter().map(|&it| it.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_pattern_means_what_is_in_a_directory_too() {
        let set = patterns(&["d/sub/", "*.txt", "exact"]);
        assert_eq!(set.meaning(b"d/sub"), [0]);
        assert_eq!(set.meaning(b"d/sub/deep/x"), [0]);
        assert!(set.meaning(b"d/subx").is_empty());
        assert_eq!(set.meaning(b"d/sub/a.txt"), [0, 1]);
        assert_eq!(set.meaning(b"a.txt"), [1]);
        assert_eq!(set.meaning(b"./exact"), [2]);
        assert!(set.meaning(b"d/\xFF/exact").is_empty());
    }

    #[test]
    fn an_exclusion_matches_anywhere() {
        let set = patterns(&["*.o", "cache", "a/b"]);
        assert!(set.exclude(b"x/y.o") && set.exclude(b"deep/cache") && set.exclude(b"a/b"));
        assert!(!set.exclude(b"x/y.oo") && !set.exclude(b"x/a/c"));
        assert!(Patterns::new(&["[".to_owned()]).is_err());
    }
}
