//! Log lines on standard error: text for people, JSON for collectors.

use std::{error::Error, io::IsTerminal, iter};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Starts logging for the process.
///
/// # Errors
/// The filter is no filter, or logging was started already.
pub fn start(settings: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    let started = if settings.format == "json" { lines.json().try_init() } else { lines.try_init() };
    started.map_err(|error| anyhow!("logging: {error}"))
}

/// An error and its causes, each once: some errors have their cause in their own text.
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_of_an_error_is_printed_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("database: {0}")]
        struct Repeats(#[source] std::io::Error);
        let in_full = |error: anyhow::Error| in_full(error.as_ref());
        let cause = || Repeats(std::io::Error::other("connection refused"));
        assert_eq!(in_full(anyhow::Error::new(cause()).context("verify")), "verify: database: connection refused");
        assert_eq!(in_full(anyhow!("alone")), "alone");
        assert_eq!(in_full(anyhow!("inner").context("outer")), "outer: inner");
    }
}
