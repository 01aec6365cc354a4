//! The beginning of the batch transaction: whether the partition is still ours, and the batch not stored already.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Committed;
use crate::{
    domain::ledger::Counts,
    store::{
        StoreError,
        ingest::work::{Kind, Work},
    },
};

pub(super) enum Lock {
    Held { foreign_writes: i64 },
    CommittedBefore(Committed),
}

/// Locks the partition's row, and those of the home partitions of events that came here by mistake: their writers must
/// not store the same event meanwhile. In one order, so that two such batches cannot wait for each other.
pub(super) async fn lock(tx: &mut PgConnection, work: Work<'_>) -> Result<Lock, StoreError> {
    let (claim, batch, kind) = (work.claim, work.batch, work.rules.kind);
    let homes = batch.foreign.values().map(|partition| claim.topology.stream_of(*partition));
    let streams: BTreeSet<String> = homes.chain([claim.stream.clone()]).collect();
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT stream, epoch, next_offset, foreign_writes FROM analytics.partition_offsets
         WHERE stream = ANY($1) ORDER BY stream FOR UPDATE",
    )
    .bind(streams.into_iter().collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    let ours = rows.into_iter().find(|row| row.0 == claim.stream);
    let (_, epoch, next_offset, foreign_writes) =
        ours.ok_or_else(|| StoreError::Permanent("the partition has no row of progress".to_owned()))?;
    let ours = epoch == claim.epoch;
    if ours && kind == Kind::Live && next_offset == batch.raw.first_offset {
        return Ok(Lock::Held { foreign_writes });
    }
    let before: Option<LedgerRow> = sqlx::query_as(
        "SELECT received, stored, duplicates, conflicts, rejected, late, next_offset, completed_at
         FROM analytics.ingestion_batches WHERE batch_id = $1",
    )
    .bind(batch.raw.id)
    .fetch_optional(&mut *tx)
    .await?;
    match before {
        Some(before) => Ok(Lock::CommittedBefore(before.committed(foreign_writes))),
        // Only the ledger shows whether a replay's batch was committed before: it moves no offset.
        None if ours && kind != Kind::Live => Ok(Lock::Held { foreign_writes }),
        None if ours => {
            let (expected, found) = (batch.raw.first_offset, next_offset);
            Err(StoreError::Moved { partition: claim.partition, expected, found })
        }
        None => {
            let (partition, ours, found) = (claim.partition, claim.epoch, epoch);
            Err(StoreError::Fenced { partition, ours, found, holder: holder(tx, &claim.stream).await? })
        }
    }
}

/// The name of the process that holds a partition, or its id where it has ended since.
async fn holder(tx: &mut PgConnection, stream: &str) -> Result<Option<String>, StoreError> {
    let holder = sqlx::query_scalar(
        "SELECT coalesce(name, owner::text) FROM analytics.partition_offsets
         LEFT JOIN analytics.processes ON process_id = owner WHERE partition_offsets.stream = $1",
    );
    Ok(holder.bind(stream).fetch_one(tx).await?)
}

#[derive(sqlx::FromRow)]
struct LedgerRow {
    received: i64,
    stored: i64,
    duplicates: i64,
    conflicts: i64,
    rejected: i64,
    late: i64,
    next_offset: i64,
    completed_at: DateTime<Utc>,
}

impl LedgerRow {
    fn committed(&self, foreign_writes: i64) -> Committed {
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        let counts = Counts {
            received: count(self.received),
            stored: count(self.stored),
            duplicates: count(self.duplicates),
            conflicts: count(self.conflicts),
            rejected: count(self.rejected),
            late: count(self.late),
        };
        Committed {
            counts,
            next_offset: self.next_offset,
            refused: 0,
            repaired: 0,
            foreign_writes,
            completed_at: self.completed_at,
            clock: None,
            misrouted: Vec::new(),
            again: true,
        }
    }
}
