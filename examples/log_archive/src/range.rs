//! The part of the content that a request asks for, by RFC 9110, section 14.

use std::ops::Range;

/// What a `Range` header comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// Everything: the header is none, none of ours, or more than is served.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Bytes of which the content has none.
    Unsatisfiable,
}

/// What the value of a `Range` header asks of `len` bytes. A header that makes no sense is ignored,
/// as the RFC has it; so is one that asks for several ranges, which it allows.
pub(crate) fn asked(value: &str, len: u64) -> Asked {
    let Some((unit, set)) = value.split_once('=') else { return Asked::Whole };
    let set = set.trim_matches([' ', '\t', ',']);
    let Some((first, last)) = set.split_once('-') else { return Asked::Whole };
    // A range of nothing can't be answered by a part: to ask for one is to ask for the whole.
    if !unit.eq_ignore_ascii_case("bytes") || len == 0 {
        return Asked::Whole;
    }
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(len),
        (Some(first), None) if last.is_empty() => first..len,
        (None, Some(last)) if first.is_empty() => len.saturating_sub(last)..len,
        _ => return Asked::Whole,
    };
    if range.start < range.end { Asked::Part(range) } else { Asked::Unsatisfiable }
}

/// A number of any length; past 64 bits it is as good as infinite.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_the_rfc_says() {
        let part = |range| Asked::Part(range);
        let table = [
            ("bytes=0-0", part(0..1)),
            ("bytes=0-99", part(0..100)),
            ("bytes=0-100", part(0..100)),
            ("BYTES=99-", part(99..100)),
            ("bytes=-1", part(99..100)),
            ("bytes=-100", part(0..100)),
            ("bytes=-101", part(0..100)),
            ("bytes= 5-6 ,", part(5..7)),
            ("bytes=5-18446744073709551615", part(5..100)),
            ("bytes=5-99999999999999999999999", part(5..100)),
            ("bytes=100-", Asked::Unsatisfiable),
            ("bytes=99999999999999999999999-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=6-5", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=1-2x", Asked::Whole),
            ("bytes=x-", Asked::Whole),
            ("bytes=--5", Asked::Whole),
            ("lines=0-1", Asked::Whole),
        ];
        for (value, expected) in table {
            assert_eq!(asked(value, 100), expected, "{value}");
        }
        for value in ["bytes=0-", "bytes=-5", "bytes=0-0", "bytes=-0"] {
            assert_eq!(asked(value, 0), Asked::Whole, "{value}");
        }
    }
}
