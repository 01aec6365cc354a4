//! A partition's progress.

use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{batch::MessageHash, event::EventKey, partition::Topology},
    store::{StoreError, transaction::in_transaction},
};

/// A partition as a pipeline works on it. A newer epoch fences it.
#[derive(Clone, Debug)]
pub struct Claim {
    pub topology: Topology,
    pub partition: u16,
    /// The partition's own stream.
    pub stream: String,
    pub incarnation: i32,
    pub epoch: i64,
    /// Where to read on.
    pub next_offset: i64,
    /// Of the last message that was committed: the one before `next_offset`.
    pub last_message: Option<MessageHash>,
    pub foreign_writes: i64,
    /// Up to when the partition is complete; none: it was never read.
    pub watermark: Option<DateTime<Utc>>,
    /// The database's clock at the claim.
    pub now: DateTime<Utc>,
}

/// Begins an epoch of a partition that this process holds: whatever worked on it before can commit no more. `None`
/// where it is not held any more.
pub async fn claim(
    conn: &mut PgConnection,
    topology: Topology,
    partition: u16,
    owner: Uuid,
) -> Result<Option<Claim>, StoreError> {
    let stream = topology.stream_of(partition);
    type Row = (i32, i64, i64, Option<Vec<u8>>, i64, Option<DateTime<Utc>>, DateTime<Utc>);
    let row: Option<Row> = sqlx::query_as(
        "UPDATE analytics.partition_offsets SET epoch = epoch + 1
         WHERE stream = $1 AND owner = $2
         RETURNING incarnation, epoch, next_offset, last_message_hash, foreign_writes,
                   (SELECT watermark FROM analytics.partition_watermarks WHERE stream = $1), clock_timestamp()",
    )
    .bind(&stream)
    .bind(owner)
    .fetch_optional(conn)
    .await?;
    let Some((incarnation, epoch, next_offset, last_message, foreign_writes, watermark, now)) = row else {
        return Ok(None);
    };
    let last_message = last_message.and_then(|hash| hash.try_into().ok());
    Ok(Some(Claim {
        topology,
        partition,
        stream,
        incarnation,
        epoch,
        next_offset,
        last_message,
        foreign_writes,
        watermark,
        now,
    }))
}

/// Whether the database still has what this epoch committed: one that took the place of another may not.
///
/// # Errors
/// `LostCommits` where it has less.
pub async fn check_committed(conn: &mut PgConnection, claim: &Claim, committed: i64) -> Result<(), StoreError> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT epoch, next_offset FROM analytics.partition_offsets WHERE stream = $1")
            .bind(&claim.stream)
            .fetch_optional(conn)
            .await?;
    // A later epoch is another process's, or an operator's reset: the holder of an earlier one finds out when it commits.
    match row {
        Some(found) if found >= (claim.epoch, committed) => Ok(()),
        // Without a row it is as one that was never read.
        found => {
            let (epoch, found) = found.unwrap_or_default();
            Err(StoreError::LostCommits { partition: claim.partition, ours: claim.epoch, committed, epoch, found })
        }
    }
}

/// What a reset made of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    pub incarnation: i32,
    /// Where the incarnation before had come to.
    pub before: i64,
}

/// Starts a new incarnation of a partition at an offset: what the stream holds counts as another stream's. Who works on
/// the partition is fenced and restarts from there. `None`: there is no such partition.
pub async fn reset(
    conn: &mut PgConnection,
    topology: &Topology,
    partition: u16,
    to: i64,
) -> Result<Option<Reset>, StoreError> {
    in_transaction(conn, async |tx| reset_in(tx, topology, partition, to).await).await
}

async fn reset_in(
    tx: &mut PgConnection,
    topology: &Topology,
    partition: u16,
    to: i64,
) -> Result<Option<Reset>, StoreError> {
    let row: Option<(i32, i64)> = sqlx::query_as(
        "SELECT incarnation + 1, next_offset FROM analytics.partition_offsets WHERE stream = $1 FOR UPDATE",
    )
    .bind(topology.stream_of(partition))
    .fetch_optional(&mut *tx)
    .await?;
    let Some((incarnation, before)) = row else { return Ok(None) };
    sqlx::query(include_str!("sql/partition_reset.sql"))
        .bind(topology.stream_of(partition))
        .bind(i32::from(partition))
        .bind(incarnation)
        .bind(to)
        .bind(Uuid::now_v7())
        .execute(&mut *tx)
        .await?;
    // What the incarnation before had not read is read again, or lies before where this one begins: the ledger says so.
    sqlx::query(
        "UPDATE analytics.unread_ranges SET acknowledged_at = clock_timestamp(), acknowledged_by = 'partitions reset'
         WHERE stream = $1 AND acknowledged_at IS NULL",
    )
    .bind(topology.stream_of(partition))
    .execute(tx)
    .await?;
    Ok(Some(Reset { incarnation, before }))
}

/// The latest `occurred_at` of all events, at least `now`.
pub async fn newest_event(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    // Bounded from below: only the chunks of now and later are opened.
    let newest = "SELECT greatest($1, (SELECT max(occurred_at) FROM analytics.usage_events WHERE occurred_at > $1))";
    Ok(sqlx::query_scalar(newest).bind(now).fetch_one(conn).await?)
}

/// Keys of all partitions with `occurred_at` in [from, to), one after another: a busy hour does not fit into memory.
pub fn keys(
    conn: &mut PgConnection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> impl Stream<Item = Result<(EventKey, DateTime<Utc>), StoreError>> {
    let rows = sqlx::query_as::<_, (Uuid, Uuid, DateTime<Utc>)>(
        "SELECT org_id, event_id, occurred_at FROM analytics.usage_events WHERE occurred_at >= $1 AND occurred_at < $2",
    )
    .bind(from)
    .bind(to)
    .fetch(conn);
    rows.map_ok(|(org_id, event_id, at)| (EventKey { org_id, event_id }, at)).map_err(StoreError::from)
}
