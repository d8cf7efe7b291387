//! Names and texts as people get them: nothing in a file's name commands a terminal, turns the
//! direction of a line, or passes for a line of its own.
//!
//! A name may have any byte but NUL and `/`, and comes from anywhere: an archive, another user's
//! directory, a download. It is shown as `ls -b` and GNU tar show it: a backslash is doubled, so
//! that each name has a spelling of its own. What only programs read has names as they are.
//!
//! | in the name | shown as |
//! |---|---|
//! | newline, tab, carriage return | `\n`, `\t`, `\r` |
//! | other ASCII control characters | `\x1b` |
//! | other control characters, those of direction, line and paragraph separators | `\u{202e}` |
//! | bytes that are no UTF-8 | `\xff` |
//! | `\` | `\\` |
//!
//! # Invariants
//! - ES1: no name that is shown has a hidden character in it.
//! - ES2: no text that is tamed has a hidden character in it but newlines.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// Whether a character does something to the text around it instead of being seen: control
/// characters, those that set a direction (Unicode's Bidi_Control), and separators of lines.
#[must_use]
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

/// A name, as people get it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a [u8]);

/// Shows a name, of a file or of anything that is named by a stranger.
#[must_use]
pub fn shown<'a>(name: &'a (impl AsRef<OsStr> + ?Sized)) -> Shown<'a> {
    Shown(name.as_ref().as_bytes())
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for letter in part.valid().chars() {
                match letter {
                    '\\' => f.write_str("\\\\")?,
                    letter => put(f, letter)?,
                }
            }
            for byte in part.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// A path for programs, whatever bytes are in it.
#[cfg(feature = "serde")]
pub(crate) fn lossily<S: serde::Serializer>(
    path: &impl AsRef<std::path::Path>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.as_ref().to_string_lossy())
}

/// A text without what is hidden, but with its lines: for words that others may have had a part in.
#[must_use]
pub fn tamed(text: &str) -> String {
    let mut tamed = Tamed(String::with_capacity(text.len()));
    let _ = tamed.write_str(text);
    tamed.0
}

/// What is written to it, tamed.
#[derive(Debug)]
pub(crate) struct Tamed<W>(pub(crate) W);

impl<W: Write> Write for Tamed<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // ES2
        text.chars().try_for_each(|letter| match letter {
            '\n' => self.0.write_char('\n'),
            letter => put(&mut self.0, letter),
        })
    }
}

/// ES1: writes a character, or its escape.
fn put(to: &mut impl Write, letter: char) -> fmt::Result {
    match letter {
        '\n' | '\t' | '\r' => write!(to, "{}", letter.escape_default()),
        letter if letter.is_ascii_control() => write!(to, "\\x{:02x}", u32::from(letter)),
        letter if is_hidden(letter) => write!(to, "{}", letter.escape_unicode()),
        letter => to.write_char(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn es1_each_name_has_a_spelling_of_its_own() {
        for (name, expected) in [
            (&b"plain name-1.zst"[..], "plain name-1.zst"),
            (
                "w\u{e4}hrung \u{4f60}\u{597d} \u{1f600}".as_bytes(),
                "w\u{e4}hrung \u{4f60}\u{597d} \u{1f600}",
            ),
            (b"a\nb\tc\rd", r"a\nb\tc\rd"),
            (b"\x1b[2J\x07\x7f\0", r"\x1b[2J\x07\x7f\x00"),
            (
                "a\u{202e}b\u{2066}c\u{61c}\u{85}\u{2028}".as_bytes(),
                r"a\u{202e}b\u{2066}c\u{61c}\u{85}\u{2028}",
            ),
            (b"no \xFF\xC3 text", r"no \xff\xc3 text"),
            (br"a\x1b", r"a\\x1b"),
            (br"C:\new", r"C:\\new"),
        ] {
            assert_eq!(shown(OsStr::from_bytes(name)).to_string(), expected);
        }
    }

    #[test]
    fn es1_es2_nothing_hidden_is_left_of_any_character() {
        for letter in '\0'..=char::MAX {
            let text = letter.to_string();
            let name = shown(&text).to_string();
            assert!(!name.contains(is_hidden), "{letter:?}: {name:?}");
            let hidden = |letter| is_hidden(letter) && letter != '\n';
            assert!(!tamed(&text).contains(hidden), "{letter:?}");
        }
    }

    #[test]
    fn es2_a_text_keeps_its_lines_and_its_backslashes() {
        assert_eq!(tamed("one\r\n\ttwo\\ \u{202e}"), "one\\r\n\\ttwo\\ \\u{202e}");
    }
}
