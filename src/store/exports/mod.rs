//! Export jobs: created, read, claimed, ended and expired; and the rows of their files.
//!
//! A claim is another one each time a job is taken ([`Claim`]), and whatever a claimer does to its job is conditional on it: one
//! that was frozen, and whose job was taken over meanwhile, changes nothing any more.

pub mod buckets;
mod claim;
mod create;
mod end;
mod expire;
pub mod groups;
mod month;
mod persons;
pub mod reconcile;
pub mod rows;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

pub use claim::{Claim, ClaimRules, Claimed, Claimer, Heartbeat, LeftUpload, claim, heartbeat, upload_begun};
pub use create::{Created, NewExport, NewMonth, cancel, create, create_month};
pub use end::{fail, release, retry, succeed, succeed_unchanged};
pub use expire::{
    AbandonedUpload, Expired, abandoned_uploads, again as expired_again, expired, mark_expired, upload_ended,
    uploads_of,
};
pub use month::{Kept, Versions, is_unchanged, orgs_with_usage, versions};
pub use persons::{by_person, cancel_by_person, expire_now};

use super::{
    StoreError,
    amount::Amount,
    read::{ReadError, Reader},
};
use crate::domain::export::{
    ExportJob, ExportPage, ExportQuery, Grouping, Month, Output, Revised, Spec, Status, TimeRange, Totals,
};

const LIST: &str = include_str!("sql/exports_list.sql");

/// A job of the org. None: there is no such job.
pub async fn get(conn: &mut PgConnection, org_id: Uuid, job_id: Uuid) -> Result<Option<ExportJob>, StoreError> {
    rows(conn, &one_of(org_id), Some(job_id)).await?.pop().map(JobRow::job).transpose()
}

/// A job of whichever org, for who works at the command line. None: there is no such job.
pub async fn find(conn: &mut PgConnection, job_id: Uuid) -> Result<Option<ExportJob>, StoreError> {
    let row: Option<JobRow> = sqlx::query_as("SELECT * FROM analytics.export_jobs WHERE job_id = $1")
        .bind(job_id)
        .fetch_optional(conn)
        .await?;
    row.map(JobRow::job).transpose()
}

/// How jobs are, of whichever org. Those that there are not are not among them.
pub async fn statuses(conn: &mut PgConnection, jobs: &[Uuid]) -> Result<HashMap<Uuid, Status>, StoreError> {
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT job_id, status FROM analytics.export_jobs WHERE job_id = ANY ($1)")
            .bind(jobs)
            .fetch_all(conn)
            .await?;
    let of = |(job_id, status): (Uuid, String)| Ok((job_id, status.parse().map_err(|_| impossible("status"))?));
    rows.into_iter().map(of).collect()
}

/// A page of the org's jobs, newest first.
pub async fn list(conn: &mut PgConnection, query: &ExportQuery) -> Result<ExportPage, StoreError> {
    page(query, rows(conn, query, None).await?)
}

impl Reader {
    /// A page of an org's jobs, newest first.
    pub async fn exports(&self, query: &ExportQuery) -> Result<ExportPage, ReadError> {
        Ok(page(query, self.in_time(async |conn| rows(conn, query, None).await).await?)?)
    }

    /// None: the org has no such job.
    pub async fn export(&self, org_id: Uuid, job_id: Uuid) -> Result<Option<ExportJob>, ReadError> {
        let mut found = self.in_time(async |conn| rows(conn, &one_of(org_id), Some(job_id)).await).await?;
        Ok(found.pop().map(JobRow::job).transpose()?)
    }
}

fn one_of(org_id: Uuid) -> ExportQuery {
    ExportQuery { org_id, status: None, before: None, limit: 1 }
}

fn page(query: &ExportQuery, rows: Vec<JobRow>) -> Result<ExportPage, StoreError> {
    Ok(ExportPage::of(rows.into_iter().map(JobRow::job).collect::<Result<_, _>>()?, query.limit))
}

async fn rows(conn: &mut PgConnection, query: &ExportQuery, only: Option<Uuid>) -> sqlx::Result<Vec<JobRow>> {
    sqlx::query_as::<_, JobRow>(LIST)
        .bind(query.org_id)
        .bind(only)
        .bind(query.status.map(Status::as_str))
        .bind(query.before)
        // One more shows that there are more.
        .bind(i64::from(query.limit) + 1)
        .fetch_all(conn)
        .await
}

#[derive(FromRow)]
struct JobRow {
    job_id: Uuid,
    org_id: Uuid,
    kind: String,
    status: String,
    granularity: String,
    group_by: String,
    dimensions: Vec<String>,
    names: bool,
    range_start: DateTime<Utc>,
    range_end: DateTime<Utc>,
    models: Vec<Uuid>,
    month: Option<NaiveDate>,
    initiated_by: String,
    request_sha256: Vec<u8>,
    attempts: i32,
    claim_id: Option<Uuid>,
    cancel_requested: bool,
    upload_id: Option<String>,
    upload_key: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    error: Option<String>,
    bucket: Option<String>,
    object_key: Option<String>,
    revision: Option<i32>,
    checksum: Option<Vec<u8>>,
    row_count: Option<i64>,
    bytes: Option<i64>,
    invocations: Option<i64>,
    errors: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cost_cents: Option<Amount>,
    as_of: Option<DateTime<Utc>>,
    snapshot_at: Option<DateTime<Utc>>,
    revisions: Option<i64>,
    last_revision_id: Option<Uuid>,
}

impl JobRow {
    fn job(self) -> Result<ExportJob, StoreError> {
        let spec = Spec {
            org_id: self.org_id,
            granularity: self.granularity.parse().map_err(|_| impossible("granularity"))?,
            group_by: self.grouping()?,
            names: self.names,
            range: TimeRange { start: self.range_start, end: self.range_end },
            models: self.models.clone(),
        };
        Ok(ExportJob {
            id: self.job_id,
            kind: self.kind.parse().map_err(|_| impossible("kind"))?,
            status: self.status.parse().map_err(|_| impossible("status"))?,
            spec,
            month: self.month.map(|day| Month::starting(day).ok_or_else(|| impossible("month"))).transpose()?,
            output: self.output()?,
            bucket: self.bucket,
            initiated_by: self.initiated_by,
            created_at: self.created_at,
            started_at: self.started_at,
            completed_at: self.completed_at,
            attempts: u32::try_from(self.attempts).map_err(|_| impossible("attempts"))?,
            cancel_requested: self.cancel_requested,
            error: self.error,
            expires_at: self.expires_at,
        })
    }

    fn grouping(&self) -> Result<Grouping, StoreError> {
        if self.dimensions.is_empty() {
            return Ok(Grouping::By(self.group_by.parse().map_err(|_| impossible("group_by"))?));
        }
        let dimensions = self.dimensions.iter().map(|name| name.parse().map_err(|_| impossible("dimensions")));
        dimensions.collect::<Result<_, _>>().map(Grouping::Dimensions)
    }

    /// All of it or nothing is there: the table's constraints say so.
    fn output(&self) -> Result<Option<Output>, StoreError> {
        let Some(key) = self.object_key.clone() else { return Ok(None) };
        let checksum = self.checksum.as_deref().and_then(|checksum| checksum.try_into().ok());
        let cost = self.cost_cents.map(|cost| cost.0);
        Ok(Some(Output {
            key,
            revision: self.revision.map(|n| u32::try_from(n).map_err(|_| impossible("revision"))).transpose()?,
            checksum: checksum.ok_or_else(|| impossible("checksum"))?,
            bytes: count("bytes", self.bytes)?,
            rows: count("row_count", self.row_count)?,
            totals: Totals {
                invocations: count("invocations", self.invocations)?,
                errors: count("errors", self.errors)?,
                input_tokens: count("input_tokens", self.input_tokens)?,
                output_tokens: count("output_tokens", self.output_tokens)?,
                cost: cost.ok_or_else(|| impossible("cost_cents"))?,
            },
            as_of: self.as_of,
            snapshot_at: self.snapshot_at.ok_or_else(|| impossible("snapshot_at"))?,
            revised: Revised { count: count("revisions", self.revisions)?, last: self.last_revision_id },
        }))
    }
}

fn count(column: &str, value: Option<i64>) -> Result<u64, StoreError> {
    value.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| impossible(column))
}

fn impossible(what: &str) -> StoreError {
    StoreError::impossible(&format!("an export's {what}"))
}
