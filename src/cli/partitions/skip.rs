//! `partitions skip`: passes over exactly what the broker cannot deliver.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::Utc;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    actors::pipeline::partition::group_name,
    app,
    broker::probe::{Found, probe},
    cli::{bad_usage, confirm, fitting_session, operator, print, stream::Progress},
    config::{Broker, Settings},
    domain::supervision::{PartitionStatus, SupervisionEvent, SupervisionKind},
    store::ingest::unread,
};

const LONG_ABOUT: &str = "\
Pass over what the broker cannot deliver

A message that AMQP 0.9.1 has no form for makes the broker end the connection each time that it comes to it: the
partition is parked there. This command finds the first offset behind it that can be read, by requesting one
message at a time, records what lies between as unread (in the ledger, the audit log and the supervision log,
with your name), and the service goes on behind it by itself. What lies before and behind it is read, also of
the same chunk where the broker reads message by message (RabbitMQ 4).

What was passed over stays in the stream. Have its producer send it again, in a form that can be read.";

const AFTER_HELP: &str = "\
Examples:
  analytics-service partitions skip --partition 0 --dry-run
  analytics-service partitions skip --partition 0 --yes";

/// Pass over what the broker cannot deliver
#[derive(clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub struct Args {
    /// Its number, as `partitions list` has it
    #[arg(long, value_name = "N")]
    partition: u16,
    /// Go on at this offset instead of the first that can be read: passes over messages that could be read as well
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
    /// Look at so many offsets at most
    #[arg(long, value_name = "OFFSETS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "to")]
    within: u32,
    /// Say what would be passed over, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask; required without a terminal
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    partition: u16,
    stream: String,
    incarnation: i32,
    from: i64,
    /// Exclusive: where reading goes on.
    to: i64,
    /// What the broker says of the first of them.
    words: String,
    dry_run: bool,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    if !args.yes && !args.dry_run && !confirm::can_ask() {
        return Ok(bad_usage(confirm::YES_IS_REQUIRED));
    }
    let mut session = fitting_session(settings.database).await?;
    let (topology, broker) = (super::topology(&mut session, &settings.broker).await?, settings.broker);
    let status = super::status(&mut session, &topology, args.partition).await?;
    let PartitionStatus { partition, stream, incarnation, next_offset: from, leased, .. } = status;
    let (to, words) = range(&broker, partition, from, &args).await.with_context(|| stream.clone())?;
    let report = Report { partition, stream, incarnation, from, to, words, dry_run: args.dry_run };
    if !args.dry_run {
        confirm::agreed(args.yes, &format!("{}. Continue?", report.text()))?;
        let by_whom = operator::name();
        let skip = unread::Skip { partition, incarnation, from, to, words: &report.words, by_whom: &by_whom };
        let event = event(partition, &report, &by_whom);
        if !session.run(async |conn| unread::skip(conn, &topology, skip, event.clone()).await).await? {
            bail!("the partition is not at offset {from} of incarnation {incarnation} any more: nothing was changed");
        }
    }
    print::report(args.json, &report, || report.text())?;
    if !args.dry_run && !leased {
        eprintln!("no process works on the partition now: a running service will");
    }
    Ok(ExitCode::SUCCESS)
}

/// Where reading can go on, and what the broker says of the offset where it cannot.
async fn range(broker: &Broker, partition: u16, from: i64, args: &Args) -> anyhow::Result<(i64, String)> {
    let words = match probe(broker, partition, from).await? {
        Found::Unreadable(words) => words,
        Found::Message(offset) => bail!(
            "the message at offset {offset} can be read, and the partition is at {from}: there is nothing to pass over; the \
             service reads on by itself"
        ),
        Found::Nothing => bail!("nothing comes from offset {from} on: there is nothing to pass over"),
    };
    if let Some(to) = args.to {
        if to <= from {
            bail!("--to {to} must be behind offset {from}, where the partition is");
        }
        // The service would wait for an offset that is far away, and take none of what comes before it.
        if probe(broker, partition, to - 1).await? == Found::Nothing {
            bail!("--to {to} lies behind the stream's end: nothing comes from offset {} on", to - 1);
        }
        return Ok((to, words));
    }
    let mut progress = Progress::of_messages(Some(u64::from(args.within)));
    for looked in 1..=i64::from(args.within) {
        let offset = from + looked;
        if !matches!(probe(broker, partition, offset).await?, Found::Unreadable(_)) {
            progress.end(looked.unsigned_abs());
            // What may lie between it and the next message is judged by the service, as anywhere.
            return Ok((offset, words));
        }
        progress.report(looked.unsigned_abs(), |seconds| tracing::info!(offset, seconds, "it cannot be read either"));
    }
    bail!(
        "none of the {} offsets behind {from} can be read: look at more by --within, or choose where to go on by --to",
        args.within
    )
}

impl Report {
    fn text(&self) -> String {
        let Self { partition, stream, from, to, words, dry_run, .. } = self;
        let verb = if *dry_run { "would be" } else { "are" };
        format!(
            "partition {partition} ({stream}): offsets {from} to {} {verb} passed over and recorded as unread, reading goes on \
             at {to}; the broker says {words}",
            to - 1
        )
    }
}

fn event(partition: u16, report: &Report, by_whom: &str) -> SupervisionEvent {
    SupervisionEvent {
        event_id: Uuid::now_v7(),
        occurred_at: Utc::now(),
        process: app::process_name(),
        actor: group_name(partition),
        generation: 0,
        what: SupervisionKind::Skipped,
        cause: Some(format!("offsets {} to {}, which cannot be read", report.from, report.to - 1)),
        next_attempt_at: None,
        by_whom: Some(by_whom.to_owned()),
    }
}
