//! Ending the work on a job. Each says whether the claim still held; where it did not, nothing has changed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::{Claim, JobRow, claim::interval};
use crate::{
    domain::{
        audit::storable,
        export::{CANCELLED, ExportJob, Output},
    },
    store::{StoreError, amount::Amount, bound::bound, columns::overflow},
};

/// The file is in its place. It is kept for as long as the org's retention says, or else `kept`.
pub async fn succeed(
    conn: &mut PgConnection,
    claim: &Claim,
    output: &Output,
    kept: TimeDelta,
) -> Result<Option<ExportJob>, StoreError> {
    end_with(conn, claim, output, kept, None).await
}

/// A month came out the same as an earlier job's version, whose file is the one of this job too. `output` has that file's key
/// and revision. None also where that file is not kept any more, or not for long: it has to be made again then.
pub async fn succeed_unchanged(
    conn: &mut PgConnection,
    claim: &Claim,
    output: &Output,
    kept: TimeDelta,
    same_as: Uuid,
) -> Result<Option<ExportJob>, StoreError> {
    end_with(conn, claim, output, kept, Some(same_as)).await
}

async fn end_with(
    conn: &mut PgConnection,
    claim: &Claim,
    output: &Output,
    kept: TimeDelta,
    same_as: Option<Uuid>,
) -> Result<Option<ExportJob>, StoreError> {
    let long = |n: u64| i64::try_from(n).map_err(overflow);
    let totals = &output.totals;
    let ended = Ended {
        job_id: claim.job_id,
        claim_id: claim.id,
        key: &output.key,
        revision: output.revision.map(i32::try_from).transpose().map_err(overflow)?,
        checksum: &output.checksum,
        bytes: long(output.bytes)?,
        rows: long(output.rows)?,
        invocations: long(totals.invocations)?,
        errors: long(totals.errors)?,
        input_tokens: long(totals.input_tokens)?,
        output_tokens: long(totals.output_tokens)?,
        cost: Amount(totals.cost),
        as_of: output.as_of,
        snapshot_at: output.snapshot_at,
        revisions: long(output.revised.count)?,
        last_revision_id: output.revised.last,
        kept,
        same_as,
    };
    let row: Option<JobRow> =
        sqlx::query_as_with(include_str!("sql/exports_succeed.sql"), ended.arguments()?).fetch_optional(conn).await?;
    row.map(JobRow::job).transpose()
}

bound! {
    /// Of exports_succeed.sql.
    struct Ended<'a> {
        job_id: Uuid, claim_id: Uuid, key: &'a str, revision: Option<i32>, checksum: &'a [u8], bytes: i64,
        rows: i64, invocations: i64, errors: i64, input_tokens: i64, output_tokens: i64, cost: Amount,
        as_of: Option<DateTime<Utc>>, snapshot_at: DateTime<Utc>, revisions: i64, last_revision_id: Option<Uuid>,
        kept: TimeDelta, same_as: Option<Uuid>,
    }
}

/// It cannot be made, or is not to be. `error` is for the client.
pub async fn fail(conn: &mut PgConnection, claim: &Claim, error: &str) -> Result<bool, StoreError> {
    let failed = sqlx::query(
        "UPDATE analytics.export_jobs
         SET status = 'failed', claim_id = NULL, completed_at = clock_timestamp(), error = $3
         WHERE job_id = $1 AND claim_id = $2 AND status = 'running'",
    );
    execute(conn, claim, failed, |statement| statement.bind(storable(error))).await
}

/// It did not come off, and is tried again after a pause. One that is to be cancelled is over.
pub async fn retry(conn: &mut PgConnection, claim: &Claim, error: &str, pause: Duration) -> Result<bool, StoreError> {
    let retried = sqlx::query(
        "UPDATE analytics.export_jobs
         SET status = CASE WHEN cancel_requested THEN 'failed' ELSE 'pending' END, claim_id = NULL,
             completed_at = CASE WHEN cancel_requested THEN clock_timestamp() END,
             error = CASE WHEN cancel_requested THEN $4 ELSE $3 END, next_attempt_at = clock_timestamp() + $5
         WHERE job_id = $1 AND claim_id = $2 AND status = 'running'",
    );
    execute(conn, claim, retried, |statement| statement.bind(storable(error)).bind(CANCELLED).bind(interval(pause)))
        .await
}

/// Gives it back, for another process to take at once: this attempt does not count. One that is to be cancelled is over.
pub async fn release(conn: &mut PgConnection, claim: &Claim) -> Result<bool, StoreError> {
    let released = sqlx::query(
        "UPDATE analytics.export_jobs
         SET status = CASE WHEN cancel_requested THEN 'failed' ELSE 'pending' END, claim_id = NULL,
             completed_at = CASE WHEN cancel_requested THEN clock_timestamp() END,
             error = CASE WHEN cancel_requested THEN $3 ELSE error END, next_attempt_at = clock_timestamp(),
             attempts = attempts - 1
         WHERE job_id = $1 AND claim_id = $2 AND status = 'running'",
    );
    execute(conn, claim, released, |statement| statement.bind(CANCELLED)).await
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

async fn execute<'q>(
    conn: &mut PgConnection,
    claim: &Claim,
    statement: Statement<'q>,
    bind: impl FnOnce(Statement<'q>) -> Statement<'q>,
) -> Result<bool, StoreError> {
    let statement = bind(statement.bind(claim.job_id).bind(claim.id));
    Ok(statement.execute(conn).await?.rows_affected() > 0)
}
