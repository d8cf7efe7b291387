//! House rules that neither rustfmt nor clippy can see, checked as a test.
//!
//! A rule that only a document states is kept until the first hurried week. So each one stands
//! here as a function from the tree's texts to its offences, with the exceptions in a table and
//! a reason beside each. Nothing is mended: an offence is shown, and a person decides.
//!
//! The checks read no file themselves. [`Tree`] holds the texts, so that a test of a check is a
//! few short strings with an offence planted in them.

use std::fmt;

mod absences;
mod decisions;
mod headers;
mod invariants;
mod islands;
mod layers;
mod links;
mod paths;
mod shape;
mod source;
mod tree;

pub(crate) use tree::Tree;

/// Every check, in the order in which its offences are shown within a line.
const CHECKS: &[fn(&Tree) -> Vec<Offence>] = &[
    headers::check,
    shape::check,
    islands::check,
    absences::check,
    layers::check,
    invariants::check,
    links::check,
    decisions::check,
];

/// Runs every check and returns the offences by path and line.
pub(crate) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences: Vec<Offence> = CHECKS.iter().flat_map(|check| check(tree)).collect();
    offences.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    offences
}

/// One breach of a rule, shown as `path:line: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offence {
    path: String,
    line: usize,
    message: String,
}

impl Offence {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs one check over the texts and returns its offences as they are shown.
    pub(super) fn shown(check: fn(&Tree) -> Vec<Offence>, texts: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(texts)).iter().map(Offence::to_string).collect()
    }

    const MESSY: &[(&str, &str)] = &[
        ("engine/src/units.rs", "fn f() { println!() }\t\n// (Z9)\nuse crate::pack::Pack;\n"),
        ("docs/decisions/first.md", "[gone](gone.md)\n"),
        ("cli/src/main.rs", "//! Main.\n\nfn f() { unsafe { g() } }\n"),
    ];

    #[test]
    fn every_check_reports_and_the_report_is_in_order() {
        let tree = Tree::of(MESSY);
        for (index, check) in CHECKS.iter().enumerate() {
            assert!(!check(&tree).is_empty(), "check {index} reports nothing");
        }
        let shown: Vec<String> = check(&tree).iter().map(Offence::to_string).collect();
        let mut places: Vec<&str> = shown.iter().filter_map(|s| s.split(": ").next()).collect();
        places.dedup();
        assert_eq!(
            places,
            [
                "cli/src/main.rs:3",
                "docs/decisions/first.md:1",
                "engine/src/units.rs:1",
                "engine/src/units.rs:2",
                "engine/src/units.rs:3",
            ],
            "{shown:#?}"
        );
    }

    #[test]
    fn a_clean_tree_has_no_offence() {
        let tree = Tree::of(&[
            ("engine/src/lib.rs", "//! The engine.\n\nmod units;\n"),
            ("engine/src/units.rs", "//! Units.\n"),
            ("README.md", "[engine](engine/src/lib.rs)\n"),
        ]);
        assert_eq!(check(&tree), []);
    }
}
