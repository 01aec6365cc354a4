//! Progress: a bar on a terminal, log lines elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often progress is written where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(5);

pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// The bar counts messages.
    pub fn of_messages(expected: Option<u64>) -> Self {
        Self::new(expected, "{bar:40} {human_pos}/{human_len} events, {per_sec}, {elapsed} {msg}")
    }

    fn new(expected: Option<u64>, template: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = expected.map_or_else(ProgressBar::no_length, ProgressBar::new);
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, started: Instant::now(), told: Instant::now() }
    }

    pub fn tell(&mut self, sent: u64, confirmed: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(sent);
        } else if self.told.elapsed() >= LOG_EVERY {
            self.told = Instant::now();
            tracing::info!(sent, confirmed, seconds = self.started.elapsed().as_secs(), "publishing");
        }
    }

    pub fn end(&mut self, sent: u64, confirmed: u64) {
        if let Some(bar) = self.bar.take() {
            bar.set_position(sent);
            bar.finish_with_message("sent");
        }
        tracing::debug!(sent, confirmed, "all sent");
    }
}
