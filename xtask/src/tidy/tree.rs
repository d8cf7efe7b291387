//! The texts that the checks read: Rust sources and documents of the checkout.
//!
//! A file belongs to the tree if git tracks it, or would with the next `git add`: the build
//! directory and other ignored files stay out, a file not yet added is checked all the same.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::source::Source;

/// A Markdown file.
pub(crate) struct Document {
    pub(super) path: String,
    pub(super) text: String,
}

/// Every file's path, and the text of those that some check reads.
pub(crate) struct Tree {
    pub(super) paths: BTreeSet<String>,
    pub(crate) sources: Vec<Source>,
    pub(super) documents: Vec<Document>,
}

impl Tree {
    /// Reads the checkout at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let paths: Vec<String> =
            listed(root)?.into_iter().filter(|path| root.join(path).exists()).collect();
        let mut files = Vec::new();
        for path in paths {
            let text = if path.ends_with(".rs") || path.ends_with(".md") {
                std::fs::read_to_string(root.join(&path))
                    .map_err(|error| format!("cannot read {path}: {error}"))?
            } else {
                String::new()
            };
            files.push((path, text));
        }
        let tree = Self::from_files(files);
        if tree.sources.is_empty() {
            return Err("git lists no Rust source here: is this the checkout?".to_owned());
        }
        Ok(tree)
    }

    /// The tree of texts given in place, for tests of the checks.
    #[cfg(test)]
    pub(super) fn of(texts: &[(&str, &str)]) -> Self {
        Self::from_files(texts.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect())
    }

    fn from_files(files: Vec<(String, String)>) -> Self {
        let mut tree = Self { paths: BTreeSet::new(), sources: Vec::new(), documents: Vec::new() };
        for (path, text) in files {
            tree.paths.insert(path.clone());
            if path.ends_with(".rs") {
                tree.sources.push(Source::parse(&path, &text));
            } else if path.ends_with(".md") {
                tree.documents.push(Document { path, text });
            }
        }
        tree.mark_outlined_tests();
        tree
    }

    /// A module declared as `#[cfg(test)] mod name;` is test code wherever its file stands.
    fn mark_outlined_tests(&mut self) {
        let stems: Vec<String> = self.sources.iter().flat_map(Source::outlined_tests).collect();
        for source in &mut self.sources {
            let path = source.path.trim_end_matches(".rs");
            let inside = |stem: &String| path == stem || path.starts_with(&format!("{stem}/"));
            if stems.iter().any(inside) {
                source.mark_all_test();
            }
        }
    }
}

/// The paths that git tracks or would add, relative to `root`.
fn listed(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let list = String::from_utf8(output.stdout).map_err(|_| "a path is not UTF-8".to_owned())?;
    let mut paths: Vec<String> =
        list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlined_test_module_is_test_code_with_all_below_it() {
        let tree = Tree::of(&[
            ("engine/src/ring/mod.rs", "mod op;\n#[cfg(test)]\nmod tests;\n"),
            ("engine/src/ring/op.rs", "fn f() {}\n"),
            ("engine/src/ring/tests.rs", "fn f() {}\n"),
            ("engine/src/ring/tests/deep.rs", "fn f() {}\n"),
            ("engine/src/pack.rs", "#[cfg(test)]\nmod tests;\n"),
            ("engine/src/pack/tests/mod.rs", "fn f() {}\n"),
        ]);
        let test_code: Vec<&str> = tree
            .sources
            .iter()
            .filter(|source| source.lines.iter().all(|line| line.test))
            .map(|source| source.path.as_str())
            .collect();
        assert_eq!(
            test_code,
            [
                "engine/src/ring/tests.rs",
                "engine/src/ring/tests/deep.rs",
                "engine/src/pack.rs",
                "engine/src/pack/tests/mod.rs",
            ]
        );
    }
}
