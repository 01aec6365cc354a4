//! Rollups that continuous aggregates keep: whole chunks, which only their owner may drop.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{ATTEMPTS, AggregatesPurged, Run};
use crate::{
    config::Database,
    store::{
        OnStep, StoreError,
        patience::with_patience,
        rollups::{
            aggregates::{self, Aggregate},
            unit::Unit,
        },
        transaction::in_transaction,
    },
};

/// Drops the chunks that ended before the rollups' moment, or counts what is in them.
pub async fn purge(
    conn: &mut PgConnection,
    database: &Database,
    run: &Run<'_>,
    left: &mut Vec<String>,
    on_step: OnStep<'_>,
) -> Result<AggregatesPurged, StoreError> {
    let mut purged = AggregatesPurged::default();
    let mut owner = match aggregates::connect(database).await {
        Ok(owner) => owner,
        Err(error) => {
            left.push(format!("chunks of the continuous aggregates: {error}"));
            return Ok(purged);
        }
    };
    for aggregate in aggregates::all(conn).await? {
        on_step(&format!("{} rollups of the continuous aggregates: looking for old chunks", aggregate.unit().as_str()));
        let Some(old) = old(conn, &aggregate, run.cutoffs.rollups).await? else { continue };
        if !run.dry_run {
            with_patience(ATTEMPTS, async || drop_before(&mut owner, &aggregate, old.ends).await).await?;
        }
        purged.chunks += old.chunks;
        purged.bytes += old.bytes;
        match aggregate.unit() {
            Unit::Hourly => purged.hourly += old.rollups,
            Unit::Daily => purged.daily += old.rollups,
        }
    }
    Ok(purged)
}

struct Old {
    /// Where the last of the chunks ends.
    ends: DateTime<Utc>,
    chunks: i64,
    rollups: i64,
    bytes: i64,
}

/// What there is in chunks that ended before a moment; with the service's rights, so that counting needs no other role.
async fn old(conn: &mut PgConnection, aggregate: &Aggregate, before: DateTime<Utc>) -> Result<Option<Old>, StoreError> {
    let (chunks, ends, bytes): (i64, Option<DateTime<Utc>>, i64) =
        sqlx::query_as(include_str!("../sql/purge_aggregate.sql"))
            .bind(&aggregate.table)
            .bind(before)
            .fetch_one(&mut *conn)
            .await?;
    let Some(ends) = ends else { return Ok(None) };
    let count = format!("SELECT count(*) FROM {} WHERE bucket_start < $1", aggregate.table);
    let rollups = sqlx::query_scalar(AssertSqlSafe(count)).bind(ends).fetch_one(conn).await?;
    Ok(Some(Old { ends, chunks, rollups, bytes }))
}

async fn drop_before(owner: &mut PgConnection, aggregate: &Aggregate, ends: DateTime<Utc>) -> Result<(), StoreError> {
    let floors = include_str!("../sql/purge_aggregate_floors.sql")
        .replace("{table}", &aggregate.table)
        .replace("{kind}", aggregate.unit().as_str());
    in_transaction(owner, async |tx| {
        // Readers wait behind this one, so it does not wait for them for long.
        sqlx::query("SET LOCAL lock_timeout = '3s'").execute(&mut *tx).await?;
        sqlx::query(AssertSqlSafe(floors)).bind(ends).execute(&mut *tx).await?;
        sqlx::query("SELECT public.drop_chunks($1::regclass, older_than => $2::timestamptz)")
            .bind(format!("analytics.{}_continuous", aggregate.unit().as_str()))
            .bind(ends)
            .execute(tx)
            .await?;
        Ok(())
    })
    .await
}
