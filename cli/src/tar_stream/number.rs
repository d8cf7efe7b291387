//! Numbers in the fields of a tar header, as GNU tar reads them.
//!
//! ```text
//! "0000644\0"  "   644 "  "00000644"   octal digits, padded in front, ended by a space, a NUL or
//!                                      the field's end
//! "\0\0\0…"  "        "                blank: 0, as cargo and npm write the owners
//! 80 00 … 03  FF FF … FE               binary, in two's complement, for what octal has no room for
//! ```

/// The number that a field holds; `None` where it holds anything else.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    let &first = field.first()?;
    if first & 0x80 != 0 {
        return binary(field);
    }
    // A field that begins with NUL: a blank one, or an old tar's after the one before ran over.
    let field = field.strip_prefix(b"\0").unwrap_or(field);
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0B;
    let from = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[from..];
    let len = digits.iter().position(|byte| !matches!(byte, b'0'..=b'7')).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(len);
    if rest.first().is_some_and(|byte| *byte != 0 && !blank(byte)) {
        return None;
    }
    // A field of 12 digits has 36 bits.
    Some(digits.iter().fold(0, |number, digit| number * 8 + i128::from(digit - b'0')))
}

/// The highest bit marks the form, the next one is the sign.
fn binary(field: &[u8]) -> Option<i128> {
    let (&first, rest) = field.split_first()?;
    if rest.len() > 14 {
        return None;
    }
    let high = i128::from(first & 0x3F) - i128::from(first & 0x40);
    Some(rest.iter().fold(high, |number, &byte| number * 256 + i128::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_gnu_tar_takes_them() {
        let table: [(&[u8], Option<i128>); 17] = [
            (b"0000644\0", Some(0o644)),
            (b"000644 \0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"00000644", Some(0o644)),
            (b"644\0junk", Some(0o644)),
            (b"\x0000644\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"       \0", Some(0)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\x80\0\0\0\0\0\0\x01", Some(1)),
            (b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE", Some(-2)),
            (b"\xBF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", Some((1 << 62) - 1)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"hello\0\0\0", None),
            (b"", None),
        ];
        for (field, expected) in table {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }
}
