//! The options that say when content is whole.

use crate::size;

/// When what was packed is published.
#[derive(Debug, clap::Args)]
pub(crate) struct Guards {
    /// Run the command given after --, pack what it writes to its standard output, and publish that
    /// only if the command ends with exit code 0
    #[arg(long, requires = "input")]
    pub(crate) from_command: bool,
    /// Publish only if the content has this length
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub(crate) expect_size: Option<u64>,
    /// Publish only if the content has this digest, as b3sum prints it; the digest is kept in the
    /// container
    #[arg(long, value_name = "HEX", value_parser = digest)]
    pub(crate) expect_blake3: Option<[u8; 32]>,
}

/// A digest from its 64 hexadecimal digits.
fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "isn't 64 hexadecimal digits".to_owned();
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_as_b3sum_prints_them() {
        let text = "00ff".repeat(16);
        let bytes = digest(&text).unwrap();
        assert_eq!((bytes[0], bytes[1], bytes[30], bytes[31]), (0, 255, 0, 255));
        assert_eq!(digest(&text.to_uppercase()), Ok(bytes));
        for wrong in ["", "00", &"0".repeat(63), &"0".repeat(65), &"+0".repeat(32), &"é".repeat(32)]
        {
            assert!(digest(wrong).is_err(), "{wrong}");
        }
    }
}
