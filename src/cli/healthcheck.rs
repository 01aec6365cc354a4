//! `healthcheck`: calls the operations port of a running service.

use std::{process::ExitCode, time::Duration};

use crate::{cli::client::Client, config::Settings};

/// Check whether the running service is ready
///
/// Exits with 0 when it is (degraded counts, as it does for /readyz), with 1 when it is not or does not respond.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service healthcheck && echo ready")]
pub struct Args {
    /// Only whether the process lives
    #[arg(long)]
    live: bool,
}

const DEADLINE: Duration = Duration::from_secs(3);

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let path = if args.live { "/healthz" } else { "/readyz" };
    let response = Client::new(&settings.ops, None, DEADLINE)?.get(path, &[]).await?;
    println!("{}", response.body.trim_end());
    Ok(if response.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
