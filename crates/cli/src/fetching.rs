//! The progress of a fetch: a bar on a terminal, lines elsewhere.

use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use topwork::hub::Progress;

use crate::failure;
use crate::numbers::bytes;

/// Shows what the hub does.
pub struct Fetching {
    quiet: bool,
    draws: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Fetching {
    /// Says nothing if `quiet`, draws bars if `draws`, else writes lines.
    pub fn new(quiet: bool, draws: bool) -> Self {
        Fetching { quiet, draws, bar: Mutex::new(None) }
    }

    fn with(&self, action: impl FnOnce(&mut Option<ProgressBar>)) {
        action(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Fetching {
    fn start(&self, what: &str, size: Option<u64>) {
        if self.draws {
            let form = match size {
                Some(_) => "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
                None => "{msg} {spinner} {bytes}",
            };
            let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr()).with_style(style);
            bar.set_message(what.to_string());
            self.with(|slot| *slot = Some(bar));
        } else if !self.quiet {
            match size {
                Some(size) => failure::say(&format!("{what} ({})", bytes(size))),
                None => failure::say(what),
            }
        }
    }

    fn advance(&self, bytes: u64) {
        self.with(|bar| bar.iter().for_each(|bar| bar.set_position(bytes)));
    }

    fn finish(&self) {
        self.with(|bar| bar.take().into_iter().for_each(|bar| bar.finish_and_clear()));
    }

    fn note(&self, text: &str) {
        // Notes of the hub are warnings: said even when quiet.
        self.with(|bar| match bar {
            Some(bar) => bar.suspend(|| failure::say(text)),
            None => failure::say(text),
        });
    }
}
