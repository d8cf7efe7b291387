//! What the program under test had claimed before the power was cut: its marks, read.
//!
//! A mark is a line of text: a word, and for some a number after it. Marks grow stronger: a
//! checkpoint claims everything that an earlier one did.

/// The mark that a program makes before it does anything else: power is cut after it.
pub const START: &str = "start";

/// The marks before a cut, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims<'a>(pub Vec<&'a str>);

impl Claims<'_> {
    /// Whether this very mark was made.
    #[must_use]
    pub fn has(&self, mark: &str) -> bool {
        self.0.contains(&mark)
    }

    /// How many marks begin with this word.
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.0.iter().filter(|mark| mark.split(' ').next() == Some(word)).count()
    }

    /// The largest number behind a mark that begins with this word, such as the 24 of
    /// `checkpoint 24`. A later one that is less takes nothing back.
    #[must_use]
    pub fn largest(&self, word: &str) -> Option<u64> {
        let number = |mark: &&str| mark.strip_prefix(word)?.trim().parse().ok();
        self.0.iter().filter_map(number).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_counts() {
        let claims = Claims(vec!["start", "checkpoint 24", "checkpoint 8", "committed"]);
        assert_eq!(claims.largest("checkpoint"), Some(24));
        assert_eq!(claims.largest("start"), None);
        assert_eq!(claims.count("checkpoint"), 2);
        assert!(claims.has("committed") && !claims.has("commit"));
    }
}
