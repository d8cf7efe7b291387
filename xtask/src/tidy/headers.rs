//! Every source file opens with a header that says what it is for.

use super::{Offence, Tree};

const FOLDERS: &[&str] = &["engine/src/", "cli/src/", "tests/", "benches/", "xtask/"];

pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let subject = |path: &str| FOLDERS.iter().any(|folder| path.starts_with(folder));
    tree.sources
        .iter()
        .filter(|source| subject(&source.path))
        .filter(|source| !source.lines.first().is_some_and(|line| opens_header(&line.raw)))
        .map(|source| Offence::new(&source.path, 1, "does not open with a `//!` header"))
        .collect()
}

/// A first line of `//!` and some text.
fn opens_header(line: &str) -> bool {
    line.strip_prefix("//!").is_some_and(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::shown;

    #[test]
    fn a_file_without_a_header_is_found() {
        let offence = "does not open with a `//!` header";
        for text in ["use std::fs;\n//! Late.\n", "", "//!\n", "// Not a doc comment.\n"] {
            assert_eq!(
                shown(check, &[("cli/src/args.rs", text)]),
                [format!("cli/src/args.rs:1: {offence}")],
                "{text:?}"
            );
        }
        assert!(shown(check, &[("cli/src/args.rs", "//! Arguments.\n")]).is_empty());
        assert!(shown(check, &[("fuzz/x.rs", "fn f() {}\n")]).is_empty());
    }
}
