//! `partitions layout`: how many partitions the stream has, and changing it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::{
    broker::{BrokerError, incoming::StartAt, streams::Streams, subscription::Subscription},
    cli::{
        bad_usage, confirm, fitting_session, operator,
        print::{self, time},
    },
    config::{Broker, Settings},
    domain::partition::Topology,
    store::{Session, StoreError, access::audit, ingest::layout, transaction::in_transaction},
};

/// Show how many partitions the stream has, or change it
///
/// The number is kept in the database, and a process whose broker.partitions is another one does not start. It is changed
/// while no process works on the stream and everything of the old partitions is read and merged.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service partitions layout --set 4")]
pub struct Args {
    /// The new number of partitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    set: Option<u16>,
    /// Skip the checks that the old partitions are read and merged: what is not read then is never read
    #[arg(long, requires = "set")]
    force: bool,
    /// Do not ask; required without a terminal
    #[arg(long, requires = "set")]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    stream: String,
    /// None where no process has ever worked on the stream.
    partitions: Option<i32>,
    changed_at: Option<String>,
    changed_by: Option<String>,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let stream = settings.broker.stream.clone();
    let mut session = fitting_session(settings.database).await?;
    let found = session.run(async |conn| layout::of(conn, &stream).await).await?;
    if let Some(partitions) = args.set {
        let Some(layout) = &found else {
            bail!(
                "no service has worked on {stream} yet: its first start makes the layout what broker.partitions says"
            );
        };
        let from = Topology { base: stream.clone(), partitions: u16::try_from(layout.partitions)? };
        if from.partitions == partitions {
            eprintln!("{stream} has {partitions} partitions already");
        } else {
            if !args.yes && !confirm::can_ask() {
                return Ok(bad_usage(confirm::YES_IS_REQUIRED));
            }
            change(&mut session, &settings.broker, &from, partitions, &args).await?;
        }
    }
    let layout = session.run(async |conn| layout::of(conn, &stream).await).await?;
    let report = Report {
        stream,
        partitions: layout.as_ref().map(|layout| layout.partitions),
        changed_at: layout.as_ref().map(|layout| time(layout.changed_at)),
        changed_by: layout.map(|layout| layout.changed_by),
    };
    print::report(args.json, &report, || report.text())?;
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn text(&self) -> String {
        let Self { stream, partitions, changed_at, changed_by } = self;
        match (partitions, changed_at, changed_by) {
            (Some(partitions), Some(at), Some(by)) => {
                let unit = if *partitions == 1 { "partition" } else { "partitions" };
                format!("{stream}: {partitions} {unit} since {at}, by {}", print::harmless(by, false))
            }
            _ => format!("{stream}: no service has worked on it yet"),
        }
    }
}

async fn change(
    session: &mut Session,
    broker: &Broker,
    from: &Topology,
    partitions: u16,
    args: &Args,
) -> anyhow::Result<()> {
    let living = session.run(async |conn| layout::processes(conn, &from.base).await).await?;
    if !living.is_empty() {
        bail!("{} is worked on by {}: stop the service first", from.base, living.join(", "));
    }
    if !args.force {
        let open = unread(session, broker, from).await?;
        if !open.is_empty() {
            bail!("{}: start the service as it was until everything is read, or use --force", open.join("; "));
        }
    }
    let question = format!(
        "{} has {} partitions, and will have {partitions}: organisations move to other streams, and those that are no longer \
         part of it are never read again. Continue?",
        from.base, from.partitions
    );
    confirm::agreed(args.yes, &question)?;
    let by_whom = operator::name();
    let act = operator::act("partition.layout")
        .target(&from.base)
        .detail(format!("from {} to {partitions} partitions", from.partitions));
    let changed = session
        .run(async |conn| {
            in_transaction(conn, async |tx| {
                let changed = layout::change(tx, from, partitions, &by_whom).await?;
                if changed {
                    audit::record(tx, std::slice::from_ref(&act)).await?;
                }
                Ok::<_, StoreError>(changed)
            })
            .await
        })
        .await?;
    if !changed {
        bail!("nothing was changed: a process has started meanwhile, or the layout was changed meanwhile");
    }
    Ok(())
}

/// What of the partitions is not read, or not merged.
async fn unread(session: &mut Session, broker: &Broker, from: &Topology) -> anyhow::Result<Vec<String>> {
    let streams = Streams::new(&Broker { partitions: from.partitions, ..broker.clone() });
    let mut open = Vec::new();
    for partition in 0..from.partitions {
        let stream = from.stream_of(partition);
        let (next_offset, pending) = session.run(async |conn| layout::progress(conn, &stream).await).await?;
        if pending > 0 {
            open.push(format!("{pending} batches of {stream} are not merged"));
        }
        let end =
            end(&streams, partition).await.with_context(|| format!("{stream} cannot be looked at (see --force)"))?;
        if end > next_offset {
            open.push(format!("offsets {next_offset} to {} of {stream} are not read", end - 1));
        }
    }
    Ok(open)
}

/// The offset behind the last message of a stream.
async fn end(streams: &Streams, partition: u16) -> Result<i64, BrokerError> {
    let subscription = Subscription::open(streams, streams.opening(partition, StartAt::Last)).await?;
    let last = subscription.last().await;
    subscription.close().await;
    Ok(last?.map_or(0, |last| last + 1))
}
