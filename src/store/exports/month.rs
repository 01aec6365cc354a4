//! Months: whose files are to be made, and which versions there are.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::impossible;
use crate::{
    domain::export::{ExportJob, Month},
    store::StoreError,
};

/// The versions of an org's month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The number of the next one: none was ever given twice, whether its file is kept or not.
    pub next: u32,
    /// The newest, where its file is kept for some time yet.
    pub newest: Option<Kept>,
}

/// A version whose file is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub job_id: Uuid,
    pub revision: u32,
    pub key: String,
    pub checksum: [u8; 32],
    /// When its rows were read.
    pub snapshot_at: DateTime<Utc>,
}

/// Holds for a claimer of the month's job: no other process generates a version meanwhile.
pub async fn versions(conn: &mut PgConnection, org_id: Uuid, month: Month) -> Result<Versions, StoreError> {
    type Row = (Uuid, bool, i32, String, Vec<u8>, DateTime<Utc>);
    let newest: Option<Row> = sqlx::query_as(
        // With more time to go than making a file takes: one that is about to be deleted is no file.
        "SELECT job_id, status = 'succeeded' AND expires_at > clock_timestamp() + INTERVAL '2 hours', revision, object_key,
                checksum, snapshot_at
         FROM analytics.export_jobs
         WHERE org_id = $1 AND month = $2 AND status IN ('succeeded', 'expired')
         ORDER BY revision DESC, expires_at DESC LIMIT 1",
    )
    .bind(org_id)
    .bind(month.first_day())
    .fetch_optional(conn)
    .await?;
    let Some((job_id, is_kept, revision, key, checksum, snapshot_at)) = newest else {
        return Ok(Versions { next: 1, newest: None });
    };
    let revision = u32::try_from(revision).map_err(|_| impossible("revision"))?;
    let checksum = checksum.try_into().map_err(|_| impossible("checksum"))?;
    let kept = Kept { job_id, revision, key, checksum, snapshot_at };
    Ok(Versions { next: revision + 1, newest: is_kept.then_some(kept) })
}

/// Whether a job's file is an earlier job's, which came out the same.
pub async fn is_unchanged(conn: &mut PgConnection, job: &ExportJob) -> Result<bool, StoreError> {
    let Some(output) = &job.output else { return Ok(false) };
    let earlier = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM analytics.export_jobs
                        WHERE org_id = $1 AND object_key = $2 AND job_id <> $3 AND completed_at < $4)",
    );
    Ok(earlier.bind(job.spec.org_id).bind(&output.key).bind(job.id).bind(job.completed_at).fetch_one(conn).await?)
}

/// Orgs that used anything in a month, in the order of their ids: those behind `after`, at most so many.
pub async fn orgs_with_usage(
    conn: &mut PgConnection,
    month: Month,
    after: Option<Uuid>,
    most: u16,
) -> Result<Vec<Uuid>, StoreError> {
    let range = month.range();
    let orgs = sqlx::query_scalar(
        "SELECT DISTINCT org_id FROM analytics.daily_usage
         WHERE bucket_start >= $1 AND bucket_start < $2 AND ($3::uuid IS NULL OR org_id > $3)
           AND successes + errors + timeouts + throttled > 0
         ORDER BY org_id LIMIT $4",
    );
    Ok(orgs.bind(range.start).bind(range.end).bind(after).bind(i64::from(most)).fetch_all(conn).await?)
}
