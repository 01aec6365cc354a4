//! Attribution: parts and known keys of whole UTC days, by set and org, and names that no sums are left of.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{OnStep, PIECE, Run, in_pieces, rollups::Before};
use crate::store::{
    StoreError,
    attribution::{
        self,
        sets::{self, KeptSet},
        unused,
    },
    transaction::in_transaction,
};

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributionPurged {
    /// Of sets without a retention of their own.
    pub before: DateTime<Utc>,
    pub parts: i64,
    pub keys: i64,
    pub values: i64,
}

/// Rows of a set, by the column that has their age. The names are constants, never input.
#[derive(Clone, Copy)]
struct Old {
    table: &'static str,
    at: &'static str,
    /// So that the index over sets and units finds old parts.
    units: &'static str,
}

const PARTS: Old =
    Old { table: "attribution_parts", at: "bucket_start", units: "r.unit IN ('hour', 'day', 'month') AND " };
const KEYS: Old = Old { table: "attribution_keys", at: "day", units: "" };

impl Old {
    fn statement(self, text: &'static str) -> AssertSqlSafe<String> {
        let Self { table, at, units } = self;
        AssertSqlSafe(text.replace("{table}", table).replace("{at}", at).replace("{units}", units))
    }
}

pub async fn purge(
    conn: &mut PgConnection,
    run: &Run<'_>,
    on_step: OnStep<'_>,
) -> Result<AttributionPurged, StoreError> {
    let mut purged = AttributionPurged { before: run.attribution.cutoff_of_all(run.now), ..Default::default() };
    for set in sets::kept(conn).await? {
        let before = Before::of_attribution(run, &set.set);
        on_step(&format!("attribution by {}: looking for old rows", set.set));
        purged.parts += take(conn, run, PARTS, (&set, &before), on_step).await?;
        purged.keys += take(conn, run, KEYS, (&set, &before), on_step).await?;
    }
    if !run.dry_run {
        purged.values = unused::delete(conn, on_step).await?;
    }
    Ok(purged)
}

/// Nobody writes parts meanwhile: what is left of a bucket is all of it.
async fn take(
    conn: &mut PgConnection,
    run: &Run<'_>,
    old: Old,
    (set, before): (&KeptSet, &Before),
    on_step: OnStep<'_>,
) -> Result<i64, StoreError> {
    let Before { all, orgs, theirs } = before;
    if run.dry_run {
        let counted = sqlx::query_scalar(old.statement(include_str!("../sql/purge_count_set.sql")));
        return Ok(counted.bind(all).bind(orgs).bind(theirs).bind(set.set_id).fetch_one(conn).await?);
    }
    let mut gone = 0;
    in_pieces(async || {
        let taken = in_transaction::<i64, StoreError>(conn, async |tx| {
            attribution::lock(&mut *tx).await?;
            let taken = sqlx::query_scalar(old.statement(include_str!("../sql/purge_set.sql")));
            Ok(taken.bind(all).bind(orgs).bind(theirs).bind(set.set_id).bind(PIECE).fetch_one(tx).await?)
        })
        .await?;
        gone += taken;
        on_step(&format!("{} by {}: {gone} old rows are gone", old.table, set.set));
        Ok(taken)
    })
    .await
}
