//! An invariant is declared once, upheld by code that cites it, and attacked by a test.
//!
//! A module's `//!` header lists its invariants under `# Invariants`, each with a tag:
//!
//! ```text
//! //! # Invariants
//! //! - R1: a slot owns its buffer until its CQE is reaped.
//! ```
//!
//! The line that upholds R1 says `// R1: …` or `(R1)` in a comment. So does its test, a file under
//! `tests/` or test code in the engine, or its name begins with the tag: `fn r1_a_slot_owns_…`. A
//! tag that nobody cites is a promise nobody keeps; a citation that nobody declared points at a
//! promise that is gone.

use std::collections::BTreeMap;

use super::source::{Line, Source, has_word};
use super::{Offence, Tree};

const ENGINE: &str = "engine/src/";
const TESTS: &str = "tests/";

/// A tag is one or two capitals and a number of one or two digits.
const TAG_LETTERS_MAX: usize = 2;
const TAG_DIGITS_MAX: usize = 2;

struct Declaration<'t> {
    tag: &'t str,
    path: &'t str,
    line: usize,
}

pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut declared: BTreeMap<&str, Declaration<'_>> = BTreeMap::new();
    for source in engine(tree) {
        for (line, tag) in items(source) {
            let Some(tag) = tag else {
                let message = "an item under `# Invariants` reads `- R1: …`, with a tag";
                offences.push(Offence::new(&source.path, line, message));
                continue;
            };
            if let Some(first) = declared.get(tag) {
                let message = format!("{tag} is declared in {}:{} too", first.path, first.line);
                offences.push(Offence::new(&source.path, line, message));
                continue;
            }
            declared.insert(tag, Declaration { tag, path: &source.path, line });
        }
    }
    offences.extend(declared.values().flat_map(|declaration| uncited(tree, declaration)));
    for source in tree.sources.iter().filter(|s| is_engine(s) || s.path.starts_with(TESTS)) {
        for (number, line) in source.numbered() {
            for tag in citations(&line.comment) {
                if !declared.contains_key(tag) && !is_header(line) {
                    let message = format!("{tag} is cited here and declared nowhere");
                    offences.push(Offence::new(&source.path, number, message));
                }
            }
        }
    }
    offences
}

fn is_engine(source: &Source) -> bool {
    source.path.starts_with(ENGINE)
}

fn engine(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.sources.iter().filter(|source| is_engine(source))
}

fn is_header(line: &Line) -> bool {
    line.comment.starts_with("//!")
}

/// The items under `# Invariants`: each one's line, and its tag if it has one.
fn items(source: &Source) -> Vec<(usize, Option<&str>)> {
    let mut items = Vec::new();
    let mut listing = false;
    for (number, line) in source.numbered() {
        let Some(text) = line.comment.strip_prefix("//!") else {
            continue;
        };
        if let Some(title) = text.strip_prefix(" #") {
            listing = title.trim_start_matches('#').trim() == "Invariants";
        } else if listing && let Some(item) = text.strip_prefix(" - ") {
            let tag = item.split_once(':').map(|(tag, _)| tag).filter(|tag| is_tag(tag));
            items.push((number, tag));
        }
    }
    items
}

fn is_tag(word: &str) -> bool {
    let letters = word.chars().take_while(char::is_ascii_uppercase).count();
    let digits = &word[letters..];
    (1..=TAG_LETTERS_MAX).contains(&letters)
        && (1..=TAG_DIGITS_MAX).contains(&digits.len())
        && digits.chars().all(|c| c.is_ascii_digit())
        && !digits.starts_with('0')
}

/// The offences of a tag that no code upholds, or no test attacks.
fn uncited(tree: &Tree, declaration: &Declaration<'_>) -> Vec<Offence> {
    let cites = |line: &Line| {
        has_word(&line.comment, declaration.tag) || names_tag(&line.code, declaration.tag)
    };
    let upheld = engine(tree)
        .flat_map(|source| &source.lines)
        .any(|line| !line.test && !is_header(line) && cites(line));
    let attacked = tree.sources.iter().any(|source| {
        let is_test_file = source.path.starts_with(TESTS);
        let lines = || source.lines.iter().filter(|line| cites(line));
        is_test_file && lines().next().is_some()
            || is_engine(source) && lines().any(|line| line.test && !is_header(line))
    });
    let mut offences = Vec::new();
    let mut report = |what: &str| {
        let message = format!("{} is cited by no {what}", declaration.tag);
        offences.push(Offence::new(declaration.path, declaration.line, message));
    };
    if !upheld {
        report("code of the engine");
    }
    if !attacked {
        report("test");
    }
    offences
}

/// Whether the line opens a function whose name begins with the tag, alone or in a row of tags.
fn names_tag(code: &str, tag: &str) -> bool {
    let Some(name) = code.trim_start().strip_prefix("fn ") else {
        return false;
    };
    name.split('_')
        .map(str::to_ascii_uppercase)
        .take_while(|word| is_tag(word))
        .any(|word| word == tag)
}

/// The tags that a comment cites in form: at its start, `// R1: …`, or in brackets, `(R1, R2)`.
fn citations(comment: &str) -> Vec<&str> {
    let text = comment.trim_start_matches(['/', '!', '*']).trim_start();
    let mut tags = leading_tags(text);
    for (at, _) in comment.match_indices('(') {
        if let Some((inside, _)) = comment[at + 1..].split_once(')') {
            let words: Vec<&str> = inside.split([',', ' ']).filter(|w| !w.is_empty()).collect();
            if words.iter().all(|word| is_tag(word)) {
                tags.extend(words);
            }
        }
    }
    tags
}

/// `R1` or `R1, R2` before a colon or the end. A row of hexadecimal bytes is no list of tags.
fn leading_tags(text: &str) -> Vec<&str> {
    let list = text.split(':').next().unwrap_or(text);
    let words: Vec<&str> = list.split(", ").map(str::trim).collect();
    if words.iter().all(|word| is_tag(word)) {
        return words;
    }
    let mut words = text.split(' ');
    let first = words.next().unwrap_or("").trim_end_matches(['.', ';', ',']);
    let second = words.next().unwrap_or("");
    let is_byte = |word: &str| word.len() == 2 && word.chars().all(|c| c.is_ascii_hexdigit());
    if is_tag(first) && !is_byte(second) { vec![first] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::shown;

    const SLOTS: &str = "engine/src/ring/inflight.rs";
    const HEADER: &str =
        "//! Slots.\n//!\n//! # Invariants\n//! - R1: a slot owns its\n//!   buffer.\n";

    #[test]
    fn an_invariant_upheld_and_attacked_is_no_offence() {
        let unit = format!("{HEADER}// R1: here.\n#[cfg(test)]\nmod tests {{\n    // (R1)\n}}\n");
        assert!(shown(check, &[(SLOTS, &unit)]).is_empty());
        let code = format!("{HEADER}fn f() {{}} // Kept, see R1.\n");
        let test = "/// Attacks R1.\nfn f() {}\n";
        assert!(shown(check, &[(SLOTS, &code), ("tests/tests/slots.rs", test)]).is_empty());
    }

    #[test]
    fn a_tests_name_may_cite() {
        for (code, cites) in [
            ("    fn r1_a_slot_owns() {", true),
            ("fn q2_r1_both() {", true),
            ("fn a_slot_r1_owns() {", false),
            ("fn r10_other() {", false),
            ("let r1_x = 1;", false),
        ] {
            assert_eq!(names_tag(code, "R1"), cites, "{code}");
        }
    }

    #[test]
    fn an_invariant_that_nobody_cites_is_found() {
        let no_code = format!("{SLOTS}:4: R1 is cited by no code of the engine");
        let no_test = format!("{SLOTS}:4: R1 is cited by no test");
        assert_eq!(shown(check, &[(SLOTS, HEADER)]), [no_code.clone(), no_test.clone()]);
        let upheld = format!("{HEADER}// R1: here.\n");
        assert_eq!(shown(check, &[(SLOTS, &upheld)]), [no_test]);
        let attacked = format!("{HEADER}#[cfg(test)]\nmod tests {{\n    // R1\n}}\n");
        assert_eq!(shown(check, &[(SLOTS, &attacked)]), [no_code]);
        let longer = format!("{HEADER}// See (R11) and R12.\n");
        assert_eq!(shown(check, &[(SLOTS, &longer)]).len(), 3);
    }

    #[test]
    fn a_citation_without_a_declaration_is_found() {
        let table: &[(&str, &[&str])] = &[
            ("// J7: append first", &["J7"]),
            ("// J7", &["J7"]),
            ("/// J7, J8: both", &["J7", "J8"]),
            ("// J7 holds here", &["J7"]),
            ("f(); // kept (J7), (J8, C9)", &["J7", "J8", "C9"]),
            ("// F8 0F 00 00 (4088)", &[]),
            ("// see fsync(2), CRC32C, (EIO), Q0", &[]),
            ("let x = \"// J7\";", &[]),
        ];
        for (code, tags) in table {
            let expected: Vec<String> = tags
                .iter()
                .map(|tag| format!("{SLOTS}:1: {tag} is cited here and declared nowhere"))
                .collect();
            assert_eq!(shown(check, &[(SLOTS, code)]), expected, "{code}");
        }
        assert_eq!(
            shown(check, &[("tests/tests/a.rs", "//! Tests.\n// (J7)\n")]),
            ["tests/tests/a.rs:2: J7 is cited here and declared nowhere"]
        );
    }

    #[test]
    fn a_tag_declared_twice_or_missing_is_found() {
        let kept = "// R1\n#[cfg(test)]\nmod tests {\n    // R1\n}\n";
        let first = format!("{HEADER}{kept}");
        let second = "\
//! B.
//! # Invariants
//! - R1: again.
//! - no tag here.
//! # Layout
//! - x: y.
";
        assert_eq!(
            shown(check, &[(SLOTS, &first), ("engine/src/ring/op.rs", second)]),
            [
                format!("engine/src/ring/op.rs:3: R1 is declared in {SLOTS}:4 too"),
                "engine/src/ring/op.rs:4: an item under `# Invariants` reads `- R1: …`, with a tag"
                    .to_owned(),
            ]
        );
    }
}
