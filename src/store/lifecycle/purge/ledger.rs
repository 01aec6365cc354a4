//! The ledger: old rows whose events are all gone are folded into one row a partition, and its old hours go.

use sqlx::PgConnection;

use super::{
    LedgerPurged, OnStep, PIECE, Run, in_pieces,
    rollups::{Before, Old, take},
};
use crate::store::StoreError;

pub async fn purge(conn: &mut PgConnection, run: &Run<'_>, on_step: OnStep<'_>) -> Result<LedgerPurged, StoreError> {
    let chains = sqlx::query_as(include_str!("../sql/ledger_chains.sql")).fetch_all(&mut *conn).await?;
    let mut purged = LedgerPurged { before: run.cutoffs.batches, ..LedgerPurged::default() };
    for chain in &chains {
        purged.folded += fold(conn, run, chain, on_step).await?;
    }
    purged.repairs = repairs(conn, run).await?;
    purged.hours = hours(conn, run, on_step).await?;
    Ok(purged)
}

/// Rows that form a chain: stream, incarnation and partition.
type Chain = (String, i32, i32);

/// Folds the beginning of a chain, and then what was read again of the same partition.
async fn fold(conn: &mut PgConnection, run: &Run<'_>, chain: &Chain, on_step: OnStep<'_>) -> Result<i64, StoreError> {
    on_step(&format!("the ledger of {}", chain.0));
    if run.dry_run {
        return piece(conn, include_str!("../sql/ledger_fold_count.sql"), chain, run, None).await;
    }
    let mut folded = 0;
    for statement in [include_str!("../sql/ledger_fold.sql"), include_str!("../sql/ledger_fold_replays.sql")] {
        folded += in_pieces(async || {
            let rows = piece(conn, statement, chain, run, Some(PIECE)).await?;
            on_step(&format!("the ledger of {}: {rows} rows are folded", chain.0));
            Ok(rows)
        })
        .await?;
    }
    Ok(folded)
}

async fn piece(
    conn: &mut PgConnection,
    statement: &'static str,
    (stream, incarnation, partition): &Chain,
    run: &Run<'_>,
    most: Option<i64>,
) -> Result<i64, StoreError> {
    let rows = sqlx::query_scalar(statement).bind(stream).bind(incarnation).bind(partition).bind(run.cutoffs.batches);
    let rows = if let Some(most) = most { rows.bind(most) } else { rows };
    Ok(rows.fetch_optional(conn).await?.unwrap_or_default())
}

/// Rows that put events back are no part of any sum.
async fn repairs(conn: &mut PgConnection, run: &Run<'_>) -> Result<i64, StoreError> {
    let statement = if run.dry_run {
        "SELECT count(*) FROM analytics.ingestion_batches WHERE kind = 'repair' AND completed_at < $1"
    } else {
        "WITH gone AS (DELETE FROM analytics.ingestion_batches WHERE kind = 'repair' AND completed_at < $1 RETURNING 1)
         SELECT count(*) FROM gone"
    };
    Ok(sqlx::query_scalar(statement).bind(run.cutoffs.batches).fetch_one(conn).await?)
}

async fn hours(conn: &mut PgConnection, run: &Run<'_>, on_step: OnStep<'_>) -> Result<i64, StoreError> {
    let before = run.cutoffs.ledger_hours;
    let of_orgs = take(
        conn,
        run,
        Old { table: "ledger_hourly", at: "hour", kind: "ledger" },
        &Before::everywhere(before),
        on_step,
    )
    .await?;
    // Of messages whose org cannot be read: one row an hour.
    let statement = if run.dry_run {
        "SELECT count(*) FROM analytics.ledger_hourly WHERE org_id IS NULL AND hour < $1"
    } else {
        "WITH gone AS (DELETE FROM analytics.ledger_hourly WHERE org_id IS NULL AND hour < $1 RETURNING 1)
         SELECT count(*) FROM gone"
    };
    let of_nobody: i64 = sqlx::query_scalar(statement).bind(before).fetch_one(conn).await?;
    Ok(of_orgs + of_nobody)
}
