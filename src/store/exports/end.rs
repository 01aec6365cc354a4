//! Ending the work on a job. Each says whether the claim still held; where it did not, nothing has changed.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::{Claim, JobRow, claim::interval};
use crate::{
    domain::{
        audit::storable,
        export::{CANCELLED, ExportJob, Output},
    },
    store::{StoreError, amount::Amount, columns::overflow},
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
    let row: Option<JobRow> = sqlx::query_as(include_str!("sql/exports_succeed.sql"))
        .bind(claim.job_id)
        .bind(claim.id)
        .bind(&output.key)
        .bind(output.revision.map(i32::try_from).transpose().map_err(overflow)?)
        .bind(output.checksum.as_slice())
        .bind(long(output.bytes)?)
        .bind(long(output.rows)?)
        .bind(long(totals.invocations)?)
        .bind(long(totals.errors)?)
        .bind(long(totals.input_tokens)?)
        .bind(long(totals.output_tokens)?)
        .bind(Amount(totals.cost))
        .bind(output.as_of)
        .bind(output.snapshot_at)
        .bind(long(output.revised.count)?)
        .bind(output.revised.last)
        .bind(kept)
        .bind(same_as)
        .fetch_optional(conn)
        .await?;
    row.map(JobRow::job).transpose()
}

/// It cannot be made, or is not to be. `error` is for the one who asked.
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
