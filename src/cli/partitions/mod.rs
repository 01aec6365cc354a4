//! `partitions`: how many there are and how far each is, and reading one again. Works on the database. One command a file.

mod layout;
mod list;
mod reset;

use std::process::ExitCode;

use clap::Subcommand;

use crate::config::Settings;

const AFTER_HELP: &str = "\
Examples:
  analytics-service partitions list
  analytics-service partitions layout --set 4
  analytics-service partitions reset --partition 0 --to 2026-01-31T00:00:00Z";

/// Look at the partitions, and read one again
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(list::Args),
    Layout(layout::Args),
    Reset(reset::Args),
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list::run(args, settings).await,
        Command::Layout(args) => layout::run(args, settings).await,
        Command::Reset(args) => reset::run(args, settings).await,
    }
}
