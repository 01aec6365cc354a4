//! Exports whose files have rows by person: an erasure looks through them.

use sqlx::PgConnection;
use uuid::Uuid;

use super::JobRow;
use crate::{
    domain::{
        attribution::Dimension,
        export::{ExportJob, Status},
    },
    store::StoreError,
};

/// Those of a status, of one org or of all of them.
pub async fn by_person(
    conn: &mut PgConnection,
    org_id: Option<Uuid>,
    status: Status,
) -> Result<Vec<ExportJob>, StoreError> {
    let rows: Vec<JobRow> = sqlx::query_as(
        "SELECT * FROM analytics.export_jobs
         WHERE $1 = ANY (dimensions) AND ($2::uuid IS NULL OR org_id = $2) AND status = $3
         ORDER BY job_id",
    )
    .bind(Dimension::Actor.name())
    .bind(org_id)
    .bind(status.as_str())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(JobRow::job).collect()
}

/// Cancels those that are being generated: their rows may be of before. How many they were.
pub async fn cancel_by_person(conn: &mut PgConnection, org_id: Option<Uuid>) -> Result<u64, StoreError> {
    let cancelled = sqlx::query(
        "UPDATE analytics.export_jobs SET cancel_requested = true
         WHERE $1 = ANY (dimensions) AND ($2::uuid IS NULL OR org_id = $2) AND status = 'running'",
    )
    .bind(Dimension::Actor.name())
    .bind(org_id)
    .execute(conn)
    .await?;
    Ok(cancelled.rows_affected())
}

/// Has a file be over now.
pub async fn expire_now(conn: &mut PgConnection, job_id: Uuid) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE analytics.export_jobs SET expires_at = least(expires_at, clock_timestamp())
         WHERE job_id = $1 AND status = 'succeeded'",
    )
    .bind(job_id)
    .execute(conn)
    .await?;
    Ok(())
}
