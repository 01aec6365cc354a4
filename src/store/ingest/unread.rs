//! Ranges of a stream that were not read: passed over by an operator, listed, acknowledged.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{
        audit::{Actor, AuditEvent, Outcome},
        partition::Topology,
        supervision::SupervisionEvent,
    },
    store::{StoreError, access::audit, bound::bound, supervision, transaction::in_transaction},
};

/// A range that was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct UnreadRange {
    pub stream: String,
    pub incarnation: i32,
    pub partition: i32,
    pub first_offset: i64,
    /// Exclusive.
    pub next_offset: i64,
    /// left_out or skipped.
    pub reason: String,
    pub detail: String,
    pub noted_at: DateTime<Utc>,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub acknowledged_by: Option<String>,
}

/// A range that an operator passes over.
#[derive(Clone, Copy, Debug)]
pub struct Skip<'a> {
    pub partition: u16,
    pub incarnation: i32,
    /// Where the partition is.
    pub from: i64,
    /// Exclusive.
    pub to: i64,
    /// What the broker says of it.
    pub words: &'a str,
    pub by_whom: &'a str,
}

/// Passes over a range: the ledger has it as unread, and the process that works on the partition is fenced and continues behind it. On
/// record in the audit log and, as `event`, in the supervision log. False: the partition is not there any more.
pub async fn skip(
    conn: &mut PgConnection,
    topology: &Topology,
    skip: Skip<'_>,
    event: SupervisionEvent,
) -> Result<bool, StoreError> {
    in_transaction(conn, async |tx| skip_in(tx, topology, skip, event).await).await
}

async fn skip_in(
    tx: &mut PgConnection,
    topology: &Topology,
    skip: Skip<'_>,
    event: SupervisionEvent,
) -> Result<bool, StoreError> {
    let Skip { partition, incarnation, from, to, words, by_whom } = skip;
    let stream = topology.stream_of(partition);
    let at: Option<(i32, i64)> = sqlx::query_as(
        "SELECT incarnation, next_offset FROM analytics.partition_offsets WHERE stream = $1 AND partition = $2 FOR UPDATE",
    )
    .bind(&stream)
    .bind(i32::from(partition))
    .fetch_optional(&mut *tx)
    .await?;
    if at != Some((incarnation, from)) {
        return Ok(false);
    }
    let (partition, batch_id) = (i32::from(partition), Uuid::now_v7());
    let row = SkipRow { stream: &stream, partition, incarnation, from, to, batch_id, words, by_whom };
    sqlx::query_with(include_str!("sql/partition_skip.sql"), row.arguments()?).execute(&mut *tx).await?;
    let act = AuditEvent::new(Actor::command_line(by_whom.to_owned()), "partition.skip", Outcome::Allowed)
        .target(&stream)
        .detail(format!("offsets {from} to {}, which cannot be read", to - 1));
    audit::record(&mut *tx, &[act]).await?;
    supervision::record(tx, &[event]).await?;
    Ok(true)
}

bound! {
    /// Of partition_skip.sql.
    struct SkipRow<'a> {
        stream: &'a str, partition: i32, incarnation: i32, from: i64, to: i64, batch_id: Uuid, words: &'a str,
        by_whom: &'a str,
    }
}

/// Ranges of these streams, the newest first; without `all` those that are not acknowledged.
pub async fn list(conn: &mut PgConnection, topology: &Topology, all: bool) -> Result<Vec<UnreadRange>, StoreError> {
    let ranges = sqlx::query_as(
        "SELECT * FROM analytics.unread_ranges WHERE stream = ANY($1) AND ($2 OR acknowledged_at IS NULL)
         ORDER BY noted_at DESC, first_offset DESC",
    );
    Ok(ranges.bind(topology.streams()).bind(all).fetch_all(conn).await?)
}

/// An operator knows of what was left out of a partition so far: responses are complete past it again. Which ranges these were.
pub async fn acknowledge(
    conn: &mut PgConnection,
    topology: &Topology,
    partition: u16,
    by_whom: &str,
) -> Result<Vec<UnreadRange>, StoreError> {
    in_transaction(conn, async |tx| acknowledge_in(tx, topology.stream_of(partition), partition, by_whom).await).await
}

async fn acknowledge_in(
    tx: &mut PgConnection,
    stream: String,
    partition: u16,
    by_whom: &str,
) -> Result<Vec<UnreadRange>, StoreError> {
    let ranges: Vec<UnreadRange> = sqlx::query_as(
        "UPDATE analytics.unread_ranges SET acknowledged_at = clock_timestamp(), acknowledged_by = $3
         WHERE stream = $1 AND partition = $2 AND acknowledged_at IS NULL RETURNING *",
    )
    .bind(&stream)
    .bind(i32::from(partition))
    .bind(by_whom)
    .fetch_all(&mut *tx)
    .await?;
    if !ranges.is_empty() {
        let offsets: i64 = ranges.iter().map(|range| range.next_offset - range.first_offset).sum();
        let act = AuditEvent::new(Actor::command_line(by_whom.to_owned()), "partition.acknowledge", Outcome::Allowed)
            .target(&stream)
            .detail(format!("{} ranges of {offsets} offsets that were not read", ranges.len()));
        audit::record(tx, &[act]).await?;
    }
    Ok(ranges)
}
