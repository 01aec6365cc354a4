//! Log lines on standard error: text for people, JSON for collectors.

use std::io::IsTerminal;

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
