//! Words as a shell takes them, for commands that people copy.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringpack::escape::is_hidden;

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let is_like_option = path.as_os_str().as_bytes().starts_with(b"-");
    quoted_word(path.as_os_str(), if is_like_option { "./" } else { "" })
}

/// A word as a shell takes it, behind `before`.
pub(crate) fn quoted_word(word: &OsStr, before: &str) -> String {
    let bytes = word.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,=:@%".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(is_plain) => format!("{before}{text}"),
        Ok(text) if !text.contains(is_hidden) => {
            format!("{before}'{}'", text.replace('\'', "'\\''"))
        }
        // As bash, zsh and POSIX since 2024 take it.
        _ => {
            let escaped: String = bytes.escape_ascii().map(char::from).collect();
            format!("{before}$'{escaped}'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_as_a_shell_takes_it() {
        let check = |path: &str, expected: &str| assert_eq!(quoted(Path::new(path)), expected);
        check("/a/b-c.zst", "/a/b-c.zst");
        check("a b", "'a b'");
        check("it's", r"'it'\''s'");
        check("-x", "./-x");
        check("-x y", "./'-x y'");
        check("a\nb", r"$'a\nb'");
        check("$(x)", "'$(x)'");
        check("a\u{202e}b's", r"$'a\xe2\x80\xaeb\'s'");
    }
}
