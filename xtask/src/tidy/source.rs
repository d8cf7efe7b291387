//! A Rust file split, line by line, into code, comment and literal.
//!
//! The checks look for names, and a name in a comment or a string is not a use of it. A full
//! parser would be a dependency; this lexer knows only what hides text from the compiler: line
//! and nested block comments, strings (raw and byte ones too), and characters as opposed to
//! lifetimes. Blanks stand where it takes something out, so that columns stay as they are.

/// One line of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// The line as it stands.
    pub(super) raw: String,
    /// The line with comments and the insides of literals blanked out.
    pub(super) code: String,
    /// The comments of the line, with their marks.
    pub(super) comment: String,
    /// Whether some of the line is a string or character literal.
    pub(super) literal: bool,
    /// Whether the line belongs to an item under `#[cfg(test)]`.
    pub(super) test: bool,
}

/// A Rust file.
pub(crate) struct Source {
    pub(super) path: String,
    pub(super) lines: Vec<Line>,
    outlined_tests: Vec<String>,
}

impl Source {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let mut source =
            Self { path: path.to_owned(), lines: lex(text), outlined_tests: Vec::new() };
        source.mark_tests();
        source
    }

    /// The lines with their numbers, counted from 1.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether the path is below the folder, or is its sibling file: `x.rs` or `x/…` for `x`.
    pub(super) fn is_in(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// The path stems, without `.rs`, of the modules declared by `#[cfg(test)] mod name;`.
    pub(super) fn outlined_tests(&self) -> Vec<String> {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = file.trim_end_matches(".rs");
        let folder = match stem {
            "mod" | "lib" | "main" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        self.outlined_tests.iter().map(|name| format!("{folder}/{name}")).collect()
    }

    pub(super) fn mark_all_test(&mut self) {
        self.lines.iter_mut().for_each(|line| line.test = true);
    }

    fn mark_tests(&mut self) {
        let code: Vec<&str> = self.lines.iter().map(|line| line.code.as_str()).collect();
        let code = code.join("\n");
        let line_of = |at: usize| code[..at].matches('\n').count();
        if code.contains("#![cfg(test)]") {
            return self.mark_all_test();
        }
        let mut spans = Vec::new();
        for mark in ["#[cfg(test)]", "#[cfg(all(test"] {
            for (start, _) in code.match_indices(mark) {
                let end = item_end(&code, start);
                spans.push((line_of(start), line_of(end)));
                let item = &code[start..end];
                if let Some(name) = item.strip_suffix(';').and_then(outlined_module) {
                    self.outlined_tests.push(name.to_owned());
                }
            }
        }
        for (first, last) in spans {
            self.lines[first..=last].iter_mut().for_each(|line| line.test = true);
        }
    }
}

/// Where the word stands in the text, not as a part of a longer one.
pub(super) fn word_at<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

pub(super) fn has_word(text: &str, word: &str) -> bool {
    word_at(text, word).next().is_some()
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The name in `… mod name`, if the item is a module without a body.
fn outlined_module(item: &str) -> Option<&str> {
    let (before, name) = item.rsplit_once("mod ")?;
    let name = name.trim();
    let is_item = !before.contains('{') && name.chars().all(is_word);
    is_item.then_some(name)
}

/// The end of the item that starts with the attribute at `start`: past its `;` or its body.
fn item_end(code: &str, start: usize) -> usize {
    let mut nested = 0_usize;
    let mut braces = 0_usize;
    for (offset, byte) in code[start..].bytes().enumerate() {
        let end = start + offset;
        match byte {
            b'(' | b'[' if braces == 0 => nested += 1,
            b')' | b']' if braces == 0 => nested = nested.saturating_sub(1),
            b'{' => braces += 1,
            b'}' if braces <= 1 => return if braces == 1 { end + 1 } else { end },
            b'}' => braces -= 1,
            b';' if nested == 0 && braces == 0 => return end + 1,
            _ => {}
        }
    }
    code.len()
}

/// What the characters at hand belong to.
#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

fn lex(text: &str) -> Vec<Line> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0, lines: vec![Line::default()] };
    lexer.run();
    if text.ends_with('\n') || text.is_empty() {
        lexer.lines.pop();
    }
    lexer.lines
}

struct Lexer<'c> {
    chars: &'c [char],
    at: usize,
    lines: Vec<Line>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        let mut state = State::Code;
        while self.at < self.chars.len() {
            state = match state {
                State::Code => self.code(),
                State::LineComment if self.sees("\n") => State::Code,
                State::LineComment => {
                    self.take_comment(1);
                    state
                }
                State::BlockComment { depth } => self.block_comment(depth),
                State::Text => self.text(),
                State::RawText { hashes } => self.raw_text(hashes),
            };
        }
    }

    fn code(&mut self) -> State {
        if self.sees("//") {
            return State::LineComment;
        }
        if self.sees("/*") {
            self.take_comment(2);
            return State::BlockComment { depth: 1 };
        }
        if let Some(hashes) = self.raw_text_opens() {
            self.take_literal(hashes + 2);
            return State::RawText { hashes };
        }
        match self.chars[self.at] {
            '"' => {
                self.take_literal(1);
                return State::Text;
            }
            '\'' => {
                let len = self.character_len();
                if len > 0 { self.take_literal(len) } else { self.take_code() }
            }
            _ => self.take_code(),
        }
        State::Code
    }

    fn block_comment(&mut self, depth: usize) -> State {
        if self.sees("*/") {
            self.take_comment(2);
            return match depth {
                1 => State::Code,
                _ => State::BlockComment { depth: depth - 1 },
            };
        }
        if self.sees("/*") {
            self.take_comment(2);
            return State::BlockComment { depth: depth + 1 };
        }
        self.take_comment(1);
        State::BlockComment { depth }
    }

    fn text(&mut self) -> State {
        match self.chars[self.at] {
            '\\' => self.take_literal(2),
            '"' => {
                self.take_literal(1);
                return State::Code;
            }
            _ => self.take_literal(1),
        }
        State::Text
    }

    fn raw_text(&mut self, hashes: usize) -> State {
        let rest = &self.chars[self.at..];
        let closes =
            rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|&c| c == '#');
        self.take_literal(if closes { hashes + 1 } else { 1 });
        if closes { State::Code } else { State::RawText { hashes } }
    }

    /// The number of `#` if a raw string opens here, at its `r`.
    fn raw_text_opens(&self) -> Option<usize> {
        let prefix_of_word = |&c: &char| is_word(c) && c != 'b' && c != 'c';
        let before = self.at.checked_sub(1).map(|at| &self.chars[at]);
        if self.chars[self.at] != 'r' || before.is_some_and(prefix_of_word) {
            return None;
        }
        let hashes = self.chars[self.at + 1..].iter().take_while(|&&c| c == '#').count();
        (self.chars.get(self.at + 1 + hashes) == Some(&'"')).then_some(hashes)
    }

    /// The length of the character literal that opens here, or 0 at a lifetime.
    fn character_len(&self) -> usize {
        let rest = &self.chars[self.at..];
        match rest.get(1) {
            Some('\\') => {
                let close = rest.iter().skip(3).position(|&c| c == '\'');
                close.map_or(0, |position| position + 4)
            }
            Some(_) if rest.get(2) == Some(&'\'') => 3,
            _ => 0,
        }
    }

    fn sees(&self, mark: &str) -> bool {
        let rest = &self.chars[self.at..];
        mark.chars().enumerate().all(|(index, c)| rest.get(index) == Some(&c))
    }

    fn take_code(&mut self) {
        let c = self.chars[self.at];
        self.take(c, |line, c| line.code.push(c));
    }

    fn take_comment(&mut self, count: usize) {
        for _ in 0..count {
            let c = self.chars[self.at];
            self.take(c, |line, c| {
                line.code.push(' ');
                line.comment.push(c);
            });
        }
    }

    fn take_literal(&mut self, count: usize) {
        for _ in 0..count.min(self.chars.len() - self.at) {
            let c = self.chars[self.at];
            self.take(c, |line, _| {
                line.code.push(' ');
                line.literal = true;
            });
        }
    }

    fn take(&mut self, c: char, keep: impl Fn(&mut Line, char)) {
        self.at += 1;
        if c == '\n' {
            self.lines.push(Line::default());
        } else if let Some(line) = self.lines.last_mut() {
            line.raw.push(c);
            keep(line, c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(text: &str) -> Vec<String> {
        let source = Source::parse("a.rs", text);
        source.lines.iter().map(|line| line.code.trim_end().to_owned()).collect()
    }

    #[test]
    fn literals_and_comments_are_blanked_and_code_stays() {
        let table = [
            ("let a = 1; // b", "let a = 1;"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x // y", b"\"", z)"#, "f(        , b    , z)"),
            (r##"f(r#"a "b" c"#, z)"##, "f(            , z)"),
            (r##"f(br#"a"#, r"\", z)"##, "f(b      ,     , z)"),
            ("let c = '\"'; d('\\'', '\\u{41}')", "let c =    ; d(    ,         )"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("r#type.var(\"x\")", "r#type.var(   )"),
        ];
        for (text, code) in table {
            assert_eq!(code_of(text), [code], "{text}");
        }
    }

    #[test]
    fn a_literal_or_comment_may_span_lines() {
        assert_eq!(code_of("f(\"a\nb\", c)\n"), ["f(", "  , c)"]);
        assert_eq!(code_of("a /* b\nc */ d\n"), ["a", "     d"]);
        let source = Source::parse("a.rs", "x; // one\n/* two\nthree */\n");
        let comments: Vec<&str> = source.lines.iter().map(|line| line.comment.as_str()).collect();
        assert_eq!(comments, ["// one", "/* two", "three */"]);
    }

    #[test]
    fn items_under_cfg_test_are_test_code() {
        let text = "\
fn before() {}
#[cfg(test)]
#[allow(dead_code)]
fn helper(a: [u8; 2]) -> u8 {
    if a[0] == 0 { 1 } else { 2 }
}
fn between() {}
#[cfg(test)]
use crate::x;
#[cfg(all(test, target_os = \"linux\"))]
mod tests {
    const BRACE: &str = \"}\";
    fn f() {}
}
fn after() {}
";
        let source = Source::parse("a.rs", text);
        let test_lines: Vec<usize> =
            source.numbered().filter(|(_, line)| line.test).map(|(number, _)| number).collect();
        assert_eq!(test_lines, [2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]);
    }

    #[test]
    fn a_word_is_not_a_part_of_a_longer_one() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe"));
        assert!(has_word("(R1)", "R1"));
        assert!(!has_word("(R11)", "R1"));
    }
}
