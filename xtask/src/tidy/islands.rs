//! Unsafe code lives on islands, and each use of it carries its argument.
//!
//! The workspace denies `unsafe_code`, but an `#[allow]` is a line that anyone can write. The
//! table below is the other half: a new island is a change to this file, with its reason.

use super::source::{Source, word_at};
use super::{Offence, Tree};

struct Island {
    path: &'static str,
    #[expect(dead_code, reason = "read by people: why this file may be unsafe")]
    reason: &'static str,
}

const ISLANDS: &[Island] = &[
    Island {
        path: "cli/src/inherited.rs",
        reason: "closed streams and ignored signals can be seen only before the runtime starts",
    },
    Island {
        path: "engine/src/aio/uring/lent.rs",
        reason: "the runtime takes buffers by an unsafe trait, and frees them too early",
    },
    Island {
        path: "engine/src/buffer/aligned.rs",
        reason: "block-aligned memory: the standard library's Vec takes no alignment",
    },
    Island {
        path: "engine/src/ring/uring.rs",
        reason: "the kernel reads and writes memory that an SQE names by its address alone",
    },
    Island {
        path: "engine/src/ring/writeback.rs",
        reason: "no crate wraps sync_file_range, and a sync of each file of a tree costs a flush",
    },
];

/// How many lines above an unsafe use its `// SAFETY:` may stand.
const ARGUMENT_LINES_MAX: usize = 8;

pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    tree.sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    let is_island = ISLANDS.iter().any(|island| island.path == source.path);
    for (index, line) in source.lines.iter().enumerate() {
        for at in word_at(&line.code, "unsafe") {
            let number = index + 1;
            if !is_island {
                let message = "unsafe code outside the islands of xtask/src/tidy/islands.rs";
                offences.push(Offence::new(&source.path, number, message));
            }
            let follows = what_follows(source, index, at + "unsafe".len());
            let needs_argument = follows == "{" || follows == "impl";
            if needs_argument && !is_argued(source, index) {
                let message = format!("`unsafe {follows}` without a `// SAFETY:` comment above");
                offences.push(Offence::new(&source.path, number, message));
            }
        }
    }
    offences
}

/// The first word or sign after the column, on this line or a later one.
fn what_follows(source: &Source, index: usize, column: usize) -> &str {
    let rest = std::iter::once(&source.lines[index].code[column..])
        .chain(source.lines[index + 1..].iter().map(|line| line.code.as_str()));
    let text = rest.map(str::trim).find(|text| !text.is_empty()).unwrap_or("");
    text.split([' ', '<']).next().map_or("", |word| if word.starts_with('{') { "{" } else { word })
}

fn is_argued(source: &Source, index: usize) -> bool {
    let first = index.saturating_sub(ARGUMENT_LINES_MAX);
    source.lines[first..=index].iter().any(|line| line.comment.starts_with("// SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::shown;

    const ISLAND: &str = "engine/src/ring/uring.rs";
    const OUTSIDE: &str = "unsafe code outside the islands of xtask/src/tidy/islands.rs";

    #[test]
    fn unsafe_code_outside_the_islands_is_found() {
        for code in
            ["// SAFETY: x.\nunsafe { f() }\n", "// SAFETY: x.\nunsafe impl Send for X {}\n"]
        {
            assert_eq!(
                shown(check, &[("cli/src/a.rs", code)]),
                [format!("cli/src/a.rs:2: {OUTSIDE}")]
            );
            assert!(shown(check, &[(ISLAND, code)]).is_empty());
        }
        let declared = "pub unsafe fn f() {}\n";
        assert_eq!(shown(check, &[("tests/a.rs", declared)]), [format!("tests/a.rs:1: {OUTSIDE}")]);
        assert!(shown(check, &[(ISLAND, declared)]).is_empty());
    }

    #[test]
    fn unsafe_code_without_an_argument_is_found() {
        let block = "`unsafe {` without a `// SAFETY:` comment above";
        let far = format!("// SAFETY: too far away.\n{}unsafe {{ f() }}\n", "g();\n".repeat(8));
        assert_eq!(shown(check, &[(ISLAND, &far)]), [format!("{ISLAND}:10: {block}")]);
        let near = format!("// SAFETY: near.\n{}unsafe {{ f() }}\n", "g();\n".repeat(7));
        assert!(shown(check, &[(ISLAND, &near)]).is_empty());
        assert_eq!(
            shown(check, &[(ISLAND, "let x = unsafe\n    { f() };\n")]),
            [format!("{ISLAND}:1: {block}")]
        );
        assert_eq!(
            shown(check, &[(ISLAND, "// Safety is fine.\nunsafe impl<T> Send for X<T> {}\n")]),
            [format!("{ISLAND}:2: `unsafe impl` without a `// SAFETY:` comment above")]
        );
    }

    #[test]
    fn names_comments_and_strings_are_no_unsafe_code() {
        let code = "#![deny(unsafe_code)]\n// unsafe {\nconst X: &str = \"unsafe {\";\n";
        assert!(shown(check, &[("cli/src/a.rs", code)]).is_empty());
    }
}
