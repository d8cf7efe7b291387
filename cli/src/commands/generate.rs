//! `ringpack generate`: manual pages and completions, made of the arguments' own description.
//!
//! Everything goes to standard output: a packager's recipe knows better where it belongs. Page and
//! help say the same, because both are made of one description; a page has in addition what is true
//! of all commands: exit codes, files, environment.

use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::print;
use crate::args::{Args, EXIT_CODES, Generate, What};
use crate::exit::Failure;

/// What a page says of the files that are made, by name and meaning.
const FILES: [(&str, &str); 3] = [
    ("NAME.ringpack-partial", "What is written of the container NAME until it is complete."),
    ("NAME.ringpack-journal", "What of it is durable. \"resume\" goes on from there."),
    ("NAME.ringpack-rewrite", "A journal that is to take the place of another."),
];

/// What a page says of the environment.
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "RINGPACK_THREADS, RINGPACK_LEVEL, RINGPACK_IO, RINGPACK_PROGRESS, RINGPACK_METRICS_FILE",
        "Stand in for the options of these names. What is typed counts more.",
    ),
    ("RINGPACK_LOG", "What is logged: a level as debug, or a filter as ringpack=info."),
    ("NO_COLOR", "No colours, if it is not empty."),
    (
        "TMPDIR",
        "Where what is known of each chunk is kept, in a file without a name, if a container with \
         very many of them goes to a stream.",
    ),
    ("COLUMNS", "Where standard output is no terminal, the width that help is folded at."),
    ("KUBERNETES_SERVICE_HOST, container", "Taken by \"doctor\" for signs of a container."),
];

pub(crate) fn run(args: &Generate) -> Result<ExitCode, Failure> {
    let mut root = Args::command();
    root.build();
    let text = match &args.what {
        What::Pages => pages(&root).iter().map(|(name, _)| format!("{name}\n")).collect(),
        What::Man { page: wanted } => {
            let pages = pages(&root);
            let found = pages.iter().find(|(name, _)| name == wanted);
            let (name, command) = found.ok_or_else(|| {
                let what = "is no page: \"ringpack generate pages\" lists them";
                Failure::Usage(format!("{wanted}: {what}"))
            })?;
            page(name, command, &root)?
        }
        What::Completions { shell } => {
            let mut bytes = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "ringpack", &mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    print(&text)
}

/// Each command that is listed, by the name of its page.
fn pages(root: &Command) -> Vec<(String, Command)> {
    let listed = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let below = root.get_subcommands().filter(listed);
    let below = below.map(|command| (format!("ringpack-{}", command.get_name()), command.clone()));
    std::iter::once(("ringpack".to_owned(), root.clone())).chain(below).collect()
}

fn page(name: &str, command: &Command, root: &Command) -> Result<String, Failure> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let is_root = name == root.get_name();
    let version = format!("ringpack {}", root.get_version().unwrap_or_default());
    // Examples and exit codes get sections of their own.
    let bare = command.clone().after_help("").display_name(name.to_owned());
    let man = Man::new(bare).title(name.to_uppercase()).date("").source(version).manual("");
    let mut bytes = Vec::new();
    let mut rendered = || {
        man.render_title(&mut bytes)?;
        man.render_name_section(&mut bytes)?;
        man.render_synopsis_section(&mut bytes)?;
        man.render_description_section(&mut bytes)?;
        man.render_options_section(&mut bytes)?;
        if is_root {
            commands(root).to_writer(&mut bytes)?;
        }
        if !is_root && !after.is_empty() {
            examples(&after).to_writer(&mut bytes)?;
        }
        common(name, root).to_writer(&mut bytes)
    };
    rendered().map_err(|error| Failure::Other(format!("cannot make the page: {error}")))?;
    String::from_utf8(bytes).map_err(|error| Failure::Other(error.to_string()))
}

/// The commands, by the names of their pages.
fn commands(root: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for (name, command) in pages(root).into_iter().skip(1) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        roff.control("TP", []);
        roff.text([bold(name), roman("(1)")]);
        roff.text([roman(about)]);
    }
    roff
}

/// The text below a command's help: what is indented stands as it is, the rest is prose.
fn examples(after: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    let mut is_verbatim = false;
    for line in after.lines().filter(|line| !matches!(*line, "Example:" | "Examples:")) {
        let indented = line.starts_with("  ");
        if indented != is_verbatim && !line.is_empty() {
            roff.control(if indented { "nf" } else { "fi" }, []);
            is_verbatim = indented;
        }
        match line.trim() {
            "" => roff.control("PP", []),
            text => roff.text([roman(text)]),
        };
    }
    if is_verbatim {
        roff.control("fi", []);
    }
    roff
}

/// What is true of every command.
fn common(name: &str, root: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    roff.control("nf", []);
    for line in EXIT_CODES.lines().skip(1) {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    let mut table = |title: &str, rows: &[(&str, &str)]| {
        roff.control("SH", [title]);
        for (name, meaning) in rows {
            roff.control("TP", []);
            roff.text([bold(*name)]);
            roff.text([roman(*meaning)]);
        }
    };
    table("FILES", &FILES);
    table("ENVIRONMENT", ENVIRONMENT);
    roff.control("SH", ["SEE ALSO"]);
    let others = pages(root).into_iter().map(|(other, _)| other).filter(|other| other != name);
    let others: Vec<String> = others.map(|other| format!("{other}(1)")).collect();
    roff.text([roman(format!("{}, zstd(1), b3sum(1)", others.join(", ")))]);
    roff
}
