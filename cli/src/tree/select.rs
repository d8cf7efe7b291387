//! Which members are meant: patterns as a shell writes them.
//!
//! `*` and `?` match `/` too, as in tar's patterns. A pattern that matches a directory means all
//! that is in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{Candidate, Glob, GlobSet, GlobSetBuilder};
use ringpack::escape::shown;

/// Patterns, of which any will do.
#[derive(Debug)]
pub(crate) struct Patterns {
    itself: GlobSet,
    /// Match what is in the directories that the patterns match.
    within: GlobSet,
    /// As typed.
    typed: Vec<String>,
}

impl Patterns {
    /// The patterns as typed.
    pub(crate) fn new(typed: &[String]) -> Result<Self, String> {
        let mut builders = [GlobSetBuilder::new(), GlobSetBuilder::new()];
        for pattern in typed {
            // As the paths are that it is held against.
            let plain = pattern.trim_end_matches('/');
            let plain = plain.strip_prefix("./").unwrap_or(plain);
            let [itself, within] = &mut builders;
            itself.add(
                glob(plain)
                    .map_err(|error| format!("{}: is no pattern: {error}", shown(pattern)))?,
            );
            // `*` matches slashes, so this is all that is in a directory which the pattern matches.
            // One look at the path will do, however many directories it leads through.
            within.add(
                glob(&format!("{plain}/*"))
                    .map_err(|error| format!("{}: {error}", shown(pattern)))?,
            );
        }
        let [itself, within] = builders;
        let build = |builder: GlobSetBuilder| builder.build().map_err(|error| error.to_string());
        Ok(Self { itself: build(itself)?, within: build(within)?, typed: typed.to_vec() })
    }

    /// Whether none was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.typed.is_empty()
    }

    /// The numbers of the patterns that mean the member of this path, or a directory that it is in.
    pub(crate) fn meaning(&self, path: &[u8]) -> Vec<usize> {
        let path = Candidate::new(OsStr::from_bytes(path.strip_prefix(b"./").unwrap_or(path)));
        let mut found = self.itself.matches_candidate(&path);
        found.extend(self.within.matches_candidate(&path));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether a pattern matches this path within a tree, or the last part of it.
    pub(crate) fn exclude(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        self.itself.is_match(OsStr::from_bytes(path))
            || self.itself.is_match(OsStr::from_bytes(name))
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

fn glob(pattern: &str) -> Result<Glob, String> {
    Glob::new(pattern).map_err(|error| error.kind().to_string())
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
        let set = patterns(&["./d/sub/", "./exact"]);
        assert_eq!((set.meaning(b"d/sub/x"), set.meaning(b"./exact")), (vec![0], vec![1]));
    }

    #[test]
    fn an_exclusion_matches_anywhere() {
        let set = patterns(&["*.o", "cache", "a/b"]);
        assert!(set.exclude(b"x/y.o") && set.exclude(b"deep/cache") && set.exclude(b"a/b"));
        assert!(!set.exclude(b"x/y.oo") && !set.exclude(b"x/a/c"));
        assert!(Patterns::new(&["[".to_owned()]).is_err());
    }
}
