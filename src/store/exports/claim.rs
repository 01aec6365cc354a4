//! Claiming jobs, and saying that one works on them.

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use super::{JobRow, impossible};
use crate::{
    domain::{audit::storable, export::ExportJob},
    store::{StoreError, transaction::in_transaction},
};

/// Advisory lock under which claims are made, one at a time: two at once would both see an org below its bound. "exports".
const CLAIM_LOCK: i64 = 0x0065_7870_6f72_7473;

/// The process that claims.
#[derive(Clone, Debug)]
pub struct Claimer {
    /// The process.
    pub process: Uuid,
    /// Host and process number, for operators.
    pub name: String,
}

#[derive(Clone, Copy, Debug)]
pub struct ClaimRules {
    /// Most jobs of one org that are at work at a time.
    pub running_per_org: u16,
    /// A job whose claimer has said nothing for so long is taken over.
    pub takeover: Duration,
    /// Attempts in all: one that was left so often is given up.
    pub max_attempts: u32,
}

/// The right to work on a job, and to end it, until another process claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub org_id: Uuid,
    pub job_id: Uuid,
    /// Another one each time.
    pub id: Uuid,
}

/// A job that is to be worked on now.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub claim: Claim,
    /// Its attempts count this one.
    pub job: ExportJob,
    /// An upload that an earlier attempt began and that is not known to have ended.
    pub upload: Option<LeftUpload>,
}

/// An upload that was begun: the object's key, and the store's name of the upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftUpload {
    pub key: String,
    pub id: String,
}

/// What a claimer learns when it says that it is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// The job is its own.
    Held,
    /// It is, and its cancellation was requested.
    Cancelled,
    /// Somebody else works on it, or it is over: what was begun is to be thrown away.
    Lost,
}

/// Takes the job whose turn it is: of the org with the fewest jobs at work, and among these of the one that waits longest. None:
/// there is nothing to do.
pub async fn claim(
    conn: &mut PgConnection,
    claimer: &Claimer,
    rules: ClaimRules,
) -> Result<Option<Claimed>, StoreError> {
    let takeover = interval(rules.takeover);
    let id = Uuid::new_v4();
    let row = in_transaction::<Option<JobRow>, StoreError>(conn, async |tx| {
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CLAIM_LOCK).execute(&mut *tx).await?;
        sqlx::query(include_str!("sql/exports_give_up.sql"))
            .bind(takeover)
            .bind(i32::try_from(rules.max_attempts).unwrap_or(i32::MAX))
            .execute(&mut *tx)
            .await?;
        let claimed = sqlx::query_as(include_str!("sql/exports_claim.sql"))
            .bind(id)
            .bind(claimer.process)
            .bind(storable(&claimer.name))
            .bind(i64::from(rules.running_per_org))
            .bind(takeover);
        Ok(claimed.fetch_optional(tx).await?)
    })
    .await?;
    let Some(row) = row else { return Ok(None) };
    let id = row.claim_id.ok_or_else(|| impossible("claim_id"))?;
    let claim = Claim { org_id: row.org_id, job_id: row.job_id, id };
    let upload = row.upload_key.clone().zip(row.upload_id.clone()).map(|(key, id)| LeftUpload { key, id });
    Ok(Some(Claimed { claim, job: row.job()?, upload }))
}

/// Says that the claimer is at work.
pub async fn heartbeat(conn: &mut PgConnection, claim: &Claim) -> Result<Heartbeat, StoreError> {
    let held: Option<bool> = sqlx::query_scalar(
        "UPDATE analytics.export_jobs SET heartbeat_at = clock_timestamp()
         WHERE job_id = $1 AND claim_id = $2 AND status = 'running' RETURNING cancel_requested",
    )
    .bind(claim.job_id)
    .bind(claim.id)
    .fetch_optional(conn)
    .await?;
    Ok(match held {
        Some(true) => Heartbeat::Cancelled,
        Some(false) => Heartbeat::Held,
        None => Heartbeat::Lost,
    })
}

/// Notes an upload that was begun, so that it can be thrown away when this process does not come to its end. Whether the claim
/// holds.
pub async fn upload_begun(
    conn: &mut PgConnection,
    claim: &Claim,
    key: &str,
    upload_id: &str,
) -> Result<bool, StoreError> {
    let noted = sqlx::query(
        "UPDATE analytics.export_jobs SET upload_id = $3, upload_key = $4, heartbeat_at = clock_timestamp()
         WHERE job_id = $1 AND claim_id = $2 AND status = 'running'",
    )
    .bind(claim.job_id)
    .bind(claim.id)
    .bind(upload_id)
    .bind(key)
    .execute(conn)
    .await?;
    Ok(noted.rows_affected() > 0)
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
