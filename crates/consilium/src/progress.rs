//! Telling a person what a command that takes a while is doing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Steps that are taken one after the other. On a terminal the one at hand is shown; otherwise each is
/// a line on stderr.
pub struct Steps(Option<ProgressBar>);

impl Steps {
    /// As many steps as there will be.
    pub fn new(count: usize) -> Self {
        let bar = ProgressBar::new(count as u64);
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{pos}/{len}] {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Some(bar))
    }

    /// Steps that are a part of a larger one and not worth telling.
    pub fn silent() -> Self {
        Self(None)
    }

    /// Begins the next step.
    pub fn step(&self, text: &str) {
        let Some(bar) = &self.0 else {
            return;
        };
        bar.inc(1);
        bar.set_message(text.to_owned());
        if bar.is_hidden() {
            eprintln!("{text}");
        }
    }

    /// The last step is done.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
