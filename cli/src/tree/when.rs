//! Times as people write them and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 from `@SECONDS` or `SECONDS`, `2026-11-25`, or `2026-11-25T20:45:00Z`.
pub(crate) fn seconds(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.strip_prefix('@').unwrap_or(text).parse() {
        return Ok(seconds);
    }
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = humantime::parse_rfc3339_weak(&whole)
        .map_err(|_| "is no time: give seconds since 1970 or 2026-11-25T20:45:00Z".to_owned())?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| "is before 1970".to_owned())?;
    i64::try_from(since.as_secs()).map_err(|_| "is too late".to_owned())
}

/// The time of modification that an archive has of a file whose own it is, where all have the fixed
/// one, or none a later one than the latest.
pub(super) fn archived(own: (i64, u32), fixed: Option<i64>, latest: Option<i64>) -> (i64, u32) {
    let time = fixed.map_or(own, |fixed| (fixed, 0));
    latest.map_or(time, |latest| time.min((latest, 0)))
}

/// A time of modification, to the nanosecond.
pub(super) fn exactly(seconds: i64, nanos: u32) -> String {
    match nanos {
        0 => shown(seconds),
        nanos => format!("{}.{nanos:09}Z", shown(seconds).trim_end_matches('Z')),
    }
}

/// A time of modification as `ls -l` shows it, in UTC.
pub(crate) fn shown(seconds: i64) -> String {
    let Ok(after) = u64::try_from(seconds) else { return format!("@{seconds}") };
    // What a formatter of dates doesn't take, past the year 9999.
    if after >= 253_402_300_800 {
        return format!("@{seconds}");
    }
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(after);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_typed() {
        assert_eq!(seconds("0"), Ok(0));
        assert_eq!(seconds("@1000000000"), Ok(1_000_000_000));
        assert_eq!(seconds("2001-09-09T01:46:40Z"), Ok(1_000_000_000));
        assert_eq!(seconds("2001-09-09"), Ok(999_993_600));
        for (fixed, latest, expected) in [
            (None, None, (7, 9)),
            (Some(3), None, (3, 0)),
            (None, Some(7), (7, 0)),
            (None, Some(8), (7, 9)),
        ] {
            assert_eq!(archived((7, 9), fixed, latest), expected);
        }
        for wrong in ["", "yesterday", "2001-13-01", "2001-9-9"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(shown(1_000_000_000), "2001-09-09T01:46:40Z");
        assert_eq!(exactly(1_000_000_000, 5), "2001-09-09T01:46:40.000000005Z");
        assert_eq!(exactly(1_000_000_000, 0), "2001-09-09T01:46:40Z");
        assert_eq!(shown(-1), "@-1");
        assert_eq!(shown(i64::MAX), format!("@{}", i64::MAX));
    }
}
