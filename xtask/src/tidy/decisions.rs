//! Decision records are numbered, and their index lists each of them.
//!
//! A record is cited by its number from code and from other records, so a number means one record
//! for ever: two branches that both took the next number are told apart here.

use std::collections::BTreeMap;

use super::links::links;
use super::{Offence, Tree};

const FOLDER: &str = "docs/decisions/";
const INDEX: &str = "docs/decisions/README.md";

pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for path in tree.paths.iter().filter(|path| path.starts_with(FOLDER) && *path != INDEX) {
        let name = &path[FOLDER.len()..];
        let Some(number) = number(name) else {
            offences.push(Offence::new(path, 1, "a decision record is named NNNN-title.md"));
            continue;
        };
        if let Some(first) = numbers.insert(number, name) {
            let message = format!("the number {number} belongs to {first} already");
            offences.push(Offence::new(path, 1, message));
        }
        if !is_indexed(tree, name) {
            offences.push(Offence::new(path, 1, format!("not in the index, {INDEX}")));
        }
    }
    offences
}

/// The number in `NNNN-title.md`, where the title is of small letters, digits and hyphens.
fn number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let is_number = number.len() == 4 && number.chars().all(|c| c.is_ascii_digit());
    let is_title = title.starts_with(|c: char| c.is_ascii_alphanumeric())
        && title.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (is_number && is_title).then_some(number)
}

fn is_indexed(tree: &Tree, name: &str) -> bool {
    let index = tree.documents.iter().find(|document| document.path == INDEX);
    index.is_some_and(|index| links(&index.text).iter().any(|(_, target)| *target == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::shown;

    fn shown_with_index(names: &[&str]) -> Vec<String> {
        let index: String = names.iter().map(|name| format!("- [{name}]({name})\n")).collect();
        let paths: Vec<String> = names.iter().map(|name| format!("{FOLDER}{name}")).collect();
        let mut texts = vec![(INDEX, index.as_str())];
        texts.extend(paths.iter().map(|path| (path.as_str(), "# A decision\n")));
        shown(check, &texts)
    }

    #[test]
    fn a_misnamed_record_is_found() {
        for name in ["1-a.md", "0001.md", "0001-a.txt", "0001-A.md", "0001_a.md", "notes/0001-a.md"]
        {
            assert_eq!(
                shown_with_index(&[name]),
                [format!("{FOLDER}{name}:1: a decision record is named NNNN-title.md")]
            );
        }
        assert!(shown_with_index(&["0001-one-ring-a-core.md", "0002-b2.md"]).is_empty());
    }

    #[test]
    fn a_number_taken_twice_is_found() {
        assert_eq!(
            shown_with_index(&["0001-a.md", "0001-b.md"]),
            [format!("{FOLDER}0001-b.md:1: the number 0001 belongs to 0001-a.md already")]
        );
    }

    #[test]
    fn a_record_missing_from_the_index_is_found() {
        assert_eq!(
            shown(check, &[(INDEX, "None yet.\n"), ("docs/decisions/0001-a.md", "# A\n")]),
            [format!("{FOLDER}0001-a.md:1: not in the index, {INDEX}")]
        );
    }
}
