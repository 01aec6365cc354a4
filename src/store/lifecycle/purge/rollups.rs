//! Rollups, their revisions and their freshness markers: whole UTC days, by org.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{OnStep, RollupsPurged, Run, aggregates, in_pieces};
use crate::{
    config::Database,
    domain::attribution::Set,
    store::{
        StoreError,
        rollups::{engine::Engine, merge::hold_off},
        transaction::in_transaction,
    },
};

pub async fn purge(
    conn: &mut PgConnection,
    database: &Database,
    run: &Run<'_>,
    left: &mut Vec<String>,
    on_step: OnStep<'_>,
) -> Result<RollupsPurged, StoreError> {
    let before = Before::of(run);
    let aggregates = match run.engine {
        Engine::Live => None,
        Engine::Continuous => Some(aggregates::purge(conn, database, run, left, on_step).await?),
    };
    // Where continuous aggregates are read, the tables have what is older than these, the tail, and rows of late events.
    let hours = Old { table: "hourly_rollups", at: "bucket_start", kind: "hourly" };
    let hourly = take(conn, run, hours, &before, on_step).await?;
    if !run.dry_run {
        // Not counted: they are sums of these.
        take(conn, run, Old { table: "org_hours", ..hours }, &before, on_step).await?;
    }
    Ok(RollupsPurged {
        before: before.all,
        hourly,
        daily: take(conn, run, Old { table: "daily_rollups", at: "bucket_start", kind: "daily" }, &before, on_step)
            .await?,
        revisions: take(
            conn,
            run,
            Old { table: "rollup_revisions", at: "bucket_start", kind: "revisions" },
            &before,
            on_step,
        )
        .await?,
        freshness: markers(conn, run, &before).await?,
        aggregates,
    })
}

/// Up to where rows go: everybody's, and of orgs that have another retention.
pub(super) struct Before {
    pub all: DateTime<Utc>,
    pub orgs: Vec<Uuid>,
    pub theirs: Vec<DateTime<Utc>>,
}

impl Before {
    fn of(run: &Run<'_>) -> Self {
        let own = run.orgs.iter().filter_map(|org| Some((org.org_id, run.retention.org_rollup_cutoff(org, run.now)?)));
        let (orgs, theirs) = own.unzip();
        Self { all: run.cutoffs.rollups, orgs, theirs }
    }

    /// Of a set of attribution: not longer than an org's rollups where these have a retention of their own.
    pub(super) fn of_attribution(run: &Run<'_>, set: &Set) -> Self {
        let all = run.attribution.cutoff(set, run.now);
        let own = Self::of(run);
        Self { all, theirs: own.theirs.into_iter().map(|before| before.max(all)).collect(), orgs: own.orgs }
    }

    /// How many rows of a table are old.
    pub(super) async fn count(&self, conn: &mut PgConnection, old: Old) -> Result<i64, StoreError> {
        let counted = sqlx::query_scalar(old.statement(include_str!("../sql/purge_count_old.sql")));
        Ok(counted.bind(self.all).bind(&self.orgs).bind(&self.theirs).fetch_one(conn).await?)
    }

    /// Purges so many of them at most, and raises the floors. How many it were.
    pub(super) async fn take(&self, tx: &mut PgConnection, old: Old, most: i64) -> Result<i64, StoreError> {
        let taken = sqlx::query_scalar(old.statement(include_str!("../sql/purge_old.sql")));
        Ok(taken.bind(self.all).bind(&self.orgs).bind(&self.theirs).bind(most).fetch_one(tx).await?)
    }

    /// The same for every org.
    pub(super) fn everywhere(at: DateTime<Utc>) -> Self {
        Self { all: at, orgs: Vec::new(), theirs: Vec::new() }
    }
}

/// Rows of a table by the column that has their age. The names are constants of this module, never input.
#[derive(Clone, Copy)]
pub(super) struct Old {
    pub table: &'static str,
    pub at: &'static str,
    /// Of the floors that are raised with it.
    pub kind: &'static str,
}

impl Old {
    fn statement(self, text: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(text.replace("{table}", self.table).replace("{at}", self.at).replace("{kind}", self.kind))
    }
}

/// Purges a table's old rows, or counts them. Alone among the mergers, for some milliseconds: one that has made sure that a row is there
/// must find it.
pub(super) async fn take(
    conn: &mut PgConnection,
    run: &Run<'_>,
    old: Old,
    before: &Before,
    on_step: OnStep<'_>,
) -> Result<i64, StoreError> {
    on_step(&format!("{}: looking for old rows", old.table));
    if run.dry_run {
        return before.count(conn, old).await;
    }
    let mut gone = 0;
    in_pieces(async || {
        let taken = in_transaction::<i64, StoreError>(conn, async |tx| {
            hold_off(&mut *tx).await?;
            before.take(tx, old, super::PIECE).await
        })
        .await?;
        gone += taken;
        on_step(&format!("{}: {gone} old rows are gone", old.table));
        Ok(taken)
    })
    .await
}

/// Freshness markers of what has no rollups any more. Few rows: one an org and model.
async fn markers(conn: &mut PgConnection, run: &Run<'_>, before: &Before) -> Result<i64, StoreError> {
    let statement = if run.dry_run {
        Old { table: "freshness_status", at: "last_event_at", kind: "" }
            .statement(include_str!("../sql/purge_count_old.sql"))
    } else {
        AssertSqlSafe(include_str!("../sql/purge_markers.sql").to_owned())
    };
    let markers = sqlx::query_scalar(statement).bind(before.all).bind(&before.orgs).bind(&before.theirs);
    Ok(markers.fetch_one(conn).await?)
}
