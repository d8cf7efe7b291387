//! The damage map: which ranges are intact, which are lost, and of which it isn't sure.
//!
//! As text it is a mapfile of GNU ddrescue, so the tools that know those can show it, add two of
//! them up, and fetch exactly the ranges that are missing from a replica:
//!
//! ```text
//! # damage: chunk 1, content 0x10000 0x10000, container 0x2000 0x9f3, lost: why
//! # current_pos  current_status  current_pass
//! 0x00000000     ?               1
//! #      pos        size  status
//! 0x00000000  0x00010000  +
//! 0x00010000  0x00010000  ?
//! ```
//!
//! Positions are bytes of one file: the content that was restored, or the container itself. What a
//! range is of the other stands in the comments. `docs/FORMAT.md` has the whole.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;

/// What is known of a range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Condition {
    /// Verified by checksums that also say that it belongs here.
    Intact,
    /// Verified by its own checksum alone: nothing but the order of what stands around it says
    /// that it belongs here.
    Unsure,
    /// Missing or damaged.
    Lost,
}

impl Condition {
    /// Its status in a mapfile: finished, non-trimmed, non-tried. ddrescue reads the latter two.
    #[must_use]
    pub fn status(self) -> char {
        match self {
            Self::Intact => '+',
            Self::Unsure => '*',
            Self::Lost => '?',
        }
    }
}

/// One damage, as far as it is known what is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Damage {
    /// The chunks concerned, by number.
    pub chunks: Option<Range<u64>>,
    /// Their range of the content.
    pub content: Option<Range<u64>>,
    /// The range of the container.
    pub container: Option<Range<u64>>,
    /// What became of it.
    pub condition: Condition,
    /// What was found, in lower case.
    pub why: Cow<'static, str>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.chunks {
            Some(chunks) if chunks.end - chunks.start == 1 => {
                write!(f, "chunk {}, ", chunks.start)?
            }
            Some(chunks) => write!(f, "chunks {} to {}, ", chunks.start, chunks.end - 1)?,
            None => {}
        }
        for (name, range) in [("content", &self.content), ("container", &self.container)] {
            if let Some(range) = range {
                write!(f, "{name} {:#x} {:#x}, ", range.start, range.end - range.start)?;
            }
        }
        let condition = match self.condition {
            Condition::Intact => "intact",
            Condition::Unsure => "unsure",
            Condition::Lost => "lost",
        };
        write!(f, "{condition}: {}", self.why)
    }
}

/// A range of a map.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Stretch {
    /// Where it starts.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// What is known of it.
    pub condition: Condition,
}

/// A map of a file: ranges without gap or overlap, from 0 to its length.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Map {
    /// The ranges, in order; neighbours differ.
    pub stretches: Vec<Stretch>,
}

impl Map {
    /// The map of `len` bytes of which `known` are known; all others are lost. Of ranges that
    /// overlap, the one that starts first has what both claim.
    #[must_use]
    pub fn new(len: u64, mut known: Vec<(Range<u64>, Condition)>) -> Self {
        known.sort_by_key(|(range, condition)| (range.start, *condition));
        let mut map = Self::default();
        let mut at = 0;
        for (range, condition) in known {
            let (start, end) = (range.start.max(at), range.end.min(len));
            if start >= end {
                continue;
            }
            map.append(at..start, Condition::Lost);
            map.append(start..end, condition);
            at = end;
        }
        map.append(at..len, Condition::Lost);
        map
    }

    fn append(&mut self, range: Range<u64>, condition: Condition) {
        if range.is_empty() {
            return;
        }
        match self.stretches.last_mut() {
            Some(last) if last.condition == condition => last.end = range.end,
            _ => self.stretches.push(Stretch { start: range.start, end: range.end, condition }),
        }
    }

    /// Bytes in that condition.
    #[must_use]
    pub fn bytes(&self, condition: Condition) -> u64 {
        let those = self.stretches.iter().filter(|stretch| stretch.condition == condition);
        those.map(|stretch| stretch.end - stretch.start).sum()
    }

    /// Whether all of it is intact.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.stretches.iter().all(|stretch| stretch.condition == Condition::Intact)
    }

    /// The mapfile, with `notes` as its first comments.
    #[must_use]
    pub fn text(&self, notes: &[String], damages: &[Damage]) -> String {
        let mut text = String::from("# Mapfile. Created by ringpack\n");
        for note in notes {
            // A comment is one line.
            let note: String = note.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            let _ = writeln!(text, "# {note}");
        }
        text += "# + intact, * its place is unsure, ? lost\n";
        for damage in damages {
            let _ = writeln!(text, "# damage: {damage}");
        }
        text += "# current_pos  current_status  current_pass\n0x00000000     ?               1\n";
        text += "#      pos        size  status\n";
        for Stretch { start, end, condition } in &self.stretches {
            let (len, status) = (end - start, condition.status());
            let _ = writeln!(text, "0x{start:08X}  0x{len:08X}  {status}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_lost_and_neighbours_are_joined() {
        use Condition::{Intact, Lost, Unsure};
        let check = |len, known: &[(Range<u64>, Condition)], expected: &[(u64, u64, Condition)]| {
            let map = Map::new(len, known.to_vec());
            let found: Vec<_> =
                map.stretches.iter().map(|it| (it.start, it.end, it.condition)).collect();
            assert_eq!(found, expected, "{known:?}");
            let all: u64 = [Intact, Unsure, Lost].into_iter().map(|it| map.bytes(it)).sum();
            assert_eq!(all, len);
        };
        check(0, &[(0..9, Intact)], &[]);
        check(9, &[], &[(0, 9, Lost)]);
        check(9, &[(4..6, Intact), (0..4, Intact)], &[(0, 6, Intact), (6, 9, Lost)]);
        check(
            9,
            &[(2..4, Unsure), (4..40, Intact)],
            &[(0, 2, Lost), (2, 4, Unsure), (4, 9, Intact)],
        );
        check(
            9,
            &[(2..7, Unsure), (3..4, Intact), (5..8, Lost)],
            &[(0, 2, Lost), (2, 7, Unsure), (7, 9, Lost)],
        );
    }

    #[test]
    fn a_comment_is_one_line_whatever_is_in_a_name() {
        let damage = Damage {
            chunks: Some(3..4),
            content: Some(16..32),
            container: None,
            condition: Condition::Lost,
            why: "gone".into(),
        };
        let text = Map::new(32, vec![(0..16, Condition::Intact)])
            .text(&["a\nb".to_owned()], std::slice::from_ref(&damage));
        let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "0x00000000     ?               1",
            "0x00000000  0x00000010  +",
            "0x00000010  0x00000010  ?",
        ];
        assert_eq!(rows, expected);
        assert!(text.contains("# damage: chunk 3, content 0x10 0x10, lost: gone\n"), "{text}");
    }
}
