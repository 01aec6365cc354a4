//! Names that people give to ids: set and deleted, each together with the record of who did it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, access::audit, transaction::in_transaction};
use crate::domain::{
    attribution::Dimension,
    audit::{AuditEvent, storable},
    names::{MAX_NAMES, Name, Named, Put},
};

/// A name that is to be set.
#[derive(Clone, Debug)]
pub struct SetName {
    pub of: Named,
    pub name: String,
    pub by: String,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

/// Sets a name, and records that. Processes that do so at once may exceed the most names of an org by a few.
pub async fn set(conn: &mut PgConnection, new: &SetName) -> Result<Put, StoreError> {
    in_transaction(conn, async |tx| {
        let (Named { org_id, dimension, id }, by) = (&new.of, storable(&new.by));
        let updated_at: Option<DateTime<Utc>> = sqlx::query_scalar(
            "INSERT INTO analytics.names AS n (org_id, dimension, id, name, updated_at, updated_by)
             SELECT $1, $2, $3, $4, clock_timestamp(), $5
             WHERE EXISTS (SELECT FROM analytics.names WHERE org_id = $1 AND dimension = $2 AND id = $3)
                OR (SELECT count(*) FROM analytics.names WHERE org_id = $1) < $6
             ON CONFLICT (org_id, dimension, id) DO UPDATE
             SET name = excluded.name, updated_at = excluded.updated_at, updated_by = excluded.updated_by
             RETURNING updated_at",
        )
        .bind(org_id)
        .bind(dimension.to_string())
        .bind(id)
        .bind(&new.name)
        .bind(&by)
        .bind(i64::from(MAX_NAMES))
        .fetch_optional(&mut *tx)
        .await?;
        let Some(updated_at) = updated_at else { return Ok(Put::TooMany) };
        audit::record(tx, std::slice::from_ref(&new.act)).await?;
        let (dimension, id, name) = (dimension.to_string(), id.clone(), new.name.clone());
        Ok(Put::Set(Name { dimension, id, name, updated_at, updated_by: by }))
    })
    .await
}

/// Deletes a name, and records that. Where there is none, nothing is done.
pub async fn delete(conn: &mut PgConnection, of: &Named, act: &AuditEvent) -> Result<(), StoreError> {
    in_transaction(conn, async |tx| {
        let done = sqlx::query("DELETE FROM analytics.names WHERE org_id = $1 AND dimension = $2 AND id = $3")
            .bind(of.org_id)
            .bind(of.dimension.to_string())
            .bind(&of.id)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() > 0 {
            audit::record(tx, std::slice::from_ref(act)).await?;
        }
        Ok(())
    })
    .await
}

/// Deletes the names of a person, in one org or in all of them. How many it were.
pub async fn delete_person(conn: &mut PgConnection, actor_id: Uuid, org_id: Option<Uuid>) -> Result<i64, StoreError> {
    let statement =
        "DELETE FROM analytics.names WHERE dimension = $1 AND id = $2 AND ($3::uuid IS NULL OR org_id = $3)";
    let done = sqlx::query(statement)
        .bind(Dimension::Actor.name())
        .bind(actor_id.to_string())
        .bind(org_id)
        .execute(conn)
        .await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

/// The names of a person.
pub async fn count_person(conn: &mut PgConnection, actor_id: Uuid, org_id: Option<Uuid>) -> Result<i64, StoreError> {
    let statement =
        "SELECT count(*) FROM analytics.names WHERE dimension = $1 AND id = $2 AND ($3::uuid IS NULL OR org_id = $3)";
    let count = sqlx::query_scalar(statement).bind(Dimension::Actor.name()).bind(actor_id.to_string());
    Ok(count.bind(org_id).fetch_one(conn).await?)
}
