//! Logs, metrics, traces and readiness.

pub mod log;
pub mod metrics;
pub mod readiness;
pub mod traces;

use anyhow::anyhow;
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

use self::{metrics::Metrics, traces::Exports};
use crate::config::Settings;

/// Starts logging and, where there is a receiver, traces, for the whole process. What comes back ends last.
///
/// # Errors
/// A setting that is none, or it was started already.
pub fn start(settings: &Settings, process: &str, metrics: &Metrics) -> anyhow::Result<Option<Exports>> {
    let exports = Exports::start(&settings.otlp, process, metrics)?;
    let lines = log::layer(&settings.log)?;
    let traces = exports.as_ref().map(Exports::layer);
    let started = tracing_subscriber::registry().with(traces).with(lines).try_init();
    started.map_err(|error| anyhow!("logging: {error}"))?;
    Ok(exports)
}
