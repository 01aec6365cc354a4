//! `replay --partition`: has a range of a partition's stream read again by the service that holds the partition.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    actors::pipeline::partition::group_name,
    cli::{bad_usage, fitting_session, interrupt::interrupted, operator, print, stream::Progress},
    config::Settings,
    store::{
        Session, StoreError,
        access::audit,
        ingest::{
            layout, lease,
            replays::{self, Replay},
        },
    },
};

#[derive(clap::Args)]
#[group(id = "of_range")]
pub struct Options {
    /// First offset of the range
    #[arg(long, value_name = "OFFSET", requires = "partition", conflicts_with = "file", value_parser = offset, allow_hyphen_values = true)]
    from: Option<i64>,
    /// Offset behind the range; cut to what the partition has read
    #[arg(long, value_name = "OFFSET", requires = "partition", conflicts_with = "file", value_parser = offset, allow_hyphen_values = true)]
    to: Option<i64>,
    /// Request it, and do not wait until it is done
    #[arg(long, requires = "partition", conflicts_with = "file")]
    no_wait: bool,
}

/// How often the replay is looked at.
const POLL: Duration = Duration::from_millis(500);

fn offset(text: &str) -> Result<i64, &'static str> {
    text.parse().ok().filter(|offset| *offset >= 0).ok_or("must be an offset: a number from 0 on")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    replay_id: Uuid,
    partition: i32,
    incarnation: i32,
    from: i64,
    /// Exclusive.
    to: i64,
    next_offset: i64,
    received: i64,
    stored: i64,
    duplicates: i64,
    rejected: i64,
    /// Lost rows of raw events that were put back; among the duplicates.
    repaired: i64,
    state: &'a str,
    error: Option<&'a str>,
}

pub async fn run(partition: u16, options: Options, json: bool, settings: Settings) -> anyhow::Result<ExitCode> {
    let (Some(from), Some(to)) = (options.from, options.to) else { bail!("the parser demands both ends") };
    if from >= to {
        return Ok(bad_usage(&format!("--to {to} must be behind --from {from}: the range ends before it")));
    }
    let topology = settings.broker.topology();
    let mut session = fitting_session(settings.database).await?;
    let by_whom = operator::name();
    if let Some(mismatch) = session.run(async |conn| layout::check(conn, &topology).await).await? {
        bail!(mismatch);
    }
    let act =
        operator::act("stream.replay").target(group_name(partition)).detail(format!("offsets {from} to {}", to - 1));
    let (status, replay) = session
        .run(async |conn| {
            audit::record(&mut *conn, std::slice::from_ref(&act)).await?;
            let known = lease::partitions(&mut *conn, &topology).await?;
            let status = known.into_iter().find(|status| status.partition == partition);
            Ok((status, replays::request(conn, &topology, partition, (from, to), &by_whom).await?))
        })
        .await?;
    let Some(status) = status else {
        bail!("--partition {partition}: no service has worked on such a partition of {}", topology.base);
    };
    let Some(replay) = replay else {
        bail!("--from {from}: the partition has come to offset {}, and what follows will be read", status.next_offset);
    };
    let cut = if replay.to_offset < to { ", up to where the partition is" } else { "" };
    eprintln!("replay {}: offsets {from} to {}{cut}", replay.replay_id, replay.to_offset - 1);
    if !status.leased {
        eprintln!("no process works on partition {partition} now: the replay waits for a running service");
    }
    if options.no_wait {
        write(&replay, json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let id = replay.replay_id;
    let ended = tokio::select! {
        ended = follow(&mut session, replay) => ended.with_context(|| format!("replay {id} stays requested"))?,
        interrupted = interrupted() => {
            interrupted?;
            eprintln!("interrupted: replay {id} stays requested, and the service does it; `replay --cancel {id}` ends it");
            return Ok(ExitCode::FAILURE);
        }
    };
    write(&ended, json)?;
    if let Some(error) = ended.error {
        bail!("the replay failed: {error}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends a replay that is open.
pub async fn cancel(replay_id: Uuid, json: bool, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut session = fitting_session(settings.database).await?;
    let by_whom = operator::name();
    let replay = session.run(async |conn| replays::cancel(conn, replay_id, &by_whom).await).await?;
    let Some(replay) = replay else { bail!("--cancel {replay_id}: there is no such replay") };
    write(&replay, json)?;
    let error = replay.error.as_deref().unwrap_or_default();
    if !error.starts_with("cancelled") {
        bail!("replay {replay_id} is {} already: nothing was changed", replay.state);
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until the replay is done or has failed. The database may be away for a while.
async fn follow(session: &mut Session, mut replay: Replay) -> anyhow::Result<Replay> {
    let count = |offset: i64| u64::try_from(offset).unwrap_or_default();
    let mut progress = Progress::of_messages(Some(count(replay.to_offset - replay.from_offset)));
    while replay.state == "open" {
        tokio::time::sleep(POLL).await;
        match session.run(async |conn| replays::get(conn, replay.replay_id).await).await {
            Ok(now) => replay = now.context("it is gone")?,
            Err(error) if StoreError::is_transient(&error) => {
                tracing::warn!(%error, "following waits for the database")
            }
            Err(error) => return Err(error.into()),
        }
        let Replay { next_offset, stored, duplicates, rejected, repaired, .. } = replay;
        progress.report(count(next_offset - replay.from_offset), |seconds| {
            tracing::info!(next_offset, stored, duplicates, rejected, repaired, seconds, "replaying");
        });
    }
    progress.end(count(replay.next_offset - replay.from_offset));
    Ok(replay)
}

fn write(replay: &Replay, json: bool) -> anyhow::Result<()> {
    let report = Report::of(replay);
    print::report(json, &report, || report.text())
}

impl<'a> Report<'a> {
    fn of(replay: &'a Replay) -> Self {
        Self {
            replay_id: replay.replay_id,
            partition: replay.partition,
            incarnation: replay.incarnation,
            from: replay.from_offset,
            to: replay.to_offset,
            next_offset: replay.next_offset,
            received: replay.received,
            stored: replay.stored,
            duplicates: replay.duplicates,
            rejected: replay.rejected,
            repaired: replay.repaired,
            state: &replay.state,
            error: replay.error.as_deref(),
        }
    }

    fn text(&self) -> String {
        let Self { partition, from, to, received, stored, duplicates, rejected, repaired, state, .. } = self;
        format!(
            "replay      {}, {state}\npartition   {partition}, offsets {from} to {}\nreceived    {received}\n\
             stored      {stored}\nduplicates  {duplicates}\nrejected    {rejected}\nrepaired    {repaired}",
            self.replay_id,
            to - 1
        )
    }
}
