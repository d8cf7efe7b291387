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

/// The records that fill `bytes`; `None` where something else stands there.
pub(super) fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
        let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let (record, rest) = bytes.split_at_checked(len)?;
        let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = body.iter().position(|&byte| byte == b'=')?;
        found.push((&body[..equals], &body[equals + 1..]));
        bytes = rest;
    }
    Some(found)
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
            let expected = vec![(&b"SCHILY.xattr.user.x"[..], &value[..]), (b"mtime", b"1")];
            assert_eq!(records(&bytes), Some(expected), "{value_len}");
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
            assert_eq!(records(bytes), None, "{bytes:?}");
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
