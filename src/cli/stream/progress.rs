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
    logged: Instant,
}

impl Progress {
    /// The bar counts messages.
    pub fn of_messages(expected: Option<u64>) -> Self {
        Self::new(expected, "{bar:40} {human_pos}/{human_len} events, {per_sec}, {elapsed}")
    }

    /// The bar counts bytes of a file.
    pub fn of_file(bytes: u64) -> Self {
        Self::new(Some(bytes), "{bar:40} {bytes}/{total_bytes}, {bytes_per_sec}, {elapsed}")
    }

    fn new(expected: Option<u64>, template: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = expected.map_or_else(ProgressBar::no_length, ProgressBar::new);
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, started: Instant::now(), logged: Instant::now() }
    }

    /// Shows how far it is, or has a line logged when one is due.
    pub fn report(&mut self, position: u64, log: impl FnOnce(u64)) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        } else if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            log(self.started.elapsed().as_secs());
        }
    }

    pub fn end(self, position: u64) {
        if let Some(bar) = self.bar {
            bar.set_position(position);
            bar.finish();
        }
    }
}
