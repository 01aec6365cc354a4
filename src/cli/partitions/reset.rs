//! `partitions reset`: starts a new incarnation of a partition.

use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    actors::pipeline::partition::group_name,
    app,
    broker::{BrokerError, incoming::StartAt, streams::Streams, subscription::Subscription},
    cli::{bad_usage, confirm, fitting_session, operator, print},
    config::{Broker, Settings},
    domain::{
        audit::AuditEvent,
        moment::Moment,
        supervision::{PartitionStatus, SupervisionEvent, SupervisionKind},
    },
    store::{access::audit, ingest::partitions, supervision, transaction::in_transaction},
};

const LONG_ABOUT: &str = "\
Read a partition again from somewhere on, as a new incarnation

A new incarnation means that the stream counts as another one. Reading begins at the offset given, and
everything from there on is read again. That is safe: events that are stored already are recognised and
count as duplicates, so no total changes. The ledger of the new incarnation begins with it, and what lies before
the offset is in it as a gap. Messages that were rejected become dead letters once more.

It is needed when the stream was deleted and recreated, since its offsets then mean other messages: the
partition is parked until then. An offset behind the partition's own skips what lies between; that stays in
the stream, and `replay --partition` reads it.

A running service notices by itself and goes on in the new incarnation.";

const AFTER_HELP: &str = "\
Examples:
  analytics-service partitions reset --partition 0 --to first
  analytics-service partitions reset --partition 0 --to 2026-01-31T00:00:00Z --yes";

/// Read a partition again from somewhere on, as a new incarnation
#[derive(clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub struct Args {
    /// Its number, as `partitions list` has it
    #[arg(long, value_name = "N")]
    partition: u16,
    /// Where to begin: first, for the first message that the stream has; an offset; or a time (RFC 3339)
    ///
    /// The broker finds the chunk of messages that was written at that time: it may begin a little before.
    #[arg(long, value_name = "first|OFFSET|TIME", value_parser = target, allow_hyphen_values = true)]
    to: Target,
    /// Do not ask; required without a terminal
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    First,
    Offset(i64),
    Time(DateTime<Utc>),
}

fn target(text: &str) -> Result<Target, &'static str> {
    const FORM: &str =
        "must be first, an offset from 0 on, a time such as 2026-01-31T00:00:00Z, or a day of UTC such as 2026-01-31";
    if text == "first" {
        return Ok(Target::First);
    }
    match text.parse::<i64>() {
        Ok(offset) if offset >= 0 => Ok(Target::Offset(offset)),
        Ok(_) => Err(FORM),
        Err(_) => {
            let moment = Moment::parse(text).ok().and_then(|moment| moment.in_zone(Tz::UTC));
            moment.map(Target::Time).ok_or(FORM)
        }
    }
}

#[derive(Serialize)]
struct Report {
    partition: u16,
    stream: String,
    /// The new one.
    incarnation: i32,
    /// Where the incarnation before had come to.
    from: i64,
    /// Where the new one begins.
    to: i64,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    if !args.yes && !confirm::can_ask() {
        return Ok(bad_usage(confirm::YES_IS_REQUIRED));
    }
    let Args { partition, to: target, .. } = args;
    let mut session = fitting_session(settings.database).await?;
    let topology = super::topology(&mut session, &settings.broker).await?;
    let status = super::status(&mut session, &topology, partition).await?;
    let to = resolve(target, &settings.broker, partition).await.with_context(|| status.stream.clone())?;
    confirm::agreed(args.yes, &question(&status, to))?;
    let reset = session
        .run(async |conn| {
            // The log must not miss one.
            in_transaction(conn, async |tx| {
                let reset = partitions::reset(tx, &topology, partition, to).await?;
                if let Some(reset) = reset {
                    supervision::record(tx, &[event(partition, reset, to)]).await?;
                    audit::record(tx, &[act(partition, reset, to)]).await?;
                }
                Ok(reset)
            })
            .await
        })
        .await?;
    let reset = reset.context("the partition is gone")?;
    let PartitionStatus { stream, leased, .. } = status;
    let report = Report { partition, stream, incarnation: reset.incarnation, from: reset.before, to };
    print::report(args.json, &report, || report.text())?;
    if !leased {
        eprintln!("no process works on the partition now: a running service will");
    }
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn text(&self) -> String {
        let Self { partition, stream, incarnation, from, to } = self;
        let before = incarnation - 1;
        format!(
            "partition {partition} ({stream}): incarnation {incarnation} begins at offset {to}; incarnation {before} had \
             come to {from}"
        )
    }
}

fn act(partition: u16, reset: partitions::Reset, to: i64) -> AuditEvent {
    operator::act("partition.reset")
        .target(group_name(partition))
        .detail(format!("from offset {} to {to}, as incarnation {}", reset.before, reset.incarnation))
}

fn event(partition: u16, reset: partitions::Reset, to: i64) -> SupervisionEvent {
    let partitions::Reset { incarnation, before } = reset;
    SupervisionEvent {
        event_id: Uuid::now_v7(),
        occurred_at: Utc::now(),
        process: app::process_name(),
        actor: group_name(partition),
        generation: 0,
        what: SupervisionKind::Reset,
        cause: Some(format!("from offset {before} to {to}, as incarnation {incarnation}")),
        next_attempt_at: None,
        by_whom: Some(operator::name()),
    }
}

/// What a stream has: the first offset, and the one behind the last message.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    first: i64,
    end: i64,
}

async fn resolve(target: Target, broker: &Broker, partition: u16) -> anyhow::Result<i64> {
    let streams = Streams::new(broker);
    let subscription = Subscription::open(&streams, streams.opening(partition, StartAt::Last)).await?;
    let looked = look(target, &subscription).await;
    subscription.close().await;
    let (kept, at_time) = looked?;
    place(target, kept, at_time).map_err(anyhow::Error::msg)
}

/// What the stream has, and the first offset of the time requested, if there is one.
async fn look(target: Target, subscription: &Subscription) -> Result<(Kept, Option<i64>), BrokerError> {
    // One without messages: all zero.
    let Some(first) = subscription.first_at(StartAt::First).await? else { return Ok((Kept::default(), None)) };
    let end = subscription.last().await?.map_or(first, |last| last + 1);
    let at_time = match target {
        Target::Time(at) => subscription.first_at(StartAt::Time(at)).await?,
        Target::First | Target::Offset(_) => None,
    };
    Ok((Kept { first, end }, at_time))
}

fn place(target: Target, kept: Kept, at_time: Option<i64>) -> Result<i64, String> {
    let Kept { first, end } = kept;
    match target {
        Target::First => Ok(first),
        Target::Offset(offset) if (first..=end).contains(&offset) => Ok(offset),
        // The service would wait for an offset that is far away, or take what was dropped for what was read.
        Target::Offset(offset) => Err(format!(
            "--to {offset} is not in the stream: it must be from {first} to {end}, behind the last message"
        )),
        Target::Time(_) => Ok(at_time.unwrap_or(end)),
    }
}

fn question(status: &PartitionStatus, to: i64) -> String {
    let PartitionStatus { partition, stream, incarnation, next_offset, .. } = status;
    let effect = if to > *next_offset {
        format!("offsets {next_offset} to {} are skipped", to - 1)
    } else {
        format!("everything from offset {to} on is read again")
    };
    format!(
        "partition {partition} ({stream}) is at offset {next_offset} in incarnation {incarnation}; {effect}, as \
         incarnation {}. Continue?",
        incarnation + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_word_offset_or_time() {
        assert_eq!(target("first"), Ok(Target::First));
        assert_eq!(target("5000"), Ok(Target::Offset(5000)));
        let time = "2026-01-31T01:00:00+01:00";
        assert_eq!(target(time), Ok(Target::Time("2026-01-31T00:00:00Z".parse().unwrap())));
        assert_eq!(target("2026-01-31"), target(time));
        for wrong in ["-1", "", "last", "1e3", "9223372036854775808", "2026-1-31"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_offset_must_be_in_the_stream() {
        let kept = Kept { first: 100, end: 200 };
        assert_eq!(place(Target::First, kept, None), Ok(100));
        assert_eq!(place(Target::Offset(100), kept, None), Ok(100));
        assert_eq!(place(Target::Offset(200), kept, None), Ok(200));
        for outside in [99, 201, i64::MAX] {
            let error = place(Target::Offset(outside), kept, None).unwrap_err();
            assert!(error.contains("--to") && error.contains("from 100 to 200"), "{error}");
        }
        let time = Target::Time(Utc::now());
        assert_eq!(place(time, kept, Some(150)), Ok(150));
        assert_eq!(place(time, kept, None), Ok(200));
        assert_eq!(place(Target::First, Kept::default(), None), Ok(0));
    }

    #[test]
    fn the_question_says_whether_something_is_skipped() {
        let status = PartitionStatus {
            partition: 0,
            stream: "s".to_owned(),
            incarnation: 1,
            epoch: 3,
            next_offset: 10,
            owner: None,
            owner_name: None,
            leased: false,
            watermark: None,
            lag_seconds: None,
            ledger: Default::default(),
        };
        assert!(question(&status, 4).contains("everything from offset 4 on is read again, as incarnation 2"));
        assert!(question(&status, 13).contains("offsets 10 to 12 are skipped"));
    }
}
