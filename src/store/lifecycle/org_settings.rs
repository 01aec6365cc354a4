//! How long an org's data is kept where that differs from the settings.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::{
        audit::{AuditEvent, storable},
        retention::OrgDays,
    },
    store::{StoreError, access::audit, transaction::in_transaction},
};

/// An org's own retention, days; `None`: what the settings say.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrgRetention {
    pub org_id: Uuid,
    pub raw_days: Option<i32>,
    pub rollup_days: Option<i32>,
    pub export_days: Option<i32>,
    pub changed_at: DateTime<Utc>,
    pub changed_by: String,
}

/// All that purging needs to know of orgs.
pub async fn days(conn: &mut PgConnection) -> Result<Vec<OrgDays>, StoreError> {
    let rows: Vec<(Uuid, Option<i32>, Option<i32>)> =
        sqlx::query_as("SELECT org_id, raw_days, rollup_days FROM analytics.org_settings ORDER BY org_id")
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(org_id, raw, rollups)| OrgDays { org_id, raw, rollups }).collect())
}

/// All orgs that have a retention of their own.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<OrgRetention>, StoreError> {
    let orgs = sqlx::query_as("SELECT * FROM analytics.org_settings ORDER BY org_id");
    Ok(orgs.fetch_all(conn).await?)
}

/// What of an org's retention is to be changed; `None`: stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub org_id: Uuid,
    pub raw_days: Option<i32>,
    pub rollup_days: Option<i32>,
    pub export_days: Option<i32>,
}

/// Changes an org's retention, and records that.
pub async fn set(
    conn: &mut PgConnection,
    change: &Change,
    by: &str,
    act: &AuditEvent,
) -> Result<OrgRetention, StoreError> {
    in_transaction(conn, async |tx| set_in(tx, change, by, act).await).await
}

async fn set_in(
    tx: &mut PgConnection,
    change: &Change,
    by: &str,
    act: &AuditEvent,
) -> Result<OrgRetention, StoreError> {
    let org = sqlx::query_as(
        "INSERT INTO analytics.org_settings AS s (org_id, raw_days, rollup_days, export_days, changed_by)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (org_id) DO UPDATE SET
             raw_days = coalesce($2, s.raw_days), rollup_days = coalesce($3, s.rollup_days),
             export_days = coalesce($4, s.export_days), changed_by = $5, changed_at = clock_timestamp()
         RETURNING *",
    )
    .bind(change.org_id)
    .bind(change.raw_days)
    .bind(change.rollup_days)
    .bind(change.export_days)
    .bind(storable(by))
    .fetch_one(&mut *tx)
    .await?;
    audit::record(tx, std::slice::from_ref(act)).await?;
    Ok(org)
}

/// Removes an org's own retention, and records that. Whether it had one.
pub async fn clear(conn: &mut PgConnection, org_id: Uuid, act: &AuditEvent) -> Result<bool, StoreError> {
    in_transaction(conn, async |tx| {
        let cleared = sqlx::query("DELETE FROM analytics.org_settings WHERE org_id = $1").bind(org_id);
        let cleared = cleared.execute(&mut *tx).await?.rows_affected() > 0;
        if cleared {
            audit::record(tx, std::slice::from_ref(act)).await?;
        }
        Ok(cleared)
    })
    .await
}
