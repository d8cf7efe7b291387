//! Content to measure with where there is none of the user's own.

/// `len` bytes of text, noise and zeros, the same for the same length. They compress about as a
/// file system's do: to two fifths.
///
/// ```
/// assert_eq!(ringpack::bench::content(100), ringpack::bench::content(200)[..100]);
/// ```
#[must_use]
pub fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || xorshift(&mut state);
    let mut bytes = Vec::with_capacity(len + 4096);
    while bytes.len() < len {
        let run = 16 + (next() % 2048) as usize;
        match next() % 8 {
            0 => bytes.resize(bytes.len() + run, 0),
            1 | 2 => bytes.extend((0..run).map(|_| next() as u8)),
            word => {
                bytes.extend(format!("field {word} = {run}; ").bytes().cycle().take(run));
            }
        }
    }
    bytes.truncate(len);
    bytes
}

/// The next of the numbers that follow `state`, which isn't 0: xorshift64 (Marsaglia 2003).
pub(super) fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
