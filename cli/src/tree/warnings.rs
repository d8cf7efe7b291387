//! Warnings of a restore: the first of them, and how many more there were.

/// Most warnings that are kept as text: an archive may give cause for millions.
const KEPT_MAX: usize = 100;

/// Warnings.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    first: Vec<String>,
    more: u64,
}

impl Warnings {
    /// Adds one.
    pub(super) fn push(&mut self, warning: String) {
        if self.first.len() < KEPT_MAX {
            self.first.push(warning);
        } else {
            self.more += 1;
        }
    }

    /// The warnings to print. The last one counts those that were dropped.
    pub(crate) fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            let more = self.more;
            self.first.push(format!("{more} more warnings of these kinds are not shown"));
        }
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_and_the_others_counted() {
        let mut warnings = Warnings::default();
        (0..KEPT_MAX + 7).for_each(|number| warnings.push(format!("w{number}")));
        let lines = warnings.into_lines();
        assert_eq!(lines.len(), KEPT_MAX + 1);
        assert_eq!((lines[0].as_str(), lines[KEPT_MAX - 1].as_str()), ("w0", "w99"));
        assert!(lines[KEPT_MAX].starts_with("7 more"), "{}", lines[KEPT_MAX]);
    }
}
