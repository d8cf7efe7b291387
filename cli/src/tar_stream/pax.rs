//! PAX records: `LENGTH KEY=VALUE\n`, what tar's fixed fields have no room for.
//!
//! Values are any bytes, newlines too, so a record ends where its length says.

/// Appends a record.
pub(super) fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // Space, equals sign, newline; the length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend(len.to_string().bytes());
    out.push(b' ');
    out.extend(key);
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

/// The records that fill `bytes`, up to a NUL; last `None` where something else stands there.
pub(super) fn records(bytes: &[u8]) -> Records<'_> {
    Records(bytes)
}

/// What is left of the records.
#[derive(Clone, Debug)]
pub(super) struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.0.first(), None | Some(0)) {
            return None;
        }
        let Some((key, value, rest)) = record(self.0) else {
            self.0 = &[];
            return Some(None);
        };
        self.0 = rest;
        Some(Some((key, value)))
    }
}

/// The first record, and what is behind it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blanks =
        |bytes: &[u8]| bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let from = blanks(bytes);
    let digits = bytes[from..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let len: usize = std::str::from_utf8(&bytes[from..from + digits]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    let body = record.get(from + digits..)?.strip_suffix(b"\n")?;
    let body = body.get(blanks(body).max(1)..)?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], rest))
}

/// The name of an attribute as a keyword has it: without `=`, which ends a keyword.
pub(super) fn keyword(name: &[u8]) -> Vec<u8> {
    let mut keyword = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'%' => keyword.extend(b"%25"),
            b'=' => keyword.extend(b"%3D"),
            byte => keyword.push(byte),
        }
    }
    keyword
}

/// The name that a keyword of GNU tar's stands for.
pub(super) fn gnu_name(keyword: &[u8]) -> Vec<u8> {
    name(keyword, |digits| match digits {
        b"25" => Some(b'%'),
        b"3D" => Some(b'='),
        _ => None,
    })
}

/// The name that a keyword of libarchive's stands for, which may have any byte in digits.
pub(super) fn libarchive_name(keyword: &[u8]) -> Vec<u8> {
    name(keyword, |digits| {
        let digits = std::str::from_utf8(digits).ok()?;
        // A sign is no digit.
        let byte = u8::from_str_radix(digits, 16).ok()?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(byte)
    })
}

fn name(mut keyword: &[u8], decode: impl Fn(&[u8; 2]) -> Option<u8>) -> Vec<u8> {
    let mut name = Vec::with_capacity(keyword.len());
    while let Some((&first, rest)) = keyword.split_first() {
        let digits = rest.first_chunk::<2>().filter(|_| first == b'%');
        let (byte, rest) = match digits.and_then(&decode) {
            Some(byte) => (byte, &rest[2..]),
            None => (first, rest),
        };
        name.push(byte);
        keyword = rest;
    }
    name
}

/// The bytes that a value in base64 stands for, with padding or without, as libarchive writes it.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let (mut bits, mut held) = (0u32, 0);
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 2);
    for &letter in &text[..end] {
        let digit = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, held) = (bits << 6 | u32::from(digit), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

/// A time as a record has it: seconds since 1970 with as many decimals as it takes.
pub(super) fn time(seconds: i64, nanos: u32) -> String {
    let (sign, whole, fraction) = match (seconds, nanos) {
        (0.., _) => ("", seconds.unsigned_abs(), nanos),
        (_, 0) => ("-", seconds.unsigned_abs(), 0),
        _ => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let decimals = format!("{fraction:09}");
    format!("{sign}{whole}.{}", decimals.trim_end_matches('0'))
}

/// Seconds and nanoseconds of a time in a record.
pub(super) fn parse_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(decimals) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let decimals = decimals.get(..9).unwrap_or(decimals);
    let nanos: u32 = format!("{decimals:0<9}").parse().ok()?;
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for value_len in 0..1200 {
            let (mut bytes, value) = (Vec::new(), vec![b'\n'; value_len]);
            put(&mut bytes, b"SCHILY.xattr.user.x", &value);
            put(&mut bytes, b"mtime", b"1");
            let expected =
                [Some((&b"SCHILY.xattr.user.x"[..], &value[..])), Some((b"mtime", b"1"))];
            assert!(records(&bytes).eq(expected), "{value_len}");
            // What fills the block is no record.
            bytes.extend([0; 20]);
            assert!(records(&bytes).eq(expected), "{value_len}");
        }
        let mut bytes = Vec::new();
        put(&mut bytes, b"mtime", b"12.5");
        assert_eq!(bytes, b"14 mtime=12.5\n");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let wrong: [&[u8]; 7] =
            [b"x", b"5 a=b", b"99 a=b\n", b"0 a=b\n", b"6 a=bc", b"6 abcd\n", b"-6 a=b\n"];
        for bytes in wrong {
            assert!(records(bytes).eq([None]), "{bytes:?}");
        }
        assert!(records(b" 7  a=b\n").eq([None]));
        assert!(records(b" 8  a=b\n").eq([Some((&b"a"[..], &b"b"[..]))]));
    }

    #[test]
    fn names_of_attributes_there_and_back() {
        for (raw, encoded) in [
            ("user.a=b", "user.a%3Db"),
            ("user.%stat", "user.%25stat"),
            ("user.p%25q", "user.p%2525q"),
        ] {
            assert_eq!(keyword(raw.as_bytes()), encoded.as_bytes());
            assert_eq!(gnu_name(encoded.as_bytes()), raw.as_bytes());
            assert_eq!(libarchive_name(encoded.as_bytes()), raw.as_bytes());
        }
        for odd in ["%", "%2", "%zz", "%41", "%3d", "%+5"] {
            assert_eq!(gnu_name(odd.as_bytes()), odd.as_bytes());
        }
        assert_eq!(libarchive_name(b"user.%C3%a4%+5%"), "user.\u{e4}%+5%".as_bytes());
    }

    #[test]
    fn values_in_base64() {
        let table: [(&str, Option<&[u8]>); 6] = [
            ("", Some(b"")),
            ("aGVsbG8", Some(b"hello")),
            ("aGVsbG8=", Some(b"hello")),
            ("AP8+", Some(b"\0\xFF>")),
            ("a b", None),
            ("a=b", None),
        ];
        for (text, expected) in table {
            assert_eq!(base64(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn times_there_and_back() {
        let table = [
            (0, 0, "0"),
            (12, 500_000_000, "12.5"),
            (12, 1, "12.000000001"),
            (-2, 0, "-2"),
            (-2, 999_999_999, "-1.000000001"),
            (-1, 500_000_000, "-0.5"),
        ];
        for (seconds, nanos, text) in table {
            assert_eq!(time(seconds, nanos), text);
            assert_eq!(parse_time(text.as_bytes()), Some((seconds, nanos)), "{text}");
        }
        for wrong in ["", "-", "x", "1.x", "+1", "99999999999999999999"] {
            assert_eq!(parse_time(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
