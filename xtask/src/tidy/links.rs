//! Every relative link of a document leads to a file of the tree.
//!
//! Documents at the root and under `docs/` are checked. A link to a folder is good if the tree
//! has files in it; addresses with a scheme and anchors within the page are not followed.

use super::tree::Document;
use super::{Offence, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let subject = |path: &str| !path.contains('/') || path.starts_with("docs/");
    let documents = tree.documents.iter().filter(|document| subject(&document.path));
    documents.flat_map(|document| check_document(tree, document)).collect()
}

fn check_document(tree: &Tree, document: &Document) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (number, target) in links(&document.text) {
        let file = target.split('#').next().unwrap_or(target);
        if file.is_empty() || is_address(file) {
            continue;
        }
        let leads = resolve(&document.path, file).is_some_and(|path| exists(tree, &path));
        if !leads {
            let message = format!("the link to `{target}` leads to no file");
            offences.push(Offence::new(&document.path, number, message));
        }
    }
    offences
}

/// The targets of a page's links, with their lines: `[text](target)` and `[label]: target`.
pub(super) fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        if let Some(target) = labelled(trimmed) {
            links.push((index + 1, target));
        }
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            let is_code = rest[..at].matches('`').count() % 2 == 1;
            rest = &rest[at + 2..];
            if let Some((inside, _)) = rest.split_once(')').filter(|_| !is_code) {
                links.push((index + 1, without_title(inside)));
            } else if is_code {
                rest = rest.split_once('`').map_or("", |(_, after)| after);
            }
        }
    }
    links
}

/// The target in `[label]: target`; a footnote is none.
fn labelled(line: &str) -> Option<&str> {
    let (label, target) = line.strip_prefix('[')?.split_once("]: ")?;
    (!label.contains(']') && !label.starts_with('^')).then(|| without_title(target))
}

fn without_title(target: &str) -> &str {
    let target = target.trim();
    let target = target.split_once([' ', '\t']).map_or(target, |(target, _)| target);
    target.trim_start_matches('<').trim_end_matches('>')
}

fn is_address(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

/// The path from the tree's root; none if it leads out of the tree.
fn resolve(document: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn exists(tree: &Tree, path: &str) -> bool {
    let below = format!("{path}/");
    tree.paths.contains(path)
        || path.is_empty()
        || tree.paths.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::shown;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let table = [
            ("[a](docs/gone.md)", "docs/gone.md"),
            ("![a](gone.png \"A picture\")", "gone.png"),
            ("[a][b]\n\n[b]: gone.md", "gone.md"),
            ("[a](/README.md)", "/README.md"),
            ("[a](../README.md)", "../README.md"),
            ("`x` [a](gone.md#part)", "gone.md#part"),
        ];
        for (text, target) in table {
            let line = text.lines().count();
            let expected = format!("README.md:{line}: the link to `{target}` leads to no file");
            assert_eq!(shown(check, &[("README.md", text)]), [expected], "{text}");
        }
    }

    #[test]
    fn links_to_files_folders_addresses_and_anchors_are_good() {
        let tree = |text| {
            [
                ("docs/FORMAT.md", text),
                ("docs/decisions/0001-a.md", ""),
                ("engine/src/lib.rs", "//! E.\n"),
            ]
        };
        let table = [
            "[a](decisions/0001-a.md#why) [b](../engine/src/lib.rs)",
            "[a](decisions/) [b](./decisions) [c](..)",
            "[a](https://example.org/x) [b](mailto:a@example.org) [c](#here)",
            "```\n[a](gone.md)\n```\n`[a](gone.md)` and x](",
            "[^1]: A footnote.",
        ];
        for text in table {
            let shown = shown(check, &tree(text));
            assert!(shown.is_empty(), "{text}: {shown:?}");
        }
    }
}
