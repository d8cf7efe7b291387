//! Sizes as people write them and read them.

/// Bytes from `123`, `64K`, `1M`, `2GiB` …: binary multiples, as zstd and dd take them.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "is no number of bytes".to_owned())?;
    let unit = unit.trim_end_matches("iB").trim_end_matches('B').to_ascii_uppercase();
    let shift = match unit.as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        _ => return Err("ends in none of K, M, G, T, P".to_owned()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "is too large".to_owned())
}

/// The power of two that a chunk length is, from 64K to 64M.
pub(crate) fn chunk_log2(text: &str) -> Result<u8, String> {
    use ringpack::limits::{CHUNK_LOG2_MAX, CHUNK_LOG2_MIN};
    let bytes = bytes(text)?;
    let fits = bytes.is_power_of_two()
        && (CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX).contains(&(bytes.ilog2() as u8));
    if fits {
        Ok(bytes.ilog2() as u8)
    } else {
        Err("is no power of two from 64K to 64M".to_owned())
    }
}

/// A number of bytes for people: `1.50 GiB`.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    let scaled = bytes as f64 / (1u64 << (10 * power)) as f64;
    format!("{scaled:.2} {}", UNITS[power as usize - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, value) in [
            ("0", 0),
            ("123", 123),
            ("64K", 65536),
            ("1M", 1 << 20),
            ("2GiB", 2 << 30),
            ("1kB", 1024),
        ] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for text in ["", "K", "1X", "-1", "1.5M", "99999999999999999999", "99999999P"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn chunk_lengths_are_powers_of_two_in_range() {
        assert_eq!((chunk_log2("64K"), chunk_log2("64M")), (Ok(16), Ok(26)));
        for text in ["0", "32K", "128M", "100K", "x"] {
            assert!(chunk_log2(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_as_people_read_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.50 KiB"),
            (3 << 30, "3.00 GiB"),
            (u64::MAX, "16.00 EiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
