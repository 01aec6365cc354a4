//! Leases: which processes live, and which partitions each holds.
//!
//! A process has a row that expires and an advisory lock of its session. The lock ends with the process, the row's time
//! with its ability to renew it. All times are the database's.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, postgres::types::PgInterval};
use uuid::Uuid;

use crate::{
    domain::{
        lease::{Holding, Process},
        partition::Topology,
        supervision::{PartitionLedger, PartitionStatus},
    },
    store::{StoreError, schema},
};

/// First half of the advisory lock of a process; the second is its number. "anly" in ASCII.
const PROCESS_LOCK: i32 = 0x616e_6c79;

/// A process among those that share the partitions.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: Uuid,
    /// Host and process number, for operators.
    pub name: String,
}

impl Identity {
    /// What the connections of this process are called.
    pub fn application_name(id: Uuid) -> String {
        format!("analytics-service {id}")
    }
}

/// What a process sees when it has renewed its lease.
#[derive(Clone, Debug)]
pub struct View {
    pub processes: Vec<Process>,
    /// Of all partitions of the stream, in their order.
    pub holdings: Vec<Holding>,
}

/// Renews this process's lease, on its session, and looks at the others. Begins it where there is none.
pub async fn renew(
    conn: &mut PgConnection,
    me: &Identity,
    ttl: Duration,
    topology: &Topology,
) -> Result<View, StoreError> {
    let number: i32 = sqlx::query_scalar(include_str!("sql/lease_renew.sql"))
        .bind(me.id)
        .bind(&topology.base)
        .bind(&me.name)
        .bind(interval(ttl))
        .bind(schema::newest())
        .fetch_one(&mut *conn)
        .await?;
    // Not taken again where this session has it: each taking would count.
    sqlx::query(
        "SELECT pg_try_advisory_lock($1, $2) WHERE NOT EXISTS (
             SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
                AND classid::bigint = $1 AND objid::bigint = $2 AND objsubid = 2)",
    )
    .bind(PROCESS_LOCK)
    .bind(number)
    .execute(&mut *conn)
    .await?;
    let processes: Vec<(Uuid, i32, bool, bool)> = sqlx::query_as(include_str!("sql/lease_processes.sql"))
        .bind(PROCESS_LOCK)
        .bind(&topology.base)
        .fetch_all(&mut *conn)
        .await?;
    let processes = processes.into_iter().map(|(id, number, locked, expired)| Process { id, number, locked, expired });
    Ok(View { processes: processes.collect(), holdings: holdings(conn, topology).await? })
}

/// Who holds which partition, in the order of partitions.
pub async fn holdings(conn: &mut PgConnection, topology: &Topology) -> Result<Vec<Holding>, StoreError> {
    let rows: Vec<(i32, Option<Uuid>, i64, i32)> = sqlx::query_as(
        "SELECT partition, owner, epoch, incarnation FROM analytics.partition_offsets
         WHERE stream = ANY($1) ORDER BY partition",
    )
    .bind(topology.streams())
    .fetch_all(conn)
    .await?;
    let holding = |(partition, owner, epoch, incarnation)| {
        Some(Holding { partition: u16::try_from(partition).ok()?, owner, epoch, incarnation })
    };
    Ok(rows.into_iter().filter_map(holding).collect())
}

/// Makes the rows of all partitions exist, and forgets processes that ended long ago.
pub async fn enrol(conn: &mut PgConnection, topology: &Topology) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO analytics.partition_offsets (stream, partition)
         SELECT stream, n - 1 FROM unnest($1::text[]) WITH ORDINALITY AS s (stream, n) ON CONFLICT DO NOTHING",
    )
    .bind(topology.streams())
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM analytics.processes WHERE expires_at < clock_timestamp() - INTERVAL '1 hour'")
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes a partition, if it is still as it was seen. Does not wait for a transaction that has its row locked: then it
/// is not free yet.
pub async fn take(conn: &mut PgConnection, topology: &Topology, seen: &Holding, me: Uuid) -> Result<bool, StoreError> {
    let taken = sqlx::query(
        "UPDATE analytics.partition_offsets SET owner = $1, epoch = epoch + 1
         WHERE stream IN (
             SELECT stream FROM analytics.partition_offsets
             WHERE stream = $2 AND epoch = $3 AND owner IS NOT DISTINCT FROM $4 FOR UPDATE SKIP LOCKED)",
    )
    .bind(me)
    .bind(topology.stream_of(seen.partition))
    .bind(seen.epoch)
    .bind(seen.owner)
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives a partition back: another process may have it at once.
pub async fn give_back(
    conn: &mut PgConnection,
    topology: &Topology,
    partition: u16,
    me: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE analytics.partition_offsets SET owner = NULL WHERE stream = $1 AND owner = $2")
        .bind(topology.stream_of(partition))
        .bind(me)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends the sessions that a dead process left: a frozen one may hold locks in the middle of a transaction.
pub async fn evict(conn: &mut PgConnection, dead: Uuid) -> Result<i64, StoreError> {
    let ended = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = current_user AND application_name = $1",
    )
    .bind(Identity::application_name(dead))
    .fetch_one(conn)
    .await?;
    Ok(ended)
}

/// Ends this process's lease, when it has given its partitions back.
pub async fn leave(conn: &mut PgConnection, me: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM analytics.processes WHERE process_id = $1").bind(me).execute(conn).await?;
    Ok(())
}

/// All partitions of the stream, in their order.
pub async fn partitions(db: impl PgExecutor<'_>, topology: &Topology) -> Result<Vec<PartitionStatus>, sqlx::Error> {
    let rows: Vec<PartitionRow> =
        sqlx::query_as(include_str!("sql/partitions.sql")).bind(topology.streams()).fetch_all(db).await?;
    Ok(rows.into_iter().filter_map(PartitionRow::status).collect())
}

#[derive(sqlx::FromRow)]
struct PartitionRow {
    partition: i32,
    stream: String,
    incarnation: i32,
    epoch: i64,
    next_offset: i64,
    owner: Option<Uuid>,
    owner_name: Option<String>,
    leased: bool,
    watermark: Option<DateTime<Utc>>,
    lag_seconds: Option<f64>,
    ledger_since: DateTime<Utc>,
    received: i64,
    stored: i64,
    duplicates: i64,
    rejected: i64,
}

impl PartitionRow {
    fn status(self) -> Option<PartitionStatus> {
        Some(PartitionStatus {
            partition: u16::try_from(self.partition).ok()?,
            stream: self.stream,
            incarnation: self.incarnation,
            epoch: self.epoch,
            next_offset: self.next_offset,
            owner: self.owner,
            owner_name: self.owner_name,
            leased: self.leased,
            watermark: self.watermark,
            lag_seconds: self.lag_seconds,
            ledger: PartitionLedger {
                since: self.ledger_since,
                received: self.received,
                stored: self.stored,
                duplicates: self.duplicates,
                rejected: self.rejected,
            },
        })
    }
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
