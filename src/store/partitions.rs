//! A partition's progress and ownership.

use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{event::EventKey, partition::Topology};

/// A partition as this process owns it. A newer epoch fences it.
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
    pub foreign_writes: i64,
    /// The database's clock at the claim.
    pub now: DateTime<Utc>,
}

/// Takes a partition over: whoever held it can commit no more.
pub async fn claim(
    conn: &mut PgConnection,
    topology: Topology,
    partition: u16,
    owner: Uuid,
) -> Result<Claim, StoreError> {
    // All of them, since an event of a wrong partition locks its home's row too.
    sqlx::query(
        "INSERT INTO analytics.partition_offsets (stream, partition)
         SELECT stream, n - 1 FROM unnest($1::text[]) WITH ORDINALITY AS s (stream, n) ON CONFLICT DO NOTHING",
    )
    .bind(topology.streams())
    .execute(&mut *conn)
    .await?;
    let stream = topology.stream_of(partition);
    let (incarnation, epoch, next_offset, foreign_writes, now) = sqlx::query_as(
        "UPDATE analytics.partition_offsets SET epoch = epoch + 1, owner = $2
         WHERE stream = $1
         RETURNING incarnation, epoch, next_offset, foreign_writes, clock_timestamp()",
    )
    .bind(&stream)
    .bind(owner)
    .fetch_one(conn)
    .await?;
    Ok(Claim { topology, partition, stream, incarnation, epoch, next_offset, foreign_writes, now })
}

/// The start of the oldest chunk of raw events: nothing lies before it. `None`: there are no events.
pub async fn oldest_chunk(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let oldest = sqlx::query_scalar(
        "SELECT min(range_start) FROM timescaledb_information.chunks
         WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events'",
    );
    Ok(oldest.fetch_one(conn).await?)
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
