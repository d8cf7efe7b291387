//! A file's outward shape: its length, its width, and what the eye doesn't see.
//!
//! rustfmt leaves comments and literals as they are, and knows nothing of a file's length.

use super::source::{Line, Source, is_word};
use super::{Offence, Tree};

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 700;
/// A table of cases is read differently from code: files under `tests/` may be longer.
const TEST_LINES_MAX: usize = 1000;

pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    tree.sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    let lines_max = if source.path.starts_with("tests/") { TEST_LINES_MAX } else { LINES_MAX };
    if source.lines.len() > lines_max {
        let message = format!("{} lines, of {lines_max} at most", source.lines.len());
        offences.push(Offence::new(&source.path, lines_max + 1, message));
    }
    for (number, line) in source.numbered() {
        let columns = line.raw.chars().count();
        if columns > COLUMNS_MAX && !is_string_row(line) {
            let message = format!("{columns} columns, of {COLUMNS_MAX} at most");
            offences.push(Offence::new(&source.path, number, message));
        }
        if line.raw.ends_with(char::is_whitespace) {
            offences.push(Offence::new(&source.path, number, "whitespace at the end of the line"));
        }
        if line.raw.contains('\t') {
            offences.push(Offence::new(&source.path, number, "a tab"));
        }
    }
    offences
}

/// A row of a table of strings: literals and punctuation, but no name and no comment.
fn is_string_row(line: &Line) -> bool {
    let no_name = line
        .code
        .split(|c| !is_word(c))
        .all(|word| matches!(word, "" | "b" | "c") || word.starts_with(|c: char| c.is_numeric()));
    line.literal && line.comment.is_empty() && no_name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::shown;

    #[test]
    fn a_line_too_wide_is_found_unless_it_is_a_row_of_strings() {
        let wide = "x".repeat(101);
        let found = [
            format!("fn {wide}() {{}}\n"),
            format!("let a = \"{wide}\";\n"),
            format!("// {wide}\n"),
            format!("    (\"a\", 1), // {wide}\n"),
        ];
        for text in found {
            let columns = text.trim_end().len();
            let expected = format!("a.rs:1: {columns} columns, of 100 at most");
            assert_eq!(shown(check, &[("a.rs", &text)]), [expected]);
        }
        for text in [format!("    (\"{wide}\", b\"a\", 0x1F),\n"), format!("{}\n", "é".repeat(100))]
        {
            assert!(shown(check, &[("a.rs", &text)]).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_file_too_long_is_found_and_tests_may_be_longer() {
        let lines = |count: usize| "fn f() {}\n".repeat(count);
        assert_eq!(
            shown(check, &[("cli/src/a.rs", &lines(701))]),
            ["cli/src/a.rs:701: 701 lines, of 700 at most"]
        );
        assert_eq!(
            shown(check, &[("tests/a.rs", &lines(1001))]),
            ["tests/a.rs:1001: 1001 lines, of 1000 at most"]
        );
        assert!(shown(check, &[("cli/src/a.rs", &lines(700))]).is_empty());
        assert!(shown(check, &[("tests/a.rs", &lines(1000))]).is_empty());
    }

    #[test]
    fn trailing_whitespace_and_tabs_are_found() {
        assert_eq!(
            shown(check, &[("a.rs", "fn f() {} \n\tfn g() {}\n")]),
            ["a.rs:1: whitespace at the end of the line", "a.rs:2: a tab"]
        );
    }
}
