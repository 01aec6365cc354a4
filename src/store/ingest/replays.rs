//! Replays: ranges of a stream that are read again.

use sqlx::PgConnection;
use uuid::Uuid;

use super::partitions::Claim;
use crate::{domain::partition::Topology, store::StoreError};

/// A replay as its row has it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Replay {
    pub replay_id: Uuid,
    pub partition: i32,
    pub incarnation: i32,
    pub from_offset: i64,
    /// Exclusive.
    pub to_offset: i64,
    pub next_offset: i64,
    pub received: i64,
    pub stored: i64,
    pub duplicates: i64,
    pub rejected: i64,
    /// Lost rows of raw events that were put back; among the duplicates.
    pub repaired: i64,
    /// open, done or failed.
    pub state: String,
    pub error: Option<String>,
}

/// Requests offsets [from, to) of a partition to be read again. Only what was read already: `to` is cut to where the
/// partition is. `None`: there is no such partition, or nothing of the range was read yet.
pub async fn request(
    conn: &mut PgConnection,
    topology: &Topology,
    partition: u16,
    range: (i64, i64),
    by_whom: &str,
) -> Result<Option<Replay>, StoreError> {
    let replay = sqlx::query_as(
        "INSERT INTO analytics.replays
                (replay_id, stream, partition, incarnation, from_offset, to_offset, next_offset, requested_by)
         SELECT $1, stream, partition, incarnation, $3, least($4, next_offset), $3, $5
         FROM analytics.partition_offsets WHERE stream = $2 AND $3 < least($4, next_offset)
         RETURNING *",
    )
    .bind(Uuid::now_v7())
    .bind(topology.stream_of(partition))
    .bind(range.0)
    .bind(range.1)
    .bind(by_whom)
    .fetch_optional(conn)
    .await?;
    Ok(replay)
}

/// A replay as it is now.
pub async fn get(conn: &mut PgConnection, replay_id: Uuid) -> Result<Option<Replay>, StoreError> {
    let replay = sqlx::query_as("SELECT * FROM analytics.replays WHERE replay_id = $1").bind(replay_id);
    Ok(replay.fetch_optional(conn).await?)
}

/// The partition's oldest replay that is not done.
pub async fn next(conn: &mut PgConnection, claim: &Claim) -> Result<Option<Replay>, StoreError> {
    let replay = sqlx::query_as(
        "SELECT * FROM analytics.replays WHERE stream = $1 AND state = 'open' ORDER BY requested_at LIMIT 1",
    );
    Ok(replay.bind(&claim.stream).fetch_optional(conn).await?)
}

/// Ends a replay: done, or failed with an error. Only in the partition's epoch: what is fenced has no say.
pub async fn end(
    conn: &mut PgConnection,
    claim: &Claim,
    replay_id: Uuid,
    error: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE analytics.replays SET state = CASE WHEN $2::text IS NULL THEN 'done' ELSE 'failed' END, error = $2,
                completed_at = clock_timestamp()
         WHERE replay_id = $1 AND state = 'open'
           AND EXISTS (SELECT FROM analytics.partition_offsets WHERE stream = $3 AND epoch = $4)",
    )
    .bind(replay_id)
    .bind(error)
    .bind(&claim.stream)
    .bind(claim.epoch)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends an open replay that is not wanted any more. What it has stored stays. `None`: there is none of that id.
pub async fn cancel(conn: &mut PgConnection, replay_id: Uuid, by_whom: &str) -> Result<Option<Replay>, StoreError> {
    sqlx::query(
        "UPDATE analytics.replays SET state = 'failed', error = 'cancelled by ' || $2, completed_at = clock_timestamp()
         WHERE replay_id = $1 AND state = 'open'",
    )
    .bind(replay_id)
    .bind(by_whom)
    .execute(&mut *conn)
    .await?;
    get(conn, replay_id).await
}
