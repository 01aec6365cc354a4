//! Retention floors: from when on there is all of an org's data. `purge` and `erase` raise them in the transaction that
//! deletes; `analytics.floor_of` has the rule, for readers that need it in one statement with the numbers.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{domain::floor::Floors, store::StoreError};

type Moment = Option<DateTime<Utc>>;

/// An org's floors, in the snapshot at hand.
pub async fn of_org(conn: &mut PgConnection, org_id: Uuid) -> Result<Floors, sqlx::Error> {
    let (hourly, daily, raw): (Moment, Moment, Moment) = sqlx::query_as(
        "SELECT analytics.floor_of($1, 'hourly'), analytics.floor_of($1, 'daily'), analytics.floor_of($1, 'raw')",
    )
    .bind(org_id)
    .fetch_one(conn)
    .await?;
    Ok(Floors { hourly, daily, raw })
}

/// Orgs whose days were purged up to a moment that is later than this one, each with that moment, in the order of their ids.
/// Erased ones are not among them.
pub async fn above(conn: &mut PgConnection, moment: DateTime<Utc>) -> Result<Vec<(Uuid, DateTime<Utc>)>, StoreError> {
    let orgs = sqlx::query_as(
        "SELECT org_id, floor_at FROM analytics.retention_floors WHERE kind = 'daily' AND floor_at > $1 ORDER BY org_id",
    );
    Ok(orgs.bind(moment).fetch_all(conn).await?)
}

/// How many orgs, of one or of all, have rollups purged of days from a moment on, and the latest of their floors.
pub async fn purged_since(
    conn: &mut PgConnection,
    moment: DateTime<Utc>,
    org_id: Option<Uuid>,
) -> Result<(i64, Moment), StoreError> {
    let floors = sqlx::query_as(
        "SELECT count(DISTINCT org_id), max(floor_at) FROM analytics.retention_floors
         WHERE kind IN ('hourly', 'daily') AND floor_at > $1 AND ($2::uuid IS NULL OR org_id = $2)",
    );
    Ok(floors.bind(moment).bind(org_id).fetch_one(conn).await?)
}
