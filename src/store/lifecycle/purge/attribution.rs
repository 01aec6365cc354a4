//! Attribution: parts and known keys of whole UTC days, by org, and the names of orgs that have nothing else any more.

use serde::Serialize;
use sqlx::PgConnection;

use super::{
    OnStep, Run,
    rollups::{Before, Old, take_alone},
};
use crate::store::{StoreError, attribution, transaction::in_transaction};

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributionPurged {
    pub before: chrono::DateTime<chrono::Utc>,
    pub parts: i64,
    pub keys: i64,
    pub values: i64,
}

const PARTS: Old = Old { table: "attribution_parts", at: "bucket_start", kind: "attribution" };
const KEYS: Old = Old { table: "attribution_keys", at: "day", kind: "attribution" };
/// Of orgs without parts. Ids are not given again.
const VALUES: &str = "DELETE FROM analytics.attribution_values AS v
    WHERE NOT EXISTS (SELECT FROM analytics.attribution_parts AS p WHERE p.org_id = v.org_id)";

pub async fn purge(conn: &mut PgConnection, run: &Run, on_step: OnStep<'_>) -> Result<AttributionPurged, StoreError> {
    let before = Before::of_attribution(run);
    let parts = take(conn, run, PARTS, &before, on_step).await?;
    let keys = take(conn, run, KEYS, &before, on_step).await?;
    let values = if run.dry_run { 0 } else { alone(conn).await? };
    Ok(AttributionPurged { before: before.all, parts, keys, values })
}

async fn alone(conn: &mut PgConnection) -> Result<i64, StoreError> {
    in_transaction(conn, async |tx| {
        attribution::lock(tx).await?;
        let gone = sqlx::query(VALUES).execute(tx).await?;
        Ok(i64::try_from(gone.rows_affected()).unwrap_or(i64::MAX))
    })
    .await
}

/// Nobody writes parts meanwhile: what is left of a bucket is all of it.
async fn take(
    conn: &mut PgConnection,
    run: &Run,
    old: Old,
    before: &Before,
    on_step: OnStep<'_>,
) -> Result<i64, StoreError> {
    take_alone(conn, run, old, before, async |tx| attribution::lock(tx).await, on_step).await
}
