//! `partitions`: how many there are and how far each is, reading one again, and what cannot be read. Works on the database.
//! One concern a file.

mod layout;
mod list;
mod reopen;
mod reset;
mod skip;
mod unread;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::{
    config::{Broker, Settings},
    domain::{partition::Topology, supervision::PartitionStatus},
    store::{self, Session},
};

const AFTER_HELP: &str = "\
Examples:
  analytics-service partitions list
  analytics-service partitions layout --set 4
  analytics-service partitions reset --partition 0 --to 2026-01-31T00:00:00Z
  analytics-service partitions skip --partition 0 --dry-run
  analytics-service partitions unread";

/// Look at the partitions, read one again, pass over what cannot be read
#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Command {
    List(list::Args),
    Layout(layout::Args),
    Reopen(reopen::Args),
    Reset(reset::Args),
    Skip(skip::Args),
    Unread(unread::ListArgs),
    Acknowledge(unread::AcknowledgeArgs),
}

/// The partitions of the settings, where the database has as many: with another number they would be other streams, of
/// which no process works on any and nothing is known.
async fn topology(session: &mut Session, broker: &Broker) -> anyhow::Result<Topology> {
    let topology = broker.topology();
    match session.run(async |conn| store::ingest::layout::check(conn, &topology).await).await? {
        Some(mismatch) => bail!(mismatch),
        None => Ok(topology),
    }
}

/// How far a partition is.
async fn status(session: &mut Session, topology: &Topology, partition: u16) -> anyhow::Result<PartitionStatus> {
    let known = session.run(async |conn| Ok(store::ingest::lease::partitions(conn, topology).await?)).await?;
    known.into_iter().find(|status| status.partition == partition).with_context(|| {
        format!("--partition {partition}: no service has worked on such a partition of {}", topology.base)
    })
}

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list::run(args, settings).await,
        Command::Layout(args) => layout::run(args, settings).await,
        Command::Reopen(args) => reopen::run(args, settings).await,
        Command::Reset(args) => reset::run(args, settings).await,
        Command::Skip(args) => skip::run(args, settings).await,
        Command::Unread(args) => unread::list(args, settings).await,
        Command::Acknowledge(args) => unread::acknowledge(args, settings).await,
    }
}
