//! A partition's progress and ownership.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{event::EventKey, partition::home_partition};

/// A partition as this process owns it. A newer epoch fences it.
#[derive(Clone, Debug)]
pub struct Claim {
    pub stream: String,
    pub partition: u16,
    pub incarnation: i32,
    pub epoch: i64,
    /// Where to read on.
    pub next_offset: i64,
    pub foreign_writes: i64,
    /// The database's clock at the claim.
    pub now: DateTime<Utc>,
}

/// Takes a partition over: whoever held it can commit no more.
pub async fn claim(
    conn: &mut PgConnection,
    stream: &str,
    partition: u16,
    partitions: u16,
    owner: &str,
) -> Result<Claim, StoreError> {
    // All of them, since an event of a wrong partition locks its home's row too.
    sqlx::query(
        "INSERT INTO analytics.partition_offsets (stream, partition)
         SELECT $1, generate_series(0, $2 - 1) ON CONFLICT DO NOTHING",
    )
    .bind(stream)
    .bind(i32::from(partitions))
    .execute(&mut *conn)
    .await?;
    let (incarnation, epoch, next_offset, foreign_writes, now) = sqlx::query_as(
        "UPDATE analytics.partition_offsets SET epoch = epoch + 1, owner = $3
         WHERE stream = $1 AND partition = $2
         RETURNING incarnation, epoch, next_offset, foreign_writes, clock_timestamp()",
    )
    .bind(stream)
    .bind(i32::from(partition))
    .bind(owner)
    .fetch_one(conn)
    .await?;
    Ok(Claim { stream: stream.to_owned(), partition, incarnation, epoch, next_offset, foreign_writes, now })
}

/// The start of the oldest chunk of raw events: nothing lies before it. `None`: there are no events.
pub async fn oldest_chunk(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let oldest = sqlx::query_scalar(
        "SELECT min(range_start) FROM timescaledb_information.chunks
         WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events'",
    );
    Ok(oldest.fetch_one(conn).await?)
}

/// Keys of the partition's orgs with `occurred_at` in [from, to).
pub async fn keys(
    conn: &mut PgConnection,
    partition: u16,
    partitions: u16,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<(EventKey, DateTime<Utc>)>, StoreError> {
    let rows: Vec<(Uuid, Uuid, DateTime<Utc>)> = sqlx::query_as(
        "SELECT org_id, event_id, occurred_at FROM analytics.usage_events WHERE occurred_at >= $1 AND occurred_at < $2",
    )
    .bind(from)
    .bind(to)
    .fetch_all(conn)
    .await?;
    let ours = rows.into_iter().filter(|(org_id, ..)| home_partition(*org_id, partitions) == partition);
    Ok(ours.map(|(org_id, event_id, at)| (EventKey { org_id, event_id }, at)).collect())
}
