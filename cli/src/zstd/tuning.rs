//! The lists of parameters that `--zstd=` and `--adapt=` take. They tune zstd and nothing here, but
//! a list that zstd would refuse is refused.

use super::numbers::leading;

/// Each parameter of `--zstd=`, by both of its names, and the values that it may have. 0 is the
/// default.
const PARAMETERS: [(&str, &str, u64, u64); 12] = [
    ("windowLog", "wlog", 10, 31),
    ("chainLog", "clog", 6, 30),
    ("hashLog", "hlog", 6, 30),
    ("searchLog", "slog", 1, 30),
    ("minMatch", "mml", 3, 7),
    ("targetLength", "tlen", 0, 1 << 17),
    ("strategy", "strat", 1, 9),
    ("overlapLog", "ovlog", 0, 9),
    ("ldmHashLog", "lhlog", 6, 30),
    ("ldmMinMatch", "lmml", 4, 4096),
    ("ldmBucketSizeLog", "lblog", 1, 8),
    ("ldmHashRateLog", "lhrlog", 0, 25),
];

/// Checks the list of `--zstd=`; gives the window's logarithm if the list has one.
pub(super) fn parameters(list: &[u8]) -> Result<Option<u64>, String> {
    let mut window = None;
    for (name, value) in pairs(list)? {
        let Some(&(long, _, min, max)) =
            PARAMETERS.iter().find(|(long, short, ..)| name == *long || name == *short)
        else {
            return Err(format!("--zstd has no parameter {name}"));
        };
        if value != 0 && !(min..=max).contains(&value) {
            return Err(format!("{name}={value} is outside {min} to {max}"));
        }
        if long == "windowLog" {
            window = Some(value);
        }
    }
    Ok(window)
}

/// Checks the list of `--adapt=`, whose levels may be negative.
pub(super) fn adaptation(list: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(list).replace("=-", "=");
    for (name, _) in pairs(text.as_bytes())? {
        if name != "min" && name != "max" {
            return Err(format!("--adapt has no parameter {name}"));
        }
    }
    Ok(())
}

/// `name=number` pairs with commas in between.
fn pairs(list: &[u8]) -> Result<Vec<(String, u64)>, String> {
    let pair = |text: &[u8]| {
        let equals = text.iter().position(|&byte| byte == b'=')?;
        let (value, rest) = leading(&text[equals + 1..], u64::from(u32::MAX)).ok()?;
        let name = String::from_utf8_lossy(&text[..equals]).into_owned();
        rest.is_empty().then_some((name, value))
    };
    let wrong = || format!("{} is no list of parameters", String::from_utf8_lossy(list));
    list.split(|&byte| byte == b',').map(|text| pair(text).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parameters(b"wlog=23,clog=0,strategy=9"), Ok(Some(23)));
        assert_eq!(parameters(b"mml=3"), Ok(None));
        for wrong in ["", "wlog", "wlog=9", "wlog=99", "frob=1", "wlog=20,", "wlog=20x"] {
            assert!(parameters(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(adaptation(b"min=-3,max=9").is_ok());
        assert!(adaptation(b"min=1,frob=2").is_err());
    }
}
