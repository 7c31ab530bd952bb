//! A progress bar on stderr.

use std::fmt;
use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::subject::Progress;

/// Draws [`Progress`] on stderr if that is a terminal, and nothing otherwise.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar that is drawn from the first [`Bar::show`] on.
    #[must_use]
    pub fn new() -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        // A template that does not parse leaves the default style, which shows the same numbers.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar }
    }

    /// Draws `progress`.
    pub fn show(&self, progress: Progress<'_>) {
        self.bar
            .set_length(u64::try_from(progress.total).unwrap_or(u64::MAX));
        self.bar
            .set_position(u64::try_from(progress.done).unwrap_or(u64::MAX));
        self.bar.set_message(progress.subject.to_owned());
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

/// The bar leaves no trace once it is done: what follows on the terminal is the table or the error.
impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl fmt::Debug for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bar")
            .field("position", &self.bar.position())
            .finish_non_exhaustive()
    }
}

/// How the bar looks, in the notation of indicatif. A wide message is cut to what is left of the
/// line.
const TEMPLATE: &str = "cold starts [{bar:40}] {pos}/{len} {eta} {wide_msg}";
