//! Expired files and abandoned uploads.

use chrono::NaiveDate;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::impossible;
use crate::{
    domain::export::{
        Month,
        keys::{File, Key},
    },
    store::StoreError,
};

/// A job whose file is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    pub org_id: Uuid,
    pub job_id: Uuid,
    /// None: the one of the settings.
    pub bucket: Option<String>,
    /// What is to be deleted before the job is marked: the file and its manifest, and those that are named for the latest
    /// version of a month where it is this one. Nothing where a later job has the same file.
    pub keys: Vec<String>,
}

/// Jobs whose files are over, the longest first, at most so many. Those that are marked are not among them.
pub async fn expired(conn: &mut PgConnection, most: u16) -> Result<Vec<Expired>, StoreError> {
    read(conn, most, None).await
}

/// The same of one job, as it is now: since the list was made, a new version may have come that its keys are named for.
pub async fn again(conn: &mut PgConnection, job_id: Uuid) -> Result<Option<Expired>, StoreError> {
    Ok(read(conn, 1, Some(job_id)).await?.pop())
}

async fn read(conn: &mut PgConnection, most: u16, only: Option<Uuid>) -> Result<Vec<Expired>, StoreError> {
    let rows = sqlx::query_as(include_str!("sql/exports_expired.sql"));
    let rows: Vec<ExpiredRow> = rows.bind(i64::from(most)).bind(only).fetch_all(conn).await?;
    rows.into_iter().map(ExpiredRow::expired).collect()
}

/// Marks jobs whose objects are deleted. How many there were.
pub async fn mark_expired(conn: &mut PgConnection, jobs: &[Uuid]) -> Result<u64, StoreError> {
    let marked = sqlx::query(
        "UPDATE analytics.export_jobs SET status = 'expired'
         WHERE job_id = ANY ($1) AND status = 'succeeded' AND expires_at <= clock_timestamp()",
    )
    .bind(jobs)
    .execute(conn)
    .await?;
    Ok(marked.rows_affected())
}

#[derive(FromRow)]
struct ExpiredRow {
    job_id: Uuid,
    org_id: Uuid,
    bucket: Option<String>,
    object_key: String,
    month: Option<NaiveDate>,
    shared: bool,
    newest: bool,
}

impl ExpiredRow {
    fn expired(self) -> Result<Expired, StoreError> {
        let file = Key::parse(&self.object_key).ok_or_else(|| impossible("object_key"))?;
        let latest = match self.month {
            Some(day) if self.newest => {
                let month = Month::starting(day).ok_or_else(|| impossible("month"))?;
                Some(Key::new(self.org_id, File::Latest(month)))
            }
            _ => None,
        };
        let keys = [Some(file), latest].into_iter().flatten().filter(|_| !self.shared);
        let keys = keys.flat_map(|key| [key, key.manifest()]).map(|key| key.to_string()).collect();
        Ok(Expired { org_id: self.org_id, job_id: self.job_id, bucket: self.bucket, keys })
    }
}

/// An upload that was begun for a job that is over without it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct AbandonedUpload {
    pub job_id: Uuid,
    pub org_id: Uuid,
    pub bucket: Option<String>,
    #[sqlx(rename = "upload_key")]
    pub key: String,
    pub upload_id: String,
}

/// Uploads that are to be thrown away, at most so many. Those of open jobs are their next claimer's.
pub async fn abandoned_uploads(conn: &mut PgConnection, most: u16) -> Result<Vec<AbandonedUpload>, StoreError> {
    let uploads = sqlx::query_as(
        "SELECT job_id, org_id, bucket, upload_key, upload_id FROM analytics.export_jobs
         WHERE upload_id IS NOT NULL AND status NOT IN ('pending', 'running') ORDER BY job_id LIMIT $1",
    );
    Ok(uploads.bind(i64::from(most)).fetch_all(conn).await?)
}

/// Uploads of an org that are not known to have ended, whatever its jobs are.
pub async fn uploads_of(conn: &mut PgConnection, org_id: Uuid) -> Result<Vec<AbandonedUpload>, StoreError> {
    let uploads = sqlx::query_as(
        "SELECT job_id, org_id, bucket, upload_key, upload_id FROM analytics.export_jobs
         WHERE upload_id IS NOT NULL AND org_id = $1",
    );
    Ok(uploads.bind(org_id).fetch_all(conn).await?)
}

/// Notes that an upload has ended, one way or the other.
pub async fn upload_ended(conn: &mut PgConnection, job_id: Uuid, upload_id: &str) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE analytics.export_jobs SET upload_id = NULL, upload_key = NULL WHERE job_id = $1 AND upload_id = $2",
    )
    .bind(job_id)
    .bind(upload_id)
    .execute(conn)
    .await?;
    Ok(())
}
