//! Numbers as zstd reads them: digits, then `K` or `M` for 2^10 or 2^20, also as `KB` or `KiB`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ringpack::escape::shown;

/// The number that `bytes` start with, 0 where they start with none, and what follows it.
pub(super) fn leading(bytes: &[u8], max: u64) -> Result<(u64, &[u8]), String> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (text, mut rest) = bytes.split_at(digits);
    let mut number = Some(0u64);
    for digit in text {
        number = number.and_then(|it| it.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    }
    let unit = match rest.first() {
        Some(b'K') => 1 << 10,
        Some(b'M') => 1 << 20,
        _ => 1,
    };
    if unit > 1 {
        rest = &rest[1..];
        for suffix in [b'i', b'B'] {
            rest = rest.strip_prefix(&[suffix]).unwrap_or(rest);
        }
    }
    let number = number.and_then(|it| it.checked_mul(unit)).filter(|&it| it <= max);
    let too_large = || format!("{} is too large a number", String::from_utf8_lossy(text));
    Ok((number.ok_or_else(too_large)?, rest))
}

/// A value that is a number and nothing else.
pub(super) fn whole(text: &OsStr, max: u64) -> Result<u64, String> {
    match leading(text.as_bytes(), max)? {
        (number, []) => Ok(number),
        _ => Err(format!("{} is no number, with K or M behind it or without", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_units() {
        const MAX: u64 = u32::MAX as u64;
        for (text, number, rest) in [
            ("", 0, ""),
            ("12", 12, ""),
            ("0kq", 0, "kq"),
            ("4K", 4096, ""),
            ("4Kq", 4096, "q"),
            ("4KiBq", 4096, "q"),
            ("4MBo", 4 << 20, "o"),
            ("4Mi", 4 << 20, ""),
            ("4G", 4, "G"),
            ("4294967295", MAX, ""),
        ] {
            assert_eq!(leading(text.as_bytes(), MAX), Ok((number, rest.as_bytes())), "{text}");
        }
        for text in ["4294967296", "4194304K", "4096M", "99999999999999999999999"] {
            assert!(leading(text.as_bytes(), MAX).is_err(), "{text}");
        }
        assert_eq!(whole(OsStr::new("99999999999K"), u64::MAX), Ok(99_999_999_999 << 10));
        assert!(whole(OsStr::new("4x"), MAX).is_err());
    }
}
