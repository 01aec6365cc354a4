//! Hours of orgs by client and by error code: counted from raw events when they are over, so that a query of some days reads a row
//! an hour in place of every event.
//!
//! They are exact at any moment. Raw events are counted without holding anybody up, so each step says first which hours it is about to
//! count (`marked_to`, or `claimed`), while no merge is under way. Whoever changes from then on what readers see of raw events marks the
//! hour in the same transaction, by triggers, and what is marked is not written. What is marked is read from raw events, and
//! counted again at the next run. See docs/internals/rollups.md.

use std::time::{Duration, Instant};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    hours_by_count::{self, Counting, Hold, Hour, Wanted},
    merge::hold_off,
    step_of_hours::StepOfHours,
};
use crate::store::{
    OnStep, StoreError, bound::bound, clock, columns::overflow, patience::with_patience, transaction::in_transaction,
};

/// How long before now hours are summed: the longest range that can be requested, and the day that it begins within.
const KEPT: TimeDelta = TimeDelta::days(9);
/// How long after its end an hour is summed at the earliest. Shorter than the late threshold, since what is not summed is read event by
/// event; an hour that gets late events is summed again.
const SETTLED: TimeDelta = TimeDelta::minutes(10);
/// Raw events of a day below which its hours are counted at once.
const STEP: StepOfHours = StepOfHours { table: "usage_events", at: "occurred_at", few: 50_000 };
/// How long a run begins further steps: what is left is done by the next ones.
const BEGINS_WITHIN: Duration = Duration::from_secs(600);
/// Hours, and their bytes, that are written by one transaction.
const HOURS_AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 4 << 20;
/// How often a step is tried whose row another transaction holds: of a repair, which is about to be committed.
const ATTEMPTS: u32 = 20;

/// Sums what is over and what has changed. Returns how many hours of
/// orgs it were. Running it again does what is left.
///
/// # Errors
/// What was done before stays done.
pub async fn sum(conn: &mut PgConnection, late_after: TimeDelta, on_step: OnStep<'_>) -> Result<u64, StoreError> {
    let began = Instant::now();
    let hour = |at: DateTime<Utc>| at.duration_trunc(TimeDelta::hours(1)).map_err(overflow);
    let now = clock::now(conn).await?;
    let to = hour(now - late_after.min(SETTLED))?;
    let mut summed_to = keep_from(conn, hour(now - KEPT)?).await?;
    let mut summed = 0;
    while summed_to < to && began.elapsed() < BEGINS_WITHIN {
        let ends = STEP.end(conn, summed_to, to).await?;
        let Some(step) = Step::of_new(conn, summed_to, ends).await? else { return Ok(summed) };
        let Some(hours) = step.take(conn).await? else { return Ok(summed) };
        (summed, summed_to) = (summed + hours, ends);
        on_step(&format!("hours by client and error code are summed up to {}", ends.format("%Y-%m-%d %H:00")));
    }
    for bucket_start in changed(conn).await? {
        if began.elapsed() >= BEGINS_WITHIN {
            break;
        }
        let step = Step::of_changed(conn, bucket_start).await?;
        let Some(hours) = step.take(conn).await? else { break };
        summed += hours;
        on_step(&format!(
            "hours by client and error code of {} are summed again",
            bucket_start.format("%Y-%m-%d %H:00")
        ));
    }
    Ok(summed)
}

/// Deletes what is older than what is kept, and what lies below the raw floors; all of it where the clock went back, since nothing is left
/// of the hours that are to be kept again. Returns up to where hours are summed.
async fn keep_from(conn: &mut PgConnection, from: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    in_transaction(conn, async |tx| {
        let to: DateTime<Utc> = sqlx::query_scalar(
            "UPDATE analytics.org_hours_by_summed SET
                 summed_from = $1, run = NULL,
                 summed_to = CASE WHEN $1 < summed_from THEN $1 ELSE greatest(summed_to, $1) END,
                 marked_to = CASE WHEN $1 < summed_from THEN $1 ELSE greatest(marked_to, $1) END
             RETURNING summed_to",
        )
        .bind(from)
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM analytics.org_hours_by o
             WHERE o.bucket_start < $1 OR o.bucket_start >= $2
                OR EXISTS (SELECT FROM analytics.raw_horizons h
                           WHERE (h.org_id IS NULL OR h.org_id = o.org_id) AND o.bucket_start < h.raw_from)",
        )
        .bind(from)
        .bind(to)
        .execute(tx)
        .await?;
        Ok(to)
    })
    .await
}

/// Hours that have changed, the newest first.
async fn changed(conn: &mut PgConnection) -> Result<Vec<DateTime<Utc>>, StoreError> {
    let hours = sqlx::query_scalar(
        "SELECT DISTINCT o.bucket_start
         FROM analytics.org_hours_by o
         JOIN analytics.org_hours_by_summed s ON o.bucket_start >= s.summed_from AND o.bucket_start < s.summed_to
         WHERE o.changed ORDER BY 1 DESC",
    );
    Ok(hours.fetch_all(conn).await?)
}

/// Some hours that are about to be counted: from its beginning on whoever changes them marks them.
struct Step {
    /// What it writes is written only while this is the latest.
    run: Uuid,
    starts: DateTime<Utc>,
    ends: DateTime<Utc>,
    /// Of changed hours: whose. None: those that have no sums, of all.
    orgs: Option<Vec<Uuid>>,
}

impl Step {
    /// Of hours that are not summed yet. None: they are not the next ones any more.
    async fn of_new(
        conn: &mut PgConnection,
        starts: DateTime<Utc>,
        ends: DateTime<Utc>,
    ) -> Result<Option<Self>, StoreError> {
        let run = Uuid::now_v7();
        let begun = alone(conn, async |tx| {
            let begun =
                sqlx::query("UPDATE analytics.org_hours_by_summed SET run = $1, marked_to = $3 WHERE summed_to = $2")
                    .bind(run)
                    .bind(starts)
                    .bind(ends)
                    .execute(&mut *tx)
                    .await?;
            // What an earlier run wrote and did not end.
            sqlx::query("DELETE FROM analytics.org_hours_by WHERE bucket_start >= $1").bind(starts).execute(tx).await?;
            Ok(begun.rows_affected() > 0)
        })
        .await?;
        Ok(begun.then_some(Self { run, starts, ends, orgs: None }))
    }

    /// Of what has changed of an hour.
    async fn of_changed(conn: &mut PgConnection, starts: DateTime<Utc>) -> Result<Self, StoreError> {
        let run = Uuid::now_v7();
        let orgs = alone(conn, async |tx| {
            sqlx::query("UPDATE analytics.org_hours_by_summed SET run = $1").bind(run).execute(&mut *tx).await?;
            let claim = sqlx::query_scalar(
                "UPDATE analytics.org_hours_by SET claimed = true WHERE bucket_start = $1 AND changed RETURNING org_id",
            );
            Ok(claim.bind(starts).fetch_all(tx).await?)
        })
        .await?;
        Ok(Self { run, starts, ends: starts + TimeDelta::hours(1), orgs: Some(orgs) })
    }

    /// Counts and writes. Returns how many hours it were. None: it was ended, by a repair, an erasure or another run.
    async fn take(&self, conn: &mut PgConnection) -> Result<Option<u64>, StoreError> {
        let wanted = Wanted { starts: self.starts, ends: self.ends, orgs: self.orgs.as_deref() };
        hours_by_count::open(conn, wanted, Hold::Session).await?;
        let taken = self.put_counted(conn).await;
        let closed = hours_by_count::close(conn).await;
        let taken = taken?;
        closed.map(|()| taken)
    }

    async fn put_counted(&self, conn: &mut PgConnection) -> Result<Option<u64>, StoreError> {
        let (mut counting, mut hours, mut put) = (Counting::default(), Vec::new(), 0);
        loop {
            let more = counting.next(conn, &mut hours).await?;
            let bytes: usize = hours.iter().map(Hour::bytes).sum();
            if !more || hours.len() >= HOURS_AT_ONCE || bytes >= BYTES_AT_ONCE {
                put += hours.len() as u64;
                if !self.put(conn, std::mem::take(&mut hours), !more).await? {
                    return Ok(None);
                }
            }
            if !more {
                return Ok(Some(put));
            }
        }
    }

    /// Writes hours, and with the last ones that all are. False: the step was ended.
    async fn put(&self, conn: &mut PgConnection, hours: Vec<Hour>, last: bool) -> Result<bool, StoreError> {
        let columns = HoursBy::of(hours);
        alone(conn, async |tx| {
            let ours: Option<bool> =
                sqlx::query_scalar("SELECT run = $1 FROM analytics.org_hours_by_summed FOR UPDATE")
                    .bind(self.run)
                    .fetch_one(&mut *tx)
                    .await?;
            if ours != Some(true) {
                return Ok(false);
            }
            let statement = match &self.orgs {
                None => include_str!("sql/hours_by_put.sql"),
                Some(_) => include_str!("sql/hours_by_put_again.sql"),
            };
            sqlx::query_with(statement, columns.clone().arguments()?).execute(&mut *tx).await?;
            let end = match &self.orgs {
                None => "UPDATE analytics.org_hours_by_summed SET summed_to = marked_to WHERE summed_to = $1",
                // Of which no event is left.
                Some(_) => "DELETE FROM analytics.org_hours_by WHERE bucket_start = $1 AND claimed",
            };
            if last {
                sqlx::query(end).bind(self.starts).execute(tx).await?;
            }
            Ok(true)
        })
        .await
    }
}

/// Does short work while nothing is merged. The row of the hours that are summed is not waited for long: merges wait meanwhile.
async fn alone<T>(
    conn: &mut PgConnection,
    mut work: impl AsyncFnMut(&mut PgConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    with_patience(ATTEMPTS, async || {
        in_transaction(conn, async |tx| {
            hold_off(tx).await?;
            sqlx::query("SET LOCAL lock_timeout = '1s'").execute(&mut *tx).await?;
            work(tx).await
        })
        .await
    })
    .await
}

bound! {
    /// Of hours_by_put.sql and hours_by_put_again.sql.
    #[derive(Clone, Default)]
    struct HoursBy {
        orgs: Vec<Uuid>, starts: Vec<DateTime<Utc>>, open: Vec<bool>, clients: Vec<Option<Vec<u8>>>,
        error_codes: Vec<Option<Vec<u8>>>,
    }
}

impl HoursBy {
    fn of(hours: Vec<Hour>) -> Self {
        let mut columns = Self::default();
        for Hour { org_id, bucket_start, pending, clients, error_codes } in hours {
            columns.orgs.push(org_id);
            columns.starts.push(bucket_start);
            columns.open.push(pending);
            columns.clients.push(clients.filter(|_| !pending));
            columns.error_codes.push(error_codes.filter(|_| !pending));
        }
        columns
    }
}
