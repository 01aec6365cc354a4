//! Erasing attribution of an org, or the name of a person in it.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{PENDING, UNATTRIBUTED, lock, recount::change_pending, unreadable};
use crate::{
    domain::{
        attribution::{Dimension, Partials},
        packed::PackedError,
        rollup::Pending,
    },
    store::{StoreError, transaction::in_transaction},
};

/// What there is of an org: parts, names, and sums that wait to be folded.
pub async fn count_org(conn: &mut PgConnection, org_id: Uuid) -> Result<i64, StoreError> {
    let kept: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM analytics.attribution_parts WHERE org_id = $1)
              + (SELECT count(*) FROM analytics.attribution_values WHERE org_id = $1)
              + (SELECT count(*) FROM analytics.attribution_keys WHERE org_id = $1)",
    )
    .bind(org_id)
    .fetch_one(&mut *conn)
    .await?;
    let mut pending = 0;
    // What cannot be read is deleted before anything is erased.
    let count = |_, read: Result<Partials, PackedError>| {
        let partials = read.unwrap_or_default();
        pending += partials.entries().filter(|entry| entry.org_id == org_id).count();
    };
    PENDING.read(conn, count).await?;
    Ok(kept + i64::try_from(pending).unwrap_or(i64::MAX))
}

/// Deletes what there is of an org, at once. How much it was.
pub async fn org(conn: &mut PgConnection, org_id: Uuid) -> Result<i64, StoreError> {
    unreadable::replace_all(conn).await?;
    in_transaction(conn, async |tx| {
        lock(tx).await?;
        org_in(tx, org_id).await
    })
    .await
}

/// As [`org`], while nobody else writes parts.
pub async fn org_in(tx: &mut PgConnection, org_id: Uuid) -> Result<i64, StoreError> {
    let gone = count_org(&mut *tx, org_id).await?;
    change_pending(&mut *tx, |partials| partials.remove(|of, _| of == org_id)).await?;
    // What batches without attribution have of it is not counted again.
    UNATTRIBUTED.change(&mut *tx, |pending: &mut Pending| pending.forget(org_id)).await?;
    for table in [
        "attribution_parts",
        "attribution_keys",
        "attribution_values",
        "attribution_dictionaries",
        "attribution_recounts",
        "attribution_floors",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM analytics.{table} WHERE org_id = $1")))
            .bind(org_id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(gone)
}

/// Orgs that have sums by the name of a person, of one org or of all.
pub async fn count_actor(conn: &mut PgConnection, actor_id: Uuid, org_id: Option<Uuid>) -> Result<i64, StoreError> {
    let named = "SELECT count(*) FROM analytics.attribution_values
                 WHERE dimension = $1 AND value = $2 AND ($3::uuid IS NULL OR org_id = $3)";
    let (dimension, name) = (Dimension::Actor.name(), actor_id.to_string());
    Ok(sqlx::query_scalar(named).bind(&*dimension).bind(name).bind(org_id).fetch_one(conn).await?)
}

/// Deletes the name of a person: sums of days that cannot be counted again are of nobody then. In how many orgs it was.
pub async fn actor(conn: &mut PgConnection, actor_id: Uuid, org_id: Option<Uuid>) -> Result<i64, StoreError> {
    in_transaction(conn, async |tx| {
        lock(tx).await?;
        let gone = sqlx::query(
            "DELETE FROM analytics.attribution_values
             WHERE dimension = $1 AND value = $2 AND ($3::uuid IS NULL OR org_id = $3)",
        )
        .bind(&*Dimension::Actor.name())
        .bind(actor_id.to_string())
        .bind(org_id)
        .execute(tx)
        .await?;
        Ok(i64::try_from(gone.rows_affected()).unwrap_or(i64::MAX))
    })
    .await
}
