//! `serve`: runs the service until it receives a signal to stop.

use std::process::ExitCode;

use crate::{app, config::Settings, store::ingest::lease::Identity, telemetry::metrics::Metrics};

/// Run the service
///
/// Reads the streams, serves HTTP, and drains on SIGTERM or Ctrl-C; a second one ends it at once, which is as safe.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service serve --config /etc/analytics/config.toml")]
pub struct Args {}

pub fn run(_: Args, settings: Settings, identity: Identity, metrics: Metrics) -> anyhow::Result<ExitCode> {
    actix::System::new().block_on(app::serve(settings, identity, metrics))?;
    Ok(ExitCode::SUCCESS)
}
