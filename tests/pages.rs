//! Manual pages and completions: they are whole, their readers take them, and they complete.

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{binary, fail, has_tool, ringpack, run, skip, succeed};

fn generated(args: &[&str]) -> String {
    let stdout = succeed(ringpack(["generate"]).args(args));
    String::from_utf8(stdout).unwrap()
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = String::from_utf8(succeed(&mut ringpack(["--help"]))).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty());
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_page_with_every_section() {
    let pages = generated(&["pages"]);
    let pages: Vec<&str> = pages.lines().collect();
    for command in commands().iter().filter(|command| *command != "help") {
        assert!(pages.contains(&format!("ringpack-{command}").as_str()), "{command} has no page");
    }
    for page in &pages {
        let text = generated(&["man", page]);
        let sections: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let middle = if *page == "ringpack" { "COMMANDS" } else { "EXAMPLES" };
        let expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", middle, "\"EXIT STATUS\""];
        for section in expected.into_iter().chain(["FILES", "ENVIRONMENT", "\"SEE ALSO\""]) {
            assert!(sections.contains(&section), "{page}: no {section} in {sections:?}");
        }
        // Each line that isn't text is a macro of the language, not an accident of the text.
        for line in text.lines().filter(|line| line.starts_with('.')) {
            assert!(line[1..].starts_with(|c: char| c.is_ascii_alphabetic()), "{page}: {line}");
        }
    }
    fail(ringpack(["generate", "man"]).arg("ringpack-nothing"), 2);
}

#[test]
fn readers_of_pages_take_them() {
    let test = "readers_of_pages_take_them";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.1");
    for page in generated(&["pages"]).lines() {
        fs::write(&path, generated(&["man", page])).unwrap();
        if has_tool("mandoc") {
            let output = run(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(&path));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.is_empty(), "{page}: {said}");
        }
    }
    if !has_tool("mandoc") {
        skip(test, "mandoc is not installed");
    }
}

#[test]
fn shells_take_their_completions() {
    let test = "shells_take_their_completions";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("completions");
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        fs::write(&path, generated(&["completions", shell])).unwrap();
        if has_tool(shell) {
            succeed(Command::new(shell).arg(check).arg(&path));
        } else {
            skip(test, &format!("{shell} is not installed"));
        }
    }
}

/// What bash offers for a command line whose last word is being typed.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    const COMPLETE: &str = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _ringpack "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut command = Command::new("bash");
    let stdout = succeed(command.args(["-c", COMPLETE, "bash"]).arg(script).args(words));
    String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes() {
    if !has_tool("bash") {
        return skip("bash_completes", "bash is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("ringpack.bash");
    fs::write(&script, generated(&["completions", "bash"])).unwrap();
    assert_eq!(offered(&script, &["ringpack", "unp"]), ["unpack"]);
    assert_eq!(offered(&script, &["ringpack", "pack", "--plac"]), ["--placement"]);
    assert_eq!(offered(&script, &["ringpack", "pack", "--io", "u"]), ["uring"]);
    assert_eq!(offered(&script, &["ringpack", "doctor", "--js"]), ["--json"]);
}

#[test]
fn fish_completes() {
    if !has_tool("fish") {
        return skip("fish_completes", "fish is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("ringpack.fish");
    fs::write(&script, generated(&["completions", "fish"])).unwrap();
    let line = format!("source {}; complete -C 'ringpack unp'", script.display());
    let mut command = Command::new("fish");
    command.args(["--no-config", "-c", &line]);
    // It completes nothing for a program that it can't find.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = binary();
    let folders = std::iter::once(program.parent().unwrap().to_owned());
    let folders = folders.chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap()).env("HOME", folder.path());
    let text = String::from_utf8(succeed(&mut command)).unwrap();
    assert!(text.starts_with("unpack\t") && text.lines().count() == 1, "{text}");
}
