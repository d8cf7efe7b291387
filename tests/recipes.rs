//! The recipes of docs/recipes are run as they stand: what a fence ```` ```sh run ```` holds, in
//! order, by one shell in a folder of its own, after what a comment `<!-- setup` makes for it.
//!
//! A fence without `run` is for a machine that a test lacks. `<!-- setup: needs TOOL …` names what
//! must be there; `root` stands for the user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{binary, has_tool, is_root, run, skip};

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// A recipe as a script.
struct Recipe {
    needs: Vec<String>,
    script: String,
    /// Fences that are run.
    fences: usize,
}

impl Recipe {
    fn read(text: &str) -> Self {
        let mut recipe = Self { needs: Vec::new(), script: String::new(), fences: 0 };
        let mut until: Option<&str> = None;
        for line in text.lines() {
            match until {
                Some(end) if line == end => until = None,
                Some(_) => {
                    recipe.script += line;
                    recipe.script.push('\n');
                }
                None if line == "```sh run" => {
                    recipe.fences += 1;
                    until = Some("```");
                }
                None => {
                    let Some(setup) = line.strip_prefix("<!-- setup") else { continue };
                    let needs = setup.strip_prefix(": needs ").unwrap_or_default();
                    recipe.needs.extend(needs.split_whitespace().map(str::to_owned));
                    until = Some("-->");
                }
            }
        }
        assert_eq!(until, None, "a fence or comment isn't closed");
        recipe
    }

    /// What of its needs the machine lacks.
    fn lacks(&self) -> Option<&str> {
        let is_there = |need: &str| match need {
            "root" => is_root(),
            // Debian keeps the server's own programs off the PATH.
            "initdb" => has_tool(need) || postgres(need),
            _ => has_tool(need),
        };
        self.needs.iter().map(String::as_str).find(|need| !is_there(need))
    }
}

fn postgres(tool: &str) -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("bin").join(tool).is_file())
}

fn check(name: &str) {
    let text = fs::read_to_string(documents().join("recipes").join(name)).unwrap();
    let recipe = Recipe::read(&text);
    assert!(recipe.fences > 0, "{name}: nothing is run");
    if let Some(lack) = recipe.lacks() {
        return skip(name, &format!("it needs {lack}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("set -euo pipefail\n{}", recipe.script);
    let program = binary();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(program.parent().unwrap().to_owned());
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(folder.path()).env("PATH", path);
    let output = run(command.stdin(Stdio::null()));
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    );
}

#[test]
fn a_database_dump() {
    check("database-dump.md");
}

#[test]
fn a_virtual_machines_image() {
    check("vm-image.md");
}

#[test]
fn a_block_device() {
    check("block-device.md");
}

#[test]
fn a_log_archive() {
    check("log-archive.md");
}

#[test]
fn a_models_checkpoint() {
    check("ml-checkpoint.md");
}

#[test]
fn a_directory_tree() {
    check("directory-tree.md");
}

#[test]
fn the_quick_start() {
    check("../QUICK_START.md");
}

#[test]
fn no_recipe_is_left_out() {
    let this =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes.rs")).unwrap();
    for name in support::names(&documents().join("recipes")) {
        assert!(this.contains(&format!("check(\"{name}\")")), "{name} is not run");
    }
}

/// The book's chapters are all there, and every recipe is a chapter.
#[test]
fn the_book_has_its_chapters() {
    let summary = fs::read_to_string(documents().join("SUMMARY.md")).unwrap();
    let links: Vec<&str> =
        summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    for link in &links {
        assert!(documents().join(link).is_file(), "{link} is not there");
    }
    for name in support::names(&documents().join("recipes")) {
        assert!(links.contains(&format!("recipes/{name}").as_str()), "{name} is no chapter");
    }
}

#[test]
fn a_recipe_is_what_is_marked() {
    let text = "<!-- setup: needs a b\none\n-->\n```sh run\ntwo\n```\n```sh\nthree\n```\n";
    let recipe = Recipe::read(text);
    assert_eq!((recipe.script.as_str(), recipe.fences), ("one\ntwo\n", 1));
    assert_eq!(recipe.needs, ["a", "b"]);
}

/// systemd knows every setting of the example units.
#[test]
fn the_example_units_are_taken() {
    let test = "the_example_units_are_taken";
    if !has_tool("systemd-analyze") {
        return skip(test, "systemd-analyze is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    for unit in ["ringpack-dump@.service", "ringpack-dump@.timer"] {
        fs::copy(documents().join("systemd").join(unit), folder.path().join(unit)).unwrap();
    }
    for unit in ["ringpack-dump@shop.service", "ringpack-dump@shop.timer"] {
        let mut command = Command::new("systemd-analyze");
        let output = run(command.args(["verify", "--man=no"]).arg(folder.path().join(unit)));
        let stderr = String::from_utf8_lossy(&output.stderr);
        // Of this machine's own units it may have more to say.
        let of_ours: Vec<&str> =
            stderr.lines().filter(|line| line.contains("ringpack-dump")).collect();
        assert!(of_ours.is_empty(), "{unit}: {of_ours:?}");
    }
}
