//! The bar on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringpack::Seen;

use crate::message;

/// A line that is drawn over and over.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        Self(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20)))
    }

    /// Draws it: how far, and the words for it, cut off where the terminal ends.
    pub(super) fn draw(&self, seen: &Seen, text: &str) {
        self.show(seen.content_size.map(|size| (seen.content_bytes, size)), text);
    }

    /// Draws how many of a number are through.
    pub(super) fn count(&self, through: u64, total: u64, text: &str) {
        self.show(Some((through, total)), text);
    }

    fn show(&self, how_far: Option<(u64, u64)>, text: &str) {
        let template = match (how_far, message::is_coloured()) {
            (Some(_), true) => "{bar:24.cyan} {percent:>3}% {wide_msg}",
            (Some(_), false) => "[{bar:24}] {percent:>3}% {wide_msg}",
            (None, _) => "{spinner} {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(if message::is_coloured() {
                style
            } else {
                style.progress_chars("#>-").tick_chars("|/-\\ ")
            });
        }
        if let Some((through, total)) = how_far {
            self.0.set_length(total);
            self.0.set_position(through);
        }
        self.0.set_message(text.to_owned());
        self.0.tick();
    }

    /// Takes it away while something else is written.
    pub(super) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.0.suspend(write)
    }

    /// Takes it away for good.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
