//! Buckets of organisations: those that an org's exports may be delivered to, beside the one of the settings.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    domain::audit::{AuditEvent, storable},
    store::{StoreError, access::audit, transaction::in_transaction},
};

/// A bucket and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrgBucket {
    pub bucket: String,
    pub org_id: Uuid,
    pub changed_at: DateTime<Utc>,
    pub changed_by: String,
}

/// The org's buckets.
pub async fn of_org(conn: &mut PgConnection, org_id: Uuid) -> Result<Vec<String>, StoreError> {
    let buckets = sqlx::query_scalar("SELECT bucket FROM analytics.org_buckets WHERE org_id = $1 ORDER BY bucket");
    Ok(buckets.bind(org_id).fetch_all(conn).await?)
}

/// Every org's buckets, or one's.
pub async fn list(conn: &mut PgConnection, org_id: Option<Uuid>) -> Result<Vec<OrgBucket>, StoreError> {
    let buckets = sqlx::query_as(
        "SELECT bucket, org_id, changed_at, changed_by FROM analytics.org_buckets
         WHERE $1::uuid IS NULL OR org_id = $1 ORDER BY org_id, bucket",
    );
    Ok(buckets.bind(org_id).fetch_all(conn).await?)
}

/// Assigns a bucket to the org, and records that. None: it is another org's.
pub async fn set(
    conn: &mut PgConnection,
    org_id: Uuid,
    bucket: &str,
    by: &str,
    act: &AuditEvent,
) -> Result<Option<OrgBucket>, StoreError> {
    in_transaction(conn, async |tx| {
        let set: Option<OrgBucket> = sqlx::query_as(
            "INSERT INTO analytics.org_buckets AS b (bucket, org_id, changed_by) VALUES ($1, $2, $3)
             ON CONFLICT (bucket) DO UPDATE SET changed_by = $3, changed_at = clock_timestamp() WHERE b.org_id = $2
             RETURNING bucket, org_id, changed_at, changed_by",
        )
        .bind(bucket)
        .bind(org_id)
        .bind(storable(by))
        .fetch_optional(&mut *tx)
        .await?;
        if set.is_some() {
            audit::record(tx, std::slice::from_ref(act)).await?;
        }
        Ok(set)
    })
    .await
}

/// Removes a bucket from its org, and records that. Files that are in it stay, and are fetched as before. Whether it was the org's.
pub async fn clear(conn: &mut PgConnection, org_id: Uuid, bucket: &str, act: &AuditEvent) -> Result<bool, StoreError> {
    in_transaction(conn, async |tx| {
        let cleared = sqlx::query("DELETE FROM analytics.org_buckets WHERE org_id = $1 AND bucket = $2");
        let cleared = cleared.bind(org_id).bind(bucket).execute(&mut *tx).await?.rows_affected() > 0;
        if cleared {
            audit::record(tx, std::slice::from_ref(act)).await?;
        }
        Ok(cleared)
    })
    .await
}
