//! What is said while a command runs: lines on standard error for people, or with `--json` one
//! object a line for programs. A closed standard error is no reason to fail.
//!
//! Programs get theirs on standard output, or on standard error where standard output carries what
//! was asked for. docs/JSON.md has every message.

use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use ringpack::Checkpoint;
use ringpack::escape::tamed;
use serde::Serialize;

use crate::progress;
use crate::streams::{self, write_waiting};

/// Who is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// People.
    Lines,
    /// Programs, on standard output.
    Json,
    /// Programs, on standard error: standard output has something else.
    JsonAside,
}

static FORM: OnceLock<Form> = OnceLock::new();

/// Says once who is spoken to.
pub(crate) fn speak(form: Form) {
    let _ = FORM.set(form);
}

/// Whether programs are spoken to.
pub(crate) fn is_json() -> bool {
    form() != Form::Lines
}

fn form() -> Form {
    FORM.get().copied().unwrap_or(Form::Lines)
}

/// An error, always said.
pub(crate) fn error(text: &str) {
    if is_json() {
        return json(&Failed::other("other", text, None));
    }
    let style = styled(AnsiColor::Red.on_default().bold());
    line(&format!("{style}ringpack: {style:#}{}", tamed(text)));
}

/// An error of the engine's, with the code that the program ends with because of it.
pub(crate) fn failure(error: &ringpack::Error, code: u8) {
    match form() {
        Form::Lines => self::error(&error.to_string()),
        _ => json(&Failed::engine(error, code)),
    }
}

/// Something a person should know although it worked.
pub(crate) fn warning(text: &str) {
    if is_json() {
        return json(&Warning { message_type: "warning", message: text });
    }
    let style = styled(AnsiColor::Yellow.on_default().bold());
    line(&format!("ringpack: {style}warning: {style:#}{}", tamed(text)));
}

/// What was done, for people.
pub(crate) fn note(text: &str) {
    if !is_json() {
        line(&tamed(text));
    }
}

/// A checkpoint that is durable, for programs.
pub(crate) fn checkpoint(checkpoint: &Checkpoint) {
    if is_json() {
        let &Checkpoint { extents, chunks, bytes, .. } = checkpoint;
        json(&Covered { message_type: "checkpoint", extents, chunks, bytes });
    }
}

/// A message for programs.
pub(crate) fn json(message: &impl Serialize) {
    let Ok(text) = crate::json::text(message) else { return };
    match form() {
        Form::Json => {
            progress::apart(|| streams::tell(&format!("{text}\n")));
        }
        _ => line(&text),
    }
}

/// A line on standard error, whole.
pub(crate) fn line(text: &str) {
    let _ = progress::apart(|| write_waiting(stderr(), format!("{text}\n").as_bytes()));
}

/// What another program says, as it is; between programs' objects, as one of them.
pub(crate) fn pass_on(bytes: &[u8]) {
    if form() == Form::JsonAside {
        let message = &*String::from_utf8_lossy(bytes);
        return json(&Passed { message_type: "producer", message });
    }
    let _ = progress::apart(|| write_waiting(stderr(), bytes));
}

/// Whether a person is watching.
pub(crate) fn is_watched() -> bool {
    stderr().is_terminal()
}

/// Whether the terminal can do more than take lines.
pub(crate) fn can_redraw() -> bool {
    is_watched() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether what is said on standard error may have colours: see no-color.org.
pub(crate) fn is_coloured() -> bool {
    can_redraw() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn styled(style: Style) -> Style {
    if is_coloured() { style } else { Style::new() }
}

#[derive(Serialize)]
struct Warning<'a> {
    message_type: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct Passed<'a> {
    message_type: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct Covered {
    message_type: &'static str,
    extents: u64,
    chunks: u64,
    bytes: u64,
}

/// An error as programs get it.
#[derive(Serialize)]
pub(crate) struct Failed<'a> {
    message_type: &'static str,
    #[serde(flatten)]
    what: What<'a>,
    /// The code that the program ends with, where this error alone decides it.
    exit_code: Option<u8>,
    resumable_bytes: Option<u64>,
    resume_command: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Engine(&'a ringpack::Error),
    Other {
        kind: &'static str,
        message: &'a str,
        path: Option<&'a str>,
        chunk: Option<u64>,
        offset: Option<u64>,
        hint: Option<&'a str>,
    },
}

impl<'a> Failed<'a> {
    /// One of the engine's.
    pub(crate) fn engine(error: &'a ringpack::Error, code: u8) -> Self {
        Self::new(What::Engine(error), Some(code))
    }

    /// One of the program's own.
    pub(crate) fn other(kind: &'static str, message: &'a str, code: Option<u8>) -> Self {
        let (path, chunk, offset, hint) = (None, None, None, None);
        Self::new(What::Other { kind, message, path, chunk, offset, hint }, code)
    }

    /// Of a job that goes on from so many bytes by this command.
    pub(crate) fn resumable(self, bytes: u64, command: &'a str) -> Self {
        Self { resumable_bytes: Some(bytes), resume_command: Some(command), ..self }
    }

    fn new(what: What<'a>, exit_code: Option<u8>) -> Self {
        let (resumable_bytes, resume_command) = (None, None);
        Self { message_type: "error", what, exit_code, resumable_bytes, resume_command }
    }
}
