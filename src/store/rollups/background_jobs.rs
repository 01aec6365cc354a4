//! Background jobs: those that the database runs for the service, on TimescaleDB's Community edition. How they are, and
//! running those that are overdue.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use super::{
    aggregates,
    engine::{self, RefreshRules},
};
use crate::{
    config::Database,
    store::{OnStep, StoreError, connect_owner},
};

/// As its runs are recorded.
pub const TASK: &str = "jobs";
/// So long after the moment when the database should have started a job, it starts none.
const STARTS_WITHIN: TimeDelta = TimeDelta::minutes(5);

/// What the database says of its jobs, and what they have left undone.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackgroundJobs {
    /// None on the Apache edition.
    pub jobs: Vec<BackgroundJob>,
    /// How far what is materialised is behind the clock, while readers see continuous aggregates.
    pub materialisation_lag_seconds: Option<f64>,
    #[serde(skip)]
    now: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackgroundJob {
    #[serde(skip)]
    job_id: i32,
    /// refresh, compression, or the procedure of a policy that an operator added.
    pub job: String,
    /// Not paused.
    pub scheduled: bool,
    pub every_seconds: i64,
    pub started_at: Option<DateTime<Utc>>,
    /// By the database's word, which may be that a run failed that has done its work.
    pub succeeded_at: Option<DateTime<Utc>>,
    pub next_start_at: Option<DateTime<Utc>>,
    pub failures: i64,
    /// For how long there has been something to do; none where the service does not know what that is.
    pub waits_seconds: Option<i64>,
}

/// What is done about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    Nothing,
    /// The database runs it in a moment, instead of when it wants to.
    RunSoon,
    /// The database starts no jobs: it is done here.
    RunHere,
}

impl BackgroundJob {
    /// More than twice its interval without having done what there was to do.
    pub fn is_overdue(&self) -> bool {
        self.waits_seconds.is_some_and(|waits| waits > 2 * self.every_seconds)
    }

    fn remedy(&self, now: DateTime<Utc>) -> Remedy {
        let started = self.started_at.is_some_and(|at| now - at < TimeDelta::seconds(self.every_seconds));
        // Without a next start it is at work. What is paused an operator has paused.
        let Some(next_start_at) = self.next_start_at.filter(|_| self.is_overdue() && self.scheduled && !started) else {
            return Remedy::Nothing;
        };
        match now - next_start_at {
            late if late > STARTS_WITHIN => Remedy::RunHere,
            late if late < TimeDelta::zero() => Remedy::RunSoon,
            _ => Remedy::Nothing,
        }
    }
}

impl fmt::Display for BackgroundJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let succeeded = self.succeeded_at.map_or_else(|| "never".to_owned(), time);
        write!(f, "{}: last success {succeeded}, {} failures", self.job, self.failures)?;
        if !self.scheduled {
            f.write_str(", paused")?;
        }
        match self.waits_seconds {
            Some(waits) if self.is_overdue() => write!(f, ", overdue: it has had something to do for {waits} s"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for BackgroundJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jobs.is_empty() {
            return f.write_str("none");
        }
        let mut parts: Vec<String> = self.jobs.iter().map(ToString::to_string).collect();
        parts.extend(self.materialisation_lag_seconds.map(|lag| format!("materialised up to {lag:.0} s ago")));
        f.write_str(&parts.join("; "))
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How the jobs are. Reads what the database keeps of them, and takes no lock.
pub async fn read(conn: &mut PgConnection, rules: &RefreshRules) -> Result<BackgroundJobs, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(include_str!("sql/background_jobs.sql"))
        .bind(&rules.streams)
        .bind(rules.late_after)
        .fetch_all(conn)
        .await?;
    let first = rows.first();
    let now = first.map(|row| row.now).unwrap_or_default();
    let materialisation_lag_seconds = first.and_then(|row| row.materialisation_lag_seconds);
    let jobs = rows.into_iter().filter_map(Row::job).collect();
    Ok(BackgroundJobs { jobs, materialisation_lag_seconds, now })
}

impl BackgroundJobs {
    /// Whether one of them is overdue and to be run.
    pub fn has_overdue(&self) -> bool {
        self.jobs.iter().any(|job| job.remedy(self.now) != Remedy::Nothing)
    }
}

/// Has the jobs run that are overdue and that the database puts off. Says what was done; the turn is the caller's.
///
/// # Errors
/// Of what is done here: what only the owner may do takes `database.migration_url`.
pub async fn run_overdue(
    conn: &mut PgConnection,
    database: &Database,
    rules: &RefreshRules,
    jobs: &BackgroundJobs,
    on_step: OnStep<'_>,
) -> Result<Vec<String>, StoreError> {
    let mut done = Vec::new();
    for job in &jobs.jobs {
        match job.remedy(jobs.now) {
            Remedy::Nothing => continue,
            Remedy::RunSoon => {
                sqlx::query("SELECT analytics.run_job_soon($1)").bind(job.job_id).execute(&mut *conn).await?;
                done.push(format!("{} is run by the database now", job.job));
            }
            Remedy::RunHere if database.migration_url.is_empty() => {
                done.push(format!("{}: the database starts no jobs, and database.migration_url is not set", job.job));
            }
            Remedy::RunHere => {
                run_here(database, rules, job, on_step).await?;
                done.push(format!("{} was run by the service: the database starts no jobs", job.job));
            }
        }
        tracing::warn!(job = job.job, waits_seconds = job.waits_seconds, failures = job.failures, "{job}");
    }
    Ok(done)
}

async fn run_here(
    database: &Database,
    rules: &RefreshRules,
    job: &BackgroundJob,
    on_step: OnStep<'_>,
) -> Result<(), StoreError> {
    if job.job == "refresh" {
        // Not by the job's procedure, which takes the turn that the caller has.
        let mut owner = aggregates::connect(database).await?;
        engine::refresh(&mut owner, rules, on_step).await?;
    } else {
        let mut owner = connect_owner(database).await?;
        sqlx::query("CALL public.run_job($1)").bind(job.job_id).execute(&mut owner).await?;
    }
    Ok(())
}

#[derive(FromRow)]
struct Row {
    // None where there are no jobs.
    job_id: Option<i32>,
    job: Option<String>,
    scheduled: Option<bool>,
    every_seconds: Option<i64>,
    started_at: Option<DateTime<Utc>>,
    succeeded_at: Option<DateTime<Utc>>,
    next_start_at: Option<DateTime<Utc>>,
    failures: Option<i64>,
    now: DateTime<Utc>,
    materialisation_lag_seconds: Option<f64>,
    waits_seconds: Option<i64>,
}

impl Row {
    fn job(self) -> Option<BackgroundJob> {
        Some(BackgroundJob {
            job_id: self.job_id?,
            job: self.job?,
            scheduled: self.scheduled?,
            every_seconds: self.every_seconds?,
            started_at: self.started_at,
            succeeded_at: self.succeeded_at,
            next_start_at: self.next_start_at,
            failures: self.failures?,
            waits_seconds: self.waits_seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: i64 = 900;

    /// At the moment 10,000: one that has had something to do for so long, was started then, and is to start then.
    fn remedy(waits: Option<i64>, started_at: i64, next_start_at: Option<i64>) -> Remedy {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let job = BackgroundJob {
            job_id: 1,
            job: "refresh".to_owned(),
            scheduled: true,
            every_seconds: EVERY,
            started_at: Some(at(started_at)),
            succeeded_at: None,
            next_start_at: next_start_at.map(at),
            failures: 3,
            waits_seconds: waits,
        };
        assert_eq!(BackgroundJob { scheduled: false, ..job.clone() }.remedy(at(10_000)), Remedy::Nothing);
        job.remedy(at(10_000))
    }

    #[test]
    fn only_what_waits_too_long_is_run() {
        let later = Some(20_000);
        assert_eq!(remedy(Some(2 * EVERY + 1), 5000, later), Remedy::RunSoon);
        assert_eq!(remedy(Some(2 * EVERY), 5000, later), Remedy::Nothing, "twice its interval is in time");
        assert_eq!(remedy(None, 5000, later), Remedy::Nothing, "it is unknown what it has to do");
        assert_eq!(remedy(Some(9999), 9500, later), Remedy::Nothing, "it has just been run");
        assert_eq!(remedy(Some(9999), 5000, None), Remedy::Nothing, "it is at work");
        assert_eq!(remedy(Some(9999), 5000, Some(9999)), Remedy::Nothing, "the database is about to start it");
        assert_eq!(remedy(Some(9999), 5000, Some(9000)), Remedy::RunHere, "the database does not start it");
    }
}
