//! What the environment asks of a run.

/// The number that a variable of the environment asks for, if it is set.
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// The seed that states and delays are drawn by: `RINGPACK_SEED`, or one that is always the same.
pub(crate) fn seed() -> u64 {
    let seed = number("RINGPACK_SEED").unwrap_or(1);
    println!("RINGPACK_SEED={seed}");
    seed
}
