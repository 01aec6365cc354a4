//! Requesting an export, and cancelling one.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{JobRow, buckets, get};
use crate::{
    domain::{
        audit::{AuditEvent, storable},
        event::Reason,
        export::{
            CANCELLED, ExportJob, Granularity, GroupBy, Grouping, Kind, Month,
            request::{Request, Rules, fingerprint},
        },
    },
    store::{StoreError, access::audit, bound::bound, clock, lifecycle::floors, read, transaction::in_transaction},
};

/// First half of the advisory lock under which an org's jobs are counted and added; the second is a hash of the org.
/// "expo" in ASCII.
const CREATE_LOCK: i32 = 0x6578_706f;

/// A requested export.
#[derive(Clone, Debug)]
pub struct NewExport<'a> {
    /// Version 7.
    pub job_id: Uuid,
    pub org_id: Uuid,
    /// The request's body, JSON.
    pub body: &'a [u8],
    /// Those that there are. A request may name the default one, and of the others those of its org.
    pub buckets: &'a [String],
    pub idempotency_key: Option<&'a str>,
    pub by: &'a str,
    /// Where files go for which no bucket is named; none for a store without buckets.
    pub bucket: Option<&'a str>,
    /// Most jobs of the org that may be open.
    pub most_open: u32,
    /// What is recorded together with a new job.
    pub act: &'a AuditEvent,
}

/// A requested file of a month.
#[derive(Clone, Debug)]
pub struct NewMonth<'a> {
    /// Version 7.
    pub job_id: Uuid,
    pub org_id: Uuid,
    pub month: Month,
    pub granularity: Granularity,
    /// Where the file goes; none for a store without buckets.
    pub bucket: Option<&'a str>,
    pub by: &'a str,
    /// What is recorded together with a new job.
    pub act: &'a AuditEvent,
}

/// What became of an export that was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    New(Box<ExportJob>),
    /// The same was requested before: that job.
    Same(Box<ExportJob>),
    /// Something else was requested under that idempotency key.
    KeyTaken,
    /// The org has as many open jobs as it may.
    TooMany,
    /// Every rule that the request breaks.
    Wrong(Vec<Reason>),
}

/// Creates a job, and records that. A request that is known by its idempotency key is not judged again: its response stays the
/// same whatever has become of the rules, or of the job.
pub async fn create(conn: &mut PgConnection, new: &NewExport<'_>) -> Result<Created, StoreError> {
    in_transaction(conn, async |tx| {
        lock(tx, new.org_id).await?;
        let created = add(tx, new).await?;
        record(tx, created, new.act).await
    })
    .await
}

/// Creates the job of a month's file, and records that. While there is one that is open, it is that one.
pub async fn create_month(conn: &mut PgConnection, new: &NewMonth<'_>) -> Result<Created, StoreError> {
    in_transaction(conn, async |tx| {
        lock(tx, new.org_id).await?;
        let created = add_month(tx, new).await?;
        record(tx, created, new.act).await
    })
    .await
}

/// Records a job that is new, with where its file goes, and nothing else.
async fn record(conn: &mut PgConnection, created: Created, act: &AuditEvent) -> Result<Created, StoreError> {
    if let Created::New(job) = &created {
        let act = match &job.bucket {
            Some(bucket) => act.clone().detail(format!("to bucket {bucket}")),
            None => act.clone(),
        };
        audit::record(conn, &[act]).await?;
    }
    Ok(created)
}

async fn add(conn: &mut PgConnection, new: &NewExport<'_>) -> Result<Created, StoreError> {
    let request_sha256 = fingerprint(new.body);
    // Requested again, since the response to the first time was lost.
    if let Some(job) = get(conn, new.org_id, new.job_id).await? {
        return Ok(Created::Same(Box::new(job)));
    }
    if let Some(key) = new.idempotency_key {
        let known: Option<JobRow> =
            sqlx::query_as("SELECT * FROM analytics.export_jobs WHERE org_id = $1 AND idempotency_key = $2")
                .bind(new.org_id)
                .bind(key)
                .fetch_optional(&mut *conn)
                .await?;
        if let Some(known) = known {
            let same = known.request_sha256 == request_sha256;
            return if same { Ok(Created::Same(Box::new(known.job()?))) } else { Ok(Created::KeyTaken) };
        }
    }
    let now = clock::now(conn).await?;
    let floors = floors::of_org(conn, new.org_id).await?;
    let sets = read::statuses(conn, new.org_id).await?;
    let mut own = buckets::of_org(conn, new.org_id).await?;
    own.retain(|bucket| new.buckets.contains(bucket));
    own.extend(new.bucket.map(str::to_owned));
    let request = match Request::read(new.body, Rules { now, floors, sets: &sets, buckets: &own }) {
        Ok(request) => request,
        Err(reasons) => return Ok(Created::Wrong(reasons)),
    };
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM analytics.export_jobs WHERE org_id = $1 AND status IN ('pending', 'running')",
    )
    .bind(new.org_id)
    .fetch_one(&mut *conn)
    .await?;
    if open >= i64::from(new.most_open) {
        return Ok(Created::TooMany);
    }
    let Request { range, granularity, group_by, names, models, bucket } = request;
    let job = NewJob {
        job_id: new.job_id,
        org_id: new.org_id,
        kind: Kind::Demand.as_str(),
        granularity: granularity.as_str(),
        group_by: by(&group_by).as_str(),
        dimensions: group_by.dimensions().iter().map(ToString::to_string).collect(),
        names,
        start: range.start,
        end: range.end,
        models,
        month: None,
        bucket: bucket.as_deref().or(new.bucket),
        by: storable(new.by),
        idempotency_key: new.idempotency_key,
        request_sha256: &request_sha256,
    };
    insert(conn, job).await
}

/// What builds from before show of it.
fn by(group_by: &Grouping) -> GroupBy {
    match group_by {
        Grouping::By(group_by) => *group_by,
        Grouping::Dimensions(_) => GroupBy::Model,
    }
}

async fn add_month(conn: &mut PgConnection, new: &NewMonth<'_>) -> Result<Created, StoreError> {
    let (org_id, range) = (new.org_id, new.month.range());
    let open: Option<JobRow> = sqlx::query_as(
        "SELECT * FROM analytics.export_jobs
         WHERE org_id = $1 AND month = $2 AND status IN ('pending', 'running')",
    )
    .bind(org_id)
    .bind(new.month.first_day())
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(open) = open {
        return Ok(Created::Same(Box::new(open.job()?)));
    }
    let job = NewJob {
        job_id: new.job_id,
        org_id,
        kind: Kind::Monthly.as_str(),
        granularity: new.granularity.as_str(),
        group_by: GroupBy::Model.as_str(),
        dimensions: Vec::new(),
        names: false,
        start: range.start,
        end: range.end,
        models: Vec::new(),
        month: Some(new.month.first_day()),
        bucket: new.bucket,
        by: storable(new.by),
        idempotency_key: None,
        request_sha256: &fingerprint(new.month.to_string().as_bytes()),
    };
    insert(conn, job).await
}

/// Cancels an open job of the org and records that: one that waits is over at once, one that is at work when the process that works on
/// it sees it. Any other stays as it is. None: there is no such job.
pub async fn cancel(
    conn: &mut PgConnection,
    org_id: Uuid,
    job_id: Uuid,
    act: &AuditEvent,
) -> Result<Option<ExportJob>, StoreError> {
    in_transaction(conn, async |tx| cancel_in(tx, org_id, job_id, act).await).await
}

async fn cancel_in(
    tx: &mut PgConnection,
    org_id: Uuid,
    job_id: Uuid,
    act: &AuditEvent,
) -> Result<Option<ExportJob>, StoreError> {
    let cancelled = sqlx::query(
        "UPDATE analytics.export_jobs
         SET cancel_requested = true,
             status = CASE status WHEN 'pending' THEN 'failed' ELSE status END,
             error = CASE status WHEN 'pending' THEN $3 ELSE error END,
             completed_at = CASE status WHEN 'pending' THEN clock_timestamp() END
         WHERE org_id = $1 AND job_id = $2 AND status IN ('pending', 'running') AND NOT cancel_requested",
    )
    .bind(org_id)
    .bind(job_id)
    .bind(CANCELLED)
    .execute(&mut *tx)
    .await?;
    if cancelled.rows_affected() > 0 {
        audit::record(tx, std::slice::from_ref(act)).await?;
    }
    get(tx, org_id, job_id).await
}

/// Until the end of the transaction no other request creates an export of this org.
async fn lock(conn: &mut PgConnection, org_id: Uuid) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(CREATE_LOCK)
        .bind(org_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

bound! {
    struct NewJob<'a> {
        job_id: Uuid, org_id: Uuid, kind: &'static str, granularity: &'static str, group_by: &'static str,
        dimensions: Vec<String>, names: bool, start: DateTime<Utc>, end: DateTime<Utc>, models: Vec<Uuid>, month: Option<NaiveDate>,
        bucket: Option<&'a str>, by: String, idempotency_key: Option<&'a str>, request_sha256: &'a [u8],
    }
}

async fn insert(conn: &mut PgConnection, job: NewJob<'_>) -> Result<Created, StoreError> {
    let statement = "INSERT INTO analytics.export_jobs
             (job_id, org_id, kind, granularity, group_by, dimensions, names, range_start, range_end, models, month, bucket,
              initiated_by, idempotency_key, request_sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING *";
    let row: JobRow = sqlx::query_as_with(statement, job.arguments()?).fetch_one(conn).await?;
    Ok(Created::New(Box::new(row.job()?)))
}
