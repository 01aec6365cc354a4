//! `actors`: what a running process's actors are doing, and restarting them. One command a file.

mod list;
mod log;
mod restart;

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use reqwest::Url;

use crate::{
    cli::client::{Client, base_url},
    config::Settings,
};

const AFTER_HELP: &str = "\
Examples:
  analytics-service actors list
  analytics-service actors log --follow --actor partition/0
  analytics-service actors restart writer/0 --url http://pod-1:8081";

/// Longest that a response may take; the service's own deadlines end sooner.
const DEADLINE: Duration = Duration::from_secs(10);

/// Look at the actors of a running process, and restart them
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Operations port of the process to call, in place of ops.address
    #[arg(long, global = true, value_name = "http://HOST:PORT", value_parser = base_url)]
    url: Option<Url>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(list::Args),
    Restart(restart::Args),
    Log(log::Args),
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.ops, args.url.as_ref(), DEADLINE)?;
    match args.command {
        Command::List(args) => list::run(args, &client).await?,
        Command::Restart(args) => restart::run(args, &client, &settings.auth).await?,
        Command::Log(args) => log::run(args, &client).await?,
    }
    Ok(ExitCode::SUCCESS)
}
