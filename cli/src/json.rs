//! JSON as this program writes it: what names hide is escaped in it too, so that a line that a
//! person looks at is what it seems. To programs it is the same.

use std::io::{self, Write};

use ringpack::escape::is_hidden;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

/// A value on one line.
pub(crate) fn text(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Plain(CompactFormatter)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Strings without hidden characters.
struct Plain(CompactFormatter);

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_hidden) {
            self.0.write_string_fragment(writer, &rest[..at])?;
            let mut letters = rest[at..].chars();
            let mut units = [0; 2];
            for unit in letters.next().map_or(&mut [][..], |it| it.encode_utf16(&mut units)) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = letters.as_str();
        }
        self.0.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_escaped_and_read_back_as_it_was() {
        let name = "a\x1b\n\"b\"\u{202e}\\c\u{85}\u{e4}";
        let text = text(&name).unwrap();
        assert_eq!(text, "\"a\\u001b\\n\\\"b\\\"\\u202e\\\\c\\u0085\u{e4}\"");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }
}
